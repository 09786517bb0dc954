//! Making `segue.db` anew from the runs' journals: at first, when it is damaged, and for
//! `segue doctor --rebuild`.
//!
//! The old file is renamed, its write-ahead log with it, so that nothing is overwritten and
//! SQLite can still open it. Grants come back only if their attempts still live.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::Connection;
use segue_core::{AttemptId, Event, Grant, Recorded, RunId, Timestamp};

use crate::disk::{self, IoError};
use crate::groups::{self, HolderId};
use crate::index::{self, IndexError, Renamed, Stamp};
use crate::statistics::RunStatistics;
use crate::summary::RunSummary;
use crate::{Store, reading, statistics_table};

/// What a new database was made of.
#[derive(Debug, Default)]
pub struct Rebuilt {
    /// How many runs it knows.
    pub runs: usize,
    /// Runs whose journals cannot be read, and why.
    pub unreadable: Vec<(RunId, String)>,
    /// How many grants and places in queues still live.
    pub grants: usize,
}

/// Makes the store's database anew and puts the old one aside, damaged or not.
///
/// # Errors
/// [`IndexError`]; the old database is then where it was, or beside it.
pub fn rebuild(store: &Store) -> Result<Renamed, IndexError> {
    let _lock = index::lock_file(store)?;
    replace(store)
}

/// As [`rebuild`], for whoever holds the lock.
pub(crate) fn replace(store: &Store) -> Result<Renamed, IndexError> {
    let path = index::path_in(store);
    let fresh = path.with_file_name("segue.db.new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(IoError::at("remove", &fresh)(error).into());
        }
        _ => {}
    }
    let sql = |source| IndexError::Sql { path: fresh.clone(), source };
    // Made first, so that SQLite gives the file no other mode.
    disk::write_new(&fresh, b"")?;
    let mut db = index::create(&fresh).map_err(sql)?;
    for statistics in of_gone_runs(store, &path) {
        statistics_table::insert(&db, &statistics).map_err(sql)?;
    }
    let rebuilt = fill(store, &mut db).map_err(sql)?;
    // Before others can see it, for it takes a lock on the whole file.
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).map_err(sql)?;
    drop(db);
    File::open(&fresh).and_then(|file| file.sync_all()).map_err(IoError::at("sync", &fresh))?;
    let to = put_aside(&path)?;
    fs::rename(&fresh, &path).map_err(IoError::at("rename", &fresh))?;
    disk::sync_dir(store.root())?;
    Ok(Renamed { to, rebuilt })
}

/// What an old database that can still be read knows of runs that were removed: their journals
/// are gone.
fn of_gone_runs(store: &Store, path: &Path) -> Vec<RunStatistics> {
    let mut known = statistics_table::look(path).unwrap_or_default();
    known.retain(|statistics| !store.run_dir(&statistics.run).exists());
    known
}

/// Renames the database and its write-ahead log; `None` if there is none.
fn put_aside(path: &Path) -> Result<Option<PathBuf>, IoError> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(0));
    // No colons: they are awkward in file names.
    let time = now.to_string().replace(':', "-");
    let mut to = path.with_file_name(format!("segue.db.damaged-{time}"));
    for count in 2.. {
        if !to.exists() {
            break;
        }
        to = path.with_file_name(format!("segue.db.damaged-{time}-{count}"));
    }
    let mut renamed = false;
    // The database first: stopped in between, the next one finds none and puts the rest aside.
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(path, suffix), with_suffix(&to, suffix));
        match fs::rename(&from, &to) {
            Ok(()) => renamed = true,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(IoError::at("rename", &from)(error)),
        }
    }
    Ok(renamed.then_some(to))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Tells an empty database of every run that can be read, and of every grant that lives.
fn fill(store: &Store, db: &mut Connection) -> rusqlite::Result<Rebuilt> {
    let mut rebuilt = Rebuilt::default();
    let runs = store.run_ids().unwrap_or_default();
    let transaction = db.transaction()?;
    // Oldest first, as they were told at the time.
    for run in runs.into_iter().rev() {
        let dir = store.run_dir(&run);
        let stamp = Stamp::of(&dir).unwrap_or_default();
        let records = match reading::read(&dir) {
            Ok(reading) => reading.records,
            Err(error) => {
                rebuilt.unreadable.push((run, error.to_string()));
                continue;
            }
        };
        let Some(summary) = RunSummary::of(&records) else {
            let why = "its journal does not begin with `run_started`".to_owned();
            rebuilt.unreadable.push((run, why));
            continue;
        };
        index::insert_run(&transaction, &summary, stamp)?;
        if let Some(statistics) = RunStatistics::of(&records) {
            statistics_table::insert(&transaction, &statistics)?;
        }
        rebuilt.runs += 1;
        for (attempt, grant) in open_grants(&records) {
            let holder = HolderId { run: run.clone(), attempt };
            if store.is_holder_live(&holder) {
                groups::insert(&transaction, &holder, &grant)?;
                rebuilt.grants += 1;
            }
        }
    }
    transaction.commit()?;
    Ok(rebuilt)
}

/// What a journal's attempts hold or wait for at its end.
fn open_grants(records: &[Recorded]) -> BTreeMap<AttemptId, Grant> {
    let mut open = BTreeMap::new();
    for Recorded { at, event, .. } in records {
        match event {
            Event::GrantAsked { attempt, wants } => {
                let grant = Grant {
                    holder: String::new(),
                    wants: wants.clone(),
                    // A journal does not tell it; the next ask does not change it either.
                    priority: 0,
                    since: *at,
                    granted: false,
                };
                open.insert(attempt.clone(), grant);
            }
            Event::Granted { attempt } => {
                if let Some(grant) = open.get_mut(attempt) {
                    grant.granted = true;
                    grant.since = *at;
                }
            }
            Event::AttemptEnded { attempt, .. } => {
                open.remove(attempt);
            }
            Event::RunEnded { .. } => open.clear(),
            _ => {}
        }
    }
    open
}
