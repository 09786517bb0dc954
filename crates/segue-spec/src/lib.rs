//! Workflow text to a checked plan, with precise diagnostics.
//!
//! [`check`] reads a file as a whole and tells everything that is wrong with it at once;
//! [`Workflow::plan`] gives a checked workflow its parameters and lowers it to the
//! [`Plan`](segue_core::Plan) that the scheduler runs. One table of keys (`keys`) is behind
//! the checks, the suggestions and [`schema`].
//!
//! The crate opens no file, reads no clock and no environment: what it needs of them comes
//! in through closures. It knows nothing of processes, terminals or how a plan is run.
//!
//! Reading order: `yaml` (text to a tree with spans), `keys` (what may stand where),
//! `shape` (the tree against the table), `graph`, `names` and `modes` (what refers to what),
//! `params` and `lower` (values in, plan out).

mod diagnostic;
mod for_each;
mod graph;
mod keys;
mod lower;
mod modes;
mod names;
mod nearest;
mod node;
mod params;
mod paths;
mod quantity;
mod scalar;
mod schema;
mod scopes;
mod shape;
mod shell;
mod templates;
mod workflow;
mod yaml;

/// Reads YAML text by the same rules as a workflow, as JSON; for tools that validate one
/// against [`schema`]. `None` if it is not valid.
#[must_use]
pub fn to_json(text: &str) -> Option<serde_json::Value> {
    let mut sink = diagnostic::Sink::default();
    let node = yaml::parse(text, &mut sink)?;
    sink.list.is_empty().then(|| node.to_json())
}

pub use diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Diagnostics, Severity};
pub use nearest::nearest as nearest_name;
pub use params::{ParamSpec, ParamType, SecretName};
pub use quantity::duration;
pub use schema::schema;
pub use workflow::{LowerContext, Source, Workflow, check};
pub use yaml::{DEPTH_MAX, EXPANSION_BYTES_MAX, TEXT_BYTES_MAX, VALUE_BYTES_MAX};
