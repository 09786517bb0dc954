//! Views for those who come from the originals: one number for an outcome, one word for a
//! failure. Pure.

use segue_core::{FailureClass, Outcome};

/// Whose numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// amplihack's: -1 for time limits and for everything that never ran, minus the number for a
    /// signal. SIGHUP is -1 there, too: the typed outcome tells.
    Orchestration,
    /// The shell's: 124 for time limits, 128 and the number for a signal, -1 for what never ran.
    Shell,
}

/// The exit code of an outcome in this view; the program's own code is always itself.
///
/// ```
/// use segue::compat::{View, exit_code};
/// use segue::core::{Outcome, TimeLimit};
///
/// let late = Outcome::TimedOut { limit: TimeLimit::Total };
/// assert_eq!(exit_code(&late, View::Orchestration), -1);
/// assert_eq!(exit_code(&late, View::Shell), 124);
/// ```
#[must_use]
pub const fn exit_code(outcome: &Outcome, view: View) -> i32 {
    match (outcome, view) {
        (Outcome::Exited { code }, _) => *code,
        (Outcome::Signaled { signal }, View::Orchestration) => -*signal,
        (Outcome::Signaled { signal }, View::Shell) => 128 + *signal,
        (Outcome::TimedOut { .. }, View::Shell) => 124,
        _ => -1,
    }
}

/// The six labels of the originals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// Money is used up.
    BudgetExceeded,
    /// A key is missing or refused.
    ApiAuthError,
    /// Time was up.
    TimeoutError,
    /// Out of memory.
    MemoryError,
    /// The program failed.
    ExecutionError,
    /// None of them.
    UnknownError,
}

impl Label {
    /// The label as the originals write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::BudgetExceeded => "BUDGET_EXCEEDED",
            Self::ApiAuthError => "API_AUTH_ERROR",
            Self::TimeoutError => "TIMEOUT_ERROR",
            Self::MemoryError => "MEMORY_ERROR",
            Self::ExecutionError => "EXECUTION_ERROR",
            Self::UnknownError => "UNKNOWN_ERROR",
        }
    }
}

impl From<FailureClass> for Label {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Budget => Self::BudgetExceeded,
            FailureClass::Auth | FailureClass::Permission => Self::ApiAuthError,
            FailureClass::Timeout | FailureClass::Stall => Self::TimeoutError,
            FailureClass::Memory => Self::MemoryError,
            FailureClass::Unknown | FailureClass::Lost => Self::UnknownError,
            _ => Self::ExecutionError,
        }
    }
}

/// The original's classification by words, in its precedence, for texts that come from elsewhere.
/// `None` for exit code 0: a success is never an error, whatever words it prints.
///
/// ```
/// use segue::compat::{Label, classify};
///
/// assert_eq!(classify(1, "Budget exceeded: timeout"), Some(Label::BudgetExceeded));
/// assert_eq!(classify(0, "in-memory cache warm"), None);
/// ```
#[must_use]
pub fn classify(exit_code: i32, stderr: &str) -> Option<Label> {
    if exit_code == 0 {
        return None;
    }
    let stderr = stderr.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
    Some(if says(&["budget exceeded", "cost limit"]) {
        Label::BudgetExceeded
    } else if says(&["api key", "authentication"]) {
        Label::ApiAuthError
    } else if says(&["timeout"]) || exit_code == 124 {
        Label::TimeoutError
    } else if says(&["memory"]) {
        Label::MemoryError
    } else {
        Label::ExecutionError
    })
}

#[cfg(test)]
mod tests {
    use segue_core::{StopReason, TimeLimit};

    use super::*;

    #[test]
    fn every_outcome_has_its_number_in_both_views() {
        let failed = Outcome::SpawnFailed { kind: "other".into(), message: String::new() };
        let cases = [
            (Outcome::Exited { code: 0 }, 0, 0),
            (Outcome::Exited { code: 124 }, 124, 124),
            (Outcome::Signaled { signal: 1 }, -1, 129),
            (Outcome::Signaled { signal: 9 }, -9, 137),
            (Outcome::TimedOut { limit: TimeLimit::Stall }, -1, 124),
            (failed, -1, -1),
            (Outcome::Cancelled { reason: StopReason::Cancelled }, -1, -1),
            (Outcome::Lost, -1, -1),
        ];
        for (outcome, orchestration, shell) in cases {
            assert_eq!(exit_code(&outcome, View::Orchestration), orchestration, "{outcome}");
            assert_eq!(exit_code(&outcome, View::Shell), shell, "{outcome}");
        }
    }

    #[test]
    fn words_are_classified_in_the_originals_precedence() {
        let cases = [
            (1, "API key timeout memory budget exceeded", Label::BudgetExceeded),
            (1, "bad authentication, timeout", Label::ApiAuthError),
            (124, "", Label::TimeoutError),
            (1, "out of memory: timeout", Label::TimeoutError),
            (1, "MemoryError", Label::MemoryError),
            (1, "Request timed out", Label::ExecutionError),
            (137, "", Label::ExecutionError),
        ];
        for (code, stderr, label) in cases {
            assert_eq!(classify(code, stderr), Some(label), "{stderr}");
        }
        assert_eq!(Label::from(FailureClass::Stall).word(), "TIMEOUT_ERROR");
    }
}
