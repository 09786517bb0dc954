//! The socket itself: refusals, nonsense, shutdown.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use segue_supervisor::{Client, Launch, LaunchError, Outcome, Report, Request, StopReason};

use super::support::{Bench, CLEAN, PATIENCE, TESTEE, await_that, is_alive, is_readable, kill};

/// A supervisor with a bare socket, as no client would talk to it.
fn bare() -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let fd = theirs.as_raw_fd();
    let mut command = Command::new(TESTEE);
    command.args(["--segue-supervisor", "2", &fd.to_string()]).stdin(Stdio::null());
    // SAFETY: one system call on an integer.
    unsafe {
        command.pre_exec(move || {
            libc::fcntl(fd, libc::F_SETFD, 0);
            Ok(())
        });
    }
    let child = command.spawn().expect("started");
    drop(theirs);
    ours.set_read_timeout(Some(PATIENCE)).expect("a socket");
    (child, ours)
}

#[test]
fn nonsense_is_answered_and_never_a_crash() {
    for nonsense in [
        &b"\xff\xff\xff\xff\x01"[..],
        b"\0\0\0\0",
        b"\x01\0\0\0\x63",
        b"\x02\0\0\0\x03\x07",
        b"\x06\0\0\0\x03\xff\xff\xff\xff\x00",
        b"\x01\0\0\0\x0b",
    ] {
        let (mut child, mut socket) = bare();
        socket.write_all(nonsense).expect("written");
        socket.shutdown(std::net::Shutdown::Write).expect("open till now");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("it answers and closes");
        // A hello of 4 + 1 + 4 bytes, then the rejection with its words.
        assert_eq!(answer.get(9 + 4), Some(&12), "{nonsense:?}: {answer:?}");
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{nonsense:?}");
    }
}

#[test]
fn a_run_has_one_supervisor() {
    let mut first = Bench::new();
    let run_dir = first.dir().to_owned();
    let mut second = Bench::new();
    second.send(&Request::OpenRun { run_dir: run_dir.clone() });
    let Report::RunRefused { message, .. } = second.next() else { panic!("refused") };
    assert!(message.contains("starts.lock"), "{message}");
    first.send(&Request::CloseRun { run_dir: run_dir.clone() });
    // Answers come in order, so the run is closed when another one is open.
    let other = tempfile::tempdir().expect("a folder");
    first.send(&Request::OpenRun { run_dir: other.path().to_owned() });
    first.next();
    second.send(&Request::OpenRun { run_dir: run_dir.clone() });
    assert_eq!(second.next(), Report::RunOpened { run_dir });
}

#[test]
fn a_program_without_the_hook_is_told_from_a_supervisor() {
    let launch = Launch { program: Some("/bin/true".into()) };
    let mut client = Client::launch(&launch).expect("it starts");
    assert!(is_readable(client.as_raw_fd(), PATIENCE));
    let error = client.receive().expect_err("it is none");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("main_hook"), "{error}");
    let launch = Launch { program: Some("/no/such/program".into()) };
    let error = Client::launch(&launch).expect_err("it is missing");
    assert!(matches!(error, LaunchError::Program { .. }), "{error}");
}

#[test]
fn an_idle_supervisor_goes_with_its_client() {
    let mut bench = Bench::new();
    let start = bench.start(&["true"]);
    bench.run(start);
    let supervisor = bench.client.pid();
    drop(bench);
    assert!(!is_alive(supervisor), "waited for by the client");
}

#[test]
fn term_ends_attempts_as_a_shutdown() {
    let mut bench = Bench::new();
    let shutdown = Outcome::Cancelled { reason: StopReason::Shutdown };
    // To a keeper: its attempt.
    let start = bench.shell("sleep 30");
    let (_, keeper) = bench.spawn(start);
    kill(keeper, libc::SIGTERM);
    let ended = bench.ended();
    assert_eq!((ended.outcome, ended.teardown), (shutdown.clone(), CLEAN));
    // To the supervisor: all of them, and itself.
    for _ in 0..2 {
        let start = bench.shell("sleep 30");
        bench.spawn(start);
    }
    let supervisor = bench.client.pid();
    kill(supervisor, libc::SIGTERM);
    assert_eq!(bench.ended().outcome, shutdown);
    assert_eq!(bench.ended().outcome, shutdown);
    await_that("the supervisor's end", || (!is_alive(supervisor)).then_some(()));
}

#[test]
fn many_attempts_share_few_keepers_and_leave_nothing_behind() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        for _ in 0..8 {
            let start = bench.shell("echo out; echo err >&2");
            bench.send(&Request::Start(Box::new(start)));
        }
        for _ in 0..8 {
            let ended = bench.ended();
            assert_eq!((&ended.outcome, &ended.teardown), (&Outcome::Exited { code: 0 }, &CLEAN));
            assert_eq!(bench.log(&ended, "stdout.log"), b"out\n");
            assert_eq!(bench.log(&ended, "stderr.log"), b"err\n");
        }
    }
    assert!(super::support::children(bench.client.pid()).len() <= 8);
    let records = std::fs::read_to_string(bench.dir().join("attempts.jsonl")).expect("records");
    assert_eq!(records.lines().count(), 2 * 160);
}
