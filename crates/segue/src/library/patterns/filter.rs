//! Results together, and less of each: aggregation and output filters. Pure.

use std::time::Duration;

use segue_attempt::{last_json, last_lines};
use segue_core::Usd;

use super::answers::sections;
use crate::library::ProcessResult;

/// What is left of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// No escape sequences.
    NoAnsi,
    /// Only lines in which this stands.
    Containing(String),
    /// Only lines in which this does not stand.
    NotContaining(String),
    /// Only the last lines, as many as fit into so many bytes.
    LastBytes(usize),
    /// Only the last JSON object or array; nothing if there is none.
    LastJson,
}

/// Takes a text through filters, in order.
///
/// ```
/// use segue::patterns::{Filter, filter};
///
/// let text = "\u{1b}[32mok\u{1b}[0m\ndebug: x\n";
/// let kept = filter(text, &[Filter::NoAnsi, Filter::NotContaining("debug".to_owned())]);
/// assert_eq!(kept, "ok\n");
/// ```
#[must_use]
pub fn filter(text: &str, filters: &[Filter]) -> String {
    let lines = |text: &str, keep: &dyn Fn(&str) -> bool| -> String {
        text.split_inclusive('\n').filter(|line| keep(line)).collect()
    };
    filters.iter().fold(text.to_owned(), |text, filter| match filter {
        Filter::NoAnsi => console::strip_ansi_codes(&text).into_owned(),
        Filter::Containing(part) => lines(&text, &|line| line.contains(part)),
        Filter::NotContaining(part) => lines(&text, &|line| !line.contains(part)),
        Filter::LastBytes(bytes) => last_lines(&text, *bytes),
        Filter::LastJson => last_json(&text).map(|value| value.to_string()).unwrap_or_default(),
    })
}

/// The outputs of those that succeeded, each under its id, in input order: to be read by the next
/// agent.
#[must_use]
pub fn labelled(results: &[ProcessResult]) -> String {
    let mut good: Vec<&ProcessResult> =
        results.iter().filter(|result| result.succeeded()).collect();
    good.sort_by_key(|result| result.index);
    sections(good.into_iter().map(|result| (result.id.as_str(), result.stdout.as_str())))
}

/// Results in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All of them.
    pub total: usize,
    /// Those that succeeded.
    pub succeeded: usize,
    /// The ids of the others, in input order.
    pub failed: Vec<String>,
    /// All durations together.
    pub busy: Duration,
    /// The longest of them.
    pub longest: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// What all cost, as far as it is known; `None` if nothing is.
    pub cost: Option<Usd>,
}

/// Puts results in numbers.
#[must_use]
pub fn summary(results: &[ProcessResult]) -> Summary {
    let mut summary = Summary { total: results.len(), ..Summary::default() };
    let mut ordered: Vec<&ProcessResult> = results.iter().collect();
    ordered.sort_by_key(|result| result.index);
    for result in ordered {
        if result.succeeded() {
            summary.succeeded += 1;
        } else {
            summary.failed.push(result.id.clone());
        }
        summary.busy += result.duration;
        summary.longest = summary.longest.max(result.duration);
        summary.retries += result.attempts.saturating_sub(1);
        if let Some(cost) = result.cost {
            *summary.cost.get_or_insert_default() += cost;
        }
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_taken_in_order() {
        let check = |text: &str, filters: &[Filter], expected: &str| {
            assert_eq!(filter(text, filters), expected, "{filters:?}");
        };
        check("a\nb", &[], "a\nb");
        check("a\nb\nab", &[Filter::Containing("a".to_owned())], "a\nab");
        check("one\ntwo\nthree", &[Filter::LastBytes(9)], "three");
        check("log {\"a\": 1}\nmore", &[Filter::LastJson], "{\"a\":1}");
        check("nothing", &[Filter::LastJson], "");
    }
}
