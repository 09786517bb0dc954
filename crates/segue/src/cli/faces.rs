//! Which faces show a run while it goes on in this process.

use std::path::Path;

use segue_core::{Plan, Recorded, RunView};
use segue_engine::Observer;

use super::error::CommandResult;
use crate::progress::{JsonEvents, LiveProgress, OutputFollower, PlainLines, TailStyle};

/// What to show of the tasks' own output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    #[default]
    None,
    Prefixed,
    Raw,
}

/// What to show of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Show {
    pub(crate) output: Output,
    /// Every event as JSON on stdout.
    pub(crate) events: bool,
    /// The result as JSON on stdout.
    pub(crate) result: bool,
}

/// Several observers as one.
struct Faces(Vec<Box<dyn Observer>>);

impl Observer for Faces {
    fn observe(&mut self, events: &[Recorded], view: &RunView) {
        for face in &mut self.0 {
            face.observe(events, view);
        }
    }
}

/// Drives with the faces that `show` asks for; they are gone when this returns.
pub(crate) fn with_faces<T>(
    show: &Show,
    run_dir: &Path,
    plan: &Plan,
    drive: impl FnOnce(&mut dyn Observer) -> CommandResult<T>,
) -> CommandResult<T> {
    let mut faces: Vec<Box<dyn Observer>> = Vec::new();
    if show.events {
        faces.push(Box::new(JsonEvents::new()));
    } else if !show.result && show.output == Output::None && console::user_attended_stderr() {
        faces.push(Box::new(LiveProgress::new(run_dir)));
    } else {
        faces.push(Box::new(PlainLines::new(plan)));
    }
    let style = match show.output {
        Output::None => None,
        Output::Prefixed => Some(TailStyle::Prefixed),
        Output::Raw => Some(TailStyle::Raw),
    };
    if let Some(style) = style {
        faces.push(Box::new(OutputFollower::new(run_dir, style)));
    }
    drive(&mut Faces(faces))
}
