//! Several versions of one thing, and a reviewer who picks one or joins them.

use segue_core::Value;

use super::answers::{answer, sections, text};
use crate::library::{
    AgentProcess, ProcessResult, Session, Strategy, StrategyError, in_input_order,
};

/// How one version is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What it is called.
    pub name: String,
    /// What its maker is told beside the task.
    pub ask: String,
}

/// The five profiles of the original: names, and what their makers are told.
pub const PROFILES: [(&str, &str); 5] = [
    ("conservative", "Prefer proven ways, thorough error handling and safety over brevity."),
    ("pragmatic", "Balance effort and result; take the straightforward way."),
    ("minimalist", "Use the least code and the fewest parts that do it."),
    ("innovative", "Look for a new way that is clearly better than the usual one."),
    ("performance", "Prefer what runs fastest and takes the least memory."),
];

impl Profile {
    /// The first `count` of [`PROFILES`]; beyond five they begin again.
    #[must_use]
    pub fn first(count: usize) -> Vec<Self> {
        let named = PROFILES.iter().cycle().take(count);
        named.map(|(name, ask)| Self { name: (*name).to_owned(), ask: (*ask).to_owned() }).collect()
    }
}

/// What the reviewer chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One of the versions, by its place.
    Version(usize),
    /// A new one, joined from several.
    Hybrid(String),
    /// Nothing that can be relied on.
    Undecided {
        /// Why.
        why: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Versions {
    /// The versions, in the order of the profiles; `version_1` is the first one.
    pub versions: Vec<(Profile, ProcessResult)>,
    /// The reviewer's result; `None` if no version succeeded.
    pub review: Option<ProcessResult>,
    /// What he chose.
    pub choice: Choice,
    /// His reason.
    pub reason: String,
}

impl Versions {
    /// The text that was chosen.
    #[must_use]
    pub fn chosen(&self) -> Option<&str> {
        match &self.choice {
            Choice::Version(place) => Some(&self.versions.get(*place)?.1.stdout),
            Choice::Hybrid(text) => Some(text),
            Choice::Undecided { .. } => None,
        }
    }
}

/// Has `task` done once for each profile, all at once, and the versions that succeeded reviewed.
///
/// The reviewer answers with a JSON object: `choice`, which is a version's id or `hybrid`,
/// `reason`, and with `hybrid` the text itself as `hybrid`. Anything else leaves it undecided, as
/// does the choice of a version that does not exist or failed.
///
/// # Errors
/// [`StrategyError`]: no profile, or what [`run_parallel`](crate::run_parallel) refuses.
pub fn n_version(
    session: &Session,
    agent: &AgentProcess,
    task: &str,
    profiles: &[Profile],
    reviewer: &AgentProcess,
) -> Result<Versions, StrategyError> {
    if profiles.is_empty() {
        return Err(StrategyError::Size { what: "the number of versions" });
    }
    let process = |(place, profile): (usize, &Profile)| {
        let prompt = format!("{task}\n\n{}", profile.ask);
        agent.clone().id(version_id(place)).prompt(prompt)
    };
    let processes: Vec<AgentProcess> = profiles.iter().enumerate().map(process).collect();
    let all_at_once = Strategy::parallel(Some(processes.len()));
    let results = in_input_order(session.start(&all_at_once, &processes)?.wait()?);
    let made = |result: ProcessResult| (profiles[result.index].clone(), result);
    let versions: Vec<(Profile, ProcessResult)> = results.into_iter().map(made).collect();
    let undecided = |why: String| Choice::Undecided { why };
    let good: Vec<usize> =
        versions.iter().filter(|(_, r)| r.succeeded()).map(|(_, r)| r.index).collect();
    if good.is_empty() {
        let choice = undecided("no version succeeded".to_owned());
        return Ok(Versions { versions, review: None, choice, reason: String::new() });
    }
    let prompt = review_prompt(task, &versions);
    let review = session.run_one(reviewer.clone().id("reviewer").prompt(prompt))?;
    let answered = answer(&review);
    let choice = match &answered {
        Ok(answer) => choice(answer, &good).unwrap_or_else(undecided),
        Err(why) => undecided(why.clone()),
    };
    let reason = answered.ok().and_then(|answer| text(&answer, "reason").ok()).unwrap_or_default();
    Ok(Versions { versions, review: Some(review), choice, reason })
}

fn version_id(place: usize) -> String {
    format!("version_{}", place + 1)
}

fn review_prompt(task: &str, versions: &[(Profile, ProcessResult)]) -> String {
    let good = versions.iter().filter(|(_, result)| result.succeeded());
    let named: Vec<(String, &str)> = good
        .map(|(profile, result)| {
            let name = format!("{} ({})", version_id(result.index), profile.name);
            (name, result.stdout.as_str())
        })
        .collect();
    let said = sections(named.iter().map(|(name, text)| (name.as_str(), *text)));
    format!(
        "Several versions of one task were made. Compare them and choose the best, or join them \
         into a better one.\n\n# Task\n{task}\n\n# Versions\n{said}\n\
         Answer with one JSON object and nothing after it:\n\
         {{\"choice\": \"<a version's id, such as version_1, or hybrid>\", \"reason\": \"…\", \
         \"hybrid\": \"<the joined text, only with hybrid>\"}}\n"
    )
}

/// What an answer chooses among the versions that succeeded; why it chooses nothing.
fn choice(answer: &Value, good: &[usize]) -> Result<Choice, String> {
    let chosen = text(answer, "choice")?;
    if chosen == "hybrid" {
        return text(answer, "hybrid").map(Choice::Hybrid);
    }
    let found = good.iter().copied().find(|place| version_id(*place) == chosen);
    found
        .map(Choice::Version)
        .ok_or_else(|| format!("it chose {chosen:?}, which is no version that succeeded"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_clear_choice_is_one() {
        let cases = [
            (json!({"choice": "version_3"}), Ok(Choice::Version(2))),
            (json!({"choice": "hybrid", "hybrid": "x"}), Ok(Choice::Hybrid("x".to_owned()))),
            (json!({"choice": "hybrid"}), Err("no text `hybrid`")),
            (json!({"choice": "version_2"}), Err("no version that succeeded")),
            (json!({"choice": "version_1 or version_3"}), Err("no version that succeeded")),
            (json!({"choice": 1}), Err("no text `choice`")),
            (json!({}), Err("no text `choice`")),
        ];
        for (answer, expected) in cases {
            match (choice(&answer, &[0, 2]), expected) {
                (Ok(chosen), Ok(expected)) => assert_eq!(chosen, expected, "{answer}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{answer}: {why}"),
                (got, _) => panic!("{answer}: {got:?}"),
            }
        }
    }

    #[test]
    fn profiles_begin_again_after_five() {
        let names: Vec<String> = Profile::first(6).into_iter().map(|p| p.name).collect();
        assert_eq!((names.len(), names[5].as_str()), (6, PROFILES[0].0));
    }
}
