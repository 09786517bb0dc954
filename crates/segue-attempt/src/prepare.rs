//! Preparing an attempt: templates rendered, environment and folders settled, secrets in.
//!
//! Secrets exist from here on, in memory only.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use segue_core::{
    Action, AttemptId, ExpressionError, FailureList, GateCheck, Mode, RunId, Seq, Stdin, Task,
    Template, Timestamp, Value, check_template, render,
};
use segue_supervisor as sup;

use crate::check::Get;
use crate::masking::secret_bytes;
use crate::result::whole_text;

/// The shells tried for `run:`, with the arguments before the script.
const SHELLS: [(&str, &[&str]); 2] =
    [("/bin/bash", &["bash", "-eo", "pipefail", "-c"]), ("/bin/sh", &["sh", "-e", "-c"])];

/// The largest `env_file`.
const ENV_FILE_BYTES_MAX: u64 = 1 << 20;

/// What is the same for every attempt of a run.
#[derive(Debug)]
pub struct RunContext {
    /// The run.
    pub run: RunId,
    /// Its folder, absolute.
    pub run_dir: PathBuf,
    /// The workflow's folder, absolute: what relative paths start from.
    pub base_dir: PathBuf,
    /// Where paths of the workflow may lead: its folder or repository, and `allow_paths`.
    pub allowed: Vec<PathBuf>,
    /// Segue's own environment, secrets and `SEGUE_*` of an outer attempt taken out.
    pub environment: BTreeMap<OsString, OsString>,
    /// The values of the workflow's secrets, by name.
    pub secrets: BTreeMap<String, String>,
    /// What asks the network for the checks.
    pub get: Get,
}

/// Why an attempt could not be prepared, in one line that names the thing.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct PrepareError(pub String);

/// One attempt, ready to start, and where its things are.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// What the supervisor is told.
    pub(crate) start: sup::Start,
    /// Its working folder.
    pub(crate) cwd: PathBuf,
    /// Its own folder in the run's.
    pub(crate) attempt_dir: PathBuf,
    /// The shell's argv for `run:` and `verify:` scripts, before the script.
    pub(crate) shell: Vec<String>,
    /// What its templates and gates see, `env` included.
    pub(crate) scope: Arc<Value>,
}

impl Prepared {
    /// Where the program may write its result.
    #[must_use]
    pub(crate) fn result_path(&self) -> PathBuf {
        results_dir(&self.start.run_dir).join(format!("{}.json", folder_name(&self.attempt_dir)))
    }

    /// Where the program may write `name=value` lines.
    #[must_use]
    pub(crate) fn output_path(&self) -> PathBuf {
        results_dir(&self.start.run_dir).join(format!("{}.env", folder_name(&self.attempt_dir)))
    }
}

/// Where attempts write results and outputs. One folder for the whole run, so that an attempt
/// that writes nothing costs none.
pub(crate) fn results_dir(run_dir: &Path) -> PathBuf {
    run_dir.join("results")
}

/// The attempt's own folder in the run's.
pub(crate) fn attempt_dir(context: &RunContext, attempt: &AttemptId) -> PathBuf {
    context.run_dir.join("attempts").join(attempt.folder())
}

fn folder_name(attempt_dir: &Path) -> String {
    attempt_dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The dotted names that a task's templates need, for [`segue_core::task_scope`].
#[must_use]
pub fn names_needed(task: &Task) -> std::collections::BTreeSet<String> {
    texts(task)
        .filter(|text| text.contains('{'))
        .filter_map(|text| check_template(text, Mode::Text).ok())
        .flatten()
        .chain(crate::prompt::names_needed(task))
        .collect()
}

/// All texts of a task that may be templates.
fn texts(task: &Task) -> impl Iterator<Item = &str> {
    let action = match &task.action {
        Action::Run { script, .. } => std::slice::from_ref(script),
        Action::Argv { argv } => argv,
        Action::Approve { .. } => &[],
    };
    let stdin = match &task.stdin {
        Stdin::Text { text } => Some(text),
        Stdin::None | Stdin::Pty | Stdin::Prompt { .. } => None,
    };
    let outputs = task.outputs.iter().filter_map(|(_, source)| match source {
        segue_core::OutputSource::File { path } => Some(path),
        _ => None,
    });
    let result = match &task.result {
        segue_core::ResultSource::File { path } => Some(path),
        _ => None,
    };
    let env = task.env.iter().filter_map(|(_, value)| value.as_ref());
    let templates = action.iter().chain(stdin).chain(env).chain(outputs).chain(result);
    let checks = [task.precheck.as_ref(), task.background.as_ref().and_then(|s| s.ready.as_ref())];
    let templates = templates.chain(checks.into_iter().flatten().map(|c| c.probe.template()));
    let templates = templates.chain(task.cwd.as_ref()).chain(&task.env_files);
    templates.map(|template| template.0.as_str()).chain(task.gates.iter().flat_map(gate_texts))
}

fn gate_texts(gate: &segue_core::Gate) -> Vec<&str> {
    match &gate.check {
        GateCheck::Verify { script, failures: Some(FailureList::Junit(path)), .. } => {
            vec![&script.0, path]
        }
        GateCheck::Verify { script, .. } => vec![&script.0],
        GateCheck::Files { globs, .. } => globs.iter().map(|glob| glob.0.as_str()).collect(),
        GateCheck::Score { .. } | GateCheck::Schema { .. } => Vec::new(),
    }
}

/// Renders a task into what the supervisor starts. `scope` is the task's scope without `env`
/// and `secrets`.
///
/// # Errors
/// If a template cannot be rendered, a path leaves the allowed folders, or an `env_file`
/// cannot be read. Nothing was started.
pub(crate) fn prepare(
    context: &RunContext,
    task: &Task,
    attempt: &AttemptId,
    number: Seq,
    mut scope: Value,
    run_deadline: Timestamp,
) -> Result<Prepared, PrepareError> {
    let attempt_dir = attempt_dir(context, attempt);
    let cwd = match &task.cwd {
        None => context.base_dir.clone(),
        Some(template) => {
            let path = text("cwd", template, Mode::Text, &scope)?;
            confine(context, &context.base_dir, "cwd", &path)?
        }
    };
    let token = format!("{}/{attempt}", context.run);
    let mut env = context.environment.clone();
    for template in &task.env_files {
        let path = text("env_file", template, Mode::Text, &scope)?;
        let path = confine(context, &context.base_dir, "env_file", &path)?;
        // A secret goes to the tasks that list it and to no other, whatever files hold it, too.
        let pairs = read_env_file(&path)?.into_iter();
        let plain = pairs.filter(|(name, _)| !context.secrets.contains_key(name));
        env.extend(plain.map(|(name, value)| (name.into(), value.into())));
    }
    let given = task.secrets.iter().filter_map(|name| context.secrets.get_key_value(name));
    let given: BTreeMap<&String, &String> = given.collect();
    for (name, value) in &given {
        env.insert(name.into(), value.into());
    }
    // Most tasks fill in nothing: the environment as a value is made for those that do.
    let fills_in = texts(task).any(|text| text.contains('{'));
    if fills_in {
        scope["env"] = env_value(&env, &given);
    }
    let mut secret_scope = Value::Null;
    if fills_in {
        secret_scope = scope.clone();
        secret_scope["secrets"] = serde_json::to_value(&given).unwrap_or_default();
    }
    for (name, template) in &task.env {
        match template {
            None => drop(env.remove(&OsString::from(name))),
            Some(template) => {
                let value = text(&format!("env.{name}"), template, Mode::Text, &secret_scope)?;
                scope["env"][name] = Value::String(value.clone());
                env.insert(name.into(), value.into());
            }
        }
    }
    env.extend(own_variables(task, attempt, &token, context));
    let shell = shell_of(task);
    let argv = argv(task, &shell, &scope)?;
    let stdin = match &task.stdin {
        // A prompt is told to the finished start.
        Stdin::None | Stdin::Prompt { .. } => sup::Stdin::Null,
        Stdin::Pty => sup::Stdin::Pty,
        Stdin::Text { text: template } => {
            sup::Stdin::Bytes(text("stdin", template, Mode::Text, &secret_scope)?.into_bytes())
        }
    };
    let start = sup::Start {
        run_dir: context.run_dir.clone(),
        number,
        label: attempt.to_string(),
        attempt_dir: attempt_dir.clone(),
        argv,
        cwd: cwd.clone(),
        env: env.into_iter().collect(),
        stdin,
        // Those of other tasks, too: a file or a service may know them.
        secrets: secret_bytes(context),
        limits: limits(task, run_deadline),
        token,
        leave: Vec::new(),
    };
    Ok(Prepared { start, cwd, attempt_dir, shell, scope: Arc::new(scope) })
}

fn limits(task: &Task, run_deadline: Timestamp) -> sup::Limits {
    let limits = &task.limits;
    sup::Limits {
        timeout_ms: limits.timeout.map(|timeout| timeout.0),
        stall_ms: limits.stall.map(|stall| stall.0),
        kill_grace_ms: limits.kill_grace.0,
        output_bytes_max: Some(limits.output_bytes_max),
        orphan_ms: Some(limits.orphan_for.0),
        run_deadline_unix_ms: u64::try_from(run_deadline.unix_ms()).ok(),
        memory_bytes_max: limits.memory_bytes_max,
        cpu_millis_max: limits.cpu_millis_max,
        ..sup::Limits::default()
    }
}

/// The variables that Segue itself gives to an attempt.
fn own_variables(
    task: &Task,
    attempt: &AttemptId,
    token: &str,
    context: &RunContext,
) -> Vec<(OsString, OsString)> {
    let results = results_dir(&context.run_dir);
    let folder = attempt.folder();
    let item = attempt.item.as_ref().map(|item| ("SEGUE_ITEM", OsString::from(item.as_str())));
    let own: [(&str, OsString); 6] = [
        ("SEGUE_RUN", context.run.as_str().into()),
        ("SEGUE_TASK", task.id.as_str().into()),
        ("SEGUE_ATTEMPT", attempt.number.to_string().into()),
        ("SEGUE_ATTEMPT_TOKEN", token.into()),
        ("SEGUE_RESULT", results.join(format!("{folder}.json")).into()),
        ("SEGUE_OUTPUT", results.join(format!("{folder}.env")).into()),
    ];
    own.into_iter().chain(item).map(|(name, value)| (name.into(), value)).collect()
}

fn argv(task: &Task, shell: &[String], scope: &Value) -> Result<Vec<OsString>, PrepareError> {
    let words: Vec<String> = match &task.action {
        Action::Run { script, .. } => {
            let script = text("run", script, Mode::Shell, scope)?;
            shell.iter().cloned().chain([script]).collect()
        }
        Action::Argv { argv } => {
            let words = argv.iter().map(|word| text("argv", word, Mode::Text, scope));
            words.collect::<Result<_, _>>()?
        }
        Action::Approve { .. } => Vec::new(),
    };
    if words.iter().any(|word| word.contains('\0')) {
        return Err(PrepareError("an argument has a NUL byte in it".to_owned()));
    }
    Ok(words.into_iter().map(OsString::from).collect())
}

fn shell_of(task: &Task) -> Vec<String> {
    if let Action::Run { shell: Some(shell), .. } = &task.action {
        return shell.clone();
    }
    static FOUND: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let found = || SHELLS.iter().position(|(path, _)| Path::new(path).exists()).unwrap_or(1);
    let (_, words) = SHELLS[*FOUND.get_or_init(found)];
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Renders one template and says which key it stood at if that fails.
pub(crate) fn text(
    key: &str,
    template: &Template,
    mode: Mode,
    scope: &Value,
) -> Result<String, PrepareError> {
    render(&template.0, mode, scope)
        .map_err(|error: ExpressionError| PrepareError(format!("`{key}`: {error}")))
}

/// The environment as templates see it: UTF-8 only, no secrets.
fn env_value(env: &BTreeMap<OsString, OsString>, secrets: &BTreeMap<&String, &String>) -> Value {
    let shown = env.iter().filter_map(|(name, value)| {
        let (name, value) = (name.to_str()?, value.to_str()?);
        (!secrets.contains_key(&name.to_owned()))
            .then(|| (name.to_owned(), Value::String(value.to_owned())))
    });
    Value::Object(shown.collect())
}

/// A path of the workflow, relative to `folder`, made absolute. It may not leave the allowed
/// folders even through symbolic links.
pub(crate) fn confine(
    context: &RunContext,
    folder: &Path,
    key: &str,
    path: &str,
) -> Result<PathBuf, PrepareError> {
    let joined = normalize(&folder.join(path));
    let real = real_path(&joined);
    if context.allowed.iter().any(|folder| real.starts_with(folder)) {
        return Ok(joined);
    }
    let folder = context.base_dir.display();
    Err(PrepareError(format!(
        "`{key}`: `{path}` leaves `{folder}`; add its folder to `allow_paths` if it is meant"
    )))
}

/// Makes a folder, and what is missing above it, for nobody else's eyes.
pub(crate) fn make_private_dir(path: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Resolves `.` and `..` by the text alone.
pub(crate) fn normalize(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            part => clean.push(part),
        }
    }
    clean
}

/// The path with every symbolic link of its existing part followed.
#[must_use]
pub fn real_path(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    match existing {
        Some((part, real)) => real.join(path.strip_prefix(part).unwrap_or(Path::new(""))),
        None => path.to_owned(),
    }
}

/// Reads `NAME=value` lines: blank lines and `#` comments skipped, `export` and quotes allowed.
pub(crate) fn read_env_file(path: &Path) -> Result<Vec<(String, String)>, PrepareError> {
    let shown = path.display();
    let text = whole_text(path, ENV_FILE_BYTES_MAX)
        .map_err(|error| PrepareError(format!("env_file `{shown}` cannot be read: {error}")))?;
    parse_env(&text).map_err(|line| {
        PrepareError(format!("env_file `{shown}` line {line} is not of the form NAME=value"))
    })
}

/// The pairs of an env file, or the number of the first line that is none.
pub(crate) fn parse_env(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(number + 1)?;
        let name = name.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.as_bytes().iter().copied().all(plain) {
            return Err(number + 1);
        }
        let value = value.trim();
        let unquoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)));
        pairs.push((name.to_owned(), unquoted.unwrap_or(value).to_owned()));
    }
    Ok(pairs)
}

/// Segue's own environment as children may see it: without the workflow's secrets, without
/// what an outer attempt or a Claude Code session left there.
#[must_use]
pub fn inherited_environment(
    vars: impl IntoIterator<Item = (OsString, OsString)>,
    secrets: &[String],
) -> BTreeMap<OsString, OsString> {
    const OURS: [&str; 7] = [
        "SEGUE_RUN",
        "SEGUE_TASK",
        "SEGUE_ITEM",
        "SEGUE_ATTEMPT",
        "SEGUE_ATTEMPT_TOKEN",
        "SEGUE_RESULT",
        "SEGUE_OUTPUT",
    ];
    vars.into_iter()
        .filter(|(name, _)| !name.as_bytes().starts_with(b"CLAUDECODE"))
        .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
        .filter(|(name, _)| !secrets.iter().any(|secret| name == secret.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_as_people_write_them() {
        let text = "# c\n\nA=1\nexport B = \"two words\"\nC='x=y'\n";
        let pairs = parse_env(text).unwrap();
        let expected = [("A", "1"), ("B", "two words"), ("C", "x=y")];
        assert_eq!(pairs, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(parse_env("A=1\nnonsense\n"), Err(2));
    }

    #[test]
    fn children_do_not_see_secrets_or_an_outer_attempt() {
        let vars = ["PATH", "KEY", "CLAUDECODE", "CLAUDECODE_X", "SEGUE_RESULT", "SEGUE_HOME"];
        let vars = vars.map(|name| (OsString::from(name), OsString::from("v")));
        let kept = inherited_environment(vars, &["KEY".to_owned()]);
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["PATH", "SEGUE_HOME"]);
    }
}
