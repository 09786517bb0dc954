//! The preview for people.

use std::collections::BTreeMap;

use segue_core::{Action, Millis, Section, Stdin, Task, TaskIndex};

use super::Preview;
use super::fill::Filled;

/// How many waits between tries are shown.
const DELAYS_MAX: usize = 12;
/// How many variables of a task's environment are shown.
const ENV_MAX: usize = 8;
/// How much of a value is shown, in characters.
const VALUE_CHARS_MAX: usize = 60;
/// How many lines of a script or of what a task reads are shown.
const LINES_MAX: usize = 40;
/// How many tasks are named in a line.
const NAMES_MAX: usize = 20;

pub(super) fn text(preview: &Preview) -> String {
    let plan = &preview.plan;
    let tasks = count(plan.tasks.len(), "task");
    let mut text = format!("workflow {}: {tasks}, {} at once\n", plan.workflow, preview.slots);
    for (name, value) in &plan.params {
        text.push_str(&format!("  {name} = {value}\n"));
    }
    for secret in &plan.secrets {
        let missing = preview.missing_secrets.contains(secret);
        let note = if missing { "is not set: a run would be refused" } else { "is set" };
        text.push_str(&format!("  secret {secret} {note}\n"));
    }
    let common = common_env(preview);
    if !common.is_empty() {
        text.push_str(&format!("  {}\n", env_words(&common)));
    }
    text.push_str(&mode_text(preview));
    let has_stages = plan.tasks.iter().any(|task| task.stage.is_some());
    let mut groups: BTreeMap<(Section, Option<u32>), Vec<TaskIndex>> = BTreeMap::new();
    let never = (0..plan.tasks.len()).filter(|&index| preview.left_out[index]);
    for index in preview.order.iter().copied().chain(never) {
        let task = &plan.tasks[index];
        groups.entry((task.section, task.stage)).or_default().push(index);
    }
    for ((section, stage), group) in groups {
        text.push_str(&format!("\n{}\n", heading(section, stage, has_stages)));
        for index in group {
            text.push_str(&task_text(preview, index, &common));
        }
    }
    text.push('\n');
    text.push_str(&run_text(preview));
    text.push_str("nothing was started, contacted or recorded\n");
    text
}

/// The mode, and what it may pick.
fn mode_text(preview: &Preview) -> String {
    let Some(mode) = &preview.plan.mode else { return String::new() };
    if preview.choices.is_empty() {
        return format!("  mode {}\n", mode.name);
    }
    let mut text = format!("  mode {}, which picks one by what its probe measures:\n", mode.name);
    for choice in &preview.choices {
        let condition =
            choice.condition.as_ref().map_or("else".to_owned(), |text| format!("if {text}"));
        let slots = match &choice.slots {
            Ok(slots) => slots.to_string(),
            Err(source) => source.clone(),
        };
        text.push_str(&format!("    {condition}: mode {}, {slots} at once", choice.mode));
        if !choice.left_out.is_empty() {
            let names = choice.left_out.iter().map(|&i| preview.plan.tasks[i].id.as_str());
            text.push_str(&format!(", without {}", some(&names.collect::<Vec<_>>())));
        }
        text.push_str(&format!("; at worst {}", choice.worst.run()));
        if let Some(run) = choice.forecast.run {
            text.push_str(&format!(", forecast P50 {}, P90 {}", run.p50, run.p90));
        }
        text.push('\n');
    }
    text.push_str("  below is all that may run; `--probe N` shows one choice\n");
    text
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn heading(section: Section, stage: Option<u32>, has_stages: bool) -> String {
    match (section, stage) {
        (Section::Probe, _) => "before anything else, to find out the mode".to_owned(),
        (Section::Main, Some(stage)) => format!("stage {stage}"),
        (Section::Main, None) if has_stages => "no stage".to_owned(),
        (Section::Main, None) => "tasks".to_owned(),
        (Section::OnSuccess, _) => "on success".to_owned(),
        (Section::OnFailure, _) => "on failure".to_owned(),
        (Section::Finally, _) => "finally".to_owned(),
    }
}

fn task_text(preview: &Preview, index: TaskIndex, common: &[Variable<'_>]) -> String {
    let task = &preview.plan.tasks[index];
    let filled = Filled::of(&preview.plan, task);
    let mark = if preview.is_critical[index] { '*' } else { ' ' };
    let mut text = format!("{mark} {}", task.id);
    match preview.left_out[index] {
        true if task.excluded => text.push_str("  (not selected)"),
        true => text.push_str("  (skipped: what it needs is not selected)"),
        false => {}
    }
    if !task.needs.is_empty() {
        text.push_str(&format!("  after {}", some(&filled.needs())));
    }
    if let Some(condition) = &task.condition {
        text.push_str(&format!("  if {}", condition.0));
    }
    if let Some(items) = filled.items() {
        text.push_str(&format!("  {items}"));
    }
    if let Some(condition) = &task.skip_if {
        text.push_str(&format!("  unless {}", condition.0));
    }
    text.push('\n');
    push_lines(&mut text, &filled.command());
    if let Some(stdin) = filled.stdin() {
        text.push_str("    reads:\n");
        push_lines(&mut text, &stdin);
    }
    for notes in [surroundings(task, &filled, common), rules(task, &filled), times(preview, index)]
    {
        if !notes.is_empty() {
            text.push_str(&format!("    {}\n", notes.join(" · ")));
        }
    }
    text
}

/// Lines of a script, indented.
fn push_lines(text: &mut String, lines: &str) {
    let all = lines.lines().count();
    for line in lines.lines().take(LINES_MAX) {
        text.push_str(&format!("    {line}\n"));
    }
    if all > LINES_MAX {
        text.push_str(&format!("    … and {} more lines\n", all - LINES_MAX));
    }
}

/// A variable of a task's environment; `None` removes it.
type Variable<'p> = (&'p str, Option<String>);

/// What the environments of all tasks have in common: said once.
fn common_env(preview: &Preview) -> Vec<Variable<'_>> {
    let plan = &preview.plan;
    let mut envs = plan.tasks.iter().map(|task| Filled::of(plan, task).env());
    let mut common = envs.next().unwrap_or_default();
    for env in envs {
        common.retain(|variable| env.contains(variable));
        if common.is_empty() {
            break;
        }
    }
    common
}

fn env_words(env: &[Variable<'_>]) -> String {
    let shown = env.iter().take(ENV_MAX).map(|(name, value)| match value {
        Some(value) => format!("{name}={}", short(value)),
        None => format!("no {name}"),
    });
    let more = env.len().saturating_sub(ENV_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("env {}{more}", shown.collect::<Vec<_>>().join(" "))
}

/// Where a task runs and with what.
fn surroundings(task: &Task, filled: &Filled<'_>, common: &[Variable<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(cwd) = filled.cwd() {
        notes.push(format!("in {cwd}"));
    }
    let mut env = filled.env();
    env.retain(|variable| !common.contains(variable));
    if !env.is_empty() {
        notes.push(env_words(&env));
    }
    let files = filled.env_files();
    if !files.is_empty() {
        notes.push(format!("env from {}", files.join(", ")));
    }
    if !task.secrets.is_empty() {
        notes.push(format!("secrets {}", task.secrets.join(", ")));
    }
    if task.stdin == Stdin::Pty {
        notes.push("on a terminal".to_owned());
    }
    notes
}

/// What a task may take and how it counts.
fn rules(task: &Task, filled: &Filled<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(filled.waits());
    match task.limits.timeout {
        Some(timeout) => notes.push(format!("timeout {timeout}")),
        None if task.background.is_some() || matches!(task.action, Action::Approve { .. }) => {}
        None => notes.push("no timeout".to_owned()),
    }
    if let Some(stall) = task.limits.stall {
        notes.push(format!("stall {stall}"));
    }
    if let Some(bytes) = task.limits.memory_bytes_max {
        notes.push(format!("memory {} MiB", bytes.div_ceil(1 << 20)));
    }
    if let Some(millis) = task.limits.cpu_millis_max {
        notes.push(format!("{} cores", millis as f64 / 1000.0));
    }
    let mut delays: Vec<String> =
        task.retry.delays().take(DELAYS_MAX).map(|delay| delay.to_string()).collect();
    if !delays.is_empty() {
        if delays.len() < task.retry.delays().count() {
            delays.push("…".to_owned());
        }
        let jitter = if task.retry.jitter { " at most" } else { "" };
        notes.push(format!("{} tries, waits{jitter} {}", task.retry.tries(), delays.join(", ")));
    }
    if task.retry.never {
        notes.push("never retried".to_owned());
    }
    if task.optional {
        notes.push("optional".to_owned());
    }
    notes.extend(filled.group());
    notes.extend(filled.gates().into_iter().map(|gate| format!("gate: {gate}")));
    notes
}

fn times(preview: &Preview, index: TaskIndex) -> Vec<String> {
    let mut notes = Vec::new();
    if preview.left_out[index] {
        return notes;
    }
    if let Some(quantiles) = preview.forecast.tasks[index] {
        let (p50, p90) = (quantiles.p50, quantiles.p90);
        let runs = count(quantiles.count, "run");
        notes.push(format!("P50 {p50}, P90 {p90} over {runs}"));
    }
    match preview.worst.tasks[index] {
        Some(worst) => notes.push(format!("at worst {worst}")),
        None => notes.push("unbounded".to_owned()),
    }
    notes
}

fn run_text(preview: &Preview) -> String {
    let plan = &preview.plan;
    let name = |index: &TaskIndex| plan.tasks[*index].id.as_str();
    let mut text = String::new();
    let path: Vec<&str> = preview.critical.iter().map(name).collect();
    if path.len() > 1 {
        let path = if path.len() > NAMES_MAX {
            let (head, tail) = (NAMES_MAX / 2, path.len() - NAMES_MAX / 2);
            format!("{} → … → {}", path[..head].join(" → "), path[tail..].join(" → "))
        } else {
            path.join(" → ")
        };
        text.push_str(&format!("* critical path, by {}: {path}\n", preview.measure.word()));
    }
    if let Some(run) = preview.forecast.run {
        let runs = count(preview.earlier_runs, "earlier run");
        text.push_str(&format!("forecast P50 {}, P90 {}, from {runs}", run.p50, run.p90));
        if !preview.forecast.unknown.is_empty() {
            let unknown: Vec<&str> = preview.forecast.unknown.iter().map(name).collect();
            let unknown = some(&unknown);
            text.push_str(&format!("; counted as nothing, as they have never run: {unknown}"));
        }
        text.push('\n');
    } else {
        text.push_str("no forecast: it has never run to its end here\n");
    }
    let slowest = preview.choices.iter().map(|choice| choice.worst.run()).max();
    match preview.worst.all_tasks {
        Some(all) if let Some(slowest) = slowest => {
            text.push_str(&format!("at worst {}", slowest.max(all).min(preview.worst.run_stopped)));
        }
        Some(all) => {
            text.push_str(&format!("at worst {}", all.min(preview.worst.run_stopped)));
        }
        None => {
            let reasons = preview.worst.unbounded.iter();
            let reasons: Vec<String> =
                reasons.map(|(i, why)| format!("{} {}", name(i), why.words())).collect();
            let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
            text.push_str(&format!(
                "unbounded but for the run's own timeout: {}; at worst {}",
                some(&reasons),
                preview.worst.run_stopped,
            ));
        }
    }
    let timeout: Millis = plan.limits.timeout;
    text.push_str(&format!("; the run is stopped after {timeout}\n"));
    text
}

/// Some of these, and how many more there are.
fn some(names: &[&str]) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn short(value: &str) -> String {
    let line = value.replace('\n', "⏎");
    match line.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}
