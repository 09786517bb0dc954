//! What is left of a run to read: `report.json`, `report.md` and `report.html`.
//!
//! `facts` draws from the view what more than one format shows, `advice` the recommendations;
//! each format has its module. It reads a [`RunView`] and nothing else: log tails come from
//! the caller.
//!
//! [`RunView`]: segue_core::RunView

mod advice;
mod facts;
mod html;
mod json;
mod markdown;
#[cfg(test)]
pub(crate) mod sample;

pub use html::html;
pub use json::json;
pub use markdown::markdown;

pub(crate) use facts::{bytes, counts, duration, item_words, task_cost, whole_cost};

#[cfg(test)]
mod tests;
