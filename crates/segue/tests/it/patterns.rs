//! Patterns over the strategies, with scripts in the place of agents; and the pool.

use std::time::Duration;

use segue::patterns::{
    Choice, Confidence, Consensus, Decision, Degradation, Expert, Level, Method, Notification,
    Patience, Profile, QUORUM, cascade, debate, expert_panel, labelled, levels, n_version, summary,
};
use segue::{AgentProcess, Pool, Session, SessionOptions, StrategyError};

use crate::lab::{Lab, SEGUE};

fn session(lab: &Lab) -> Session {
    segue::use_supervisor(SEGUE);
    let options = SessionOptions {
        working_dir: Some(lab.work()),
        base_log_dir: Some(lab.root().join("logs")),
        ..SessionOptions::default()
    };
    Session::new("patterns", &options).expect("a session")
}

fn sh(script: &str) -> AgentProcess {
    AgentProcess::command(["sh", "-c", script])
}

#[test]
fn a_cascade_takes_the_next_level_when_time_is_up() {
    let lab = Lab::new();
    let session = session(&lab);
    let level = |name: &str, script: &str, ms| Level {
        name: name.to_owned(),
        process: sh(script),
        timeout: Duration::from_millis(ms),
    };
    let given = [
        level("full", "exec sleep 30", 300),
        level("short", "exit 1", 5000),
        level("least", "echo 42", 5000),
    ];
    let done = cascade(&session, &given, Notification::Explicit).expect("results");
    assert_eq!((done.level, done.result.stdout.as_str()), (Some(2), "42\n"));
    assert_eq!(done.history.len(), 3);
    assert_eq!(
        done.notice.as_deref(),
        Some("`full` did not succeed; the result is that of `least`")
    );
    let log = std::fs::read_to_string(session.session_log_path()).expect("a log");
    assert!(log.contains("[WARNING] `full` did not succeed"), "{log}");
    let first = cascade(&session, &given[2..], Notification::Explicit).expect("results");
    assert_eq!((first.level, first.notice), (Some(0), None));
    let none = cascade(&session, &given[1..2], Notification::Silent).expect("results");
    assert_eq!((none.level, none.notice), (None, None));
    let made = levels(&sh("cat"), "Sum it up", Degradation::Completeness, Patience::Aggressive);
    let seconds: Vec<u64> = made.iter().map(|level| level.timeout.as_secs()).collect();
    assert_eq!(seconds, [5, 2, 1]);
    let done = cascade(&session, &made, Notification::Silent).expect("results");
    assert_eq!(done.result.stdout, "Sum it up\n\nTreat every case.");
}

/// Defects 11 and 12: the third to end was `version_2`, and any word picked a winner.
#[test]
fn versions_keep_their_names_and_only_a_verdict_chooses() {
    let lab = Lab::new();
    let session = session(&lab);
    // The first is the slowest, the second fails; each prints whose it is.
    let agent = sh("case $SEGUE_TASK in version_1*) sleep 0.4;; version_2*) exit 1;; esac; \
         echo \"by $SEGUE_TASK: version_2 is best, hybrid too\"");
    let profiles = Profile::first(3);
    let run = |review: &str| {
        let reviewer = sh(&format!("cat > review; {review}"));
        n_version(&session, &agent, "Do it", &profiles, &reviewer).expect("results")
    };
    let done = run("echo 'select version_1, the best'; echo '{\"choice\": \"version_3\", \
                    \"reason\": \"short\"}'");
    assert_eq!(done.choice, Choice::Version(2));
    assert_eq!(done.chosen(), Some("by version_3: version_2 is best, hybrid too\n"));
    assert_eq!(done.reason, "short");
    for (place, (profile, result)) in done.versions.iter().enumerate() {
        assert_eq!((profile, result.index), (&profiles[place], place));
    }
    let prompt = lab.read("review");
    let shown = format!("## version_1 ({})\n```\nby version_1", profiles[0].name);
    assert!(prompt.contains(&shown) && !prompt.contains("## version_2"), "{prompt}");
    let undecided = |review: &str| match run(review).choice {
        Choice::Undecided { why } => why,
        other => panic!("{other:?}"),
    };
    assert!(undecided("echo 'the best is version_3'").contains("no JSON object"));
    assert!(undecided("echo '{\"choice\": \"version_2\"}'").contains("no version that succeeded"));
    assert!(undecided("echo '{\"choice\": \"version_3\"}'; exit 1").contains("failed"));
    let done = run("echo '{\"choice\": \"hybrid\", \"hybrid\": \"both\"}' > \"$SEGUE_RESULT\"");
    assert_eq!(done.chosen(), Some("both"));
    let none = n_version(&session, &sh("exit 1"), "x", &profiles, &sh("true")).expect("results");
    assert!(none.review.is_none() && none.chosen().is_none());
    let empty = n_version(&session, &agent, "x", &[], &agent);
    assert!(matches!(empty, Err(StrategyError::Size { .. })), "{empty:?}");
}

#[test]
fn a_debate_tells_each_round_of_the_one_before() {
    let lab = Lab::new();
    let session = session(&lab);
    let agent = sh("grep -c 'I am'; echo \"I am $SEGUE_TASK\"");
    let moderator =
        sh("cat > seen; echo '{\"recommendation\": \"wait\", \"confidence\": \"medium\"}'");
    let done = debate(&session, &agent, "Now?", &["speed", "safety"], 2, &moderator);
    let done = done.expect("results");
    assert_eq!(done.conclusion, Ok(("wait".to_owned(), Confidence::Medium)));
    assert_eq!(done.rounds[0][1].stdout, "0\nI am round_1_safety\n");
    assert_eq!(done.rounds[1][0].stdout, "2\nI am round_2_speed\n");
    assert!(lab.read("seen").contains("## safety\n```\n2\nI am round_2_safety\n```"));
    let unsure = debate(&session, &agent, "Now?", &["speed"], 1, &sh("echo HIGH"));
    assert!(unsure.expect("results").conclusion.expect_err("no JSON").contains("no JSON object"));
    let none = debate(&session, &agent, "Now?", &["speed"], 0, &moderator);
    assert!(matches!(none, Err(StrategyError::Size { .. })), "{none:?}");
}

#[test]
fn a_panel_counts_the_votes_that_can_be_read() {
    let lab = Lab::new();
    let session = session(&lab);
    let agent = sh("case $SEGUE_TASK in \
         early*) sleep 0.3; echo '{\"vote\": \"approve\", \"reasoning\": \"fine\"}';; \
         crashed*) exit 1;; vague*) echo 'I APPROVE';; \
         against*) echo '{\"vote\": \"REJECT\", \"reasoning\": \"slow\"}';; \
         *) echo '{\"vote\": \"APPROVE\"}';; esac");
    let expert = |name: &str| Expert::new(name, "testing");
    let experts = ["early", "crashed", "vague", "against", "late"].map(expert);
    let run = |method| {
        expert_panel(&session, &agent, "Ship it?", &experts, method, QUORUM).expect("results")
    };
    let done = run(Method::SimpleMajority);
    let voters: Vec<&str> = done.ballots.iter().map(|ballot| ballot.expert.as_str()).collect();
    assert_eq!(voters, ["early", "against", "late"]);
    let absent: Vec<&str> = done.absent.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(absent, ["crashed", "vague"]);
    assert_eq!(done.tally.decision, Decision::Approve);
    assert_eq!(done.tally.consensus, Consensus::SimpleMajority);
    assert_eq!(done.tally.dissent[0].reasoning, "slow");
    assert_eq!(run(Method::Unanimous).tally.decision, Decision::Reject);
    let few = expert_panel(&session, &agent, "x", &experts[..2], Method::Unanimous, QUORUM);
    assert_eq!(few.expect("results").tally.decision, Decision::NoQuorum);
}

#[test]
fn results_are_put_together_by_their_names() {
    segue::use_supervisor(SEGUE);
    let given = [sh("sleep 0.3; echo '```'").id("slow"), sh("echo q").id("quick"), sh("exit 1")];
    let results = segue::run_parallel(&given, Some(3)).expect("results");
    assert_eq!(labelled(&results), "## slow\n````\n```\n````\n\n## quick\n```\nq\n```\n");
    let numbers = summary(&results);
    assert_eq!((numbers.total, numbers.succeeded), (3, 2));
    assert_eq!(numbers.failed, ["process_003"]);
    assert!(numbers.longest >= Duration::from_millis(300) && numbers.busy >= numbers.longest);
}

#[test]
fn a_pool_runs_so_many_at_once_and_the_others_wait() {
    let lab = Lab::new();
    let session = session(&lab);
    let pool = Pool::new(1).expect("a pool");
    for pipe in ["began", "go"] {
        let made = lab.command("mkfifo").arg(pipe).status().expect("mkfifo");
        assert!(made.success());
    }
    let hold = sh("echo in >> order; echo > began; cat go; echo out >> order");
    let first = pool.submit_in(&session, &hold).expect("it starts");
    assert_eq!(lab.read("began"), "\n");
    let second = pool.submit_in(&session, &sh("echo second >> order")).expect("it waits");
    let third = pool.submit_in(&session, &sh("echo third >> order")).expect("it waits");
    assert_eq!(pool.unended(), 3);
    third.stopper().stop();
    assert!(third.wait().expect("no result").is_empty());
    lab.write("go", "");
    assert!(first.wait().expect("a result")[0].succeeded());
    assert!(second.wait().expect("a result")[0].succeeded());
    assert_eq!(lab.read("order"), "in\nout\nsecond\n");
    assert_eq!(pool.unended(), 0);
    assert!(matches!(Pool::new(0), Err(StrategyError::Size { .. })));
}
