//! How many inputs a second the scheduler takes: `cargo run --release -p segue-core --example
//! throughput [TASKS]`. Each attempt ends well at once; the clock stands still.
//!
//! Prints one line per shape of plan: `flat 100000 tasks 412345 inputs/s`.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]
#![expect(clippy::disallowed_methods, reason = "it measures from outside the core")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use segue_core::{
    AttemptReport, Effect, Event, Expression, ForEach, Hardware, ITEMS_MAX, Input, ItemSource,
    OnItemFailure, Outcome, PLAN_VERSION, Phase, Plan, RunId, RunLimits, RunRequest, RunStatus,
    Scheduler, Task, TaskId, Teardown, Timestamp, Value,
};

fn main() {
    let count = std::env::args().nth(1).map_or(100_000, |text| text.parse().expect("a number"));
    measure("flat", plan(count, |_, _| {}));
    measure("layered", plan(count, |index, task| layered(index, task, 1000)));
    measure(
        "chain",
        plan(count, |index, task| task.needs = index.checked_sub(1).into_iter().collect()),
    );
    measure(
        "staged",
        plan(count, |index, task| {
            task.stage = Some(u32::try_from(index / 100).expect("a small plan"));
        }),
    );
    measure(
        "funnel",
        plan(count, |index, task| {
            if index == count - 1 {
                task.needs = (0..index).collect();
            }
        }),
    );
    let items = plan(1, |_, task| {
        task.for_each = Some(ForEach {
            source: ItemSource::List((0..count.min(ITEMS_MAX)).map(Value::from).collect()),
            exclude: Vec::new(),
            name: None,
            key: None,
            max_parallel: Some(64),
            batch: Some(1000),
            on_item_failure: OnItemFailure::Continue,
        });
    });
    measure("items", items);
    measure(
        "conditions",
        plan(count, |index, task| {
            layered(index, task, 1000);
            if let Some(need) = task.needs.first() {
                let source = format!("tasks.t{need}.exit_code == 0");
                task.condition = Some(Expression(source));
            }
        }),
    );
}

/// Three needs in the layer before, each of `width` tasks.
fn layered(index: usize, task: &mut Task, width: usize) {
    if let Some(first) = (index / width * width).checked_sub(width) {
        let mut needs = [7, 11, 13].map(|step| first + (index * step) % width).to_vec();
        needs.sort_unstable();
        needs.dedup();
        task.needs = needs;
    }
}

fn plan(count: usize, change: impl Fn(usize, &mut Task)) -> Arc<Plan> {
    let task = |index| {
        let id = TaskId::parse(&format!("t{index}")).expect("a plain name");
        let mut task = Task::new(id, &["true"]);
        change(index, &mut task);
        task
    };
    Arc::new(Plan {
        version: PLAN_VERSION,
        workflow: "throughput".into(),
        digest: String::new(),
        params: BTreeMap::new(),
        secrets: Vec::new(),
        limits: RunLimits::default(),
        fail_fast: false,
        tasks: (0..count).map(task).collect(),
        outputs: Vec::new(),
        display: None,
        mode: None,
    })
}

fn measure(shape: &str, plan: Arc<Plan>) {
    let count = plan.tasks.len();
    let now = Timestamp::from_unix_ms(1_000_000);
    let began = Instant::now();
    let mut scheduler = Scheduler::new(plan);
    let started = Event::RunStarted {
        run: RunId::parse("throughput-1").expect("a plain name"),
        workflow: "throughput".into(),
        digest: String::new(),
        request: RunRequest::default(),
        slots: 64,
        segue: "0".into(),
        hardware: Hardware::default(),
    };
    let mut inputs = VecDeque::from([Input::Start { started: Box::new(started) }]);
    let (mut taken, mut events) = (0_u32, 0);
    while let Some(input) = inputs.pop_front() {
        let output = scheduler.handle(now, input);
        taken += 1;
        events += output.events.len();
        for ordered in output.effects {
            if let Effect::StartAttempt { attempt, .. } = ordered.effect {
                let teardown = Teardown::Verified { stragglers: 0 };
                let mut report = AttemptReport::bare(Outcome::Exited { code: 0 }, None, teardown);
                report.started_at = Some(now);
                inputs.push_back(Input::AttemptEnded { attempt, report: Box::new(report) });
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    assert_eq!(scheduler.state().phase, Phase::Ended(RunStatus::Succeeded));
    let rate = f64::from(taken) / seconds;
    let items = scheduler.state().items.len();
    let what = if items > 0 { format!("{items} items") } else { format!("{count} tasks") };
    println!("{shape} {what} {rate:.0} inputs/s ({events} events in {seconds:.2} s)");
    if shape == "flat" {
        println!("bench: inputs_per_s {rate:.0}");
    }
}
