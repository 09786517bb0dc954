//! Each way an attempt can end by itself, and each way it cannot start.

use std::os::unix::fs::PermissionsExt;

use segue_supervisor::{Outcome, Report, Request, SpawnFailure, Stdin, StopMode, StopReason};

use super::support::{Bench, CLEAN, assert_exited, children, open_descriptors};

#[test]
fn exit_codes_come_back_and_leave_no_folder() {
    let mut bench = Bench::new();
    for code in [0, 1, 3, 127, 255] {
        let start = bench.shell(&format!("exit {code}"));
        let ended = bench.run(start);
        assert_exited(&ended, code);
        assert!(ended.ended_unix_ms >= ended.started_unix_ms);
    }
    assert!(!bench.dir().join("attempts").exists(), "no output, no folder");
}

#[test]
fn death_by_every_signal_is_told_from_an_exit() {
    let mut bench = Bench::new();
    let harmless = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    let every = (1..=31).chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
    for signal in every.filter(|signal| !harmless.contains(signal)) {
        let start = bench.testee(&["die", &signal.to_string()]);
        let ended = bench.run(start);
        assert_eq!(ended.outcome, Outcome::Signaled { signal }, "{ended:?}");
        assert_eq!(ended.teardown, CLEAN);
    }
}

#[test]
fn signals_are_as_a_fresh_program_expects_them() {
    let mut bench = Bench::new();
    let start = bench.start(&["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]);
    let ended = bench.run(start);
    let masks = String::from_utf8(bench.log(&ended, "stdout.log")).expect("text");
    let blocked_or_ignored = masks.lines().filter(|line| !line.starts_with("SigCgt"));
    for line in blocked_or_ignored {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[track_caller]
fn check_failure(ended: &segue_supervisor::Ended, expected: SpawnFailure, names: &str) {
    match &ended.outcome {
        Outcome::SpawnFailed { kind, message } => {
            assert_eq!(*kind, expected, "{message}");
            assert!(message.contains(names), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(ended.teardown, CLEAN);
}

#[test]
fn a_missing_program_and_a_missing_directory_are_told_apart() {
    let mut bench = Bench::new();
    let start = bench.start(&["no-such-program-here"]);
    check_failure(&bench.run(start), SpawnFailure::ProgramNotFound, "no-such-program-here");
    let start = bench.start(&["./no-such-file"]);
    check_failure(&bench.run(start), SpawnFailure::ProgramNotFound, "no-such-file");
    let mut start = bench.start(&["true"]);
    start.cwd = bench.dir().join("no-such-folder");
    check_failure(&bench.run(start), SpawnFailure::DirectoryNotFound, "no-such-folder");
    let mut start = bench.start(&["true"]);
    std::fs::write(bench.dir().join("plain"), "").expect("written");
    start.cwd = bench.dir().join("plain");
    check_failure(&bench.run(start), SpawnFailure::DirectoryNotFound, "not a directory");
}

#[test]
fn what_cannot_be_executed_says_why() {
    let mut bench = Bench::new();
    let file = |name: &str, text: &str, mode: u32| {
        let path = bench.dir().join(name);
        std::fs::write(&path, text).expect("written");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).expect("ours");
    };
    file("not-executable", "#!/bin/sh\n", 0o600);
    file("lost-interpreter", "#!/no/such/interpreter\n", 0o700);
    file("bare-script", "exit 4\n", 0o700);
    let start = bench.start(&["./not-executable"]);
    check_failure(&bench.run(start), SpawnFailure::PermissionDenied, "not-executable");
    let start = bench.start(&["./lost-interpreter"]);
    check_failure(&bench.run(start), SpawnFailure::ProgramNotFound, "interpreter");
    let start = bench.start(&["./bare-script"]);
    assert_exited(&bench.run(start), 4);
    let long = "x".repeat(200 << 10);
    let start = bench.start(&["true", &long]);
    check_failure(&bench.run(start), SpawnFailure::ArgumentsTooLong, "true");
    let start = bench.start(&["true", "a\0b"]);
    check_failure(&bench.run(start), SpawnFailure::Other, "NUL");
}

#[test]
fn fifty_failures_to_start_leak_no_descriptor() {
    let mut bench = Bench::new();
    let start = bench.start(&["no-such-program-here"]);
    bench.run(start);
    let supervisor = bench.client.pid();
    let keepers = children(supervisor);
    let count = || -> Vec<usize> {
        keepers.iter().chain([&supervisor]).map(|pid| open_descriptors(*pid)).collect()
    };
    let before = count();
    for round in 0..50 {
        let mut start = bench.start(&["no-such-program-here"]);
        start.stdin = if round % 2 == 0 { Stdin::Pty } else { Stdin::Bytes(b"text".to_vec()) };
        bench.run(start);
    }
    assert_eq!(children(supervisor), keepers, "one keeper serves them all");
    assert_eq!(count(), before);
}

#[test]
fn a_refused_start_leaves_no_trace_and_can_be_repeated() {
    let mut bench = Bench::new();
    let mut start = bench.start(&["true"]);
    start.run_dir = bench.dir().join("another-run");
    bench.send(&Request::Start(Box::new(start)));
    let Report::StartRefused { message, .. } = bench.next() else { panic!("refused") };
    assert!(message.contains("is not open"), "{message}");

    let start = bench.shell("sleep 30");
    let again = start.clone();
    bench.spawn(start);
    bench.send(&Request::Start(Box::new(again)));
    let Report::StartRefused { number, message, .. } = bench.next() else { panic!("refused") };
    assert!(number == 2 && message.contains("running already"), "{message}");
    let run_dir = bench.dir().to_owned();
    let (mode, reason) = (StopMode::AtOnce, StopReason::Superseded);
    bench.send(&Request::Stop { run_dir, number, mode, reason });
    assert_eq!(bench.ended().outcome, Outcome::Cancelled { reason });
}
