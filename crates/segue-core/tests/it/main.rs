//! The core's tests at its boundary: inputs and time go in, events and effects come out.
//!
//! Tables of single cases stand in files by theme and use the [`rig`]; the [`simulator`] runs
//! random plans through a [`world`] that crashes, repeats itself and comes late.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's failure")]
#![expect(clippy::print_stdout, reason = "a history is told step by step when asked for")]

mod approvals;
mod audit;
mod audit_waits;
mod chance;
mod checks;
mod conditions;
mod failure;
mod groups;
mod items;
mod modes;
mod order;
mod plans;
mod previews;
mod random_plans;
mod resume;
mod rig;
mod sections;
mod services;
mod simulator;
mod snapshot;
mod stop;
mod verdict;
mod view;
mod world;
mod world_checks;
