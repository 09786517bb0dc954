//! The one table of keys: what may stand where in a workflow file, and what it means.
//!
//! The checker ([`crate::shape`]), the suggestions for unknown keys and the JSON Schema
//! ([`crate::schema`]) all read this table, so that they cannot drift apart. It says nothing
//! about how keys are acted on, except whether this build acts on them at all.

mod parts;
mod task;
mod workflow;

pub(crate) use task::TASK;
pub(crate) use workflow::WORKFLOW;

/// One key of a mapping.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// One sentence for people: diagnostics and the JSON Schema show it.
    pub(crate) help: &'static str,
    pub(crate) support: Support,
    pub(crate) required: bool,
}

/// Whether this build acts on a key.
#[derive(Clone, Copy)]
pub(crate) enum Support {
    Yes,
    No,
    /// On the key, but not on these words as its value.
    NotWords(&'static [&'static str]),
}

/// A mapping with known keys.
pub(crate) struct Object {
    /// What it is, with its article: `a task`.
    pub(crate) what: &'static str,
    /// Its keys, in groups, so that mappings can share them.
    pub(crate) keys: &'static [&'static [Key]],
    /// Exactly one of these must be there.
    pub(crate) one_of: &'static [&'static str],
}

/// What a template or expression may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The default of a parameter.
    Default,
    /// A limit: parameters only.
    Limit,
    /// The text of a task: commands, arguments, paths, prompts.
    Text,
    /// What a check looks at: as in the text of a task, but no item.
    Check,
    /// A task's environment or standard input: secrets too.
    Secret,
    /// What the scheduler decides by.
    Control,
    /// A gate: the attempt's own result too.
    Gate,
    /// The run's result and its display.
    Result,
    /// A channel: secrets and the event too.
    Channel,
    /// A trigger or breaker.
    Trigger,
    /// Which tasks a mode runs.
    Mode,
    /// Which mode a probe's number picks.
    Choice,
    /// How many attempts a mode lets run at once.
    Slots,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Any text that is not a template.
    Text,
    /// A plain name, as [`segue_core::check_name`] has it.
    Name,
    /// The name of an environment variable.
    EnvName,
    Bool,
    Integer(i64, i64),
    Number,
    /// Processor, in cores.
    Cores,
    Duration,
    Size,
    Money,
    /// At least 1.
    Count,
    /// The kind, or a template over the parameters that gives it.
    Late(&'static Kind),
    Word(&'static [&'static str]),
    Template(Place),
    /// A template whose values are quoted for a shell.
    Shell(Place),
    Expression(Place),
    /// A path that must not leave the workflow's folder; a template.
    Path(Place),
    /// A file that must be there when the workflow is checked.
    File(FileUse),
    Regex,
    Glob(Place),
    /// RFC 6901.
    Pointer,
    /// A JSON Schema, written out.
    Schema,
    List(&'static Kind),
    /// At least one.
    Several(&'static Kind),
    /// A list, or one alone.
    OneOrMany(&'static Kind),
    /// A mapping from names to values.
    Map(&'static Kind, MapKey),
    Object(&'static Object),
    /// The kind, or null.
    Nullable(&'static Kind),
    /// The first whose form fits the value.
    OneOf(&'static [Kind]),
    Any,
}

/// What a referenced file is read for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileUse {
    /// `NAME=value` lines; only looked for.
    Env,
    /// A JSON Schema.
    Schema,
    /// The text of a prompt.
    Prompt,
    /// Another workflow, a rubric: only looked for.
    Other,
}

/// What the keys of a mapping name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKey {
    /// Plain names.
    Name,
    /// Task ids.
    Task,
    /// Environment variables.
    Env,
    /// Parameters.
    Param,
}

pub(crate) const fn key(name: &'static str, kind: Kind, help: &'static str) -> Key {
    Key { name, kind, help, support: Support::Yes, required: false }
}

impl Key {
    /// Parsed and checked, but not acted on by this build.
    pub(crate) const fn later(mut self) -> Self {
        self.support = Support::No;
        self
    }

    pub(crate) const fn later_words(mut self, words: &'static [&'static str]) -> Self {
        self.support = Support::NotWords(words);
        self
    }

    pub(crate) const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl Object {
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.keys.iter().copied().flatten()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}
