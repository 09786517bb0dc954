//! The arrows between crates: the table of who may use whom, against `cargo metadata`.
//!
//! A crate exists only where its dependency list forbids something; this is where it is
//! forbidden. Normal and build dependencies count, tests may use what they like. What a crate
//! must never see is looked for transitively, through our own crates too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use crate::command::{cargo, read};

/// One line of the table.
struct Rule<'a> {
    name: &'a str,
    /// Our crates that it may depend on.
    may_use: &'static [&'static str],
    /// Packages that must not lie anywhere below it.
    never: &'static [&'static [&'static str]],
    /// Packages that it must not name itself, though a crate below it does.
    never_itself: &'static [&'static [&'static str]],
}

const ASYNC: &[&str] = &["tokio", "async-std", "smol", "mio", "futures-util"];
const CLOCK: &[&str] = &["chrono", "time", "web-time"];
const RANDOM: &[&str] = &["rand", "rand_core", "getrandom", "fastrand", "uuid", "ulid"];
const FILES: &[&str] = &["tempfile", "walkdir", "ignore", "nix", "rustix", "libc", "camino"];
const YAML: &[&str] = &["saphyr", "saphyr-parser", "serde-saphyr", "serde_yaml", "marked-yaml"];
const SQL: &[&str] = &["rusqlite", "libsqlite3-sys", "sqlx", "diesel"];
const HTTP: &[&str] = &["hyper", "axum", "reqwest", "ureq", "tiny_http", "tower"];
const TERMINAL: &[&str] = &["clap", "console", "indicatif", "crossterm", "ratatui"];
const PROCESSES: &[&str] = &["segue-supervisor"];
const JOURNAL: &[&str] = &["segue-journal"];
const PLANS: &[&str] = &["segue-core", "segue-spec"];

/// Who may use whom. A crate that is not listed here does not belong to the product.
const RULES: &[Rule<'static>] = &[
    Rule {
        name: "segue-core",
        may_use: &[],
        never: &[ASYNC, CLOCK, FILES, RANDOM, YAML, SQL, HTTP, TERMINAL],
        never_itself: &[],
    },
    Rule {
        name: "segue-spec",
        may_use: &["segue-core"],
        never: &[ASYNC, SQL, HTTP, TERMINAL],
        never_itself: &[FILES],
    },
    Rule {
        name: "segue-agents",
        may_use: &["segue-core"],
        never: &[ASYNC, FILES, SQL, HTTP, TERMINAL],
        never_itself: &[],
    },
    Rule {
        name: "segue-supervisor",
        may_use: &[],
        never: &[ASYNC, YAML, SQL, HTTP, TERMINAL, PLANS],
        never_itself: &[],
    },
    Rule {
        name: "segue-attempt",
        may_use: &["segue-core", "segue-agents", "segue-supervisor"],
        never: &[YAML, SQL, HTTP, TERMINAL, JOURNAL],
        never_itself: &[],
    },
    Rule {
        name: "segue-journal",
        may_use: &["segue-core"],
        never: &[ASYNC, YAML, HTTP, TERMINAL, PROCESSES],
        never_itself: &[],
    },
    Rule {
        name: "segue-outbound",
        may_use: &["segue-core"],
        never: &[YAML, SQL, TERMINAL, PROCESSES],
        never_itself: &[],
    },
    Rule {
        name: "segue-triggers",
        may_use: &["segue-core"],
        never: &[SQL, HTTP, TERMINAL, PROCESSES, JOURNAL],
        never_itself: &[],
    },
    Rule {
        name: "segue-engine",
        may_use: &["segue-core", "segue-attempt", "segue-journal"],
        never: &[YAML, HTTP, TERMINAL],
        never_itself: &[SQL],
    },
    Rule {
        name: "segue-temporal",
        may_use: &["segue-core", "segue-attempt"],
        never: &[SQL, JOURNAL],
        never_itself: &[HTTP],
    },
    Rule {
        name: "segue-server",
        may_use: &["segue-core", "segue-spec", "segue-engine"],
        never: &[TERMINAL],
        never_itself: &[SQL, PROCESSES],
    },
    Rule {
        name: "segue",
        may_use: &[
            "segue-agents",
            "segue-attempt",
            "segue-core",
            "segue-engine",
            "segue-journal",
            "segue-outbound",
            "segue-server",
            "segue-spec",
            "segue-supervisor",
            "segue-temporal",
            "segue-triggers",
        ],
        never: &[],
        never_itself: &[],
    },
];

/// Members of the workspace that are tools around the product; they use none of its crates.
const TOOLS: &[&str] = &["xtask"];

/// The part of `cargo metadata` that the check reads.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` is a normal dependency.
    kind: Option<String>,
}

/// The graph as cargo resolves it for Linux, the platform that Segue is for.
pub(super) fn metadata() -> Result<Metadata> {
    let text = read(cargo().args([
        "metadata",
        "--format-version=1",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]))?;
    serde_json::from_str(&text).context("failed to read the output of `cargo metadata`")
}

/// Every arrow that the table does not allow.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    let graph = Graph::new(metadata);
    let mut findings = Vec::new();
    for member in &graph.members {
        match RULES.iter().find(|rule| rule.name == *member) {
            Some(rule) => findings.extend(check_rule(&graph, rule)),
            None if TOOLS.contains(member) => {
                let none = Rule { name: member, may_use: &[], never: &[], never_itself: &[] };
                findings.extend(check_rule(&graph, &none));
            }
            None => findings.push(finding(member, "has no line in the table of crates")),
        }
    }
    findings
}

fn check_rule(graph: &Graph<'_>, rule: &Rule<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for used in graph.uses(rule.name) {
        if graph.members.contains(used) && !rule.may_use.contains(&used) {
            findings.push(finding(rule.name, &format!("may not use `{used}`")));
        }
        if rule.never_itself.iter().any(|group| group.contains(&used)) {
            findings.push(finding(rule.name, &format!("may not name `{used}` itself")));
        }
    }
    let never: BTreeSet<&str> = rule.never.iter().copied().flatten().copied().collect();
    for path in graph.paths_below(rule.name) {
        if path.last().is_some_and(|last| never.contains(last)) {
            findings.push(finding(rule.name, &format!("must never see {}", path.join(" → "))));
        }
    }
    findings
}

fn finding(name: &str, what: &str) -> Finding {
    Finding { at: name.to_owned(), line: None, what: what.to_owned() }
}

/// Packages by name, and what each uses outside its tests.
struct Graph<'a> {
    members: BTreeSet<&'a str>,
    uses: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn new(metadata: &'a Metadata) -> Self {
        let names: BTreeMap<&str, &str> =
            metadata.packages.iter().map(|p| (p.id.as_str(), p.name.as_str())).collect();
        let name = |id: &str| names.get(id).copied().unwrap_or("");
        let members = metadata.workspace_members.iter().map(|id| name(id)).collect();
        let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for node in &metadata.resolve.nodes {
            let outside_tests = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"))
            });
            uses.entry(name(&node.id))
                .or_default()
                .extend(outside_tests.map(|dependency| name(&dependency.pkg)));
        }
        Self { members, uses }
    }

    /// What the package uses directly.
    fn uses(&self, package: &str) -> impl Iterator<Item = &'a str> + '_ {
        self.uses.get(package).into_iter().flatten().copied()
    }

    /// A shortest path to every package below this one, without the package itself.
    fn paths_below(&self, package: &str) -> Vec<Vec<&'a str>> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut paths = Vec::new();
        let mut waiting: VecDeque<Vec<&'a str>> = self.uses(package).map(|u| vec![u]).collect();
        while let Some(path) = waiting.pop_front() {
            let last = *path.last().expect("a path has a last package");
            if !seen.insert(last) {
                continue;
            }
            waiting.extend(self.uses(last).map(|used| [path.as_slice(), &[used]].concat()));
            paths.push(path);
        }
        paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph of members (ours begin with `segue` or are `xtask`) from `A -> B` lines; `A ~> B`
    /// is a dependency of tests.
    fn graph(lines: &[&str]) -> Metadata {
        let mut deps: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let kind = if words[1] == "~>" { serde_json::json!("dev") } else { ().into() };
            deps.entry(words[2]).or_default();
            deps.entry(words[0])
                .or_default()
                .push(serde_json::json!({"pkg": words[2], "dep_kinds": [{"kind": kind}]}));
        }
        let names: Vec<&str> = deps.keys().copied().collect();
        let ours = names.iter().filter(|n| n.starts_with("segue") || **n == "xtask");
        serde_json::from_value(serde_json::json!({
            "packages": names.iter().map(|n| serde_json::json!({"id": n, "name": n}))
                .collect::<Vec<_>>(),
            "workspace_members": ours.collect::<Vec<_>>(),
            "resolve": {"nodes": deps.iter()
                .map(|(name, deps)| serde_json::json!({"id": name, "deps": deps}))
                .collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    #[track_caller]
    fn finds(lines: &[&str], expected: &[&str]) {
        let found: Vec<String> = check(&graph(lines)).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_table_allows_what_it_lists() {
        finds(&["segue-spec -> segue-core", "segue -> segue-spec", "segue -> tokio"], &[]);
    }

    #[test]
    fn an_arrow_that_is_not_listed_is_found() {
        finds(&["segue-journal -> segue-attempt"], &["segue-journal: may not use `segue-attempt`"]);
        finds(&["segue-engine -> segue"], &["segue-engine: may not use `segue`"]);
        finds(&["xtask -> segue"], &["xtask: may not use `segue`"]);
    }

    #[test]
    fn what_must_never_be_seen_is_found_through_others() {
        finds(
            &["segue-journal -> segue-core", "segue-core -> left-pad", "left-pad -> tokio"],
            &[
                "segue-core: must never see left-pad → tokio",
                "segue-journal: must never see segue-core → left-pad → tokio",
            ],
        );
    }

    #[test]
    fn tests_may_use_what_they_like() {
        finds(&["segue-core ~> tokio", "segue-core ~> tempfile"], &[]);
    }

    #[test]
    fn a_crate_outside_the_table_is_found() {
        finds(&["segue-misc -> left-pad"], &["segue-misc: has no line in the table of crates"]);
    }

    #[test]
    fn the_workspace_keeps_to_the_table() {
        assert_eq!(check(&metadata().unwrap()), []);
    }
}
