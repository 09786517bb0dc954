//! A run's log, and what spans runs in SQLite.
