//! How a status looks, beside its word, and how text gets into XML.
//!
//! A symbol and a word always go with a colour: colour never carries meaning alone.

use std::fmt::{self, Write};

use segue_core::{RunStatus, TaskStatus};

/// The symbol of a task's status; one column wide.
pub(crate) const fn symbol(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Pending => "·",
        TaskStatus::Queued => "○",
        TaskStatus::Running => "▶",
        TaskStatus::Waiting => "…",
        TaskStatus::Succeeded => "✓",
        TaskStatus::Failed => "✗",
        TaskStatus::Skipped => "–",
        TaskStatus::Blocked => "⊘",
        TaskStatus::Cancelled => "■",
    }
}

/// The symbol of a run's status; one column wide.
pub(crate) const fn run_symbol(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "▶",
        RunStatus::Succeeded => "✓",
        RunStatus::Warned => "!",
        RunStatus::Failed => "✗",
        RunStatus::Cancelled | RunStatus::Interrupted => "■",
    }
}

/// The colours of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Colours {
    /// Its ground, for dark text.
    pub(super) fill: &'static str,
    /// Its border, on either ground.
    pub(super) line: &'static str,
    /// Its ground on a dark page, for light text.
    pub(super) dark_fill: &'static str,
}

/// How a node is painted by status.
pub(super) const fn colours(status: TaskStatus) -> Colours {
    let (fill, line, dark_fill) = match status {
        TaskStatus::Pending | TaskStatus::Queued => ("#eceff1", "#78909c", "#242b30"),
        TaskStatus::Running => ("#d6e9ff", "#1976d2", "#13304f"),
        TaskStatus::Waiting => ("#fff3c4", "#b7860b", "#40330d"),
        TaskStatus::Succeeded => ("#d9f2df", "#2e8b57", "#153a26"),
        TaskStatus::Failed => ("#fbdada", "#c62828", "#4a1c1c"),
        TaskStatus::Skipped => ("#f3f3f3", "#9e9e9e", "#22262a"),
        TaskStatus::Blocked => ("#f6dfd0", "#b3541e", "#43281a"),
        TaskStatus::Cancelled => ("#e6e0f0", "#6a4c93", "#332846"),
    };
    Colours { fill, line, dark_fill }
}

/// Text as XML and HTML may hold it, in content and in quoted attributes. Control characters
/// but newline and tab are left out: XML has no way to write them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\n' | '\t' => f.write_char(c)?,
                '\u{fffe}' | '\u{ffff}' => {}
                c if c.is_control() => {}
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_in_xml_is_left() {
        let shown = Escaped("<a href=\"x\" on='y'>&\u{0}\u{1b}[31m\nÄ").to_string();
        assert_eq!(shown, "&lt;a href=&quot;x&quot; on=&#39;y&#39;&gt;&amp;[31m\nÄ");
    }

    #[test]
    fn no_two_final_statuses_look_alike() {
        let symbols: std::collections::BTreeSet<_> =
            TaskStatus::ALL.iter().map(|&status| symbol(status)).collect();
        assert_eq!(symbols.len(), TaskStatus::ALL.len());
    }
}
