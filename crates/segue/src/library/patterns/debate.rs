//! A debate: rounds of positions from several perspectives, then a synthesis.

use super::answers::{answer, sections, text};
use crate::library::{
    AgentProcess, ProcessResult, Session, Strategy, StrategyError, in_input_order,
};

/// The perspectives of a debate that names none.
pub const PERSPECTIVES: [&str; 3] = ["security", "performance", "simplicity"];

/// How sure the synthesis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Hardly.
    Low,
    /// Somewhat.
    Medium,
    /// Very.
    High,
}

impl Confidence {
    /// The confidence that a word stands for, whatever its case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_uppercase().as_str() {
            "HIGH" => Some(Self::High),
            "MEDIUM" => Some(Self::Medium),
            "LOW" => Some(Self::Low),
            _ => None,
        }
    }
}

/// What a debate came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Debate {
    /// Each round's positions, in the order of the perspectives.
    pub rounds: Vec<Vec<ProcessResult>>,
    /// The moderator's result; `None` if nobody took a position in the last round.
    pub synthesis: Option<ProcessResult>,
    /// What was concluded and how sure that is; why nothing was.
    pub conclusion: Result<(String, Confidence), String>,
}

/// Has a question debated: in each round every perspective takes a position, all at once, knowing
/// the positions of the round before; the moderator concludes.
///
/// The moderator answers with a JSON object: `recommendation`, and `confidence`, which is `HIGH`,
/// `MEDIUM` or `LOW`. Anything else concludes nothing.
///
/// # Errors
/// [`StrategyError`]: no perspective, no round, a perspective that is no plain name, or what
/// [`run_parallel`](crate::run_parallel) refuses.
pub fn debate(
    session: &Session,
    agent: &AgentProcess,
    question: &str,
    perspectives: &[&str],
    rounds: usize,
    moderator: &AgentProcess,
) -> Result<Debate, StrategyError> {
    if perspectives.is_empty() {
        return Err(StrategyError::Size { what: "the number of perspectives" });
    }
    if rounds == 0 {
        return Err(StrategyError::Size { what: "the number of rounds" });
    }
    let mut held: Vec<Vec<ProcessResult>> = Vec::new();
    let mut positions = String::new();
    for round in 1..=rounds {
        let process = |perspective: &&str| {
            let before = if positions.is_empty() {
                "State your position with its reasons.".to_owned()
            } else {
                format!(
                    "# Positions of the round before\n{positions}\n\
                     Answer the others and state your position now."
                )
            };
            let prompt = format!(
                "You argue from the perspective of {perspective}.\n\n# Question\n{question}\n\n\
                 {before}\n"
            );
            agent.clone().id(format!("round_{round}_{perspective}")).prompt(prompt)
        };
        let processes: Vec<AgentProcess> = perspectives.iter().map(process).collect();
        let all_at_once = Strategy::parallel(Some(processes.len()));
        let results = in_input_order(session.start(&all_at_once, &processes)?.wait()?);
        let good = results.iter().filter(|result| result.succeeded());
        positions =
            sections(good.map(|result| (perspectives[result.index], result.stdout.as_str())));
        held.push(results);
    }
    if positions.is_empty() {
        let conclusion = Err("nobody took a position in the last round".to_owned());
        return Ok(Debate { rounds: held, synthesis: None, conclusion });
    }
    let prompt = format!(
        "You moderate a debate. Weigh the positions and conclude.\n\n# Question\n{question}\n\n\
         # Positions\n{positions}\n\
         Answer with one JSON object and nothing after it:\n\
         {{\"recommendation\": \"…\", \"confidence\": \"HIGH, MEDIUM or LOW\"}}\n"
    );
    let synthesis = session.run_one(moderator.clone().id("synthesis").prompt(prompt))?;
    let conclusion = answer(&synthesis).and_then(|answer| {
        let word = text(&answer, "confidence")?;
        let confidence = Confidence::from_word(&word);
        let confidence = confidence.ok_or_else(|| format!("its confidence is {word:?}"))?;
        Ok((text(&answer, "recommendation")?, confidence))
    });
    Ok(Debate { rounds: held, synthesis: Some(synthesis), conclusion })
}
