//! Whether a path stays in the workflow's folder, by its letters alone.
//!
//! Knows no file system: symlinks are looked at by who opens the file. A path with a
//! template in it is judged by what is written; the rest is judged when it is filled in.

use crate::node::has_template;

/// The workflow's folder, with what `allow_paths` adds to it.
pub(crate) struct Folder {
    allowed: Vec<String>,
    /// The current task's folder, relative to the workflow's; `None` if a template gives it.
    cwd: Option<String>,
}

impl Folder {
    pub(crate) fn new(allowed: &[&str]) -> Self {
        Self {
            allowed: allowed.iter().map(|path| normal(path)).collect(),
            cwd: Some(String::new()),
        }
    }

    /// Sets the folder that [`Self::holds`] starts from.
    pub(crate) fn enter(&mut self, cwd: Option<&str>) {
        let cwd = cwd.unwrap_or_default();
        self.cwd = (!has_template(cwd)).then(|| cwd.to_owned());
    }

    /// Whether a path that is relative to the task's folder stays inside.
    pub(crate) fn holds(&self, path: &str) -> bool {
        match &self.cwd {
            Some(cwd) if !path.starts_with('/') => self.holds_cwd(&format!("{cwd}/./{path}")),
            Some(_) => self.holds_cwd(path),
            None => !path.starts_with('/') || self.is_allowed(&normal(path)),
        }
    }

    /// Whether a path that is relative to the workflow's folder stays inside.
    pub(crate) fn holds_cwd(&self, path: &str) -> bool {
        let path = path.strip_prefix("/./").unwrap_or(path);
        let path = normal(path);
        let outside = path.starts_with('/') || path == ".." || path.starts_with("../");
        !outside || self.is_allowed(&path)
    }

    fn is_allowed(&self, path: &str) -> bool {
        self.allowed.iter().any(|allowed| {
            path.strip_prefix(allowed.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || allowed == "/")
        })
    }
}

/// The path without `.` and without any `..` that another part undoes.
fn normal(path: &str) -> String {
    let path = without_templates(path);
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    format!("{root}{}", parts.join("/"))
}

/// The path with an `x` for each template, which so cannot hide a slash.
fn without_templates(path: &str) -> String {
    let mut text = String::new();
    let mut rest = path;
    while let Some(start) = rest.find("{{") {
        text.push_str(&rest[..start]);
        text.push('x');
        rest = rest[start..].find("}}").map_or("", |end| &rest[start + end + 2..]);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_judged_by_their_letters() {
        let mut folder = Folder::new(&["../shared", "/tmp/out"]);
        for path in ["a", "a/../b", "./a", "../shared/x", "/tmp/out/a", "{{ x }}/../a"] {
            assert!(folder.holds_cwd(path), "{path}");
        }
        for path in ["..", "../a", "a/../../b", "/etc", "/tmp/outer", "../shared/../x"] {
            assert!(!folder.holds_cwd(path), "{path}");
        }
        folder.enter(Some("podcast"));
        assert!(folder.holds("../a") && !folder.holds("../../a") && !folder.holds("/etc"));
        folder.enter(None);
        assert!(folder.holds("a") && !folder.holds("../a"));
    }
}
