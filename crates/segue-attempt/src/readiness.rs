//! Descriptors as futures: the one place that registers them with the event loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the loop.
///
/// # Errors
/// If the kernel refuses, or outside of a runtime.
#[expect(
    deprecated,
    reason = "unsound only for a type whose descriptor changes; `AsFd` rules that out, and the \
              replacement is unsafe, which only the supervisor may be"
)]
pub fn async_fd<T: AsFd + AsRawFd>(descriptor: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(descriptor)
}
