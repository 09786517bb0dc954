//! Patterns of several agents, as functions over the four strategies: a cascade of ever simpler
//! ways, several versions with a reviewer, a debate, a panel of experts with votes.
//!
//! What an agent says is bound to its name by id and place, never by the order in which agents
//! end. What has to be decided is read from the last JSON object that the deciding agent wrote (at
//! `$SEGUE_RESULT`, or on stdout) and nothing else: words in running text decide nothing, and an
//! answer that cannot be read decides nothing either.
//!
//! Each function takes an *agent*: a definition whose prompt is filled in by the pattern.

mod answers;
mod cascade;
mod debate;
mod filter;
mod panel;
mod tally;
mod versions;

pub use cascade::{Cascade, Degradation, Level, Notification, Patience, cascade, levels};
pub use debate::{Confidence, Debate, PERSPECTIVES, debate};
pub use filter::{Filter, Summary, filter, labelled, summary};
pub use panel::{Expert, Panel, expert_panel};
pub use tally::{Ballot, Consensus, Decision, Method, QUORUM, Tally, Vote, tally};
pub use versions::{Choice, PROFILES, Profile, Versions, n_version};
