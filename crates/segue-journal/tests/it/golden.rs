//! Golden files of every version: what an older Segue wrote reads to the same values.
//!
//! A file of a released version never changes. While version 1 is not released,
//! `SEGUE_GOLDEN=write` writes its files anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use segue_core::Plan;
use segue_journal::{Journal, read};

use crate::samples::{self, KINDS, kind};
use crate::support::Scene;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn is_writing() -> bool {
    std::env::var_os("SEGUE_GOLDEN").is_some_and(|value| value == "write")
}

#[test]
fn events_of_version_1_read_to_the_same_values() {
    let samples = samples::events();
    let kinds: BTreeSet<&str> = samples.iter().map(|recorded| kind(&recorded.event)).collect();
    assert_eq!(kinds.len(), KINDS, "a kind has no sample");
    let scene = Scene::new();
    let (run, lock, mut journal) = scene.run(1);
    if is_writing() {
        journal.append(&samples).unwrap();
        fs::copy(scene.file(&run), golden("events.v1.jsonl")).unwrap();
    }
    drop(journal);
    fs::copy(golden("events.v1.jsonl"), scene.file(&run)).unwrap();
    let dir = scene.store.run_dir(&run);
    let found = read(&dir).unwrap();
    assert_eq!(found.records.len(), samples.len(), "a sample is not in the golden file");
    for (found, sample) in found.records.iter().zip(&samples) {
        assert_eq!(found, sample);
    }
    // An engine goes on with it.
    let (_, records) = Journal::open(&dir, &lock).unwrap();
    assert_eq!(records, samples);
}

#[test]
fn a_plan_of_version_1_reads_to_the_same_value() {
    let sample = samples::plan();
    if is_writing() {
        let json = serde_json::to_string_pretty(&sample).unwrap();
        fs::write(golden("plan.v1.json"), json + "\n").unwrap();
    }
    let json = fs::read_to_string(golden("plan.v1.json")).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), sample);
}
