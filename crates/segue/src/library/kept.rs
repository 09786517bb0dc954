//! What a kept run of a strategy is gone on with: it has a plan and no workflow.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segue_attempt::{RunContext, inherited_environment};
use segue_core::{Event, RunId};
use serde::{Deserialize, Serialize};

/// The name of it among a run's inputs.
const NAME: &str = "strategy.json";

/// The version of [`Kept`] that this build writes.
const VERSION: u32 = 1;

/// What is kept of a strategy beside its plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    version: u32,
    /// What relative folders start from.
    pub(crate) base_dir: PathBuf,
    /// The run's first event.
    pub(crate) started: Event,
}

impl Kept {
    pub(super) fn new(base_dir: &Path, started: &Event) -> Self {
        Self { version: VERSION, base_dir: base_dir.to_owned(), started: started.clone() }
    }

    /// As inputs of a run.
    pub(super) fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let json = serde_json::to_vec_pretty(self).unwrap_or_default();
        vec![(NAME.to_owned(), json)]
    }

    /// Of the run in `run_dir`; `None` if it is one of a workflow.
    ///
    /// # Errors
    /// If it cannot be read, or is newer than this build.
    pub(crate) fn read(run_dir: &Path) -> std::io::Result<Option<Self>> {
        let text = match std::fs::read(run_dir.join("inputs").join(NAME)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let kept: Self = serde_json::from_slice(&text)?;
        if kept.version > VERSION {
            let message = format!("{NAME} of version {} is newer than this build", kept.version);
            return Err(std::io::Error::other(message));
        }
        Ok(Some(kept))
    }
}

/// What every attempt of a strategy's run needs. Whoever names a process names its folders
/// himself, so that they may lead anywhere.
pub(crate) fn context(
    run: &RunId,
    run_dir: &Path,
    base_dir: &Path,
) -> std::io::Result<Arc<RunContext>> {
    Ok(Arc::new(RunContext {
        run: run.clone(),
        run_dir: run_dir.canonicalize()?,
        base_dir: base_dir.to_owned(),
        allowed: vec![PathBuf::from("/")],
        environment: inherited_environment(std::env::vars_os(), &[]),
        secrets: std::collections::BTreeMap::new(),
        get: crate::GET,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_what_is_newer_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Kept::read(folder.path()).expect("none"), None);
        let path = folder.path().join("inputs").join(NAME);
        std::fs::create_dir(path.parent().expect("a folder")).expect("room");
        let golden = concat!(
            r#"{"version":1,"base_dir":"/work","started":{"type":"run_started","#,
            r#""run":"parallel-1","workflow":"parallel","digest":"","request":{},"slots":2,"#,
            r#""segue":"0.1.0"}}"#
        );
        std::fs::write(&path, golden).expect("room");
        let kept = Kept::read(folder.path()).expect("readable").expect("kept");
        assert_eq!(kept.base_dir, Path::new("/work"));
        assert!(matches!(kept.started, Event::RunStarted { slots: 2, .. }));
        let (name, again) = kept.inputs().remove(0);
        std::fs::write(folder.path().join("inputs").join(name), again).expect("room");
        assert_eq!(Kept::read(folder.path()).expect("readable"), Some(kept));
        std::fs::write(&path, golden.replace("\"version\":1", "\"version\":2")).expect("room");
        let error = Kept::read(folder.path()).expect_err("newer").to_string();
        assert!(error.contains("newer than this build"), "{error}");
    }
}
