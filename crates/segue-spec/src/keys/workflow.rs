//! The keys of the workflow itself.

use super::parts::*;
use super::task::{DEFAULTS, TASK};
use super::{Kind, MapKey, Object, Place, key};

const PARAM_TYPES: &[&str] =
    &["string", "number", "integer", "boolean", "path", "list", "money", "duration"];

const SCALAR_OR_TEMPLATE: Kind = Kind::Any;

/// A parameter.
pub(crate) const PARAM: Object = Object {
    what: "a parameter",
    keys: &[&[
        key("type", Kind::Word(PARAM_TYPES), "What it is; a string unless given."),
        key("required", Kind::Bool, "It must be given."),
        key("positional", Kind::Bool, "It may be given without its flag."),
        key("default", SCALAR_OR_TEMPLATE, "Its value unless given; a template may stand here."),
        key("enum", Kind::Several(&Kind::Any), "The values it may have."),
        key("aliases", Kind::OneOrMany(&Kind::Name), "Other names of its flag."),
        key("pattern", Kind::Regex, "What its text must match."),
        key("min", Kind::Any, "Its least value."),
        key("max", Kind::Any, "Its greatest value."),
        key("min_length", Kind::Integer(0, 1 << 30), "Its least length."),
        key("max_length", Kind::Integer(0, 1 << 30), "Its greatest length."),
        key("env", Kind::EnvName, "The environment variable that gives it."),
        key("help", Kind::Text, "What it is for."),
    ]],
    one_of: &[],
};

const WINDOW: Object = Object {
    what: "a window's limits",
    keys: &[&[
        key("budget", MONEY, "Money in the window."),
        key("tokens", COUNT, "Tokens in the window."),
        key("timezone", Kind::Text, "Whose midnight starts a day."),
    ]],
    one_of: &[],
};

const LIMITS: Object = Object {
    what: "the run's limits",
    keys: &[&[
        key("budget", MONEY, "Money for the run.").later(),
        key("tokens", COUNT, "Tokens for the run.").later(),
        key("timeout", DURATION, "How long the run may take; 24h unless given."),
        key(
            "concurrency",
            Kind::OneOf(&[Kind::Word(&["auto"]), CONCURRENCY]),
            "How many attempts may run at once.",
        ),
        key("per_day", Kind::Object(&WINDOW), "Limits of a day.").later(),
        key("per_week", Kind::Object(&WINDOW), "Limits of a week.").later(),
        key("min_free_disk", Kind::Late(&Kind::Size), "No start below this; 1GiB."),
        key("warn", Kind::List(&Kind::Text), "Shares of a limit that warn.").later(),
        key("timezone", Kind::Text, "Whose midnight starts a day.").later(),
        key("resources", Kind::Map(&Kind::Any, MapKey::Name), "What there is to share.").later(),
    ]],
    one_of: &[],
};

const CONCURRENCY: Kind = Kind::Late(&Kind::Integer(1, 100_000));

const AGENT: Object = Object {
    what: "an agent's adapter",
    keys: &[&[
        key("argv", Kind::Several(&TEXT), "Its command line.").required(),
        key("prompt", Kind::Word(&["stdin", "arg", "file"]), "How it gets the prompt."),
        key("output", Kind::Word(&["text", "json", "ndjson"]), "What it prints."),
        key("env", ENV, "Its environment."),
        key("resume_argv", Kind::Several(&TEXT), "Its command line for a known session."),
        key("stop", Kind::Text, "The signal that asks it to end."),
    ]],
    one_of: &[],
};

const PROBE: Object = Object {
    what: "a probe",
    keys: &[&[
        key("run", Kind::Shell(Place::Limit), "The command that measures.").required(),
        key("json", Kind::Pointer, "Where the number is in its result."),
    ]],
    one_of: &[],
};

const CHOICE: Object = Object {
    what: "a choice",
    keys: &[&[
        key("if", Kind::Expression(Place::Choice), "Taken if true."),
        key("use", Kind::Name, "The mode that is taken.").required(),
    ]],
    one_of: &[],
};

const MODE: Object = Object {
    what: "a mode",
    keys: &[&[
        key("default", Kind::Bool, "Taken unless `--mode` names another."),
        key(
            "only",
            Kind::OneOf(&[Kind::Expression(Place::Mode), Kind::List(&Kind::Name)]),
            "Which tasks run.",
        ),
        key(
            "skip",
            Kind::OneOf(&[Kind::Expression(Place::Mode), Kind::List(&Kind::Name)]),
            "Which tasks do not.",
        ),
        key("concurrency", Kind::Expression(Place::Slots), "How many attempts run at once."),
        key("probe", Kind::Object(&PROBE), "What `choose` looks at."),
        key("choose", Kind::Several(&Kind::Object(&CHOICE)), "Picks another mode."),
    ]],
    one_of: &[],
};

const ON_FILES: Object = Object {
    what: "a file trigger",
    keys: &[&[
        key("paths", Kind::OneOrMany(&Kind::Text), "What is watched.").required(),
        key("ignore", Kind::List(&Kind::Text), "Patterns that are not."),
        key("extensions", Kind::List(&Kind::Text), "Only these."),
        key("debounce", DURATION, "How long it must be quiet."),
        key("max_wait", DURATION, "How long it may be loud."),
        key("max_batch", COUNT, "How many files make a batch."),
        key("one_run_per", Kind::Word(&["file", "batch"]), "What a run is for."),
    ]],
    one_of: &[],
};

const ON_SCHEDULE: Object = Object {
    what: "a schedule",
    keys: &[&[
        key("cron", Kind::Text, "When.").required(),
        key("timezone", Kind::Text, "Whose clock."),
        key("catch_up", Kind::Bool, "Make up for a missed time."),
    ]],
    one_of: &[],
};

const ON_WEBHOOK: Object = Object {
    what: "a webhook trigger",
    keys: &[&[
        key("path", Kind::Text, "Its path.").required(),
        key("secret", Kind::EnvName, "The secret that signs requests."),
    ]],
    one_of: &[],
};

const ON: Object = Object {
    what: "triggers",
    keys: &[&[
        key("files", Kind::Object(&ON_FILES), "Changes of files."),
        key(
            "schedule",
            Kind::OneOf(&[Kind::List(&Kind::Object(&ON_SCHEDULE)), Kind::Object(&ON_SCHEDULE)]),
            "Times.",
        ),
        key("webhook", Kind::Object(&ON_WEBHOOK), "Requests."),
        key("concurrency", COUNT, "How many triggered runs at once."),
    ]],
    one_of: &[],
};

const BREAKER: Object = Object {
    what: "a breaker",
    keys: &[&[
        key("key", Kind::Expression(Place::Trigger), "What it counts by.").required(),
        key("failures", COUNT, "How many failed runs open it."),
        key("window", DURATION, "Within what time."),
    ]],
    one_of: &[],
};

const ESCALATE: Object = Object {
    what: "a level",
    keys: &[&[
        key("at", COUNT, "How many failed attempts.").required(),
        key("do", Kind::Any, "What happens then.").required(),
    ]],
    one_of: &[],
};

const CHANNELS: Kind = Kind::List(&CHANNEL_KIND);
const NOTIFY: Object = Object {
    what: "notify",
    keys: &[&[
        key("on_start", CHANNELS, "When a run starts."),
        key("on_success", CHANNELS, "When a run succeeds."),
        key("on_failure", CHANNELS, "When a run fails."),
        key("on_warning", CHANNELS, "When a limit is near."),
        key("finally", CHANNELS, "When a run ends."),
    ]],
    one_of: &[],
};

const TASKS: Kind = Kind::Map(&Kind::Object(&TASK), MapKey::Task);

/// The workflow.
pub(crate) const WORKFLOW: Object = Object {
    what: "a workflow",
    keys: &[&[
        key("version", Kind::Integer(1, 1), "The version of the language: 1."),
        key("name", Kind::Name, "Its name; runs are called after it.").required(),
        key("description", Kind::Text, "What it does."),
        key("params", Kind::Map(&Kind::Object(&PARAM), MapKey::Param), "What callers give it."),
        key("env", ENV, "Environment of every task; null removes a name."),
        key("env_file", ENV_FILE, "Files of `NAME=value` lines for every task."),
        key("secrets", Kind::List(&Kind::EnvName), "Secrets, by name only."),
        key("agents", Kind::Map(&Kind::Object(&AGENT), MapKey::Name), "Adapters.").later(),
        key("limits", Kind::Object(&LIMITS), "Limits of the whole run."),
        key("defaults", Kind::Object(&DEFAULTS), "What tasks start from."),
        key("modes", Kind::Map(&Kind::Object(&MODE), MapKey::Name), "Variations."),
        key("on", Kind::Object(&ON), "Triggers.").later(),
        key("breaker", Kind::Object(&BREAKER), "Stops what keeps failing.").later(),
        key("escalate", Kind::List(&Kind::Object(&ESCALATE)), "Who hears of it.").later(),
        key("tasks", TASKS, "The tasks, by id.").required(),
        key(
            "outputs",
            Kind::Map(&Kind::Expression(Place::Result), MapKey::Name),
            "The run's result.",
        ),
        key("display", Kind::Template(Place::Result), "Printed at the end."),
        key("notify", Kind::Object(&NOTIFY), "Channels.").later(),
        key("on_success", TASKS, "Tasks for after a success."),
        key("on_failure", TASKS, "Tasks for after a failure."),
        key("finally", TASKS, "Tasks that come last, whatever happened."),
        key("concurrency_group", GROUP_KIND, "At most `max` runs with the same key.").later(),
        key("fail_fast", Kind::Bool, "Cancel everything else when a task fails."),
        key("strict_budget", Kind::Bool, "Refuse a plan above its budget.").later(),
        key("heartbeat", DURATION, "How often a sign of life is printed.").later(),
        key("allow_paths", Kind::List(&Kind::Text), "Folders outside that may be used."),
        key("monitor", MONITOR_KIND, "Samples of every task.").later(),
    ]],
    one_of: &[],
};
