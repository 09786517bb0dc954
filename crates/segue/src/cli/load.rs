//! Workflows from disk: the file, the files beside it, and where its paths may lead.

use std::cell::LazyCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use segue_attempt::real_path;
use segue_core::{Plan, RunRequest, Timestamp};
use segue_spec::{Diagnostics, LowerContext, Source, TEXT_BYTES_MAX, Workflow, check};
use serde::{Deserialize, Serialize};

use super::error::{CommandError, CommandResult};

/// The name of the workflow's text among a run's inputs.
const TEXT_NAME: &str = "workflow.segue.yaml";

/// The name of the record of where a run's inputs came from.
const ORIGIN_NAME: &str = "origin.json";

/// The largest file a workflow may be made of besides itself.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Where a run's workflow came from, kept among its inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The workflow's file, absolute.
    pub(crate) path: PathBuf,
    /// Its folder, absolute: what relative paths start from.
    pub(crate) base_dir: PathBuf,
}

/// A checked workflow with its origin.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) workflow: Workflow,
    pub(crate) origin: Origin,
    pub(crate) text: String,
}

impl Loaded {
    /// What is kept of it with a run.
    pub(crate) fn inputs(&self) -> Vec<(String, Vec<u8>)> {
        let origin = serde_json::to_vec_pretty(&self.origin).unwrap_or_default();
        let own = [
            (TEXT_NAME.to_owned(), self.text.clone().into_bytes()),
            (ORIGIN_NAME.to_owned(), origin),
        ];
        let files = self.workflow.files().iter();
        let files = files.map(|(name, text)| (kept_name(name), text.clone().into_bytes()));
        own.into_iter().chain(files).collect()
    }

    /// What is to be told of it before it runs: what looks wrong in it, and what this machine
    /// will not do.
    pub(crate) fn warnings(&self) -> Vec<Diagnostics> {
        let unheld = self.workflow.unheld_cpu_limits();
        let is_held = unheld.is_empty() || segue_attempt::containment().cpu;
        let unheld = (!is_held).then_some(unheld);
        let own = self.workflow.warnings();
        let all = [own.clone()].into_iter().chain(unheld);
        all.filter(|warnings| !warnings.is_empty()).collect()
    }

    /// Lowers it for a run.
    pub(crate) fn plan(
        &self,
        request: &RunRequest,
        run_id: &str,
        started_at: Timestamp,
    ) -> CommandResult<Plan> {
        let context = LowerContext {
            run_id: run_id.to_owned(),
            started_at_local: local_time(started_at),
            env: &|name| std::env::var(name).ok(),
        };
        self.workflow.plan(request, &context).map_err(|found| CommandError::diagnostics(&found))
    }
}

/// Loads and checks the workflow at `path`.
pub(crate) fn load(path: &Path) -> CommandResult<Loaded> {
    let shown = path.display();
    let text = read_bounded(path).map_err(|error| {
        let message = format!("workflow `{shown}` cannot be read: {error}");
        let error = if error.kind() == std::io::ErrorKind::NotFound {
            CommandError::usage(message)
        } else {
            CommandError::usage(format!("{message}; it must be a file that you may read"))
        };
        let near = ["segue.yaml", "yaml", "yml"].map(|end| PathBuf::from(format!("{shown}.{end}")));
        error.hint(match near.iter().find(|near| near.is_file()) {
            Some(near) => format!("there is `{}`", near.display()),
            None => "`segue init` writes an example to start from".to_owned(),
        })
    })?;
    let text = match String::from_utf8(text) {
        Ok(text) => text,
        // Cut within a character; the check says that it is too large.
        Err(error) if error.as_bytes().len() > TEXT_BYTES_MAX => {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
        Err(_) => {
            return Err(CommandError::usage(format!("workflow `{shown}` is not UTF-8 text")));
        }
    };
    let path = path.canonicalize()?;
    let base_dir = path.parent().unwrap_or(Path::new("/")).to_owned();
    let origin = Origin { path, base_dir: base_dir.clone() };
    let source = Source { name: shown.to_string(), text };
    checked(&source, origin, &beside(&source, &base_dir))
}

/// Reads the files that the workflow in `base_dir` names.
fn beside(source: &Source, base_dir: &Path) -> impl Fn(&str) -> Result<String, String> {
    let allowed = LazyCell::new(|| {
        let paths = source.allow_paths();
        paths.iter().map(|path| real_path(&base_dir.join(path))).collect::<Vec<_>>()
    });
    move |name| read_beside(base_dir, name, &allowed)
}

/// A file from its beginning, one byte more than a workflow may have: enough to refuse it.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks a workflow's text that a run has kept. `dir` is the run's folder.
pub(crate) fn load_kept(dir: &Path) -> CommandResult<Loaded> {
    let inputs = dir.join("inputs");
    let read = |name: &str| {
        fs::read_to_string(inputs.join(name)).map_err(|error| {
            let message = format!("the run's `inputs/{name}` cannot be read: {error}");
            CommandError::not_found(message)
        })
    };
    let origin: Origin = serde_json::from_str(&read(ORIGIN_NAME)?)
        .map_err(|error| CommandError::internal(&error))?;
    let source = Source { name: origin.path.display().to_string(), text: read(TEXT_NAME)? };
    let base_dir = origin.base_dir.clone();
    let beside = beside(&source, &base_dir);
    checked(&source, origin, &|name| {
        let kept = kept_name(name);
        // Only what the check reads is kept; an `env_file` is the file of the day.
        match inputs.join(&kept).exists() {
            true => read_beside(&inputs, &kept, &[]),
            false => beside(name),
        }
    })
}

/// Where a file that a workflow names is kept among a run's inputs: below them, wherever it
/// was. Names that stay in their folder stay readable.
fn kept_name(name: &str) -> String {
    let part = |part: &str| match part {
        "" | "." | ".." => format!("%{}", part.replace('.', "2E")),
        part => part.replace('%', "%25"),
    };
    let parts: Vec<String> = name.split('/').map(part).collect();
    format!("files/{}", parts.join("/"))
}

fn checked(
    source: &Source,
    origin: Origin,
    files: &dyn Fn(&str) -> Result<String, String>,
) -> CommandResult<Loaded> {
    let workflow = check(source, files).map_err(|found| CommandError::diagnostics(&found))?;
    Ok(Loaded { workflow, origin, text: source.text.clone() })
}

/// A file that a workflow names: in `folder`, its repository or one of the `allowed` folders,
/// links followed.
fn read_beside(folder: &Path, name: &str, allowed: &[PathBuf]) -> Result<String, String> {
    let path = folder.join(name);
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    let root = folder.canonicalize().map_err(|error| error.to_string())?;
    if !real.starts_with(repository(&root)) && !allowed.iter().any(|dir| real.starts_with(dir)) {
        return Err("it leads out of the workflow's folder".to_owned());
    }
    let found = fs::metadata(&real).map_err(|error| error.to_string())?;
    if !found.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if found.len() > FILE_BYTES_MAX {
        return Err("it is larger than 16 MiB".to_owned());
    }
    fs::read_to_string(&real).map_err(|error| error.to_string())
}

/// The repository that `folder` is in, or the folder itself.
pub(crate) fn repository(folder: &Path) -> &Path {
    folder.ancestors().find(|dir| dir.join(".git").exists()).unwrap_or(folder)
}

/// The time as RFC 3339 with the local offset.
pub(crate) fn local_time(at: Timestamp) -> String {
    let local = at.to_jiff().to_zoned_datetime(jiff::tz::TimeZone::system());
    local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::kept_name;

    #[test]
    fn what_is_kept_stays_below_the_inputs() {
        let cases = [
            ("schemas/a.json", "files/schemas/a.json"),
            ("../x/./a.json", "files/%2E2E/x/%2E/a.json"),
            ("/etc/a", "files/%/etc/a"),
            ("%2E/a", "files/%252E/a"),
        ];
        for (name, kept) in cases {
            assert_eq!(kept_name(name), kept);
        }
    }
}
