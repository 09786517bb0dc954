//! Errors at the edge: what the user reads, what to do about it, and the exit code.

use serde_json::{Value, json};

/// Exit codes of architecture 6.1.
pub(crate) mod exit {
    /// Succeeded or warned.
    pub(crate) const SUCCESS: u8 = 0;
    /// The run failed.
    pub(crate) const FAILED: u8 = 1;
    /// Usage, or an invalid workflow.
    pub(crate) const USAGE: u8 = 2;
    /// Every root cause is a gate or a budget.
    pub(crate) const VERDICT: u8 = 3;
    /// Not found or locked.
    pub(crate) const UNAVAILABLE: u8 = 4;
    /// A fault of Segue or of the machine.
    pub(crate) const INTERNAL: u8 = 70;
    /// Ended by SIGINT.
    pub(crate) const INTERRUPTED: u8 = 130;
    /// Ended by SIGTERM.
    pub(crate) const TERMINATED: u8 = 143;
}

/// Which kind of trouble it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Usage,
    NotFound,
    Locked,
    Internal,
}

/// An error as the user sees it.
#[derive(Debug)]
pub(crate) struct CommandError {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hints: Vec<String>,
    /// Diagnostics that are already rendered, printed as they are.
    pub(crate) rendered: Option<Box<(String, Value)>>,
}

pub(crate) type CommandResult<T = u8> = Result<T, CommandError>;

impl CommandError {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), rendered: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    pub(crate) fn locked(message: impl Into<String>) -> Self {
        Self::new(Kind::Locked, message)
    }

    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(Kind::Internal, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// An invalid workflow, with everything that is wrong with it.
    pub(crate) fn diagnostics(found: &segue_spec::Diagnostics) -> Self {
        let color = console::colors_enabled_stderr();
        let width = usize::from(console::Term::stderr().size().1).clamp(60, 120);
        let rendered = Some(Box::new((found.render(color, width), found.to_json())));
        Self { rendered, ..Self::usage(found.to_string()) }
    }

    pub(crate) const fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Usage => exit::USAGE,
            Kind::NotFound | Kind::Locked => exit::UNAVAILABLE,
            Kind::Internal => exit::INTERNAL,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let kind = match self.kind {
            Kind::Usage => "usage",
            Kind::NotFound => "not_found",
            Kind::Locked => "locked",
            Kind::Internal => "internal",
        };
        let mut error = json!({"kind": kind, "message": self.message, "hints": self.hints});
        if let Some(rendered) = &self.rendered {
            error["diagnostics"] = rendered.1.clone();
        }
        json!({"error": error})
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = match &self.rendered {
            Some(found) => format!("{}\nerror: {}\n", found.0.trim_end(), self.message),
            None => format!("error: {}\n", self.message),
        };
        for hint in &self.hints {
            text.push_str("hint: ");
            text.push_str(hint);
            text.push('\n');
        }
        text
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<segue_journal::StoreError> for CommandError {
    fn from(error: segue_journal::StoreError) -> Self {
        Self::internal(&error)
    }
}

impl From<segue_journal::IoError> for CommandError {
    fn from(error: segue_journal::IoError) -> Self {
        Self::internal(&error)
    }
}

impl From<segue_journal::JournalError> for CommandError {
    fn from(error: segue_journal::JournalError) -> Self {
        Self::internal(&error).hint("other runs are not affected; `segue list` shows them")
    }
}

impl From<segue_journal::IndexError> for CommandError {
    fn from(error: segue_journal::IndexError) -> Self {
        Self::internal(&error).hint("`segue doctor --rebuild` makes it anew from the runs")
    }
}

impl From<segue_journal::FindError> for CommandError {
    fn from(error: segue_journal::FindError) -> Self {
        use segue_journal::FindError;
        let text = error.to_string();
        match error {
            FindError::Invalid { .. } => Self::not_found(text)
                .hint("name a run by `latest`, its id or the beginning of it; see `segue list`"),
            FindError::NotFound { .. } => {
                Self::not_found(text).hint("`segue list` shows the runs there are")
            }
            FindError::Ambiguous { .. } => Self::not_found(text).hint("give more of its id"),
            other => Self::internal(&other),
        }
    }
}

impl From<segue_engine::RunError> for CommandError {
    fn from(error: segue_engine::RunError) -> Self {
        use segue_engine::RunError;
        match &error {
            RunError::Lock(segue_journal::LockError::Busy { .. }) => {
                Self::locked(error.to_string())
                    .hint("it is under way: `segue events latest -f` follows it")
            }
            RunError::Lock(segue_journal::LockError::NoSuchRun { .. }) => {
                Self::not_found(error.to_string())
            }
            RunError::Journal(journal) if journal.is_disk_full() => Self::internal(&error)
                .hint("free some disk, then `segue resume latest`; nothing earlier is lost"),
            RunError::Supervisor(_) => Self::internal(&error)
                .hint("library users: set SEGUE_BIN, put `segue` on PATH, or call main_hook"),
            _ => Self::internal(&error),
        }
    }
}
