//! The four strategies, and the plan that each of them is.
//!
//! Parallel is tasks without needs; sequential a chain; fallback a chain that goes on only after
//! a failure; batches are stages. There is nothing here that schedules: the plan goes to the one
//! engine.

use std::time::Duration;

use segue_core::{
    Action, ConcurrencyGroup, Expression, Millis, OnBusy, PLAN_VERSION, Plan, Prompt,
    PromptContext, Retry, RunLimits, Stdin, Task, TaskId, Template, When,
};

use super::error::StrategyError;
use super::process::{AgentProcess, Surroundings, What};

/// The most processes of one strategy that run at once.
pub const PARALLEL_MAX: usize = 4096;

/// The most processes of one strategy.
pub const PROCESSES_MAX: usize = 100_000;

/// How several processes are run.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// All of them, so many at once.
    Parallel {
        /// How many at once; `None` is what the machine bears
        /// ([`concurrency_for`](crate::concurrency_for)).
        max_parallel: Option<usize>,
        /// After a failure start none and stop those that run.
        stop_on_failure: bool,
    },
    /// One after the other.
    Sequential(Handover),
    /// One after the other until one succeeds.
    Fallback {
        /// For each of them, in place of its own.
        timeout: Option<Duration>,
    },
    /// So many at a time, each batch after the one before.
    Batched {
        /// How many processes a batch has; the last may have fewer.
        size: usize,
        /// What goes from batch to batch.
        handover: Handover,
    },
}

/// What goes from one process, or one batch, to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handover {
    /// Put what was printed before into the next prompts.
    pub pass_output: bool,
    /// Start nothing more after a failure. What runs beside the failed one goes on.
    pub stop_on_failure: bool,
    /// Whose output; `None` is all in a sequence, the successful ones in batches.
    pub context: Option<ContextOf>,
    /// At most so many bytes of it, the oldest cut off; at most, and unless told, 32 MiB.
    pub context_limit: Option<u64>,
}

/// Whose output is handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextOf {
    /// Everybody's.
    All,
    /// That of those that succeeded.
    Successful,
}

impl Strategy {
    /// All at once, as many as the machine bears.
    #[must_use]
    pub const fn parallel(max_parallel: Option<usize>) -> Self {
        Self::Parallel { max_parallel, stop_on_failure: false }
    }

    /// Its word, as run ids and logs have it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Parallel { .. } => "parallel",
            Self::Sequential(_) => "sequential",
            Self::Fallback { .. } => "fallback",
            Self::Batched { .. } => "batched",
        }
    }

    /// How many of `count` processes run at once.
    pub(super) fn slots(&self, count: usize, detected: u32) -> Result<u32, StrategyError> {
        let (what, wanted) = match self {
            Self::Parallel { max_parallel: None, .. } => ("max_parallel", detected as usize),
            Self::Parallel { max_parallel: Some(wanted), .. } => ("max_parallel", *wanted),
            Self::Batched { size, .. } => ("batch_size", *size),
            Self::Sequential(_) | Self::Fallback { .. } => ("max_parallel", 1),
        };
        if wanted == 0 {
            return Err(StrategyError::Size { what });
        }
        let slots = wanted.min(count.max(1));
        if slots > PARALLEL_MAX {
            return Err(StrategyError::TooMany { what, given: wanted, most: PARALLEL_MAX });
        }
        Ok(u32::try_from(slots).expect("it is at most PARALLEL_MAX"))
    }
}

/// Finds every fault of a definition before anything is done.
pub(super) fn check(strategy: &Strategy, processes: &[AgentProcess]) -> Result<(), StrategyError> {
    if processes.is_empty() && matches!(strategy, Strategy::Fallback { .. }) {
        return Err(StrategyError::NoProcesses);
    }
    if processes.len() > PROCESSES_MAX {
        let (what, given, most) = ("the number of processes", processes.len(), PROCESSES_MAX);
        return Err(StrategyError::TooMany { what, given, most });
    }
    let given = match strategy {
        Strategy::Fallback { timeout } => *timeout,
        _ => None,
    };
    for (index, process) in processes.iter().enumerate() {
        let zero = |limit: Option<Duration>| limit == Some(Duration::ZERO);
        if zero(given) || zero(process.timeout) {
            return Err(StrategyError::NoTime { index, what: "timeout" });
        }
        if zero(process.idle_window(&Surroundings::default())) {
            return Err(StrategyError::NoTime { index, what: "idle" });
        }
        let bad = |cores: f64| !(cores.is_finite() && cores > 0.0);
        if process.memory_limit == Some(0) || process.cpu_limit.is_some_and(bad) {
            let what = if process.memory_limit == Some(0) { "memory_limit" } else { "cpu_limit" };
            return Err(StrategyError::NoLimit { index, what });
        }
        if process.attempts == 0 {
            return Err(StrategyError::Size { what: "attempts" });
        }
        let no_program = |argv: &[String]| argv.first().is_none_or(String::is_empty);
        if matches!(&process.what, What::Command { argv, .. } if no_program(argv)) {
            return Err(StrategyError::NoProgram { index });
        }
        if let Some(id) = &process.id {
            segue_core::check_name("process", id)
                .map_err(|source| StrategyError::InvalidId { index, source })?;
        }
    }
    Ok(())
}

/// What is the same for every task of the plan.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// The name of the run.
    pub(super) name: String,
    pub(super) slots: u32,
    pub(super) run_timeout: Duration,
    /// How long a process goes on when this one is killed.
    pub(super) orphan_for: Duration,
    pub(super) min_free_disk_bytes: u64,
    pub(super) around: Surroundings,
    pub(super) group_max: Option<u32>,
}

/// The plan of a strategy. `ids` are the processes' names, each once.
pub(super) fn lower(
    strategy: &Strategy,
    processes: &[AgentProcess],
    ids: &[TaskId],
    frame: &Frame,
) -> Plan {
    let mut tasks = Vec::with_capacity(processes.len());
    for (index, (process, id)) in processes.iter().zip(ids).enumerate() {
        let mut task = task(process, id.clone(), frame);
        place(&mut task, index, processes.len(), strategy);
        if let Some(context) = context(strategy, index) {
            hand_over(&mut task, context, process);
        }
        tasks.push(task);
    }
    let fail_fast = matches!(strategy, Strategy::Parallel { stop_on_failure: true, .. });
    Plan {
        version: PLAN_VERSION,
        workflow: frame.name.clone(),
        digest: String::new(),
        params: std::collections::BTreeMap::new(),
        secrets: Vec::new(),
        limits: RunLimits {
            timeout: millis(frame.run_timeout),
            concurrency: Some(frame.slots),
            min_free_disk_bytes: frame.min_free_disk_bytes,
            ..RunLimits::default()
        },
        fail_fast,
        tasks,
        outputs: Vec::new(),
        display: None,
        mode: None,
    }
}

fn task(process: &AgentProcess, id: TaskId, frame: &Frame) -> Task {
    let (argv, argument) = process.argv(&frame.around);
    let mut task = Task::new(id, &[]);
    task.action = Action::Argv { argv: argv.iter().map(|word| Template::literal(word)).collect() };
    task.cwd = process.cwd.as_ref().map(|cwd| Template::literal(&cwd.to_string_lossy()));
    let variables = process.env.iter();
    task.env = variables
        .map(|(name, value)| (name.clone(), value.as_deref().map(Template::literal)))
        .collect();
    if !process.prompt.is_empty() {
        let text = process.prompt.clone();
        task.stdin = Stdin::Prompt { prompt: Box::new(Prompt { text, argument, context: None }) };
    }
    let limits = &mut task.limits;
    limits.timeout = process.timeout.map(millis);
    limits.stall = process.idle_window(&frame.around).map(millis);
    limits.orphan_for = millis(frame.orphan_for);
    if let Some(grace) = process.kill_grace {
        limits.kill_grace = millis(grace);
    }
    if let Some(bytes) = process.output_limit {
        limits.output_bytes_max = bytes;
    }
    limits.memory_bytes_max = process.memory_limit;
    limits.cpu_millis_max = process.cpu_limit.map(thousandths);
    task.group = frame.group_max.map(|max| ConcurrencyGroup {
        key: Expression("'pool'".to_owned()),
        max,
        on_busy: OnBusy::Queue,
    });
    task.retry = Retry { attempts: process.attempts, ..Retry::default() };
    task
}

/// Puts a task behind those that come before it.
fn place(task: &mut Task, index: usize, count: usize, strategy: &Strategy) {
    match strategy {
        Strategy::Parallel { .. } => {}
        Strategy::Sequential(handover) => {
            task.needs = index.checked_sub(1).into_iter().collect();
            task.when = if handover.stop_on_failure { When::AllSucceeded } else { When::AllDone };
        }
        Strategy::Fallback { timeout } => {
            task.needs = index.checked_sub(1).into_iter().collect();
            if index > 0 {
                task.when = When::AnyFailed;
            }
            // A fallback that helped makes the run a success with a warning.
            task.optional = index + 1 < count;
            if let Some(timeout) = timeout {
                task.limits.timeout = Some(millis(*timeout));
            }
        }
        Strategy::Batched { size, handover } if handover.stop_on_failure => {
            let batch = index / size;
            task.needs = match batch.checked_sub(1) {
                Some(before) => (before * size..batch * size).collect(),
                None => Vec::new(),
            };
        }
        Strategy::Batched { size, .. } => {
            task.stage = Some(u32::try_from(index / size).unwrap_or(u32::MAX));
        }
    }
}

/// What the process at `index` is told of those before it.
fn context(strategy: &Strategy, index: usize) -> Option<PromptContext> {
    let (handover, what, until, group, joint, successful) = match strategy {
        Strategy::Sequential(handover) => (handover, "output", index, 1, "", false),
        Strategy::Batched { size, handover } => {
            (handover, "batch output", index / size * size, *size, "\n\n", true)
        }
        Strategy::Parallel { .. } | Strategy::Fallback { .. } => return None,
    };
    if !handover.pass_output || until == 0 {
        return None;
    }
    Some(PromptContext {
        header: format!("\n\n--- Previous {what} ---\n"),
        footer: "\n\n--- New task ---\n".to_owned(),
        until,
        group,
        joint: joint.to_owned(),
        successful_only: handover.context.map_or(successful, |of| of == ContextOf::Successful),
        bytes_max: handover.context_limit.unwrap_or(PromptContext::BYTES_MAX),
    })
}

fn hand_over(task: &mut Task, context: PromptContext, process: &AgentProcess) {
    match &mut task.stdin {
        Stdin::Prompt { prompt } => prompt.context = Some(context),
        stdin => {
            let argument = match &process.what {
                // Without a prompt of its own it reads what is handed over.
                What::Command { .. } => None,
                What::Agent { .. } => process.argv(&Surroundings::default()).1,
            };
            let prompt = Prompt { text: String::new(), argument, context: Some(context) };
            *stdin = Stdin::Prompt { prompt: Box::new(prompt) };
        }
    }
}

/// Thousandths of a core, at least one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn thousandths(cores: f64) -> u64 {
    ((cores * 1000.0) as u64).max(1)
}

/// Whole milliseconds, at least one.
fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(strategy: &Strategy, count: usize) -> Plan {
        let processes: Vec<AgentProcess> = (0..count)
            .map(|n| AgentProcess::command(["run", "{{ x }}"]).prompt(format!("p{n}")))
            .collect();
        let ids: Vec<TaskId> =
            (0..count).map(|n| TaskId::parse(&format!("t{n}")).unwrap()).collect();
        let frame = Frame {
            name: "w".to_owned(),
            slots: strategy.slots(count, 4).unwrap(),
            run_timeout: Duration::from_secs(60),
            orphan_for: Duration::from_secs(1),
            min_free_disk_bytes: 0,
            around: Surroundings::default(),
            group_max: None,
        };
        lower(strategy, &processes, &ids, &frame)
    }

    fn handover(pass_output: bool, stop_on_failure: bool) -> Handover {
        Handover { pass_output, stop_on_failure, ..Handover::default() }
    }

    #[test]
    fn a_strategy_is_a_plan() {
        let needs = |plan: &Plan| plan.tasks.iter().map(|t| t.needs.clone()).collect::<Vec<_>>();
        let free = plan(&Strategy::parallel(Some(9)), 3);
        assert_eq!((needs(&free), free.limits.concurrency), (vec![vec![]; 3], Some(3)));
        let chain = plan(&Strategy::Sequential(handover(false, false)), 3);
        assert_eq!(needs(&chain), [vec![], vec![0], vec![1]]);
        assert!(chain.tasks.iter().all(|task| task.when == When::AllDone));
        let fallback = plan(&Strategy::Fallback { timeout: None }, 3);
        assert_eq!(fallback.tasks[2].when, When::AnyFailed);
        let optional: Vec<bool> = fallback.tasks.iter().map(|task| task.optional).collect();
        assert_eq!(optional, [true, true, false]);
        let batched = Strategy::Batched { size: 2, handover: handover(true, false) };
        let stages: Vec<_> = plan(&batched, 5).tasks.iter().map(|task| task.stage).collect();
        assert_eq!(stages, [0, 0, 1, 1, 2].map(Some));
        let stopping = Strategy::Batched { size: 2, handover: handover(true, true) };
        assert_eq!(needs(&plan(&stopping, 5))[2..], [vec![0, 1], vec![0, 1], vec![2, 3]]);
    }

    #[test]
    fn contexts_are_those_of_the_promises() {
        let sequential = Strategy::Sequential(handover(true, false));
        let given = context(&sequential, 2).unwrap();
        assert_eq!(given.header, "\n\n--- Previous output ---\n");
        assert_eq!(given.footer, "\n\n--- New task ---\n");
        assert_eq!((given.until, given.joint.as_str(), given.successful_only), (2, "", false));
        assert_eq!(context(&sequential, 0), None);
        let batched = Strategy::Batched { size: 3, handover: handover(true, false) };
        let given = context(&batched, 7).unwrap();
        assert_eq!(given.header, "\n\n--- Previous batch output ---\n");
        assert_eq!((given.until, given.group, given.joint.as_str()), (6, 3, "\n\n"));
        assert!(given.successful_only);
        assert_eq!(context(&batched, 2), None);
    }

    #[test]
    fn bad_sizes_and_times_are_refused() {
        let one = [AgentProcess::command(["true"])];
        let error = |strategy: &Strategy, processes: &[AgentProcess]| {
            let sized = strategy.slots(processes.len(), 4).map(|_| ());
            check(strategy, processes).and(sized).unwrap_err().to_string()
        };
        let batch = |size| Strategy::Batched { size, handover: Handover::default() };
        assert_eq!(error(&batch(0), &one), "batch_size is 0; it must be at least 1");
        let none = Strategy::parallel(Some(0));
        assert_eq!(error(&none, &one), "max_parallel is 0; it must be at least 1");
        let fallback = Strategy::Fallback { timeout: Some(Duration::ZERO) };
        assert!(error(&fallback, &one).contains("timeout is zero"));
        assert!(error(&fallback, &[]).contains("requires at least one process"));
        let parallel = Strategy::parallel(None);
        for (process, text) in [
            (one[0].clone().id("../../esc"), "only ASCII letters"),
            (one[0].clone().timeout(Duration::ZERO), "timeout is zero"),
            (one[0].clone().idle(Some(Duration::ZERO)), "idle is zero"),
            (one[0].clone().attempts(0), "attempts is 0"),
            (one[0].clone().memory_limit(0), "memory_limit is not above zero"),
            (one[0].clone().cpu_limit(f64::NAN), "cpu_limit is not above zero"),
            (AgentProcess::command(Vec::<String>::new()), "command is empty"),
        ] {
            let told = error(&parallel, &[process]);
            assert!(told.contains(text), "{told}");
        }
        assert_eq!(Strategy::parallel(None).slots(100, 7).unwrap(), 7);
        assert_eq!(batch(50).slots(1000, 2).unwrap(), 50);
    }
}
