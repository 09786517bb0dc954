//! The segue binary, and the library facade for Rust users.
