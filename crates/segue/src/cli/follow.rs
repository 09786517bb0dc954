//! The verbs that follow a run: `logs events`.

use std::path::Path;
use std::time::Duration;

use clap::ArgMatches;
use segue_core::{AttemptId, ItemKey, Recorded, RunId, RunView, Seq, TaskIndex};
use segue_engine::Changes;
use segue_journal::{Follower, JournalError};

use super::error::{CommandError, CommandResult, exit};
use super::run::text;
use super::show::ITEMS_MAX;
use super::{print_line, store, take_up};
use crate::progress::{TailStyle, Tailer};

/// How long a follower sleeps at most, should a change be missed.
const LOOK: Duration = Duration::from_secs(1);

/// A follower that goes on when an engine that takes the run up cuts its torn end off.
struct Steady<'a> {
    dir: &'a Path,
    follower: Follower,
    last: Seq,
}

impl<'a> Steady<'a> {
    fn new(dir: &'a Path) -> Self {
        Self { dir, follower: Follower::new(dir, 0), last: 0 }
    }

    /// The events that are new since the last call.
    fn poll(&mut self) -> Result<Vec<Recorded>, JournalError> {
        let records = match self.follower.poll() {
            // One that has grown again since reads as damaged from where it was cut.
            Err(JournalError::CutBack { .. } | JournalError::Damaged { .. }) => {
                self.follower = Follower::new(self.dir, self.last);
                self.follower.poll()?
            }
            polled => polled?,
        };
        self.last = records.last().map_or(self.last, |recorded| recorded.seq);
        Ok(records)
    }
}

/// `segue events RUN [-f]`.
pub(crate) fn events(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let dir = store.run_dir(&run);
    let follow = matches.get_flag("follow");
    let changes = Changes::new()?;
    changes.add(&dir)?;
    let mut follower = Steady::new(&dir);
    loop {
        let locked = store.is_locked(&run)?;
        let mut ended = false;
        for recorded in follower.poll()? {
            ended = matches!(recorded.event, segue_core::Event::RunEnded { .. });
            if !print_line(&serde_json::to_string(&recorded).unwrap_or_default()) {
                return Ok(exit::SUCCESS);
            }
        }
        if !follow || ended || !locked {
            return Ok(exit::SUCCESS);
        }
        changes.wait(LOOK);
    }
}

/// `segue logs RUN [TASK] [-f]`; `TASK[KEY]` is one item of a task.
pub(crate) fn logs(matches: &ArgMatches) -> CommandResult {
    let store = store(false)?;
    let run = store.find(&text(matches, "RUN"))?;
    let dir = store.run_dir(&run);
    let seen = take_up::seen(&store, &run)?;
    let only =
        matches.get_one::<String>("TASK").map(|name| named(&seen, &run, name)).transpose()?;
    let one = only.as_ref().is_some_and(|(task, item)| {
        let has_items = seen.plan().tasks[*task].for_each.is_some();
        item.is_some() || !has_items
    });
    let wanted = |attempt: &AttemptId| {
        only.as_ref().is_none_or(|(task, item)| {
            seen.plan().tasks[*task].id == attempt.task && (item.is_none() || *item == attempt.item)
        })
    };
    let style = if one { TailStyle::Raw } else { TailStyle::Prefixed };
    let mut tailer = Tailer::new(&dir, style);
    let changes = Changes::new()?;
    changes.add(&dir)?;
    let mut follower = Steady::new(&dir);
    loop {
        let locked = store.is_locked(&run)?;
        let mut ended = false;
        for recorded in follower.poll()? {
            match &recorded.event {
                segue_core::Event::AttemptDispatched { attempt } if wanted(attempt) => {
                    watch(&changes, &dir, attempt);
                    tailer.follow(attempt);
                }
                segue_core::Event::RunEnded { .. } => ended = true,
                _ => ended = false,
            }
        }
        tailer.pump();
        if !matches.get_flag("follow") || ended || !locked || tailer.is_closed() {
            tailer.finish();
            return Ok(exit::SUCCESS);
        }
        changes.wait(LOOK);
    }
}

/// The task that `TASK` names, or the item that `TASK[KEY]` does.
fn named(view: &RunView, run: &RunId, name: &str) -> CommandResult<(TaskIndex, Option<ItemKey>)> {
    let plan = view.plan();
    if let Some(index) = plan.position(name) {
        return Ok((index, None));
    }
    let item = name.strip_suffix(']').and_then(|name| name.split_once('['));
    let Some((index, key)) = item.and_then(|(task, key)| Some((plan.position(task)?, key))) else {
        let names: Vec<&str> = plan.tasks.iter().map(|task| task.id.as_str()).collect();
        return Err(CommandError::not_found(format!("run {run} has no task `{name}`"))
            .hint(format!("its tasks are: {}", names.join(", "))));
    };
    let key = ItemKey::new(key);
    if view.item_of(index, &key).is_some() {
        return Ok((index, Some(key)));
    }
    let task = &plan.tasks[index].id;
    let keys = view.items(index).take(ITEMS_MAX).filter_map(|item| Some(item.item?.key.shown()));
    let keys = keys.collect::<Vec<_>>().join(", ");
    let error = CommandError::not_found(format!("task `{task}` has no item `{}`", key.shown()));
    Err(if keys.is_empty() { error } else { error.hint(format!("its items are: {keys}")) })
}

/// Watches the attempt's folder, or the one it will appear in.
fn watch(changes: &Changes, dir: &Path, attempt: &AttemptId) {
    let attempts = dir.join("attempts");
    // A folder that is not there yet shows by its parent's change, or at the next look.
    let _ = changes.add(&attempts);
    let _ = changes.add(&attempts.join(attempt.folder()));
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use segue_journal::{Journal, Store};

    use super::Steady;
    use crate::report::sample;

    #[test]
    fn a_torn_end_that_is_cut_off_ends_no_following() {
        let tape = sample::finished_tape();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let run = tape.view.state().run.clone().unwrap();
        let dir = store.create_run(&run, &[], tape.view.plan()).unwrap().path;
        let mut follower = Steady::new(&dir);
        let lock = store.lock_run(&run).unwrap();
        let mut journal = Journal::create(&dir, &lock).unwrap();
        journal.append(&tape.records[..3]).unwrap();
        assert_eq!(follower.poll().unwrap(), tape.records[..3]);
        for at in [3, 4] {
            drop(journal);
            let mut file =
                std::fs::File::options().append(true).open(dir.join("events.jsonl")).unwrap();
            file.write_all(b"{\"seq\":4,\"torn").unwrap();
            assert_eq!(follower.poll().unwrap(), []);
            journal = Journal::open(&dir, &lock).unwrap().0;
            // Once it is seen to be shorter, once it is longer again by then.
            if at == 3 {
                assert_eq!(follower.poll().unwrap(), []);
            }
            journal.append(&tape.records[at..=at]).unwrap();
            assert_eq!(follower.poll().unwrap(), tape.records[at..=at]);
        }
    }
}
