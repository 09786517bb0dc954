//! One attempt end to end: prepared, run or adopted, collected, checked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use segue_core::{
    AttemptId, AttemptReport, FailureClass, FailureList, Finding, Gate, GateCheck, ListSources,
    Mode, Outcome, Plan, Seq, StopReason, Stored, Task, TaskIndex, Teardown, Timestamp, Value,
};
use segue_supervisor as sup;
use tokio::sync::oneshot;

use crate::collect::{collect, outcome, report_of};
use crate::gates::{
    VERIFY_BYTES_MAX, failing_tests, files_gate, finding, is_score, schema_gate, verify_finding,
};
use crate::list::list;
use crate::masking::{mask_words, masker};
use crate::prepare::{
    PrepareError, Prepared, RunContext, attempt_dir, make_private_dir, prepare, results_dir, text,
};
use crate::process::{BESIDE_SHIFT, Fate, NoEnd, Processes};
use crate::prompt;
use crate::result::tail_text;

/// What the driver knows when it orders an attempt.
#[derive(Clone, Debug)]
pub struct AttemptOrder {
    /// The task's place in the plan.
    pub index: TaskIndex,
    /// The attempt.
    pub attempt: AttemptId,
    /// Its number for locks and records.
    pub number: Seq,
    /// The task's scope.
    pub scope: Value,
    /// When the task's first attempt of this run was dispatched.
    pub task_started_at: Timestamp,
    /// When the run's time is up.
    pub run_deadline: Timestamp,
}

/// What became of an attempt that an earlier engine may have started.
#[derive(Debug)]
pub enum Reattached {
    /// No process was ever made for it.
    NeverStarted,
    /// It runs; this waits for its end.
    Running(Box<Watch>),
    /// It has ended.
    Ended(Box<AttemptReport>),
}

/// An adopted attempt on its way to its end.
#[derive(Debug)]
pub struct Watch {
    order: AttemptOrder,
    prepared: Result<Prepared, PrepareError>,
}

/// Runs attempts of one run. Clones share the same supervisor.
#[derive(Clone, Debug)]
pub struct Runner {
    pub(crate) context: Arc<RunContext>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) processes: Processes,
    /// How to end each look that is under way.
    pub(crate) checks: Rc<RefCell<BTreeMap<Seq, oneshot::Sender<()>>>>,
    stopped: Rc<RefCell<BTreeMap<Seq, StopReason>>>,
}

impl Runner {
    /// A runner for the attempts of `plan`. To be used inside of a `LocalSet`.
    #[must_use]
    pub fn new(context: Arc<RunContext>, plan: Arc<Plan>, launch: sup::Launch) -> Self {
        let processes = Processes::new(&context.run_dir, launch);
        // If it cannot be made, the first attempt that writes to it fails and says so.
        let _ = make_private_dir(&results_dir(&context.run_dir));
        Self { context, plan, processes, checks: Rc::default(), stopped: Rc::default() }
    }

    /// Launches the supervisor ahead of the first start.
    ///
    /// # Errors
    /// In one line, if it cannot be launched.
    pub fn connect(&self) -> Result<(), String> {
        self.processes.connect()
    }

    /// Runs an attempt to its end. Dropping the future leaves the process to its keeper.
    pub async fn run(&self, order: AttemptOrder) -> AttemptReport {
        if let Some(reason) = self.asked_to_stop(order.number) {
            // The stop was faster than the start.
            return cancelled(reason);
        }
        let prepared = match self.prepare(&order) {
            Ok(prepared) => prepared,
            Err(error) => return self.told(not_started("prepare", error.0)),
        };
        match self.processes.run(prepared.start.clone()).await {
            Ok(ended) => self.conclude(&order, Ok(prepared), ended).await,
            Err(NoEnd::NotStarted(message)) => self.told(not_started("refused", message)),
            Err(NoEnd::Unknown(why)) => lost(&why),
        }
    }

    /// Lists the items of a `for_each` task, in input order.
    ///
    /// # Errors
    /// In one line that names the thing, if there is no such list.
    pub async fn list(
        &self,
        index: TaskIndex,
        sources: ListSources,
    ) -> Result<Vec<Stored>, String> {
        let (plan, context) = (Arc::clone(&self.plan), Arc::clone(&self.context));
        // Walking folders and reading files may take long; the loop goes on meanwhile.
        let listed = tokio::task::spawn_blocking(move || {
            let task = &plan.tasks[index];
            let for_each = task.for_each.as_ref().ok_or("the task is no `for_each`")?;
            list(&context, &task.id, for_each, sources)
        });
        listed.await.unwrap_or_else(|error| Err(format!("its items cannot be listed: {error}")))
    }

    /// Finds out what became of an attempt.
    pub async fn reattach(&self, order: AttemptOrder) -> Reattached {
        match self.processes.find(order.number).await {
            Err(error) => {
                Reattached::Ended(Box::new(lost(&format!("its records cannot be read: {error}"))))
            }
            Ok(Fate::NeverStarted) => Reattached::NeverStarted,
            Ok(Fate::Running) => {
                let prepared = self.prepare(&order);
                Reattached::Running(Box::new(Watch { order, prepared }))
            }
            Ok(Fate::Ended(ended)) => {
                let prepared = self.prepare(&order);
                Reattached::Ended(Box::new(self.conclude(&order, prepared, *ended).await))
            }
        }
    }

    /// Waits for an adopted attempt's end.
    pub async fn watch(&self, watch: Box<Watch>) -> AttemptReport {
        match self.processes.watch(watch.order.number).await {
            Ok(ended) => self.conclude(&watch.order, watch.prepared, ended).await,
            Err(error) => lost(&format!("its keeper cannot be watched: {error}")),
        }
    }

    /// Stops an attempt, wherever it is. It still ends with a report.
    pub fn stop(&self, number: Seq, reason: StopReason, at_once: bool) {
        self.stopped.borrow_mut().insert(number, reason);
        let told = match reason {
            // Whoever finds it stopped so without this engine has it start again.
            StopReason::Shutdown
            | StopReason::DiskFull
            | StopReason::NotReady
            | StopReason::ServiceEnded => sup::StopReason::Shutdown,
            StopReason::FailFast | StopReason::Released => sup::StopReason::Superseded,
            StopReason::Cancelled | StopReason::RunTimeout => sup::StopReason::Cancelled,
        };
        self.processes.stop(number, told, at_once);
    }

    fn asked_to_stop(&self, number: Seq) -> Option<StopReason> {
        self.stopped.borrow().get(&number).copied()
    }

    fn prepare(&self, order: &AttemptOrder) -> Result<Prepared, PrepareError> {
        let task = &self.plan.tasks[order.index];
        let scope = order.scope.clone();
        let mut prepared =
            prepare(&self.context, task, &order.attempt, order.number, scope, order.run_deadline)?;
        prompt::tell(task, &self.plan, &order.scope, &self.context, &mut prepared.start)?;
        Ok(prepared)
    }

    /// A report as it may be told: without secrets.
    fn told(&self, mut report: AttemptReport) -> AttemptReport {
        if let Some(mut masker) = masker(&self.context) {
            mask_words(&mut masker, &mut report);
        }
        report
    }

    /// The report of an attempt whose end is known. One that an earlier engine started may no
    /// longer be prepared, for want of a file; then its results are out of reach.
    async fn conclude(
        &self,
        order: &AttemptOrder,
        prepared: Result<Prepared, PrepareError>,
        ended: sup::Ended,
    ) -> AttemptReport {
        let task = &self.plan.tasks[order.index];
        let mut report = report_of(task, &attempt_dir(&self.context, &order.attempt), &ended);
        if let (Outcome::Cancelled { reason }, Some(told)) =
            (&mut report.outcome, self.asked_to_stop(order.number))
        {
            *reason = told;
        }
        match prepared {
            Ok(prepared) => report = self.look_at(order, prepared, report).await,
            Err(error) if report.class.is_none() => {
                report.class = Some(FailureClass::Output);
                report.message = format!("its results cannot be collected: {error}");
            }
            Err(_) => {}
        }
        self.told(report)
    }

    /// Collects what an ended attempt left, and asks its gates.
    async fn look_at(
        &self,
        order: &AttemptOrder,
        prepared: Prepared,
        mut report: AttemptReport,
    ) -> AttemptReport {
        let task = &self.plan.tasks[order.index];
        if report.class.is_some() && !task.result_wanted
            || report.class.is_none() && !leaves_something(task, &prepared)
        {
            return report;
        }
        let prepared = Arc::new(prepared);
        let (plan, context, index) =
            (Arc::clone(&self.plan), Arc::clone(&self.context), order.index);
        let (kept, since) = (Arc::clone(&prepared), order.task_started_at);
        let mut bare = report.clone();
        // Reading logs and walking folders may take long; the loop goes on meanwhile.
        let collected = tokio::task::spawn_blocking(move || {
            let task = &plan.tasks[index];
            let result = collect(task, &kept, &context, &mut report);
            if report.class.is_none() {
                look(task, &kept, &context, since, result.as_ref(), &mut report);
            }
            report
        });
        let mut report = match collected.await {
            Ok(report) => report,
            Err(error) => {
                bare.class = Some(FailureClass::Unknown);
                bare.message = format!("its results could not be collected: {error}");
                return bare;
            }
        };
        if report.class.is_none() {
            self.verify(order, &prepared, &mut report).await;
        }
        report
    }

    async fn verify(
        &self,
        order: &AttemptOrder,
        prepared: &Arc<Prepared>,
        report: &mut AttemptReport,
    ) {
        let task = &self.plan.tasks[order.index];
        for (place, gate) in task.gates.iter().enumerate() {
            let GateCheck::Verify { script, failures, timeout } = &gate.check else { continue };
            let start = match verify_start(prepared, script, place, timeout.0) {
                Ok(start) => start,
                Err(message) => {
                    push(report, finding(gate, "verify", false, message));
                    continue;
                }
            };
            let logs = start.attempt_dir.clone();
            let ended = self.run_or_adopt(start).await;
            if let (Some(reason), Ok(ended)) = (self.asked_to_stop(order.number), &ended)
                && matches!(ended.outcome, sup::Outcome::Cancelled { .. })
            {
                report.outcome = Outcome::Cancelled { reason };
                report.class = Some(FailureClass::Cancelled);
                report.message = report.outcome.to_string();
                return;
            }
            let (prepared, context) = (Arc::clone(prepared), Arc::clone(&self.context));
            push(report, judge(gate, failures.clone(), ended, logs, prepared, context).await);
        }
    }

    async fn run_or_adopt(&self, start: sup::Start) -> Result<sup::Ended, String> {
        match self.processes.find(start.number).await.map_err(|error| error.to_string())? {
            Fate::Ended(ended) => Ok(*ended),
            Fate::Running => self.processes.watch(start.number).await.map_err(|e| e.to_string()),
            Fate::NeverStarted => self.processes.run(start).await.map_err(|e| e.to_string()),
        }
    }
}

async fn judge(
    gate: &Gate,
    failures: Option<FailureList>,
    ended: Result<sup::Ended, String>,
    logs: PathBuf,
    prepared: Arc<Prepared>,
    context: Arc<RunContext>,
) -> Finding {
    let ended = match ended {
        Ok(ended) => ended,
        Err(why) => {
            let detail = format!("the script could not be run: {why}");
            return finding(gate, "verify", false, detail);
        }
    };
    let passed = matches!(ended.outcome, sup::Outcome::Exited { code: 0 });
    let told = outcome(&ended.outcome).to_string();
    let judged = gate.clone();
    let read = tokio::task::spawn_blocking(move || {
        let read = |name: &str| tail_text(&logs.join(name), VERIFY_BYTES_MAX).unwrap_or_default();
        let output = format!("{}{}", read("stdout.log"), read("stderr.log"));
        let failures = failures.as_ref().filter(|_| !passed);
        let failing = failing_tests(failures, &output, &prepared, &context);
        verify_finding(&judged, &told, passed, &output, failing)
    });
    read.await.unwrap_or_else(|error| finding(gate, "verify", false, error.to_string()))
}

fn verify_start(
    prepared: &Prepared,
    script: &segue_core::Template,
    place: usize,
    timeout_ms: u64,
) -> Result<sup::Start, String> {
    let script =
        text("gates.verify", script, Mode::Shell, &prepared.scope).map_err(|error| error.0)?;
    let mut start = prepared.start.clone();
    let place = u64::try_from(place).unwrap_or(0) + 1;
    start.number |= place << BESIDE_SHIFT;
    start.label = format!("{}.verify-{place}", start.label);
    start.attempt_dir = prepared.attempt_dir.join(format!("verify-{place}"));
    start.argv = prepared.shell.iter().chain([&script]).map(Into::into).collect();
    start.stdin = sup::Stdin::Null;
    start.limits.timeout_ms = Some(timeout_ms);
    Ok(start)
}

/// The gates that only look at files and values.
fn look(
    task: &Task,
    prepared: &Prepared,
    context: &RunContext,
    since: Timestamp,
    result: Option<&Value>,
    report: &mut AttemptReport,
) {
    for gate in &task.gates {
        match &gate.check {
            GateCheck::Files { globs, fresh } => {
                let since = fresh.then_some(since);
                let (cwd, base) = (&prepared.cwd, &context.base_dir);
                let (finding, files) = files_gate(gate, globs, since, cwd, base, &prepared.scope);
                report.files.extend(files);
                push(report, finding);
            }
            GateCheck::Schema { schema } => push(report, schema_gate(gate, schema, result)),
            GateCheck::Score { .. } | GateCheck::Verify { .. } => {}
        }
    }
}

fn push(report: &mut AttemptReport, finding: Finding) {
    if !finding.passed && report.class.is_none() {
        report.class = Some(FailureClass::Quality);
        report.message = format!("{} gate: {}", finding.gate, finding.detail);
    }
    report.findings.push(finding);
}

/// Whether anything of a succeeded attempt has to be looked at.
fn leaves_something(task: &Task, prepared: &Prepared) -> bool {
    task.result_wanted
        || !task.outputs.is_empty()
        || !matches!(task.result, segue_core::ResultSource::Auto | segue_core::ResultSource::Text)
        || task.gates.iter().any(|gate| !is_score(&gate.check))
        || prepared.output_path().exists()
}

/// The report of an attempt of which nobody knows how it ended, or whether.
fn lost(why: &str) -> AttemptReport {
    let teardown = Teardown::Unverified { pids: Vec::new() };
    let mut report = AttemptReport::bare(Outcome::Lost, Some(FailureClass::Lost), teardown);
    report.message = format!("lost: {why}");
    report
}

fn cancelled(reason: StopReason) -> AttemptReport {
    let class = Some(FailureClass::Cancelled);
    AttemptReport::bare(Outcome::Cancelled { reason }, class, Teardown::None)
}

fn not_started(kind: &str, message: String) -> AttemptReport {
    let outcome = Outcome::SpawnFailed { kind: kind.to_owned(), message };
    AttemptReport::bare(outcome, Some(FailureClass::Spawn), Teardown::None)
}
