//! What a single value must look like, and what is wrong if it does not.

use crate::keys::Kind;
use crate::node::{Data, Node, Span, has_template};
use crate::quantity;
use crate::shape::is_env_name;

/// What a kind is called: `a duration`.
pub(crate) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Text | Kind::Template(_) => "text".to_owned(),
        Kind::Shell(_) => "a shell script".to_owned(),
        Kind::Name => "a name".to_owned(),
        Kind::EnvName => "the name of an environment variable".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer(min, max) => format!("a whole number from {min} to {max}"),
        Kind::Number => "a number".to_owned(),
        Kind::Cores => "a number of cores such as `1.5`".to_owned(),
        Kind::Duration => "a duration such as `30s` or `1h30m`".to_owned(),
        Kind::Size => "a size such as `512MiB`".to_owned(),
        Kind::Money => "an amount such as `5.51 USD`".to_owned(),
        Kind::Count => "a count such as `50000` or `2M`".to_owned(),
        Kind::Late(inner) | Kind::Nullable(inner) => expected(inner),
        Kind::Word(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
        }
        Kind::Expression(_) => "an expression".to_owned(),
        Kind::Path(_) => "a path".to_owned(),
        Kind::File(_) => "the path of a file".to_owned(),
        Kind::Regex => "a regular expression".to_owned(),
        Kind::Glob(_) => "a glob".to_owned(),
        Kind::Pointer => "a JSON pointer".to_owned(),
        Kind::Schema => "a JSON Schema".to_owned(),
        Kind::List(_) | Kind::Several(_) => "a list".to_owned(),
        Kind::OneOrMany(inner) => format!("{}, or a list of them", expected(inner)),
        Kind::Map(..) => "a mapping".to_owned(),
        Kind::Object(object) => {
            let key = object.keys.iter().flat_map(|group| group.iter()).next();
            format!("{} such as `{{{}: …}}`", object.what, key.map_or("", |key| key.name))
        }
        Kind::OneOf(kinds) => kinds.iter().map(expected).collect::<Vec<_>>().join(", or "),
        Kind::Any => "a value".to_owned(),
    }
}

/// Why a value is not of its kind; `None` if it is.
pub(crate) fn problem(kind: &Kind, node: &Node) -> Option<String> {
    let Some(text) = node.scalar() else {
        return Some(format!("this is {}", node.kind()));
    };
    match kind {
        Kind::Late(inner) => (!has_template(text)).then(|| problem(inner, node)).flatten(),
        Kind::Name => segue_core::check_name("name", text).err().map(|e| e.why.to_owned()),
        Kind::EnvName => (!is_env_name(text))
            .then(|| "only letters, digits and `_`, not first a digit".to_owned()),
        Kind::Bool => bool_problem(node, text),
        Kind::Integer(min, max) => match node.int() {
            Some(value) if (*min..=*max).contains(&value) => None,
            Some(_) | None => Some(String::new()),
        },
        Kind::Number => (!matches!(node.data, Data::Int(_))
            && !matches!(node.data, Data::Float(value) if value.is_finite()))
        .then(String::new),
        Kind::Cores => quantity::cores(text).err(),
        Kind::Duration => quantity::duration(text, false).err(),
        Kind::Size => quantity::size(text, false).err(),
        Kind::Money => quantity::money(text, false).err(),
        Kind::Count => quantity::count(text).err(),
        Kind::Word(words) => (!words.contains(&text)).then(String::new),
        Kind::Path(_) | Kind::File(_) => path_problem(text),
        Kind::Regex => regex::Regex::new(text).err().map(|error| last_line(&error.to_string())),
        Kind::Glob(_) if has_template(text) => path_problem(text),
        Kind::Glob(_) => path_problem(text)
            .or_else(|| globset::Glob::new(text).err().map(|error| error.kind().to_string())),
        Kind::Pointer => pointer_problem(text),
        Kind::OneOrMany(inner) | Kind::Nullable(inner) => problem(inner, node),
        Kind::OneOf(kinds) => {
            let problems: Option<Vec<String>> =
                kinds.iter().map(|kind| problem(kind, node)).collect();
            problems.and_then(|mut all| all.pop())
        }
        Kind::Object(_) | Kind::Map(..) | Kind::List(_) | Kind::Several(_) | Kind::Schema => {
            Some(String::new())
        }
        Kind::Text | Kind::Template(_) | Kind::Shell(_) | Kind::Expression(_) | Kind::Any => None,
    }
}

fn bool_problem(node: &Node, text: &str) -> Option<String> {
    if node.bool().is_some() {
        return None;
    }
    Some(match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" | "no" | "off" | "n" => {
            let word = if matches!(&text.to_ascii_lowercase()[..], "yes" | "on" | "y") {
                "true"
            } else {
                "false"
            };
            format!("YAML 1.2 has no other booleans; write `{word}`")
        }
        "true" | "false" => "remove the quotes".to_owned(),
        _ => String::new(),
    })
}

fn path_problem(text: &str) -> Option<String> {
    if text.is_empty() {
        Some("it is empty".to_owned())
    } else if text.len() > 4096 {
        Some("it is longer than 4096 bytes".to_owned())
    } else {
        None
    }
}

fn pointer_problem(text: &str) -> Option<String> {
    if !text.is_empty() && !text.starts_with('/') {
        return Some(format!("it must start with `/`: write `/{}`", text.replace('.', "/")));
    }
    let wrong = text.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1']));
    wrong.then(|| "`~` stands only in `~0` (for `~`) and `~1` (for `/`)".to_owned())
}

fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// What is wrong with a JSON Schema, and where; only its shape is looked at.
pub(crate) fn schema_problem(node: &Node) -> Option<(Span, String)> {
    const TYPES: [&str; 7] = ["null", "boolean", "object", "array", "number", "integer", "string"];
    if node.bool().is_some() {
        return None;
    }
    if !matches!(node.data, Data::Map(_)) {
        return Some((node.span.clone(), format!("it is {}, not a mapping", node.kind())));
    }
    node.entries().iter().find_map(|(key, value)| {
        let wrong =
            |what: &str| Some((value.span.clone(), format!("`{}` must be {what}", key.text)));
        match key.text.as_str() {
            "type" => {
                let names = value.scalars();
                let known = !names.is_empty() && names.iter().all(|name| TYPES.contains(name));
                if known {
                    None
                } else {
                    wrong("one of null, boolean, object, array, number, integer, string")
                }
            }
            "properties" | "patternProperties" | "$defs" | "definitions" => match value.data {
                Data::Map(_) => value.entries().iter().find_map(|(_, one)| schema_problem(one)),
                _ => wrong("a mapping of schemas"),
            },
            "items" | "additionalProperties" | "not" | "contains" | "if" | "then" | "else" => {
                schema_problem(value)
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => match value.data {
                Data::Seq(_) => value.items().iter().find_map(schema_problem),
                _ => wrong("a list of schemas"),
            },
            "required" | "enum" if !matches!(value.data, Data::Seq(_)) => wrong("a list"),
            "minimum" | "maximum" | "minLength" | "maxLength" | "minItems" | "maxItems"
                if problem(&Kind::Number, value).is_some() =>
            {
                wrong("a number")
            }
            "pattern" if problem(&Kind::Regex, value).is_some() => wrong("a regular expression"),
            _ => None,
        }
    })
}
