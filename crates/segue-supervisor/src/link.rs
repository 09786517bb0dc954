//! One end of a socket that carries frames, never waiting.
//!
//! Owns the bytes on their way out and in. Does not know what a frame means. What cannot be
//! written now stays queued; who waits for the socket asks [`Link::has_queued`] whether also for
//! room in it.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::wire::{Frame, FrameBuffer, Malformed};

const READ_BYTES: usize = 16 << 10;

#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    incoming: FrameBuffer,
    outgoing: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let incoming = FrameBuffer::default();
        Ok(Self { stream, incoming, outgoing: Vec::new(), written: 0, ended: false })
    }

    /// Queues whole frames and writes what the socket takes.
    ///
    /// # Errors
    /// The other end is gone.
    pub(crate) fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.outgoing.extend_from_slice(frames);
        self.flush().map(drop)
    }

    /// Writes what the socket takes; true when nothing is left.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.has_queued() {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(READ_BYTES);
        self.written = 0;
        Ok(true)
    }

    pub(crate) fn has_queued(&self) -> bool {
        self.written < self.outgoing.len()
    }

    /// Takes in what has arrived, at most a fixed amount; false when there was nothing.
    ///
    /// The end of the stream, in whatever way it came, shows by [`Link::has_ended`]; frames before
    /// it can still be taken.
    pub(crate) fn fill(&mut self) -> bool {
        let mut bytes = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(count) if count > 0 => {
                    self.incoming.push(&bytes[..count]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // A socket closed with unread bytes in it answers with a reset, once.
                Ok(_) | Err(_) => {
                    self.ended = true;
                    return false;
                }
            }
        }
    }

    /// Ends the stream towards the other end; what it still says can be read.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// Whether the other end has closed and every byte before that was taken in.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next whole frame that was taken in.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Malformed> {
        self.incoming.next()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
