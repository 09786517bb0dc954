//! The driver: the one event loop that hosts the machines.
//!
//! Takes a run in hand ([`Session`], [`Taken`]), drives it to its end ([`drive`]), and tells
//! observers of it. It owns the run's lock, its journal's only writer, the timer, and the
//! conversation with `segue.db`. It decides nothing: that is the scheduler's. It knows no YAML,
//! no terminal and no network, and never touches a process but through `segue-attempt`.
//!
//! Reading order: `drive` (the loop and its theory of operation), `session` (how a run is
//! taken in hand), `sync` and `spans` (the two threads beside it), `state_file`, `requests`,
//! `load`.

mod changes;
mod clock;
mod disk;
mod drive;
mod load;
mod requests;
mod session;
mod spans;
mod state_file;
mod sync;

pub use changes::Changes;
pub use clock::wall_now;
pub use drive::{Finished, Observer, drive};
pub use load::LoadReader;
pub use requests::{Request, send_request};
pub use segue_attempt::{Launch, RunContext, inherited_environment};
pub use session::{RunError, Session, Taken};
pub use state_file::{STATE_FILE_VERSION, mode_of, put_time, state_document};
