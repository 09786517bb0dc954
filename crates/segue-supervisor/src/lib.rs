//! Owns processes: start, contain, capture, stop, report.
//!
//! placeholder
#![warn(missing_docs)]

pub mod adoption;
mod client;
mod codec;
mod entry;
mod keeper;
mod link;
mod mask;
mod records;
mod report;
mod request;
mod supervisor;
#[expect(unsafe_code, reason = "system calls; every block says why it is sound")]
mod sys;
mod tree;
mod wire;

pub use client::{Client, Launch, LaunchError};
pub use entry::main_hook;
pub use report::{Ended, Outcome, Report, SpawnFailure, Teardown, TimeLimit};
pub use request::{
    Limits, Request, SECRET_BYTES_MIN, Start, StartError, Stdin, StopMode, StopReason,
};
