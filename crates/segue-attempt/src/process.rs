//! The processes of one run: the supervisor's client as futures, and adoption.
//!
//! Whoever started a process, this engine or one before it, its end comes out of
//! [`Processes::run`] or [`Processes::find`] as the same [`Ended`](sup::Ended). If the
//! supervisor dies, its keepers go on: their ends are then found in the records, and the next
//! start launches another supervisor.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use segue_supervisor as sup;
use sup::adoption::{self, Found, Watched};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::sync::{mpsc, oneshot};

use crate::readiness::async_fd;

/// The processes of one run. Clones share the same supervisor.
#[derive(Clone, Debug)]
pub struct Processes(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    launch: sup::Launch,
    run_dir: PathBuf,
    requests: RefCell<Option<mpsc::UnboundedSender<sup::Request>>>,
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<Answer>>>,
    watched: RefCell<BTreeMap<u64, Rc<AsyncFd<Watched>>>>,
    /// Attempts that were to be stopped: what is found or started of them later is, too.
    stops: RefCell<BTreeMap<u64, (sup::StopMode, sup::StopReason)>>,
}

/// Where a number of its own lies above its attempt's number, for a process beside the program.
pub(crate) const BESIDE_SHIFT: u32 = 48;

/// The attempt that a process belongs to.
const fn attempt_of(number: u64) -> u64 {
    number & ((1 << BESIDE_SHIFT) - 1)
}

#[derive(Debug)]
enum Answer {
    Ended(Box<sup::Ended>),
    Refused(String),
    SupervisorGone,
}

/// What became of a process that an earlier engine may have started.
#[derive(Debug)]
pub enum Fate {
    /// It was never started.
    NeverStarted,
    /// It has ended; if nobody knows how, what was left of it has been swept.
    Ended(Box<sup::Ended>),
    /// It runs; [`Processes::watch`] waits for its end.
    Running,
}

/// Why there is no end to tell of a process.
#[derive(Debug, thiserror::Error)]
pub enum NoEnd {
    /// It was not started.
    #[error("{0}")]
    NotStarted(String),
    /// It may have been started, may even run: its records cannot be read.
    #[error("{0}")]
    Unknown(String),
}

impl NoEnd {
    fn unknown(error: io::Error) -> Self {
        Self::Unknown(format!("its records cannot be read: {error}"))
    }
}

impl Processes {
    /// The processes of the run in `run_dir`. Nothing is started yet. To be used inside of a
    /// `LocalSet`.
    #[must_use]
    pub fn new(run_dir: &Path, launch: sup::Launch) -> Self {
        Self(Rc::new(Inner {
            launch,
            run_dir: run_dir.to_owned(),
            requests: RefCell::new(None),
            waiting: RefCell::new(BTreeMap::new()),
            watched: RefCell::new(BTreeMap::new()),
            stops: RefCell::new(BTreeMap::new()),
        }))
    }

    /// Starts a process and waits for its end, whoever lives to tell it.
    ///
    /// # Errors
    /// `NoEnd`, in one line.
    pub async fn run(&self, start: sup::Start) -> Result<sup::Ended, NoEnd> {
        let number = start.number;
        // A supervisor that dies between two starts is replaced once; a second time is a fault.
        for _ in 0..2 {
            match self.ask(start.clone()).await.map_err(NoEnd::NotStarted)? {
                Answer::Ended(ended) => return Ok(*ended),
                Answer::Refused(message) => return Err(NoEnd::NotStarted(message)),
                Answer::SupervisorGone => {}
            }
            match self.find(number).await.map_err(NoEnd::unknown)? {
                Fate::NeverStarted => {}
                Fate::Ended(ended) => return Ok(*ended),
                Fate::Running => return self.watch(number).await.map_err(NoEnd::unknown),
            }
        }
        Err(NoEnd::NotStarted("its supervisor died twice".to_owned()))
    }

    async fn ask(&self, start: sup::Start) -> Result<Answer, String> {
        let number = start.number;
        let (answer, answered) = oneshot::channel();
        self.0.waiting.borrow_mut().insert(number, answer);
        let sent = self.send(sup::Request::Start(Box::new(start)));
        if let Err(error) = sent {
            self.0.waiting.borrow_mut().remove(&number);
            return Err(error);
        }
        if let Some((mode, reason)) = self.asked_to_stop(number) {
            self.send_stop(number, mode, reason);
        }
        Ok(answered.await.unwrap_or(Answer::SupervisorGone))
    }

    fn send(&self, request: sup::Request) -> Result<(), String> {
        let alive = self.0.requests.borrow().as_ref().is_some_and(|sender| !sender.is_closed());
        if !alive {
            self.connect()?;
        }
        let requests = self.0.requests.borrow();
        let sender = requests.as_ref().ok_or("there is no supervisor")?;
        sender.send(request).map_err(|_| "the supervisor has just died".to_owned())
    }

    /// Launches a supervisor and opens the run with it.
    ///
    /// # Errors
    /// In one line, if it cannot be launched.
    pub fn connect(&self) -> Result<(), String> {
        let client = sup::Client::launch(&self.0.launch).map_err(|error| chain(&error))?;
        let (sender, requests) = mpsc::unbounded_channel();
        let open = sup::Request::OpenRun { run_dir: self.0.run_dir.clone() };
        sender.send(open).expect("the receiver is still here");
        *self.0.requests.borrow_mut() = Some(sender);
        let client = async_fd(client).map_err(|error| error.to_string())?;
        tokio::task::spawn_local(drive(Rc::clone(&self.0), client, requests));
        Ok(())
    }

    /// Stops all processes of an attempt, also those that are only found or started later.
    pub fn stop(&self, attempt: u64, reason: sup::StopReason, at_once: bool) {
        let mode = if at_once { sup::StopMode::AtOnce } else { sup::StopMode::Graceful };
        self.0.stops.borrow_mut().insert(attempt, (mode, reason));
        let watched = self.0.watched.borrow();
        for (_, watched) in watched.iter().filter(|(n, _)| attempt_of(**n) == attempt) {
            // A keeper that is gone has ended its attempt.
            let _ = watched.get_ref().stop(mode, reason);
        }
        let started: Vec<u64> = self.0.waiting.borrow().keys().copied().collect();
        for number in started.into_iter().filter(|number| attempt_of(*number) == attempt) {
            self.send_stop(number, mode, reason);
        }
    }

    fn send_stop(&self, number: u64, mode: sup::StopMode, reason: sup::StopReason) {
        let run_dir = self.0.run_dir.clone();
        // A supervisor that is gone leaves its attempts to the records.
        let _ = self.send(sup::Request::Stop { run_dir, number, mode, reason });
    }

    /// How the process's attempt was to be stopped, if it was.
    fn asked_to_stop(&self, number: u64) -> Option<(sup::StopMode, sup::StopReason)> {
        self.0.stops.borrow().get(&attempt_of(number)).copied()
    }

    /// Finds out what became of a process by its records.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub async fn find(&self, number: u64) -> io::Result<Fate> {
        let run_dir = self.0.run_dir.clone();
        let found = blocking(move || adoption::find(&run_dir, number)).await?;
        Ok(match found {
            Found::NeverStarted => Fate::NeverStarted,
            Found::Ended(ended) => Fate::Ended(Box::new(ended)),
            Found::Running(watched) => {
                let watched = Rc::new(async_fd(watched)?);
                if let Some((mode, reason)) = self.asked_to_stop(number) {
                    // A keeper that is gone has ended its attempt.
                    let _ = watched.get_ref().stop(mode, reason);
                }
                self.0.watched.borrow_mut().insert(number, watched);
                Fate::Running
            }
            Found::Lost { token, label, started_unix_ms } => {
                Fate::Ended(Box::new(sweep(number, token, label, started_unix_ms).await?))
            }
        })
    }

    /// Waits for the end of a process that [`find`](Self::find) said runs.
    ///
    /// # Errors
    /// If its keeper cannot be watched or the records cannot be read.
    pub async fn watch(&self, number: u64) -> io::Result<sup::Ended> {
        let watched = self.0.watched.borrow().get(&number).cloned();
        if let Some(watched) = watched {
            watched.ready(Interest::READABLE).await?.retain_ready();
        }
        let run_dir = self.0.run_dir.clone();
        let found = blocking(move || {
            adoption::wait_unlocked(&run_dir, number)?;
            adoption::find(&run_dir, number)
        })
        .await;
        self.0.watched.borrow_mut().remove(&number);
        match found? {
            Found::Ended(ended) => Ok(ended),
            Found::Lost { token, label, started_unix_ms } => {
                sweep(number, token, label, started_unix_ms).await
            }
            Found::NeverStarted | Found::Running(_) => Ok(lost(number, String::new(), 0)),
        }
    }
}

/// Moves requests to the supervisor and its reports to whoever waits for them.
async fn drive(
    inner: Rc<Inner>,
    mut client: AsyncFd<sup::Client>,
    mut requests: mpsc::UnboundedReceiver<sup::Request>,
) {
    let mut flushed = true;
    loop {
        let interest =
            if flushed { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let result = tokio::select! {
            request = requests.recv() => match request {
                None => return,
                Some(request) => pass_on(&inner, client.get_mut(), request, &mut requests),
            },
            ready = client.ready_mut(interest) => match ready {
                Err(error) => Err(error),
                Ok(mut ready) => {
                    let result = pump(&inner, ready.get_inner_mut());
                    ready.clear_ready_matching(Ready::READABLE | Ready::WRITABLE);
                    result
                }
            },
        };
        match result {
            Ok(all) => flushed = all,
            Err(_) => {
                requests.close();
                let waiting = std::mem::take(&mut *inner.waiting.borrow_mut());
                for (_, answer) in waiting {
                    // Whoever waited may have gone; nobody else has to know.
                    let _ = answer.send(Answer::SupervisorGone);
                }
                return;
            }
        }
    }
}

fn pass_on(
    inner: &Inner,
    client: &mut sup::Client,
    first: sup::Request,
    requests: &mut mpsc::UnboundedReceiver<sup::Request>,
) -> io::Result<bool> {
    let mut next = Some(first);
    while let Some(request) = next {
        match client.send(&request) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                if let sup::Request::Start(start) = &request {
                    answer(inner, start.number, Answer::Refused(error.to_string()));
                }
            }
            // Its last reports are still to be read; then `receive` tells that it is gone.
            Err(_) => {}
        }
        next = requests.try_recv().ok();
    }
    Ok(client.flush().unwrap_or(true))
}

fn pump(inner: &Inner, client: &mut sup::Client) -> io::Result<bool> {
    while let Some(report) = client.receive()? {
        match report {
            sup::Report::Ended(ended) => {
                answer(inner, ended.number, Answer::Ended(Box::new(ended)));
            }
            sup::Report::StartRefused { number, message, .. } => {
                answer(inner, number, Answer::Refused(message));
            }
            sup::Report::RunRefused { message, .. } => {
                let waiting = std::mem::take(&mut *inner.waiting.borrow_mut());
                for (_, answer) in waiting {
                    let _ = answer.send(Answer::Refused(message.clone()));
                }
            }
            sup::Report::RunOpened { .. }
            | sup::Report::Spawned { .. }
            | sup::Report::Rejected { .. } => {}
        }
    }
    Ok(client.flush().unwrap_or(true))
}

fn answer(inner: &Inner, number: u64, answer: Answer) {
    let waiting = inner.waiting.borrow_mut().remove(&number);
    if let Some(waiting) = waiting {
        // Whoever waited may have gone; the records keep the end.
        let _ = waiting.send(answer);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Ends what may be left of a lost process.
async fn sweep(
    number: u64,
    token: String,
    label: String,
    started_unix_ms: u64,
) -> io::Result<sup::Ended> {
    let _ = blocking(move || Ok(adoption::sweep(&token))).await?;
    Ok(lost(number, label, started_unix_ms))
}

/// The end of a process of which nobody knows when and how it ended.
fn lost(number: u64, label: String, started_unix_ms: u64) -> sup::Ended {
    sup::Ended {
        run_dir: PathBuf::new(),
        number,
        label,
        outcome: sup::Outcome::Lost,
        started_unix_ms,
        ended_unix_ms: 0,
        user_ms: 0,
        system_ms: 0,
        peak_memory_bytes: 0,
        tree_peak_memory_bytes: None,
        memory_exceeded: None,
        stdout_bytes: 0,
        stderr_bytes: 0,
        omitted_bytes: 0,
        log_error: None,
        // A sweep finds what it can name; nobody saw the tree empty.
        teardown: sup::Teardown::Unverified { pids: Vec::new() },
    }
}

/// An error with all that caused it, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
