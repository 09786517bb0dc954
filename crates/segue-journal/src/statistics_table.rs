//! The table of `segue.db` that keeps the statistics of ended runs, and looks at it that leave
//! no trace.
//!
//! A row a run, its tasks in one value: it is written once, when the run ends, and read many at a
//! time. It came with version 2 of the schema; what ended before is read from the journals then.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, TransactionBehavior, params};
use segue_core::{RunId, Timestamp};

use crate::index::{self, IndexError};
use crate::statistics::RunStatistics;
use crate::{Store, reading};

/// The table; in place since version 2.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE statistics (
        run TEXT PRIMARY KEY,
        workflow TEXT NOT NULL,
        ended_ms INTEGER NOT NULL,
        statistics TEXT NOT NULL
    );
    CREATE INDEX statistics_by_workflow ON statistics (workflow, ended_ms);
";

/// Which runs' statistics to give.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatisticsFilter {
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only of runs that ended then or later.
    pub since: Option<Timestamp>,
    /// At most so many, the last to end; `None` is all.
    pub limit: Option<u32>,
}

/// Brings a database of version 1 up to date. The caller holds the lock of `segue.db.lock`.
pub(crate) fn migrate(store: &Store, db: &mut Connection) -> rusqlite::Result<()> {
    // Before the transaction, so that nobody waits while journals are read.
    let ended = journals(store, |_| true, usize::MAX);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    for statistics in &ended {
        insert(&transaction, statistics)?;
    }
    transaction.pragma_update(None, "user_version", index::SCHEMA_VERSION)?;
    transaction.commit()
}

/// The statistics of the newest `limit` ended runs, from their journals. Runs that cannot be
/// read, or whose id is not `wanted`, are passed over.
fn journals(store: &Store, wanted: impl Fn(&RunId) -> bool, limit: usize) -> Vec<RunStatistics> {
    let runs = store.run_ids().unwrap_or_default().into_iter().filter(wanted);
    let read = runs.filter_map(|run| {
        let reading = reading::read(&store.run_dir(&run)).ok()?;
        RunStatistics::of(&reading.records)
    });
    read.take(limit).collect()
}

/// Upserts a run's statistics.
pub(crate) fn insert(db: &Connection, statistics: &RunStatistics) -> rusqlite::Result<()> {
    let json = serde_json::to_string(statistics)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    db.prepare_cached(
        "INSERT INTO statistics (run, workflow, ended_ms, statistics) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (run) DO UPDATE SET ended_ms = ?3, statistics = ?4",
    )?
    .execute(params![
        statistics.run.as_str(),
        statistics.workflow,
        statistics.ended_at.unix_ms(),
        json,
    ])?;
    Ok(())
}

/// Forgets a run's statistics.
pub(crate) fn remove(db: &Connection, run: &RunId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM statistics WHERE run = ?1")?.execute([run.as_str()])?;
    Ok(())
}

/// The rows that a filter asks for, the last to end first.
pub(crate) fn select(
    db: &Connection,
    filter: &StatisticsFilter,
) -> rusqlite::Result<Vec<RunStatistics>> {
    let limit = filter.limit.map_or(-1, i64::from);
    let since = filter.since.map_or(0, Timestamp::unix_ms);
    let mut statement = db.prepare_cached(
        "SELECT statistics FROM statistics
         WHERE (?1 IS NULL OR workflow = ?1) AND ended_ms >= ?2
         ORDER BY ended_ms DESC, run DESC LIMIT ?3",
    )?;
    let rows = statement
        .query_map(params![filter.workflow, since, limit], |row| row.get(0))?
        .collect::<Result<Vec<String>, _>>()?;
    // What a newer version wrote and this one cannot read is passed over; the journals have it.
    Ok(rows.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
}

/// The statistics of ended runs of one workflow, the last to end first, at most `limit` of them.
/// Makes, mends and writes nothing: a store that is not there has none, and where the database
/// has no statistics yet the newest runs' journals are read.
///
/// # Errors
/// [`IndexError`] if the database cannot be read.
pub fn peek_statistics(
    store: &Store,
    workflow: &str,
    limit: u32,
) -> Result<Vec<RunStatistics>, IndexError> {
    let path = index::path_in(store);
    let of_journals = || {
        let named = |run: &RunId| run.as_str().starts_with(workflow);
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found = journals(store, named, most);
        found.retain(|statistics| statistics.workflow == workflow);
        found
    };
    if !path.exists() {
        return Ok(of_journals());
    }
    let sql = |source| IndexError::Sql { path: path.clone(), source };
    let db = open_to_look(&path).map_err(sql)?;
    if index::version(&db).map_err(sql)? < 2 {
        return Ok(of_journals());
    }
    let workflow = Some(workflow.to_owned());
    let filter = StatisticsFilter { workflow, since: None, limit: Some(limit) };
    select(&db, &filter).map_err(sql)
}

/// All statistics of the database at `path`, which stays as it is; none if it cannot be read.
pub(crate) fn look(path: &Path) -> Option<Vec<RunStatistics>> {
    let db = path.exists().then(|| open_to_look(path))?.ok()?;
    select(&db, &StatisticsFilter::default()).ok()
}

/// A connection that changes no file.
fn open_to_look(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    if PathBuf::from(wal).exists() {
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(index::BUSY_WAIT)?;
        return Ok(db);
    }
    // Without a log the file is all there is, and nobody writes; but SQLite would make a log.
    let uri = format!("file:{}?immutable=1", escaped(path));
    Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
}

/// A path within a URI.
fn escaped(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    let bytes = path.as_os_str().as_bytes().iter();
    bytes
        .map(
            |&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") },
        )
        .collect()
}
