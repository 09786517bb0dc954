//! The value of every parameter of one run, everything wrong reported at once.

use std::collections::BTreeMap;

use segue_core::{Mode, render};
use serde_json::{Value, json};

use super::{ParamSpec, shown};
use crate::LowerContext;
use crate::diagnostic::Sink;
use crate::nearest::nearest;
use crate::node::has_template;
use crate::shape::shorten;

/// The value of every parameter: from the request, else the environment, else the default.
pub(crate) fn resolve(
    specs: &[ParamSpec],
    given: &BTreeMap<String, Value>,
    context: &LowerContext<'_>,
    sink: &mut Sink,
) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    let declared = specs.first().map_or(0..0, |spec| spec.span.clone());
    for name in given.keys() {
        if !specs.iter().any(|spec| spec.name == *name || spec.aliases.contains(name)) {
            let message = format!("the workflow has no parameter `{}`", shorten(name));
            let names = specs.iter().map(|spec| spec.name.as_str());
            let help = match nearest(name, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "see `segue run FILE --help` for its parameters".to_owned(),
            };
            let label = "what it takes is declared here";
            sink.error("segue::spec::unknown_param", &declared, message, label, help);
        }
    }
    for spec in specs {
        let value = value_of(spec, given, context, &values, sink);
        values.insert(spec.name.clone(), value);
    }
    values
}

fn value_of(
    spec: &ParamSpec,
    given: &BTreeMap<String, Value>,
    context: &LowerContext<'_>,
    earlier: &BTreeMap<String, Value>,
    sink: &mut Sink,
) -> Value {
    let flag = spec.flag();
    let names = std::iter::once(&spec.name).chain(&spec.aliases);
    let from_flag = names.filter_map(|name| given.get(name)).find(|value| !value.is_null());
    let variable = spec.env.as_deref();
    let from_env = || variable.and_then(|name| (context.env)(name)).map(Value::String);
    let (value, origin) = if let Some(value) = from_flag {
        (value.clone(), format!("given as `--{flag}`"))
    } else if let Some(value) = from_env() {
        (value, format!("given by ${}", variable.unwrap_or_default()))
    } else if let Some(default) = &spec.default {
        match filled_default(spec, default, context, earlier, sink) {
            Value::Null => return Value::Null,
            value => (value, "its default".to_owned()),
        }
    } else {
        if spec.required {
            missing(spec, &flag, sink);
        }
        return Value::Null;
    };
    spec.check(&value).unwrap_or_else(|why| {
        let message = format!("the parameter `{}` cannot be {}", spec.name, shown(&value));
        let label = format!("{origin}: {why}");
        let help = format!("{why}; give another with `{}`", usage(spec, &flag));
        sink.error("segue::spec::param_value", &spec.span, message, label, help);
        Value::Null
    })
}

fn missing(spec: &ParamSpec, flag: &str, sink: &mut Sink) {
    let message = format!("the parameter `{}` is missing", spec.name);
    let variable = spec.env.as_ref().map(|name| format!(" or set {name}")).unwrap_or_default();
    let place = if spec.positional { ", or the value alone" } else { "" };
    let about = if spec.help.is_empty() { String::new() } else { format!(" ({})", spec.help) };
    let help = format!("add `{}`{place}{variable}{about}", usage(spec, flag));
    let label = "required and not given";
    sink.error("segue::spec::missing_param", &spec.span, message, label, help);
}

/// How a parameter is given; the flag of a boolean takes no word of its own.
fn usage(spec: &ParamSpec, flag: &str) -> String {
    match spec.kind {
        super::ParamType::Boolean => format!("--{flag}=true` or `--{flag}=false"),
        _ => format!("--{flag} VALUE"),
    }
}

fn filled_default(
    spec: &ParamSpec,
    default: &Value,
    context: &LowerContext<'_>,
    earlier: &BTreeMap<String, Value>,
    sink: &mut Sink,
) -> Value {
    let is_late = |value: &Value| value.as_str().is_some_and(has_template);
    let late = match default {
        Value::Array(items) => items.iter().any(is_late),
        other => is_late(other),
    };
    if !late {
        return default.clone();
    }
    let run = json!({"id": context.run_id, "started_at": context.started_at_local});
    let scope = json!({"params": earlier, "run": run});
    let mut fill = |value: &Value| match value.as_str().map(|text| render(text, Mode::Text, &scope))
    {
        None => value.clone(),
        Some(Ok(text)) => Value::String(text),
        Some(Err(error)) => {
            let message = format!("the default of `{}` cannot be filled in: {error}", spec.name);
            let help = format!("correct the template, or give `--{}`", spec.flag());
            let label = "its default is a template";
            sink.error("segue::spec::param_value", &spec.span, message, label, help);
            Value::Null
        }
    };
    match default {
        Value::Array(items) => items.iter().map(fill).collect(),
        other => fill(other),
    }
}
