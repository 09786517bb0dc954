//! The vocabulary and the pure machines: scheduler and arbiter.
