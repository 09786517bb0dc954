//! Frames between engine, supervisor and keeper: a length, a kind, fields.
//!
//! Owns the byte layout and its bounds. Both ends are the same protocol version, so the layout
//! carries no field names; what outlives a process goes through `attempts.jsonl` instead. A frame
//! that does not read is an error for the caller to report, never a panic.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Both ends must agree on it; raised with every change of the layout.
pub(crate) const PROTOCOL: u32 = 2;

/// Longest frame: a prompt of 64 MiB less its few fields.
pub(crate) const FRAME_BYTES_MAX: usize = 64 << 20;

const HEADER_BYTES: usize = 4;

/// Most bytes of frames already taken that stay in memory.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// What a frame is; the first byte after its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    OpenRun = 1,
    CloseRun,
    Start,
    Stop,
    /// Supervisor to keeper: there is no engine any more.
    Orphaned,
    /// Supervisor to engine, first of all: the protocol version.
    Hello,
    RunOpened,
    RunRefused,
    Spawned,
    StartRefused,
    Ended,
    Rejected,
    /// Keeper to supervisor, before `Ended`: it exits then, and leaves these processes behind.
    Retiring,
}

const KINDS: [Kind; 13] = [
    Kind::OpenRun,
    Kind::CloseRun,
    Kind::Start,
    Kind::Stop,
    Kind::Orphaned,
    Kind::Hello,
    Kind::RunOpened,
    Kind::RunRefused,
    Kind::Spawned,
    Kind::StartRefused,
    Kind::Ended,
    Kind::Rejected,
    Kind::Retiring,
];

/// A frame or a field that does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("a frame of {bytes} bytes is longer than {FRAME_BYTES_MAX}")]
    Oversized { bytes: usize },
    #[error("a frame of no bytes")]
    Empty,
    #[error("a frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame ends within a field")]
    Truncated,
    #[error("a frame goes on after its last field")]
    TrailingBytes,
    #[error("a field has an impossible value")]
    BadValue,
}

/// One whole frame, as it went over the socket.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    bytes: Vec<u8>,
}

impl Frame {
    /// The frame with its header, to be passed on as it is.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads the fields.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields { rest: &self.bytes[HEADER_BYTES + 1..] }
    }
}

/// Puts the bytes of a stream together into frames.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    taken: usize,
}

impl FrameBuffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            // A long prompt went through: do not keep its memory for the next small frame.
            self.bytes.shrink_to(KEPT_BYTES_MAX);
            self.taken = 0;
        } else if self.taken > KEPT_BYTES_MAX {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one. After `Oversized` or `Empty` the stream cannot be
    /// read on; after `UnknownKind` it can.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        let rest = &self.bytes[self.taken..];
        let Some(header) = rest.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        match length {
            0 => return Err(Malformed::Empty),
            _ if length > FRAME_BYTES_MAX => return Err(Malformed::Oversized { bytes: length }),
            _ if rest.len() < HEADER_BYTES + length => return Ok(None),
            _ => {}
        }
        let bytes = rest[..HEADER_BYTES + length].to_vec();
        self.taken += bytes.len();
        let code = bytes[HEADER_BYTES];
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == code);
        kind.map(|kind| Some(Frame { kind, bytes })).ok_or(Malformed::UnknownKind(code))
    }
}

/// Writes one frame.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; HEADER_BYTES]);
        bytes.push(kind as u8);
        Self { bytes }
    }

    pub(crate) fn u8(mut self, value: u8) -> Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn maybe(self, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.u8(1).u64(value),
            None => self.u8(0),
        }
    }

    pub(crate) fn blob(mut self, value: &[u8]) -> Self {
        // A longer one makes the whole frame oversized, which `finish` refuses.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    pub(crate) fn path(self, value: &Path) -> Self {
        self.blob(value.as_os_str().as_bytes())
    }

    pub(crate) fn list<T>(self, items: &[T], one: impl Fn(Self, &T) -> Self) -> Self {
        let start = self.u32(u32::try_from(items.len()).unwrap_or(u32::MAX));
        items.iter().fold(start, one)
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Malformed> {
        let length = self.bytes.len() - HEADER_BYTES;
        if length > FRAME_BYTES_MAX {
            return Err(Malformed::Oversized { bytes: length });
        }
        let header = u32::try_from(length).expect("the maximum is far below 2^32");
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
        Ok(self.bytes)
    }
}

/// Reads the fields of one frame, in the order they were written.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn maybe(&mut self) -> Result<Option<u64>, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            1 => self.u64().map(Some),
            _ => Err(Malformed::BadValue),
        }
    }

    pub(crate) fn blob(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    pub(crate) fn os(&mut self) -> Result<OsString, Malformed> {
        Ok(OsString::from_vec(self.blob()?.to_vec()))
    }

    pub(crate) fn path(&mut self) -> Result<PathBuf, Malformed> {
        Ok(Path::new(OsStr::from_bytes(self.blob()?)).to_owned())
    }

    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.blob()?.to_vec()).map_err(|_| Malformed::BadValue)
    }

    pub(crate) fn list<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.u32()? as usize;
        // Every item takes a byte at least: a count beyond that is a lie, not a reservation.
        if count > self.rest.len() {
            return Err(Malformed::Truncated);
        }
        (0..count).map(|_| one(self)).collect()
    }

    /// Everything was read.
    pub(crate) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::TrailingBytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let frames: Vec<Vec<u8>> = (0..40_000)
            .map(|at| Writer::new(Kind::Stop).u64(at).finish().expect("short"))
            .collect();
        let stream = frames.concat();
        for size in [1, 7, 4096, stream.len()] {
            let mut buffer = FrameBuffer::default();
            let mut seen = 0;
            for piece in stream.chunks(size) {
                buffer.push(piece);
                while let Some(frame) = buffer.next().expect("well formed") {
                    assert_eq!(frame.fields().u64(), Ok(seen));
                    seen += 1;
                }
                assert!(buffer.bytes.capacity() <= 4 * (size + KEPT_BYTES_MAX), "it is bounded");
            }
            assert_eq!(seen, 40_000);
        }
    }

    #[test]
    fn a_frame_too_long_is_refused_at_both_ends() {
        let long = vec![0; FRAME_BYTES_MAX];
        let refused = Writer::new(Kind::Start).blob(&long).finish();
        assert!(matches!(refused, Err(Malformed::Oversized { .. })), "{refused:?}");
        let mut buffer = FrameBuffer::default();
        buffer.push(&u32::MAX.to_le_bytes());
        assert!(matches!(buffer.next(), Err(Malformed::Oversized { .. })));
    }
}
