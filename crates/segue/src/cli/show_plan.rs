//! `segue plan`: what a run would do. Starts, contacts and records nothing.

use segue_core::{
    Action, Backoff, GateCheck, Mode, Plan, RunRequest, Section, Task, Template, render,
};
use serde_json::{Value, json};

use super::error::{CommandResult, exit};
use super::load::Loaded;
use super::{hardware, print_line};
use crate::cli::execute;

pub(crate) fn show(loaded: &Loaded, request: &RunRequest, as_json: bool) -> CommandResult {
    let now = segue_engine::wall_now();
    let plan = loaded.plan(request, "run-preview", now)?;
    let slots = execute::slots(request, &plan, &hardware::detect())?;
    let order = order(&plan);
    if as_json {
        let tasks: Vec<Value> = order.iter().map(|&i| task_value(&plan, i)).collect();
        let document = json!({
            "workflow": plan.workflow,
            "digest": plan.digest,
            "params": plan.params,
            "slots": slots,
            "tasks": tasks,
            "time_bound_seconds": time_bound(&plan, slots).map(|ms| ms as f64 / 1000.0),
            "run_timeout_seconds": plan.limits.timeout.as_secs_f64(),
            "secrets": plan.secrets,
        });
        print_line(&serde_json::to_string_pretty(&document).unwrap_or_default());
    } else {
        print_line(text(&plan, &order, slots).trim_end());
    }
    Ok(exit::SUCCESS)
}

/// The order in which a machine with one slot would start the tasks.
fn order(plan: &Plan) -> Vec<usize> {
    let depth = depths(plan);
    let mut order: Vec<usize> = Vec::with_capacity(plan.tasks.len());
    let mut waiting: Vec<usize> = plan.tasks.iter().map(|task| task.needs.len()).collect();
    let mut dependents = vec![Vec::new(); plan.tasks.len()];
    for (index, task) in plan.tasks.iter().enumerate() {
        task.needs.iter().for_each(|&need| dependents[need].push(index));
    }
    let key = |index: usize| {
        let task: &Task = &plan.tasks[index];
        let stage = task.stage.unwrap_or(0);
        (task.section, stage, task.priority, std::cmp::Reverse(depth[index]), index)
    };
    let mut ready: std::collections::BTreeSet<_> =
        (0..plan.tasks.len()).filter(|&i| waiting[i] == 0).map(key).collect();
    while let Some((.., index)) = ready.pop_first() {
        order.push(index);
        for &dependent in &dependents[index] {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                ready.insert(key(dependent));
            }
        }
    }
    order
}

/// The length of the longest path from each task to an end.
fn depths(plan: &Plan) -> Vec<u32> {
    let mut depth = vec![1; plan.tasks.len()];
    let mut left = vec![0; plan.tasks.len()];
    plan.tasks.iter().flat_map(|task| &task.needs).for_each(|&need| left[need] += 1);
    let mut known: Vec<usize> = (0..left.len()).filter(|&i| left[i] == 0).collect();
    while let Some(index) = known.pop() {
        for &need in &plan.tasks[index].needs {
            depth[need] = depth[need].max(depth[index] + 1);
            left[need] -= 1;
            if left[need] == 0 {
                known.push(need);
            }
        }
    }
    depth
}

fn text(plan: &Plan, order: &[usize], slots: u32) -> String {
    let tasks = count(order.len(), "task");
    let mut text = format!("workflow {}: {tasks}, {slots} at once\n", plan.workflow);
    for (name, value) in &plan.params {
        text.push_str(&format!("  {name} = {value}\n"));
    }
    for secret in &plan.secrets {
        let is_set = std::env::var_os(secret).is_some_and(|value| !value.is_empty());
        let note = if is_set { "is set" } else { "is not set: a run would be refused" };
        text.push_str(&format!("  secret {secret} {note}\n"));
    }
    let has_stages = plan.tasks.iter().any(|task| task.stage.is_some());
    let mut heading = None;
    for &index in order {
        let task = &plan.tasks[index];
        let here = (task.section, task.stage);
        if heading != Some(here) {
            heading = Some(here);
            text.push_str(&format!("\n{}\n", section_name(task, has_stages)));
        }
        text.push_str(&task_text(plan, task));
    }
    match time_bound(plan, slots) {
        Some(ms) => {
            let bound = segue_core::Millis(ms).0.min(plan.limits.timeout.0);
            text.push_str(&format!("\nat worst it takes {}", segue_core::Millis(bound)));
        }
        None => {
            let names: Vec<&str> = plan
                .tasks
                .iter()
                .filter(|task| task.limits.timeout.is_none())
                .map(|task| task.id.as_str())
                .collect();
            text.push_str(&format!("\nunbounded tasks: {}", names.join(", ")));
        }
    }
    text.push_str(&format!("; the run is stopped after {}\n", plan.limits.timeout));
    text.push_str("nothing was started and nothing recorded\n");
    text
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn section_name(task: &Task, has_stages: bool) -> String {
    match (task.section, task.stage) {
        (Section::Main, Some(stage)) => format!("stage {stage}"),
        (Section::Main, None) if has_stages => "no stage".to_owned(),
        (Section::Main, None) => "tasks".to_owned(),
        (Section::OnSuccess, _) => "on success".to_owned(),
        (Section::OnFailure, _) => "on failure".to_owned(),
        (Section::Finally, _) => "finally".to_owned(),
    }
}

fn task_text(plan: &Plan, task: &Task) -> String {
    let mut text = format!("  {}", task.id);
    if task.excluded {
        text.push_str("  (not selected)");
    }
    if !task.needs.is_empty() {
        let needs: Vec<&str> = task.needs.iter().map(|&i| plan.tasks[i].id.as_str()).collect();
        text.push_str(&format!("  after {}", needs.join(", ")));
    }
    if let Some(condition) = &task.condition {
        text.push_str(&format!("  if {}", condition.0));
    }
    text.push_str(&format!("\n    {}\n", command(plan, task).replace('\n', "\n    ")));
    let mut notes = Vec::new();
    if let Some(timeout) = task.limits.timeout {
        notes.push(format!("timeout {timeout}"));
    }
    let delays: Vec<String> =
        delays(task).take(DELAYS_SHOWN_MAX).map(|delay| delay.to_string()).collect();
    if !delays.is_empty() {
        let jitter = if task.retry.jitter { " at most" } else { "" };
        notes.push(format!("{} tries, waits{jitter} {}", task.retry.attempts, delays.join(", ")));
    }
    if task.retry.never {
        notes.push("never retried".to_owned());
    }
    if task.optional {
        notes.push("optional".to_owned());
    }
    if !task.gates.is_empty() {
        notes.push(count(task.gates.len(), "gate"));
    }
    if !notes.is_empty() {
        text.push_str(&format!("    {}\n", notes.join(" · ")));
    }
    text
}

/// The command, with every value filled in that is known before the run.
fn command(plan: &Plan, task: &Task) -> String {
    let scope = json!({
        "params": plan.params,
        "env": {},
        "run": {"id": "run-preview", "workflow": plan.workflow},
        "task": {"id": task.id, "attempt": 1},
        "previous": null,
    });
    let fill = |template: &Template, mode| {
        render(&template.0, mode, &scope).unwrap_or_else(|_| template.0.clone())
    };
    match &task.action {
        Action::Run { script, .. } => {
            let script = fill(script, Mode::Shell);
            script.trim_end().to_owned()
        }
        Action::Argv { argv } => {
            let words = argv.iter().map(|word| segue_core::shell_quote(&fill(word, Mode::Text)));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

/// How many waits between tries are shown.
const DELAYS_SHOWN_MAX: usize = 50;

/// The waits between tries, jitter left out.
fn delays(task: &Task) -> impl Iterator<Item = segue_core::Millis> {
    let retry = &task.retry;
    let tries = if retry.never { 1 } else { retry.attempts };
    let cap = retry.max_delay.0.max(retry.delay.0);
    let grown = move |n: u32| match retry.backoff {
        Backoff::Fixed => retry.delay.0,
        Backoff::Linear => retry.delay.0.saturating_mul(u64::from(n)),
        Backoff::Exponential => retry.delay.0.saturating_mul(2_u64.saturating_pow(n - 1)),
    };
    (1..tries).map(move |n| segue_core::Millis(grown(n).min(cap)))
}

/// No run of the plan takes longer in tasks: the longest path plus what the slots leave over.
fn time_bound(plan: &Plan, slots: u32) -> Option<u64> {
    let mut work = 0_u64;
    let mut longest = vec![0_u64; plan.tasks.len()];
    for index in order(plan) {
        let task = &plan.tasks[index];
        let own = if task.excluded { 0 } else { worst(task)? };
        let before = task.needs.iter().map(|&need| longest[need]).max().unwrap_or(0);
        longest[index] = before.saturating_add(own);
        work = work.saturating_add(own);
    }
    let stages: std::collections::BTreeSet<_> =
        plan.tasks.iter().map(|task| (task.section, task.stage)).collect();
    let path = longest.into_iter().max().unwrap_or(0);
    let barriers = u64::try_from(stages.len()).unwrap_or(1).max(1);
    let bound = path.saturating_mul(barriers).saturating_add(work / u64::from(slots.max(1)));
    Some(bound.min(work))
}

fn worst(task: &Task) -> Option<u64> {
    let verify = task.gates.iter().filter_map(|gate| match &gate.check {
        GateCheck::Verify { timeout, .. } => Some(timeout.0),
        _ => None,
    });
    let limits = [task.limits.timeout?.0].into_iter().chain(verify);
    let once = limits.fold(0, |sum: u64, limit| {
        sum.saturating_add(limit).saturating_add(task.limits.kill_grace.0)
    });
    let rounds = task.gates.iter().map(|gate| gate.rounds).max().unwrap_or(0);
    let tries = if task.retry.never { 1 } else { u64::from(task.retry.attempts + rounds) };
    let waits = delays(task).fold(0, |sum: u64, delay| sum.saturating_add(delay.0));
    Some(once.saturating_mul(tries).saturating_add(waits))
}

fn task_value(plan: &Plan, index: usize) -> Value {
    let task = &plan.tasks[index];
    let needs: Vec<&str> = task.needs.iter().map(|&i| plan.tasks[i].id.as_str()).collect();
    json!({
        "id": task.id,
        "section": task.section,
        "stage": task.stage,
        "priority": task.priority,
        "needs": needs,
        "when": task.when,
        "if": task.condition,
        "selected": !task.excluded,
        "optional": task.optional,
        "command": command(plan, task),
        "timeout_seconds": task.limits.timeout.map(segue_core::Millis::as_secs_f64),
        "tries": if task.retry.never { 1 } else { task.retry.attempts },
        "retry_delays_seconds": delays(task)
            .take(DELAYS_SHOWN_MAX)
            .map(segue_core::Millis::as_secs_f64)
            .collect::<Vec<_>>(),
        "gates": task.gates.len(),
    })
}
