//! `--json=events`: every event as a line of JSON on stdout, as the journal has it.

use segue_core::{Recorded, RunView};
use segue_engine::Observer;

use super::outlet::Outlet;

/// Prints new events. Those before a resume are in the journal, for `segue events`.
#[derive(Debug)]
pub(crate) struct JsonEvents {
    outlet: Outlet,
    begun: bool,
}

impl JsonEvents {
    /// To stdout; a broken pipe is success.
    pub(crate) fn new() -> Self {
        Self::with_sink(crate::stdout::Stdout::new())
    }

    pub(super) fn with_sink(sink: impl std::io::Write + Send + 'static) -> Self {
        Self { outlet: Outlet::new(sink), begun: false }
    }
}

impl Observer for JsonEvents {
    fn observe(&mut self, events: &[Recorded], _view: &RunView) {
        if !std::mem::replace(&mut self.begun, true) {
            return;
        }
        let mut bytes = Vec::new();
        for recorded in events {
            if serde_json::to_writer(&mut bytes, recorded).is_ok() {
                bytes.push(b'\n');
            }
        }
        if !bytes.is_empty() {
            self.outlet.send(bytes);
        }
    }
}
