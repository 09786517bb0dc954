//! The JSON Schema of the workflow file, generated from the table of keys.

use serde_json::{Map, Value, json};

use crate::keys::{Key, Kind, MapKey, Object, Support, WORKFLOW};

/// The JSON Schema (draft 2020-12) of a workflow file.
#[must_use]
pub fn schema() -> Value {
    let mut definitions = Map::new();
    let mut schema = mapping(&WORKFLOW, &mut definitions);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Segue workflow");
    schema["$defs"] = Value::Object(definitions);
    schema
}

/// A mapping by reference; its own schema goes to `definitions` once.
fn object(object: &Object, definitions: &mut Map<String, Value>) -> Value {
    let name = object.what.trim_start_matches("a ").trim_start_matches("an ");
    let name = name.trim_start_matches("the ").replace(' ', "_").replace("'s", "");
    if !definitions.contains_key(&name) {
        // Holds the place, so that a mapping within itself ends here.
        definitions.insert(name.clone(), Value::Null);
        let schema = mapping(object, definitions);
        definitions.insert(name.clone(), schema);
    }
    json!({"$ref": format!("#/$defs/{name}")})
}

fn mapping(object: &Object, definitions: &mut Map<String, Value>) -> Value {
    let properties: Map<String, Value> =
        object.keys().map(|key| (key.name.to_owned(), property(key, definitions))).collect();
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

fn property(key: &Key, definitions: &mut Map<String, Value>) -> Value {
    let mut schema = kind(&key.kind, definitions);
    if let Value::Object(map) = &mut schema {
        let help = match key.support {
            Support::No => format!("{} Not in this build.", key.help),
            Support::Yes | Support::NotWords(_) => key.help.to_owned(),
        };
        map.insert("description".to_owned(), Value::String(help));
    }
    schema
}

fn kind(of: &Kind, definitions: &mut Map<String, Value>) -> Value {
    match of {
        Kind::Late(inner) => match kind(inner, definitions) {
            text if text["type"] == "string" => text,
            other => json!({"anyOf": [other, {"type": "string", "pattern": "\\{\\{"}]}),
        },
        Kind::List(inner) => json!({"type": "array", "items": kind(inner, definitions)}),
        Kind::Several(inner) => {
            json!({"type": "array", "items": kind(inner, definitions), "minItems": 1})
        }
        Kind::OneOrMany(inner) => {
            let one = kind(inner, definitions);
            json!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
        }
        Kind::Map(inner, keys) => {
            let values = kind(inner, definitions);
            let mut schema = json!({"type": "object", "additionalProperties": values});
            let names = if *keys == MapKey::Env { Kind::EnvName } else { Kind::Name };
            schema["propertyNames"] = scalar(&names);
            schema
        }
        Kind::Object(inner) => object(inner, definitions),
        Kind::Nullable(inner) => json!({"anyOf": [kind(inner, definitions), {"type": "null"}]}),
        Kind::OneOf(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|one| kind(one, definitions)).collect();
            json!({"anyOf": kinds})
        }
        Kind::Any => json!({}),
        _ => scalar(of),
    }
}

/// The schema of a kind that holds no other.
fn scalar(of: &Kind) -> Value {
    match of {
        Kind::Name => json!({"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_-]*$"}),
        Kind::EnvName => json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Integer(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Number => json!({"type": "number"}),
        Kind::Cores => json!({"type": "number", "minimum": 0.01, "maximum": 4096}),
        Kind::Duration | Kind::Size | Kind::Money => json!({"type": "string"}),
        Kind::Count => json!({"type": ["string", "integer"]}),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Path(_) | Kind::File(_) | Kind::Glob(_) => json!({"type": "string", "minLength": 1}),
        Kind::Regex => json!({"type": "string", "format": "regex"}),
        Kind::Pointer => json!({"type": "string", "pattern": "^(/|$)"}),
        Kind::Schema => json!({"type": ["object", "boolean"]}),
        // Text in all its meanings; YAML writes some of it as numbers or booleans.
        _ => json!({"type": ["string", "number", "boolean"]}),
    }
}
