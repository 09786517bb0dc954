//! A panel of experts who vote.

use super::answers::{answer, text};
use super::tally::{Ballot, Method, Tally, Vote, tally};
use crate::library::{
    AgentProcess, ProcessResult, Session, Strategy, StrategyError, in_input_order,
};

/// One of the panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Expert {
    /// What he is called: a plain name.
    pub name: String,
    /// What he looks at.
    pub field: String,
    /// What his vote weighs, under [`Method::Weighted`].
    pub weight: f64,
}

impl Expert {
    /// An expert whose vote weighs 1.
    #[must_use]
    pub fn new(name: impl Into<String>, field: impl Into<String>) -> Self {
        Self { name: name.into(), field: field.into(), weight: 1.0 }
    }
}

/// What a panel came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What the experts said, in the order of the experts.
    pub reviews: Vec<ProcessResult>,
    /// The votes that could be read, in the order of the experts.
    pub ballots: Vec<Ballot>,
    /// Experts whose vote could not be read, each with the reason. They count as absent.
    pub absent: Vec<(String, String)>,
    /// The count.
    pub tally: Tally,
}

/// Has every expert vote on `subject`, all at once, and counts.
///
/// An expert answers with a JSON object: `vote`, which is `APPROVE`, `REJECT` or `ABSTAIN`, and
/// `reasoning`. Whoever fails or answers otherwise has no vote.
///
/// # Errors
/// [`StrategyError`]: no expert, an expert whose name is no plain one, or what
/// [`run_parallel`](crate::run_parallel) refuses.
pub fn expert_panel(
    session: &Session,
    agent: &AgentProcess,
    subject: &str,
    experts: &[Expert],
    method: Method,
    quorum: usize,
) -> Result<Panel, StrategyError> {
    if experts.is_empty() {
        return Err(StrategyError::Size { what: "the number of experts" });
    }
    let process = |expert: &Expert| {
        let prompt = format!(
            "You are an expert in {}. Judge what follows by your field alone.\n\n# Subject\n\
             {subject}\n\nAnswer with one JSON object and nothing after it:\n\
             {{\"vote\": \"APPROVE, REJECT or ABSTAIN\", \"reasoning\": \"…\"}}\n",
            expert.field
        );
        agent.clone().id(expert.name.clone()).prompt(prompt)
    };
    let processes: Vec<AgentProcess> = experts.iter().map(process).collect();
    let all_at_once = Strategy::parallel(Some(processes.len()));
    let reviews = in_input_order(session.start(&all_at_once, &processes)?.wait()?);
    let mut ballots = Vec::new();
    let mut absent = Vec::new();
    for review in &reviews {
        let expert = &experts[review.index];
        match vote(review) {
            Ok((vote, reasoning)) => ballots.push(Ballot {
                expert: expert.name.clone(),
                vote,
                weight: expert.weight,
                reasoning,
            }),
            Err(why) => absent.push((expert.name.clone(), why)),
        }
    }
    let tally = tally(&ballots, method, quorum);
    Ok(Panel { reviews, ballots, absent, tally })
}

fn vote(review: &ProcessResult) -> Result<(Vote, String), String> {
    let answer = answer(review)?;
    let word = text(&answer, "vote")?;
    let vote = Vote::from_word(&word).ok_or_else(|| format!("its vote is {word:?}"))?;
    Ok((vote, text(&answer, "reasoning").unwrap_or_default()))
}
