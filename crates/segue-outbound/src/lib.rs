//! What Segue asks of the network by itself: so far, whether an address answers.
//!
//! Each request is bounded in time and comes back as a word for people. It knows no plan, no
//! run and no process; what an answer means is decided elsewhere.

mod probe;

pub use probe::get;
