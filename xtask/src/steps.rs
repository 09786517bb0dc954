//! A list of named, timed steps of which the first failure ends the whole.
//!
//! It owns the headings and the summary; what a step does is the caller's.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The steps done so far.
pub(crate) struct Steps {
    began: Instant,
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), done: Vec::new() }
    }

    /// Does one step. On failure the summary of what passed before is printed, and the error
    /// names the step.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("\n=== {name}");
        let began = Instant::now();
        let result = work();
        let took = began.elapsed();
        match &result {
            Ok(_) => self.done.push((name, took)),
            Err(_) => {
                eprint!("{}", self.table());
                eprintln!("  FAILED  {name:<24} {:>8.1} s", took.as_secs_f64());
            }
        }
        result.with_context(|| format!("step `{name}` failed"))
    }

    /// Prints the summary of a run in which every step passed.
    pub(crate) fn finish(self) {
        eprint!("{}", self.table());
        let total = self.began.elapsed().as_secs_f64();
        eprintln!("all {} steps passed in {total:.1} s", self.done.len());
    }

    fn table(&self) -> String {
        let mut table = String::from("\n");
        for (name, took) in &self.done {
            table.push_str(&format!("  ok      {name:<24} {:>8.1} s\n", took.as_secs_f64()));
        }
        table
    }
}
