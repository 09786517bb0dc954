//! `cargo xtask bench`: Segue beside a floor that is measured in the same run.
//!
//! The floor is the least that could give a part of Segue's promise: one loop that starts each
//! process by `posix_spawn`, waits for any, and appends and syncs one line per finished task.
//! Absolute figures of a shared machine move by a third from hour to hour; the ratio of medians
//! of interleaved runs holds. A run of `segue` counts only if its `state.json` says that every
//! task succeeded.
//!
//! It owns the bars. What only a crate can measure about itself lies in that crate's
//! `examples/` and is called if present; a line `bench: NAME VALUE` of its output is held against
//! the bar of that name ([`EXAMPLES`]).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{self, cargo, target_dir};
use table::{Bar, Row, Value, median};
use workload::Workload;

mod floor;
mod segue;
mod table;
mod workload;

/// What to measure, and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Fail when a bar is missed; without it the table is all there is.
    #[arg(long)]
    check: bool,
    /// Interleaved runs of each workload; the median counts.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Make every sync this much slower, for Segue and for the floor.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    slow_sync: u64,
    /// Only rows whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Measure the floor alone; needs no `segue`.
    #[arg(long)]
    floor: bool,
}

/// A program of a crate that measures what only that crate can.
struct Example {
    package: &'static str,
    name: &'static str,
    /// Its lines by name, and the bar of each.
    bars: &'static [(&'static str, Bar)],
}

/// The examples that are called if present.
const EXAMPLES: &[Example] = &[
    Example {
        package: "segue-journal",
        name: "commit_latency",
        bars: &[("commit_p99_ratio", Bar::Most(3.0, ""))],
    },
    Example {
        package: "segue-core",
        name: "throughput",
        bars: &[("inputs_per_s", Bar::Least(100_000.0, "/s"))],
    },
];

/// Runs of the short commands, whose medians need more of them.
const SHORT_RUNS: usize = 21;

/// Measures everything and prints the table to stdout.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.runs == 0 {
        bail!("no runs to take the median of");
    }
    let scratch = Scratch::new()?;
    let binary = if options.floor { None } else { Some(build()?) };
    let bench = Bench { options, scratch: &scratch.0, binary: binary.as_deref() };
    let mut rows = Vec::new();
    for workload in workload::all()? {
        if bench.wants(&workload.name) {
            rows.push(bench.compare(&workload)?);
        }
    }
    if bench.wants(PIPE_COPY) {
        rows.push(bench.pipe_copy()?);
    }
    if let Some(binary) = &binary {
        rows.extend(bench.single_figures(binary)?);
        rows.extend(bench.examples()?);
    }
    println!("{}", table::render(&rows, options.slow_sync));
    let missed = rows.iter().filter(|row| !row.holds()).count();
    if options.check && missed > 0 {
        bail!("{missed} bars were missed");
    }
    Ok(())
}

/// Prints lines of text to stdout, `bytes` bytes in all, as fast as the reader takes them.
pub(crate) fn write_lines(bytes: u64) -> Result<()> {
    const LINE: &[u8] = b"the quick brown fox jumps over the lazy dog, line after line of it\n";
    let block = LINE.repeat(1_000);
    let mut stdout = std::fs::File::from(
        std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned().context("no stdout")?,
    );
    let mut left = usize::try_from(bytes).context("too many bytes")?;
    while left > 0 {
        let size = left.min(block.len());
        stdout.write_all(&block[..size]).context("failed to write to stdout")?;
        left -= size;
    }
    Ok(())
}

/// Builds the release binary and returns where it lies.
fn build() -> Result<PathBuf> {
    command::run(cargo().args(["build", "--release", "--package", "segue", "--bin", "segue"]))?;
    Ok(target_dir().join("release/segue"))
}

const PIPE_COPY: &str = "50 × 20 MB of lines, a bare pipe copy at 8";

/// One invocation of the benchmark.
struct Bench<'a> {
    options: &'a Options,
    scratch: &'a Path,
    binary: Option<&'a Path>,
}

impl Bench<'_> {
    fn wants(&self, name: &str) -> bool {
        self.options.only.as_ref().is_none_or(|text| name.contains(text.as_str()))
    }

    fn sync_delay(&self) -> Duration {
        Duration::from_millis(self.options.slow_sync)
    }

    /// The floor and Segue in turn on one workload.
    fn compare(&self, workload: &Workload) -> Result<Row> {
        let (mut floors, mut segues) = (Vec::new(), Vec::new());
        let mut failure = None;
        for round in 1..=self.options.runs {
            eprintln!("{}: round {round}", workload.name);
            floors.push(floor::run(workload, workload.sink, self.scratch, self.sync_delay())?);
            if let Some(binary) = self.binary
                && failure.is_none()
            {
                match segue::run(binary, workload, self.scratch, self.options.slow_sync) {
                    Ok(seconds) => segues.push(seconds),
                    Err(error) => failure = Some(format!("{error:#}")),
                }
            }
        }
        let measured = match failure {
            Some(failure) => Value::Failed(failure),
            None if segues.is_empty() => Value::NotMeasured,
            None => Value::Measured(median(segues)),
        };
        let floor = Some(median(floors));
        Ok(Row { name: workload.name.clone(), floor, measured, unit: "s", bar: workload.bar })
    }

    /// What the same bytes cost through a pipe and nothing else: a second floor, to read the
    /// ratio of the output workload by.
    fn pipe_copy(&self) -> Result<Row> {
        let workload = workload::output()?;
        let (mut files, mut pipes) = (Vec::new(), Vec::new());
        for round in 1..=self.options.runs {
            eprintln!("{PIPE_COPY}: round {round}");
            for (sink, times) in [(floor::Sink::File, &mut files), (floor::Sink::Pipe, &mut pipes)]
            {
                times.push(floor::run(&workload, sink, self.scratch, self.sync_delay())?);
            }
        }
        let (floor, measured) = (Some(median(files)), Value::Measured(median(pipes)));
        Ok(Row { name: PIPE_COPY.to_owned(), floor, measured, unit: "s", bar: Bar::None })
    }

    /// The figures that have no floor.
    fn single_figures(&self, binary: &Path) -> Result<Vec<Row>> {
        let slow_sync = self.options.slow_sync;
        let scratch = self.scratch;
        let mut rows = Vec::new();
        let mut add = |name: &str, unit, bar, measure: &dyn Fn() -> Result<f64>| {
            if !self.wants(name) {
                return;
            }
            eprintln!("{name}");
            let measured = match measure() {
                Ok(value) => Value::Measured(value),
                Err(error) => Value::Failed(format!("{error:#}")),
            };
            rows.push(Row { name: name.to_owned(), floor: None, measured, unit, bar });
        };
        add("`segue --version`", "ms", Bar::Most(5.0, " ms"), &|| {
            let times = (0..SHORT_RUNS).map(|_| segue::version(binary));
            Ok(median(times.collect::<Result<_>>()?) * 1e3)
        });
        add("a one-task run", "ms", Bar::Most(20.0, " ms"), &|| {
            let one = workload::flat(1, 1);
            let times = (0..SHORT_RUNS).map(|_| segue::run(binary, &one, scratch, slow_sync));
            Ok(median(times.collect::<Result<_>>()?) * 1e3)
        });
        add("peak PSS of Segue's processes, 50 × 20 MB", "MB", Bar::Most(40.0, " MB"), &|| {
            segue::peak_memory(binary, &workload::output()?, scratch, slow_sync)
        });
        add("check of a plan of 100,000 tasks", "s", Bar::Most(2.0, " s"), &|| {
            segue::check(binary, &workload::layers(1_000, 100, 1), scratch)
        });
        add("resume of a journal of 100,000 events", "s", Bar::Most(1.0, " s"), &|| {
            segue::resume(binary, &workload::flat(25_000, 8), scratch)
        });
        Ok(rows)
    }

    /// The examples that are there, each with its bars.
    fn examples(&self) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for Example { package, name, bars } in EXAMPLES {
            let path = command::root().join(format!("crates/{package}/examples/{name}.rs"));
            if !path.exists() || !bars.iter().any(|(name, _)| self.wants(name)) {
                continue;
            }
            let mut run = cargo();
            run.args(["run", "--release", "--package", package, "--example", name]);
            let output = command::read(&mut run);
            if let Ok(text) = &output {
                eprint!("{text}");
            }
            for (name, bar) in *bars {
                let measured = match &output {
                    Ok(text) => example_value(text, name),
                    Err(error) => Value::Failed(format!("{error:#}")),
                };
                let name = format!("{name} of {package}");
                rows.push(Row { name, floor: None, measured, unit: "", bar: *bar });
            }
        }
        Ok(rows)
    }
}

/// The value of the line `bench: NAME VALUE` of an example's output.
fn example_value(text: &str, name: &str) -> Value {
    let words = text.lines().filter_map(|line| line.strip_prefix("bench: "));
    let mut values = words.filter_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then(|| value.split(' ').next()?.replace(['_', ','], "").parse().ok())?
    });
    match values.next() {
        Some(value) => Value::Measured(value),
        None => Value::Failed(format!("printed no line `bench: {name} VALUE`")),
    }
}

/// A folder below the target directory, on the disk that is measured; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let folder = target_dir().join(format!("bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("failed to remove `{}`: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_examples_line_is_read_by_name() {
        let text = "warming up\nbench: other 1\nbench: inputs_per_s 1_250_000 /s\n";
        assert!(matches!(example_value(text, "inputs_per_s"), Value::Measured(v) if v == 1.25e6));
        assert!(matches!(example_value(text, "missing"), Value::Failed(_)));
    }
}
