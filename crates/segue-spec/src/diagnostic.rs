//! What is wrong with a workflow, where, and what to do about it.
//!
//! Owns the form of a diagnostic and its two faces: text for people (drawn by miette) and
//! JSON for machines. It knows nothing of YAML or of the keys of a workflow.

use std::fmt;
use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceSpan};
use serde::Serialize;

/// No more diagnostics than this are kept for one file.
pub const DIAGNOSTICS_MAX: usize = 200;

/// Whether a diagnostic stops a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing starts.
    Error,
    /// It runs; somebody should look.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// A stable word for it: `segue::spec::unknown_key`.
    pub code: &'static str,
    /// Whether it stops a run.
    pub severity: Severity,
    /// What is wrong, naming the thing.
    pub message: String,
    /// Where, in bytes of the file.
    pub span: Range<usize>,
    /// What stands there.
    pub label: String,
    /// What to do about it.
    pub help: String,
}

/// Everything that is wrong with one file, in the order of the file.
#[derive(Clone)]
pub struct Diagnostics {
    name: String,
    text: std::sync::Arc<str>,
    source: std::sync::Arc<NamedSource<std::sync::Arc<str>>>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Puts diagnostics in the order of the file.
    pub(crate) fn new(name: &str, text: &str, mut list: Vec<Diagnostic>) -> Self {
        let text: std::sync::Arc<str> = text.into();
        list.sort_by_key(|one| (one.span.start, one.span.end));
        list.dedup();
        for one in &mut list {
            one.span = within(&text, &one.span);
        }
        let source = std::sync::Arc::new(NamedSource::new(name, text.clone()));
        Self { name: name.to_owned(), text, source, list }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether one of them stops a run.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|one| one.severity == Severity::Error)
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// All of them drawn over the lines they are about, `width` columns wide.
    #[must_use]
    pub fn render(&self, color: bool, width: usize) -> String {
        let theme =
            if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(width)
            .with_links(false)
            .without_syntax_highlighting();
        let mut text = String::new();
        for one in &self.list {
            let drawn = Drawn { one, source: self.source.as_ref() };
            if handler.render_report(&mut text, &drawn).is_err() {
                text.push_str(&format!("{}: {}\n", one.code, one.message));
            }
            text.push('\n');
        }
        text
    }

    /// All of them as an array of `{code, severity, message, help, file, line, column,
    /// end_line, end_column}`; lines and columns count from 1, columns in characters.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("strings and numbers always have a JSON form")
    }

    /// How many errors and warnings there are: `2 errors, 1 warning`.
    #[must_use]
    pub fn summary(&self) -> String {
        let errors = self.list.iter().filter(|one| one.severity == Severity::Error).count();
        let count = |n: usize, word: &str| match n {
            0 => None,
            1 => Some(format!("1 {word}")),
            n => Some(format!("{n} {word}s")),
        };
        let parts = [count(errors, "error"), count(self.list.len() - errors, "warning")];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The span, cut to the text and moved to the borders of its characters.
fn within(text: &str, span: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    start..end
}

/// Line and column of a byte, both from 1.
fn place(text: &str, line_starts: &[usize], at: usize) -> (usize, usize) {
    let line = line_starts.partition_point(|start| *start <= at);
    let start = line_starts[line - 1];
    (line, text[start..at].chars().count() + 1)
}

impl Serialize for Diagnostics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            code: &'static str,
            severity: Severity,
            message: &'a str,
            label: &'a str,
            help: &'a str,
            file: &'a str,
            line: usize,
            column: usize,
            end_line: usize,
            end_column: usize,
        }
        let newlines = self.text.match_indices('\n').map(|(at, _)| at + 1);
        let starts: Vec<usize> = std::iter::once(0).chain(newlines).collect();
        serializer.collect_seq(self.list.iter().map(|one| {
            let (line, column) = place(&self.text, &starts, one.span.start);
            let (end_line, end_column) = place(&self.text, &starts, one.span.end);
            Row {
                code: one.code,
                severity: one.severity,
                message: &one.message,
                label: &one.label,
                help: &one.help,
                file: &self.name,
                line,
                column,
                end_line,
                end_column,
            }
        }))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in `{}`", self.summary(), self.name)
    }
}

impl std::error::Error for Diagnostics {}

impl miette::Diagnostic for Diagnostics {
    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(self.source.as_ref())
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        Some(Box::new(self.list.iter().map(|one| one as &dyn miette::Diagnostic)))
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = SourceSpan::from(self.span.clone());
        let label = LabeledSpan::new_primary_with_span(Some(self.label.clone()), span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// A diagnostic together with the file it is about.
struct Drawn<'a> {
    one: &'a Diagnostic,
    source: &'a NamedSource<std::sync::Arc<str>>,
}

impl fmt::Debug for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.one, f)
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.one, f)
    }
}

impl std::error::Error for Drawn<'_> {}

impl miette::Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.one.code()
    }

    fn severity(&self) -> Option<miette::Severity> {
        miette::Diagnostic::severity(self.one)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.one.help()
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.one.labels()
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        Some(self.source)
    }
}

/// Where diagnostics are gathered while a file is read.
#[derive(Default)]
pub(crate) struct Sink {
    /// In the order they were found; at most [`DIAGNOSTICS_MAX`].
    pub(crate) list: Vec<Diagnostic>,
}

impl Sink {
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: &Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            span: span.clone(),
            label: label.into(),
            help: help.into(),
        });
    }

    /// Whether more would be dropped, so that looking for them is not worth it.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= DIAGNOSTICS_MAX
    }

    pub(crate) fn push(&mut self, one: Diagnostic) {
        if !self.is_full() {
            self.list.push(one);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.list.iter().any(|one| one.severity == Severity::Error)
    }
}
