//! The items of `for_each` tasks in the fold: which there are, what they count up to.
//!
//! [`RunState::tasks`] holds one entry per task of the plan and behind them one per item, in the
//! order in which they came up. A *node* is the place of an entry; [`RunState::owner`] says which
//! task of the plan defines it. An item keeps its node for the life of the run, whether it is
//! listed again or not, so that its attempts' numbers never repeat.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ItemKey, RunState, Stored, TaskEntry, TaskId, TaskIndex, TaskStatus, Timestamp};

/// The place of an entry in [`RunState::tasks`]: a task of the plan, or an item behind them.
pub type NodeIndex = usize;

/// One item of a `for_each` task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Whose.
    pub task: TaskIndex,
    /// What it is told apart by, within its task.
    pub key: ItemKey,
    /// Its value.
    pub value: Stored,
    /// Its place among its task's items, from 0, in input order.
    pub position: usize,
}

/// An item as it is listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedItem {
    /// What it is told apart by, within its task.
    pub key: ItemKey,
    /// Its value.
    pub value: Stored,
}

/// What a resume does to the items of a `for_each` task that has not ended, or starts over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemsReset {
    /// The task.
    pub task: TaskId,
    /// Items that start over with a fresh allowance of tries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<ItemKey>,
    /// Its items are listed anew before it goes on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
}

/// All items of a run, in the order of their nodes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Item>", into = "Vec<Item>")]
pub struct Items {
    all: Vec<Item>,
    places: BTreeMap<(TaskIndex, ItemKey), usize>,
}

impl From<Vec<Item>> for Items {
    fn from(all: Vec<Item>) -> Self {
        let place = |(place, item): (usize, &Item)| ((item.task, item.key.clone()), place);
        let places = all.iter().enumerate().map(place).collect();
        Self { all, places }
    }
}

impl From<Items> for Vec<Item> {
    fn from(items: Items) -> Self {
        items.all
    }
}

impl Items {
    /// How many there are, in all tasks.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, task: TaskIndex, key: &ItemKey) -> Option<usize> {
        self.places.get(&(task, key.clone())).copied()
    }
}

/// The items that a `for_each` task has at present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// Their nodes, in input order.
    pub nodes: Vec<NodeIndex>,
    /// How they stand.
    pub counts: ItemCounts,
}

/// How many items stand how; statuses that none has are left out. They add up to the items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ItemCounts(BTreeMap<TaskStatus, usize>);

impl ItemCounts {
    /// How many have this status.
    #[must_use]
    pub fn of(&self, status: TaskStatus) -> usize {
        self.0.get(&status).copied().unwrap_or(0)
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// How many have come to a final status.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.0.iter().filter(|(status, _)| status.is_final()).map(|(_, count)| count).sum()
    }

    fn add(&mut self, status: TaskStatus) {
        *self.0.entry(status).or_default() += 1;
    }

    fn take(&mut self, status: TaskStatus) {
        if let Some(count) = self.0.get_mut(&status) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&status);
            }
        }
    }
}

impl RunState {
    /// How many entries are tasks of the plan; those behind them are items.
    #[must_use]
    pub const fn task_count(&self) -> usize {
        self.tasks.len() - self.items.len()
    }

    /// The item at a node; `None` for a task of the plan.
    #[must_use]
    pub fn item(&self, node: NodeIndex) -> Option<&Item> {
        self.items.all.get(node.checked_sub(self.task_count())?)
    }

    /// The task of the plan that a node is of.
    #[must_use]
    pub fn owner(&self, node: NodeIndex) -> TaskIndex {
        self.item(node).map_or(node, |item| item.task)
    }

    /// The node of a task's item, or of the task itself.
    #[must_use]
    pub fn node(&self, task: TaskIndex, item: Option<&ItemKey>) -> Option<NodeIndex> {
        match item {
            None => (task < self.task_count()).then_some(task),
            Some(key) => Some(self.task_count() + self.items.find(task, key)?),
        }
    }

    /// The nodes of a task's present items, in input order; none before they are listed.
    #[must_use]
    pub fn items_of(&self, task: TaskIndex) -> &[NodeIndex] {
        self.tasks[task].expansion.as_ref().map_or(&[], |expansion| expansion.nodes.as_slice())
    }

    /// Whether a node is a task of the plan or one of the items that its task has at present.
    #[must_use]
    pub fn is_listed(&self, node: NodeIndex) -> bool {
        let Some(item) = self.item(node) else { return true };
        self.items_of(item.task).get(item.position) == Some(&node)
    }

    pub(crate) fn items_have_ended(&self, task: NodeIndex) -> bool {
        self.items_of(task).iter().all(|&node| self.tasks[node].status.is_final())
    }

    /// Takes in the list of a task's items. One that was listed before with the same value stays
    /// as it is; with another value it starts over.
    pub(crate) fn expand(
        &mut self,
        at: Timestamp,
        task: TaskIndex,
        listed: &[ListedItem],
    ) -> Result<(), &'static str> {
        let entry = &self.tasks[task];
        if task >= self.task_count() || entry.status.is_final() || entry.attempt.is_some() {
            return Err("the task cannot have items now");
        }
        if entry.expansion.is_some() {
            return Err("its items are listed already");
        }
        let tasks = self.task_count();
        let mut nodes = Vec::with_capacity(listed.len());
        for (position, ListedItem { key, value }) in listed.iter().enumerate() {
            let Some(place) = self.items.find(task, key) else {
                nodes.push(self.tasks.len());
                self.tasks.push(TaskEntry::new());
                self.items.places.insert((task, key.clone()), self.items.all.len());
                let (key, value) = (key.clone(), value.clone());
                self.items.all.push(Item { task, key, value, position });
                continue;
            };
            let item = &mut self.items.all[place];
            item.position = position;
            if item.value != *value {
                item.value = value.clone();
                self.tasks[tasks + place].reset();
            }
            nodes.push(tasks + place);
        }
        if nodes.iter().collect::<BTreeSet<_>>().len() < nodes.len() {
            return Err("two items have the same key");
        }
        let entry = &mut self.tasks[task];
        entry.listing = false;
        entry.expansion = Some(Expansion { nodes, counts: ItemCounts::default() });
        entry.open_items(at);
        self.count_items(task);
        Ok(())
    }

    /// Takes in which items a resume starts over.
    pub(crate) fn reset_items(
        &mut self,
        at: Timestamp,
        task: TaskIndex,
        reset: &ItemsReset,
    ) -> Result<(), &'static str> {
        for key in &reset.keys {
            let node = self.node(task, Some(key)).ok_or("the task has no such item")?;
            if !self.tasks[node].status.is_final() {
                return Err("an item that has not ended cannot start over");
            }
            self.tasks[node].reset();
        }
        let entry = &mut self.tasks[task];
        if entry.status.is_final() {
            return Err("the items of a task that has ended cannot start over");
        }
        if !reset.anew {
            entry.open_items(at);
            self.count_items(task);
            return Ok(());
        }
        entry.status = TaskStatus::Pending;
        for node in entry.expansion.take().unwrap_or_default().nodes {
            let entry = &mut self.tasks[node];
            if entry.attempt.is_some() {
                return Err("an item of a list that is made anew has not ended");
            }
            if !entry.status.is_final() {
                entry.reset();
            }
        }
        Ok(())
    }

    fn count_items(&mut self, task: TaskIndex) {
        let mut counts = ItemCounts::default();
        self.items_of(task).iter().for_each(|&node| counts.add(self.tasks[node].status));
        if let Some(expansion) = &mut self.tasks[task].expansion {
            expansion.counts = counts;
        }
    }

    /// Keeps the counters of an item's task.
    pub(crate) fn moved(&mut self, node: NodeIndex, before: TaskStatus) {
        let after = self.tasks[node].status;
        let Some(task) = self.item(node).map(|item| item.task) else { return };
        if let Some(expansion) = self.tasks[task].expansion.as_mut().filter(|_| before != after) {
            expansion.counts.take(before);
            expansion.counts.add(after);
        }
    }
}
