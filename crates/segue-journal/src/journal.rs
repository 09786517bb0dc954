//! Writing a run's journal: whole batches, one `write` each, synced from another thread.
//!
//! Owns the file's end: whatever fails, what stays on disk is a sequence of whole batches
//! that later appends can follow. It decides neither when to sync nor what a failure means.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use segue_core::{EVENT_VERSION, Recorded, Seq};

use crate::disk::{self, IoError};
use crate::lock::RunLock;
use crate::{line, reading};

/// The journal's name in its run's folder.
pub(crate) const FILE_NAME: &str = "events.jsonl";

/// The buffer that is kept between appends; a greater batch frees it again.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Why a journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no file: its run ended before it began.
    #[error("there is no journal at `{}`", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It has no whole event: its run ended before it began.
    #[error("journal at `{}` is empty: its first event never reached the disk", path.display())]
    Empty {
        /// Where it is.
        path: PathBuf,
    },
    /// Something else than a journal.
    #[error("`{}` is not a journal of Segue", path.display())]
    Foreign {
        /// Where it is.
        path: PathBuf,
    },
    /// A newer Segue wrote it.
    #[error(
        "journal at `{}` is of version {version}; this build reads up to {EVENT_VERSION}",
        path.display()
    )]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// The version of its event.
        version: u32,
    },
    /// A line that is not the last is not as it was written.
    #[error("journal at `{}` is damaged in line {line}: {why}", path.display())]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// The bad line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The journal became shorter while it was followed: a full disk made its writer take
    /// back a batch, or a resume cut a torn line off. Read it again from the start.
    #[error("journal at `{}` was cut back while it was followed", path.display())]
    CutBack {
        /// Where it is.
        path: PathBuf,
    },
    /// A new run's journal already has events.
    #[error("journal at `{}` already has events", path.display())]
    NotNew {
        /// Where it is.
        path: PathBuf,
    },
    /// The lock given is another run's.
    #[error("journal at `{}` is not covered by the lock of `{}`", path.display(), locked.display())]
    NotLocked {
        /// Where the journal is.
        path: PathBuf,
        /// The folder that the lock is for.
        locked: PathBuf,
    },
    /// An event does not follow the one before it.
    #[error("event {found} cannot be appended to `{}`: {due} is due", path.display())]
    OutOfOrder {
        /// Where the journal is.
        path: PathBuf,
        /// The number that is due.
        due: Seq,
        /// The number of the event.
        found: Seq,
    },
    /// An event cannot be written as JSON.
    #[error("event {seq} cannot be written")]
    Unwritable {
        /// Its number.
        seq: Seq,
        /// Why.
        source: serde_json::Error,
    },
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl JournalError {
    /// Whether the disk, a quota or a file's limit is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io(error) if error.is_disk_full())
    }
}

/// The writer of a run's `events.jsonl`.
///
/// `append` only writes; an event is a fact when [`Syncer::sync`], called after it, has
/// returned. So the loop that appends never waits for a disk.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes of whole batches.
    len: u64,
    /// Whether the file may have more than `len` bytes.
    frayed: bool,
    last: Seq,
    buffer: Vec<u8>,
}

impl Journal {
    /// Starts the journal of a new run.
    ///
    /// # Errors
    /// [`JournalError::NotNew`] if it has events, [`JournalError::NotLocked`], or
    /// [`JournalError::Io`].
    pub fn create(dir: &Path, lock: &RunLock) -> Result<Self, JournalError> {
        let path = checked_path(dir, lock)?;
        let made = !path.exists();
        let file = open_for_append(&path)?;
        if made {
            disk::sync_dir(dir)?;
        }
        if file.metadata().map_err(IoError::at("read", &path))?.size() > 0 {
            return Err(JournalError::NotNew { path });
        }
        Ok(Self { path, file, len: 0, frayed: false, last: 0, buffer: Vec::new() })
    }

    /// Goes on with a journal: reads it, and cuts a torn last line off.
    ///
    /// # Errors
    /// [`JournalError`] by name for whatever is not a journal with at most its last line
    /// torn; the file is then untouched.
    pub fn open(dir: &Path, lock: &RunLock) -> Result<(Self, Vec<Recorded>), JournalError> {
        let path = checked_path(dir, lock)?;
        let reading = reading::read(dir)?;
        let file = open_for_append(&path)?;
        if reading.torn_bytes > 0 {
            file.set_len(reading.whole_bytes)
                .and_then(|()| file.sync_data())
                .map_err(IoError::at("cut a torn line off", &path))?;
        }
        let last = reading.records.last().map_or(0, |recorded| recorded.seq);
        let len = reading.whole_bytes;
        let journal = Self { path, file, len, frayed: false, last, buffer: Vec::new() };
        Ok((journal, reading.records))
    }

    /// The number of the last event appended; 0 if there is none.
    #[must_use]
    pub const fn last_seq(&self) -> Seq {
        self.last
    }

    /// The journal's length in bytes.
    #[must_use]
    pub const fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Appends a batch with one `write`. Does not sync.
    ///
    /// # Errors
    /// [`JournalError::Io`] if the disk is full or broken: nothing of the batch is kept, and
    /// a later append may succeed. [`JournalError::OutOfOrder`] or
    /// [`JournalError::Unwritable`]: nothing was written.
    pub fn append(&mut self, records: &[Recorded]) -> Result<(), JournalError> {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        let mut last = self.last;
        for recorded in records {
            let seq = recorded.seq;
            if seq != last + 1 {
                let path = self.path.clone();
                return Err(JournalError::OutOfOrder { path, due: last + 1, found: seq });
            }
            line::encode(recorded, &mut self.buffer)
                .map_err(|source| JournalError::Unwritable { seq, source })?;
            last = seq;
        }
        self.mend().map_err(IoError::at("mend", &self.path))?;
        if let Err(source) = self.file.write_all(&self.buffer) {
            self.frayed = true;
            // If this fails too, the next append tries again before it writes.
            let _ = self.mend();
            return Err(IoError { op: "append to", path: self.path.clone(), source }.into());
        }
        self.len += self.buffer.len() as u64;
        self.last = last;
        Ok(())
    }

    /// A handle that syncs this journal from another thread.
    ///
    /// # Errors
    /// If no file descriptor is left.
    pub fn syncer(&self) -> io::Result<Syncer> {
        Ok(Syncer { file: self.file.try_clone()?, sync_delay: None })
    }

    /// Takes back what a failed append left.
    fn mend(&mut self) -> io::Result<()> {
        if self.frayed {
            self.file.set_len(self.len)?;
            self.frayed = false;
        }
        Ok(())
    }
}

/// Makes what was appended to a journal durable; lives on another thread than the journal.
#[derive(Debug)]
pub struct Syncer {
    file: File,
    /// Time that each sync takes longer, to see Segue on a slow disk. `None` outside of
    /// benchmarks and tests.
    pub sync_delay: Option<Duration>,
}

impl Syncer {
    /// Returns when all that was appended before the call is on disk (`fdatasync`).
    ///
    /// # Errors
    /// If the disk failed. What was appended since the last success is then unknown, and a
    /// later success does not vouch for it: the run must stop.
    pub fn sync(&self) -> io::Result<()> {
        if let Some(delay) = self.sync_delay {
            std::thread::sleep(delay);
        }
        self.file.sync_data()
    }
}

fn checked_path(dir: &Path, lock: &RunLock) -> Result<PathBuf, JournalError> {
    let path = dir.join(FILE_NAME);
    if lock.dir() == dir {
        Ok(path)
    } else {
        Err(JournalError::NotLocked { path, locked: lock.dir().to_owned() })
    }
}

fn open_for_append(path: &Path) -> Result<File, IoError> {
    disk::private().append(true).open(path).map_err(IoError::at("open", path))
}
