//! What a run was asked for: the flags of `segue run`, as its journal keeps them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Value;
use crate::{Millis, Usd};

/// What a run was asked for; kept over resumes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunRequest {
    /// Parameters as given, before defaults.
    pub params: BTreeMap<String, Value>,
    /// `--concurrency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// `--timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// `AGENT_TIMEOUT`: how long an attempt may take whose task and defaults say nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout: Option<Millis>,
    /// `--budget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Usd>,
    /// `--tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// `--retry`: tries for every task that may be retried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_attempts: Option<u32>,
    /// `--only`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// `--skip`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<String>,
    /// `--force`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// `--mode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `--probe`: the number that a probe would measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<f64>,
}
