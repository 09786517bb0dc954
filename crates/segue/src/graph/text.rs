//! The DAG for other tools: Mermaid and Graphviz.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use segue_core::{Plan, RunView, TaskIndex, TaskStatus};

use super::marks::{Colours, colours, symbol};
use super::{band_label, main_stage, names, statuses};

/// Draws `plan` as a Mermaid flow chart, every node marked by its status if `view` is given.
#[must_use]
pub fn mermaid(plan: &Plan, view: Option<&RunView>) -> String {
    let mut out = String::new();
    let statuses = statuses(plan, view);
    write_mermaid(&mut out, plan, &names(plan, view), &statuses)
        .expect("a string takes all that is written");
    out
}

/// Draws `plan` for Graphviz, every node marked by its status if `view` is given.
#[must_use]
pub fn dot(plan: &Plan, view: Option<&RunView>) -> String {
    let mut out = String::new();
    let statuses = statuses(plan, view);
    write_dot(&mut out, plan, &names(plan, view), &statuses)
        .expect("a string takes all that is written");
    out
}

fn write_mermaid(
    out: &mut String,
    plan: &Plan,
    names: &[String],
    statuses: &[TaskStatus],
) -> fmt::Result {
    out.push_str("flowchart LR\n");
    for (number, (label, tasks)) in bands(plan).into_iter().enumerate() {
        if let Some(label) = &label {
            writeln!(out, "  subgraph s{number}[\"{label}\"]")?;
        }
        let indent = if label.is_some() { "    " } else { "  " };
        for index in tasks {
            let name = MermaidText(&names[index]);
            match statuses.get(index) {
                Some(&status) => {
                    writeln!(out, "{indent}t{index}[\"{} {name}\"]:::{status}", symbol(status))?;
                }
                None => writeln!(out, "{indent}t{index}[\"{name}\"]")?,
            }
        }
        if label.is_some() {
            out.push_str("  end\n");
        }
    }
    for (need, index) in edges(plan) {
        writeln!(out, "  t{need} --> t{index}")?;
    }
    for status in used(statuses) {
        let Colours { fill, line, .. } = colours(status);
        writeln!(out, "  classDef {status} fill:{fill},stroke:{line},color:#1c2226")?;
    }
    Ok(())
}

fn write_dot(
    out: &mut String,
    plan: &Plan,
    names: &[String],
    statuses: &[TaskStatus],
) -> fmt::Result {
    writeln!(out, "digraph {} {{", DotText(&plan.workflow))?;
    out.push_str("  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\", ");
    out.push_str("fontname=\"monospace\", fillcolor=\"#eef1f4\", color=\"#78909c\"];\n");
    for (number, (label, tasks)) in bands(plan).into_iter().enumerate() {
        if let Some(label) = &label {
            writeln!(out, "  subgraph cluster_{number} {{ label={};", DotText(label))?;
        }
        let indent = if label.is_some() { "    " } else { "  " };
        for index in tasks {
            let id = names[index].as_str();
            match statuses.get(index) {
                Some(&status) => {
                    let Colours { fill, line, .. } = colours(status);
                    let label = format!("{} {id}", symbol(status));
                    let tip = format!("{id}: {status}");
                    let (label, tip) = (DotText(&label), DotText(&tip));
                    write!(out, "{indent}t{index} [label={label}, tooltip={tip}, ")?;
                    writeln!(out, "fillcolor=\"{fill}\", color=\"{line}\"];")?;
                }
                None => writeln!(out, "{indent}t{index} [label={}];", DotText(id))?,
            }
        }
        if label.is_some() {
            out.push_str("  }\n");
        }
    }
    for (need, index) in edges(plan) {
        writeln!(out, "  t{need} -> t{index};")?;
    }
    out.push_str("}\n");
    Ok(())
}

/// The tasks by stage and section, plain ones first, in the order in which they start.
fn bands(plan: &Plan) -> Vec<(Option<String>, Vec<TaskIndex>)> {
    let mut found: BTreeMap<_, (Option<String>, Vec<TaskIndex>)> = BTreeMap::new();
    for (index, task) in plan.tasks.iter().enumerate() {
        let label = band_label(task);
        let band = found.entry((task.section, main_stage(task))).or_insert((label, Vec::new()));
        band.1.push(index);
    }
    found.into_values().collect()
}

fn edges(plan: &Plan) -> impl Iterator<Item = (TaskIndex, TaskIndex)> {
    let tasks = plan.tasks.iter().enumerate();
    tasks.flat_map(|(index, task)| task.needs.iter().map(move |&need| (need, index)))
}

fn used(statuses: &[TaskStatus]) -> impl Iterator<Item = TaskStatus> {
    TaskStatus::ALL.iter().copied().filter(|status| statuses.contains(status))
}

/// Text within a quoted Mermaid label, by its entity codes.
struct MermaidText<'a>(&'a str);

impl fmt::Display for MermaidText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                c if c.is_alphanumeric() || "-_/. :×".contains(c) => f.write_char(c)?,
                c if c.is_control() => f.write_char(' ')?,
                c => write!(f, "#{};", u32::from(c))?,
            }
        }
        Ok(())
    }
}

/// A quoted Graphviz string. `<` and `>` are written as entities, which labels resolve.
struct DotText<'a>(&'a str);

impl fmt::Display for DotText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                c if c.is_control() => f.write_char(' ')?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
