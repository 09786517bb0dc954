//! Templates and expressions: minijinja, strict, with fuel and Segue's filters.
//!
//! One environment serves the check at load, the scheduler's control expressions and the
//! rendering of commands. It holds no loader, so that nothing can be included.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};

use crate::Millis;
use crate::plan::{Template, Value};

/// How many instructions one evaluation may take.
const FUEL: u64 = 2_000_000;

/// How values are written into a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As they are.
    Text,
    /// Quoted for a POSIX shell; lists as words. `| raw` opts out.
    Shell,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Shell => "shell",
        }
    }
}

/// Why a template or expression could not be read or evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExpressionError {
    /// What is wrong, naming the thing.
    pub message: String,
    /// Where, in bytes of the source; `None` if it is not known.
    pub range: Option<Range<usize>>,
}

impl ExpressionError {
    fn new(error: &Error, source: &str) -> Self {
        let range = error.range();
        let place = range.clone().and_then(|range| source.get(range)).map(str::trim);
        let message = match (error.kind(), error.detail(), place) {
            (ErrorKind::SyntaxError, Some(detail), _) => detail.to_owned(),
            (ErrorKind::OutOfFuel, ..) => "it takes too many steps".to_owned(),
            (ErrorKind::UndefinedError, _, Some(place)) => format!("`{place}` is undefined"),
            (kind, Some(detail), _) => format!("{kind}: {detail}"),
            (kind, None, Some(place)) => format!("{kind} in `{place}`"),
            (kind, None, None) => kind.to_string(),
        };
        Self { message, range }
    }
}

impl Template {
    /// The template that renders to `text` whatever stands in it.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        if !text.contains('{') {
            return Self(text.to_owned());
        }
        let mut source = text.replace('{', "{{ '{' }}");
        // A template loses one line end at its end.
        if text.ends_with('\n') {
            source.push_str("{{ '' }}");
        }
        Self(source)
    }
}

/// Reads a template and names the variables it needs, as dotted paths (`tasks.a.outputs.x`).
///
/// # Errors
/// On a syntax error or an unknown filter.
pub fn check_template(source: &str, mode: Mode) -> Result<BTreeSet<String>, ExpressionError> {
    let template = environment().template_from_named_str(mode.name(), source);
    let template = template.map_err(|error| ExpressionError::new(&error, source))?;
    Ok(template.undeclared_variables(true).into_iter().collect())
}

/// Reads a bare expression and names the variables it needs, as dotted paths.
///
/// # Errors
/// On a syntax error.
pub fn check_expression(source: &str) -> Result<BTreeSet<String>, ExpressionError> {
    let expression = environment().compile_expression_owned(source.to_owned());
    let expression = expression.map_err(|error| ExpressionError::new(&error, source))?;
    Ok(expression.undeclared_variables(true).into_iter().collect())
}

/// Evaluates a bare expression.
///
/// # Errors
/// On a syntax error, an undefined name, a wrong type, or too many steps.
pub fn evaluate(source: &str, scope: &Value) -> Result<Value, ExpressionError> {
    evaluate_in(source, |_| scope)
}

/// As [`evaluate`], in a scope made for the names that the expression needs.
pub(crate) fn evaluate_in<S: Borrow<Value>>(
    source: &str,
    scope: impl FnOnce(&BTreeSet<String>) -> S,
) -> Result<Value, ExpressionError> {
    let compiled = Compiled::new(source)?;
    compiled.eval(scope(&compiled.names()).borrow())
}

/// An expression that is evaluated more than once.
pub(crate) struct Compiled<'a> {
    source: &'a str,
    expression: minijinja::Expression<'static, 'static>,
}

impl<'a> Compiled<'a> {
    pub(crate) fn new(source: &'a str) -> Result<Self, ExpressionError> {
        let expression = environment()
            .compile_expression_owned(source.to_owned())
            .map_err(|error| ExpressionError::new(&error, source))?;
        Ok(Self { source, expression })
    }

    /// The variables it needs, as dotted paths.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.expression.undeclared_variables(true).into_iter().collect()
    }

    pub(crate) fn eval(&self, scope: &Value) -> Result<Value, ExpressionError> {
        let source = self.source;
        let value = self
            .expression
            .eval(minijinja::Value::from(Serde(scope)))
            .map_err(|error| ExpressionError::new(&error, source))?;
        if value.is_undefined() {
            let message = format!("`{source}` is undefined");
            return Err(ExpressionError { message, range: None });
        }
        serde_json::to_value(&value).map_err(|error| ExpressionError {
            message: format!("`{source}` has no value that JSON can hold: {error}"),
            range: None,
        })
    }
}

/// Renders a template.
///
/// # Errors
/// On a syntax error, an undefined name, a wrong type, or too many steps.
pub fn render(source: &str, mode: Mode, scope: &Value) -> Result<String, ExpressionError> {
    if !source.contains('{') {
        return Ok(source.to_owned());
    }
    environment()
        .template_from_named_str(mode.name(), source)
        .and_then(|template| template.render(minijinja::Value::from(Serde(scope))))
        .map_err(|error| ExpressionError::new(&error, source))
}

/// Renders what of a template can be rendered in this scope; expressions that need more stay as
/// they are written. The flag says whether none did. For people, not for shells.
#[must_use]
pub fn render_known(source: &str, mode: Mode, scope: &Value) -> (String, bool) {
    if let Ok(text) = render(source, mode, scope) {
        return (text, true);
    }
    // A block may decide about all that is in it.
    if source.contains("{%") {
        return (source.to_owned(), false);
    }
    let mut text = String::new();
    let mut rest = source;
    while let Some(begin) = rest.find("{{") {
        let end = expression_end(rest, begin + 2);
        let (before, written) = (&rest[..begin], &rest[begin..end]);
        text.push_str(before);
        text.push_str(render(written, mode, scope).as_deref().unwrap_or(written));
        rest = &rest[end..];
    }
    text.push_str(rest);
    (text, false)
}

/// Where the expression that begins before `from` ends: after the first `}}` outside of quotes.
fn expression_end(source: &str, from: usize) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (at, byte) in source.bytes().enumerate().skip(from) {
        match (quote, byte) {
            _ if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if open == byte => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'}') if source[at..].starts_with("}}") => return at + 2,
            _ => {}
        }
    }
    source.len()
}

/// Whether a control expression's value means yes: not `false`, `null`, zero or empty.
#[must_use]
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !value.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
    }
}

/// Quotes `text` as one word of a POSIX shell.
#[must_use]
pub fn shell_quote(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn environment() -> &'static Environment<'static> {
    static ENVIRONMENT: OnceLock<Environment<'static>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_fuel(Some(FUEL));
        env.set_recursion_limit(64);
        env.set_auto_escape_callback(|name| match name {
            "shell" => AutoEscape::Custom("shell".into()),
            _ => AutoEscape::None,
        });
        env.set_formatter(|out, state, value| {
            if value.is_undefined() {
                return Err(Error::from(ErrorKind::UndefinedError));
            }
            let quoted = matches!(state.auto_escape(), AutoEscape::Custom(_)) && !value.is_safe();
            let text = if quoted { shell_words(value)? } else { plain_text(value)? };
            out.write_str(&text).map_err(|_| Error::from(ErrorKind::WriteFailure))
        });
        env.add_filter("raw", |value: String| minijinja::Value::from_safe_string(value));
        env.add_filter("duration", |seconds: f64| match seconds {
            s if s.is_finite() && s >= 0.0 => duration_text(s),
            _ => "-".to_owned(),
        });
        env.add_filter("usd", |dollars: f64| format!("${dollars:.2}"));
        env.add_filter("strftime", strftime);
        env.add_filter("limit", |text: String, chars: usize| limit(&text, chars));
        env.add_filter("fence", |text: String| fence(&text));
        env
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn duration_text(seconds: f64) -> String {
    Millis((seconds * 1000.0) as u64).to_string()
}

/// A value in running text: strings and numbers as they are, all else as JSON, so that a program
/// reads `true` and not `True`.
fn plain_text(value: &minijinja::Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Map
        | ValueKind::Seq
        | ValueKind::Iterable
        | ValueKind::Bool
        | ValueKind::None => serde_json::to_string(value)
            .map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string())),
        _ => Ok(value.to_string()),
    }
}

fn shell_words(value: &minijinja::Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let words = value.try_iter()?.map(|word| Ok(shell_quote(&plain_text(&word)?)));
            Ok(words.collect::<Result<Vec<_>, Error>>()?.join(" "))
        }
        _ => Ok(shell_quote(&plain_text(value)?)),
    }
}

/// Formats an RFC 3339 time in its own offset.
fn strftime(time: &str, format: &str) -> Result<String, Error> {
    let wrong = |error: jiff::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let civil = if time.ends_with('Z') {
        let at: jiff::Timestamp = time.parse().map_err(wrong)?;
        jiff::tz::Offset::UTC.to_datetime(at)
    } else {
        time.parse::<jiff::civil::DateTime>().map_err(wrong)?
    };
    jiff::fmt::strtime::format(format, civil).map_err(wrong)
}

fn limit(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((at, _)) => {
            let omitted = text[at..].chars().count();
            format!("{}\n[{omitted} more characters omitted]", &text[..at])
        }
    }
}

/// Wraps untrusted text in a code fence that it cannot close.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(source: &str, mode: Mode, expected: &str) {
        let scope = json!({
            "params": {"topic": "it's \"odd\"; rm -rf /", "n": 3, "list": ["a b", "c"]},
            "run": {"started_at": "2026-11-25T11:27:46+01:00"},
        });
        let shown = render(source, mode, &scope).unwrap_or_else(|e| format!("error: {e}"));
        assert_eq!(shown, expected);
    }

    #[test]
    fn values_are_quoted_in_shell_text_only() {
        check("say {{ params.topic }}", Mode::Shell, r#"say 'it'\''s "odd"; rm -rf /'"#);
        check("say {{ params.topic }}", Mode::Text, r#"say it's "odd"; rm -rf /"#);
        check("say {{ params.n }} {{ params.list }}", Mode::Shell, "say 3 'a b' c");
        check("{{ params.list }}", Mode::Text, r#"["a b","c"]"#);
        check("{{ true }} {{ none }}", Mode::Text, "true null");
        check("say {{ 'a b' | raw }}", Mode::Shell, "say a b");
    }

    #[test]
    fn filters_speak_segues_formats() {
        check("{{ run.started_at | strftime('%Y%m%d_%H%M%S') }}", Mode::Text, "20261125_112746");
        check("{{ 263 | duration }} {{ 5.5 | usd }}", Mode::Text, "4m 23s $5.50");
        check("{{ 'abcdef' | limit(4) }}", Mode::Text, "abcd\n[2 more characters omitted]");
        check("{{ '```' | fence }}", Mode::Text, "````\n```\n````");
    }

    #[test]
    fn what_is_undefined_is_an_error_and_default_helps() {
        check("{{ params.nope }}", Mode::Text, "error: `params.nope` is undefined");
        check("{{ params.nope | default(1) }}", Mode::Shell, "1");
        assert!(evaluate("params.nope", &json!({"params": {}})).is_err());
        assert_eq!(evaluate("a + 1", &json!({"a": 2})), Ok(json!(3)));
    }

    #[test]
    fn what_is_known_is_filled_in_and_the_rest_left_as_written() {
        let scope = json!({"params": {"a": "x y"}});
        let check = |source: &str, expected: &str, whole: bool| {
            let (text, all) = render_known(source, Mode::Shell, &scope);
            assert_eq!((text.as_str(), all), (expected, whole));
        };
        check("run {{ params.a }}", "run 'x y'", true);
        check(
            "run {{ params.a }} {{ tasks.t.outputs.o }} é",
            "run 'x y' {{ tasks.t.outputs.o }} é",
            false,
        );
        check(
            "{{ b | default('}}') ~ c }}{{ params.a }}",
            "{{ b | default('}}') ~ c }}'x y'",
            false,
        );
        check("{{ '\\'}}' ~ b }} {{ params.a", "{{ '\\'}}' ~ b }} {{ params.a", false);
        check("{% if b %}{{ params.a }}{% endif %}", "{% if b %}{{ params.a }}{% endif %}", false);
    }

    #[test]
    fn a_loop_without_end_runs_out_of_fuel() {
        let source =
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        check(source, Mode::Text, "error: it takes too many steps");
    }

    #[test]
    fn a_literal_renders_to_itself() {
        for text in ["", "a\n", "{{ x }}\n", "{% raw %}{# c #}\r\n", "}}{", "{{ '{' }}\n\n", "{\n"]
        {
            let template = Template::literal(text);
            check(&template.0, Mode::Text, text);
        }
    }

    #[test]
    fn names_are_found_with_their_spans() {
        let names = check_template("{{ tasks.a.outputs.x }} {{ params.y }}", Mode::Text).unwrap();
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["params.y", "tasks.a.outputs.x"]);
        let error = check_template("ab {{ 1 + }}", Mode::Text).unwrap_err();
        assert!(error.range.is_some(), "{error:?}");
    }
}
