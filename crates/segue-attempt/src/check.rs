//! One look of a check: an address, a script or a file, in a bounded time and in few words.
//!
//! How often to look, and what follows, is the scheduler's. A script is a process like an
//! attempt's: owned by a keeper, with the task's folder, environment and secrets. Asking the
//! network is somebody else's work: this crate is handed a function that does it.

use std::pin::Pin;
use std::time::Duration;

use segue_core::{
    AttemptId, CheckAnswer, CheckKind, Millis, Mode, Precheck, Probe, Seq, TaskIndex, Template,
    Timestamp, Value,
};
use segue_supervisor as sup;
use tokio::sync::oneshot;

use crate::attempt::Runner;
use crate::collect::{clip, outcome};
use crate::masking::masker;
use crate::prepare::{PrepareError, Prepared, confine, prepare, text};
use crate::process::NoEnd;
use crate::result::{last_lines, tail_text};

/// How long a check's script goes on without an engine: the next engine looks anew.
const ORPHAN_MS: u64 = 1000;

/// How much of each stream of a check's script is kept.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// How much of what a check saw is told.
const SEEN_CHARS_MAX: usize = 200;

/// Sends a GET to an address within a time, and gives the status of the answer, or why there is
/// none in one line.
pub type Get = fn(String, Duration) -> Pin<Box<dyn Future<Output = Result<u16, String>>>>;

/// Asks nobody: for hosts that have no network, and plans that do not ask for it.
#[must_use]
pub fn no_network(_: String, _: Duration) -> Pin<Box<dyn Future<Output = Result<u16, String>>>> {
    Box::pin(async { Err("this program asks nothing of the network".to_owned()) })
}

/// What the driver knows when it orders a look.
#[derive(Clone, Debug)]
pub struct CheckOrder {
    /// The task's place in the plan.
    pub index: TaskIndex,
    /// Which of its checks.
    pub kind: CheckKind,
    /// The attempt it is for: under way, or the next one.
    pub attempt: AttemptId,
    /// The look's own number for locks and records.
    pub number: Seq,
    /// How long it may take.
    pub limit: Millis,
    /// The task's scope.
    pub scope: Value,
    /// When the run's time is up.
    pub run_deadline: Timestamp,
}

impl Runner {
    /// Looks once. Dropping the future leaves a script to its keeper.
    pub async fn check(&self, order: CheckOrder) -> CheckAnswer {
        let (stop, stopped) = oneshot::channel();
        self.checks.borrow_mut().insert(order.number, stop);
        let number = order.number;
        let answer = match self.look(&order, stopped).await {
            Ok(answer) => answer,
            Err(error) => CheckAnswer::Never(error.0),
        };
        self.checks.borrow_mut().remove(&number);
        let mut masker = masker(&self.context);
        let mut told = |text: String| masker.as_mut().map_or(text.clone(), |m| m.mask_text(&text));
        match answer {
            CheckAnswer::Passed => CheckAnswer::Passed,
            CheckAnswer::NotYet(seen) => CheckAnswer::NotYet(told(seen)),
            CheckAnswer::Never(why) => CheckAnswer::Never(told(why)),
        }
    }

    /// Ends a look at once, wherever it is. It still has an answer.
    pub fn stop_check(&self, number: Seq) {
        if let Some(stop) = self.checks.borrow_mut().remove(&number) {
            // It may just have had its answer.
            let _ = stop.send(());
        }
        self.processes.stop(number, sup::StopReason::Cancelled, true);
    }

    async fn look(
        &self,
        order: &CheckOrder,
        stopped: oneshot::Receiver<()>,
    ) -> Result<CheckAnswer, PrepareError> {
        let task = &self.plan.tasks[order.index];
        let check = match order.kind {
            CheckKind::Precheck => task.precheck.as_ref(),
            CheckKind::Ready => task.background.as_ref().and_then(|service| service.ready.as_ref()),
        };
        let Some(check) = check else { return Ok(CheckAnswer::Passed) };
        let (attempt, number) = (&order.attempt, order.number);
        let scope = order.scope.clone();
        let prepared = prepare(&self.context, task, attempt, number, scope, order.run_deadline)?;
        let key = |word: &str| format!("{}.{word}", order.kind.word());
        match &check.probe {
            Probe::File { path } => {
                let path = text(&key("file"), path, Mode::Text, &prepared.scope)?;
                let path = confine(&self.context, &prepared.cwd, &key("file"), &path)?;
                let there = path.exists();
                Ok(if there { CheckAnswer::Passed } else { not_yet("it does not exist") })
            }
            Probe::Http { url } => {
                let url = text(&key("http"), url, Mode::Text, &prepared.scope)?;
                let limit = Duration::from_millis(order.limit.0.min(Precheck::GET_MAX.0));
                tokio::select! {
                    answer = (self.context.get)(url, limit) => Ok(answered(answer)),
                    _ = stopped => Ok(not_yet("it was stopped")),
                }
            }
            Probe::Run { script } => {
                let start = script_start(order, &prepared, &key("run"), script)?;
                let logs = start.attempt_dir.clone();
                // What an earlier look left would be read as this one's.
                let _ = std::fs::remove_dir_all(&logs);
                Ok(match self.processes.run(start).await {
                    Ok(ended) => ended_so(&ended, &logs),
                    Err(NoEnd::NotStarted(why) | NoEnd::Unknown(why)) => not_yet(&why),
                })
            }
        }
    }
}

fn not_yet(seen: &str) -> CheckAnswer {
    CheckAnswer::NotYet(clip(seen, SEEN_CHARS_MAX))
}

fn answered(answer: Result<u16, String>) -> CheckAnswer {
    match answer {
        Ok(200..=299) => CheckAnswer::Passed,
        Ok(status) => not_yet(&format!("it answered {status}")),
        Err(why) => not_yet(&why),
    }
}

fn ended_so(ended: &sup::Ended, logs: &std::path::Path) -> CheckAnswer {
    if matches!(ended.outcome, sup::Outcome::Exited { code: 0 }) {
        return CheckAnswer::Passed;
    }
    let read = |name: &str| tail_text(&logs.join(name), 4096).unwrap_or_default();
    let output = format!("{}{}", read("stdout.log"), read("stderr.log"));
    let line = last_lines(&output, SEEN_CHARS_MAX).lines().next_back().map(str::to_owned);
    let how = outcome(&ended.outcome).to_string();
    not_yet(&line.map_or_else(|| how.clone(), |line| format!("{how}: {}", line.trim())))
}

fn script_start(
    order: &CheckOrder,
    prepared: &Prepared,
    key: &str,
    script: &Template,
) -> Result<sup::Start, PrepareError> {
    let script = text(key, script, Mode::Shell, &prepared.scope)?;
    let mut start = prepared.start.clone();
    let label = format!("{}.{}", order.attempt.task, order.kind.word());
    start.attempt_dir = start.run_dir.join("attempts").join(&label);
    start.label = label;
    start.argv = prepared.shell.iter().chain([&script]).map(Into::into).collect();
    start.stdin = sup::Stdin::Null;
    start.limits = sup::Limits {
        timeout_ms: Some(order.limit.0),
        kill_grace_ms: 0,
        output_bytes_max: Some(OUTPUT_BYTES_MAX),
        orphan_ms: Some(ORPHAN_MS),
        run_deadline_unix_ms: start.limits.run_deadline_unix_ms,
        ..sup::Limits::default()
    };
    Ok(start)
}
