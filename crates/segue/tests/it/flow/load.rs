//! Slots that follow the machine's load: the real loop over readings that the test makes up.

use std::collections::BTreeMap;
use std::sync::Arc;

use segue::core::{
    Event, Input, Load, Plan, Recorded, RunId, RunLimits, RunRequest, RunView, StopReason, Task,
    TaskId,
};
use segue::engine::{Launch, Observer, RunContext, Session, drive, wall_now};
use segue_journal::Store;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Ends the run when its slots have changed, and keeps to what number.
struct Until {
    controls: UnboundedSender<Input>,
    slots: Option<u32>,
}

impl Observer for Until {
    fn observe(&mut self, events: &[Recorded], _: &RunView) {
        for recorded in events {
            if let Event::SlotsChanged { slots } = recorded.event {
                self.slots = Some(slots);
                let stop = Input::Stop { task: None, reason: StopReason::Cancelled, at_once: true };
                self.controls.send(stop).expect("the loop listens");
            }
        }
    }
}

fn plan() -> Plan {
    Plan {
        version: segue::core::PLAN_VERSION,
        workflow: "load".to_owned(),
        digest: String::new(),
        params: BTreeMap::new(),
        secrets: Vec::new(),
        limits: RunLimits { min_free_disk_bytes: 0, ..RunLimits::default() },
        fail_fast: false,
        tasks: vec![Task::new(TaskId::parse("t").expect("a name"), &["sleep", "60"])],
        outputs: Vec::new(),
        display: None,
        mode: None,
    }
}

#[test]
fn scarce_memory_takes_slots_while_a_task_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("store")).expect("made");
    let (run, plan) = (RunId::new("load", wall_now(), 7), Arc::new(plan()));
    store.create_run(&run, &[], &plan).expect("made");
    let context = Arc::new(RunContext {
        run: run.clone(),
        run_dir: store.run_dir(&run),
        base_dir: folder.path().to_owned(),
        allowed: vec![folder.path().to_owned()],
        environment: std::env::vars_os().collect(),
        secrets: BTreeMap::new(),
        get: segue_attempt::no_network,
    });
    let started = Event::RunStarted {
        run: run.clone(),
        workflow: "load".to_owned(),
        digest: String::new(),
        request: RunRequest::default(),
        slots: 6,
        segue: String::new(),
        hardware: segue::core::Hardware::default(),
    };
    let mut session = Session::create(&store, run, plan, started).expect("taken");
    session.launch = Launch { program: Some(env!("CARGO_BIN_EXE_segue").into()) };
    session.load = Some(Box::new(|| Some(Load { cpu_percent: 10, free_memory_bytes: 1 })));
    let (controls, received) = unbounded_channel();
    let mut until = Until { controls, slots: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let local = tokio::task::LocalSet::new();
    let driven = drive(session, context, received, &mut until);
    let finished = local.block_on(&runtime.expect("a runtime"), driven).expect("it ends");
    assert_eq!(until.slots, Some(3));
    assert_eq!(finished.view.state().slots, 3);
}
