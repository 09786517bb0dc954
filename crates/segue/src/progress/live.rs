//! Live progress on a terminal: a row for each running task, what has ended above.
//!
//! A thread owns the terminal. It wakes for events and five times a second, and puts the
//! terminal back when it is told to end or the observer is dropped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
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
    pub(crate) fn new(run_dir: &Path, _plan: &Plan) -> Self {
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
    let term = Term::stderr();
    let multi = MultiProgress::with_draw_target(ProgressDrawTarget::term(term.clone(), 10));
    let mut bars = Vec::new();
    loop {
        let first = receiver.recv_timeout(PAUSE);
        let ended = matches!(first, Err(RecvTimeoutError::Disconnected));
        let more: Vec<_> = receiver.try_iter().collect();
        for events in first.into_iter().chain(more) {
            for line in screen.take(&events) {
                // A terminal that has hung up shows no more.
                let _ = multi.println(line);
            }
        }
        if ended {
            break;
        }
        let (rows, columns) = term.size();
        let frame = Frame { rows: rows.into(), columns: columns.into(), now: wall_now() };
        draw(&multi, &mut bars, screen.rows(frame, &|attempt| last_line(run_dir, attempt)));
    }
    bars.iter().for_each(ProgressBar::finish_and_clear);
    let _ = multi.clear();
}

/// One bar per row, the last of them the footer.
fn draw(multi: &MultiProgress, bars: &mut Vec<ProgressBar>, rows: Vec<String>) {
    while bars.len() > rows.len() {
        if let Some(bar) = bars.pop() {
            bar.finish_and_clear();
            multi.remove(&bar);
        }
    }
    while bars.len() < rows.len() {
        let bar = multi.add(ProgressBar::new_spinner());
        bar.set_style(ProgressStyle::with_template("{msg}").expect("a template of one field"));
        bars.push(bar);
    }
    for (bar, row) in bars.iter().zip(rows) {
        bar.set_message(row);
    }
}
