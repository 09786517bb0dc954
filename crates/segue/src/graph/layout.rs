//! Where every node of a DAG goes: layers from left to right by longest path, ordered within a
//! layer so that few edges cross.
//!
//! All of it is linear in nodes and edges but for the sorting of a layer, so that plans of
//! thousands of tasks are no matter. A layer that is taller than the picture should be is
//! folded into several columns. It knows neither colours nor formats.

use std::collections::{BTreeMap, BTreeSet};

use segue_core::{Plan, Section, TaskIndex};

use super::{band_label, main_stage};

/// Names longer than this are cut in their middle, in characters.
const NAME_CHARS_MAX: usize = 26;
/// Width of a character of a name: monospace at 12 px.
const CHAR_WIDTH: f64 = 7.3;
/// Room beside the name: padding and the symbol.
const NODE_PADDING: f64 = 34.0;
const NODE_HEIGHT: f64 = 28.0;
const ROW_GAP: f64 = 12.0;
const FOLD_GAP: f64 = 16.0;
const LAYER_GAP: f64 = 46.0;
const MARGIN: f64 = 12.0;
/// Room above the nodes for the names of stages and sections.
const BAND_HEIGHT: f64 = 24.0;
/// How often the order within layers is improved.
const SWEEPS: usize = 6;

/// A node's place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    /// The task's id, cut in its middle if it is long.
    pub(super) name: String,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
}

impl Node {
    pub(super) const HEIGHT: f64 = NODE_HEIGHT;
}

/// The columns of a stage or section.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) label: String,
    pub(super) x: f64,
    pub(super) width: f64,
}

/// A picture without its paint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// By [`TaskIndex`].
    pub(super) nodes: Vec<Node>,
    /// From need to dependent.
    pub(super) edges: Vec<(TaskIndex, TaskIndex)>,
    pub(super) bands: Vec<Band>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Lays a plan out.
pub(super) fn layout(plan: &Plan) -> Layout {
    let edges: Vec<_> = plan
        .tasks
        .iter()
        .enumerate()
        .flat_map(|(index, task)| task.needs.iter().map(move |&need| (need, index)))
        .collect();
    let layer_of = layers_of(plan);
    let mut layers = vec![Vec::new(); layer_of.iter().max().map_or(0, |last| last + 1)];
    for (index, &layer) in layer_of.iter().enumerate() {
        layers[layer].push(index);
    }
    order(&mut layers, plan, &edges);
    place(plan, &layers, &layer_of, edges)
}

/// Each task's layer: the longest path that leads to it, where a stage and a section begin
/// after the one before. The end of each is a node of its own, so that edges stay linear.
fn layers_of(plan: &Plan) -> Vec<usize> {
    const SECTIONS: [Section; 4] =
        [Section::Main, Section::OnSuccess, Section::OnFailure, Section::Finally];
    let count = plan.tasks.len();
    let stages: BTreeSet<u32> = plan.tasks.iter().filter_map(main_stage).collect();
    let stage_ends: BTreeMap<u32, usize> =
        stages.into_iter().zip(count + SECTIONS.len()..).collect();
    let section_end =
        |section: Section| count + SECTIONS.iter().position(|&other| other == section).unwrap_or(0);
    let mut paths = Paths::new(count + SECTIONS.len() + stage_ends.len());
    for (index, task) in plan.tasks.iter().enumerate() {
        for &need in &task.needs {
            paths.link(need, index, 1);
        }
        let end = section_end(task.section);
        paths.link(index, end, 1);
        if task.section != Section::Main {
            paths.link(end - 1, index, 0);
        }
        if let Some(stage) = main_stage(task) {
            paths.link(index, stage_ends[&stage], 1);
            if let Some((_, &before)) = stage_ends.range(..stage).next_back() {
                paths.link(before, index, 0);
            }
        }
    }
    for (before, after) in stage_ends.values().zip(stage_ends.values().skip(1)) {
        paths.link(*before, *after, 0);
    }
    for end in count + 1..count + SECTIONS.len() {
        paths.link(end - 1, end, 0);
    }
    paths.longest()[..count].to_vec()
}

/// Nodes and the steps between them.
struct Paths {
    steps: Vec<Vec<(usize, usize)>>,
    waiting: Vec<usize>,
}

impl Paths {
    fn new(nodes: usize) -> Self {
        Self { steps: vec![Vec::new(); nodes], waiting: vec![0; nodes] }
    }

    fn link(&mut self, from: usize, to: usize, length: usize) {
        self.steps[from].push((to, length));
        self.waiting[to] += 1;
    }

    /// The length of the longest path to each node; on a cycle, which no checked plan has,
    /// some length.
    fn longest(mut self) -> Vec<usize> {
        let mut length = vec![0; self.steps.len()];
        let mut known: Vec<usize> =
            (0..self.steps.len()).filter(|&node| self.waiting[node] == 0).collect();
        while let Some(node) = known.pop() {
            for &(next, step) in &self.steps[node] {
                length[next] = length[next].max(length[node] + step);
                self.waiting[next] -= 1;
                if self.waiting[next] == 0 {
                    known.push(next);
                }
            }
        }
        length
    }
}

/// Sorts every layer by the mean position of its neighbours, forth and back.
fn order(layers: &mut [Vec<TaskIndex>], plan: &Plan, edges: &[(TaskIndex, TaskIndex)]) {
    let mut dependents = vec![Vec::new(); plan.tasks.len()];
    for &(need, dependent) in edges {
        dependents[need].push(dependent);
    }
    let mut position = vec![0.0; plan.tasks.len()];
    let note = |layer: &[TaskIndex], position: &mut [f64]| {
        for (row, &index) in layer.iter().enumerate() {
            position[index] = (as_f64(row) + 0.5) / as_f64(layer.len());
        }
    };
    for layer in layers.iter() {
        note(layer, &mut position);
    }
    for sweep in 0..SWEEPS {
        let forth = sweep.is_multiple_of(2);
        for step in 0..layers.len() {
            let at = if forth { step } else { layers.len() - 1 - step };
            let mean = |index: TaskIndex| {
                let near = if forth { &plan.tasks[index].needs } else { &dependents[index] };
                let sum: f64 = near.iter().map(|&other| position[other]).sum();
                if near.is_empty() { position[index] } else { sum / as_f64(near.len()) }
            };
            let mut keyed: Vec<_> = layers[at].iter().map(|&index| (mean(index), index)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            layers[at] = keyed.into_iter().map(|(_, index)| index).collect();
            note(&layers[at], &mut position);
        }
    }
}

fn place(
    plan: &Plan,
    layers: &[Vec<TaskIndex>],
    layer_of: &[usize],
    edges: Vec<(TaskIndex, TaskIndex)>,
) -> Layout {
    let rows_max = rows_max(plan.tasks.len());
    let banded = plan.tasks.iter().any(|task| band_label(task).is_some());
    let top = MARGIN + if banded { BAND_HEIGHT } else { 0.0 };
    let rows = layers.iter().map(|layer| folded(layer.len(), rows_max).1).max().unwrap_or(0);
    let inner = (as_f64(rows) * (NODE_HEIGHT + ROW_GAP) - ROW_GAP).max(0.0);
    let mut nodes = vec![Node::default(); plan.tasks.len()];
    let mut spans = Vec::with_capacity(layers.len());
    let mut x = MARGIN;
    for layer in layers {
        let begin = x;
        let names: Vec<String> =
            layer.iter().map(|&index| short(plan.tasks[index].id.as_str())).collect();
        let chars = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = (as_f64(chars) * CHAR_WIDTH + NODE_PADDING).round();
        let (columns, rows_here) = folded(layer.len(), rows_max);
        let free = inner - (as_f64(rows_here) * (NODE_HEIGHT + ROW_GAP) - ROW_GAP);
        for (row, (&index, name)) in layer.iter().zip(names).enumerate() {
            let (column, row) = (row / rows_here, row % rows_here);
            nodes[index] = Node {
                name,
                x: x + as_f64(column) * (width + FOLD_GAP),
                y: (top + free / 2.0 + as_f64(row) * (NODE_HEIGHT + ROW_GAP)).round(),
                width,
            };
        }
        x += as_f64(columns) * (width + FOLD_GAP) - FOLD_GAP;
        spans.push((begin, x));
        x += LAYER_GAP;
    }
    let width = (x - LAYER_GAP).max(MARGIN) + MARGIN;
    let bands = bands(plan, layer_of, &spans);
    Layout { nodes, edges, bands, width, height: top + inner + MARGIN }
}

fn bands(plan: &Plan, layer_of: &[usize], spans: &[(f64, f64)]) -> Vec<Band> {
    let mut found: BTreeMap<_, (String, usize, usize)> = BTreeMap::new();
    for (task, &layer) in plan.tasks.iter().zip(layer_of) {
        if let Some(label) = band_label(task) {
            let band =
                found.entry((task.section, main_stage(task))).or_insert((label, layer, layer));
            (band.1, band.2) = (band.1.min(layer), band.2.max(layer));
        }
    }
    let band = |(label, first, last): (String, usize, usize)| {
        let x = spans[first].0;
        Band { label, x, width: spans[last].1 - x }
    };
    found.into_values().map(band).collect()
}

/// Columns and rows of a layer of `count` nodes, at least one of each.
fn folded(count: usize, rows_max: usize) -> (usize, usize) {
    let columns = count.div_ceil(rows_max).max(1);
    (columns, count.div_ceil(columns).max(1))
}

/// How many rows a layer has before it is folded: the picture stays wider than high.
fn rows_max(tasks: usize) -> usize {
    (tasks * 6 / 5).isqrt().clamp(12, 60)
}

/// A name of at most [`NAME_CHARS_MAX`] characters, cut in its middle.
fn short(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= NAME_CHARS_MAX {
        return name.to_owned();
    }
    let head = NAME_CHARS_MAX / 2;
    let tail = chars.len() - (NAME_CHARS_MAX - 1 - head);
    chars[..head].iter().chain(['…'].iter()).chain(&chars[tail..]).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a picture's parts")]
const fn as_f64(count: usize) -> f64 {
    count as f64
}
