//! What the tests launch: a supervisor, an engine to be killed, and children that misbehave.
//!
//! `supervisor-testee VERB ARGUMENT…`. Every verb that multiplies is bounded, so that a broken
//! supervisor does not take the machine down.
#![expect(unsafe_code, reason = "misbehaving takes fork and signals")]
#![expect(clippy::print_stdout, reason = "children print")]

use std::ffi::CString;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::ptr::null;

use segue_supervisor::{Client, Launch, Limits, Report, Request, Start, Stdin, main_hook};

fn main() {
    main_hook();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<usize>().ok());
    let text = |at: usize| arguments.get(at).map(String::as_str).unwrap_or_default();
    match text(0) {
        "ignore-term" => ignore_term(),
        "die" => die(number(1).unwrap_or(0)),
        "flood" => flood(number(1).unwrap_or(0)),
        "cat" => cat(),
        "bytewise" => bytewise(text(1)),
        "escape" => escape(Path::new(text(1))),
        "sleep-as" => rest(Path::new(text(1))),
        "storm" => storm(number(1).unwrap_or(0)),
        "chain" => chain(number(1).unwrap_or(0)),
        "terminal" => terminal(),
        "spin" => spin(),
        "grow" => grow(number(1).unwrap_or(0)),
        "share" => share(number(1).unwrap_or(0), number(2).unwrap_or(0)),
        "away" => away(text(1), text(2)),
        "engine" => engine(&PathBuf::from(text(1)), text(2), number(3).unwrap_or(0), text(4)),
        other => {
            println!("unknown verb {other}");
            std::process::exit(2)
        }
    }
}

fn rest_forever() -> ! {
    // SAFETY: pause has no preconditions.
    while unsafe { libc::pause() } == -1 {}
    unreachable!("pause only ever fails")
}

fn ignore(signal: i32) {
    // SAFETY: the handler is one of the two constants.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn ignore_term() -> ! {
    ignore(libc::SIGTERM);
    ignore(libc::SIGINT);
    println!("ready");
    rest_forever()
}

fn die(signal: usize) {
    let signal = i32::try_from(signal).unwrap_or(0);
    // SAFETY: signals to this very process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// Both streams at once, in lines.
fn flood(bytes: usize) {
    let line = [&[b'x'; 63][..], b"\n"].concat();
    let block = line.repeat(1024);
    let write = |out: &mut dyn Write| {
        let mut left = bytes;
        while left > 0 {
            let count = left.min(block.len());
            out.write_all(&block[..count]).expect("somebody reads");
            left -= count;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(&mut std::io::stdout().lock()));
        scope.spawn(|| write(&mut std::io::stderr().lock()));
    });
}

/// Reads standard input to its end; says how much it was and a sum.
fn cat() {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).expect("stdin reads");
    let sum = bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    println!("{} bytes, sum {sum}", bytes.len());
}

/// One write a byte, on both streams: a secret never comes in one read.
fn bytewise(text: &str) {
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    for byte in text.as_bytes() {
        out.write_all(&[*byte]).expect("somebody reads");
        out.flush().expect("somebody reads");
        err.write_all(&[*byte]).expect("somebody reads");
        std::thread::yield_now();
    }
}

fn fork() -> bool {
    // SAFETY: this program has one thread where it forks.
    unsafe { libc::fork() == 0 }
}

/// Leaves its session, its parents, its environment and its descriptors, and writes its number.
fn escape(pid_file: &Path) {
    if fork() {
        // SAFETY: setsid has no preconditions.
        unsafe { libc::setsid() };
        if fork() {
            // SAFETY: closing descriptors nobody uses any more.
            unsafe { libc::close_range(0, u32::MAX, 0) };
            become_naked("sleep-as", pid_file);
        }
        std::process::exit(0);
    }
    await_file(pid_file);
    println!("escaped");
}

fn become_naked(verb: &str, argument: &Path) -> ! {
    let own = std::env::current_exe().expect("this program has a path");
    let text = |text: &str| CString::new(text).expect("no NUL");
    let own = text(own.to_str().expect("UTF-8"));
    let argument = text(argument.to_str().expect("UTF-8"));
    let verb = text(verb);
    let argv = [own.as_ptr(), verb.as_ptr(), argument.as_ptr(), null()];
    let env = [null()];
    // SAFETY: null-terminated lists of terminated strings that live on.
    unsafe { libc::execve(own.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    std::process::exit(127)
}

fn rest(pid_file: &Path) -> ! {
    // Whole or not at all: the test reads it as soon as it is there.
    let partial = pid_file.with_extension("partial");
    std::fs::write(&partial, std::process::id().to_string()).expect("the folder is there");
    std::fs::rename(&partial, pid_file).expect("the folder is there");
    rest_forever()
}

fn await_file(path: &Path) {
    while !path.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A child every 50 µs, each deaf to TERM.
fn storm(count: usize) -> ! {
    ignore(libc::SIGTERM);
    println!("ready");
    for _ in 0..count {
        if fork() {
            rest_forever();
        }
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
    rest_forever()
}

/// Each generation makes the next and is gone: a new number every time one looks.
fn chain(count: usize) -> ! {
    ignore(libc::SIGTERM);
    println!("ready");
    for _ in 0..count {
        if !fork() {
            // SAFETY: _exit has no preconditions.
            unsafe { libc::_exit(0) };
        }
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
    rest_forever()
}

fn terminal() {
    // SAFETY: isatty and open take what they are given here.
    let (is_terminal, controlling) = unsafe {
        (libc::isatty(0) == 1, libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC))
    };
    println!("terminal {is_terminal}, controlling {}", controlling >= 0);
    // SAFETY: the descriptor was opened above.
    unsafe { libc::write(controlling, c"talk".as_ptr().cast(), 4) };
}

fn spin() -> ! {
    println!("ready");
    loop {
        std::hint::spin_loop();
    }
}

/// Uses 16 MiB more every 100 ms, up to so many.
fn grow(mib: usize) -> ! {
    println!("ready");
    let mut all = Vec::new();
    for _ in 0..mib / 16 {
        all.push(vec![1_u8; 16 << 20]);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    std::hint::black_box(&all);
    rest_forever()
}

/// So many children that share so much memory with this one and write to none of it; ends after
/// two seconds.
fn share(mib: usize, count: usize) {
    let memory = vec![1_u8; mib << 20];
    for _ in 0..count {
        if fork() {
            std::hint::black_box(&memory);
            rest_forever();
        }
    }
    println!("ready");
    std::thread::sleep(std::time::Duration::from_secs(2));
}

/// Becomes `VERB ARGUMENT` in a grandchild without its session, parents, environment and
/// descriptors, and waits itself.
fn away(verb: &str, argument: &str) -> ! {
    if fork() {
        // SAFETY: setsid has no preconditions.
        unsafe { libc::setsid() };
        if fork() {
            // SAFETY: closing descriptors nobody uses any more.
            unsafe { libc::close_range(0, u32::MAX, 0) };
            for _ in 0..3 {
                // SAFETY: a terminated string; the lowest free numbers are the standard streams.
                unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
            }
            become_naked(verb, Path::new(argument));
        }
        std::process::exit(0);
    }
    rest_forever()
}

/// Runs `sh -c SCRIPT` as attempts 1 to COUNT, says what it hears, and waits to be killed. In
/// `stopped` mode the supervisor is stopped before it gets a start.
fn engine(run_dir: &Path, mode: &str, count: usize, script: &str) -> ! {
    let mut client = Client::launch(&Launch::default()).expect("a supervisor");
    println!("supervisor {}", client.pid());
    client.send(&Request::OpenRun { run_dir: run_dir.to_owned() }).expect("sent");
    let mut is_open = false;
    loop {
        match client.receive().expect("the supervisor lives") {
            Some(Report::RunOpened { .. }) => is_open = true,
            Some(Report::Spawned { number, pid, keeper_pid, .. }) => {
                println!("spawned {number} {pid} {keeper_pid}");
            }
            Some(Report::Ended(ended)) => println!("ended {} {:?}", ended.number, ended.outcome),
            Some(other) => println!("{other:?}"),
            None => wait_readable(&client),
        }
        if std::mem::take(&mut is_open) {
            if mode == "stopped" {
                // SAFETY: a signal to our own child.
                unsafe { libc::kill(client.pid().cast_signed(), libc::SIGSTOP) };
            }
            for number in 1..=count as u64 {
                let start = shell(run_dir, number, script, mode);
                client.send(&Request::Start(Box::new(start))).expect("sent");
            }
            println!("sent");
        }
    }
}

fn shell(run_dir: &Path, number: u64, script: &str, mode: &str) -> Start {
    let token = format!("{}-{number}", run_dir.display());
    let mut env: Vec<_> = std::env::vars_os().filter(|(name, _)| name == "PATH").collect();
    env.push(("SEGUE_ATTEMPT_TOKEN".into(), token.clone().into()));
    env.push(("NUMBER".into(), number.to_string().into()));
    env.push(("TESTEE".into(), std::env::current_exe().expect("a path").into()));
    Start {
        run_dir: run_dir.to_owned(),
        number,
        label: format!("task-{number}.1"),
        attempt_dir: run_dir.join(format!("attempts/task-{number}.1")),
        argv: vec!["sh".into(), "-c".into(), script.into()],
        cwd: run_dir.to_owned(),
        env,
        stdin: Stdin::Null,
        secrets: Vec::new(),
        limits: Limits {
            kill_grace_ms: 500,
            orphan_ms: (mode == "parks").then_some(300),
            ..Limits::default()
        },
        token,
        leave: Vec::new(),
    }
}

fn wait_readable(client: &Client) {
    let fd = std::os::fd::AsRawFd::as_raw_fd(client);
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: the pointer is to one live entry.
    unsafe { libc::poll(&raw mut entry, 1, -1) };
}
