//! The arbiter: the pure machine that owns what spans runs. So far: concurrency groups.
//!
//! Whoever hosts it loads its state, calls [`Arbiter::handle`], and stores the state again
//! before it tells anybody; locally that is one transaction on `segue.db`. It knows no run's
//! state: who no longer lives is told to it as a [`ArbiterInput::Release`].

use serde::{Deserialize, Serialize};

use crate::{Timestamp, Wants};

/// Who holds or waits, unique over all runs of a store: `RUN/ATTEMPT`.
pub type Holder = String;

/// What the arbiter takes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArbiterInput {
    /// Somebody wants a grant. Asking again changes nothing.
    Ask {
        /// Who.
        holder: Holder,
        /// What.
        wants: Wants,
        /// Smaller is served first.
        priority: i64,
    },
    /// Somebody no longer holds or waits for anything.
    Release {
        /// Who.
        holder: Holder,
    },
}

/// What the arbiter decided for one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It has what it wants, until released.
    Granted,
    /// It waits for these, and is answered when one of them is released.
    Waits {
        /// Who is in the way.
        holders: Vec<Holder>,
    },
    /// It will not get it.
    Refused {
        /// In one line.
        message: String,
    },
}

/// A grant or a place in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Who.
    pub holder: Holder,
    /// What.
    pub wants: Wants,
    /// Smaller is served first.
    pub priority: i64,
    /// Since when it waits or holds.
    pub since: Timestamp,
    /// Whether it holds; otherwise it waits.
    pub granted: bool,
}

/// All grants and queues of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arbiter {
    /// In the order of asking.
    pub grants: Vec<Grant>,
}

impl Arbiter {
    /// Takes in one input and answers whoever is decided by it.
    pub fn handle(&mut self, now: Timestamp, input: ArbiterInput) -> Vec<(Holder, Decision)> {
        match input {
            ArbiterInput::Ask { holder, wants, priority } => {
                vec![(holder.clone(), self.ask(now, holder, wants, priority))]
            }
            ArbiterInput::Release { holder } => {
                self.grants.retain(|grant| grant.holder != holder);
                self.serve(now)
            }
        }
    }

    fn ask(&mut self, now: Timestamp, holder: Holder, wants: Wants, priority: i64) -> Decision {
        if !self.grants.iter().any(|grant| grant.holder == holder) {
            let grant =
                Grant { holder: holder.clone(), wants, priority, since: now, granted: false };
            self.grants.push(grant);
        }
        self.serve(now);
        let position = self.grants.iter().position(|grant| grant.holder == holder);
        let grant = &self.grants[position.expect("it is there or was just put there")];
        if grant.granted {
            return Decision::Granted;
        }
        let holders = self.holders(&grant.wants.group);
        if !grant.wants.reject {
            return Decision::Waits { holders };
        }
        let message =
            format!("concurrency group `{}` is held by {}", grant.wants.group, holders.join(", "));
        self.grants.retain(|grant| grant.holder != holder);
        Decision::Refused { message }
    }

    fn holders(&self, group: &str) -> Vec<Holder> {
        let held = self.grants.iter().filter(|grant| grant.granted && grant.wants.group == group);
        held.map(|grant| grant.holder.clone()).collect()
    }

    /// Grants what can be granted, in the order of priority and waiting.
    fn serve(&mut self, now: Timestamp) -> Vec<(Holder, Decision)> {
        let mut order: Vec<usize> = (0..self.grants.len()).collect();
        order.sort_by_key(|&i| (self.grants[i].priority, self.grants[i].since, i));
        let mut answers = Vec::new();
        for i in order {
            let grant = &self.grants[i];
            let held = self.holders(&grant.wants.group).len();
            if !grant.granted && held < usize::try_from(grant.wants.max.max(1)).unwrap_or(1) {
                answers.push((grant.holder.clone(), Decision::Granted));
                self.grants[i].granted = true;
                self.grants[i].since = now;
            }
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(arbiter: &mut Arbiter, at: i64, holder: &str, priority: i64, reject: bool) -> Decision {
        let wants = Wants { group: "g".into(), max: 1, reject };
        let input = ArbiterInput::Ask { holder: holder.into(), wants, priority };
        arbiter.handle(Timestamp::from_unix_ms(at), input).remove(0).1
    }

    #[test]
    fn a_group_goes_to_one_at_a_time_in_order() {
        let mut arbiter = Arbiter::default();
        let waits = Decision::Waits { holders: vec!["a".into()] };
        assert_eq!(ask(&mut arbiter, 1, "a", 0, false), Decision::Granted);
        assert_eq!(ask(&mut arbiter, 2, "a", 0, false), Decision::Granted);
        assert_eq!(ask(&mut arbiter, 3, "b", 0, false), waits);
        assert_eq!(ask(&mut arbiter, 4, "c", -1, false), waits);
        assert!(matches!(ask(&mut arbiter, 5, "d", 0, true), Decision::Refused { .. }));
        let release = ArbiterInput::Release { holder: "a".into() };
        let answers = arbiter.handle(Timestamp::from_unix_ms(6), release);
        assert_eq!(answers, [("c".to_owned(), Decision::Granted)]);
    }
}
