//! What an attempt costs: 1,000 × `true` through a supervisor against a bare spawn loop.
//!
//! `cargo run --release --example flat [ATTEMPTS] [SLOTS]` prints both and their ratio, in time
//! and in processor time; the second tells more on a machine that others use too.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use segue_supervisor::{
    Client, Launch, Limits, Outcome, Report, Request, Start, Stdin, Teardown, main_hook,
};

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn main() -> Result<(), Failure> {
    main_hook();
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let attempts: u64 = numbers.next().unwrap_or(1_000);
    let slots: u64 = numbers.next().unwrap_or(2);
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    let (mut floors_busy, mut ours_busy) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let before = busy();
        floors.push(floor(attempts, slots)?);
        let between = busy();
        ours.push(supervised(attempts, slots)?);
        floors_busy.push(between - before);
        ours_busy.push(busy() - between);
    }
    let row = |what, mut floors: Vec<Duration>, mut ours: Vec<Duration>| {
        floors.sort();
        ours.sort();
        let (floor, ours) = (floors[4], ours[4]);
        let ratio = ours.as_secs_f64() / floor.as_secs_f64();
        println!("{attempts} × true at {slots}, {what}: {floor:.1?} → {ours:.1?}, {ratio:.2} ×");
    };
    row("time", floors, ours);
    row("processor", floors_busy, ours_busy);
    Ok(())
}

/// Processor time of this process and of all it waited for, and they.
#[expect(unsafe_code, reason = "the standard library does not tell")]
fn busy() -> Duration {
    let used = |who| {
        // SAFETY: an all-zero rusage is valid and the pointer is to a live one.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(who, &raw mut usage);
            usage
        };
        [usage.ru_utime, usage.ru_stime].map(|time| {
            Duration::new(time.tv_sec.unsigned_abs(), time.tv_usec.unsigned_abs() as u32 * 1000)
        })
    };
    [libc::RUSAGE_SELF, libc::RUSAGE_CHILDREN].into_iter().flat_map(used).sum()
}

/// `posix_spawn` and wait, `slots` at once.
fn floor(attempts: u64, slots: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let mut running = std::collections::VecDeque::new();
    for _ in 0..attempts {
        if running.len() as u64 == slots
            && let Some(mut oldest) = running.pop_front()
        {
            std::process::Child::wait(&mut oldest)?;
        }
        running.push_back(Command::new("/bin/true").stdin(Stdio::null()).spawn()?);
    }
    for mut child in running {
        child.wait()?;
    }
    Ok(begun.elapsed())
}

fn supervised(attempts: u64, slots: u64) -> Result<Duration, Failure> {
    let run_dir = std::env::temp_dir().join(format!("segue-flat-{}", std::process::id()));
    std::fs::create_dir_all(&run_dir)?;
    let begun = Instant::now();
    let mut client = Client::launch(&Launch::default())?;
    client.send(&Request::OpenRun { run_dir: run_dir.clone() })?;
    let (mut started, mut ended) = (0, 0);
    while started < attempts.min(slots) {
        started += 1;
        client.send(&Request::Start(Box::new(start(&run_dir, started))))?;
    }
    while ended < attempts {
        match client.receive()? {
            Some(Report::Ended(report)) => {
                let is_fine = report.outcome == Outcome::Exited { code: 0 }
                    && report.teardown == Teardown::Verified { stragglers: 0 };
                if !is_fine {
                    return Err(format!("{report:?}").into());
                }
                ended += 1;
                if started < attempts {
                    started += 1;
                    client.send(&Request::Start(Box::new(start(&run_dir, started))))?;
                }
            }
            Some(Report::RunOpened { .. } | Report::Spawned { .. }) => {}
            Some(other) => return Err(format!("{other:?}").into()),
            None => wait_readable(&client),
        }
    }
    let elapsed = begun.elapsed();
    drop(client);
    std::fs::remove_dir_all(&run_dir)?;
    Ok(elapsed)
}

fn start(run_dir: &Path, number: u64) -> Start {
    Start {
        run_dir: run_dir.to_owned(),
        number,
        label: format!("task-{number}.1"),
        attempt_dir: run_dir.join(format!("attempts/task-{number}.1")),
        argv: vec!["/bin/true".into()],
        cwd: "/".into(),
        env: std::env::vars_os().collect(),
        stdin: Stdin::Null,
        secrets: Vec::new(),
        limits: Limits { timeout_ms: Some(60_000), ..Limits::default() },
        token: format!("flat-{number}"),
        leave: Vec::new(),
    }
}

/// Waits as an event loop would.
#[expect(unsafe_code, reason = "the standard library cannot wait for a descriptor")]
fn wait_readable(client: &Client) {
    let mut entry = libc::pollfd { fd: client.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one live entry.
    unsafe { libc::poll(&raw mut entry, 1, -1) };
}
