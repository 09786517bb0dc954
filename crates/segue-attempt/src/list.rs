//! Listing the items of a `for_each` task where that takes files: globs, values that lie in
//! files, and items that are too large for an event.
//!
//! What makes a list of all this, and what its keys are, is the core's affair.

use std::path::Path;

use globset::GlobBuilder;
use segue_core::{
    ForEach, ItemSource, ListSources, Mode, Stored, TaskId, Template, Value, is_small, list_items,
};
use sha2::{Digest, Sha256};

use crate::gates::{expand, shown};
use crate::prepare::{RunContext, confine, make_private_dir, results_dir, text};

/// How much one value that lies in a file may have.
const VALUE_BYTES_MAX: u64 = 16 << 20;

/// Lists the items of a task, in input order. Blocks for as long as files are walked and read.
///
/// # Errors
/// In one line that names the thing: see [`list_items`], and whatever cannot be read.
pub(crate) fn list(
    context: &RunContext,
    task: &TaskId,
    for_each: &ForEach,
    sources: ListSources,
) -> Result<Vec<Stored>, String> {
    let ListSources { mut scope, files } = sources;
    for (pointer, path) in files {
        let value = read_value(&context.run_dir, &path)?;
        if let Some(place) = scope.pointer_mut(&pointer) {
            *place = value;
        }
    }
    let found = match &for_each.source {
        ItemSource::Glob(glob) => paths(context, glob, &for_each.exclude, &scope)?,
        _ => Vec::new(),
    };
    let values = list_items(for_each, &scope, found)?;
    (1..).zip(values).map(|(number, value)| store(context, task, number, value)).collect()
}

fn read_value(run_dir: &Path, path: &str) -> Result<Value, String> {
    let text = crate::result::whole_text(&run_dir.join(path), VALUE_BYTES_MAX)
        .map_err(|error| format!("`{path}` of the run cannot be read: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("`{path}` of the run is not JSON: {error}"))
}

/// The files that match, sorted, relative to the workflow's folder where they lie in it.
fn paths(
    context: &RunContext,
    glob: &Template,
    exclude: &[Value],
    scope: &Value,
) -> Result<Vec<String>, String> {
    let base = &context.base_dir;
    let glob = text("for_each.glob", glob, Mode::Text, scope).map_err(|error| error.0)?;
    let left_out = exclude.iter().filter_map(Value::as_str).map(matcher);
    let left_out = left_out.collect::<Result<Vec<_>, _>>()?;
    let mut paths = Vec::new();
    for path in expand(base, &glob).map_err(|error| error.0)? {
        confine(context, base, "for_each.glob", &path.to_string_lossy())
            .map_err(|error| error.0)?;
        let name = shown(&path, base);
        if path.to_str().is_none() {
            return Err(format!("`for_each.glob: {glob}` matches `{name}`, which is not UTF-8"));
        }
        if !left_out.iter().any(|matcher| matcher.is_match(&name)) {
            paths.push(name);
        }
    }
    Ok(paths)
}

fn matcher(glob: &str) -> Result<globset::GlobMatcher, String> {
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    built
        .map(|glob| glob.compile_matcher())
        .map_err(|error| format!("`for_each.exclude`: glob `{glob}`: {}", error.kind()))
}

/// Keeps a small value as it is and writes a large one to a file of the run, by its content.
fn store(
    context: &RunContext,
    task: &TaskId,
    number: usize,
    value: Value,
) -> Result<Stored, String> {
    if is_small(&value) {
        return Ok(Stored::Inline(value));
    }
    let json = value.to_string();
    let sha256: String = Sha256::digest(&json).iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = results_dir(&context.run_dir);
    let path = folder.join(format!("item-{sha256}.json"));
    make_private_dir(&folder)
        .and_then(|()| std::fs::write(&path, &json))
        .map_err(|error| format!("item {number} of `{task}` could not be written: {error}"))?;
    let path = shown(&path, &context.run_dir);
    let head = Stored::head_of(&value, &path);
    let bytes = u64::try_from(json.len()).unwrap_or(u64::MAX);
    Ok(Stored::Ref { path, bytes, sha256, head })
}
