//! Concurrency groups over all runs of a store: the core's arbiter, hosted in `segue.db`.
//!
//! Each call loads the rows of one group, lets the arbiter decide, and stores what changed,
//! all in one `BEGIN IMMEDIATE`. Which holders still live is a look at locks, so a grant
//! never outlives its attempt, nor a place in the queue its engine.

use std::fs;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use segue_core::{
    Arbiter, ArbiterInput, AttemptId, Decision, Event, Grant, RunId, Seq, Timestamp, Wants,
};

use crate::index::{Index, IndexError};
use crate::lock::is_held;
use crate::ofd::Range;
use crate::{Store, reading};

/// An attempt that holds a group or waits for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HolderId {
    /// Its run.
    pub run: RunId,
    /// The attempt.
    pub attempt: AttemptId,
}

impl std::fmt::Display for HolderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.run, self.attempt)
    }
}

/// The answer to [`Index::ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It holds the group, until released or dead.
    Granted,
    /// It waits; ask again when something has changed.
    Busy {
        /// Who holds the group. Empty if only the queue is in the way.
        holders: Vec<HolderId>,
    },
    /// It will not get it and does not wait.
    Refused {
        /// In one line.
        message: String,
    },
}

/// A row of `grants`.
struct Row {
    id: i64,
    holder: HolderId,
    grant: Grant,
}

impl Index {
    /// Asks for a group for an attempt. Asking again gives the present answer and keeps the
    /// place in the queue. `is_live` says whether another holder still lives
    /// ([`Store::is_holder_live`]); those that do not are dropped first.
    ///
    /// # Errors
    /// [`IndexError`]; nothing has changed then.
    pub fn ask(
        &mut self,
        holder: &HolderId,
        wants: &Wants,
        priority: i64,
        now: Timestamp,
        is_live: &dyn Fn(&HolderId) -> bool,
    ) -> Result<Asked, IndexError> {
        self.perform(|db| {
            let transaction = begin(db)?;
            let rows = load(&transaction, &wants.group)?;
            let (live, dead): (Vec<Row>, Vec<Row>) =
                rows.into_iter().partition(|row| row.holder == *holder || is_live(&row.holder));
            for row in dead {
                remove(&transaction, &row.holder)?;
            }
            let mut arbiter = arbiter_of(&live);
            let ask =
                ArbiterInput::Ask { holder: holder.to_string(), wants: wants.clone(), priority };
            let answers = arbiter.handle(now, ask);
            store(&transaction, &live, &arbiter, holder)?;
            transaction.commit()?;
            let own = answers.into_iter().find(|(name, _)| *name == holder.to_string());
            Ok(asked(own.map(|(_, decision)| decision), &live))
        })
    }

    /// Gives back what an attempt holds or waits for; nothing if it does neither.
    ///
    /// # Errors
    /// [`IndexError`]; it is dropped when it is seen to be dead, at the latest.
    pub fn release(&mut self, holder: &HolderId, now: Timestamp) -> Result<(), IndexError> {
        self.perform(|db| {
            let transaction = begin(db)?;
            release_in(&transaction, holder, now)?;
            transaction.commit()
        })
    }

    /// Gives back everything of a run but what `kept` attempts hold: what an engine calls
    /// after it has recovered a run, whose last engine may have died before it released.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn release_all_but(
        &mut self,
        run: &RunId,
        kept: &[AttemptId],
        now: Timestamp,
    ) -> Result<(), IndexError> {
        self.perform(|db| {
            let transaction = begin(db)?;
            let attempts = attempts_of(&transaction, run)?;
            for attempt in attempts.into_iter().filter(|attempt| !kept.contains(attempt)) {
                let holder = HolderId { run: run.clone(), attempt };
                release_in(&transaction, &holder, now)?;
            }
            transaction.commit()
        })
    }

    /// As [`Index::ask`], with locks as the judge of who lives.
    ///
    /// # Errors
    /// [`IndexError`]; nothing has changed then.
    pub fn ask_among_live(
        &mut self,
        holder: &HolderId,
        wants: &Wants,
        priority: i64,
        now: Timestamp,
    ) -> Result<Asked, IndexError> {
        let store = self.store().clone();
        self.ask(holder, wants, priority, now, &|other| store.is_holder_live(other))
    }
}

impl Store {
    /// Whether an attempt may still run or be started: its run has an engine, or a
    /// supervisor that has starts to make, or its keeper holds its byte of `attempts.jsonl`.
    /// In doubt it does.
    #[must_use]
    pub fn is_holder_live(&self, holder: &HolderId) -> bool {
        let dir = self.run_dir(&holder.run);
        let held = |name, range| is_held(&dir.join(name), range).unwrap_or(true);
        if held("run.lock", Range::Whole) || held("starts.lock", Range::Whole) {
            return true;
        }
        match reading::read(&dir) {
            Ok(reading) => {
                let cleared = reading.records.iter().rev().find(|recorded| {
                    matches!(&recorded.event,
                        Event::AttemptCleared { attempt } if *attempt == holder.attempt)
                });
                cleared.is_some_and(|cleared| held("attempts.jsonl", Range::Byte(cleared.seq)))
            }
            // Which byte is the attempt's cannot be known any more.
            Err(_) => held("attempts.jsonl", Range::Whole),
        }
    }

    /// Whether the keeper of the attempt with this number is alive.
    #[must_use]
    pub fn is_attempt_live(&self, run: &RunId, number: Seq) -> bool {
        let path = self.run_dir(run).join("attempts.jsonl");
        is_held(&path, Range::Byte(number)).unwrap_or(fs::exists(&path).unwrap_or(true))
    }
}

/// Adds a grant that a journal tells of.
pub(crate) fn insert(db: &Connection, holder: &HolderId, grant: &Grant) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO grants (run, attempt, key, max, reject, priority, since_ms, granted)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        holder.run.as_str(),
        attempt_json(&holder.attempt)?,
        grant.wants.group,
        grant.wants.max,
        grant.wants.reject,
        grant.priority,
        grant.since.unix_ms(),
        grant.granted,
    ])?;
    Ok(())
}

fn begin(db: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    db.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn asked(decision: Option<Decision>, rows: &[Row]) -> Asked {
    match decision {
        Some(Decision::Granted) => Asked::Granted,
        Some(Decision::Refused { message }) => Asked::Refused { message },
        Some(Decision::Waits { .. }) | None => {
            let holding = rows.iter().filter(|row| row.grant.granted);
            Asked::Busy { holders: holding.map(|row| row.holder.clone()).collect() }
        }
    }
}

fn arbiter_of(rows: &[Row]) -> Arbiter {
    Arbiter { grants: rows.iter().map(|row| row.grant.clone()).collect() }
}

/// Writes down what the arbiter changed in the rows it was made of. `asker` is who may have
/// been added.
fn store(
    db: &Connection,
    rows: &[Row],
    arbiter: &Arbiter,
    asker: &HolderId,
) -> rusqlite::Result<()> {
    for row in rows {
        match arbiter.grants.iter().find(|grant| grant.holder == row.grant.holder) {
            None => remove(db, &row.holder)?,
            Some(grant) if *grant != row.grant => {
                db.prepare_cached("UPDATE grants SET granted = ?2, since_ms = ?3 WHERE id = ?1")?
                    .execute(params![row.id, grant.granted, grant.since.unix_ms()])?;
            }
            Some(_) => {}
        }
    }
    let name = asker.to_string();
    let known = rows.iter().any(|row| row.grant.holder == name);
    let added = arbiter.grants.iter().find(|grant| !known && grant.holder == name);
    added.map_or(Ok(()), |grant| insert(db, asker, grant))
}

/// Releases one holder and serves who waits for the same group.
fn release_in(db: &Connection, holder: &HolderId, now: Timestamp) -> rusqlite::Result<()> {
    let Some(key) = key_of(db, holder)? else { return Ok(()) };
    let rows = load(db, &key)?;
    let mut arbiter = arbiter_of(&rows);
    arbiter.handle(now, ArbiterInput::Release { holder: holder.to_string() });
    store(db, &rows, &arbiter, holder)
}

/// The group that an attempt holds or waits for.
fn key_of(db: &Connection, holder: &HolderId) -> rusqlite::Result<Option<String>> {
    let mut statement =
        db.prepare_cached("SELECT key FROM grants WHERE run = ?1 AND attempt = ?2")?;
    let mut rows = statement.query(params![holder.run.as_str(), attempt_json(&holder.attempt)?])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

fn remove(db: &Connection, holder: &HolderId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM grants WHERE run = ?1 AND attempt = ?2")?
        .execute(params![holder.run.as_str(), attempt_json(&holder.attempt)?])?;
    Ok(())
}

/// The rows of one group in the order of asking.
fn load(db: &Connection, key: &str) -> rusqlite::Result<Vec<Row>> {
    let mut statement = db.prepare_cached(
        "SELECT id, run, attempt, max, reject, priority, since_ms, granted FROM grants
         WHERE key = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([key], |row| {
        let holder = HolderId { run: run_at(row, 1)?, attempt: attempt_at(row, 2)? };
        let wants = Wants { group: key.to_owned(), max: row.get(3)?, reject: row.get(4)? };
        let grant = Grant {
            holder: holder.to_string(),
            wants,
            priority: row.get(5)?,
            since: Timestamp::from_unix_ms(row.get(6)?),
            granted: row.get(7)?,
        };
        Ok(Row { id: row.get(0)?, holder, grant })
    })?;
    rows.collect()
}

fn attempts_of(db: &Connection, run: &RunId) -> rusqlite::Result<Vec<AttemptId>> {
    let mut statement = db.prepare_cached("SELECT attempt FROM grants WHERE run = ?1")?;
    let rows = statement.query_map([run.as_str()], |row| attempt_at(row, 0))?;
    rows.collect()
}

fn attempt_json(attempt: &AttemptId) -> rusqlite::Result<String> {
    serde_json::to_string(attempt)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn attempt_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<AttemptId> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn run_at(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<RunId> {
    let text: String = row.get(column)?;
    RunId::parse(&text).map_err(|error| unreadable(column, error))
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, error.into())
}
