//! The JSON Schema of the workflow file, generated from the table of keys.

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, MapKey, Object, Support, WORKFLOW};

/// The JSON Schema (draft 2020-12) of a workflow file.
#[must_use]
pub fn schema() -> Value {
    let mut schema = object(&WORKFLOW);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Segue workflow");
    schema
}

fn object(object: &Object) -> Value {
    let properties: Map<String, Value> =
        object.keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        object.keys().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !object.one_of.is_empty() {
        let one_of = object.one_of.iter().map(|name| json!({"required": [name]}));
        schema["oneOf"] = one_of.collect();
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = kind(&key.kind);
    if let Value::Object(map) = &mut schema {
        let help = match key.support {
            Support::No => format!("{} Not in this build.", key.help),
            Support::Yes | Support::NotWords(_) => key.help.to_owned(),
        };
        map.insert("description".to_owned(), Value::String(help));
    }
    schema
}

fn kind(of: &Kind) -> Value {
    let scalar = || json!({"type": ["string", "number", "boolean"]});
    match of {
        Kind::Text | Kind::Template(_) | Kind::Shell(_) | Kind::Expression(_) => scalar(),
        Kind::Name => json!({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$"}),
        Kind::EnvName => json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number => json!({"type": "number"}),
        Kind::Duration | Kind::Size | Kind::Money => json!({"type": "string"}),
        Kind::Count => json!({"type": ["string", "integer"]}),
        Kind::Late(inner) => match kind(inner) {
            text if text["type"] == "string" => text,
            other => json!({"anyOf": [other, {"type": "string", "pattern": "\\{\\{"}]}),
        },
        Kind::Word(words) => json!({"enum": words}),
        Kind::Path(_) | Kind::File(_) | Kind::Glob(_) => json!({"type": "string", "minLength": 1}),
        Kind::Regex => json!({"type": "string", "format": "regex"}),
        Kind::Pointer => json!({"type": "string", "pattern": "^(/|$)"}),
        Kind::Schema => json!({"type": ["object", "boolean"]}),
        Kind::List(inner) => json!({"type": "array", "items": kind(inner)}),
        Kind::Several(inner) => json!({"type": "array", "items": kind(inner), "minItems": 1}),
        Kind::OneOrMany(inner) => {
            let one = kind(inner);
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
        }
        Kind::Map(inner, keys) => {
            let mut schema = json!({"type": "object", "additionalProperties": kind(inner)});
            if *keys == MapKey::Env {
                schema["propertyNames"] = kind(&Kind::EnvName);
            } else if *keys != MapKey::Any {
                schema["propertyNames"] = kind(&Kind::Name);
            }
            schema
        }
        Kind::Object(inner) => object(inner),
        Kind::Nullable(inner) => json!({"anyOf": [kind(inner), {"type": "null"}]}),
        Kind::OneOf(kinds) => json!({"anyOf": kinds.iter().map(kind).collect::<Vec<_>>()}),
        Kind::Any => json!({}),
    }
}
