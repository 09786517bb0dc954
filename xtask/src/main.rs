//! What builds, tests and measures Segue.
fn main() {}
