//! Stdout, where data goes: it remembers why a write failed, so that an exit code cannot say that
//! all is well with half of a report written. A reader that has gone away is no failure.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;

static FAULT: OnceLock<String> = OnceLock::new();

/// This process's stdout.
#[derive(Debug)]
pub(crate) struct Stdout(io::Stdout);

impl Stdout {
    pub(crate) fn new() -> Self {
        Self(io::stdout())
    }

    /// Why something could not be written, if it was not for want of a reader.
    pub(crate) fn fault() -> Option<&'static str> {
        FAULT.get().map(String::as_str)
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(remember)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(remember)
    }
}

fn remember(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) {
        FAULT.get_or_init(|| error.to_string());
    }
}
