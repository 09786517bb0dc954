//! What capture costs: 50 programs that write 20 MB of lines each, into a file, through a copied
//! pipe, and through a supervisor with and without a secret to mask.
//!
//! `cargo run --release --example capture [PROGRAMS] [MEGABYTES]` prints all four and their ratios
//! to the first. One program at a time; each writes 8 KiB at once, as a buffered writer does.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use segue_supervisor::{Client, Launch, Limits, Outcome, Report, Request, Start, Stdin, main_hook};

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<(), Failure> {
    main_hook();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [verb, megabytes] = arguments.as_slice()
        && verb == "lines"
    {
        return Ok(lines(megabytes.parse()?)?);
    }
    let mut numbers = arguments.iter().filter_map(|argument| argument.parse::<u64>().ok());
    let programs = numbers.next().unwrap_or(50);
    let megabytes = numbers.next().unwrap_or(20);
    let dir = std::env::temp_dir().join(format!("segue-capture-{}", std::process::id()));
    let mut took = [const { Vec::new() }; 4];
    for _ in 0..5 {
        std::fs::create_dir_all(&dir)?;
        took[0].push(timed(|| redirected(&dir, programs, megabytes))?);
        took[1].push(timed(|| copied(&dir, programs, megabytes))?);
        took[2].push(timed(|| supervised(&dir, programs, megabytes, &[]))?);
        took[3].push(timed(|| supervised(&dir, programs, megabytes, &[b"s3cr3t-value"]))?);
        std::fs::remove_dir_all(&dir)?;
    }
    let median = took.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    let names = ["into a file", "copied pipe", "supervisor", "supervisor, masking"];
    for (name, time) in names.into_iter().zip(median) {
        let ratio = time.as_secs_f64() / median[0].as_secs_f64();
        println!("{programs} × {megabytes} MB, {name}: {time:.1?}, {ratio:.2} ×");
    }
    Ok(())
}

fn timed(run: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let begun = Instant::now();
    run()?;
    Ok(begun.elapsed())
}

/// The program: lines of 64 bytes, of varied text.
fn lines(megabytes: usize) -> std::io::Result<()> {
    let mut block = Vec::new();
    for number in 0..128 {
        writeln!(block, "{number:08} and some text that could be progress of a program..")?;
    }
    let mut left = megabytes * 1_000_000;
    let mut out = std::io::stdout().lock();
    while left > 0 {
        let count = left.min(block.len());
        out.write_all(&block[..count])?;
        left -= count;
    }
    out.flush()
}

fn program(megabytes: u64) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["lines", &megabytes.to_string()]).stdin(Stdio::null());
    Ok(command)
}

fn redirected(dir: &Path, programs: u64, megabytes: u64) -> Result<(), Failure> {
    for number in 0..programs {
        let file = File::create(dir.join(format!("file-{number}")))?;
        program(megabytes)?.stdout(file).status()?;
    }
    Ok(())
}

fn copied(dir: &Path, programs: u64, megabytes: u64) -> Result<(), Failure> {
    let mut buffer = vec![0; 64 << 10];
    for number in 0..programs {
        let mut file = File::create(dir.join(format!("copy-{number}")))?;
        let mut child = program(megabytes)?.stdout(Stdio::piped()).spawn()?;
        let mut pipe = child.stdout.take().ok_or("no pipe")?;
        loop {
            let count = pipe.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count])?;
        }
        child.wait()?;
    }
    Ok(())
}

fn supervised(dir: &Path, programs: u64, megabytes: u64, secrets: &[&[u8]]) -> Result<(), Failure> {
    let run_dir = dir.join(format!("run-{}", secrets.len()));
    std::fs::create_dir_all(&run_dir)?;
    let mut client = Client::launch(&Launch::default())?;
    client.send(&Request::OpenRun { run_dir: run_dir.clone() })?;
    let own = std::env::current_exe()?;
    for number in 1..=programs {
        let start = Start {
            run_dir: run_dir.clone(),
            number,
            label: format!("task-{number}.1"),
            attempt_dir: run_dir.join(format!("attempts/task-{number}.1")),
            argv: vec![own.clone().into(), "lines".into(), megabytes.to_string().into()],
            cwd: run_dir.clone(),
            env: Vec::new(),
            stdin: Stdin::Null,
            secrets: secrets.iter().map(|secret| secret.to_vec()).collect(),
            limits: Limits { output_bytes_max: Some(100 << 20), ..Limits::default() },
            token: String::new(),
            leave: Vec::new(),
        };
        client.send(&Request::Start(Box::new(start)))?;
        let ended = loop {
            match client.receive()? {
                Some(Report::Ended(ended)) => break ended,
                Some(_) => {}
                None => wait_readable(&client),
            }
        };
        let is_whole = ended.stdout_bytes == megabytes * 1_000_000 && ended.omitted_bytes == 0;
        if !is_whole || ended.outcome != (Outcome::Exited { code: 0 }) {
            return Err(format!("{ended:?}").into());
        }
    }
    Ok(())
}

/// Waits as an event loop would.
#[expect(unsafe_code, reason = "the standard library cannot wait for a descriptor")]
fn wait_readable(client: &Client) {
    let mut entry = libc::pollfd { fd: client.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one live entry.
    unsafe { libc::poll(&raw mut entry, 1, -1) };
}
