//! The real `segue` binary on real processes, in temporary folders: what a user would see.

mod adoption;
mod cli;
mod coordinator;
mod exec;
mod flow;
mod items;
mod lab;
mod lessons;
mod library;
mod page;
mod patterns;
mod podcast;
mod waits;
