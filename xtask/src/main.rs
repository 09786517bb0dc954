//! What builds, tests and measures Segue: `cargo xtask test | setup | tidy | generate | bench`.
//!
//! It owns the order of the checks, the pinned versions of the tools they need, and the bars of
//! the benchmark. It links none of Segue's crates: it knows them as text, as `cargo metadata`
//! and as the `segue` binary, so that it builds and runs when they do not.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's tool: findings and tables go to stdout, talk to stderr"
)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod command;
mod generate;
mod steps;
mod test;
mod tidy;
mod tools;

/// Builds, tests and measures Segue.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the tests need, pinned, and run every check that CI runs.
    Test,
    /// Install what the tests need, pinned, and run nothing.
    Setup,
    /// Check the rules of style that no lint knows, and the arrows between crates.
    Tidy {
        /// Lower the numbers of the ratchet list to what the files are now; never raise one.
        #[arg(long)]
        lower: bool,
    },
    /// Write the files that are made from code.
    Generate {
        /// Write nothing; fail where a file is not what the code would write.
        #[arg(long)]
        check: bool,
    },
    /// Measure Segue beside a floor taken in the same run, and print a Markdown table.
    Bench(bench::Options),
    /// Print lines of text: what the output workload of `bench` runs.
    #[command(hide = true)]
    Lines {
        /// Exactly so many bytes.
        bytes: u64,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Test => test::run(),
        Verb::Setup => test::setup(),
        Verb::Tidy { lower: true } => tidy::lower_ratchet(),
        Verb::Tidy { lower: false } => tidy::run(),
        Verb::Generate { check } => generate::run(check),
        Verb::Bench(options) => bench::run(&options),
        Verb::Lines { bytes } => bench::write_lines(bytes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
