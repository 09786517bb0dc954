//! The real `segue` binary on real processes, in temporary folders: what a user would see.

mod adoption;
mod cli;
mod coordinator;
mod flow;
mod lab;
mod page;
mod podcast;
