//! What the scheduler looks up while it decides: derived from plan and state, never stored.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::fan::Fan;
use crate::state::{AttemptStep, RunState, TaskEntry};
use crate::{
    Event, Millis, NodeIndex, Plan, Section, Task, TaskId, TaskIndex, TaskStatus, Timestamp,
    WaitingOn,
};

/// Beyond an attempt's own limits, how long the scheduler waits before it asks what became of it.
const BACKSTOP_MARGIN: Millis = Millis::from_secs(60);

/// The order in which ready tasks and items start: priority, longest path to the end, file
/// order, input order; and the node.
pub(crate) type ReadyKey = (i64, Reverse<u32>, TaskIndex, usize, NodeIndex);

/// The plan's shape: computed once, never changed.
#[derive(Debug)]
pub(crate) struct Graph {
    names: BTreeMap<TaskId, TaskIndex>,
    dependents: Vec<Vec<TaskIndex>>,
    depth: Vec<u32>,
    stages: BTreeMap<u32, Vec<TaskIndex>>,
    sections: BTreeMap<Section, Vec<TaskIndex>>,
}

impl Graph {
    pub(crate) fn new(plan: &Plan) -> Self {
        let count = plan.tasks.len();
        let names = plan.tasks.iter().enumerate().map(|(i, task)| (task.id.clone(), i)).collect();
        let mut dependents = vec![Vec::new(); count];
        let mut waiting: Vec<usize> = vec![0; count];
        for (index, task) in plan.tasks.iter().enumerate() {
            for &need in &task.needs {
                dependents[need].push(index);
                waiting[need] += 1;
            }
        }
        // From the leaves up: a task's depth is known once all its dependents' are.
        let mut depth = vec![1; count];
        let mut known: Vec<TaskIndex> = (0..count).filter(|&i| waiting[i] == 0).collect();
        while let Some(index) = known.pop() {
            for &need in &plan.tasks[index].needs {
                depth[need] = depth[need].max(depth[index] + 1);
                waiting[need] -= 1;
                if waiting[need] == 0 {
                    known.push(need);
                }
            }
        }
        let (mut stages, mut sections) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for (index, task) in plan.tasks.iter().enumerate() {
            if let (Section::Main, Some(stage)) = (task.section, task.stage) {
                stages.entry(stage).or_default().push(index);
            }
            sections.entry(task.section).or_insert_with(Vec::new).push(index);
        }
        Self { names, dependents, depth, stages, sections }
    }

    /// The tasks of a stage of the main section.
    pub(crate) fn stage(&self, stage: u32) -> &[TaskIndex] {
        self.stages.get(&stage).map_or(&[], Vec::as_slice)
    }

    /// The tasks of a section.
    pub(crate) fn section(&self, section: Section) -> &[TaskIndex] {
        self.sections.get(&section).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn position(&self, id: &str) -> Option<TaskIndex> {
        self.names.get(id).copied()
    }

    pub(crate) fn dependents(&self, index: TaskIndex) -> &[TaskIndex] {
        &self.dependents[index]
    }

    /// The key of a task of the plan.
    pub(crate) fn task_key(&self, plan: &Plan, task: TaskIndex) -> ReadyKey {
        (plan.tasks[task].priority, Reverse(self.depth[task]), task, 0, task)
    }

    /// The key of a task or item.
    pub(crate) fn key(&self, plan: &Plan, state: &RunState, node: NodeIndex) -> ReadyKey {
        let Some(item) = state.item(node) else { return self.task_key(plan, node) };
        let (priority, depth, task, ..) = self.task_key(plan, item.task);
        (priority, depth, task, item.position, node)
    }

    /// The node that an event is about.
    pub(crate) fn node(&self, state: &RunState, event: &Event) -> Option<NodeIndex> {
        state.node(self.position(event.task()?.as_str())?, event.item())
    }
}

/// What a task counts as in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Idle,
    Asked,
    Granted,
    Retry(Timestamp),
    Cleared,
    Running(Option<Timestamp>),
    Doubtful,
    /// Its precheck is under way; when the next look is due, between two.
    Checking(Option<Timestamp>),
    /// A person is asked; when the time for an answer is up.
    Asking(Option<Timestamp>),
    /// It is a service under way: whether it is ready, and when to look again whether it is.
    Service(bool, Option<Timestamp>),
    /// Waits for the list of its items.
    Listing,
    /// Has items, which may be under way.
    Open,
    Final,
}

impl Role {
    pub(crate) fn of(task: &Task, entry: &TaskEntry) -> Self {
        if entry.status.is_final() {
            return Self::Final;
        }
        if entry.listing {
            return Self::Listing;
        }
        if entry.expansion.is_some() {
            return Self::Open;
        }
        let step = entry.attempt.as_ref().map(|attempt| &attempt.step);
        let look = entry.waits.check.as_ref().map(|check| check.next);
        match step {
            Some(step) if task.background.is_some() && step.begun() => {
                let ready = entry.waits.ready && *step != AttemptStep::Doubtful;
                Self::Service(ready, look.flatten())
            }
            Some(AttemptStep::Asked(_)) => Self::Asked,
            Some(AttemptStep::Granted) => Self::Granted,
            Some(AttemptStep::Cleared) => Self::Cleared,
            Some(AttemptStep::Doubtful) => Self::Doubtful,
            Some(AttemptStep::Dispatched(at)) => {
                let limits = &task.limits;
                let backstop = |timeout| *at + timeout + limits.kill_grace + BACKSTOP_MARGIN;
                Self::Running(limits.timeout.map(backstop))
            }
            None => match (look, entry.waiting.as_ref()) {
                (Some(next), _) => Self::Checking(next),
                (_, Some((WaitingOn::Retry, Some(until)))) => Self::Retry(*until),
                (_, Some((WaitingOn::Approval, until))) => Self::Asking(*until),
                _ => Self::Idle,
            },
        }
    }

    /// Whether what needs the task waits for it no longer.
    pub(crate) const fn is_done(self) -> bool {
        matches!(self, Self::Final | Self::Service(true, _))
    }

    /// When to look at it again.
    const fn due(self) -> Option<Timestamp> {
        match self {
            Self::Retry(at) => Some(at),
            Self::Checking(at) | Self::Asking(at) | Self::Service(_, at) => at,
            _ => None,
        }
    }
}

/// Counts and ordered sets over all tasks and items.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Tasks that may be dispatched, cleared or not.
    pub(crate) ready: BTreeSet<ReadyKey>,
    /// How many of them are cleared.
    pub(crate) cleared: usize,
    /// Attempts that hold a slot.
    pub(crate) running: usize,
    /// Attempts of an earlier engine whose fate is not known yet.
    pub(crate) doubtful: usize,
    /// Services under way, which hold no slot.
    pub(crate) services: BTreeSet<TaskIndex>,
    /// Looks under way of tasks that have no attempt.
    pub(crate) looks: usize,
    /// When retries, looks and answers are due.
    pub(crate) retries: BTreeSet<(Timestamp, NodeIndex)>,
    /// When to ask what became of an attempt.
    pub(crate) backstops: BTreeSet<(Timestamp, NodeIndex)>,
    /// The same by node.
    armed: Vec<Option<Timestamp>>,
    /// Tasks and items to look at.
    pub(crate) dirty: BTreeSet<NodeIndex>,
    /// The items of every task that has some and has not ended.
    pub(crate) fans: BTreeMap<TaskIndex, Fan>,
    /// Needs that have not ended and are no service that is ready, by task.
    pub(crate) unmet: Vec<u32>,
    /// Tasks of the main section that have not ended, services that are ready left out, by stage;
    /// only stages with some.
    pub(crate) stages: BTreeMap<u32, usize>,
    /// Tasks that have not ended, by section.
    pub(crate) sections: BTreeMap<Section, usize>,
}

impl Index {
    /// From scratch, everything to be looked at.
    pub(crate) fn build(plan: &Plan, graph: &Graph, state: &RunState) -> Self {
        let count = plan.tasks.len();
        let mut index = Self { unmet: vec![0; count], ..Self::default() };
        for (i, task) in plan.tasks.iter().enumerate() {
            let role_of = |i: TaskIndex| Role::of(&plan.tasks[i], &state.tasks[i]);
            let left = |need: &&TaskIndex| !role_of(**need).is_done();
            let unmet = task.needs.iter().filter(left).count();
            index.unmet[i] = u32::try_from(unmet).unwrap_or(u32::MAX);
            let role = Role::of(task, &state.tasks[i]);
            if role != Role::Final {
                *index.sections.entry(task.section).or_default() += 1;
            }
            if let (false, Some(stage)) = (role.is_done(), barrier(task)) {
                *index.stages.entry(stage).or_default() += 1;
            }
            index.enter(graph.key(plan, state, i), role);
            index.dirty.insert(i);
            if role == Role::Open {
                index.open(plan, state, i);
            }
        }
        for node in state.task_count()..state.tasks.len() {
            let role = Role::of(&plan.tasks[state.owner(node)], &state.tasks[node]);
            index.enter(graph.key(plan, state, node), role);
        }
        index
    }

    /// Takes in the items of a task that has them now.
    pub(crate) fn open(&mut self, plan: &Plan, state: &RunState, task: TaskIndex) {
        self.fans.insert(task, Fan::build(&plan.tasks[task], state, task));
        self.dirty.insert(task);
    }

    /// Whether this index, settled at `now`, agrees with one `built` from scratch.
    ///
    /// It knows more of two things: idle tasks that were admitted stand in `ready`, and retries
    /// whose time has come have left `retries` for it. A backstop may have been set anew.
    pub(crate) fn same_as(
        &self,
        built: &Self,
        state: &RunState,
        now: Timestamp,
    ) -> Result<(), String> {
        let counts = |index: &Self| (index.cleared, index.running, index.doubtful, index.looks);
        if counts(self) != counts(built) {
            return Err(format!("counts are {:?}, not {:?}", counts(built), counts(self)));
        }
        if self.unmet != built.unmet {
            return Err(format!("unmet is {:?}, not {:?}", built.unmet, self.unmet));
        }
        if (&self.stages, &self.sections, &self.services)
            != (&built.stages, &built.sections, &built.services)
        {
            return Err("stages, sections or services differ".to_owned());
        }
        let tasks = |set: &BTreeSet<(Timestamp, NodeIndex)>| -> BTreeSet<NodeIndex> {
            set.iter().map(|&(_, i)| i).collect()
        };
        if tasks(&self.backstops) != tasks(&built.backstops) {
            return Err("backstops differ".to_owned());
        }
        let waiting = built.retries.iter().filter(|(until, _)| *until > now).copied().collect();
        if self.retries != waiting {
            return Err(format!("retries are {waiting:?}, not {:?}", self.retries));
        }
        let due: BTreeSet<NodeIndex> =
            built.retries.iter().filter(|(until, _)| *until <= now).map(|&(_, i)| i).collect();
        let admitted = |key: &ReadyKey| {
            let entry = &state.tasks[key.4];
            due.contains(&key.4) || entry.status == TaskStatus::Pending && entry.attempt.is_none()
        };
        let extra: Vec<_> = self.ready.difference(&built.ready).collect();
        if !built.ready.is_subset(&self.ready) || !extra.into_iter().all(admitted) {
            return Err(format!("ready is {:?}, not {:?}", built.ready, self.ready));
        }
        self.fans_same_as(built, state, &due)
    }

    fn fans_same_as(
        &self,
        built: &Self,
        state: &RunState,
        due: &BTreeSet<NodeIndex>,
    ) -> Result<(), String> {
        if !self.fans.keys().eq(built.fans.keys()) {
            return Err("other tasks have items under way".to_owned());
        }
        let ready: BTreeSet<NodeIndex> = self.ready.iter().map(|key| key.4).collect();
        self.fans.iter().zip(built.fans.values()).try_for_each(|((&task, fan), other)| {
            let nodes = state.items_of(task);
            fan.same_as(
                other,
                |place| ready.contains(&nodes[place]),
                |place| due.contains(&nodes[place]),
            )
        })
    }

    /// Takes in that the role of a task or item changed, and marks whoever that may concern.
    pub(crate) fn moved(
        &mut self,
        plan: &Plan,
        graph: &Graph,
        state: &RunState,
        node: NodeIndex,
        from: Role,
    ) {
        let owner = state.owner(node);
        let to = Role::of(&plan.tasks[owner], &state.tasks[node]);
        if from != to {
            let key = graph.key(plan, state, node);
            self.leave(key, from);
            self.enter(key, to);
        }
        if let Some(item) = state.item(node) {
            let Some(fan) = self.fans.get_mut(&owner) else { return };
            fan.moved(item.position, to);
            match to {
                Role::Final | Role::Idle => self.dirty.insert(owner),
                // It may be due at once.
                Role::Retry(_) => self.dirty.insert(node),
                _ => false,
            };
            return;
        }
        if from.is_done() != to.is_done() {
            self.turned(plan, graph, node, to.is_done());
        }
        match to {
            Role::Final => {
                if from != to {
                    decrement(&mut self.sections, plan.tasks[node].section);
                    self.fans.remove(&node);
                }
                self.spread(graph, node, state.tasks[node].status);
            }
            Role::Service(true, _) => self.spread(graph, node, TaskStatus::Succeeded),
            Role::Idle => {
                self.dirty.insert(node);
            }
            _ => {}
        }
    }

    /// Whether a need's end may already decide its dependents.
    fn spread(&mut self, graph: &Graph, i: TaskIndex, status: TaskStatus) {
        for &dependent in graph.dependents(i) {
            if self.unmet[dependent] == 0 || status != TaskStatus::Succeeded {
                self.dirty.insert(dependent);
            }
        }
    }

    /// A task is done, or, a service that has to start again, no longer.
    fn turned(&mut self, plan: &Plan, graph: &Graph, i: TaskIndex, done: bool) {
        for &dependent in graph.dependents(i) {
            let unmet = &mut self.unmet[dependent];
            *unmet = if done { *unmet - 1 } else { *unmet + 1 };
        }
        if let Some(stage) = barrier(&plan.tasks[i]) {
            if done {
                decrement(&mut self.stages, stage);
            } else {
                *self.stages.entry(stage).or_default() += 1;
            }
        }
    }

    fn enter(&mut self, key: ReadyKey, role: Role) {
        match role {
            Role::Cleared => {
                self.cleared += 1;
                self.ready.insert(key);
            }
            Role::Granted => {
                self.ready.insert(key);
            }
            Role::Running(backstop) => {
                self.running += 1;
                if let Some(at) = backstop {
                    self.arm(key.4, at);
                }
            }
            Role::Doubtful => self.doubtful += 1,
            Role::Checking(None) => self.looks += 1,
            Role::Service(..) => {
                self.services.insert(key.4);
            }
            Role::Retry(_) | Role::Checking(_) | Role::Asking(_) => {}
            Role::Idle | Role::Asked | Role::Listing | Role::Open | Role::Final => {}
        }
        if let Some(at) = role.due() {
            self.retries.insert((at, key.4));
        }
    }

    /// Sets when to ask what became of an attempt.
    pub(crate) fn arm(&mut self, node: NodeIndex, at: Timestamp) {
        self.disarm(node);
        if node >= self.armed.len() {
            self.armed.resize(node + 1, None);
        }
        self.armed[node] = Some(at);
        self.backstops.insert((at, node));
    }

    fn disarm(&mut self, node: NodeIndex) {
        if let Some(at) = self.armed.get_mut(node).and_then(Option::take) {
            self.backstops.remove(&(at, node));
        }
    }

    fn leave(&mut self, key: ReadyKey, role: Role) {
        self.ready.remove(&key);
        if let Some(at) = role.due() {
            self.retries.remove(&(at, key.4));
        }
        match role {
            Role::Cleared => self.cleared -= 1,
            Role::Running(_) => {
                self.running -= 1;
                self.disarm(key.4);
            }
            Role::Doubtful => self.doubtful -= 1,
            Role::Checking(None) => self.looks -= 1,
            Role::Service(..) => {
                self.services.remove(&key.4);
            }
            Role::Retry(_) | Role::Checking(_) | Role::Asking(_) => {}
            Role::Idle | Role::Asked | Role::Granted | Role::Listing | Role::Open | Role::Final => {
            }
        }
    }
}

/// The stage that a task holds open.
const fn barrier(task: &Task) -> Option<u32> {
    match task.section {
        Section::Main => task.stage,
        _ => None,
    }
}

fn decrement<K: Ord + Copy>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}
