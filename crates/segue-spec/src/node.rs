//! A YAML document as a tree whose every key and value knows its place in the file.

use std::ops::Range;

use serde_json::Value;

/// Bytes of the file.
pub(crate) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) data: Data,
    /// The text of a scalar as written, quotes and escapes resolved; empty otherwise.
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What a value is, by the core schema of YAML 1.2.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
    Seq(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// Already reported; nothing more is said about it.
    Bad,
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Node {
    pub(crate) const fn is_scalar(&self) -> bool {
        matches!(self.data, Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Text)
    }

    pub(crate) fn entries(&self) -> &[(Key, Self)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.data {
            Data::Seq(items) => items,
            _ => &[],
        }
    }

    /// The value of a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|(one, _)| one.text == key).map(|(_, value)| value)
    }

    /// The text of a scalar that is not null.
    pub(crate) fn scalar(&self) -> Option<&str> {
        self.is_scalar().then_some(self.text.as_str())
    }

    /// The texts of a list of scalars, or of a scalar alone.
    pub(crate) fn scalars(&self) -> Vec<&str> {
        match &self.data {
            Data::Seq(items) => items.iter().filter_map(Self::scalar).collect(),
            _ => self.scalar().into_iter().collect(),
        }
    }

    pub(crate) const fn bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) const fn int(&self) -> Option<i64> {
        match self.data {
            Data::Int(value) => Some(value),
            _ => None,
        }
    }

    /// What a person would call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Int(_) => "an integer",
            Data::Float(_) => "a number",
            Data::Text => "text",
            Data::Seq(_) => "a list",
            Data::Map(_) => "a mapping",
            Data::Bad => "something unreadable",
        }
    }

    /// As JSON. A number that JSON cannot hold is its text.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Null | Data::Bad => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => Value::from(*value),
            Data::Float(value) => serde_json::Number::from_f64(*value)
                .map_or_else(|| Value::String(self.text.clone()), Value::Number),
            Data::Text => Value::String(self.text.clone()),
            Data::Seq(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect()
            }
        }
    }
}

/// Whether minijinja has anything to do with this text.
pub(crate) fn has_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Reads a plain scalar by the core schema of YAML 1.2: only `true` and `false` are booleans.
pub(crate) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['-', '+']);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Data::Text;
    }
    if let Some(value) = digits.strip_prefix("0x").and_then(|d| i64::from_str_radix(d, 16).ok()) {
        return Data::Int(value);
    }
    if let Some(value) = digits.strip_prefix("0o").and_then(|d| i64::from_str_radix(d, 8).ok()) {
        return Data::Int(value);
    }
    if let Ok(value) = text.parse::<i64>() {
        return Data::Int(value);
    }
    match digits {
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => Data::Float(f64::NAN),
        _ if digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b)) => {
            text.parse::<f64>().map_or(Data::Text, Data::Float)
        }
        _ => Data::Text,
    }
}
