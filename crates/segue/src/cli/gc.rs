//! `segue gc`: removes old runs, and says which and what they took.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use clap::ArgMatches;
use segue_core::{RunId, Timestamp};
use segue_journal::{Index, LockError, RemoveError, RunEntry, RunSummary, Store};
use serde_json::{Value, json};

use super::error::{CommandError, CommandResult, Kind, exit};
use super::list::is_resumable;
use super::{load, print_error, print_line, store};
use crate::report::bytes as size;

/// Why runs were kept, and how many.
#[derive(Debug, Default)]
struct Kept {
    newest: usize,
    young: usize,
    resumable: usize,
    live: usize,
    unreadable: usize,
}

/// What to remove.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Runs that ended after this stay.
    before: Timestamp,
    /// So many of each workflow stay.
    keep: usize,
    /// Runs that can be resumed may go.
    resumable: bool,
}

/// `segue gc [--older-than AGE] [--keep N] [--resumable] [--dry-run]`.
pub(crate) fn gc(matches: &ArgMatches) -> CommandResult {
    let age = matches.get_one::<String>("older-than").map_or("", String::as_str);
    // Nothing is older than nothing: everything that may go, goes.
    let age = match age.trim_end_matches(['s', 'm', 'h', 'd', ' ']) {
        "0" => segue_core::Millis(0),
        _ => segue_spec::duration(age, false).map_err(|why| {
            CommandError::usage(format!("--older-than {age:?} is no duration: {why}"))
        })?,
    };
    let (as_json, dry) = (matches.get_flag("json"), matches.get_flag("dry-run"));
    let rule = Rule {
        before: segue_engine::wall_now() - age,
        keep: matches.get_one::<usize>("keep").copied().unwrap_or(0),
        resumable: matches.get_flag("resumable"),
    };
    let store = match store(false) {
        Ok(store) => store,
        // No store is nothing to remove.
        Err(error) if error.kind == Kind::NotFound => {
            print_error(&error.to_text());
            if as_json {
                print_line(&document(dry, &[], &Kept::default()).to_string());
            }
            return Ok(exit::SUCCESS);
        }
        Err(error) => return Err(error),
    };
    let (chosen, mut kept) = choose(&store, rule)?;
    let mut removed: Vec<(RunSummary, u64)> = Vec::new();
    let mut index = if dry { None } else { Some(Index::open(&store)?.0) };
    for summary in chosen {
        let bytes = match &mut index {
            None => store.bytes_of(&summary.run),
            Some(index) => match store.remove_run(index, &summary.run) {
                Ok(bytes) => bytes,
                // Somebody took it up, or removed it, since the look.
                Err(RemoveError::Live { .. } | RemoveError::Lock(LockError::Busy { .. })) => {
                    kept.live += 1;
                    continue;
                }
                Err(RemoveError::Lock(LockError::NoSuchRun { .. })) => continue,
                Err(error) => {
                    tell(as_json, dry, &removed, &kept);
                    return Err(CommandError::internal(&error));
                }
            },
        };
        removed.push((summary, bytes));
    }
    tell(as_json, dry, &removed, &kept);
    Ok(exit::SUCCESS)
}

/// The runs that a rule lets go, oldest first, and why the others stay.
fn choose(store: &Store, rule: Rule) -> CommandResult<(Vec<RunSummary>, Kept)> {
    let mut kept = Kept::default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    for RunEntry { run, summary, problem } in store.list()? {
        let Some(summary) = summary else {
            // Without a problem it is about to begin.
            *(if problem.is_some() { &mut kept.unreadable } else { &mut kept.live }) += 1;
            continue;
        };
        let place = seen.entry(summary.workflow.clone()).or_default();
        *place += 1;
        if store.is_live(&run) {
            kept.live += 1;
        } else if *place <= rule.keep {
            kept.newest += 1;
        } else if ended_at(store, &run, &summary) > rule.before {
            kept.young += 1;
        } else if is_resumable(summary.status) && !rule.resumable {
            kept.resumable += 1;
        } else {
            chosen.push(summary);
        }
    }
    chosen.reverse();
    Ok((chosen, kept))
}

/// When a run ended; one whose engine was killed did so when its journal last grew.
fn ended_at(store: &Store, run: &RunId, summary: &RunSummary) -> Timestamp {
    let grew = || {
        let meta = std::fs::metadata(store.run_dir(run).join("events.jsonl")).ok()?;
        let since = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp::from_unix_ms(i64::try_from(since.as_millis()).ok()?))
    };
    summary.ended_at.or_else(grew).unwrap_or(Timestamp::MAX)
}

fn tell(as_json: bool, dry: bool, removed: &[(RunSummary, u64)], kept: &Kept) {
    if as_json {
        let document = document(dry, removed, kept);
        print_line(&serde_json::to_string_pretty(&document).unwrap_or_default());
        return;
    }
    let verb = if dry { "would remove" } else { "removed" };
    for (summary, bytes) in removed {
        let at = load::local_time(summary.ended_at.unwrap_or(summary.started_at));
        let at = at.get(..10).unwrap_or(&at);
        let (run, status) = (&summary.run, summary.status);
        print_line(&format!("{verb} {run}  {status}, {at}, {}", size(*bytes)));
    }
    let all: u64 = removed.iter().map(|(_, bytes)| bytes).sum();
    print_line(&format!("{verb} {}, {}", runs(removed.len()), size(all)));
    let reasons = [
        (kept.newest, "among the newest of their workflow (`--keep`)"),
        (kept.young, "not old enough (`--older-than`)"),
        (kept.resumable, "to be resumed (`--resumable` removes these too)"),
        (kept.live, "at work"),
        (kept.unreadable, "that cannot be read: `segue list` says why"),
    ];
    for (count, why) in reasons.into_iter().filter(|(count, _)| *count > 0) {
        print_error(&format!("kept {} {why}\n", runs(count)));
    }
}

fn runs(count: usize) -> String {
    format!("{count} {}", if count == 1 { "run" } else { "runs" })
}

fn document(dry: bool, removed: &[(RunSummary, u64)], kept: &Kept) -> Value {
    let runs: Vec<Value> = removed
        .iter()
        .map(|(summary, bytes)| {
            json!({
                "run": summary.run,
                "workflow": summary.workflow,
                "status": summary.status,
                "ended_at": summary.ended_at,
                "bytes": bytes,
            })
        })
        .collect();
    json!({
        "dry_run": dry,
        "removed": runs,
        "bytes": removed.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        "kept": {
            "newest": kept.newest,
            "young": kept.young,
            "resumable": kept.resumable,
            "live": kept.live,
            "unreadable": kept.unreadable,
        },
    })
}
