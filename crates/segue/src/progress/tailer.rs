//! The attempts' own output as it grows: for `segue logs` and `--output`.
//!
//! It reads the log files of attempts from their beginning and prints what is new, in order
//! within a task. Files are opened anew for each look, so that any number of attempts may be
//! followed. It does not know when an attempt ends; whoever follows a run tells it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use segue_core::AttemptId;

use super::plain_text;

/// How much of one log is printed before the next has its turn.
const TURN_BYTES: u64 = 4 << 20;
/// How much is read at a time.
const READ_BYTES: usize = 64 << 10;
/// A line longer than this is printed in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Names are padded to the longest so far, but no further than this.
const NAME_CHARS_MAX: usize = 24;

/// How output is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailStyle {
    /// `task | line`, as clean text, a line at a time.
    Prefixed,
    /// The bytes as they are.
    Raw,
}

/// Follows attempts' logs. Dropping it leaves unread what was not pumped.
pub(crate) struct Tailer {
    run_dir: PathBuf,
    style: TailStyle,
    sink: Box<dyn Write + Send>,
    tails: Vec<Tail>,
    width: usize,
    /// Nobody reads any more.
    closed: bool,
}

/// An attempt's two logs.
struct Tail {
    attempt: AttemptId,
    name: String,
    folder: PathBuf,
    logs: [Log; 2],
    /// Its logs grow no more.
    ended: bool,
}

/// How far a log has been printed.
struct Log {
    file: &'static str,
    offset: u64,
    /// The beginning of a line that has not ended.
    partial: Vec<u8>,
}

impl Tailer {
    /// Prints to stdout; follows nothing yet.
    pub(crate) fn new(run_dir: &Path, style: TailStyle) -> Self {
        Self::with_sink(run_dir, style, crate::stdout::Stdout::new())
    }

    pub(super) fn with_sink(
        run_dir: &Path,
        style: TailStyle,
        sink: impl Write + Send + 'static,
    ) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            style,
            sink: Box::new(sink),
            tails: Vec::new(),
            width: 0,
            closed: false,
        }
    }

    /// Follows `attempt` from its first byte. Earlier attempts of its task have ended.
    pub(crate) fn follow(&mut self, attempt: &AttemptId) {
        if self.tails.iter().any(|tail| tail.attempt == *attempt) {
            return;
        }
        for tail in &mut self.tails {
            let same = tail.attempt.task == attempt.task && tail.attempt.item == attempt.item;
            tail.ended |= same && tail.attempt.number < attempt.number;
        }
        let name = match &attempt.item {
            Some(item) => format!("{}[{item}]", attempt.task),
            None => attempt.task.to_string(),
        };
        let name = plain_text(&name);
        self.width = self.width.max(name.chars().count().min(NAME_CHARS_MAX));
        let log = |file| Log { file, offset: 0, partial: Vec::new() };
        self.tails.push(Tail {
            attempt: attempt.clone(),
            name,
            folder: self.run_dir.join("attempts").join(attempt.folder()),
            logs: [log("stdout.log"), log("stderr.log")],
            ended: false,
        });
    }

    /// `attempt`'s logs grow no more: what is left is printed, then it is forgotten.
    pub(crate) fn end(&mut self, attempt: &AttemptId) {
        for tail in self.tails.iter_mut().filter(|tail| tail.attempt == *attempt) {
            tail.ended = true;
        }
    }

    /// Prints what is new. Each log has its turn; a task's attempts stay in order.
    pub(crate) fn pump(&mut self) {
        self.turn(TURN_BYTES);
    }

    /// Prints all that is left and forgets all attempts.
    pub(crate) fn finish(&mut self) {
        for tail in &mut self.tails {
            tail.ended = true;
        }
        self.turn(u64::MAX);
        self.tails.clear();
    }

    /// Whether nobody reads any more, as after a broken pipe.
    pub(crate) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing is followed.
    pub(super) const fn is_idle(&self) -> bool {
        self.tails.is_empty()
    }

    fn turn(&mut self, bytes_max: u64) {
        if self.closed {
            self.tails.clear();
            return;
        }
        let mut behind = BTreeSet::new();
        let mut done = vec![false; self.tails.len()];
        for (tail, done) in self.tails.iter_mut().zip(&mut done) {
            let key = (tail.attempt.task.clone(), tail.attempt.item.clone());
            if behind.contains(&key) {
                continue;
            }
            let mut print = Printer {
                sink: &mut self.sink,
                style: self.style,
                name: &tail.name,
                width: self.width,
            };
            let mut caught_up = true;
            for log in &mut tail.logs {
                match log.print_new(&tail.folder, bytes_max, &mut print) {
                    Ok(at_end) => caught_up &= at_end,
                    Err(_) => {
                        self.closed = true;
                        return;
                    }
                }
                if tail.ended && caught_up && log.flush(&mut print).is_err() {
                    self.closed = true;
                    return;
                }
            }
            if !caught_up {
                behind.insert(key);
            }
            *done = tail.ended && caught_up;
        }
        let mut done = done.into_iter();
        self.tails.retain(|_| !done.next().unwrap_or(false));
        self.closed |= self.sink.flush().is_err();
    }
}

impl Log {
    /// Prints what is new, about `bytes_max` at most; says whether that was all. Only a failure
    /// to print is an error.
    fn print_new(
        &mut self,
        folder: &Path,
        bytes_max: u64,
        print: &mut Printer<'_>,
    ) -> io::Result<bool> {
        // A file that is not there yet is one with nothing in it.
        let Ok(mut file) = File::open(folder.join(self.file)) else { return Ok(true) };
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return Ok(true);
        }
        let mut buffer = vec![0; READ_BYTES];
        let mut printed: u64 = 0;
        while printed < bytes_max {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok(true),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Ok(true),
            };
            self.offset += count as u64;
            printed += count as u64;
            match print.style {
                TailStyle::Raw => print.sink.write_all(&buffer[..count])?,
                TailStyle::Prefixed => self.print_lines(&buffer[..count], print)?,
            }
        }
        Ok(false)
    }

    fn print_lines(&mut self, bytes: &[u8], print: &mut Printer<'_>) -> io::Result<()> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() > LINE_BYTES_MAX {
                self.flush(print)?;
            }
        }
        Ok(())
    }

    /// Prints the line that has begun.
    fn flush(&mut self, print: &mut Printer<'_>) -> io::Result<()> {
        if self.partial.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.partial);
        print.line(&line)
    }
}

/// Where lines go, and how.
struct Printer<'a> {
    sink: &'a mut Box<dyn Write + Send>,
    style: TailStyle,
    name: &'a str,
    width: usize,
}

impl Printer<'_> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(line);
        // A progress bar that redraws its line shows as its last state.
        let text = text.trim_end_matches(['\n', '\r']);
        let text = plain_text(text.rsplit('\r').next().unwrap_or(text));
        let (name, width) = (self.name, self.width);
        writeln!(self.sink, "{name:width$} | {}", text.trim_end())
    }
}
