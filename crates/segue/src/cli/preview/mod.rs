//! `segue plan`: what a run would do. Starts, contacts and records nothing.
//!
//! It puts together what the core says about a plan (order, critical path, bound, forecast) and
//! what the store knows of earlier runs; `text` and `value` show it.

mod choices;
mod fill;
mod text;
mod value;

use segue_core::{
    Forecast, Millis, Plan, Rehearsal, RunRequest, Section, TaskId, TaskIndex, WorstCase,
};
use segue_journal::{Store, history, peek_statistics};

use choices::Choice;

use super::error::{CommandResult, exit};
use super::load::Loaded;
use super::{execute, hardware, print_error, print_line};

/// How many earlier runs a forecast is made of at most.
const EARLIER_RUNS_MAX: u32 = 100;

/// What was made out about a plan.
struct Preview {
    plan: Plan,
    slots: u32,
    /// The tasks that may run, in the order in which one slot would start them.
    order: Vec<TaskIndex>,
    /// By [`TaskIndex`]: whether it never runs.
    left_out: Vec<bool>,
    critical: Vec<TaskIndex>,
    /// By [`TaskIndex`]: whether it is on the critical path.
    is_critical: Vec<bool>,
    /// What the critical path was measured by.
    measure: Measure,
    worst: WorstCase,
    forecast: Forecast,
    /// What its mode may pick, if it has a probe.
    choices: Vec<Choice>,
    /// How many earlier runs the forecast is made of.
    earlier_runs: usize,
    /// Secrets that the workflow declares and the environment does not have.
    missing_secrets: Vec<String>,
}

/// What a critical path was measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    Forecast,
    WorstCase,
    Tasks,
}

impl Measure {
    const fn word(self) -> &'static str {
        match self {
            Self::Forecast => "forecast",
            Self::WorstCase => "worst case",
            Self::Tasks => "number of tasks",
        }
    }
}

/// Shows what a run of the workflow would do.
pub(crate) fn show(loaded: &Loaded, request: &RunRequest, as_json: bool) -> CommandResult {
    let plan = loaded.plan(request, "run-preview", segue_engine::wall_now())?;
    let slots = execute::slots(request, &plan, &hardware::detect())?;
    let preview = Preview::of(plan, slots, request.concurrency.is_some())?;
    if as_json {
        let document = value::document(&preview);
        print_line(&serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        print_line(text::text(&preview).trim_end());
    }
    Ok(exit::SUCCESS)
}

impl Preview {
    fn of(plan: Plan, slots: u32, fixed: bool) -> CommandResult<Self> {
        let home = std::env::var_os("SEGUE_HOME");
        let root = Store::locate(&std::env::current_dir()?, home.as_deref());
        let store = Store::existing(&root);
        let earlier =
            peek_statistics(&store, &plan.workflow, EARLIER_RUNS_MAX).unwrap_or_else(|error| {
                print_error(&format!(
                    "note: no forecast, earlier runs are out of sight: {error}\n"
                ));
                Vec::new()
            });
        let ids: Vec<&TaskId> = plan.tasks.iter().map(|task| &task.id).collect();
        let history = history(&earlier, &ids);
        let forecast = Forecast::of(&plan, slots, &history);
        let choices = choices::choices(&plan, slots, fixed, &history);
        let worst = WorstCase::of(&plan, slots);
        let rehearsal = Rehearsal::of(&plan);
        let order = rehearsal.perform(1, &|_| Some(Millis(1))).order;
        let left_out = (0..plan.tasks.len()).map(|index| rehearsal.is_left_out(index)).collect();
        let (critical, measure) = critical_path(&plan, &rehearsal, &forecast, &worst);
        let mut is_critical = vec![false; plan.tasks.len()];
        critical.iter().for_each(|&index| is_critical[index] = true);
        let missing = |name: &&String| std::env::var_os(name.as_str()).is_none_or(|v| v.is_empty());
        let missing_secrets = plan.secrets.iter().filter(missing).cloned().collect();
        Ok(Self {
            slots,
            order,
            left_out,
            critical,
            is_critical,
            measure,
            worst,
            forecast,
            choices,
            earlier_runs: earlier.len(),
            missing_secrets,
            plan,
        })
    }
}

/// The critical path of a run that goes well, by the best measure that knows every task.
fn critical_path(
    plan: &Plan,
    rehearsal: &Rehearsal<'_>,
    forecast: &Forecast,
    worst: &WorstCase,
) -> (Vec<TaskIndex>, Measure) {
    let expected = |index: TaskIndex| plan.tasks[index].section != Section::OnFailure;
    let measured: Box<dyn Fn(TaskIndex) -> Millis>;
    let measure;
    if forecast.run.is_some() && forecast.unknown.is_empty() {
        // Nobody waits for the end of a service.
        let waited = |index: &TaskIndex| plan.tasks[*index].background.is_none();
        let middle = move |index: TaskIndex| {
            forecast.tasks[index].filter(|_| waited(&index)).map(|quantiles| quantiles.p50)
        };
        measured = Box::new(move |index| middle(index).unwrap_or_default());
        measure = Measure::Forecast;
    } else if worst.unbounded.is_empty() {
        measured = Box::new(|index| worst.tasks[index].unwrap_or_default());
        measure = Measure::WorstCase;
    } else {
        measured = Box::new(|_| Millis(1));
        measure = Measure::Tasks;
    }
    let path = rehearsal.critical_path(&|index| expected(index).then(|| measured(index)));
    (path, measure)
}
