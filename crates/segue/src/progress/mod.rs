//! What people and programs see of a run while it goes on in this process.
//!
//! Each face is an [`Observer`]: it takes events, hands them to a thread of its own and returns
//! at once, so that a slow terminal or pipe never stalls a run. `teller` puts events into
//! words; `plain` prints them as lines, `live` as a screen (`screen` is its contents),
//! `json_events` as JSON; `follower` prints the attempts' own output, by `tailer`, which also
//! serves `segue logs`. All of it ends when it is dropped, with everything written.
//!
//! The first call of an observer brings the history of a resumed run. It is taken in, not told.
//!
//! [`Observer`]: segue_engine::Observer

mod follower;
mod json_events;
mod last_line;
mod live;
mod outlet;
mod plain;
mod screen;
mod tailer;
mod teller;
pub(crate) mod waits;

pub(crate) use follower::OutputFollower;
pub(crate) use json_events::JsonEvents;
pub(crate) use live::LiveProgress;
pub(crate) use plain::PlainLines;
pub(crate) use tailer::{TailStyle, Tailer};

/// Text of a task as it may stand within one line of a screen: no escape sequences, no control
/// characters.
pub(crate) fn plain_text(text: &str) -> String {
    let text = console::strip_ansi_codes(text);
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_whitespace() => plain.push(' '),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests;
