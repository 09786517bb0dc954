//! Where every node of a DAG goes: layers from left to right by longest path, ordered within a
//! layer so that few edges cross.
//!
//! An edge that passes over layers gets a slot of its own in each, so that it does not run behind
//! nodes. All of it is linear in nodes and edges but for the sorting of a layer, so that plans of
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
/// Height of the slot in which an edge passes a layer.
const PASSAGE_HEIGHT: f64 = 6.0;
/// How many edges have a slot in one layer; more run behind the nodes.
const PASSAGES_MAX: usize = 40;
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

/// A line from a need to its dependent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) from: TaskIndex,
    pub(super) to: TaskIndex,
    /// Where it passes the layers between: from `x` to `x + width` at `y`.
    pub(super) passages: Vec<Node>,
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
    pub(super) edges: Vec<Edge>,
    pub(super) bands: Vec<Band>,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// Lays a plan out; `names` are what its tasks are called.
pub(super) fn layout(plan: &Plan, names: &[String]) -> Layout {
    let layer_of = layers_of(plan);
    let mut slots = Slots::new(plan, &layer_of);
    let passages = slots.add_edges(plan, &layer_of);
    slots.order();
    slots.place(plan, names, &layer_of, &passages)
}

/// What stands in the layers: tasks by their place, then passages of edges.
struct Slots {
    layers: Vec<Vec<usize>>,
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
    rows_max: usize,
}

/// Each task's layer: the longest path that leads to it, where a stage and a section begin
/// after the one before. The end of each is a node of its own, so that edges stay linear.
fn layers_of(plan: &Plan) -> Vec<usize> {
    const SECTIONS: [Section; 5] =
        [Section::Probe, Section::Main, Section::OnSuccess, Section::OnFailure, Section::Finally];
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
        if task.section != Section::Probe {
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

impl Slots {
    fn new(plan: &Plan, layer_of: &[usize]) -> Self {
        let mut layers = vec![Vec::new(); layer_of.iter().max().map_or(0, |last| last + 1)];
        for (index, &layer) in layer_of.iter().enumerate() {
            layers[layer].push(index);
        }
        let count = plan.tasks.len();
        let (before, after) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        Self { layers, before, after, rows_max: rows_max(count) }
    }

    /// Links needs with their dependents and gives the passages of each such edge. A layer that
    /// will be folded, or has enough of them, gets none.
    fn add_edges(&mut self, plan: &Plan, layer_of: &[usize]) -> Vec<(usize, usize, Vec<usize>)> {
        let open = |layer: &Vec<usize>| if layer.len() > self.rows_max { 0 } else { PASSAGES_MAX };
        let mut room: Vec<usize> = self.layers.iter().map(open).collect();
        let mut edges = Vec::new();
        for (index, task) in plan.tasks.iter().enumerate() {
            for &need in &task.needs {
                let mut passages = Vec::new();
                let mut last = need;
                let (first, end) = (layer_of[need] + 1, layer_of[index]);
                for (layer, room) in room.iter_mut().enumerate().take(end).skip(first) {
                    if *room > 0 {
                        *room -= 1;
                        let passage = self.before.len();
                        self.before.push(Vec::new());
                        self.after.push(Vec::new());
                        self.layers[layer].push(passage);
                        self.link(last, passage);
                        passages.push(passage);
                        last = passage;
                    }
                }
                self.link(last, index);
                edges.push((need, index, passages));
            }
        }
        edges
    }

    fn link(&mut self, from: usize, to: usize) {
        self.after[from].push(to);
        self.before[to].push(from);
    }

    /// Sorts every layer by the mean position of its neighbours, forth and back.
    fn order(&mut self) {
        let mut position = vec![0.0; self.before.len()];
        let note = |layer: &[usize], position: &mut [f64]| {
            for (row, &slot) in layer.iter().enumerate() {
                position[slot] = (as_f64(row) + 0.5) / as_f64(layer.len());
            }
        };
        for layer in &self.layers {
            note(layer, &mut position);
        }
        for sweep in 0..SWEEPS {
            let forth = sweep.is_multiple_of(2);
            let near = if forth { &self.before } else { &self.after };
            for step in 0..self.layers.len() {
                let at = if forth { step } else { self.layers.len() - 1 - step };
                let layer = &mut self.layers[at];
                let mean = |slot: usize| {
                    let sum: f64 = near[slot].iter().map(|&other| position[other]).sum();
                    match near[slot].len() {
                        0 => position[slot],
                        count => sum / as_f64(count),
                    }
                };
                let mut keyed: Vec<_> = layer.iter().map(|&slot| (mean(slot), slot)).collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                *layer = keyed.into_iter().map(|(_, slot)| slot).collect();
                note(layer, &mut position);
            }
        }
    }

    fn place(
        &self,
        plan: &Plan,
        names: &[String],
        layer_of: &[usize],
        edges: &[(usize, usize, Vec<usize>)],
    ) -> Layout {
        let count = plan.tasks.len();
        let banded = plan.tasks.iter().any(|task| band_label(task).is_some());
        let top = MARGIN + if banded { BAND_HEIGHT } else { 0.0 };
        let columns: Vec<_> = self.layers.iter().map(|layer| self.columns(layer, count)).collect();
        let inner = columns.iter().flatten().map(|part| height(part, count)).fold(0.0, f64::max);
        let mut nodes = vec![Node::default(); self.before.len()];
        let mut spans = Vec::with_capacity(columns.len());
        let mut x = MARGIN;
        for parts in columns {
            let begin = x;
            let tasks = parts.iter().copied().flatten().filter(|slot| **slot < count);
            let chars = tasks.map(|&task| short(&names[task]).chars().count());
            let width = (as_f64(chars.max().unwrap_or(0)) * CHAR_WIDTH + NODE_PADDING).round();
            let labels = parts.iter().copied().flatten().filter_map(|&slot| plan.tasks.get(slot));
            let labels = labels.filter_map(band_label).map(|label| label.chars().count());
            let label = as_f64(labels.max().unwrap_or(0)) * CHAR_WIDTH;
            for part in parts {
                let mut y = top + (inner - height(part, count)) / 2.0;
                for &slot in part {
                    let name = names.get(slot).map(|name| short(name));
                    let room = if slot < count { NODE_HEIGHT } else { PASSAGE_HEIGHT };
                    let name = name.unwrap_or_default();
                    nodes[slot] = Node { name, x, y: y.round(), width };
                    y += room + ROW_GAP;
                }
                x += width + FOLD_GAP;
            }
            x = (x - FOLD_GAP).max(begin + label.round());
            spans.push((begin, x));
            x += LAYER_GAP;
        }
        let edge = |(from, to, passages): &(usize, usize, Vec<usize>)| {
            let passage = |&slot: &usize| {
                let node = nodes[slot].clone();
                Node { y: node.y + PASSAGE_HEIGHT / 2.0, ..node }
            };
            Edge { from: *from, to: *to, passages: passages.iter().map(passage).collect() }
        };
        let edges = edges.iter().map(edge).collect();
        nodes.truncate(count);
        let bands = bands(plan, layer_of, &spans);
        let width = (x - LAYER_GAP).max(MARGIN) + MARGIN;
        Layout { nodes, edges, bands, width, height: top + inner + MARGIN }
    }

    /// A layer's slots by columns: one, unless it has more tasks than it has rows.
    fn columns<'a>(&self, layer: &'a [usize], count: usize) -> Vec<&'a [usize]> {
        let tasks = layer.iter().filter(|slot| **slot < count).count();
        let columns = tasks.div_ceil(self.rows_max).max(1);
        layer.chunks(layer.len().div_ceil(columns).max(1)).collect()
    }
}

/// The height of a column of slots.
fn height(slots: &[usize], count: usize) -> f64 {
    let room = |slot: &usize| if *slot < count { NODE_HEIGHT } else { PASSAGE_HEIGHT };
    slots.iter().map(|slot| room(slot) + ROW_GAP).sum::<f64>() - ROW_GAP
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
