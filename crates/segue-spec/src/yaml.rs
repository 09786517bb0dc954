//! YAML text to a tree of [`Node`]s, within bounds.
//!
//! Owns the syntax: one document, no merge keys, no duplicate keys, no tags but the core
//! ones, a bounded depth, size and expansion of aliases. It does not know what a workflow
//! is. The library is granit-parser, for its events with byte spans; the reasons are in
//! `docs/design/2026-11-25-yaml.md`. The tree is built with a stack of our own, so no depth
//! of nesting can exhaust the thread's.

use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Options, Parser, ScalarStyle, StructureStyle, Tag};

use crate::diagnostic::Sink;
use crate::node::{Data, Key, Node, Span, resolve};

/// The longest file that is read: a plan of several hundred thousand tasks.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// The longest single value of a file.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// How much all aliases of a file together may add to it.
pub const EXPANSION_BYTES_MAX: usize = 1 << 20;
/// How deep values may be nested.
pub const DEPTH_MAX: usize = 64;
/// What a node counts for besides its text, so that many empty ones are no way round.
const NODE_BYTES: usize = 8;

/// Reads one document; `None` if it could not be read to its end.
pub(crate) fn parse(text: &str, sink: &mut Sink) -> Option<Node> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the file is larger than {} MiB", TEXT_BYTES_MAX >> 20);
        let help = "split it into several workflows";
        sink.error("segue::spec::too_large", &(0..0), message, "starts here", help);
        return None;
    }
    if let Some(at) = text.find('\0') {
        let help = "a workflow is UTF-8 text without NUL bytes";
        let message = "the file holds a NUL byte";
        sink.error("segue::spec::syntax", &(at..at + 1), message, "here", help);
        return None;
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder::new(text, sink);
    loop {
        match parser.next_event() {
            None => break,
            Some(Ok((event, span))) => {
                let span = span.byte_range().unwrap_or(0..0);
                if !builder.take(event, span) {
                    return None;
                }
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(text.len());
                builder.syntax_error(at, error.kind(), &error.info());
                return None;
            }
        }
    }
    builder.root
}

struct Builder<'t, 's> {
    text: &'t str,
    sink: &'s mut Sink,
    root: Option<Node>,
    documents: usize,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    /// What anchors keep and aliases add.
    kept: usize,
    expanded: usize,
    /// An unquoted `{{` was reported; what the parser makes of it is not worth a word.
    unquoted: bool,
}

/// A list or mapping that is being read.
struct Frame {
    start: usize,
    anchor: usize,
    cost: usize,
    bad: bool,
    body: Body,
}

enum Body {
    Seq(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, places: HashMap<String, usize>, key: Option<PendingKey> },
}

/// What a tag says of a value.
#[derive(PartialEq, Eq)]
enum Tagging {
    None,
    /// It is text, whatever it looks like.
    Text,
    /// Not a tag of the core schema.
    Refused,
}

/// A key whose value is not there yet.
struct PendingKey {
    key: Key,
    /// Not a key that can be kept; its value is read and dropped.
    dropped: bool,
}

impl<'t, 's> Builder<'t, 's> {
    fn new(text: &'t str, sink: &'s mut Sink) -> Self {
        Self {
            text,
            sink,
            root: None,
            documents: 0,
            stack: Vec::new(),
            anchors: HashMap::new(),
            kept: 0,
            expanded: 0,
            unquoted: false,
        }
    }

    /// Takes one event; false if nothing more can be read.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        match event {
            Event::DocumentStart(..) => self.start_document(&span),
            Event::Scalar(text, style, anchor, tag) => {
                let data = match self.check_tag(tag.as_deref(), &span) {
                    Tagging::Refused => Data::Bad,
                    Tagging::None if style == ScalarStyle::Plain => resolve(&text),
                    Tagging::None | Tagging::Text => Data::Text,
                };
                self.scalar(text.into_owned(), data, anchor, span)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let bad = self.check_tag(tag.as_deref(), &span) == Tagging::Refused;
                self.open(Body::Seq(Vec::new()), anchor, &span, bad)
            }
            Event::MappingStart(style, anchor, tag) => {
                let bad = self.check_tag(tag.as_deref(), &span) == Tagging::Refused
                    || style == StructureStyle::Flow && self.is_unquoted_template(&span);
                let body = Body::Map { entries: Vec::new(), places: HashMap::new(), key: None };
                self.open(body, anchor, &span, bad)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&span),
            Event::Alias(id) => self.alias(id, span),
            _ => true,
        }
    }

    fn start_document(&mut self, span: &Span) -> bool {
        self.documents += 1;
        if self.documents == 1 {
            return true;
        }
        self.sink.error(
            "segue::spec::many_documents",
            span,
            "the file holds more than one document",
            "a second one starts here",
            "put each workflow into a file of its own and remove this `---`",
        );
        false
    }

    /// Refuses tags that are not of the core schema.
    fn check_tag(&mut self, tag: Option<&Tag>, span: &Span) -> Tagging {
        let Some(tag) = tag else { return Tagging::None };
        match tag.core_suffix() {
            Some("str") => return Tagging::Text,
            Some(_) => return Tagging::None,
            None => {}
        }
        let message = format!("the tag `{}` means nothing here", tag.original());
        let help = "remove it; write a value that starts with `!` in quotes";
        self.sink.error("segue::spec::tag", span, message, "on this value", help);
        Tagging::Refused
    }

    fn scalar(&mut self, text: String, data: Data, anchor: usize, span: Span) -> bool {
        if text.len() > VALUE_BYTES_MAX {
            let message = format!("a value is larger than {} MiB", VALUE_BYTES_MAX >> 20);
            let help = "move it to a file and let the task read it from there";
            let start = span.start..span.start + 1;
            self.sink.error("segue::spec::too_large", &start, message, "this value", help);
            return false;
        }
        let cost = text.len() + NODE_BYTES;
        self.deliver(Node { data, text, span }, anchor, cost)
    }

    fn open(&mut self, body: Body, anchor: usize, span: &Span, bad: bool) -> bool {
        if self.stack.len() >= DEPTH_MAX {
            self.too_deep(span);
            return false;
        }
        self.stack.push(Frame { start: span.start, anchor, cost: NODE_BYTES, bad, body });
        true
    }

    fn too_deep(&mut self, span: &Span) {
        let message = format!("values are nested more than {DEPTH_MAX} deep");
        let help = "a workflow needs about ten levels; look for a bracket that is never closed";
        self.sink.error("segue::spec::too_deep", span, message, "here", help);
    }

    fn close(&mut self, span: &Span) -> bool {
        let Some(frame) = self.stack.pop() else { return true };
        let end = frame.start + self.text.get(frame.start..span.end).unwrap_or("").trim_end().len();
        let data = match frame.body {
            _ if frame.bad => Data::Bad,
            Body::Seq(items) => Data::Seq(items),
            Body::Map { entries, .. } => Data::Map(entries),
        };
        let node = Node { data, text: String::new(), span: frame.start..end };
        self.deliver(node, frame.anchor, frame.cost)
    }

    fn alias(&mut self, id: usize, span: Span) -> bool {
        let Some((node, cost)) = self.anchors.get(&id) else {
            self.sink.error(
                "segue::spec::alias",
                &span,
                "an alias stands inside what it names",
                "this would never end",
                "name a value that is complete before this line",
            );
            return self.deliver(Node { data: Data::Bad, text: String::new(), span }, 0, 0);
        };
        let cost = *cost;
        self.expanded += cost;
        if self.expanded > EXPANSION_BYTES_MAX {
            let message = format!("aliases add more than {} MiB", EXPANSION_BYTES_MAX >> 20);
            let help = "use fewer aliases, or alias smaller values";
            self.sink.error("segue::spec::expansion", &span, message, "by this one", help);
            return false;
        }
        let node = node.clone();
        self.deliver(node, 0, cost)
    }

    /// Puts a complete value where it belongs.
    fn deliver(&mut self, node: Node, anchor: usize, cost: usize) -> bool {
        if anchor != 0 {
            self.kept += cost;
            if self.kept > 2 * EXPANSION_BYTES_MAX {
                let message = "anchored values are too large together";
                let help = "anchor only what an alias uses";
                self.sink.error("segue::spec::expansion", &node.span, message, "here", help);
                return false;
            }
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return true;
        };
        frame.cost += cost;
        let bad = frame.bad;
        match &mut frame.body {
            Body::Seq(items) => items.push(node),
            Body::Map { entries, key, .. } if key.is_some() => {
                let pending = key.take().expect("just seen");
                if !pending.dropped {
                    entries.push((pending.key, node));
                }
            }
            Body::Map { .. } if bad => self.pend(node, true),
            Body::Map { .. } => self.key(node),
        }
        true
    }

    /// Takes a mapping's key and says what is wrong with it.
    fn key(&mut self, node: Node) {
        let quoted = self.text.get(node.span.clone()).is_some_and(|t| t.starts_with(['"', '\'']));
        let Some(Frame { body: Body::Map { places, entries, .. }, .. }) = self.stack.last() else {
            return;
        };
        let span = node.span.clone();
        if !node.is_scalar() {
            if !matches!(node.data, Data::Bad) {
                let help = "a key is plain text, as in `key: value`";
                let message = format!("{} cannot be a key", node.kind());
                self.sink.error("segue::spec::bad_key", &span, message, "used as a key", help);
            }
            return self.pend(node, true);
        }
        if node.text == "<<" && !quoted {
            self.sink.error(
                "segue::spec::merge_key",
                &span,
                "merge keys are not part of YAML 1.2",
                "`<<` merges nothing here",
                "alias a whole value (`retry: *retry`), or put shared keys under `defaults`",
            );
            if let Some(frame) = self.stack.last_mut() {
                frame.bad = true;
            }
            return self.pend(node, true);
        }
        if let Some(place) = places.get(&node.text) {
            if self.sink.is_full() {
                return self.pend(node, true);
            }
            let first = &entries[*place].0.span;
            let line = self.text[..first.start].matches('\n').count() + 1;
            let message = format!("the key `{}` is given twice", node.text);
            let help = format!("it was given on line {line} already; remove or rename one of them");
            self.sink.error("segue::spec::duplicate_key", &span, message, "again here", help);
            return self.pend(node, true);
        }
        self.pend(node, false);
    }

    fn pend(&mut self, node: Node, dropped: bool) {
        let Some(Frame { body: Body::Map { entries, places, key, .. }, .. }) =
            self.stack.last_mut()
        else {
            return;
        };
        if !dropped {
            places.insert(node.text.clone(), entries.len());
        }
        *key = Some(PendingKey { key: Key { text: node.text, span: node.span }, dropped });
    }

    /// Reports a value that starts with `{{`, which YAML takes for a mapping in a mapping.
    fn is_unquoted_template(&mut self, span: &Span) -> bool {
        let rest = self.text.get(span.start..).unwrap_or("");
        if !(rest.starts_with("{{") || rest.starts_with("{%")) {
            return false;
        }
        if !self.unquoted || !self.stack.iter().any(|frame| frame.bad) {
            self.unquoted = true;
            let line = rest.lines().next().unwrap_or("").trim_end();
            let line = template_value(line.split(" #").next().unwrap_or(line));
            let help = format!("quote it: \"{}\"", line.replace('"', "'"));
            let span = span.start..span.start + line.len();
            let message = "a template at the start of a value must be quoted";
            let label = "YAML reads this `{` as a mapping";
            self.sink.error("segue::spec::unquoted_template", &span, message, label, help);
        }
        true
    }

    fn syntax_error(&mut self, at: usize, kind: &ErrorKind, info: &str) {
        if self.unquoted {
            return;
        }
        let text = self.text;
        let at = text.floor_char_boundary(at.min(text.len()));
        if matches!(kind, ErrorKind::UnknownAnchor) {
            let help = "define it before this line with `&name`, or quote the value";
            let end = at
                + text[at..]
                    .find(|c: char| c.is_whitespace() || c == ',')
                    .unwrap_or(text.len() - at);
            let message = "an alias names no anchor";
            return self.sink.error("segue::spec::alias", &(at..end), message, "this one", help);
        }
        let word = format!("{kind:?}");
        if word.contains("Nesting") || word.contains("Depth") || word.contains("Recursion") {
            return self.too_deep(&(at..at + 1));
        }
        let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let indent = &text[line_start..];
        let indent = &indent[..indent.len() - indent.trim_start_matches([' ', '\t']).len()];
        let help = if indent.contains('\t') {
            "indent with spaces; YAML allows no tabs there"
        } else if text[at..].starts_with("{{") {
            "quote the value: within `{…}` or `[…]`, YAML reads an unquoted `{{` as a mapping"
        } else if info.contains("mapping values") || info.contains("simple key") {
            "quote a value with `: ` in it or write it below `|`; look at the indentation, too"
        } else if info.contains("EOF") || info.contains("end of") || at >= text.trim_end().len() {
            "a quote or bracket opened above is never closed"
        } else {
            "look for a missing quote, bracket or space on this line or the one before"
        };
        let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        let message = format!("this is not valid YAML: {info}");
        self.sink.error("segue::spec::syntax", &(at..end), message, "here", help);
    }
}

/// The value that `line` begins with: a template and what belongs to it, without what ends the
/// flow collection around it.
fn template_value(line: &str) -> &str {
    let mut end = 0;
    while let Some(open) = line[end..].find("{{")
        && (end == 0 || !line[end..end + open].contains(','))
        && let Some(close) = line[end + open..].find("}}")
    {
        end += open + close + 2;
    }
    let rest = &line[end..];
    let is_flow = end > 0 && rest.contains([']', '}']);
    let tail = if is_flow { rest.find([',', ']', '}']).unwrap_or(0) } else { rest.len() };
    line[..end + tail].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let mut sink = Sink::default();
        let node = parse(text, &mut sink);
        let shown = match sink.list.first() {
            Some(one) => format!("{} {:?}", one.code, &text[one.span.clone()]),
            None => node.map_or_else(|| "nothing".to_owned(), |node| node.to_json().to_string()),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn plain_values_follow_the_core_schema() {
        check(
            "{a: yes, b: true, c: ~, d: 0x1f, e: 1.5, f: 1e3, on: x}",
            r#"{"a":"yes","b":true,"c":null,"d":31,"e":1.5,"f":1000.0,"on":"x"}"#,
        );
        check("a: &x [1, {b: 2}]\nc: *x", r#"{"a":[1,{"b":2}],"c":[1,{"b":2}]}"#);
        check("", "nothing");
    }

    #[test]
    fn what_yaml_allows_and_we_do_not_is_named() {
        check("a: {{ x }}", "segue::spec::unquoted_template \"{{ x }}\"");
        check("a: {{ x }} y", "segue::spec::unquoted_template \"{{ x }} y\"");
        check("- {{ x.y }}", "segue::spec::unquoted_template \"{{ x.y }}\"");
        check("a: [x, {{ y }}, {{ z }}]", "segue::spec::unquoted_template \"{{ y }}\"");
        check("a: {b: {{ x }}/{{ y }}}", "segue::spec::unquoted_template \"{{ x }}/{{ y }}\"");
        check("a: {b: c {{ x }}}", "segue::spec::syntax \"{\"");
        check("a: 1\na: 2", "segue::spec::duplicate_key \"a\"");
        check("a: &x {b: 1}\nc: {<<: *x}", "segue::spec::merge_key \"<<\"");
        check("a: 1\n---\nb: 2", "segue::spec::many_documents \"---\"");
        check("a: *x", "segue::spec::alias \"*x\"");
        check("? [a]\n: b", "segue::spec::bad_key \"[a]\"");
        check("a: !foo b", "segue::spec::tag \"b\"");
        check("a: &x [*x]", "segue::spec::alias \"*x\"");
    }

    #[test]
    fn bombs_and_depths_are_bounded() {
        let mut bomb = "a: &a [xxxxxxxxxx]\n".to_owned();
        for (name, before) in ('b'..='k').zip('a'..) {
            let many = vec![format!("*{before}"); 10].join(", ");
            bomb.push_str(&format!("{name}: &{name} [{many}]\n"));
        }
        let mut sink = Sink::default();
        assert!(parse(&bomb, &mut sink).is_none());
        assert_eq!(sink.list[0].code, "segue::spec::expansion");
        for deep in [
            "[".repeat(100_000),
            "- ".repeat(5_000),
            format!("{}1{}", "{a: ".repeat(70), "}".repeat(70)),
        ] {
            let mut sink = Sink::default();
            assert!(parse(&deep, &mut sink).is_none());
            assert_eq!(sink.list[0].code, "segue::spec::too_deep", "{:?}", sink.list);
        }
    }
}
