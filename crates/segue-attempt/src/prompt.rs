//! Putting a prompt together: what earlier tasks printed, then the words themselves.
//!
//! It reads only files of the run that have ended, so that it comes out the same whenever it is
//! done, by this engine or by the next one. It knows no agent: where a prompt goes is the plan's
//! word.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use segue_core::{AttemptId, Plan, Prompt, PromptContext, Stdin, Task, TaskStatus, Value};
use segue_supervisor as sup;

use crate::prepare::{PrepareError, RunContext, attempt_dir};

/// Names what the task's prompt needs of its scope.
pub(crate) fn names_needed(task: &Task) -> BTreeSet<String> {
    match &task.stdin {
        Stdin::Prompt { prompt } if prompt.context.is_some() => {
            BTreeSet::from(["tasks".to_owned()])
        }
        _ => BTreeSet::new(),
    }
}

/// Gives the task's prompt to a start that has none yet.
///
/// # Errors
/// If what an earlier task printed cannot be read.
pub(crate) fn tell(
    task: &Task,
    plan: &Plan,
    scope: &Value,
    context: &RunContext,
    start: &mut sup::Start,
) -> Result<(), PrepareError> {
    let Stdin::Prompt { prompt } = &task.stdin else { return Ok(()) };
    let text = whole(prompt, plan, scope, context)?;
    match &prompt.argument {
        Some(argument) if text.len() <= Prompt::ARGUMENT_BYTES_MAX => {
            if text.is_empty() {
                return Ok(());
            }
            let words = argument.flags.iter().map(OsString::from).chain([text.into()]);
            let at = argument.at.min(start.argv.len());
            start.argv.splice(at..at, words);
        }
        _ if text.is_empty() => {}
        _ => start.stdin = sup::Stdin::Bytes(text.into_bytes()),
    }
    Ok(())
}

fn whole(
    prompt: &Prompt,
    plan: &Plan,
    scope: &Value,
    context: &RunContext,
) -> Result<String, PrepareError> {
    let mut text = match &prompt.context {
        Some(wanted) => printed_before(wanted, plan, scope, context)?,
        None => String::new(),
    };
    if let (Some(wanted), false) = (&prompt.context, text.is_empty()) {
        text.insert_str(0, &wanted.header);
        text.push_str(&wanted.footer);
    }
    text.push_str(&prompt.text);
    // An argument cannot hold them, and nobody means them.
    text.retain(|c| c != '\0');
    Ok(text)
}

/// The outputs that make up a context, the oldest cut off where they are too many.
fn printed_before(
    wanted: &PromptContext,
    plan: &Plan,
    scope: &Value,
    context: &RunContext,
) -> Result<String, PrepareError> {
    let mut left = wanted.bytes_max.min(PromptContext::BYTES_MAX);
    let mut pieces: Vec<String> = Vec::new();
    let mut later_group = None;
    let before = plan.tasks.iter().take(wanted.until).enumerate();
    for (place, task) in before.rev() {
        let entry = &scope["tasks"][task.id.as_str()];
        let number = entry["attempts"].as_u64().and_then(|number| u32::try_from(number).ok());
        let Some(number) = number.filter(|number| *number > 0) else { continue };
        if wanted.successful_only && entry["status"] != TaskStatus::Succeeded.word() {
            continue;
        }
        let group = place / wanted.group.max(1);
        if later_group == Some(group) && !wanted.joint.is_empty() {
            pieces.push(wanted.joint.clone());
            left = left.saturating_sub(wanted.joint.len() as u64);
        }
        later_group = Some(group);
        let attempt = AttemptId { task: task.id.clone(), item: None, number };
        let log = attempt_dir(context, &attempt).join("stdout.log");
        let (piece, is_cut) = last_text(&log, left).map_err(|error| {
            PrepareError(format!("what task `{}` printed cannot be read: {error}", task.id))
        })?;
        left = left.saturating_sub(piece.len() as u64);
        pieces.push(piece);
        if is_cut || left == 0 {
            break;
        }
    }
    pieces.reverse();
    Ok(pieces.concat())
}

/// The last `bytes_max` bytes of a log as text, and whether there was more. A log that was never
/// made is empty.
fn last_text(path: &Path, bytes_max: u64) -> io::Result<(String, bool)> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((String::new(), false)),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let start = length.saturating_sub(bytes_max);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    // Cut within a character: that one goes whole.
    let rest = bytes.iter().take_while(|byte| start > 0 && **byte & 0xC0 == 0x80).count().min(3);
    Ok((String::from_utf8_lossy(&bytes[rest..]).into_owned(), start > 0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use segue_core::{PromptArgument, RunLimits, TaskId};
    use serde_json::json;

    use super::*;

    /// The outcome and stdout of each earlier task.
    struct Case {
        folder: tempfile::TempDir,
        plan: Plan,
        scope: Value,
    }

    impl Case {
        fn new(earlier: &[(&str, &[u8])]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut tasks = Vec::new();
            let mut scope = json!({"tasks": {}});
            for (place, (status, stdout)) in earlier.iter().enumerate() {
                let id = format!("t{place}");
                let dir = folder.path().join("attempts").join(format!("{id}.2"));
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join("stdout.log"), stdout).unwrap();
                let attempts = if *status == "blocked" { 0 } else { 2 };
                scope["tasks"][&id] = json!({"status": status, "attempts": attempts});
                tasks.push(Task::new(TaskId::parse(&id).unwrap(), &["true"]));
            }
            let plan = Plan {
                version: segue_core::PLAN_VERSION,
                workflow: "w".to_owned(),
                digest: String::new(),
                params: BTreeMap::new(),
                secrets: Vec::new(),
                limits: RunLimits::default(),
                fail_fast: false,
                tasks,
                outputs: Vec::new(),
                display: None,
                mode: None,
            };
            Self { folder, plan, scope }
        }

        #[track_caller]
        fn check(&self, group: usize, successful_only: bool, bytes_max: u64, expected: &str) {
            let context = PromptContext {
                header: "<".to_owned(),
                footer: ">".to_owned(),
                until: self.plan.tasks.len(),
                group,
                joint: "+".to_owned(),
                successful_only,
                bytes_max,
            };
            let text = "do\0 it".to_owned();
            let prompt = Prompt { text, argument: None, context: Some(context) };
            let run_dir = self.folder.path().to_owned();
            let context = RunContext {
                run: segue_core::RunId::parse("w-1").unwrap(),
                base_dir: run_dir.clone(),
                allowed: Vec::new(),
                environment: BTreeMap::new(),
                secrets: BTreeMap::new(),
                run_dir,
                get: crate::no_network,
            };
            let told = whole(&prompt, &self.plan, &self.scope, &context).unwrap();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn outputs_stand_in_the_plans_order_and_only_if_there_are_any() {
        let case = Case::new(&[
            ("succeeded", b"a\n"),
            ("failed", b"b\xff"),
            ("succeeded", "é".as_bytes()),
            ("blocked", b"never"),
            ("succeeded", b"e"),
        ]);
        case.check(1, false, 100, "<a\nb\u{fffd}ée>do it");
        case.check(2, false, 100, "<a\n+b\u{fffd}ée>do it");
        case.check(3, true, 100, "<a\n+ée>do it");
        case.check(1, false, 3, "<ée>do it");
        case.check(1, false, 2, "<e>do it");
        case.check(1, false, 0, "do it");
        Case::new(&[("succeeded", b"")]).check(1, false, 100, "do it");
        Case::new(&[]).check(1, false, 100, "do it");
    }

    #[test]
    fn a_prompt_is_an_argument_while_it_fits() {
        let check = |bytes: usize, argv: usize, by_stdin: bool| {
            let case = Case::new(&[]);
            let argument = Some(PromptArgument { at: 1, flags: vec!["-p".to_owned()] });
            let prompt = Prompt { text: "x".repeat(bytes), argument, context: None };
            let mut task = Task::new(TaskId::parse("t").unwrap(), &["claude", "--model", "m"]);
            task.stdin = Stdin::Prompt { prompt: Box::new(prompt) };
            let context = RunContext {
                run: segue_core::RunId::parse("w-1").unwrap(),
                run_dir: case.folder.path().to_owned(),
                base_dir: case.folder.path().to_owned(),
                allowed: Vec::new(),
                environment: BTreeMap::new(),
                secrets: BTreeMap::new(),
                get: crate::no_network,
            };
            let mut start = sup::Start {
                run_dir: context.run_dir.clone(),
                number: 1,
                label: String::new(),
                attempt_dir: context.run_dir.clone(),
                argv: ["claude", "--model", "m"].map(OsString::from).to_vec(),
                cwd: context.run_dir.clone(),
                env: Vec::new(),
                stdin: sup::Stdin::Null,
                secrets: Vec::new(),
                limits: sup::Limits::default(),
                token: String::new(),
                leave: Vec::new(),
            };
            tell(&task, &case.plan, &case.scope, &context, &mut start).unwrap();
            assert_eq!(start.argv.len(), argv);
            assert_eq!(matches!(start.stdin, sup::Stdin::Bytes(_)), by_stdin);
            if argv == 5 {
                assert_eq!(start.argv[1], "-p");
                assert_eq!(start.argv[3], "--model");
            }
        };
        check(Prompt::ARGUMENT_BYTES_MAX, 5, false);
        check(Prompt::ARGUMENT_BYTES_MAX + 1, 3, true);
        check(0, 3, false);
    }
}
