//! Parameters: what a file declares. The values a run gives them are in `values`.
//!
//! Knows the flags of `segue run` only as names that no parameter may take.

mod values;

use serde::Serialize;
use serde_json::Value;

use crate::diagnostic::Sink;
use crate::node::{Data, Node, Span, has_template};
use crate::quantity;
use crate::shape::shorten;

pub(crate) use values::resolve;

/// Flags of `segue run`, which no parameter may take.
const FLAGS: &[&str] = &[
    "mode",
    "budget",
    "tokens",
    "concurrency",
    "timeout",
    "retry",
    "only",
    "skip",
    "force",
    "detach",
    "ephemeral",
    "record",
    "replay",
    "output",
    "tui",
    "json",
    "resume",
    "restore",
    "no-checkpoints",
    "no-metrics",
    "probe",
    "help",
];

/// What a parameter's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ParamType {
    /// Text.
    String,
    /// A number.
    Number,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// A path, as text.
    Path,
    /// A list: JSON, or words with commas between them.
    List,
    /// Dollars, as a number; given as `5.51`, `$5.51` or `5.51 USD`.
    Money,
    /// Seconds, as a number; given as `90`, `90s` or `1m30s`.
    Duration,
}

/// A parameter as the workflow declares it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParamSpec {
    /// Its name in templates.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ParamType,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it may be given without its flag.
    pub positional: bool,
    /// Its value unless given; text may be a template.
    pub default: Option<Value>,
    /// The values it may have; empty means any.
    #[serde(rename = "enum")]
    pub choices: Vec<Value>,
    /// Other names of its flag.
    pub aliases: Vec<String>,
    /// A regular expression that must match somewhere in its text.
    pub pattern: Option<String>,
    /// Its least value; seconds or dollars where it is a duration or money.
    pub min: Option<f64>,
    /// Its greatest value.
    pub max: Option<f64>,
    /// The least number of characters or items.
    pub min_length: Option<usize>,
    /// The greatest number of characters or items.
    pub max_length: Option<usize>,
    /// The environment variable that gives it where no flag does.
    pub env: Option<String>,
    /// What it is for.
    pub help: String,
    #[serde(skip)]
    span: Span,
}

/// The name of a declared secret.
pub type SecretName = String;

impl ParamSpec {
    /// The name of its flag, without dashes: `episode-id`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    fn check(&self, value: &Value) -> Result<Value, String> {
        let value = convert(self.kind, value)?;
        let choices = || self.choices.iter().map(shown).collect::<Vec<_>>().join(", ");
        if !self.choices.is_empty() && !self.choices.contains(&value) {
            return Err(format!("it must be one of {}", choices()));
        }
        if let (Some(pattern), Some(text)) = (&self.pattern, value.as_str())
            && !regex::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
        {
            return Err(format!("it must match `{pattern}`"));
        }
        if let Some(number) = value.as_f64() {
            if let Some(min) = self.min.filter(|min| number < *min) {
                return Err(format!("it must be at least {min}"));
            }
            if let Some(max) = self.max.filter(|max| number > *max) {
                return Err(format!("it must be at most {max}"));
            }
        }
        let (length, unit) = match &value {
            Value::String(text) => (text.chars().count(), "characters"),
            Value::Array(items) => (items.len(), "items"),
            _ => return Ok(value),
        };
        if let Some(min) = self.min_length.filter(|min| length < *min) {
            return Err(format!("it must have at least {min} {unit}"));
        }
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            return Err(format!("it must have at most {max} {unit}"));
        }
        Ok(value)
    }
}

/// A value of the kind, from JSON or from text as a flag or variable gives it.
fn convert(kind: ParamType, value: &Value) -> Result<Value, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        _ => String::new(),
    };
    match (kind, value) {
        (ParamType::List, Value::Array(_)) => Ok(value.clone()),
        (_, Value::Null | Value::Array(_) | Value::Object(_)) => {
            Err(format!("it must be {}", kind.article()))
        }
        (ParamType::String | ParamType::Path, _) => Ok(Value::String(text)),
        (ParamType::Boolean, _) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Bool(false)),
            _ => Err("it must be true or false".to_owned()),
        },
        (ParamType::Integer, _) => match text.trim().replace('_', "").parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err("it must be a whole number".to_owned()),
        },
        (ParamType::Number, _) => {
            number(text.trim()).ok_or_else(|| "it must be a number".to_owned())
        }
        (ParamType::Money, _) => {
            let dollars = quantity::money(&text, true)?.dollars();
            Ok(number(text.trim()).unwrap_or_else(|| dollars.into()))
        }
        (ParamType::Duration, _) => {
            let length = quantity::duration(&text, true)?;
            if length.0.is_multiple_of(1000) {
                Ok((length.0 / 1000).into())
            } else {
                Ok(length.as_secs_f64().into())
            }
        }
        (ParamType::List, _) if text.trim_start().starts_with('[') => {
            match serde_json::from_str::<Value>(&text) {
                Ok(list @ Value::Array(_)) => Ok(list),
                _ => Err("it starts with `[` but is not a JSON list".to_owned()),
            }
        }
        (ParamType::List, _) => {
            let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
            Ok(words.map(|word| Value::String(word.to_owned())).collect())
        }
    }
}

/// A number as written: `8` stays whole, `8.0` does not.
fn number(text: &str) -> Option<Value> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let number: f64 = text.parse().ok()?;
    serde_json::Number::from_f64(number).map(Value::Number)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", shorten(text)),
        other => format!("`{}`", shorten(&other.to_string())),
    }
}

impl ParamType {
    const ALL: [(&'static str, Self); 8] = [
        ("string", Self::String),
        ("number", Self::Number),
        ("integer", Self::Integer),
        ("boolean", Self::Boolean),
        ("path", Self::Path),
        ("list", Self::List),
        ("money", Self::Money),
        ("duration", Self::Duration),
    ];

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind)
    }

    const fn article(self) -> &'static str {
        match self {
            Self::String => "text",
            Self::Number => "a number",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Path => "a path",
            Self::List => "a list",
            Self::Money => "an amount of money",
            Self::Duration => "a duration",
        }
    }
}

/// Reads all declarations of a file whose shape has been checked.
pub(crate) fn read(root: &Node, sink: &mut Sink) -> Vec<ParamSpec> {
    let mut specs: Vec<ParamSpec> = Vec::new();
    let entries = root.get("params").map(Node::entries).unwrap_or_default();
    for (key, node) in entries {
        let text = |name: &str| node.get(name).and_then(Node::scalar).map(str::to_owned);
        let flag = |name: &str| node.get(name).and_then(Node::bool).unwrap_or(false);
        let length = |name: &str| {
            node.get(name).and_then(Node::int).and_then(|value| usize::try_from(value).ok())
        };
        let kind = text("type").and_then(|word| ParamType::from_word(&word));
        let mut spec = ParamSpec {
            name: key.text.clone(),
            kind: kind.unwrap_or(ParamType::String),
            required: flag("required"),
            positional: flag("positional"),
            default: node.get("default").map(Node::to_json),
            choices: Vec::new(),
            aliases: node
                .get("aliases")
                .map(Node::scalars)
                .unwrap_or_default()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            pattern: text("pattern"),
            min: None,
            max: None,
            min_length: length("min_length"),
            max_length: length("max_length"),
            env: text("env"),
            help: text("help").unwrap_or_default(),
            span: key.span.clone(),
        };
        check_flags(&spec, node, &specs, sink);
        read_bounds(&mut spec, node, sink);
        check_default(&spec, node, sink);
        check_positional(&spec, node, &specs, sink);
        specs.push(spec);
    }
    specs
}

fn check_flags(spec: &ParamSpec, node: &Node, before: &[ParamSpec], sink: &mut Sink) {
    let aliases = node.get("aliases");
    let aliases = match aliases.map(|aliases| (&aliases.data, aliases)) {
        Some((Data::Seq(items), _)) => items.iter().collect(),
        Some((_, one)) => vec![one],
        None => Vec::new(),
    };
    let names = std::iter::once((spec.name.as_str(), &spec.span))
        .chain(aliases.iter().map(|alias| (alias.text.as_str(), &alias.span)));
    for (name, span) in names {
        let flag = name.replace('_', "-");
        if FLAGS.contains(&flag.as_str()) {
            let message = format!("`--{flag}` is a flag of `segue run` itself");
            let help = format!(
                "call the parameter something else, for example `{}_{name}`",
                match name {
                    "budget" | "tokens" => "max",
                    _ => "my",
                }
            );
            let label = "already taken";
            sink.error("segue::spec::reserved_param", span, message, label, help);
        }
        let taken = before.iter().find(|other| {
            std::iter::once(&other.name)
                .chain(&other.aliases)
                .any(|one| one.replace('_', "-") == flag)
        });
        if let Some(other) = taken {
            let message = format!("`--{flag}` already belongs to the parameter `{}`", other.name);
            let help = "give one of the two another name";
            sink.error("segue::spec::duplicate_id", span, message, "again here", help);
        }
    }
}

fn read_bounds(spec: &mut ParamSpec, node: &Node, sink: &mut Sink) {
    for name in ["min", "max"] {
        let Some(bound) = node.get(name) else { continue };
        let kind = match spec.kind {
            kind @ (ParamType::Money | ParamType::Duration | ParamType::Integer) => kind,
            _ => ParamType::Number,
        };
        match convert(kind, &bound.to_json()).ok().and_then(|value| value.as_f64()) {
            Some(value) if name == "min" => spec.min = Some(value),
            Some(value) => spec.max = Some(value),
            None => {
                let message = format!("`{name}` cannot be `{}`", shorten(&bound.text));
                let help = format!("it must be {}", kind.article());
                let label = "not a bound";
                sink.error("segue::spec::wrong_value", &bound.span, message, label, help);
            }
        }
    }
    let bounds = [
        ("min", "max", spec.min.zip(spec.max).is_some_and(|(min, max)| min > max)),
        (
            "min_length",
            "max_length",
            spec.min_length.zip(spec.max_length).is_some_and(|(min, max)| min > max),
        ),
    ];
    for (min, max, _) in bounds.into_iter().filter(|(.., wrong)| *wrong) {
        let span = node.get(min).map_or_else(|| spec.span.clone(), |node| node.span.clone());
        let message = format!("`{min}` is greater than `{max}`: no value can fit");
        let help = format!("lower `{min}`, or raise `{max}`");
        sink.error("segue::spec::impossible", &span, message, "too great", help);
    }
    for choice in node.get("enum").map(Node::items).unwrap_or_default() {
        match convert(spec.kind, &choice.to_json()) {
            Ok(value) => spec.choices.push(value),
            Err(why) => {
                let message = format!("`{}` cannot be a choice of `{}`", choice.text, spec.name);
                let label = "wrong type";
                sink.error("segue::spec::wrong_value", &choice.span, message, label, why);
            }
        }
    }
}

fn check_default(spec: &ParamSpec, node: &Node, sink: &mut Sink) {
    let Some(default) = node.get("default") else { return };
    if spec.required {
        let message = format!("`{}` is required, so its default is never used", spec.name);
        let help = "remove `required: true` or the default";
        let label = "never used";
        sink.error("segue::spec::impossible", &default.span, message, label, help);
    }
    let fixed = match &default.data {
        Data::Null | Data::Bad => false,
        Data::Seq(items) => !items.iter().any(|item| has_template(&item.text)),
        _ => !has_template(&default.text),
    };
    if fixed && let Err(why) = spec.check(&default.to_json()) {
        let message = format!("the default of `{}` is not a valid value", spec.name);
        sink.error("segue::spec::wrong_value", &default.span, message, "not valid", why);
    }
}

fn check_positional(spec: &ParamSpec, node: &Node, before: &[ParamSpec], sink: &mut Sink) {
    if !spec.positional {
        return;
    }
    let earlier = || before.iter().filter(|other| other.positional);
    let entries = node.entries().iter().find(|(key, _)| key.text == "positional");
    let span = entries.map_or_else(|| spec.span.clone(), |(key, _)| key.span.clone());
    let optional = earlier().find(|other| spec.required && !other.required);
    if let Some(other) = optional {
        let message =
            format!("`{}` is required but stands after `{}`, which is not", spec.name, other.name);
        let help = "declare required positional parameters first";
        sink.error("segue::spec::impossible", &span, message, "too late", help);
    } else if let Some(list) = earlier().find(|other| other.kind == ParamType::List) {
        let message = format!("`{}` takes all words that are left", list.name);
        let help = "declare a positional list last";
        sink.error("segue::spec::impossible", &span, message, "gets nothing", help);
    }
}
