//! The vocabulary of Segue and its pure machines.
//!
//! Everything that decides lives here and nothing that acts does: no clock, no files, no
//! environment, no chance, no threads. A machine takes an input and the time and returns
//! events and effects; who calls it, when, and what becomes of the effects is the driver's
//! affair. So the same code runs under the local engine, in the simulator, and later inside
//! a Temporal workflow.
//!
//! Reading order: `plan` (what is to be done), `event` (what has happened), `input` (what
//! comes in and goes out), `state` (the fold), `scheduler` (the decisions), `view` (what
//! people see), `template` (expressions).

mod about;
mod approvals;
mod arbiter;
mod checks;
mod ending;
mod event;
mod fan;
mod for_each;
mod forecast;
mod ids;
mod index;
mod input;
mod items;
mod modes;
mod plan;
mod prompt;
mod rehearsal;
mod request;
mod resume;
mod retry;
mod scheduler;
mod scope;
mod services;
mod settle;
mod slots;
mod state;
mod status;
mod stop;
mod stored;
mod template;
mod units;
mod view;
mod waits;
mod worst_case;

pub use arbiter::{Arbiter, ArbiterInput, Decision, Grant, Holder};
pub use event::*;
pub use for_each::{
    ForEach, ITEMS_MAX, ItemSource, KEY_BYTES_MAX, ListSources, OnItemFailure, is_small, item_keys,
    list_items,
};
pub use forecast::{Forecast, Quantiles, quantile};
pub use ids::{AttemptId, InvalidId, ItemKey, NAME_BYTES_MAX, RunId, TaskId, check_name, label};
pub use input::{Effect, Input, Ordered, Output, Resume, ResumeScope};
pub use items::{Expansion, Item, ItemCounts, Items, ItemsReset, ListedItem, NodeIndex};
pub use modes::{Alternative, ChosenMode, ModeChoice, PlanMode};
pub use plan::*;
pub use prompt::{Prompt, PromptArgument, PromptContext};
pub use rehearsal::{Rehearsal, Rehearsed, left_out};
pub use request::RunRequest;
pub use scheduler::{CorruptJournal, IncompatibleState, Scheduler};
pub use scope::{output_scope, run_scope, task_scope};
pub use slots::{AutoSlots, Load, concurrency_for};
pub use state::{AttemptState, AttemptStep, Phase, RunState, STATE_VERSION, TaskEntry};
pub use status::{
    FailureClass, Finding, Outcome, RunStatus, SkipReason, StopReason, TaskStatus, Teardown,
    TimeLimit, WaitingOn,
};
pub use stop::Stop;
pub use stored::Stored;
pub use template::{
    ExpressionError, Mode, check_expression, check_template, evaluate, render, render_known,
    shell_quote, truthy,
};
pub use units::{Millis, Timestamp, Usd};
pub use view::{AttemptView, Metrics, RunView, TaskView};
pub use waits::{
    Answer, ApprovalAnswered, ApprovalAsked, CheckAnswer, CheckEnded, CheckKind, CheckStarted,
    CheckState, GivenAnswer, Precheck, Probe, Question, Service, ServiceReleased, Waits,
};
pub use worst_case::{Unbounded, WorstCase};

/// FNV-1a: a hash that never changes between versions, for names and deterministic jitter.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
