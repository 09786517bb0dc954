//! Owns processes: start, contain, capture, stop, report.
