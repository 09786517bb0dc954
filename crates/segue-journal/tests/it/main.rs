//! The journal and the store on a real disk: what survives, what is refused, who may write.

mod journal;
mod support;
