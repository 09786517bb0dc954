//! What an agent answered: its last JSON object, and names for the prompts of others.

use segue_attempt::last_json;
use segue_core::Value;

use crate::library::ProcessResult;

/// The last JSON object that a successful agent wrote; why there is none.
pub(super) fn answer(result: &ProcessResult) -> Result<Value, String> {
    if !result.succeeded() {
        return Err(format!("`{}` failed: {}", result.id, result.message));
    }
    let found = result.value.clone().or_else(|| last_json(&result.stdout));
    found.filter(Value::is_object).ok_or_else(|| format!("`{}` wrote no JSON object", result.id))
}

/// A member of the answer as trimmed text; why it is none.
pub(super) fn text(answer: &Value, name: &str) -> Result<String, String> {
    let text = answer[name].as_str().map(str::trim).filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| format!("its answer has no text `{name}`"))
}

/// Sections of what agents said, each under its name, within fences that end where they began.
pub(super) fn sections<'a>(said: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let section = |(name, text): (&str, &str)| {
        // A fence longer than any in the text: nothing in there can end it.
        let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        format!("## {name}\n{fence}\n{}\n{fence}\n", text.trim_end())
    };
    said.map(section).collect::<Vec<_>>().join("\n")
}
