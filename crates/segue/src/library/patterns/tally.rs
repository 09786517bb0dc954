//! Counting votes. Pure.

/// How many votes have to be cast, abstentions not counted, unless another number is given.
pub const QUORUM: usize = 3;

/// One expert's vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// For it.
    Approve,
    /// Against it.
    Reject,
    /// Neither; it does not count towards the quorum.
    Abstain,
}

impl Vote {
    /// The vote that a word stands for, whatever its case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word.trim().to_ascii_uppercase().as_str() {
            "APPROVE" => Some(Self::Approve),
            "REJECT" => Some(Self::Reject),
            "ABSTAIN" => Some(Self::Abstain),
            _ => None,
        }
    }
}

/// A vote with its voter.
#[derive(Clone, Debug, PartialEq)]
pub struct Ballot {
    /// Whose.
    pub expert: String,
    /// Which way.
    pub vote: Vote,
    /// What it weighs; counted by [`Method::Weighted`] alone, and as nothing unless above zero.
    pub weight: f64,
    /// Why.
    pub reasoning: String,
}

/// How votes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// More than half of the votes cast.
    SimpleMajority,
    /// More than half of the weight cast.
    Weighted,
    /// All votes cast.
    Unanimous,
}

/// What the votes come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// For it.
    Approve,
    /// Against it; a tie is that, too.
    Reject,
    /// Too few voted to decide anything.
    NoQuorum,
}

/// How far the voters agree, whichever way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consensus {
    /// All the same way.
    Unanimous,
    /// At least 75 % the same way.
    StrongMajority,
    /// More than 50 % the same way.
    SimpleMajority,
    /// No way has more than half.
    Split,
}

/// The count.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// What it comes to.
    pub decision: Decision,
    /// How far they agree.
    pub consensus: Consensus,
    /// The share of the greater side, in percent of what was cast; 0 if nothing was.
    pub agreement: f64,
    /// Votes for it.
    pub approvals: usize,
    /// Votes against it.
    pub rejections: usize,
    /// Those that did not vote either way.
    pub abstentions: usize,
    /// Of a decision, the ballots on the other side, in their order.
    pub dissent: Vec<Ballot>,
}

/// Counts votes. A tie rejects; fewer than `quorum` votes decide nothing.
///
/// ```
/// use segue::patterns::{Ballot, Consensus, Decision, Method, Vote, tally};
///
/// let ballot = |expert: &str, vote| Ballot {
///     expert: expert.to_owned(),
///     vote,
///     weight: 1.0,
///     reasoning: String::new(),
/// };
/// let ballots =
///     [ballot("a", Vote::Approve), ballot("b", Vote::Approve), ballot("c", Vote::Reject)];
/// let count = tally(&ballots, Method::SimpleMajority, 3);
/// assert_eq!(count.decision, Decision::Approve);
/// assert_eq!(count.consensus, Consensus::SimpleMajority);
/// assert_eq!(count.dissent[0].expert, "c");
/// ```
#[must_use]
pub fn tally(ballots: &[Ballot], method: Method, quorum: usize) -> Tally {
    let side = |vote| ballots.iter().filter(move |ballot| ballot.vote == vote);
    let weight = |ballot: &Ballot| match method {
        Method::Weighted if ballot.weight.is_finite() => ballot.weight.max(0.0),
        Method::Weighted => 0.0,
        Method::SimpleMajority | Method::Unanimous => 1.0,
    };
    let (approvals, rejections) = (side(Vote::Approve).count(), side(Vote::Reject).count());
    let for_it: f64 = side(Vote::Approve).map(weight).sum();
    let against: f64 = side(Vote::Reject).map(weight).sum();
    let decision = if approvals + rejections < quorum.max(1) {
        Decision::NoQuorum
    } else if match method {
        Method::Unanimous => rejections == 0,
        Method::SimpleMajority | Method::Weighted => for_it > against,
    } {
        Decision::Approve
    } else {
        Decision::Reject
    };
    let cast = for_it + against;
    let agreement = if cast > 0.0 { for_it.max(against) / cast * 100.0 } else { 0.0 };
    let consensus = if agreement >= 100.0 {
        Consensus::Unanimous
    } else if agreement >= 75.0 {
        Consensus::StrongMajority
    } else if agreement > 50.0 {
        Consensus::SimpleMajority
    } else {
        Consensus::Split
    };
    let dissent = match decision {
        Decision::Approve => side(Vote::Reject).cloned().collect(),
        Decision::Reject => side(Vote::Approve).cloned().collect(),
        Decision::NoQuorum => Vec::new(),
    };
    let abstentions = side(Vote::Abstain).count();
    Tally { decision, consensus, agreement, approvals, rejections, abstentions, dissent }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Votes as letters with weights: `a2` approves with 2, `r` rejects with 1, `-` abstains.
    fn ballots(text: &str) -> Vec<Ballot> {
        let ballot = |(place, word): (usize, &str)| Ballot {
            expert: format!("e{place}"),
            vote: match &word[..1] {
                "a" => Vote::Approve,
                "r" => Vote::Reject,
                _ => Vote::Abstain,
            },
            weight: word[1..].parse().unwrap_or(1.0),
            reasoning: String::new(),
        };
        text.split_whitespace().enumerate().map(ballot).collect()
    }

    #[test]
    fn votes_are_counted_as_promised() {
        use Consensus::{SimpleMajority as Simple, Split, StrongMajority, Unanimous};
        use Decision::{Approve, NoQuorum, Reject};
        let cases = [
            ("a a a", Method::SimpleMajority, Approve, Unanimous),
            ("r r r", Method::SimpleMajority, Reject, Unanimous),
            ("a a a r", Method::SimpleMajority, Approve, StrongMajority),
            ("a a r", Method::SimpleMajority, Approve, Simple),
            ("a a r r", Method::SimpleMajority, Reject, Split),
            ("a a - -", Method::SimpleMajority, NoQuorum, Unanimous),
            ("", Method::SimpleMajority, NoQuorum, Split),
            ("a a a r", Method::Unanimous, Reject, StrongMajority),
            ("a a a -", Method::Unanimous, Approve, Unanimous),
            ("a1 a1 r3", Method::Weighted, Reject, Simple),
            ("a2 r1 r1", Method::Weighted, Reject, Split),
            ("a9 r1 rNaN", Method::Weighted, Approve, StrongMajority),
            ("a0 a-1 a0", Method::Weighted, Reject, Split),
        ];
        for (text, method, decision, consensus) in cases {
            let count = tally(&ballots(text), method, QUORUM);
            assert_eq!((count.decision, count.consensus), (decision, consensus), "{text}");
            assert_eq!(
                count.approvals + count.rejections + count.abstentions,
                ballots(text).len(),
                "{text}"
            );
        }
        let count = tally(&ballots("a a r a"), Method::SimpleMajority, QUORUM);
        assert_eq!(count.dissent.iter().map(|b| b.expert.as_str()).collect::<Vec<_>>(), ["e2"]);
        assert_eq!(tally(&ballots(""), Method::Unanimous, 0).decision, Decision::NoQuorum);
    }
}
