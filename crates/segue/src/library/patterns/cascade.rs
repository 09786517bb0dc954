//! A cascade: the best way first, ever simpler ones when it fails or takes too long.

use std::time::Duration;

use crate::library::{AgentProcess, ProcessResult, Session, StrategyError};

/// One way to do it.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// What it is called: a plain name.
    pub name: String,
    /// What is run.
    pub process: AgentProcess,
    /// How long it may take before the next one has its turn; in place of the process's own.
    pub timeout: Duration,
}

/// How long the three levels of [`levels`] may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// 5, 2 and 1 seconds.
    Aggressive,
    /// 30, 10 and 5 seconds.
    #[default]
    Balanced,
    /// 120, 30 and 10 seconds.
    Patient,
}

impl Patience {
    /// The three times.
    #[must_use]
    pub const fn timeouts(self) -> [Duration; 3] {
        let seconds = match self {
            Self::Aggressive => [5, 2, 1],
            Self::Balanced => [30, 10, 5],
            Self::Patient => [120, 30, 10],
        };
        [
            Duration::from_secs(seconds[0]),
            Duration::from_secs(seconds[1]),
            Duration::from_secs(seconds[2]),
        ]
    }
}

/// What is given up from level to level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degradation {
    /// How good it is.
    Quality,
    /// How much is offered.
    Service,
    /// How new it is.
    Freshness,
    /// How much of it there is.
    Completeness,
    /// How exact it is.
    Accuracy,
}

impl Degradation {
    /// What each level is asked for.
    #[must_use]
    pub const fn asks(self) -> [&'static str; 3] {
        match self {
            Self::Quality => [
                "Do it as well as it can be done.",
                "Do it well enough to be used; skip what is only nice to have.",
                "Do the least that works.",
            ],
            Self::Service => [
                "Offer everything that was asked for.",
                "Offer only the essential parts.",
                "Offer the one most important part.",
            ],
            Self::Freshness => [
                "Use what is current; look it up.",
                "What was gathered recently will do.",
                "What is known already will do; look nothing up.",
            ],
            Self::Completeness => [
                "Treat every case.",
                "Treat the most important cases.",
                "Treat the most important case alone.",
            ],
            Self::Accuracy => [
                "Be exact, and verify it.",
                "Be right in the main; an estimate will do for the rest.",
                "Give a rough estimate.",
            ],
        }
    }
}

/// Who is told that a level below the first was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notification {
    /// Nobody.
    Silent,
    /// The session's log.
    #[default]
    Warning,
    /// The session's log, and whoever reads [`Cascade::notice`].
    Explicit,
}

/// What a cascade came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Cascade {
    /// The level that succeeded, from 0; `None` if none did.
    pub level: Option<usize>,
    /// Its result; else the last failure.
    pub result: ProcessResult,
    /// The levels that were tried, in order.
    pub history: Vec<ProcessResult>,
    /// What to tell the user, if he is to be told and there is something to tell.
    pub notice: Option<String>,
}

/// The three levels of a task: `primary`, `secondary`, `tertiary`. `agent` is run with the task
/// and with what each level is asked for.
#[must_use]
pub fn levels(
    agent: &AgentProcess,
    task: &str,
    degradation: Degradation,
    patience: Patience,
) -> Vec<Level> {
    let names = ["primary", "secondary", "tertiary"];
    let each = names.into_iter().zip(degradation.asks()).zip(patience.timeouts());
    each.map(|((name, asks), timeout)| Level {
        name: name.to_owned(),
        process: agent.clone().prompt(format!("{task}\n\n{asks}")),
        timeout,
    })
    .collect()
}

/// Tries levels in order until one succeeds within its time.
///
/// # Errors
/// [`StrategyError`], as for [`run_with_fallback`](crate::run_with_fallback).
pub fn cascade(
    session: &Session,
    levels: &[Level],
    notification: Notification,
) -> Result<Cascade, StrategyError> {
    let process =
        |level: &Level| level.process.clone().id(level.name.clone()).timeout(level.timeout);
    let processes: Vec<AgentProcess> = levels.iter().map(process).collect();
    let tried = session.run_with_fallback(&processes, None)?;
    let level = tried.result.succeeded().then_some(tried.result.index);
    let told = match level {
        Some(0) => None,
        Some(level) => {
            let (wanted, taken) = (&levels[0].name, &levels[level].name);
            Some(format!("`{wanted}` did not succeed; the result is that of `{taken}`"))
        }
        None => Some(format!("none of {} levels succeeded", levels.len())),
    };
    if let (Some(told), Notification::Warning | Notification::Explicit) = (&told, notification) {
        session.warn(told);
    }
    let notice = told.filter(|_| notification == Notification::Explicit);
    Ok(Cascade { level, result: tried.result, history: tried.history, notice })
}
