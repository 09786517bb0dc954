//! The journal, the store and the index on a real disk: what survives, what is refused, who
//! may write, and what many engines do to each other.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's failure")]

mod disk_full;
mod engines;
mod golden;
mod groups;
mod index;
mod journal;
mod list;
mod round_trip;
mod samples;
mod samples_waits;
mod statistics;
mod store;
mod support;
