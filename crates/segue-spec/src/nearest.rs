//! The nearest valid name to one that is not.

/// What other tools call things, and what it is called here.
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("params", &["parameters", "inputs", "vars", "variables", "arguments"]),
    ("tasks", &["jobs", "steps", "nodes", "stages"]),
    ("run", &["script", "command", "cmd", "shell_command", "bash", "exec"]),
    ("needs", &["depends_on", "dependencies", "requires", "after", "upstream"]),
    ("retry", &["retries", "max_retries", "max_attempts"]),
    ("attempts", &["tries", "times", "count", "max", "retries", "max_attempts"]),
    ("cwd", &["working_dir", "working_directory", "workdir", "dir"]),
    ("env", &["environment"]),
    ("if", &["condition", "only_if"]),
    ("optional", &["allow_failure", "continue_on_error", "ignore_errors"]),
    ("finally", &["cleanup", "always"]),
    ("all_done", &["always", "all_completed"]),
    ("all_succeeded", &["on_success", "success", "succeeded"]),
    ("any_failed", &["on_failure", "failure", "failed"]),
    ("limits", &["timeout", "concurrency"]),
];

/// The candidate that is meant by a name of another tool.
fn translated<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase().replace('-', "_");
    let known = ELSEWHERE.iter().filter(|(_, others)| others.contains(&name.as_str()));
    let mut own = known.map(|(own, _)| *own);
    own.find_map(|own| candidates.iter().find(|one| **one == own).copied())
}

/// The candidate that `name` is most likely a slip of, if one is near enough.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NAME_CHARS_MAX: usize = 64;
    if name.chars().count() > NAME_CHARS_MAX {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', '_', ' '], "");
    let wanted = plain(name);
    let letters = wanted.chars().count();
    let allowed = if letters <= 2 { 0 } else { (letters / 3).max(1) };
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 4 * NAME_CHARS_MAX)
        .map(|candidate| {
            let known = plain(candidate);
            let prefixed = wanted.len() >= 3 && (known.starts_with(&wanted));
            let distance = strsim::osa_distance(&wanted, &known);
            (if prefixed { distance.min(allowed) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The candidate that is probably meant: what another tool's word stands for, else the nearest.
pub(crate) fn meant<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    translated(name, candidates).or_else(|| nearest(name, candidates.iter().copied()))
}

/// A help line: the nearest name, or all of them if they are few.
pub(crate) fn suggest<'a>(
    what: &str,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    const SHOWN_MAX: usize = 24;
    let all: Vec<&str> = candidates.into_iter().collect();
    if let Some(near) = meant(name, &all) {
        return format!("did you mean `{near}`?");
    }
    if all.is_empty() {
        return format!("there is no {what} to name here");
    }
    let shown: Vec<String> = all.iter().take(SHOWN_MAX).map(|one| format!("`{one}`")).collect();
    let more = if all.len() > SHOWN_MAX { ", …" } else { "" };
    format!("valid here: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = ["timeout", "needs", "retry", "success_codes", "env"];
        assert_eq!(nearest("tiemout", keys), Some("timeout"));
        assert_eq!(nearest("successCodes", keys), Some("success_codes"));
        assert_eq!(nearest("need", keys), Some("needs"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn words_of_other_tools_are_translated() {
        let keys = ["timeout", "needs", "retry", "run", "env"];
        assert_eq!(meant("depends-on", &keys), Some("needs"));
        assert_eq!(meant("max_retries", &keys), Some("retry"));
        assert_eq!(meant("tiemout", &keys), Some("timeout"));
        assert_eq!(meant("cleanup", &keys), None);
    }
}
