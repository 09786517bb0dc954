//! The names of things: runs, tasks, items, attempts.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The greatest length of a name of a workflow, task or run, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Why a text cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} id {text:?} is not valid: {why}")]
pub struct InvalidId {
    /// `run` or `task`.
    pub what: &'static str,
    /// The offending text, cut at 60 characters.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Says whether `text` is a plain name: ASCII letters, digits, `_`, `-`, not first a `-`.
///
/// # Errors
/// [`InvalidId`] with the first reason that applies.
pub fn check_name(what: &'static str, text: &str) -> Result<(), InvalidId> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > NAME_BYTES_MAX {
        "it is longer than 128 bytes"
    } else if text.starts_with('-') {
        "it starts with `-`"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        "only ASCII letters, digits, `_` and `-` may stand in it"
    } else {
        return Ok(());
    };
    Err(InvalidId { what, text: text.chars().take(60).collect(), why })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// One execution of a plan: `WORKFLOW-` and 20 characters of time and chance, so that ids
    /// sort by time within a workflow and never collide.
    RunId
}

text_id! {
    /// A node of the plan. Nested workflows make `parent/child`.
    TaskId
}

text_id! {
    /// The key of one item of a `for_each` task; any text.
    ItemKey
}

impl RunId {
    /// Takes a run's id as a user typed it or a folder is named.
    ///
    /// # Errors
    /// [`InvalidId`] unless it is a plain name ([`check_name`]), so that it can never leave
    /// the runs' folder.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        check_name("run", text)?;
        Ok(Self(text.into()))
    }

    /// A fresh id from the workflow's name, the time and 40 random bits.
    #[must_use]
    pub fn new(workflow: &str, at: crate::Timestamp, random: u64) -> Self {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let time = u64::try_from(at.unix_ms()).unwrap_or(0);
        let mut tail = String::with_capacity(18);
        let digits = |tail: &mut String, value: u64, count: u32| {
            for place in (0..count).rev() {
                tail.push(char::from(
                    DIGITS[usize::try_from(value >> (place * 5) & 31).unwrap_or(0)],
                ));
            }
        };
        digits(&mut tail, time, 10);
        digits(&mut tail, random, 8);
        let stem: String = workflow.chars().take(60).collect();
        Self(format!("{stem}-{tail}").into())
    }
}

impl TaskId {
    /// What the id of a mode's probe begins with: no task of a workflow can be called so.
    pub const PROBE: &str = "mode:";

    /// Takes a task's id from a workflow; each part between slashes must be a plain name. That of
    /// a mode's probe is [`TaskId::PROBE`] and the mode's name.
    ///
    /// # Errors
    /// [`InvalidId`] with the first reason that applies.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let plain = text.strip_prefix(Self::PROBE).unwrap_or(text);
        plain.split('/').try_for_each(|part| check_name("task", part))?;
        Ok(Self(text.into()))
    }
}

impl ItemKey {
    /// Any text is a key; [`AttemptId::folder`] makes it safe for a file name.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The key in one line for people: control characters escaped, cut at 60 characters.
    #[must_use]
    pub fn shown(&self) -> String {
        const CHARS_MAX: usize = 60;
        let mut text = String::new();
        for (place, c) in self.0.chars().enumerate() {
            if place == CHARS_MAX {
                text.push('…');
                break;
            }
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        text
    }
}

/// One try of a task or item. Numbers start at 1 and only grow, across retries, feedback
/// rounds and resumes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The task tried.
    pub task: TaskId,
    /// The item, for a `for_each` task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemKey>,
    /// Which try, from 1.
    pub number: u32,
}

impl AttemptId {
    /// The name of the attempt's folder: `task[.item].n`, every byte a file name may not
    /// carry safely written as `%XX`, and long names cut and told apart by a hash.
    #[must_use]
    pub fn folder(&self) -> String {
        let mut name = safe_name(self.task.as_str());
        if let Some(item) = &self.item {
            name.push('.');
            name.push_str(&safe_name(item.as_str()));
        }
        format!("{name}.{}", self.number)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.item {
            Some(item) => write!(f, "{}.{item}.{}", self.task, self.number),
            None => write!(f, "{}.{}", self.task, self.number),
        }
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What people call a task or an item in one line: `task`, or `task[key]`.
#[must_use]
pub fn label(task: &TaskId, item: Option<&ItemKey>) -> String {
    item.map_or_else(|| task.to_string(), |item| format!("{task}[{}]", item.shown()))
}

/// A file name that stands for `text`, at most 100 bytes, equal only for equal texts.
fn safe_name(text: &str) -> String {
    const BYTES_MAX: usize = 80;
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > BYTES_MAX {
        name.truncate(BYTES_MAX);
        name.push_str(&format!("~{:016x}", crate::stable_hash(text.as_bytes())));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_safe_whatever_the_key() {
        let attempt = |task: &str, item: &str| AttemptId {
            task: TaskId(task.into()),
            item: Some(ItemKey::new(item)),
            number: 3,
        };
        assert_eq!(attempt("a/b", "../x\n").folder(), "a%2Fb.%2E%2E%2Fx%0A.3");
        let long = attempt("t", &"é".repeat(300)).folder();
        assert!(long.len() < 120, "{long}");
        assert_ne!(long, attempt("t", &"é".repeat(301)).folder());
    }

    #[test]
    fn keys_are_shown_in_one_short_line() {
        assert_eq!(ItemKey::new("src/a b.ts").shown(), "src/a b.ts");
        assert_eq!(ItemKey::new("a\nb\u{1b}[1m").shown(), "a\\nb\\u{1b}[1m");
        assert_eq!(ItemKey::new(&"é".repeat(61)).shown(), "é".repeat(60) + "…");
    }

    #[test]
    fn run_ids_that_leave_the_folder_are_refused() {
        for text in ["../../x", "", "-x", "a/b", "a\nb", "🎈", &"x".repeat(129)] {
            assert!(RunId::parse(text).is_err(), "{text:?}");
        }
    }
}
