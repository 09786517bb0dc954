//! `--output prefixed|raw`: prints the attempts' output while the run goes on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use segue_core::{AttemptId, Event, Recorded, RunView};
use segue_engine::{Changes, Observer};

use super::tailer::{TailStyle, Tailer};

/// How long a line waits at most before it is seen: folders that are not there yet, or more than
/// the kernel watches, are looked at this often.
const PATIENCE: Duration = Duration::from_millis(150);

/// What the thread is told.
#[derive(Debug)]
enum Word {
    Follow(AttemptId),
    End(AttemptId),
}

/// Follows the attempts of a run. Dropping it prints all that is left.
#[derive(Debug)]
pub(crate) struct OutputFollower {
    sender: Option<Sender<Word>>,
    thread: Option<JoinHandle<()>>,
    begun: bool,
}

impl OutputFollower {
    /// To stdout; a broken pipe is success.
    pub(crate) fn new(run_dir: &Path, style: TailStyle) -> Self {
        Self::with_tailer(run_dir, Tailer::new(run_dir, style))
    }

    pub(super) fn with_tailer(run_dir: &Path, tailer: Tailer) -> Self {
        let (sender, receiver) = channel();
        let attempts = run_dir.join("attempts");
        let thread = std::thread::Builder::new().name("output".to_owned());
        // Without a thread nothing is printed; the logs have it all.
        let thread = thread.spawn(move || print_all(&receiver, tailer, &attempts)).ok();
        Self { sender: Some(sender), thread, begun: false }
    }

    fn tell(&self, word: Word) {
        if let Some(sender) = &self.sender {
            // Fails when nobody reads any more.
            let _ = sender.send(word);
        }
    }
}

impl Observer for OutputFollower {
    fn observe(&mut self, events: &[Recorded], _view: &RunView) {
        // Of a resumed run's history only the attempts that may still run are followed.
        let history = !std::mem::replace(&mut self.begun, true);
        let mut ended = BTreeSet::new();
        if history {
            ended.extend(events.iter().filter_map(|recorded| match &recorded.event {
                Event::AttemptEnded { attempt, .. } => Some(attempt),
                _ => None,
            }));
        }
        for recorded in events {
            match &recorded.event {
                Event::AttemptDispatched { attempt } if !ended.contains(attempt) => {
                    self.tell(Word::Follow(attempt.clone()));
                }
                Event::AttemptEnded { attempt, .. } if !history => {
                    self.tell(Word::End(attempt.clone()));
                }
                _ => {}
            }
        }
    }
}

impl Drop for OutputFollower {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // It panics only if stdout does.
            let _ = thread.join();
        }
    }
}

/// The thread: until the sender is dropped or nobody reads.
fn print_all(receiver: &Receiver<Word>, mut tailer: Tailer, attempts: &Path) {
    let changes = Changes::new().ok();
    let mut unwatched: Vec<PathBuf> = Vec::new();
    loop {
        if tailer.is_idle() {
            let Ok(word) = receiver.recv() else { break };
            take(word, &mut tailer, attempts, &mut unwatched);
        }
        let ended = loop {
            match receiver.try_recv() {
                Ok(word) => take(word, &mut tailer, attempts, &mut unwatched),
                Err(TryRecvError::Empty) => break false,
                Err(TryRecvError::Disconnected) => break true,
            }
        };
        if let Some(changes) = &changes {
            unwatched.retain(|folder| changes.add(folder).is_err());
        }
        tailer.pump();
        if ended || tailer.is_closed() {
            break;
        }
        match &changes {
            Some(changes) => changes.wait(PATIENCE),
            None => std::thread::sleep(PATIENCE),
        }
    }
    tailer.finish();
}

fn take(word: Word, tailer: &mut Tailer, attempts: &Path, unwatched: &mut Vec<PathBuf>) {
    match word {
        Word::Follow(attempt) => {
            let folder = attempts.join(attempt.folder());
            tailer.follow(&attempt);
            unwatched.push(folder);
        }
        Word::End(attempt) => {
            let folder = attempts.join(attempt.folder());
            tailer.end(&attempt);
            unwatched.retain(|other| *other != folder);
        }
    }
}
