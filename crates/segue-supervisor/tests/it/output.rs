//! What an attempt writes and reads: bytes as they come, masked and bounded.

use std::time::Duration;

use segue_supervisor::{Limits, Outcome, Request, Stdin, StopMode, StopReason};

use super::support::{Bench, assert_exited, await_file, await_that};

#[test]
fn bytes_are_kept_as_they_are() {
    let mut bench = Bench::new();
    let start = bench.shell("printf 'ok\\377\\376'; printf 'no newline' >&2");
    let ended = bench.run(start);
    assert_exited(&ended, 0);
    assert_eq!(bench.log(&ended, "stdout.log"), b"ok\xff\xfe");
    assert_eq!(bench.log(&ended, "stderr.log"), b"no newline");
    assert_eq!((ended.stdout_bytes, ended.stderr_bytes), (4, 10));
}

#[test]
fn only_the_owner_can_read_a_log() {
    use std::os::unix::fs::PermissionsExt;
    let mut bench = Bench::new();
    let start = bench.shell("echo out");
    let folder = start.attempt_dir.clone();
    bench.run(start);
    let mode = |path| std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(folder.clone()), 0o700);
    assert_eq!(mode(folder.join("stdout.log")), 0o600);
    assert_eq!(mode(bench.dir().join("attempts.jsonl")), 0o600);
    assert!(!folder.join("stderr.log").exists(), "nothing was written to it");
}

#[test]
fn output_is_there_while_the_attempt_runs() {
    let mut bench = Bench::new();
    let start = bench.shell("printf 'half a line'; sleep 30");
    let log = start.attempt_dir.join("stdout.log");
    let number = start.number;
    bench.spawn(start);
    await_that("the output", || {
        (std::fs::read(&log).unwrap_or_default() == b"half a line").then_some(())
    });
    let run_dir = bench.dir().to_owned();
    let (mode, reason) = (StopMode::AtOnce, StopReason::Cancelled);
    bench.send(&Request::Stop { run_dir, number, mode, reason });
    assert_eq!(bench.ended().outcome, Outcome::Cancelled { reason });
}

#[test]
fn sixty_four_mebibytes_on_both_streams_at_once() {
    let mut bench = Bench::new();
    const BYTES: usize = 64 << 20;
    for secrets in [vec![], vec![b"not in there".to_vec()]] {
        let mut start = bench.testee(&["flood", &BYTES.to_string()]);
        start.secrets = secrets;
        let ended = bench.run(start);
        assert_exited(&ended, 0);
        assert_eq!((ended.stdout_bytes, ended.stderr_bytes), (BYTES as u64, BYTES as u64));
        for name in ["stdout.log", "stderr.log"] {
            let log = bench.log(&ended, name);
            assert_eq!(log.len(), BYTES);
            assert!(log.chunks(64).all(|line| line[63] == b'\n' && line[0] == b'x'));
        }
    }
}

#[test]
fn past_its_limit_a_log_loses_its_middle_and_says_so() {
    let mut bench = Bench::new();
    let mut start = bench.shell("seq 1 1000000");
    start.limits.output_bytes_max = Some(100_000);
    let ended = bench.run(start);
    assert_exited(&ended, 0);
    let log = String::from_utf8(bench.log(&ended, "stdout.log")).expect("text");
    assert!(log.starts_with("1\n2\n3\n"), "the head is there");
    assert!(log.ends_with("999999\n1000000\n"), "the end is there");
    assert_eq!(ended.stdout_bytes, 6_888_896);
    assert_eq!(ended.omitted_bytes, 6_888_896 - 100_000);
    let marker = format!("\n[segue: {} bytes omitted]\n", ended.omitted_bytes);
    assert!(log.contains(&marker));
    assert_eq!(log.len(), 100_000 + marker.len());

    let mut start = bench.shell("printf 12345678");
    start.limits.output_bytes_max = Some(8);
    let ended = bench.run(start);
    assert_eq!(bench.log(&ended, "stdout.log"), b"12345678");
    assert_eq!(ended.omitted_bytes, 0);
}

#[test]
fn a_stream_that_may_not_be_thinned_stops_its_attempt() {
    let mut bench = Bench::new();
    let mut start = bench.shell("yes");
    start.limits.stdout_bytes_stop = Some(1 << 20);
    let ended = bench.run(start);
    assert_eq!(ended.outcome, Outcome::OutputLimit);
    assert_eq!(bench.log(&ended, "stdout.log").len(), 1 << 20);
}

#[test]
fn a_secret_is_masked_however_it_is_printed() {
    let mut bench = Bench::new();
    let secret = "s3cr\"t-\\value/x";
    let json = "{\"key\":\"s3cr\\\"t-\\\\value/x\"}";
    for text in [format!("a {secret} b"), json.to_owned()] {
        let mut start = bench.testee(&["bytewise", &text]);
        start.secrets = vec![secret.as_bytes().to_vec()];
        let ended = bench.run(start);
        assert_exited(&ended, 0);
        let expected = if text == json { "{\"key\":\"***\"}" } else { "a *** b" };
        for name in ["stdout.log", "stderr.log"] {
            let log = String::from_utf8(bench.log(&ended, name)).expect("text");
            assert_eq!(log, expected, "{name}");
        }
        let bytes = text.len() as u64;
        assert_eq!((ended.stdout_bytes, ended.stderr_bytes), (bytes, bytes));
    }
    let mut start = bench.start(&["true"]);
    start.secrets = vec![b"short".to_vec()];
    let refused = bench.client.send(&Request::Start(Box::new(start)));
    let refused = refused.expect_err("a short secret cannot be masked");
    assert!(refused.to_string().contains("5 bytes"), "{refused}");
}

#[test]
fn a_prompt_arrives_whole_and_ends() {
    let mut bench = Bench::new();
    let prompt: Vec<u8> = (0..300 << 10).map(|at: u32| (at % 251) as u8).collect();
    let sum: u64 = prompt.iter().map(|byte| u64::from(*byte)).sum();
    let expected = format!("{} bytes, sum {sum}\n", prompt.len());
    let mut start = bench.testee(&["cat"]);
    start.stdin = Stdin::Bytes(prompt);
    let ended = bench.run(start);
    assert_exited(&ended, 0);
    assert_eq!(String::from_utf8(bench.log(&ended, "stdout.log")).expect("text"), expected);
    // Without one, standard input is at its end from the first.
    let start = bench.testee(&["cat"]);
    let ended = bench.run(start);
    assert_eq!(bench.log(&ended, "stdout.log"), b"0 bytes, sum 0\n");
}

#[test]
fn a_terminal_is_one_and_what_is_said_on_it_is_kept() {
    let mut bench = Bench::new();
    let mut start = bench.testee(&["terminal"]);
    start.stdin = Stdin::Pty;
    let ended = bench.run(start);
    assert_exited(&ended, 0);
    assert_eq!(bench.log(&ended, "stdout.log"), b"terminal true, controlling true\n");
    assert_eq!(bench.log(&ended, "stderr.log"), b"talk");
}

#[test]
fn a_log_that_cannot_be_written_does_not_hold_the_attempt() {
    let mut bench = Bench::new();
    let mut start = bench.testee(&["flood", "1000000"]);
    start.attempt_dir = bench.dir().join("plain/attempt");
    std::fs::write(bench.dir().join("plain"), "a file").expect("written");
    let ended = bench.run(start);
    assert_exited(&ended, 0);
    assert_eq!(ended.omitted_bytes, 2_000_000);
    let error = ended.log_error.expect("it says so");
    assert!(error.contains("plain/attempt/std"), "{error}");
}

#[test]
fn a_descendant_that_holds_the_pipe_delays_nothing() {
    let mut bench = Bench::new();
    let mut start = bench.shell("sleep 300 & echo done; echo $! > pid.partial; mv pid.partial pid");
    start.limits = Limits { kill_grace_ms: 10_000, ..Limits::default() };
    let begun = std::time::Instant::now();
    let ended = bench.run(start);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(ended.outcome, Outcome::Exited { code: 0 });
    assert_eq!(bench.log(&ended, "stdout.log"), b"done\n");
    let sleeper: u32 = await_file(&bench.dir().join("pid")).trim().parse().expect("a number");
    assert!(!super::support::is_alive(sleeper));
}
