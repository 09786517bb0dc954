//! The `segue` command: everything is in the library, so that Rust users have it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    segue::main_hook();
    segue::cli::main()
}
