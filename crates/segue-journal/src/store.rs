//! A store: the `.segue` folder, where it is, and the folders of its runs.
//!
//! Owns names and modes: nothing is written outside of the store, a run's folder is made
//! once, and what a user types as a run never reaches a path unchecked.

use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use segue_core::{Plan, RunId};

use crate::disk::{self, IoError};
use crate::journal;
use crate::lock::{self, LockError, RunLock};
use crate::ofd::Range;

/// The name of a store's folder, unless `SEGUE_HOME` names another.
const FOLDER: &str = ".segue";

/// What the name of a run's folder begins with until it is whole.
const DRAFT_PREFIX: &str = ".new-";

/// Why a store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It would be on a network file system, whose locks and syncs cannot be trusted.
    #[error("`{}` is on a network file system ({kind}); a store needs a local one", path.display())]
    Network {
        /// The store's folder.
        path: PathBuf,
        /// Which file system: `NFS`, `CIFS`, … .
        kind: &'static str,
    },
    /// A run with this id exists; try another id.
    #[error("run `{run}` exists")]
    RunExists {
        /// The run.
        run: RunId,
    },
    /// An input's name does not stay in its folder.
    #[error("input name {name:?} leaves the run's folder")]
    InvalidInput {
        /// The name.
        name: String,
    },
    /// A plan cannot be written as JSON.
    #[error("plan of `{run}` cannot be written")]
    Unwritable {
        /// The run.
        run: RunId,
        /// Why.
        source: serde_json::Error,
    },
    /// A file could not be used.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// Why a name names no run.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It can be no run's id.
    #[error(transparent)]
    Invalid(#[from] segue_core::InvalidId),
    /// No run has it.
    #[error("there is no run `{name}`")]
    NotFound {
        /// As the user typed it.
        name: String,
        /// The run with the most similar id.
        nearest: Option<RunId>,
    },
    /// Several runs' ids begin with it.
    #[error("`{name}` names {} runs", matches.len())]
    Ambiguous {
        /// As the user typed it.
        name: String,
        /// These, newest first.
        matches: Vec<RunId>,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// A run's folder, made by [`Store::create_run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    /// The run.
    pub run: RunId,
    /// Its folder.
    pub path: PathBuf,
}

/// The folder that holds all runs of a repository, and what spans them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Where the store is for someone in `start`: `home` (`SEGUE_HOME`) itself, else the
    /// nearest `.segue` at or above, else a new one at the repository's root, else here.
    #[must_use]
    pub fn locate(start: &Path, home: Option<&OsStr>) -> PathBuf {
        if let Some(home) = home.filter(|home| !home.is_empty()) {
            return start.join(home);
        }
        let nearest = |name: &str| start.ancestors().find(|dir| dir.join(name).exists());
        if let Some(dir) = start.ancestors().find(|dir| dir.join(FOLDER).is_dir()) {
            return dir.join(FOLDER);
        }
        nearest(".git").unwrap_or(start).join(FOLDER)
    }

    /// Opens the store at `root`, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Network`] for a new store on a network file system, or
    /// [`StoreError::Io`].
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self::existing(root);
        let runs = store.runs_dir();
        if runs.is_dir() {
            return Ok(store);
        }
        let ground = root.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("."));
        if let Some(kind) = disk::network_file_system_at(ground) {
            return Err(StoreError::Network { path: root.to_owned(), kind });
        }
        let ours = !root.exists() || root.file_name() == Some(OsStr::new(FOLDER));
        disk::create_dir_all(&runs)?;
        if ours && !root.join(".gitignore").exists() {
            disk::write_atomic(&root.join(".gitignore"), b"*\n")?;
        }
        disk::sync_dir(root)?;
        if let Some(above) = root.parent().filter(|above| !above.as_os_str().is_empty()) {
            disk::sync_dir(above)?;
        }
        Ok(store)
    }

    /// The store at `root`, for reading: nothing is made, and a store that is not there has
    /// no runs.
    #[must_use]
    pub fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of `run`, which need not exist.
    #[must_use]
    pub fn run_dir(&self, run: &RunId) -> PathBuf {
        self.runs_dir().join(run.as_str())
    }

    /// Makes a run's folder with its inputs and its plan, durable before this returns.
    /// `inputs` are relative names and contents, kept under `inputs/`.
    ///
    /// # Errors
    /// [`StoreError::RunExists`]: try another id. After any other error there is no folder.
    pub fn create_run(
        &self,
        run: &RunId,
        inputs: &[(String, Vec<u8>)],
        plan: &Plan,
    ) -> Result<RunDir, StoreError> {
        let path = self.run_dir(run);
        // Under a name that no run has, so that an engine killed in here leaves no half a run.
        let draft = self.runs_dir().join(format!("{DRAFT_PREFIX}{run}"));
        if path.exists() || !disk::create_dir(&draft)? {
            return Err(StoreError::RunExists { run: run.clone() });
        }
        let filled = fill_run(&draft, run, inputs, plan);
        let named = filled.and_then(|()| match fs::rename(&draft, &path) {
            // A run's folder is never empty, so that none is replaced.
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                Err(StoreError::RunExists { run: run.clone() })
            }
            result => Ok(result.map_err(IoError::at("create", &path))?),
        });
        if let Err(error) = named {
            // A draft that cannot be removed is in nobody's way.
            let _ = fs::remove_dir_all(&draft);
            return Err(error);
        }
        disk::sync_dir(&self.runs_dir())?;
        Ok(RunDir { run: run.clone(), path })
    }

    /// Gives a run other inputs, each in place of the one of its name, and another plan: what it
    /// goes on with from here. Durable before this returns. `lock` is the run's.
    ///
    /// # Errors
    /// [`StoreError`]; some of the inputs may then have been replaced.
    pub fn replace_inputs(
        &self,
        lock: &RunLock,
        run: &RunId,
        inputs: &[(String, Vec<u8>)],
        plan: &Plan,
    ) -> Result<(), StoreError> {
        let dirs = write_inputs(lock.dir(), inputs, disk::write_durable)?;
        dirs.iter().rev().try_for_each(|dir| disk::sync_dir(dir))?;
        disk::write_durable(&lock.dir().join("plan.json"), &plan_json(run, plan)?)?;
        Ok(disk::sync_dir(lock.dir())?)
    }

    /// Removes the halves of runs that engines killed while making them have left: those that
    /// nobody has touched for `untouched` and nobody holds. How many there were.
    ///
    /// # Errors
    /// [`IoError`]; a store that does not exist has none.
    pub fn remove_drafts(&self, untouched: Duration) -> Result<usize, IoError> {
        let mut count = 0;
        for path in self.drafts()? {
            let meta = fs::symlink_metadata(&path).and_then(|meta| meta.modified());
            let age = meta.ok().and_then(|at| at.elapsed().ok());
            let left = age.is_some_and(|age| age >= untouched);
            if left && !lock::is_held(&path.join("run.lock"), Range::Whole)? {
                fs::remove_dir_all(&path).map_err(IoError::at("remove", &path))?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn drafts(&self) -> Result<Vec<PathBuf>, IoError> {
        let runs = self.runs_dir();
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(IoError::at("read", &runs)(error)),
        };
        let is_draft = |path: &PathBuf| {
            let name = path.file_name().and_then(OsStr::to_str);
            name.is_some_and(|name| name.starts_with(DRAFT_PREFIX))
        };
        Ok(entries.flatten().map(|entry| entry.path()).filter(is_draft).collect())
    }

    /// Takes the lock of `run` for this engine's life, without waiting.
    ///
    /// # Errors
    /// [`LockError::Busy`] if any handle holds it, one of this process included.
    pub fn lock_run(&self, run: &RunId) -> Result<RunLock, LockError> {
        RunLock::take(&self.run_dir(run), run)
    }

    /// Whether an engine holds the lock of `run`.
    ///
    /// # Errors
    /// [`IoError`]; a run that does not exist is not locked.
    pub fn is_locked(&self, run: &RunId) -> Result<bool, IoError> {
        lock::is_held(&self.run_dir(run).join("run.lock"), Range::Whole)
    }

    /// The ids of all runs, newest first. Folders that are no run's are passed over.
    ///
    /// # Errors
    /// [`IoError`]; a store that does not exist has no runs.
    pub fn run_ids(&self) -> Result<Vec<RunId>, IoError> {
        let runs = self.runs_dir();
        let entries = match fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(IoError::at("read", &runs)(error)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let entry = entry.map_err(IoError::at("read", &runs))?;
            if let Some(Ok(run)) = entry.file_name().to_str().map(RunId::parse) {
                ids.push(run);
            }
        }
        ids.sort_by(|a, b| (time_part(b), b).cmp(&(time_part(a), a)));
        Ok(ids)
    }

    /// The run that a user means: `latest`, an id, or the beginning of exactly one.
    ///
    /// # Errors
    /// [`FindError`], which names what was typed and what may have been meant.
    pub fn find(&self, name: &str) -> Result<RunId, FindError> {
        let ids = self.run_ids()?;
        let typed = name.to_owned();
        if name == "latest" {
            let newest = ids.into_iter().next();
            return newest.ok_or(FindError::NotFound { name: typed, nearest: None });
        }
        let wanted = RunId::parse(name)?;
        if ids.contains(&wanted) {
            return Ok(wanted);
        }
        let mut matches: Vec<RunId> =
            ids.iter().filter(|run| run.as_str().starts_with(name)).cloned().collect();
        match matches.len() {
            0 => Err(FindError::NotFound { nearest: nearest(name, ids), name: typed }),
            1 => Ok(matches.remove(0)),
            _ => Err(FindError::Ambiguous { name: typed, matches }),
        }
    }

    pub(crate) fn runs_dir(&self) -> PathBuf {
        self.root.join("runs")
    }
}

/// Fills a run's new folder and makes it durable, its own name apart.
fn fill_run(
    path: &Path,
    run: &RunId,
    inputs: &[(String, Vec<u8>)],
    plan: &Plan,
) -> Result<(), StoreError> {
    let dirs = write_inputs(path, inputs, disk::write_new)?;
    disk::write_new(&path.join("plan.json"), &plan_json(run, plan)?)?;
    // The files of the engine's first steps get their names here, so that one sync of the
    // folder serves them all.
    for name in [journal::FILE_NAME, "run.lock"] {
        let file = path.join(name);
        disk::private().open(&file).map_err(IoError::at("create", &file))?;
    }
    dirs.iter().rev().try_for_each(|dir| disk::sync_dir(dir))?;
    Ok(disk::sync_dir(path)?)
}

/// Writes inputs below a run's folder, and names the folders that are to be synced, outer ones
/// first.
fn write_inputs(
    path: &Path,
    inputs: &[(String, Vec<u8>)],
    write: fn(&Path, &[u8]) -> Result<(), IoError>,
) -> Result<Vec<PathBuf>, StoreError> {
    let inputs_dir = path.join("inputs");
    let mut dirs = vec![inputs_dir.clone()];
    disk::create_dir(&inputs_dir)?;
    for (name, bytes) in inputs {
        let relative = Path::new(name);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || relative.file_name().is_none() {
            return Err(StoreError::InvalidInput { name: name.clone() });
        }
        let file = inputs_dir.join(relative);
        let above: Vec<&Path> =
            file.ancestors().skip(1).take_while(|dir| *dir != inputs_dir).collect();
        for dir in above.into_iter().rev() {
            if disk::create_dir(dir)? {
                dirs.push(dir.to_owned());
            }
        }
        write(&file, bytes)?;
    }
    Ok(dirs)
}

fn plan_json(run: &RunId, plan: &Plan) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(plan).map_err(|source| StoreError::Unwritable { run: run.clone(), source })
}

/// The part of an id that grows with time, whatever the workflow's name.
fn time_part(run: &RunId) -> &str {
    run.as_str().rsplit_once('-').map_or("", |(_, tail)| tail)
}

/// The run whose id is least far from `name`, unless none is near.
fn nearest(name: &str, ids: Vec<RunId>) -> Option<RunId> {
    let far = 2 + name.len() / 4;
    ids.into_iter()
        .map(|run| (distance(name, run.as_str()), run))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, run)| run)
}

/// How many characters must be changed, added or removed to make `typed` the beginning of
/// `id`.
fn distance(typed: &str, id: &str) -> usize {
    let id: Vec<char> = id.chars().take(typed.len() + 8).collect();
    let mut row: Vec<usize> = (0..=id.len()).collect();
    for (typed_at, typed) in typed.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], typed_at + 1);
        for (at, known) in id.iter().enumerate() {
            let changed = diagonal + usize::from(typed != *known);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.into_iter().min().unwrap_or(0)
}
