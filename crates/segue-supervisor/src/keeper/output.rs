//! One stream of an attempt: from its pipe into its log.
//!
//! Owns the pipe, the log file, the mask and what is left out. The keeper holds the writing end
//! too, so a pipe never hangs up: that a stream is over follows from the tree being empty. Without
//! secrets and below the limit the kernel moves the bytes itself.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::mask::Masker;
use crate::sys;

/// Most bytes moved before the keeper looks at its clocks again.
const PUMP_BYTES_MAX: usize = 4 << 20;
const SPLICE_BYTES_MAX: usize = 1 << 20;
/// What is read at once where bytes are looked at.
const READ_BYTES_MAX: usize = 64 << 10;
/// A pipe that was found full once is made this large. No larger: a user may have 64 MiB in pipes,
/// and past that every new one is two pages; nor was 1 MiB any faster.
const PIPE_BYTES: i32 = 256 << 10;
/// Most bytes of the end kept in memory once a log has reached its limit.
const TAIL_BYTES_MAX: usize = 256 << 10;

/// What of a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    All,
    /// This many bytes, without the middle.
    Ends {
        bytes_max: u64,
    },
    /// The first bytes; past them the attempt is being stopped.
    Head {
        bytes_max: u64,
    },
}

/// A stream on its way into its log.
#[derive(Debug)]
pub(super) struct Stream {
    pipe: File,
    writer: OwnedFd,
    path: PathBuf,
    /// Made with the first byte.
    log: Option<File>,
    log_bytes: u64,
    head_bytes_max: u64,
    tail: VecDeque<u8>,
    tail_bytes_max: usize,
    /// Whether the log says what it lacks. One that programs read does not.
    has_marker: bool,
    masker: Option<Masker>,
    can_splice: bool,
    is_grown: bool,
    bytes: u64,
    omitted: u64,
    error: Option<String>,
}

/// What is known of a stream when it is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) omitted: u64,
    pub(super) error: Option<String>,
}

impl Stream {
    pub(super) fn new(path: PathBuf, keep: Keep, masker: Option<Masker>) -> io::Result<Self> {
        let (reader, writer) = sys::pipe()?;
        let (head_bytes_max, tail_bytes_max) = match keep {
            Keep::All => (u64::MAX, 0),
            Keep::Head { bytes_max } => (bytes_max, 0),
            Keep::Ends { bytes_max } => {
                let tail = usize::try_from(bytes_max / 4).unwrap_or(usize::MAX);
                let tail = tail.min(TAIL_BYTES_MAX);
                (bytes_max - tail as u64, tail)
            }
        };
        Ok(Self {
            pipe: File::from(reader),
            writer,
            path,
            log: None,
            log_bytes: 0,
            head_bytes_max,
            tail: VecDeque::new(),
            tail_bytes_max,
            has_marker: matches!(keep, Keep::Ends { .. }),
            can_splice: masker.is_none(),
            masker,
            is_grown: false,
            bytes: 0,
            omitted: 0,
            error: None,
        })
    }

    /// The end the attempt writes to.
    pub(super) fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_fd()
    }

    /// The end that becomes readable.
    pub(super) fn reader(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Bytes the attempt has written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Moves what is in the pipe, up to a bound; true if there was anything.
    pub(super) fn pump(&mut self, buffer: &mut Vec<u8>) -> bool {
        let mut moved = 0;
        while moved < PUMP_BYTES_MAX {
            let waiting = sys::bytes_waiting(self.pipe.as_fd()).unwrap_or(0);
            if waiting == 0 {
                break;
            }
            if waiting >= READ_BYTES_MAX && !self.is_grown {
                sys::grow_pipe(self.pipe.as_fd(), PIPE_BYTES);
                self.is_grown = true;
            }
            let count = if self.goes_straight() { self.splice() } else { 0 };
            moved += if count > 0 { count } else { self.read(waiting, buffer) };
        }
        moved > 0
    }

    fn goes_straight(&self) -> bool {
        self.can_splice && self.error.is_none() && self.log_bytes < self.head_bytes_max
    }

    /// Lets the kernel move bytes; 0 if it cannot, which is remembered.
    fn splice(&mut self) -> usize {
        let room = self.head_bytes_max - self.log_bytes;
        let most = usize::try_from(room).unwrap_or(usize::MAX).min(SPLICE_BYTES_MAX);
        let at = self.log_bytes;
        let pipe = self.pipe.as_fd();
        let spliced =
            log(&mut self.log, &self.path).and_then(|log| sys::splice(pipe, log, at, most));
        match spliced {
            Ok(count) => {
                self.log_bytes += count as u64;
                self.bytes += count as u64;
                count
            }
            // A file system that cannot: read and write instead. A full disk fails there too.
            Err(_) => {
                self.can_splice = false;
                0
            }
        }
    }

    fn read(&mut self, waiting: usize, buffer: &mut Vec<u8>) -> usize {
        buffer.resize(waiting.min(READ_BYTES_MAX), 0);
        let count = self.pipe.read(buffer).unwrap_or(0);
        self.take(&buffer[..count]);
        count
    }

    /// Takes bytes as if they had come through the pipe.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match self.masker.take() {
            None => self.keep(bytes),
            Some(mut masker) => {
                let mut clean = Vec::with_capacity(bytes.len());
                masker.push(bytes, &mut clean);
                self.keep(&clean);
                self.masker = Some(masker);
            }
        }
    }

    /// Puts clean bytes into the log, or at its limit into the tail.
    fn keep(&mut self, bytes: &[u8]) {
        let room = usize::try_from(self.head_bytes_max - self.log_bytes).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(bytes.len().min(room));
        self.write(head);
        let skipped = rest.len().saturating_sub(self.tail_bytes_max);
        let rest = &rest[skipped..];
        let pushed_out = (self.tail.len() + rest.len()).saturating_sub(self.tail_bytes_max);
        self.tail.drain(..pushed_out);
        self.tail.extend(rest);
        self.omitted += (skipped + pushed_out) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let written = match &self.error {
            Some(_) => Err(None),
            None => log(&mut self.log, &self.path)
                .and_then(|log| log.write_all_at(bytes, self.log_bytes))
                .map_err(Some),
        };
        match written {
            Ok(()) => self.log_bytes += bytes.len() as u64,
            Err(error) => {
                self.omitted += bytes.len() as u64;
                if let Some(error) = error {
                    let path = self.path.display();
                    self.error = Some(format!("failed to write `{path}`: {error}"));
                }
            }
        }
    }

    /// The tree is gone: takes what is left in the pipe, and what was held back. To be called
    /// once; descriptors are closed with the stream, which can wait till after the report.
    pub(super) fn finish(&mut self, buffer: &mut Vec<u8>) -> Finished {
        // Whoever got hold of the pipe outside the tree may write on: what is there now, and a
        // bounded while.
        const PUMPS_MAX: usize = 64;
        for _ in 0..PUMPS_MAX {
            if !self.pump(buffer) {
                break;
            }
        }
        if let Some(mut masker) = self.masker.take() {
            let mut rest = Vec::new();
            masker.finish(&mut rest);
            self.keep(&rest);
        }
        if self.has_marker {
            if self.omitted > 0 && self.error.is_none() {
                let marker = format!("\n[segue: {} bytes omitted]\n", self.omitted);
                self.write(marker.as_bytes());
            }
            let tail = std::mem::take(&mut self.tail);
            let (front, back) = tail.as_slices();
            self.write(front);
            self.write(back);
        }
        Finished { bytes: self.bytes, omitted: self.omitted, error: self.error.take() }
    }
}

/// The log, made with its folder if it is not there yet.
fn log<'a>(log: &'a mut Option<File>, path: &Path) -> io::Result<&'a File> {
    if log.is_none() {
        *log = Some(create(path)?);
    }
    Ok(log.as_ref().expect("it was just made"))
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            options.open(path)
        }
        other => other,
    }
}
