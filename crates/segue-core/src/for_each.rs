//! What a `for_each` task says, and how its items and their keys come of it.
//!
//! Pure: globs are walked by the driver, which hands in the paths it found. The same functions
//! serve the check of literal lists at load, the scheduler, and the driver where a list lies in
//! a file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::plan::Value;
use crate::template::Compiled;
use crate::{Expression, ItemKey, Stored, Template};

/// The greatest number of items of one task.
pub const ITEMS_MAX: usize = 100_000;

/// The greatest length of an item's key, in bytes.
pub const KEY_BYTES_MAX: usize = 1 << 10;

/// Makes one task into many items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForEach {
    /// Where the items come from.
    pub source: ItemSource,
    /// Items that are left out: equal ones, maps that hold all of these members, and for a glob
    /// the paths that match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<Value>,
    /// What templates call an item besides `item`.
    #[serde(rename = "as", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Gives an item's key; `None`: see [`item_keys`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
    /// How many items may be under way at once, retries waited for included; `None` is as many
    /// as there are slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// How many items, in input order, must end before the next may start; `None` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    /// What a failed item means for the others.
    #[serde(default)]
    pub on_item_failure: OnItemFailure,
}

impl ForEach {
    /// How many items there are, where that is known before the run: from the plan itself, or
    /// from its parameters alone.
    #[must_use]
    pub fn count(&self, params: &BTreeMap<String, Value>) -> Option<usize> {
        let scope = match &self.source {
            ItemSource::Glob(_) => return None,
            ItemSource::List(_) | ItemSource::Matrix(_) => Value::Null,
            ItemSource::Items(source) => {
                let names = crate::check_expression(&source.0).ok()?;
                let given =
                    |name: &String| matches!(name.split('.').next(), Some("params" | "range"));
                names.iter().all(given).then(|| json!({"params": params}))?
            }
        };
        // A list that cannot be made has no items to begin.
        Some(list_items(self, &scope, Vec::new()).map_or(0, |items| items.len()))
    }
}

/// What the driver needs to list a task's items.
#[derive(Clone, Debug, PartialEq)]
pub struct ListSources {
    /// What the source's expression or template sees, as far as it lies in events.
    pub scope: Value,
    /// What lies in files: its JSON pointer in `scope`, and the file, relative to the run's folder.
    pub files: Vec<(String, String)>,
}

/// Where the items of a `for_each` task come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemSource {
    /// An expression that gives a list.
    Items(Expression),
    /// These.
    List(Vec<Value>),
    /// The files that match, relative to the workflow's folder, sorted.
    Glob(Template),
    /// Every combination of one value each; the last axis turns fastest.
    Matrix(Vec<(String, Vec<Value>)>),
}

/// What a failed item means for the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnItemFailure {
    /// They go on.
    #[default]
    Continue,
    /// Those that have not begun are cancelled, those that run end; none is tried again.
    Stop,
}

/// The list that `for_each` gives in `scope`, exclusions applied. `found` are the paths that the
/// driver found, for a glob.
///
/// # Errors
/// In one line that names the thing: no list, no value, or more than [`ITEMS_MAX`] items.
pub fn list_items(
    for_each: &ForEach,
    scope: &Value,
    found: Vec<String>,
) -> Result<Vec<Value>, String> {
    let items = match &for_each.source {
        ItemSource::Items(source) => evaluated(source, scope)?,
        ItemSource::List(items) => items.clone(),
        ItemSource::Glob(_) => found.into_iter().map(Value::from).collect(),
        ItemSource::Matrix(axes) => combinations(axes)?,
    };
    let mut items = items;
    items.retain(|item| !for_each.exclude.iter().any(|excluded| matches(excluded, item)));
    if items.len() > ITEMS_MAX {
        let count = items.len();
        return Err(format!("`for_each` gives {count} items, more than {ITEMS_MAX}"));
    }
    Ok(items)
}

fn evaluated(source: &Expression, scope: &Value) -> Result<Vec<Value>, String> {
    match crate::evaluate(&source.0, scope) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(value) => {
            let kind = kind(&value);
            Err(format!("`for_each.items: {}` gives {kind}, not a list", source.0))
        }
        Err(error) => {
            Err(format!("`for_each.items: {}` could not be evaluated: {error}", source.0))
        }
    }
}

fn combinations(axes: &[(String, Vec<Value>)]) -> Result<Vec<Value>, String> {
    let count = axes.iter().try_fold(1_usize, |count, (_, axis)| count.checked_mul(axis.len()));
    if count.is_none_or(|count| count > ITEMS_MAX) {
        return Err(format!("`for_each.matrix` gives more than {ITEMS_MAX} combinations"));
    }
    let start = vec![serde_json::Map::new()];
    let all = axes.iter().fold(start, |begun, (name, axis)| {
        let with = |one: &serde_json::Map<_, _>, value: &Value| {
            let mut one = one.clone();
            one.insert(name.clone(), value.clone());
            one
        };
        begun.iter().flat_map(|one| axis.iter().map(move |value| with(one, value))).collect()
    });
    Ok(all.into_iter().map(Value::Object).collect())
}

/// Whether an exclusion hits an item: an equal one, or a map that holds its members.
fn matches(excluded: &Value, item: &Value) -> bool {
    match (excluded, item) {
        (Value::Object(wanted), Value::Object(members)) => {
            wanted.iter().all(|(name, value)| members.get(name) == Some(value))
        }
        _ => excluded == item,
    }
}

/// The keys of `items`, whose order they keep. `scope` is the task's, for `key`.
///
/// Without a `key` an item that is text, a number or a truth value is its own key, the
/// combinations of a matrix are their values with commas between, and any other list is
/// numbered from 1.
///
/// # Errors
/// In one line that names the item: no value, no text or number, empty, longer than
/// [`KEY_BYTES_MAX`], with a NUL byte, or as another item's.
pub fn item_keys(
    for_each: &ForEach,
    mut scope: Value,
    items: &[Value],
) -> Result<Vec<ItemKey>, String> {
    let expression = match &for_each.key {
        Some(key) => Some((key, Compiled::new(&key.0).map_err(|error| error.to_string())?)),
        None => None,
    };
    let plain = items.iter().all(|item| text(item).is_some());
    let mut keys = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let key = match &expression {
            Some((source, compiled)) => {
                put_item(&mut scope, for_each, item.clone(), position, items.len());
                given_key(&source.0, compiled, &scope, position)?
            }
            None => default_key(for_each, plain, item, position),
        };
        keys.push(ItemKey::new(&key));
    }
    check_distinct(for_each, &keys)?;
    Ok(keys)
}

fn given_key(
    source: &str,
    compiled: &Compiled,
    scope: &Value,
    position: usize,
) -> Result<String, String> {
    let number = position + 1;
    let value = compiled.eval(scope).map_err(|error| {
        format!("`for_each.key: {source}` could not be evaluated for item {number}: {error}")
    })?;
    text(&value).ok_or_else(|| {
        let kind = kind(&value);
        format!("`for_each.key: {source}` is {kind} for item {number}, not text or a number")
    })
}

fn default_key(for_each: &ForEach, plain: bool, item: &Value, position: usize) -> String {
    if let (ItemSource::Matrix(axes), Value::Object(members)) = (&for_each.source, item) {
        let value =
            |name| members.get(name).map(|value| text(value).unwrap_or_else(|| json(value)));
        return axes.iter().filter_map(|(name, _)| value(name)).collect::<Vec<_>>().join(",");
    }
    let own = if plain { text(item) } else { None };
    own.unwrap_or_else(|| (position + 1).to_string())
}

fn json(value: &Value) -> String {
    value.to_string()
}

fn check_distinct(for_each: &ForEach, keys: &[ItemKey]) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for (position, key) in keys.iter().enumerate() {
        let number = position + 1;
        let text = key.as_str();
        if text.is_empty() {
            return Err(format!("item {number} of `for_each` has an empty key"));
        }
        if text.contains('\0') {
            return Err(format!("the key of item {number} of `for_each` has a NUL byte in it"));
        }
        if text.len() > KEY_BYTES_MAX {
            let (bytes, max) = (text.len(), KEY_BYTES_MAX);
            return Err(format!(
                "the key of item {number} of `for_each` has {bytes} bytes, more than {max}"
            ));
        }
        if let Some(other) = places.insert(key, number) {
            let way_out =
                if for_each.key.is_none() { "; give each its own with `key`" } else { "" };
            return Err(format!(
                "items {other} and {number} of `for_each` have the same key {text:?}{way_out}"
            ));
        }
    }
    Ok(())
}

/// Puts what expressions and templates see of an item into a task's scope: `item`, the name
/// that `as` gives it, and `loop` with `index` (from 1), `index0`, `length`, `first` and `last`.
pub(crate) fn put_item(
    scope: &mut Value,
    for_each: &ForEach,
    item: Value,
    position: usize,
    length: usize,
) {
    if let Some(name) = &for_each.name {
        scope[name.as_str()] = item.clone();
    }
    scope["item"] = item;
    scope["loop"] = json!({
        "index": position + 1,
        "index0": position,
        "length": length,
        "first": position == 0,
        "last": position + 1 == length,
    });
}

/// Whether a value may lie in an event: a larger one is kept in a file by the driver.
#[must_use]
pub fn is_small(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() + 2 <= Stored::INLINE_BYTES_MAX / 2 || fits(value),
        Value::Array(_) | Value::Object(_) => fits(value),
    }
}

fn fits(value: &Value) -> bool {
    value.to_string().len() <= Stored::INLINE_BYTES_MAX
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(source: ItemSource) -> ForEach {
        ForEach {
            source,
            exclude: Vec::new(),
            name: None,
            key: None,
            max_parallel: None,
            batch: None,
            on_item_failure: OnItemFailure::Continue,
        }
    }

    fn keys_of(for_each: &ForEach, scope: &Value) -> String {
        let items = match list_items(for_each, scope, Vec::new()) {
            Ok(items) => items,
            Err(message) => return message,
        };
        match item_keys(for_each, scope.clone(), &items) {
            Ok(keys) => keys.iter().map(ItemKey::as_str).collect::<Vec<_>>().join(" "),
            Err(message) => message,
        }
    }

    #[track_caller]
    fn check(items: &str, key: Option<&str>, expected: &str) {
        let mut for_each = each(ItemSource::Items(Expression(items.into())));
        for_each.key = key.map(|key| Expression(key.into()));
        let scope = json!({"params": {
            "names": ["b", "a"], "same": ["x", "x"], "n": 3, "text": "t",
            "lessons": [{"order": 2, "t": "z"}, {"order": 1, "t": "z"}],
            "mixed": [1, {"a": 1}], "blank": ["a", ""],
        }});
        assert_eq!(keys_of(&for_each, &scope), expected);
    }

    #[test]
    fn an_expression_gives_a_list_and_each_item_its_key() {
        check("params.names", None, "b a");
        check("range(3)", None, "0 1 2");
        check("[]", None, "");
        check("params.lessons", None, "1 2");
        check("params.mixed", None, "1 2");
        check("params.lessons", Some("item.order"), "2 1");
        check("params.lessons", Some("'l' ~ loop.index"), "l1 l2");
    }

    #[test]
    fn what_is_no_list_or_gives_no_key_is_named() {
        check("params.n", None, "`for_each.items: params.n` gives a number, not a list");
        check("params.text", None, "`for_each.items: params.text` gives text, not a list");
        check("params", None, "`for_each.items: params` gives a map, not a list");
        check(
            "params.none",
            None,
            "`for_each.items: params.none` could not be evaluated: `params.none` is undefined",
        );
        check(
            "params.same",
            None,
            r#"items 1 and 2 of `for_each` have the same key "x"; give each its own with `key`"#,
        );
        check(
            "params.lessons",
            Some("item.t"),
            r#"items 1 and 2 of `for_each` have the same key "z""#,
        );
        check(
            "params.lessons",
            Some("item.none"),
            "`for_each.key: item.none` could not be evaluated for item 1: `item.none` is undefined",
        );
        check(
            "params.lessons",
            Some("item"),
            "`for_each.key: item` is a map for item 1, not text or a number",
        );
        check("params.blank", None, "item 2 of `for_each` has an empty key");
        check(
            "range(1, 99999) | list + range(1, 99999) | list",
            None,
            "`for_each` gives 199996 items, more than 100000",
        );
    }

    #[test]
    fn a_matrix_is_every_combination_but_those_left_out() {
        let axes = vec![
            ("os".to_owned(), vec![json!("linux"), json!("mac")]),
            ("node".to_owned(), vec![json!(20), json!(22)]),
        ];
        let mut for_each = each(ItemSource::Matrix(axes));
        let scope = json!({});
        assert_eq!(keys_of(&for_each, &scope), "linux,20 linux,22 mac,20 mac,22");
        for_each.exclude = vec![json!({"os": "mac", "node": 20}), json!({"node": 24})];
        assert_eq!(keys_of(&for_each, &scope), "linux,20 linux,22 mac,22");
        let wide = (0..400).map(Value::from).collect::<Vec<_>>();
        let for_each =
            each(ItemSource::Matrix(vec![("a".into(), wide.clone()), ("b".into(), wide)]));
        assert_eq!(
            keys_of(&for_each, &scope),
            "`for_each.matrix` gives more than 100000 combinations"
        );
    }

    #[test]
    fn a_list_and_what_it_leaves_out() {
        let mut for_each = each(ItemSource::List(vec![json!("a"), json!(2), json!(true)]));
        for_each.exclude = vec![json!(2)];
        assert_eq!(keys_of(&for_each, &json!({})), "a true");
        for_each.source = ItemSource::List(vec![json!("k".repeat(2000))]);
        assert_eq!(
            keys_of(&for_each, &json!({})),
            "the key of item 1 of `for_each` has 2000 bytes, more than 1024"
        );
    }
}
