//! One attempt end to end: render, start, collect, gates.
