//! Owns processes: start, contain, capture, stop, report.
//!
//! # Theory of operation
//!
//! Three kinds of process work together. The **engine** holds a [`Client`]. The **supervisor**
//! is a fork server, the same program started again ([`main_hook`]), with one thread and one
//! socket to the engine. It forks **keepers** without exec and uses them again and again; a
//! keeper owns one attempt at a time. Both lead lives of their own: a Ctrl-C at the engine's
//! terminal does not reach them, and neither dies with the process above it.
//!
//! ```text
//! engine ──Request──> supervisor ──start, stop──> keeper ──exec──> program
//!        <──Report───            <──spawned, ended──  │ <──pipes──  └ what it forks
//!                                                     └ attempts.jsonl, stdout.log, stderr.log
//! ```
//!
//! **What is below a keeper is the attempt.** A keeper is a child subreaper: whatever loses its
//! parent below it becomes its child, whatever that did to its session, group, environment,
//! descriptors or user. So `waitpid(-1)` answering `ECHILD` is the proof that the tree is
//! empty, and nothing is ever looked for by name. A program is stopped by a ladder – its
//! interrupt, TERM to the whole tree, KILL when the grace is over – and KILL is a loop: list
//! the tree, STOP what is new until a listing shows nothing new, KILL all, wait; what forks
//! faster than one pass is caught by a later one, for what is stopped forks no more. What
//! outlives its program has 100 ms to end by itself and is a straggler after that. KILL that for
//! two seconds met nothing new, or went on for ten, and has not emptied the tree is given up as
//! `Unverified`, and that keeper is not used again.
//!
//! **Output needs no end of file.** The keeper holds the writing ends of both pipes, too. It
//! moves what comes until the tree is empty, then what is left; a pipe held open by something
//! far away delays nothing. Bytes go from pipe to file in the kernel unless there are secrets
//! to mask or a limit was reached. Nothing is made on disk before the first byte.
//!
//! **Limits have one owner**, the keeper, which computes every wait from CLOCK_BOOTTIME. They
//! hold without supervisor or engine. When either is gone the keeper starts the `orphan_ms`
//! clock; when that runs out and nobody holds `run.lock`, the attempt is stopped and parked.
//!
//! **Memory and processor of a tree** are held by a control group where one can be made for the
//! attempt; the program joins it before it is the program, so that nothing of it ever was
//! outside. Elsewhere the keeper samples the memory of everything below it each second and kills
//! all of it past the limit, and nobody holds the processor's: see [`containment`].
//!
//! **Records speak to engines that come later.** Before a program is spawned its keeper locks
//! the byte of the attempt's number in `attempts.jsonl` and appends `spawning`; after the end
//! it appends `ended` and unlocks. The lock ends with the process, however that ends. So, see
//! [`adoption`]: no line is *never started*, `ended` is itself, a lock is *running*, neither is
//! *lost*. For "never started" to be true while a start may be on its way, the supervisor holds
//! the run's `starts.lock` until its engine's socket has ended and all that came through it is
//! recorded. If it is killed before, its keepers drop what they have not recorded: having
//! locked the number, a keeper looks whether its parent still lives; an adopter makes sure of
//! the supervisor's death first and looks at locks after. Whichever comes first, one of them
//! sees the other.
//!
//! **Who ends what, when something is killed.**
//!
//! | killed | what happens |
//! | --- | --- |
//! | engine | the supervisor hands out what it was sent, exits with its last keeper |
//! | supervisor | keepers finish their attempts and exit; the engine starts another supervisor |
//! | keeper | its program dies with it; the supervisor ends the rest, records `lost` |
//! | both | the program dies; what hid below it is swept by its environment token |
//!
//! **Absences.** No threads and no waiting for anything but poll, in supervisor and keeper. No
//! `unsafe` outside `sys`. No exec of helpers. No signal to a process number that could have
//! been reused. Nothing inherited by a program: its descriptors are three, its environment is
//! what the start says, its signals are at their defaults. Linux only.
//!
//! Out of reach is what others start on an attempt's request: a container, a unit, a `tmux`
//! server that was there before. A process of another user that may not be signalled makes a
//! teardown `Unverified`.

pub mod adoption;
mod cgroup;
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

pub use cgroup::{Containment, containment};
pub use client::{Client, Launch, LaunchError};
pub use entry::main_hook;
pub use mask::Masker;
pub use report::{Ended, MemoryExceeded, Outcome, Report, SpawnFailure, Teardown, TimeLimit};
pub use request::{
    Limits, Request, SECRET_BYTES_MIN, Start, StartError, Stdin, StopMode, StopReason,
};
