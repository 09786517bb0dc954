//! Reading a run's journal, at once or on and on, without its lock.
//!
//! A reader may come in the middle of a write: what is after the last line feed is not
//! there yet. Anything else that is not as the writer left it is an error by name.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use segue_core::{Recorded, Seq};

use crate::disk::IoError;
use crate::journal::{FILE_NAME, JournalError};
use crate::line::{self, BadLine};

/// How much a follower reads at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// A journal as it was found.
#[derive(Debug)]
pub struct Reading {
    /// Its events, in order, from number 1 without gaps.
    pub records: Vec<Recorded>,
    /// Bytes of a last line without its line feed: being written, or torn by a crash.
    pub torn_bytes: u64,
    /// Bytes before them.
    pub whole_bytes: u64,
}

/// Reads the journal of the run in `dir`.
///
/// # Errors
/// [`JournalError`] by name; a torn last line is none.
pub fn read(dir: &Path) -> Result<Reading, JournalError> {
    let path = dir.join(FILE_NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(JournalError::Missing { path });
        }
        Err(error) => return Err(IoError::at("read", &path)(error).into()),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let torn = &bytes[whole..];
    if whole == 0 {
        return Err(without_line(path, torn));
    }
    // The mean line is longer than this, so the list rarely grows twice.
    let mut records = Vec::with_capacity(whole / 160);
    decode_lines(&path, &bytes[..whole], 0, &mut records)?;
    Ok(Reading { records, torn_bytes: torn.len() as u64, whole_bytes: whole as u64 })
}

/// Names a file without a whole line: a journal whose first line was torn, or no journal.
fn without_line(path: PathBuf, bytes: &[u8]) -> JournalError {
    let compared = bytes.len().min(line::FIRST_BYTES.len());
    if bytes[..compared] == line::FIRST_BYTES[..compared] {
        JournalError::Empty { path }
    } else {
        JournalError::Foreign { path }
    }
}

/// Decodes whole lines that follow event `last`, and says which event was the last.
fn decode_lines(
    path: &Path,
    bytes: &[u8],
    mut last: Seq,
    records: &mut Vec<Recorded>,
) -> Result<Seq, JournalError> {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let due = last + 1;
        let recorded = line::decode(&line[..line.len() - 1], due)
            .map_err(|bad| named(path.to_owned(), due, bad))?;
        records.push(recorded);
        last = due;
    }
    Ok(last)
}

fn named(path: PathBuf, line: u64, bad: BadLine) -> JournalError {
    match bad {
        BadLine::Newer(version) => JournalError::Newer { path, version },
        BadLine::Foreign if line == 1 => JournalError::Foreign { path },
        BadLine::Foreign => JournalError::Damaged { path, line, why: "it is no event".to_owned() },
        BadLine::Damaged(why) => JournalError::Damaged { path, line, why },
    }
}

/// Reads on in a journal that grows: `events -f`, views that lag.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// Events up to this one are skipped.
    after: Seq,
    /// The last event seen.
    last: Seq,
    /// Bytes of the file that were read.
    offset: u64,
    /// Read bytes without their line feed.
    rest: Vec<u8>,
}

impl Follower {
    /// Follows the journal of the run in `dir` from the event after number `after`; 0 is
    /// all of it. The journal need not exist yet.
    #[must_use]
    pub fn new(dir: &Path, after: Seq) -> Self {
        let path = dir.join(FILE_NAME);
        Self { path, file: None, after, last: 0, offset: 0, rest: Vec::new() }
    }

    /// The events that are new since the last call; often none. Costs two system calls
    /// then. Never gives a torn line, and never waits.
    ///
    /// # Errors
    /// [`JournalError`] by name. After [`JournalError::CutBack`], what the last calls gave
    /// may not be true any more: begin again with a new follower.
    pub fn poll(&mut self) -> Result<Vec<Recorded>, JournalError> {
        let mut records = Vec::new();
        let Some(mut file) = self.opened()? else { return Ok(records) };
        let io = |op| IoError::at(op, &self.path);
        let len = file.metadata().map_err(io("read"))?.len();
        if len < self.offset {
            return Err(JournalError::CutBack { path: self.path.clone() });
        }
        if len == self.offset {
            self.file = Some(file);
            return Ok(records);
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(io("read"))?;
        loop {
            let start = self.rest.len();
            self.rest.resize(start + CHUNK_BYTES, 0);
            let count = file.read(&mut self.rest[start..]).map_err(IoError::at("read", &self.path));
            self.rest.truncate(start + count.as_ref().map_or(0, |count| *count));
            let count = count?;
            if count == 0 {
                break;
            }
            self.offset += count as u64;
            self.take_lines(start, &mut records)?;
        }
        self.file = Some(file);
        Ok(records)
    }

    fn opened(&mut self) -> Result<Option<File>, JournalError> {
        if let Some(file) = self.file.take() {
            return Ok(Some(file));
        }
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(IoError::at("open", &self.path)(error).into()),
        }
    }

    /// Moves the whole lines of `rest` to `records`; before `from` there is no line feed.
    fn take_lines(&mut self, from: usize, records: &mut Vec<Recorded>) -> Result<(), JournalError> {
        let Some(at) = self.rest[from..].iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let whole = from + at + 1;
        let known = records.len();
        self.last = decode_lines(&self.path, &self.rest[..whole], self.last, records)?;
        let after = self.after;
        if records.get(known).is_some_and(|first| first.seq <= after) {
            records.retain(|recorded| recorded.seq > after);
        }
        self.rest.drain(..whole);
        Ok(())
    }
}
