//! The journal and the store on a real disk: what survives, what is refused, who may write.

#![expect(clippy::unwrap_used, reason = "a failed step is the test's failure")]

mod journal;
mod support;
