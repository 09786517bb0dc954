//! Why a failed attempt failed: what Segue saw itself first, words in its stderr last.
//!
//! A success is never classified, and standard output never is: words there are data.

use segue_core::{FailureClass, Outcome};

/// Phrases of a failed program's last stderr lines, in the precedence of promise S0.34.
const PHRASES: [(&[&str], FailureClass); 7] = [
    (&["budget exceeded", "cost limit"], FailureClass::Budget),
    (&["api key", "authentication"], FailureClass::Auth),
    (&["rate limit", "rate_limit", "too many requests"], FailureClass::RateLimit),
    (&["overloaded"], FailureClass::Overloaded),
    (&["timeout", "timed out"], FailureClass::Timeout),
    (&["out of memory", "memoryerror", "cannot allocate memory"], FailureClass::Memory),
    (
        &["connection refused", "connection reset", "name resolution", "network is unreachable"],
        FailureClass::Network,
    ),
];

/// The exit code by which GNU `timeout` and its like tell that time was up.
const EXIT_TIMEOUT: i32 = 124;

/// Classifies an attempt whose outcome is not a success.
#[must_use]
pub fn classify(outcome: &Outcome, stderr_tail: &str) -> FailureClass {
    if let Some(class) = outcome.class_at_least() {
        return class;
    }
    if matches!(outcome, Outcome::Exited { code: EXIT_TIMEOUT }) {
        return FailureClass::Timeout;
    }
    let tail = stderr_tail.to_lowercase();
    let told = PHRASES.iter().find(|(words, _)| words.iter().any(|word| tail.contains(word)));
    told.map_or(FailureClass::Execution, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: i32, stderr: &str, expected: FailureClass) {
        assert_eq!(classify(&Outcome::Exited { code }, stderr), expected, "{stderr}");
    }

    #[test]
    fn words_count_only_after_what_was_seen() {
        check(1, "error: Budget exceeded: $6 of $5.51", FailureClass::Budget);
        check(1, "Invalid API key", FailureClass::Auth);
        check(1, "Request timed out", FailureClass::Timeout);
        check(124, "", FailureClass::Timeout);
        check(1, "in-memory cache warm\nassertion failed", FailureClass::Execution);
        check(3, "", FailureClass::Execution);
        let killed = Outcome::Signaled { signal: 9 };
        assert_eq!(classify(&killed, "timeout"), FailureClass::Execution);
    }
}
