//! The keys of a task, in the four groups of the language page: does, when, how, counts.

use super::parts::*;
use super::{FileUse, Key, Kind, MapKey, Object, Place, key};

const DOES: &[Key] = &[
    key("run", Kind::Shell(Place::Text), "A shell script; values are quoted by themselves."),
    key("argv", Kind::Several(&TEXT), "A program and its arguments, without a shell."),
    key("agent", Kind::Name, "An agent that gets `prompt`.").later(),
    key("workflow", Kind::File(FileUse::Other), "Another workflow file.").later(),
    key("approve", APPROVE_KIND, "Succeeds if a person approves."),
    key("shell", Kind::Several(&Kind::Text), "The shell of `run`, before the script."),
    key("prompt", TEXT, "What the agent is asked.").later(),
    key("prompt_file", Kind::File(FileUse::Prompt), "A file with the prompt.").later(),
    key("with", Kind::Map(&Kind::Any, MapKey::Name), "Parameters of `workflow`.").later(),
    key("background", Kind::Bool, "Runs beside its dependents until the last has ended."),
    key("ready", PRECHECK_KIND, "What says that its service is ready."),
    key("help", Kind::Text, "What the task is for."),
];

const WHEN: &[Key] = &[
    key("needs", Kind::List(&Kind::Name), "Tasks that must end first."),
    key("stage", Kind::Integer(1, 1_000_000), "A barrier: stage 1 ends before stage 2 starts."),
    key("priority", Kind::Integer(-1_000_000, 1_000_000), "Smaller starts first."),
    key("if", Kind::Expression(Place::Control), "Run only if true."),
    key(
        "when",
        Kind::Word(&["all_succeeded", "all_done", "any_succeeded", "any_failed"]),
        "Which ends of its needs let it start.",
    ),
    key("for_each", FOR_EACH_KIND, "Makes it one task per item."),
    key("optional", Kind::Bool, "Its failure warns and counts as met."),
    key("resources", Kind::Map(&Kind::Any, MapKey::Name), "What it takes of the machine.").later(),
    key("precheck", PRECHECK_KIND, "What must be there before its first attempt."),
    key("concurrency_group", GROUP_KIND, "At most `max` with the same key at once."),
    key("skip_if", Kind::Expression(Place::Control), "Skip if true."),
];

/// What `defaults` takes too.
pub(crate) const HOW: &[Key] = &[
    key("model", TEXT, "The agent's model.").later(),
    key("system", TEXT, "The agent's system prompt.").later(),
    key("tools", Kind::List(&Kind::Text), "The agent's tools.").later(),
    key("permissions", PERMISSIONS_KIND, "What the agent may do.").later(),
    key("session", SESSION_KIND, "Which conversation it belongs to.").later(),
    key("workspace", Kind::Template(Place::Text), "shared, worktree, or a folder.").later(),
    key("cwd", Kind::Path(Place::Text), "Its folder, relative to the workflow's."),
    key("env", ENV, "Its environment; null removes a name."),
    key("env_file", ENV_FILE, "Files of `NAME=value` lines."),
    key("secrets", Kind::List(&Kind::EnvName), "Secrets it is given, by name."),
    key("stdin", STDIN, "What it reads; nothing unless given.").later_words(&["prompt"]),
    key("timeout", DURATION, "How long an attempt may take; 30m unless given."),
    key("stall", DURATION, "How long it may neither print nor work."),
    key("retry", RETRY_KIND, "What happens after a failure: `never`, or how often and when."),
    key("fallback", FALLBACKS, "Alternatives, tried in order.").later(),
    key("budget", MONEY, "Money for the task.").later(),
    key("tokens", COUNT, "Tokens for the task.").later(),
    key("max_turns", COUNT, "How many turns an agent may take.").later(),
    key("memory_limit", Kind::Late(&Kind::Size), "Memory of the whole tree; above it is killed."),
    key("cpu_limit", Kind::Late(&Kind::Cores), "Cores of the whole tree, such as 1.5."),
    key("kill_grace", DURATION, "Between TERM and KILL; 10s unless given."),
    key("output_limit", Kind::Late(&Kind::Size), "How much of each stream is kept; 100MiB."),
    key("tool_timeout", DURATION, "How long one tool call may take.").later(),
    key("orphan_for", DURATION, "How long it goes on without an engine; 15m."),
    key("max_wait", DURATION, "How long to wait for a rate limit.").later(),
    key("leave", Kind::List(&Kind::Text), "Daemons that outlive it.").later(),
    key("monitor", MONITOR_KIND, "Samples while it runs.").later(),
    key("classify", CLASSIFY_KIND, "What its failures are.").later(),
    key("merge", Kind::Word(&["none", "ff", "squash"]), "What becomes of a worktree.").later(),
    key("output", Kind::Word(&["text", "json", "ndjson"]), "What it prints.").later(),
];

const COUNTS: &[Key] = &[
    key("outputs", OUTPUTS, "What it promises; a missing one fails it."),
    key("gates", GATES, "What decides whether an attempt counts."),
    key("success_codes", Kind::Several(&Kind::Integer(0, 255)), "Exit codes that are success."),
    key("result", RESULT, "Where its result is."),
];

/// A task.
pub(crate) const TASK: Object = Object {
    what: "a task",
    keys: &[DOES, WHEN, HOW, COUNTS],
    one_of: &["run", "argv", "agent", "workflow", "approve"],
};

const DEFAULT_ONLY: &[Key] =
    &[key("agent", Kind::Name, "The agent of tasks with a prompt alone.").later()];

/// What tasks start from.
pub(crate) const DEFAULTS: Object =
    Object { what: "defaults", keys: &[HOW, DEFAULT_ONLY], one_of: &[] };
