//! Live progress on a terminal: a row for each running task, what has ended above.
//!
//! A thread owns the terminal. It draws five times a second, whatever the number of events, and
//! puts the terminal back when the observer is dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use segue_core::{Plan, Recorded, RunView};
use segue_engine::{Observer, wall_now};

use super::last_line::last_line;
use super::screen::{Frame, Screen};

/// How often the screen is drawn anew at most.
const PAUSE: Duration = Duration::from_millis(200);

/// The live screen on stderr.
#[derive(Debug)]
pub(crate) struct LiveProgress {
    sender: Option<Sender<Vec<Recorded>>>,
    thread: Option<JoinHandle<()>>,
    run_dir: PathBuf,
}

impl LiveProgress {
    /// Shows nothing yet; output is read from the attempts' folders in `run_dir`.
    pub(crate) fn new(run_dir: &Path) -> Self {
        Self { sender: None, thread: None, run_dir: run_dir.to_owned() }
    }

    fn begin(&mut self, plan: Arc<Plan>) -> Sender<Vec<Recorded>> {
        let (sender, receiver) = channel();
        let colour = std::env::var_os("NO_COLOR").is_none() && console::colors_enabled_stderr();
        let run_dir = self.run_dir.clone();
        let thread = std::thread::Builder::new().name("progress".to_owned());
        let body = move || show(&receiver, Screen::new(plan, colour), &run_dir);
        // Without a thread nothing is shown, and the run goes on.
        self.thread = thread.spawn(body).ok();
        sender
    }
}

impl Observer for LiveProgress {
    fn observe(&mut self, events: &[Recorded], view: &RunView) {
        let sender = match self.sender.take() {
            Some(sender) => sender,
            None => self.begin(view.plan().clone()),
        };
        // Fails when the display has gone: the run goes on.
        let _ = sender.send(events.to_vec());
        self.sender = Some(sender);
    }
}

impl Drop for LiveProgress {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A display that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

/// The thread: until the sender is dropped.
fn show(receiver: &Receiver<Vec<Recorded>>, mut screen: Screen, run_dir: &Path) {
    let Ok(history) = receiver.recv() else { return };
    screen.recall(&history);
    let _quiet = Quiet::new();
    let term = Term::stderr();
    // All rows are one bar's message, so that they are drawn in one go.
    let target = ProgressDrawTarget::term(term.clone(), 10);
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(ProgressStyle::with_template("{msg}").expect("a template of one field"));
    loop {
        let (events, ended) = until(receiver, Instant::now() + PAUSE);
        let lines = screen.take(&events);
        if !lines.is_empty() {
            bar.println(lines.join("\n"));
        }
        if ended {
            break;
        }
        let (rows, columns) = term.size();
        let frame = Frame { rows: rows.into(), columns: columns.into(), now: wall_now() };
        let rows = screen.rows(frame, &|attempt| last_line(run_dir, attempt));
        bar.set_message(rows.join("\n"));
    }
    bar.finish_and_clear();
}

/// A terminal that does not show `^C` where it is typed: that would move the rows by a line.
struct Quiet(Option<Termios>);

impl Quiet {
    fn new() -> Self {
        let before = in_foreground().then(|| tcgetattr(std::io::stdin()).ok()).flatten();
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHOCTL);
            // What cannot be set looks worse and does no harm.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet);
        }
        Self(before)
    }
}

/// Whether the terminal is this process's: who changes it from the background is stopped.
fn in_foreground() -> bool {
    tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = self.0.as_ref().filter(|_| in_foreground()) {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The events that come before `deadline`, and whether no more will ever come.
fn until(receiver: &Receiver<Vec<Recorded>>, deadline: Instant) -> (Vec<Recorded>, bool) {
    let mut events = Vec::new();
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(more) => events.extend(more),
            Err(RecvTimeoutError::Timeout) => return (events, false),
            Err(RecvTimeoutError::Disconnected) => return (events, true),
        }
    }
}
