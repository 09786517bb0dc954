//! What is to run: a command line, a prompt, limits. A definition, never changed by running it.
//!
//! An agent is only its command line here: `AMPLIHACK_DELEGATE` picks which, and permissions are
//! skipped only where that is asked for.

use std::path::PathBuf;
use std::time::Duration;

use segue_core::{Prompt, PromptArgument};

/// How long an agent may neither print nor work, unless `AMPLIHACK_IDLE_TIMEOUT_SECS` or the
/// definition says otherwise.
pub const AGENT_IDLE: Duration = Duration::from_secs(300);

/// Which command line starts the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delegate {
    /// `claude -p PROMPT`.
    #[default]
    Claude,
    /// `amplihack copilot -- -p PROMPT`.
    Copilot,
    /// `amplihack amplifier -p PROMPT`.
    Amplifier,
}

impl Delegate {
    /// Every delegate with the texts that name it; the first is its own.
    pub const NAMES: &'static [(Self, &'static [&'static str])] = &[
        (Self::Claude, &["claude", "amplihack claude"]),
        (Self::Copilot, &["amplihack copilot", "copilot"]),
        (Self::Amplifier, &["amplihack amplifier", "amplifier"]),
    ];

    /// The delegate that `text` names, as in `AMPLIHACK_DELEGATE`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let text = words.join(" ");
        let named = Self::NAMES.iter().find(|(_, names)| names.contains(&text.as_str()));
        named.map(|(delegate, _)| *delegate)
    }
}

/// How a command is given its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptVia {
    /// On stdin, then end of file.
    Stdin,
    /// As its last argument; above 100,000 bytes on stdin instead, for the kernel takes no longer
    /// arguments.
    Argument,
}

/// One process to run: an agent with a prompt, or a plain command.
///
/// It is a definition: the functions that run it only read it, so that it may be used again.
///
/// ```
/// use std::time::Duration;
/// use segue::AgentProcess;
///
/// let agent = AgentProcess::new("Fix the failing test").id("fixer").model("haiku");
/// let tests = AgentProcess::command(["cargo", "test"]).timeout(Duration::from_secs(600));
/// # let _ = (agent, tests);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AgentProcess {
    pub(super) what: What,
    pub(super) prompt: String,
    pub(super) id: Option<String>,
    pub(super) cwd: Option<PathBuf>,
    pub(super) env: Vec<(String, Option<String>)>,
    pub(super) timeout: Option<Duration>,
    pub(super) idle: Idle,
    pub(super) kill_grace: Option<Duration>,
    pub(super) output_limit: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) cpu_limit: Option<f64>,
    pub(super) attempts: u32,
    pub(super) stream_output: bool,
    pub(super) log_dir: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Command { argv: Vec<String>, via: PromptVia },
    Agent { delegate: Option<Delegate>, model: Option<String>, skip_permissions: bool },
}

/// How long a process may neither print nor work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// What fits its kind.
    Fitting,
    Window(Option<Duration>),
}

/// What of this process's own environment decides about command lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// `AMPLIHACK_DELEGATE`.
    pub(super) delegate: Option<String>,
    /// `AMPLIHACK_IDLE_TIMEOUT_SECS`.
    pub(super) idle_seconds: Option<String>,
}

impl Surroundings {
    pub(super) fn of_this_process() -> Self {
        let var = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            delegate: var("AMPLIHACK_DELEGATE"),
            idle_seconds: var("AMPLIHACK_IDLE_TIMEOUT_SECS"),
        }
    }

    fn delegate(&self) -> Delegate {
        let Some(text) = &self.delegate else { return Delegate::default() };
        Delegate::from_text(text).unwrap_or_else(|| {
            tracing::warn!("AMPLIHACK_DELEGATE {text:?} names no agent; `claude` is used");
            Delegate::default()
        })
    }

    fn agent_idle(&self) -> Duration {
        let Some(text) = &self.idle_seconds else { return AGENT_IDLE };
        match text.parse() {
            Ok(seconds) if seconds > 0 => Duration::from_secs(seconds),
            _ => {
                tracing::warn!("AMPLIHACK_IDLE_TIMEOUT_SECS {text:?} is no number from 1 up");
                AGENT_IDLE
            }
        }
    }
}

impl AgentProcess {
    /// An agent that works on `prompt`: `claude -p PROMPT`, or what `AMPLIHACK_DELEGATE` names.
    ///
    /// NUL bytes are left out of a prompt; above 100,000 bytes it goes by stdin.
    #[must_use]
    pub fn new(prompt: impl Into<String>) -> Self {
        let what = What::Agent { delegate: None, model: None, skip_permissions: false };
        Self::with(what, prompt.into())
    }

    /// A program with its arguments; never a shell. Without a prompt it reads nothing.
    #[must_use]
    pub fn command<W: Into<String>>(argv: impl IntoIterator<Item = W>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self::with(What::Command { argv, via: PromptVia::Stdin }, String::new())
    }

    fn with(what: What, prompt: String) -> Self {
        Self {
            what,
            prompt,
            id: None,
            cwd: None,
            env: Vec::new(),
            timeout: None,
            idle: Idle::Fitting,
            kill_grace: None,
            output_limit: None,
            memory_limit: None,
            cpu_limit: None,
            attempts: 1,
            stream_output: false,
            log_dir: None,
        }
    }

    /// What it is called: letters, digits, `_` and `-`. Without one it is `process_001` and so
    /// on; a name that is taken gets a number behind it.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// What it is asked to do, or what a plain command reads.
    #[must_use]
    pub fn prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = prompt.into();
        self
    }

    /// How a plain command is given its prompt; an agent's command line knows for itself.
    #[must_use]
    pub const fn prompt_via(mut self, given: PromptVia) -> Self {
        if let What::Command { via, .. } = &mut self.what {
            *via = given;
        }
        self
    }

    /// Which agent, whatever `AMPLIHACK_DELEGATE` says. Without effect on a plain command.
    #[must_use]
    pub const fn delegate(mut self, given: Delegate) -> Self {
        if let What::Agent { delegate, .. } = &mut self.what {
            *delegate = Some(given);
        }
        self
    }

    /// The agent's model. Without effect on a plain command.
    #[must_use]
    pub fn model(mut self, given: impl Into<String>) -> Self {
        if let What::Agent { model, .. } = &mut self.what {
            *model = Some(given.into());
        }
        self
    }

    /// Lets the agent do everything without asking. Off unless it is asked for here, for it is a
    /// decision about safety.
    #[must_use]
    pub const fn skip_permissions(mut self, given: bool) -> Self {
        if let What::Agent { skip_permissions, .. } = &mut self.what {
            *skip_permissions = given;
        }
        self
    }

    /// Where it works; relative to the session's working folder.
    #[must_use]
    pub fn working_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Sets a variable on top of the inherited environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Takes a variable out of the inherited environment.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<String>) -> Self {
        self.env.push((name.into(), None));
        self
    }

    /// How long each attempt may take, above zero; without one only the session's own limit
    /// ends it. Whatever it started ends with it.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// How long it may neither print nor work, above zero; `None` is for ever. An agent has
    /// [`AGENT_IDLE`] unless told, a plain command none.
    #[must_use]
    pub const fn idle(mut self, window: Option<Duration>) -> Self {
        self.idle = Idle::Window(window);
        self
    }

    /// How long it has between TERM and KILL when it is stopped. Ten seconds unless told.
    #[must_use]
    pub const fn kill_grace(mut self, grace: Duration) -> Self {
        self.kill_grace = Some(grace);
        self
    }

    /// How many bytes of each stream are kept, 100 MiB unless told; of more the middle is lost.
    #[must_use]
    pub const fn output_limit(mut self, bytes: u64) -> Self {
        self.output_limit = Some(bytes);
        self
    }

    /// Most memory, in bytes, that it and everything it started may take together; above it is
    /// killed, as class `memory`.
    #[must_use]
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Most processor that it and everything it started may take, in cores. Held only where
    /// Segue may make a cgroup.
    #[must_use]
    pub const fn cpu_limit(mut self, cores: f64) -> Self {
        self.cpu_limit = Some(cores);
        self
    }

    /// How often it is tried, from 1 up, when it fails in a way that can pass.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Shows its output while it runs, as well as keeping it.
    #[must_use]
    pub const fn stream_output(mut self, stream: bool) -> Self {
        self.stream_output = stream;
        self
    }

    /// Where its log goes: `<folder>/<id>.log`, and its whole output beside it.
    #[must_use]
    pub fn log_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.log_dir = Some(folder.into());
        self
    }

    /// Gives it a timeout unless it has one.
    pub(crate) fn timeout_if_none(mut self, timeout: Duration) -> Self {
        self.timeout.get_or_insert(timeout);
        self
    }

    /// Gives it an idle window unless it was given one.
    pub(crate) fn idle_if_fitting(mut self, window: Duration) -> Self {
        if self.idle == Idle::Fitting {
            self.idle = Idle::Window(Some(window));
        }
        self
    }

    /// Names an agent's model unless one is named.
    pub(crate) fn model_if_none(mut self, given: &str) -> Self {
        if let What::Agent { model: model @ None, .. } = &mut self.what {
            *model = Some(given.to_owned());
        }
        self
    }

    /// The same without a log.
    pub(super) fn unlogged(mut self) -> Self {
        self.log_dir = None;
        self
    }

    /// Its command line in this process's environment, for people.
    pub(crate) fn command_line(&self) -> String {
        self.shown(&Surroundings::of_this_process())
    }

    /// How long its prompt is.
    pub(crate) const fn prompt_bytes(&self) -> usize {
        self.prompt.len()
    }

    pub(super) fn idle_window(&self, around: &Surroundings) -> Option<Duration> {
        match (self.idle, &self.what) {
            (Idle::Window(window), _) => window,
            (Idle::Fitting, What::Agent { .. }) => Some(around.agent_idle()),
            (Idle::Fitting, What::Command { .. }) => None,
        }
    }

    /// Its argv as it is when the prompt goes by stdin, and where in it the prompt goes.
    pub(super) fn argv(&self, around: &Surroundings) -> (Vec<String>, Option<PromptArgument>) {
        match &self.what {
            What::Command { argv, via: PromptVia::Stdin } => (argv.clone(), None),
            What::Command { argv, via: PromptVia::Argument } => {
                (argv.clone(), Some(PromptArgument { at: argv.len(), flags: Vec::new() }))
            }
            What::Agent { delegate, model, skip_permissions } => {
                let delegate = delegate.unwrap_or_else(|| around.delegate());
                agent_argv(delegate, model.as_deref(), *skip_permissions)
            }
        }
    }

    /// Its command line for people: the prompt cut short.
    pub(super) fn shown(&self, around: &Surroundings) -> String {
        let (mut argv, argument) = self.argv(around);
        let by_argument = self.prompt.len() <= Prompt::ARGUMENT_BYTES_MAX;
        if let Some(PromptArgument { at, flags }) = argument.filter(|_| by_argument) {
            let words = flags.into_iter().chain([first_chars(&self.prompt)]);
            argv.splice(at..at, words);
        }
        let words: Vec<String> = argv.iter().map(|word| segue_core::shell_quote(word)).collect();
        words.join(" ")
    }

    /// The beginning of the prompt, for logs.
    pub(super) fn prompt_head(&self) -> String {
        first_chars(&self.prompt)
    }
}

/// The first hundred characters, as promise S1.17 has them.
fn first_chars(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

fn agent_argv(
    delegate: Delegate,
    model: Option<&str>,
    skip_permissions: bool,
) -> (Vec<String>, Option<PromptArgument>) {
    let (program, skip, print): (&[&str], &str, bool) = match delegate {
        Delegate::Claude => (&["claude"], "--dangerously-skip-permissions", true),
        Delegate::Copilot => (&["amplihack", "copilot", "--"], "--allow-all-tools", false),
        Delegate::Amplifier => {
            (&["amplihack", "amplifier"], "--dangerously-skip-permissions", true)
        }
    };
    let mut argv: Vec<String> = program.iter().map(|&word| word.to_owned()).collect();
    if skip_permissions {
        argv.push(skip.to_owned());
    }
    // For `claude` it says only that nobody talks back; elsewhere the prompt is its value.
    let mut flags = Vec::new();
    if print {
        argv.push("-p".to_owned())
    } else {
        flags.push("-p".to_owned())
    }
    let at = argv.len();
    if let Some(model) = model {
        argv.extend(["--model".to_owned(), model.to_owned()]);
    }
    (argv, Some(PromptArgument { at, flags }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(delegate: Option<&str>, process: &AgentProcess, expected: &str) {
        let around = Surroundings { delegate: delegate.map(str::to_owned), idle_seconds: None };
        assert_eq!(process.shown(&around), expected);
    }

    #[test]
    fn the_delegate_makes_the_command_line() {
        let plain = AgentProcess::new("do it");
        check(None, &plain, "claude -p 'do it'");
        check(Some("nonsense"), &plain, "claude -p 'do it'");
        check(Some("amplihack  claude"), &plain, "claude -p 'do it'");
        check(Some("amplihack copilot"), &plain, "amplihack copilot -- -p 'do it'");
        let all = plain.clone().model("m").skip_permissions(true);
        check(None, &all, "claude --dangerously-skip-permissions -p 'do it' --model m");
        let copilot = "amplihack copilot -- --allow-all-tools -p 'do it' --model m";
        check(Some("amplihack copilot"), &all, copilot);
        check(
            Some("amplihack amplifier"),
            &all,
            "amplihack amplifier --dangerously-skip-permissions -p 'do it' --model m",
        );
        check(Some("amplihack copilot"), &plain.delegate(Delegate::Claude), "claude -p 'do it'");
        let long = AgentProcess::new("x".repeat(200_000)).model("m");
        check(None, &long, "claude -p --model m");
    }

    #[test]
    fn only_agents_have_an_idle_window_by_themselves() {
        let around = |text: &str| Surroundings {
            delegate: None,
            idle_seconds: Some(text.to_owned()).filter(|text| !text.is_empty()),
        };
        let agent = AgentProcess::new("x");
        assert_eq!(agent.idle_window(&around("")), Some(AGENT_IDLE));
        assert_eq!(agent.idle_window(&around("7")), Some(Duration::from_secs(7)));
        assert_eq!(agent.idle_window(&around("0")), Some(AGENT_IDLE));
        assert_eq!(agent.idle(None).idle_window(&around("7")), None);
        assert_eq!(AgentProcess::command(["x"]).idle_window(&around("7")), None);
    }
}
