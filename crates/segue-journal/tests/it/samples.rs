//! One event of every kind and one plan with everything: what the golden files hold.

use std::collections::BTreeMap;

use segue_core::{
    Action, Alternative, AttemptId, AttemptLimits, AttemptReport, Backoff, ConcurrencyGroup, Event,
    Expression, Failure, FailureClass, FailureList, Finding, ForEach, Gate, GateCheck, Hardware,
    ItemKey, ItemSource, ItemsReset, ListedItem, Millis, ModeChoice, OnBusy, OnItemFailure,
    Outcome, OutputSource, PLAN_VERSION, Plan, PlanMode, Recorded, Resources, ResultSource, Retry,
    RunLimits, RunRequest, RunStatus, Section, SkipReason, Stdin, StopReason, Stored, Stream, Task,
    Teardown, Template, TimeLimit, Usd, Wants, When,
};
use serde_json::json;

use crate::samples_waits;
use crate::support::{at, run_id, task};

/// The name of an event's kind. A new kind does not compile until it has one, and the
/// golden test then asks for a sample of it.
pub(crate) const fn kind(event: &Event) -> &'static str {
    match event {
        Event::RunStarted { .. } => "run_started",
        Event::RunResumed { .. } => "run_resumed",
        Event::SlotsChanged { .. } => "slots_changed",
        Event::ModeChosen { .. } => "mode_chosen",
        Event::StageOpened { .. } => "stage_opened",
        Event::SectionOpened { .. } => "section_opened",
        Event::GrantAsked { .. } => "grant_asked",
        Event::Granted { .. } => "granted",
        Event::AttemptCleared { .. } => "attempt_cleared",
        Event::AttemptDispatched { .. } => "attempt_dispatched",
        Event::AttemptRecalled { .. } => "attempt_recalled",
        Event::AttemptEnded { .. } => "attempt_ended",
        Event::RetryScheduled { .. } => "retry_scheduled",
        Event::TaskSucceeded { .. } => "task_succeeded",
        Event::TaskFailed { .. } => "task_failed",
        Event::TaskSkipped { .. } => "task_skipped",
        Event::TaskBlocked { .. } => "task_blocked",
        Event::TaskCancelled { .. } => "task_cancelled",
        Event::ItemsAsked { .. } => "items_asked",
        Event::ItemsExpanded { .. } => "items_expanded",
        Event::CheckStarted(_) => "check_started",
        Event::CheckEnded(_) => "check_ended",
        Event::ApprovalAsked(_) => "approval_asked",
        Event::ApprovalAnswered(_) => "approval_answered",
        Event::ApprovalWithdrawn { .. } => "approval_withdrawn",
        Event::ServiceReady { .. } => "service_ready",
        Event::ServiceReleased(_) => "service_released",
        Event::StopRequested { .. } => "stop_requested",
        Event::RunEnded { .. } => "run_ended",
    }
}

/// How many kinds [`kind`] names.
pub(crate) const KINDS: usize = 29;

fn attempt(number: u32) -> AttemptId {
    AttemptId { task: task("stage/a"), item: None, number }
}

fn item(number: u32) -> AttemptId {
    AttemptId { task: task("b"), item: Some(ItemKey::new("é/ \"x\"\n🎈")), number }
}

fn request() -> RunRequest {
    RunRequest {
        params: BTreeMap::from([
            ("question".to_owned(), json!("Why do we dream?")),
            ("deep".to_owned(), json!({"list": [1, -2, 2.5, 1e-9, true, null], "n": u64::MAX})),
        ]),
        concurrency: Some(4),
        timeout: Some(Millis(90_000)),
        attempt_timeout: None,
        budget: Some(Usd(5_510_000)),
        tokens: Some(2_000_000),
        retry_attempts: Some(3),
        only: vec!["a".to_owned()],
        skip: vec!["b".to_owned()],
        mode: Some("smart".to_owned()),
        probe: Some(2.5),
        force: true,
    }
}

fn full_report() -> AttemptReport {
    let digest = "0123456789abcdef".repeat(4);
    let path = "attempts/a.1/result.json".to_owned();
    let kept = Stored::Ref { path, bytes: 70_000, sha256: digest, head: serde_json::Value::Null };
    AttemptReport {
        outcome: Outcome::Exited { code: 3 },
        class: Some(FailureClass::Quality),
        message: "quality 6.1 is below 7".to_owned(),
        started_at: Some(at(20)),
        ended_at: Some(at(1_234)),
        teardown: Teardown::Verified { stragglers: 2 },
        result: Some(Stored::Inline(json!({"score": 6.1, "text": "a\tb"}))),
        outputs: BTreeMap::from([("audio".to_owned(), kept)]),
        files: vec!["out/episode.mp3".to_owned()],
        findings: vec![Finding {
            gate: "score".to_owned(),
            passed: false,
            detail: "quality 6.1 is below 7".to_owned(),
            value: Some(6.1),
            feedback: true,
        }],
        stderr_tail: "Traceback\n  \u{1b}[31mred\u{1b}[0m".to_owned(),
        resources: Resources {
            user_ms: 1,
            system_ms: 2,
            peak_memory_bytes: 3 << 30,
            tree_peak_memory_bytes: None,
            stdout_bytes: 4,
            stderr_bytes: 5,
            omitted_bytes: 6,
        },
        cost: Some(Usd(42)),
    }
}

/// Reports of every outcome and every teardown.
fn reports() -> Vec<AttemptReport> {
    let unverified = Teardown::Unverified { pids: vec![7, 8] };
    let kind = "program_not_found".to_owned();
    let message = "no program `nope` on PATH".to_owned();
    let class = |class| Some(class);
    let timed_out = |limit| Outcome::TimedOut { limit };
    let bare = AttemptReport::bare;
    vec![
        full_report(),
        bare(Outcome::Exited { code: 0 }, None, Teardown::Verified { stragglers: 0 }),
        bare(Outcome::Signaled { signal: 9 }, class(FailureClass::Memory), unverified),
        bare(timed_out(TimeLimit::Total), class(FailureClass::Timeout), Teardown::None),
        bare(timed_out(TimeLimit::Stall), class(FailureClass::Stall), Teardown::None),
        bare(timed_out(TimeLimit::Run), class(FailureClass::Timeout), Teardown::None),
        bare(Outcome::SpawnFailed { kind, message }, class(FailureClass::Spawn), Teardown::None),
        bare(
            Outcome::Cancelled { reason: StopReason::Cancelled },
            class(FailureClass::Cancelled),
            Teardown::None,
        ),
        bare(Outcome::Parked, class(FailureClass::Cancelled), Teardown::None),
        bare(Outcome::Lost, class(FailureClass::Lost), Teardown::None),
        bare(Outcome::OutputLimit, class(FailureClass::Output), Teardown::None),
    ]
}

/// A history with every kind of event, every class, outcome, reason and status.
pub(crate) fn events() -> Vec<Recorded> {
    let hardware = Hardware {
        cores: 2,
        memory_bytes: 8 << 30,
        cpu_model: "Some CPU @ 3.00GHz".to_owned(),
        kind: "vm".to_owned(),
    };
    let mut events = vec![
        Event::RunStarted {
            run: run_id(7),
            workflow: "demo".to_owned(),
            digest: "d".repeat(64),
            request: request(),
            slots: 2,
            segue: "0.1.0".to_owned(),
            hardware,
        },
        Event::SlotsChanged { slots: 3 },
        Event::ModeChosen {
            probe: task("mode:smart"),
            number: 2.5,
            mode: "few".to_owned(),
            excluded: vec![task("b")],
            slots: Some(2),
        },
        Event::StageOpened { stage: 1 },
        Event::GrantAsked {
            attempt: attempt(1),
            wants: Wants { group: "episode-5".to_owned(), max: 1, reject: true },
        },
        Event::Granted { attempt: attempt(1) },
        Event::AttemptCleared { attempt: attempt(1) },
        Event::AttemptDispatched { attempt: attempt(1) },
        Event::AttemptRecalled { attempt: attempt(1) },
    ];
    let numbered = (1..).zip(reports());
    events.extend(numbered.map(|(number, report)| Event::AttemptEnded {
        attempt: item(number),
        report: Box::new(report),
    }));
    for section in [Section::Main, Section::OnSuccess, Section::OnFailure, Section::Finally] {
        events.push(Event::SectionOpened { section });
    }
    for class in FailureClass::ALL {
        let (task, message) = (task("a"), "it said \"no\"\\".to_owned());
        events.push(Event::TaskFailed { task, item: None, class: *class, message });
    }
    for feedback in [false, true] {
        let (task, class) = (task("a"), FailureClass::Execution);
        events.push(Event::RetryScheduled { task, item: None, until: at(5_000), class, feedback });
    }
    events.push(Event::TaskSucceeded { task: task("a"), item: None });
    let expression = "params.x > 1".to_owned();
    for reason in [
        SkipReason::ConditionFalse { expression: expression.clone() },
        SkipReason::SkipIf { expression },
        SkipReason::NeedSkipped { need: task("a") },
        SkipReason::WhenUnmet { rule: "any_failed".to_owned() },
        SkipReason::NotSelected,
        SkipReason::SectionNotEntered,
    ] {
        events.push(Event::TaskSkipped { task: task("c"), item: None, reason });
    }
    events.push(Event::TaskBlocked { task: task("d"), item: None, by: task("a") });
    events.push(Event::TaskCancelled { task: task("e"), item: None });
    events.extend(ends());
    events.extend(of_items());
    events.extend(samples_waits::events());
    (1..).zip(events).map(|(seq, event)| Recorded { seq, at: at(seq as i64), event }).collect()
}

/// How a run stops, ends and goes on.
fn ends() -> Vec<Event> {
    let mut events = Vec::new();
    for reason in [
        StopReason::Cancelled,
        StopReason::Shutdown,
        StopReason::FailFast,
        StopReason::RunTimeout,
        StopReason::DiskFull,
    ] {
        let one = reason == StopReason::Cancelled;
        events.push(Event::StopRequested { task: one.then(|| task("a")), reason, at_once: one });
    }
    for status in RunStatus::ALL {
        let failed = *status == RunStatus::Failed;
        let message = "quality 6.1 is below 7".to_owned();
        let failure = Failure { task: Some(task("a")), class: FailureClass::Quality, message };
        events.push(Event::RunEnded {
            status: *status,
            outputs: BTreeMap::from([("episode".to_owned(), json!({"id": 5}))]),
            failure: failed.then_some(failure),
            verdict_only: failed,
        });
        events.push(Event::RunResumed {
            reset: vec![task("a")],
            request: RunRequest::default(),
            slots: 1,
            digest: "e".repeat(64),
            segue: "0.1.1".to_owned(),
            items: Vec::new(),
        });
    }
    events
}

/// What happens to the items of a `for_each` task.
fn of_items() -> Vec<Event> {
    let (task, key) = (task("b"), item(1).item);
    let path = "results/b.items/2.json".to_owned();
    let head = json!({"order": 2});
    let large = Stored::Ref { path, bytes: 20_000, sha256: "f".repeat(64), head };
    let listed =
        [(key.clone(), Stored::Inline(json!({"order": 1}))), (Some(ItemKey::new("2")), large)];
    let items = listed.into_iter().filter_map(|(key, value)| Some(ListedItem { key: key?, value }));
    let (until, class) = (at(6_000), FailureClass::Execution);
    let item = || key.clone();
    vec![
        Event::ItemsAsked { task: task.clone() },
        Event::ItemsExpanded { task: task.clone(), items: items.collect() },
        Event::RetryScheduled { task: task.clone(), item: item(), until, class, feedback: false },
        Event::TaskSucceeded { task: task.clone(), item: item() },
        Event::TaskFailed { task: task.clone(), item: item(), class, message: "no".to_owned() },
        Event::TaskSkipped { task: task.clone(), item: item(), reason: SkipReason::NotSelected },
        Event::TaskBlocked { task: task.clone(), item: item(), by: task.clone() },
        Event::TaskCancelled { task: task.clone(), item: item() },
        Event::RunResumed {
            reset: vec![task.clone()],
            request: RunRequest::default(),
            slots: 1,
            digest: "e".repeat(64),
            segue: "0.1.1".to_owned(),
            items: vec![ItemsReset { task, keys: key.into_iter().collect(), anew: true }],
        },
    ]
}

fn text(text: &str) -> Template {
    Template(text.to_owned())
}

fn expression(text: &str) -> Expression {
    Expression(text.to_owned())
}

/// A plan in which every field and every choice occurs.
pub(crate) fn plan() -> Plan {
    let mut shell = Task::new(task("shell"), &[]);
    shell.action = Action::Run { script: text("echo {{ params.x }}"), shell: None };
    shell.when = When::AllDone;
    shell.stdin = Stdin::Pty;
    shell.result = ResultSource::Json;
    shell.group =
        Some(ConcurrencyGroup { key: expression("'k'"), max: 3, on_busy: OnBusy::Reject });
    shell.retry.backoff = Backoff::Fixed;
    shell.section = Section::OnSuccess;
    shell.for_each = Some(for_each(ItemSource::List(vec![json!(1), json!("x")])));
    let mut other = Task::new(task("other"), &["true", "x y"]);
    other.for_each = Some(for_each(ItemSource::Glob(text("src/**/*.ts"))));
    other.when = When::AnySucceeded;
    other.result = ResultSource::Text;
    other.section = Section::OnFailure;
    other.retry.backoff = Backoff::Exponential;
    let mut last = Task::new(task("last"), &["true"]);
    last.when = When::AnyFailed;
    last.section = Section::Finally;
    last.result = ResultSource::File { path: text("r.json") };
    let axes = [("os", vec![json!("linux")]), ("node", vec![json!(20), json!(22)])];
    let axes = axes.map(|(name, axis)| (name.to_owned(), axis)).to_vec();
    last.for_each = Some(for_each(ItemSource::Matrix(axes)));
    Plan {
        version: PLAN_VERSION,
        workflow: "demo".to_owned(),
        digest: "d".repeat(64),
        params: request().params,
        secrets: vec!["TOKEN".to_owned()],
        limits: RunLimits {
            timeout: Millis(1),
            concurrency: Some(2),
            min_free_disk_bytes: 3,
            budget: Some(Usd(4)),
            tokens: Some(5),
        },
        fail_fast: true,
        tasks: [full_task(), shell, other, last]
            .into_iter()
            .chain(samples_waits::tasks())
            .collect(),
        outputs: vec![("episode".to_owned(), expression("tasks.full.result.id"))],
        display: Some(text("Episode {{ outputs.episode }}")),
        mode: Some(PlanMode {
            name: "smart".to_owned(),
            concurrency: Some(expression("limits.concurrency * 2")),
            choice: Some(ModeChoice {
                probe: 0,
                alternatives: vec![Alternative {
                    condition: Some(expression("probe <= 3")),
                    mode: "few".to_owned(),
                    excluded: vec![0],
                    concurrency: None,
                }],
            }),
        }),
    }
}

fn for_each(source: ItemSource) -> ForEach {
    ForEach {
        source,
        exclude: Vec::new(),
        name: None,
        key: None,
        max_parallel: None,
        batch: None,
        on_item_failure: OnItemFailure::Continue,
    }
}

fn full_task() -> Task {
    let shell = Some(vec!["bash".to_owned(), "-c".to_owned()]);
    Task {
        id: task("stage/full"),
        section: Section::Main,
        needs: vec![1, 2],
        stage: Some(2),
        priority: -3,
        when: When::AllSucceeded,
        condition: Some(expression("params.x")),
        skip_if: Some(expression("not params.x")),
        optional: true,
        excluded: true,
        for_each: Some(ForEach {
            source: ItemSource::Items(expression("params.deep.list")),
            exclude: vec![json!({"a": 1})],
            name: Some("entry".to_owned()),
            key: Some(expression("entry.order")),
            max_parallel: Some(4),
            batch: Some(10),
            on_item_failure: OnItemFailure::Stop,
        }),
        group: Some(ConcurrencyGroup { key: expression("'k'"), max: 1, on_busy: OnBusy::Queue }),
        precheck: None,
        background: None,
        action: Action::Run { script: text("make"), shell },
        cwd: Some(text("podcast")),
        env: vec![("A".to_owned(), Some(text("1"))), ("B".to_owned(), None)],
        env_files: vec![text(".env")],
        secrets: vec!["TOKEN".to_owned()],
        stdin: Stdin::Text { text: text("hello") },
        limits: AttemptLimits {
            timeout: None,
            stall: Some(Millis(6)),
            kill_grace: Millis(7),
            output_bytes_max: 8,
            orphan_for: Millis(9),
            memory_bytes_max: None,
            cpu_millis_max: None,
        },
        retry: Retry {
            attempts: 3,
            delay: Millis(10),
            backoff: Backoff::Linear,
            max_delay: Millis(11),
            jitter: false,
            on: FailureClass::ALL.to_vec(),
            never: true,
        },
        success_codes: vec![0, 3],
        result: ResultSource::Auto,
        result_wanted: true,
        outputs: vec![
            ("file".to_owned(), OutputSource::File { path: text("out/x") }),
            ("json".to_owned(), OutputSource::Json { pointer: "/a/0".to_owned() }),
            ("line".to_owned(), regex_output(Stream::Stdout)),
            ("error".to_owned(), regex_output(Stream::Stderr)),
        ],
        gates: gates(),
    }
}

fn regex_output(from: Stream) -> OutputSource {
    OutputSource::Regex { patterns: vec!["id=(\\d+)".to_owned()], from }
}

fn gates() -> Vec<Gate> {
    let verify =
        |failures| GateCheck::Verify { script: text("cargo test"), failures, timeout: Millis(12) };
    let checks = [
        GateCheck::Score { expression: expression("result.score"), min: 7.25 },
        verify(Some(FailureList::Junit("junit.xml".to_owned()))),
        verify(Some(FailureList::Regex("^FAIL (.*)$".to_owned()))),
        verify(None),
        GateCheck::Schema { schema: json!({"type": "object", "required": ["b", "a"]}) },
        GateCheck::Files { globs: vec![text("out/*.mp3")], fresh: true },
    ];
    let gate = |(rounds, check)| Gate { check, feedback: rounds > 1, rounds };
    (0..).zip(checks).map(gate).collect()
}
