//! The process library on real processes: promises S1, and none of the defects S1.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use segue::core::{FailureClass, Outcome, TimeLimit};
use segue::{
    AgentProcess, ContextOf, Handover, ProcessResult, Session, SessionOptions, Strategy,
    StrategyError, in_input_order, run_batched, run_parallel, run_sequential, run_with_fallback,
};

use crate::lab::{Lab, SEGUE};

fn ready() {
    segue::use_supervisor(SEGUE);
}

fn sh(script: &str) -> AgentProcess {
    AgentProcess::command(["sh", "-c", script])
}

fn passing() -> Handover {
    Handover { pass_output: true, ..Handover::default() }
}

#[track_caller]
fn one(process: AgentProcess) -> ProcessResult {
    ready();
    let mut results = run_parallel(&[process], Some(1)).expect("it runs");
    assert_eq!(results.len(), 1);
    results.remove(0)
}

fn ids(results: &[ProcessResult]) -> Vec<&str> {
    results.iter().map(|result| result.id.as_str()).collect()
}

fn session(lab: &Lab) -> Session {
    ready();
    let options = SessionOptions {
        working_dir: Some(lab.work()),
        base_log_dir: Some(lab.root().join("logs")),
        ..SessionOptions::default()
    };
    Session::new("test", &options).expect("a session")
}

/// Defect 1: a grandchild that holds the pipe held up the result.
#[test]
fn a_timeout_bounds_the_call_whatever_a_grandchild_holds() {
    let began = Instant::now();
    let result = one(sh("echo begun; sleep 30 & wait").timeout(Duration::from_secs(1)));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(result.outcome, Outcome::TimedOut { limit: TimeLimit::Total });
    assert_eq!((result.exit_code(), result.stdout.as_str()), (-1, "begun\n"));
    assert_eq!(result.class, Some(FailureClass::Timeout));
    assert!(result.left_behind.is_empty());
    let began = Instant::now();
    let daemon = one(sh("sleep 30 & echo done"));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert!(daemon.succeeded());
    assert_eq!(daemon.stdout, "done\n");
}

/// Defects 2 and 16: one bad byte lost all output; a line without an end was not kept.
#[test]
fn every_byte_is_kept() {
    let result = one(sh(r"printf 'ok\377\376 end'; printf 'no line end' >&2"));
    assert_eq!(result.stdout, "ok\u{fffd}\u{fffd} end");
    assert_eq!(result.stderr, "no line end");
    let large = one(sh("head -c 3000000 /dev/zero | tr '\\0' x; exit 3"));
    assert_eq!((large.stdout.len(), large.exit_code()), (3_000_000, 3));
    let cut = one(sh("head -c 3000000 /dev/zero | tr '\\0' x").output_limit(100_000));
    assert!(cut.omitted_bytes > 2_800_000 && cut.stdout.len() < 110_000, "{}", cut.omitted_bytes);
}

/// Defect 3: -1 meant four things.
#[test]
fn what_looks_the_same_as_a_number_is_told_apart() {
    let missing = one(AgentProcess::command(["no-such-program-at-all"]));
    let kind = |result: &ProcessResult| match &result.outcome {
        Outcome::SpawnFailed { kind, .. } => kind.clone(),
        other => panic!("{other}"),
    };
    assert_eq!((missing.exit_code(), kind(&missing).as_str()), (-1, "program_not_found"));
    assert!(missing.stderr.contains("no-such-program-at-all"), "{}", missing.stderr);
    let homeless = one(sh("true").working_dir("/no/such/folder"));
    assert_eq!((homeless.exit_code(), kind(&homeless).as_str()), (-1, "directory_not_found"));
    assert!(homeless.stderr.contains("/no/such/folder"), "{}", homeless.stderr);
    let hung_up = one(sh("kill -HUP $$"));
    assert_eq!((hung_up.exit_code(), &hung_up.outcome), (-1, &Outcome::Signaled { signal: 1 }));
    let idle = one(sh("echo a; exec sleep 30").idle(Some(Duration::from_millis(600))));
    assert_eq!(idle.outcome, Outcome::TimedOut { limit: TimeLimit::Stall });
    // Defect 20: what had been printed was dropped.
    assert_eq!((idle.exit_code(), idle.stdout.as_str()), (-1, "a\n"));
    let nul = one(AgentProcess::command(["echo", "a\0b"]));
    assert!(nul.stderr.contains("NUL"), "{}", nul.stderr);
}

/// Defect 4: each spawn failure leaked a terminal.
#[test]
fn spawn_failures_leak_nothing() {
    let _ = one(AgentProcess::command(["no-such-program-at-all"]));
    let open = || std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    let before = open();
    let processes = vec![AgentProcess::command(["no-such-program-at-all"]); 20];
    assert_eq!(run_parallel(&processes, Some(4)).expect("results").len(), 20);
    assert_eq!(open(), before);
}

/// Defect 5: the beginning of each log was erased, and output was in none.
#[test]
fn a_log_has_everything_in_it() {
    let lab = Lab::new();
    let session = session(&lab);
    let given = sh("echo said; echo grumbled >&2; printf 50%%; exit 3").id("talker");
    let results = session.run_parallel(&[given], None).expect("results");
    let log = std::fs::read_to_string(session.process_log_path("talker")).expect("a log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "Process: talker");
    assert!(lines[1].starts_with("Started: 20") && lines[2].starts_with("Prompt: "), "{log}");
    assert_eq!(lines[3], "-".repeat(80));
    for part in [
        "[INFO] [talker] Starting process",
        "[INFO] [talker] Command: sh -c 'echo said",
        "[STDOUT] [talker] said",
        "[STDOUT] [talker] 50%",
        "[STDERR] [talker] grumbled",
        "[WARNING] [talker] exited with code 3: grumbled",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(lines.last().expect("lines").contains("Completed with exit_code=3 in "), "{log}");
    let kept = results[0].stdout_path.as_ref().expect("kept");
    assert_eq!(std::fs::read_to_string(kept).expect("kept"), "said\n50%");
    session.log("a note\nof two lines");
    let told = std::fs::read_to_string(session.session_log_path()).expect("a log");
    assert!(told.starts_with(&format!("Session ID: {}\nPattern: test\n", session.id())), "{told}");
    assert!(told.contains("[INFO] a note of two lines\n"), "{told}");
    assert!(session.summarize().contains("Processes Created: 1\n"), "{}", session.summarize());
    assert!(session.summarize().contains("Failed: 1 (talker)"), "{}", session.summarize());
}

/// Defect 6: sessions of one second shared a folder, processes of one name a log, and names
/// could leave it.
#[test]
fn sessions_and_logs_are_never_shared() {
    let lab = Lab::new();
    let sessions: Vec<Session> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| session(&lab))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a session")).collect()
    });
    let folders: BTreeSet<&Path> = sessions.iter().map(Session::log_dir).collect();
    assert_eq!(folders.len(), 8);
    let same = vec![sh("echo $SEGUE_TASK").id("same"); 3];
    let results = sessions[0].run_parallel(&same, None).expect("results");
    let again = sessions[0].run_sequential(&same[..1], &Handover::default()).expect("results");
    let all = [in_input_order(results), again].concat();
    assert_eq!(ids(&all), ["same", "same-2", "same-3", "same-4"]);
    for result in &all {
        let log = std::fs::read_to_string(sessions[0].process_log_path(&result.id)).expect("one");
        assert!(log.contains(&format!("[STDOUT] [{0}] {0}", result.id)), "{log}");
    }
    let unnamed = sessions[0].run_parallel(&[sh("true"), sh("true")], None).expect("results");
    assert_eq!(ids(&in_input_order(unnamed)), ["process_005", "process_006"]);
    let outside = sh("true").id("../../esc");
    let refused = sessions[0].run_parallel(&[outside], None);
    assert!(matches!(refused, Err(StrategyError::InvalidId { index: 0, .. })), "{refused:?}");
    assert!(!lab.root().join("esc.log").exists());
    assert!(Session::new("../x", &SessionOptions::default()).is_err());
}

/// Defect 7, and other sizes and times that make no sense.
#[test]
fn sizes_below_one_are_errors_and_nothing_is_nothing() {
    ready();
    let some = [sh("true")];
    let size = |result: Result<Vec<ProcessResult>, StrategyError>| match result {
        Err(StrategyError::Size { what }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(size(run_batched(&some, 0, &Handover::default())), "batch_size");
    assert_eq!(size(run_batched(&[], 0, &Handover::default())), "batch_size");
    assert_eq!(size(run_parallel(&some, Some(0))), "max_parallel");
    assert!(run_parallel(&[], None).expect("nothing").is_empty());
    assert!(run_sequential(&[], &Handover::default()).expect("nothing").is_empty());
    assert!(run_batched(&[], 3, &Handover::default()).expect("nothing").is_empty());
    let fallback = run_with_fallback(&[], None).expect_err("nothing to fall back to");
    assert_eq!(fallback.to_string(), "run_with_fallback requires at least one process");
    let zero = run_parallel(&[sh("true").timeout(Duration::ZERO)], None);
    assert!(matches!(zero, Err(StrategyError::NoTime { .. })), "{zero:?}");
}

/// Defect 8: definitions were changed by running them.
#[test]
fn definitions_can_be_used_again() {
    ready();
    let given = [sh("echo one"), AgentProcess::command(["cat"]).prompt("two")];
    let before = given.clone();
    let first = run_sequential(&given, &passing()).expect("results");
    let second = run_sequential(&given, &passing()).expect("results");
    assert_eq!(given, before);
    assert_eq!(first[1].stdout, second[1].stdout);
    let fallback = run_with_fallback(&given, Some(Duration::from_secs(7))).expect("results");
    assert!(fallback.result.succeeded());
    assert_eq!(given, before);
}

/// Defect 9: prompts were arguments, whatever their size.
#[test]
fn a_prompt_of_any_size_and_with_nul_bytes_arrives() {
    let small = AgentProcess::command(["printf", "%s|"]).prompt("a\0b {{ c }}\n");
    let small = small.prompt_via(segue::PromptVia::Argument);
    assert_eq!(one(small).stdout, "ab {{ c }}\n|");
    let large = sh("wc -c; echo $#").prompt("x".repeat(300_000));
    let large = large.prompt_via(segue::PromptVia::Argument);
    assert_eq!(one(large).stdout, "300000\n0\n");
    ready();
    // Handed over, more than an argument can hold.
    let given = [
        sh("head -c 2000000 /dev/zero | tr '\\0' x"),
        sh("wc -c").prompt("p").prompt_via(segue::PromptVia::Argument),
    ];
    let results = run_sequential(&given, &passing()).expect("results");
    let around = "\n\n--- Previous output ---\n\n\n--- New task ---\np".len();
    assert_eq!(results[1].stdout.trim(), (2_000_000 + around).to_string());
}

/// Defects 10 and 18: the context of a batch followed the order of completion; whose output it is
/// was not for the caller to say.
#[test]
fn a_batchs_context_is_that_of_the_inputs() {
    ready();
    let cat = || AgentProcess::command(["cat"]).prompt("go");
    let given = [
        sh("sleep 0.4; echo slow"),
        sh("echo quick"),
        sh("echo bad; exit 1"),
        cat(),
        sh("echo second"),
        sh("true"),
        cat(),
    ];
    let results = run_batched(&given, 3, &passing()).expect("results");
    assert_eq!(results[2].index, 0, "in the order of completion within a batch");
    let results = in_input_order(results);
    let (head, task) = ("\n\n--- Previous batch output ---\n", "\n\n--- New task ---\ngo");
    let first = "slow\n\n\nquick\n";
    assert_eq!(results[3].stdout, format!("{head}{first}{task}"));
    let second = format!("{}\n\nsecond\n\n\n", results[3].stdout);
    assert_eq!(results[6].stdout, format!("{head}{first}{second}{task}"));
    let all = Handover { context: Some(ContextOf::All), ..passing() };
    let results = in_input_order(run_batched(&given[..4], 3, &all).expect("results"));
    assert_eq!(results[3].stdout, format!("{head}{first}\n\nbad\n{task}"));
    let cut = Handover { context_limit: Some(4), ..passing() };
    let results = in_input_order(run_batched(&given[..4], 3, &cut).expect("results"));
    assert_eq!(results[3].stdout, format!("{head}ick\n{task}"));
}

/// Defect 11: results were taken for those of other inputs.
#[test]
fn results_bear_their_place_in_either_order() {
    ready();
    let given = [sh("sleep 0.5; echo 0").id("slow"), sh("echo 1").id("quick")];
    let results = run_parallel(&given, Some(2)).expect("results");
    assert_eq!(ids(&results), ["quick", "slow"]);
    for (place, result) in in_input_order(results).iter().enumerate() {
        assert_eq!((result.stdout.trim(), result.index), (place.to_string().as_str(), place));
    }
}

/// Defect 13: a batch of 50 ran fewer at once.
#[test]
fn heavy_as_many_run_at_once_as_was_asked_for() {
    let lab = Lab::new();
    ready();
    let wait = "touch $SEGUE_TASK; until [ $(ls | wc -l) -ge 40 ]; do sleep 0.05; done";
    let given = vec![sh(wait).working_dir(lab.work()).timeout(Duration::from_secs(40)); 40];
    let results = run_batched(&given, 40, &Handover::default()).expect("results");
    assert!(results.iter().all(ProcessResult::succeeded), "{:?}", results[0]);
}

/// Defects 14 and 15: nothing could be cancelled, and a stop took its time whatever happened.
#[test]
fn dropping_a_strategy_ends_everything() {
    let lab = Lab::new();
    ready();
    let sleeper = sh("echo begun > $SEGUE_TASK; sleep 60 & wait").working_dir(lab.work());
    let ender = sh("until [ -s process_001 ]; do sleep 0.02; done").working_dir(lab.work());
    let given = [sleeper, ender];
    let mut running = segue::start(&Strategy::parallel(Some(2)), &given).expect("it starts");
    assert_eq!(running.next().expect("the first result").index, 1);
    let began = Instant::now();
    drop(running);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    lab.await_emptiness();
    let running = segue::start(&Strategy::parallel(Some(1)), &given).expect("it starts");
    running.stopper().stop();
    let results = running.wait().expect("results");
    assert!(results.iter().all(|result| result.class == Some(FailureClass::Cancelled)));
}

/// Defect 17: stdin was fed line ends and never ended.
#[test]
fn stdin_ends_and_holds_nothing_that_was_not_given() {
    assert_eq!(one(sh("cat; echo end")).stdout, "end\n");
    assert_eq!(one(sh("if read -r x; then echo \"<$x>\"; else echo none; fi")).stdout, "none\n");
    assert_eq!(one(AgentProcess::command(["cat"]).prompt("all of it")).stdout, "all of it");
}

#[test]
fn a_sequence_hands_on_all_that_was_printed() {
    ready();
    let cat = || AgentProcess::command(["cat"]).prompt("go");
    let given = [sh("printf a"), sh("printf b; exit 4"), cat(), sh("true"), cat()];
    let results = run_sequential(&given, &passing()).expect("results");
    assert_eq!(results.iter().map(|result| result.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let told =
        |before: &str| format!("\n\n--- Previous output ---\n{before}\n\n--- New task ---\ngo");
    assert_eq!(results[2].stdout, told("ab"));
    assert_eq!(results[4].stdout, told(&format!("ab{}", told("ab"))));
    let good = Handover { context: Some(ContextOf::Successful), ..passing() };
    assert_eq!(run_sequential(&given[..3], &good).expect("results")[2].stdout, told("a"));
    let silent = [sh("true"), cat()];
    assert_eq!(run_sequential(&silent, &passing()).expect("results")[1].stdout, "go");
    let stopping = Handover { stop_on_failure: true, ..Handover::default() };
    let results = run_sequential(&given, &stopping).expect("results");
    assert_eq!(results.len(), 2);
    assert_eq!(results[1].exit_code(), 4);
    let results = run_batched(&given, 2, &stopping).expect("results");
    assert_eq!(results.len(), 2);
}

#[test]
fn a_fallback_tells_its_whole_history() {
    ready();
    let given = [
        sh("echo first >&2; exit 2"),
        sh("sleep 30").timeout(Duration::from_secs(99)),
        sh("echo third >&2; exit 3"),
    ];
    let began = Instant::now();
    let tried = run_with_fallback(&given, Some(Duration::from_millis(500))).expect("results");
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(tried.result.exit_code(), 3);
    let told = "All 3 fallback attempts failed. Last error: third\n";
    assert_eq!(tried.result.stderr, told);
    let codes: Vec<i32> = tried.history.iter().map(ProcessResult::exit_code).collect();
    assert_eq!(codes, [2, -1, 3]);
    assert_eq!(tried.history[2].stderr, "third\n");
    let saved = run_with_fallback(&[sh("exit 1"), sh("echo ok"), sh("echo no")], None);
    let saved = saved.expect("results");
    assert_eq!((saved.result.stdout.as_str(), saved.history.len()), ("ok\n", 2));
    let alone = run_with_fallback(&[sh("echo ok")], None).expect("results");
    assert_eq!(alone.history.len(), 1);
}

#[test]
fn a_result_has_its_own_channel() {
    let result = one(sh("echo noise; echo '{\"score\": 8}' > \"$SEGUE_RESULT\""));
    assert_eq!(result.value, Some(serde_json::json!({"score": 8})));
    assert_eq!(result.stdout, "noise\n");
    let linked = one(sh("ln -s /etc/hostname \"$SEGUE_RESULT\""));
    assert!(linked.succeeded() && linked.value.is_none());
    assert!(linked.value_error.expect("why").contains("not a regular file"));
    assert_eq!(one(sh("true")).value, None);
}

#[test]
fn processes_are_tried_again_as_often_as_they_may() {
    let lab = Lab::new();
    let flaky = "echo x >> tries; [ $(wc -l < tries) -ge 2 ]";
    let result = one(sh(flaky).working_dir(lab.work()).attempts(2));
    assert!(result.succeeded());
    assert_eq!((result.attempts, lab.read("tries").as_str()), (2, "x\nx\n"));
}

#[test]
fn a_process_is_held_to_its_memory_limit() {
    let script = "python3 -c 'import time; x = bytearray(200 << 20); time.sleep(60)'; sleep 60";
    let result = one(sh(script).memory_limit(80 << 20).timeout(Duration::from_secs(40)));
    assert_eq!(result.class, Some(FailureClass::Memory), "{result:?}");
}

#[test]
fn a_named_store_keeps_its_runs() {
    let lab = Lab::new();
    ready();
    let options = SessionOptions {
        working_dir: Some(lab.work()),
        store: Some(lab.store()),
        ..SessionOptions::default()
    };
    let session = Session::new("kept", &options).expect("a session");
    assert!(session.log_dir().starts_with(lab.work().join(".segue/logs")));
    let results = session.run_parallel(&[sh("echo kept").id("it")], None).expect("results");
    let path = results[0].stdout_path.as_ref().expect("kept");
    assert!(path.starts_with(lab.latest()) && path.is_file());
    assert!(lab.expect(0, &["show", "latest"]).stdout.contains("it"));
    assert_eq!(lab.expect(0, &["logs", "latest"]).stdout.trim(), "it | kept");
}

#[test]
fn a_future_waits_without_a_runtime_of_segues() {
    ready();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let results = runtime.expect("a runtime").block_on(async {
        let start = |word: &str| {
            let given = [AgentProcess::command(["echo", word])];
            segue::start(&Strategy::parallel(None), &given).expect("it starts").finished()
        };
        let (one, two) = tokio::join!(start("one"), start("two"));
        [one.expect("results"), two.expect("results")].concat()
    });
    assert_eq!((results[0].stdout.as_str(), results[1].stdout.as_str()), ("one\n", "two\n"));
}
