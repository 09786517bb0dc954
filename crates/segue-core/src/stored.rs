//! Values as events and state hold them: themselves while they are small, else where they lie.

use serde::{Deserialize, Serialize};

use crate::plan::Value;

/// A value, or where it is if it is large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// The value itself, at most [`Stored::INLINE_BYTES_MAX`] as JSON.
    Inline(Value),
    /// A file in the run's folder.
    Ref {
        /// Relative to the run's folder.
        path: String,
        /// Its size.
        bytes: u64,
        /// Its SHA-256, in hex.
        sha256: String,
        /// Of an object, its members as far as they are small: see [`Stored::head_of`].
        #[serde(default, skip_serializing_if = "Value::is_null")]
        head: Value,
    },
}

impl Stored {
    /// Above this a value goes to a file.
    pub const INLINE_BYTES_MAX: usize = 16 << 10;

    /// Above this a member of a large object is left out of its head.
    const MEMBER_BYTES_MAX: usize = 1 << 10;

    /// The value as expressions see it: of a large object its small members, and in place of
    /// the others where the whole is; of any other large value only where it is.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Inline(value) => value.clone(),
            Self::Ref { head: head @ Value::Object(_), .. } => head.clone(),
            Self::Ref { path, bytes, sha256, .. } => {
                serde_json::json!({"path": path, "bytes": bytes, "sha256": sha256})
            }
        }
    }

    /// What of a large value stays in events: an object's members of at most 1 KiB each and
    /// half of [`Stored::INLINE_BYTES_MAX`] together; each other member is an object that says
    /// `omitted`, with the `path` of the whole. Null for what is no object.
    #[must_use]
    pub fn head_of(value: &Value, path: &str) -> Value {
        let Value::Object(members) = value else { return Value::Null };
        let mut left = Self::INLINE_BYTES_MAX / 2;
        let mut head = serde_json::Map::new();
        for (name, member) in members {
            let bytes = member.to_string().len();
            let kept = if bytes <= Self::MEMBER_BYTES_MAX.min(left) {
                member.clone()
            } else {
                serde_json::json!({"omitted": true, "path": path, "bytes": bytes})
            };
            let cost = name.len() + kept.to_string().len();
            if cost > left {
                break;
            }
            left -= cost;
            head.insert(name.clone(), kept);
        }
        Value::Object(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_object_keeps_its_small_members_in_sight() {
        let value = serde_json::json!({"quality": 9, "text": "x".repeat(20_000), "ok": true});
        let head = Stored::head_of(&value, "attempts/a.1/result.value.json");
        assert_eq!((&head["quality"], &head["ok"]), (&value["quality"], &value["ok"]));
        assert_eq!(head["text"]["omitted"], true);
        let kept = Stored::Ref { path: "p".into(), bytes: 1, sha256: String::new(), head };
        assert_eq!(kept.to_value()["quality"], 9);
        let many: Value = (0..5000).map(|n| (format!("m{n}"), Value::from(n))).collect();
        assert!(Stored::head_of(&many, "p").to_string().len() < Stored::INLINE_BYTES_MAX);
        assert_eq!(Stored::head_of(&Value::from("x".repeat(20_000)), "p"), Value::Null);
    }
}
