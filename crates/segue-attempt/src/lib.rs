//! One attempt end to end: render, start, watch, collect, gates.
//!
//! Takes a task of the plan and its scope, and gives back a report of how the attempt ended
//! and what speaks for it. It owns the rendering of commands, the secrets' way into a child,
//! the conversation with the supervisor, and every gate but the scores. It knows no journal,
//! no order of tasks and no other run.
//!
//! Reading order: [`Runner`] (the life of an attempt), `prepare` and `prompt` (before), `process`
//! (during), `collect`, `result` and `gates` (after), `classify` (why it failed), `masking` (what
//! is not told), `list` (the items of a task, before it has attempts).

mod attempt;
mod check;
mod classify;
mod collect;
mod gates;
mod list;
mod masking;
mod prepare;
mod process;
mod prompt;
mod readiness;
mod result;

pub use attempt::{AttemptOrder, Reattached, Runner, Watch};
pub use check::{CheckOrder, Get, no_network};
pub use classify::classify;
pub use prepare::{PrepareError, RunContext, inherited_environment, names_needed, real_path};
pub use process::{Fate, NoEnd, Processes};
pub use readiness::async_fd;
pub use result::{last_json, last_lines, read_result_file, tail_text};
pub use segue_supervisor::{Containment, Launch, adoption, containment, main_hook};
