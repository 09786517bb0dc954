//! Progress as plain lines, for logs and for terminals that are none.

use std::io::Write;

use jiff::tz::TimeZone;
use segue_core::{Plan, Recorded, RunStatus, RunView, TaskStatus};
use segue_engine::Observer;

use super::outlet::Outlet;
use super::teller::{Line, Teller, Tone};

/// Prints `12:03:04 script  succeeded in 2.3s` and the like.
#[derive(Debug)]
pub(crate) struct PlainLines {
    outlet: Outlet,
    teller: Teller,
    zone: TimeZone,
    colour: bool,
    begun: bool,
}

impl PlainLines {
    /// To stderr, in local time, in colour where stderr is a terminal that has it.
    pub(crate) fn new(plan: &Plan) -> Self {
        let colour = std::env::var_os("NO_COLOR").is_none() && console::colors_enabled_stderr();
        Self::with_sink(plan, std::io::stderr(), TimeZone::system(), colour)
    }

    pub(super) fn with_sink(
        plan: &Plan,
        sink: impl Write + Send + 'static,
        zone: TimeZone,
        colour: bool,
    ) -> Self {
        let (outlet, teller) = (Outlet::new(sink), Teller::new(plan));
        Self { outlet, teller, zone, colour, begun: false }
    }

    fn format(&self, line: &Line) -> String {
        let time =
            line.at.to_jiff().to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S").to_string();
        let width = self.teller.width();
        let text = coloured(line, self.colour);
        format!("{time} {:width$}  {text}\n", line.subject)
    }
}

impl Observer for PlainLines {
    fn observe(&mut self, events: &[Recorded], view: &RunView) {
        let history = !std::mem::replace(&mut self.begun, true);
        let mut text = String::new();
        for recorded in events {
            let line = self.teller.tell(recorded, view);
            if let Some(line) = line.filter(|_| !history) {
                text.push_str(&self.format(&line));
            }
        }
        if !text.is_empty() {
            self.outlet.send(text.into_bytes());
        }
    }
}

/// A line's text in the colour of its tone.
pub(super) fn coloured(line: &Line, colour: bool) -> String {
    if !colour {
        return line.text.clone();
    }
    let style = console::Style::new().force_styling(true);
    let style = match line.tone {
        Tone::Run(RunStatus::Succeeded) | Tone::Task(TaskStatus::Succeeded) => style.green(),
        Tone::Run(RunStatus::Failed) | Tone::Task(TaskStatus::Failed) => style.red(),
        Tone::Run(RunStatus::Warned) | Tone::Task(TaskStatus::Waiting | TaskStatus::Blocked) => {
            style.yellow()
        }
        Tone::Run(RunStatus::Cancelled | RunStatus::Interrupted)
        | Tone::Task(TaskStatus::Cancelled) => style.magenta(),
        Tone::Run(RunStatus::Running) => style.bold(),
        Tone::Task(_) => style.dim(),
    };
    style.apply_to(&line.text).to_string()
}
