//! Jobs: JSON Lines in, one process a line. Every bad line is named before anything starts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::error::{CommandError, CommandResult};
use crate::library::{AgentProcess, Delegate, PROCESSES_MAX, PromptVia};

/// The most bytes of all jobs together.
const JOBS_BYTES_MAX: u64 = 256 << 20;

/// Faults that are told; of more only the number.
const FAULTS_TOLD_MAX: usize = 200;

/// The keys of a job.
const KEYS: [&str; 9] =
    ["id", "argv", "agent", "prompt", "prompt_via", "cwd", "env", "timeout", "stall"];

/// A bad line: its number from 1, and what is wrong with it.
type Fault = (usize, String);

/// Reads all jobs of a file, or of stdin for `-`.
pub(super) fn read(path: &Path) -> CommandResult<Vec<AgentProcess>> {
    let shown = path.display();
    let opened: io::Result<Box<dyn Read>> = if path == Path::new("-") {
        Ok(Box::new(io::stdin()))
    } else {
        File::open(path).map(|file| Box::new(file) as Box<dyn Read>)
    };
    let mut bytes = Vec::new();
    opened
        .and_then(|file| file.take(JOBS_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| CommandError::usage(format!("jobs `{shown}` cannot be read: {error}")))?;
    if bytes.len() as u64 > JOBS_BYTES_MAX {
        let most = JOBS_BYTES_MAX >> 20;
        return Err(CommandError::usage(format!("jobs `{shown}` are larger than {most} MiB")));
    }
    parse(&bytes).map_err(|faults| refuse(&shown.to_string(), &faults))
}

fn refuse(name: &str, faults: &[Fault]) -> CommandError {
    let told = &faults[..faults.len().min(FAULTS_TOLD_MAX)];
    let mut text = String::new();
    for (line, why) in told {
        text.push_str(&format!("{name}:{line}: {why}\n"));
    }
    let document = told.iter().map(|(line, why)| json!({"line": line, "message": why}));
    let count = faults.len();
    let lines = if count == 1 { "line is" } else { "lines are" };
    CommandError {
        rendered: Some(Box::new((text, document.collect()))),
        ..CommandError::usage(format!("{count} {lines} no jobs; nothing was started"))
    }
}

/// All jobs, or all faults. Blank lines are none.
fn parse(bytes: &[u8]) -> Result<Vec<AgentProcess>, Vec<Fault>> {
    let mut jobs = Vec::new();
    let mut faults = Vec::new();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match job(line) {
            Err(why) => faults.push((number, why)),
            Ok((id, _)) if id.as_ref().is_some_and(|id| ids.contains_key(id)) => {
                let id = id.unwrap_or_default();
                faults.push((number, format!("id `{id}` is that of line {}, too", ids[&id])));
            }
            Ok((id, job)) => {
                ids.extend(id.map(|id| (id, number)));
                jobs.push(job);
            }
        }
        if jobs.len() > PROCESSES_MAX {
            faults.push((number, format!("more than {PROCESSES_MAX} jobs")));
            break;
        }
    }
    if faults.is_empty() { Ok(jobs) } else { Err(faults) }
}

/// One line: its id and what it asks for.
fn job(line: &[u8]) -> Result<(Option<String>, AgentProcess), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(job) = value else { return Err("it is no JSON object".to_owned()) };
    if let Some(key) = job.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key `{key}`; a job has {}", KEYS.join(", ")));
    }
    let prompt = string(&job, "prompt")?;
    let mut process = match (job.get("argv"), string(&job, "agent")?) {
        (Some(_), Some(_)) => return Err("it has both `argv` and `agent`".to_owned()),
        (None, None) => return Err("it has neither `argv` nor `agent`".to_owned()),
        (Some(argv), None) => AgentProcess::command(argv_of(argv)?),
        (None, Some(agent)) => agent_of(&agent, prompt.as_deref())?,
    };
    if let Some(prompt) = prompt {
        process = process.prompt(prompt);
    }
    process = match string(&job, "prompt_via")?.as_deref() {
        None => process,
        Some(_) if job.contains_key("agent") => {
            return Err("`prompt_via` is for `argv`; an agent knows its own way".to_owned());
        }
        Some("stdin") => process.prompt_via(PromptVia::Stdin),
        Some("arg") => process.prompt_via(PromptVia::Argument),
        Some(other) => return Err(format!("prompt_via {other:?} is neither `stdin` nor `arg`")),
    };
    let id = string(&job, "id")?;
    if let Some(id) = &id {
        segue_core::check_name("job", id).map_err(|error| error.to_string())?;
        process = process.id(id.clone());
    }
    if let Some(cwd) = string(&job, "cwd")? {
        process = process.working_dir(cwd);
    }
    for (name, value) in variables(&job)? {
        process = match value {
            Some(value) => process.env(name, value),
            None => process.env_remove(name),
        };
    }
    if let Some(timeout) = duration(&job, "timeout")? {
        process = process.timeout(timeout);
    }
    if let Some(stall) = duration(&job, "stall")? {
        process = process.idle(Some(stall));
    }
    Ok((id, process))
}

fn string(job: &Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match job.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{key}` is {other}, not text")),
    }
}

fn argv_of(value: &Value) -> Result<Vec<String>, String> {
    let words = value.as_array().filter(|words| !words.is_empty());
    let words = words.ok_or("`argv` is no list of at least a program")?;
    let word = |word: &Value| word.as_str().map(str::to_owned);
    let argv: Vec<String> = words
        .iter()
        .map(|value| word(value).ok_or_else(|| format!("`argv` has {value} in it, not text")))
        .collect::<Result<_, _>>()?;
    if argv[0].is_empty() {
        return Err("`argv` begins with an empty program".to_owned());
    }
    Ok(argv)
}

fn agent_of(agent: &str, prompt: Option<&str>) -> Result<AgentProcess, String> {
    let prompt = prompt.filter(|prompt| !prompt.is_empty());
    let prompt = prompt.ok_or("an agent needs a `prompt`")?;
    let process = AgentProcess::new(prompt);
    if agent == "delegate" {
        return Ok(process);
    }
    let delegate = Delegate::from_text(agent).ok_or_else(|| {
        let names = Delegate::NAMES.iter().map(|(_, names)| names[0]);
        let names: Vec<&str> = names.chain(["delegate"]).collect();
        format!("agent {agent:?} is none of {}", names.join(", "))
    })?;
    Ok(process.delegate(delegate))
}

fn variables(job: &Map<String, Value>) -> Result<Vec<(String, Option<String>)>, String> {
    let entries = match job.get("env") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(format!("`env` is {other}, not an object")),
    };
    let entries = entries.iter().map(|(name, value)| {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("{name:?} is not the name of a variable"));
        }
        match value {
            Value::Null => Ok((name.clone(), None)),
            Value::String(text) => Ok((name.clone(), Some(text.clone()))),
            other => Err(format!("`env.{name}` is {other}, neither text nor null")),
        }
    });
    entries.collect()
}

fn duration(job: &Map<String, Value>, key: &str) -> Result<Option<Duration>, String> {
    let text = match job.get(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(seconds)) => seconds.to_string(),
        Some(other) => return Err(format!("`{key}` is {other}, not a duration")),
    };
    let millis = segue_spec::duration(&text, true)
        .map_err(|why| format!("`{key}` {text:?} is no duration: {why}"))?;
    Ok(Some(Duration::from_millis(millis.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_line_is_named() {
        let text = concat!(
            "{\"argv\": [\"true\"], \"id\": \"a\"}\n",
            "\n",
            "{\"argv\": [\"true\"], \"id\": \"a\"}\n",
            "nonsense\n",
            "[1]\n",
            "{\"argv\": []}\n",
            "{\"argv\": [1]}\n",
            "{\"id\": \"b\"}\n",
            "{\"agent\": \"claude\"}\n",
            "{\"agent\": \"hal\", \"prompt\": \"open\"}\n",
            "{\"argv\": [\"a\"], \"agent\": \"claude\"}\n",
            "{\"argv\": [\"a\"], \"prompt_via\": \"pigeon\"}\n",
            "{\"argv\": [\"a\"], \"id\": \"../x\"}\n",
            "{\"argv\": [\"a\"], \"timeout\": 0}\n",
            "{\"argv\": [\"a\"], \"timeout\": \"-3s\"}\n",
            "{\"argv\": [\"a\"], \"env\": {\"A\": 1}}\n",
            "{\"argv\": [\"a\"], \"retries\": 1}\n",
        );
        let faults = parse(text.as_bytes()).unwrap_err();
        let shown: Vec<String> =
            faults.iter().map(|(line, why)| format!("{line}: {why}")).collect();
        insta::assert_snapshot!(shown.join("\n"), @r###"
        3: id `a` is that of line 1, too
        4: no JSON: expected ident at line 1 column 2
        5: it is no JSON object
        6: `argv` is no list of at least a program
        7: `argv` has 1 in it, not text
        8: it has neither `argv` nor `agent`
        9: an agent needs a `prompt`
        10: agent "hal" is none of claude, amplihack copilot, amplihack amplifier, delegate
        11: it has both `argv` and `agent`
        12: prompt_via "pigeon" is neither `stdin` nor `arg`
        13: job id "../x" is not valid: only ASCII letters, digits, `_` and `-` may stand in it
        14: `timeout` "0" is no duration: it must be longer than nothing
        15: `timeout` "-3s" is no duration: write it as `30s`, `5m` or `1h30m`
        16: `env.A` is 1, neither text nor null
        17: unknown key `retries`; a job has id, argv, agent, prompt, prompt_via, cwd, env, timeout, stall
        "###);
    }

    #[test]
    fn good_lines_are_processes() {
        let text = concat!(
            "{\"argv\":[\"cat\"],\"prompt\":\"p\",\"prompt_via\":\"arg\",\"cwd\":\"/\",",
            "\"env\":{\"A\":\"1\",\"B\":null},\"timeout\":1.5,\"stall\":\"2m\"}\n",
            "{\"agent\": \"amplihack copilot\", \"prompt\": \"go\", \"id\": \"x\"}",
        );
        let expected = [
            AgentProcess::command(["cat"])
                .prompt("p")
                .prompt_via(PromptVia::Argument)
                .working_dir("/")
                .env("A", "1")
                .env_remove("B")
                .timeout(Duration::from_millis(1500))
                .idle(Some(Duration::from_secs(120))),
            AgentProcess::new("go").delegate(Delegate::Copilot).id("x"),
        ];
        assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        assert_eq!(parse(b"\n\n"), Ok(Vec::new()));
    }
}
