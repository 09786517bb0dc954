//! The thread that talks to `segue.db`: the index of runs, and grants of concurrency groups.
//!
//! A group that is taken is asked for again when the database changes, which is how another
//! engine's release shows, and once a second, for a holder that died without one.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use segue_core::{AttemptId, Input, RunId, Wants};
use segue_journal::{Asked, HolderId, Index, RunStatistics, RunSummary, Store};
use tokio::sync::mpsc::UnboundedSender;

use crate::clock::wall_now;

/// How long a waiting attempt goes without a look at whether its group's holders live.
const LOOK_MS: u16 = 1000;

/// What the loop wants of the thread.
#[derive(Debug)]
pub(crate) enum Wish {
    Ask { attempt: AttemptId, wants: Wants, priority: i64 },
    Release { attempt: AttemptId },
    ReleaseAllBut { kept: Vec<AttemptId> },
    Record { summary: Box<RunSummary>, statistics: Option<Box<RunStatistics>> },
}

/// The loop's end of the thread.
#[derive(Debug)]
pub(crate) struct SpansThread {
    wishes: Option<mpsc::Sender<Wish>>,
    wake: UnixStream,
    thread: Option<thread::JoinHandle<()>>,
}

impl SpansThread {
    pub(crate) fn start(
        store: &Store,
        run: RunId,
        inputs: UnboundedSender<Input>,
    ) -> std::io::Result<Self> {
        let (wishes, received) = mpsc::channel();
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let host = Host { store: store.clone(), run, inputs, waiting: Vec::new(), index: None };
        let thread = thread::Builder::new()
            .name("segue-db".to_owned())
            .spawn(move || host.serve(&received, woken))?;
        Ok(Self { wishes: Some(wishes), wake, thread: Some(thread) })
    }

    pub(crate) fn wish(&mut self, wish: Wish) {
        if let Some(wishes) = &self.wishes {
            // A thread that is gone has logged why; the run does not depend on it.
            let _ = wishes.send(wish);
            // A full pipe wakes it as well.
            let _ = self.wake.write(&[0]);
        }
    }

    /// Waits until every wish so far is done.
    pub(crate) fn finish(mut self) {
        self.wishes = None;
        let _ = self.wake.write(&[0]);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; the journal holds the truth.
            let _ = thread.join();
        }
    }
}

struct Host {
    store: Store,
    run: RunId,
    inputs: UnboundedSender<Input>,
    waiting: Vec<(HolderId, Wants, i64)>,
    index: Option<Index>,
}

impl Host {
    fn serve(mut self, wishes: &mpsc::Receiver<Wish>, mut woken: UnixStream) {
        loop {
            loop {
                match wishes.try_recv() {
                    Ok(wish) => self.perform(wish),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            let watch = if self.waiting.is_empty() { None } else { self.watch() };
            self.ask_again();
            self.sleep(&woken, watch.as_ref());
            let mut bytes = [0; 64];
            while woken.read(&mut bytes).is_ok_and(|count| count > 0) {}
        }
    }

    /// Watches the database for commits of other engines, from before the next ask.
    fn watch(&self) -> Option<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).ok()?;
        let flags = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE;
        inotify.add_watch(self.store.root(), flags).ok()?;
        Some(inotify)
    }

    fn sleep(&self, woken: &UnixStream, watch: Option<&Inotify>) {
        let waits = !self.waiting.is_empty();
        let timeout = if waits { PollTimeout::from(LOOK_MS) } else { PollTimeout::NONE };
        let mut fds = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        // An interrupted sleep is a short one.
        let _ = poll(&mut fds, timeout);
    }

    fn perform(&mut self, wish: Wish) {
        let result = match wish {
            Wish::Ask { attempt, wants, priority } => {
                let holder = HolderId { run: self.run.clone(), attempt };
                self.waiting.push((holder, wants, priority));
                Ok(())
            }
            Wish::Release { attempt } => {
                let holder = HolderId { run: self.run.clone(), attempt };
                self.waiting.retain(|(other, ..)| *other != holder);
                self.index().and_then(|index| index.release(&holder, wall_now()))
            }
            Wish::ReleaseAllBut { kept } => {
                let run = self.run.clone();
                self.index().and_then(|index| index.release_all_but(&run, &kept, wall_now()))
            }
            Wish::Record { summary, statistics } => {
                self.index().and_then(|index| index.record_run(&summary, statistics.as_deref()))
            }
        };
        if let Err(error) = result {
            // Everything here can be rebuilt from the journals, so the run goes on.
            tracing::warn!(%error, "segue.db could not be written");
        }
    }

    fn ask_again(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        for (holder, wants, priority) in waiting {
            let now = wall_now();
            let asked =
                self.index().and_then(|index| index.ask_among_live(&holder, &wants, priority, now));
            let attempt = holder.attempt.clone();
            let answer = match asked {
                Ok(Asked::Granted) => Input::Granted { attempt },
                Ok(Asked::Refused { message }) => Input::Refused { attempt, message },
                Ok(Asked::Busy { .. }) => {
                    self.waiting.push((holder, wants, priority));
                    continue;
                }
                Err(error) => {
                    let message = format!("the arbiter cannot be asked: {error}");
                    Input::Refused { attempt, message }
                }
            };
            // A loop that is gone needs no answer.
            let _ = self.inputs.send(answer);
        }
    }

    fn index(&mut self) -> Result<&mut Index, segue_journal::IndexError> {
        if self.index.is_none() {
            let (index, renamed) = Index::open(&self.store)?;
            if let Some(renamed) = renamed {
                tracing::warn!(?renamed, "segue.db was damaged and has been put aside");
            }
            self.index = Some(index);
        }
        Ok(self.index.as_mut().expect("opened just now"))
    }
}
