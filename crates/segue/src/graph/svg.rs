//! The DAG as a self-contained SVG: readable on light and on dark ground, no script, nothing
//! loaded.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use segue_core::{Plan, RunView, TaskStatus};

use super::layout::{Layout, Node, layout};
use super::marks::{Colours, Escaped, colours, symbol};
use super::{names, statuses};

/// Draws `plan` as an SVG element, every node marked by its status if `view` is given.
#[must_use]
pub fn svg(plan: &Plan, view: Option<&RunView>) -> String {
    let mut out = String::new();
    write_svg(&mut out, plan, &names(plan, view), &statuses(plan, view))
        .expect("a string takes all that is written");
    out
}

fn write_svg(
    out: &mut String,
    plan: &Plan,
    names: &[String],
    statuses: &[TaskStatus],
) -> fmt::Result {
    let laid = layout(plan, names);
    let (width, height) = (laid.width.round(), laid.height.round());
    write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"dag\" role=\"img\" \
         viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"12\" \
         fill=\"none\" color=\"#808890\"><title>{} with {} tasks</title>",
        Escaped(&plan.workflow),
        plan.tasks.len(),
    )?;
    write_style(out, statuses)?;
    write_bands(out, &laid)?;
    write_edges(out, &laid)?;
    for (index, node) in laid.nodes.iter().enumerate() {
        write_node(out, &names[index], node, statuses.get(index).copied())?;
    }
    out.push_str("</svg>\n");
    Ok(())
}

/// One class per status in use. Nodes carry their own ground, so that their text is readable
/// on whatever they stand.
fn write_style(out: &mut String, statuses: &[TaskStatus]) -> fmt::Result {
    out.push_str("<style>.dag .n{fill:#eef1f4;stroke:#78909c}.dag text{fill:#1c2226}");
    out.push_str(".dag text.b{fill:#808890}.dag .blocked,.dag .skipped{stroke-dasharray:4 3}");
    let used: BTreeSet<TaskStatus> = statuses.iter().copied().collect();
    for &status in &used {
        let Colours { fill, line, .. } = colours(status);
        write!(out, ".dag .{status}{{fill:{fill};stroke:{line}}}")?;
    }
    out.push_str("@media(prefers-color-scheme:dark){.dag .n{fill:#242b30}.dag text{fill:#e4e8eb}");
    for &status in &used {
        write!(out, ".dag .{status}{{fill:{}}}", colours(status).dark_fill)?;
    }
    out.push('}');
    out.push_str("</style>\n");
    Ok(())
}

fn write_bands(out: &mut String, laid: &Layout) -> fmt::Result {
    for band in &laid.bands {
        let (x, width) = (band.x - 8.0, band.width + 16.0);
        writeln!(
            out,
            "<path d=\"M{x:.0} 6h{width:.0}v{:.0}h-{width:.0}z\" fill=\"currentColor\" \
             fill-opacity=\"0.09\"/><text class=\"b\" x=\"{:.0}\" y=\"22\">{}</text>",
            laid.height - 12.0,
            band.x,
            Escaped(&band.label),
        )?;
    }
    Ok(())
}

/// All edges are one path: thousands of elements would be slow to show.
fn write_edges(out: &mut String, laid: &Layout) -> fmt::Result {
    if laid.edges.is_empty() {
        return Ok(());
    }
    out.push_str("<path stroke=\"currentColor\" stroke-opacity=\"0.75\" d=\"");
    for edge in &laid.edges {
        let (from, to) = (&laid.nodes[edge.from], &laid.nodes[edge.to]);
        let (mut x, mut y) = (from.x + from.width, from.y + Node::HEIGHT / 2.0);
        write!(out, "M{x:.0} {y:.0}")?;
        let end = Node { y: to.y + Node::HEIGHT / 2.0, width: 0.0, ..to.clone() };
        for next in edge.passages.iter().chain([&end]) {
            let bend = ((next.x - x) / 2.0).max(18.0);
            let (near, far) = (x + bend, next.x - bend);
            write!(out, "C{near:.0} {y:.0} {far:.0} {:.0} {:.0} {:.0}", next.y, next.x, next.y)?;
            (x, y) = (next.x + next.width, next.y);
            if next.width > 0.0 {
                write!(out, "H{x:.0}")?;
            }
        }
        out.push_str("m-5 -3l5 3l-5 3");
    }
    out.push_str("\"/>\n");
    Ok(())
}

fn write_node(out: &mut String, id: &str, node: &Node, status: Option<TaskStatus>) -> fmt::Result {
    let Node { name, x, y, width } = node;
    out.push_str("<g>");
    match status {
        Some(status) => write!(out, "<title>{}: {status}</title>", Escaped(id))?,
        None => write!(out, "<title>{}</title>", Escaped(id))?,
    }
    write!(
        out,
        "<rect class=\"n {}\" x=\"{x:.0}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{:.0}\" \
         rx=\"5\"/>",
        status.map_or("", TaskStatus::word),
        Node::HEIGHT,
    )?;
    let base = y + 18.0;
    if let Some(status) = status {
        write!(out, "<text x=\"{:.0}\" y=\"{base:.0}\">{}</text>", x + 8.0, symbol(status))?;
    }
    let indent = if status.is_some() { 24.0 } else { 12.0 };
    writeln!(out, "<text x=\"{:.0}\" y=\"{base:.0}\">{}</text></g>", x + indent, Escaped(name))
}
