//! The faces over runs made by hand, and over log files that grow.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::tz::TimeZone;
use segue_core::{AttemptId, Millis, Timestamp};
use segue_engine::Observer;

use super::follower::OutputFollower;
use super::json_events::JsonEvents;
use super::last_line::last_line;
use super::plain::PlainLines;
use super::screen::{Frame, Screen};
use super::tailer::{TailStyle, Tailer};
use crate::report::sample::{self, Tape};

/// A sink whose contents can be looked at, and waited for.
#[derive(Clone)]
struct Paper {
    text: Arc<Mutex<Vec<u8>>>,
    written: Sender<()>,
}

impl Paper {
    fn new() -> (Self, Receiver<()>) {
        let (written, seen) = channel();
        (Self { text: Arc::default(), written }, seen)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().extend_from_slice(bytes);
        let _ = self.written.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that nobody reads.
struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn plain_lines(tape: &Tape, history: usize, colour: bool) -> String {
    let (paper, _seen) = Paper::new();
    let plan = tape.view.plan();
    let mut face = PlainLines::with_sink(plan, paper.clone(), TimeZone::UTC, colour);
    face.observe(&tape.records[..history], &tape.view);
    face.observe(&tape.records[history..], &tape.view);
    drop(face);
    paper.text()
}

#[test]
fn items_are_told_and_shown_with_their_task() {
    let tape = sample::items(5);
    insta::assert_snapshot!("plain_lines_of_items", plain_lines(&tape, 0, false));
    let mut screen = Screen::new(tape.view.plan().clone(), false);
    screen.take(&tape.records);
    let now = tape.records.last().unwrap().at + Millis(1500);
    let frame = Frame { rows: 24, columns: 90, now };
    let rows = screen.rows(frame, &|attempt| Some(format!("last of {attempt}")));
    insta::assert_snapshot!("screen_of_items", rows.join("\n"));
}

#[test]
fn plain_lines_tell_a_run() {
    insta::assert_snapshot!("plain_lines", plain_lines(&sample::finished_tape(), 0, false));
}

#[test]
fn history_is_not_told_again() {
    let tape = sample::finished_tape();
    let all = plain_lines(&tape, 0, false);
    let rest = plain_lines(&tape, 20, false);
    assert!(!rest.is_empty() && rest.len() < all.len());
    assert!(all.ends_with(&rest), "{rest}");
}

#[test]
fn colour_is_beside_the_words() {
    let tape = sample::finished_tape();
    let coloured = plain_lines(&tape, 0, true);
    assert!(coloured.contains("\u{1b}[32msucceeded"), "{coloured}");
    assert_eq!(console::strip_ansi_codes(&coloured), plain_lines(&tape, 0, false));
}

#[test]
fn json_events_are_the_journals_lines() {
    let tape = sample::finished_tape();
    let (paper, _seen) = Paper::new();
    let mut face = JsonEvents::with_sink(paper.clone());
    face.observe(&[], &tape.view);
    face.observe(&tape.records, &tape.view);
    drop(face);
    let read: Vec<segue_core::Recorded> =
        paper.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, tape.records);
}

#[test]
fn a_broken_pipe_is_success() {
    let tape = sample::finished_tape();
    let plan = tape.view.plan();
    let mut faces: Vec<Box<dyn Observer>> = vec![
        Box::new(JsonEvents::with_sink(Broken)),
        Box::new(PlainLines::with_sink(plan, Broken, TimeZone::UTC, false)),
    ];
    for face in &mut faces {
        face.observe(&[], &tape.view);
        for recorded in &tape.records {
            face.observe(std::slice::from_ref(recorded), &tape.view);
        }
    }
}

fn screen(tape: &Tape, rows: usize, columns: usize) -> String {
    let mut screen = Screen::new(tape.view.plan().clone(), false);
    screen.recall(&[]);
    let lines = screen.take(&tape.records);
    let now = tape.view.state().last_at + Millis(1500);
    let last = |attempt: &AttemptId| Some(format!("output of {attempt}, line 12"));
    let rows = screen.rows(Frame { rows, columns, now }, &last);
    format!("{}\n----\n{}", lines.join("\n"), rows.join("\n"))
}

#[test]
fn the_screen_shows_what_runs_below_what_has_ended() {
    insta::assert_snapshot!("screen", screen(&sample::running(), 24, 80));
    insta::assert_snapshot!("screen_at_the_end", screen(&sample::finished_tape(), 24, 80));
}

#[test]
fn a_small_terminal_shows_less() {
    let mut tape = sample::running();
    tape.succeed(500, "flaky", 2);
    for task in ["script", "broken", "publish"] {
        tape.start(10, task, 1);
    }
    insta::assert_snapshot!("screen_small", screen(&tape, 5, 40));
}

#[test]
fn the_last_line_is_clean() {
    let dir = tempfile::tempdir().unwrap();
    let attempt = sample::attempt("a/b", 1);
    assert_eq!(last_line(dir.path(), &attempt), None);
    let text = b"first\n\x1b[31m 10 %\r\x1b[32m\xff 20 %\x1b[0m\x07\n\n";
    append(dir.path(), &attempt, "stderr.log", text);
    assert_eq!(last_line(dir.path(), &attempt).unwrap(), "\u{fffd} 20 %");
}

fn append(run_dir: &Path, attempt: &AttemptId, name: &str, bytes: &[u8]) {
    let folder = run_dir.join("attempts").join(attempt.folder());
    fs::create_dir_all(&folder).unwrap();
    let mut options = OpenOptions::new();
    let mut file = options.append(true).create(true).open(folder.join(name)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn logs_are_printed_as_they_grow() {
    let dir = tempfile::tempdir().unwrap();
    let (paper, _seen) = Paper::new();
    let mut tailer = Tailer::with_sink(dir.path(), TailStyle::Prefixed, paper.clone());
    let (a, long) = (sample::attempt("a", 1), sample::attempt("longer", 1));
    tailer.follow(&a);
    tailer.follow(&long);
    tailer.pump();
    assert_eq!(paper.text(), "");
    append(dir.path(), &a, "stdout.log", b"one\ntw");
    append(dir.path(), &long, "stderr.log", b"\x1b[1mbold\x1b[0m\xfe\r\n1 %\r2 %\n");
    tailer.pump();
    assert_eq!(paper.text(), "a      | one\nlonger | bold\u{fffd}\nlonger | 2 %\n");
    append(dir.path(), &a, "stdout.log", b"o");
    tailer.pump();
    tailer.finish();
    assert!(paper.text().ends_with("2 %\na      | two\n"), "{}", paper.text());
}

#[test]
fn raw_output_is_the_bytes_and_attempts_stay_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (paper, _seen) = Paper::new();
    let mut tailer = Tailer::with_sink(dir.path(), TailStyle::Raw, paper.clone());
    let mut expected = Vec::new();
    for number in 1..=2_u8 {
        let attempt = sample::attempt("a", number.into());
        let bytes = vec![number; 5 << 20];
        append(dir.path(), &attempt, "stdout.log", &bytes);
        expected.extend(bytes);
        tailer.follow(&attempt);
    }
    tailer.pump();
    tailer.finish();
    assert!(*paper.text.lock().unwrap() == expected);
}

#[test]
fn a_closed_stdout_ends_the_tailing() {
    let dir = tempfile::tempdir().unwrap();
    let mut tailer = Tailer::with_sink(dir.path(), TailStyle::Raw, Broken);
    let attempt = sample::attempt("a", 1);
    append(dir.path(), &attempt, "stdout.log", b"one\n");
    tailer.follow(&attempt);
    tailer.pump();
    assert!(tailer.is_closed());
    tailer.finish();
}

#[test]
fn the_follower_shows_a_line_while_its_attempt_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (paper, seen) = Paper::new();
    let tailer = Tailer::with_sink(dir.path(), TailStyle::Prefixed, paper.clone());
    let mut follower = OutputFollower::with_tailer(dir.path(), tailer);
    let tape = sample::running();
    // The history: `fetch` has ended, the second attempt of `flaky` runs.
    append(dir.path(), &sample::attempt("fetch", 1), "stdout.log", b"long gone\n");
    follower.observe(&tape.records, &tape.view);
    let flaky = sample::attempt("flaky", 2);
    append(dir.path(), &flaky, "stdout.log", b"working\n");
    seen.recv_timeout(Duration::from_secs(10)).unwrap();
    append(dir.path(), &flaky, "stderr.log", b"no newline");
    let later = sample::finished_tape();
    let ended = &later.records[tape.records.len()..][..1];
    follower.observe(ended, &later.view);
    drop(follower);
    assert_eq!(paper.text(), "flaky | working\nflaky | no newline\n");
}

#[test]
fn elapsed_never_runs_backwards() {
    let tape = sample::running();
    let mut screen = Screen::new(tape.view.plan().clone(), false);
    screen.take(&tape.records);
    let frame = Frame { rows: 24, columns: 80, now: Timestamp::from_unix_ms(0) };
    assert!(screen.rows(frame, &|_| None)[0].contains("0.0s"));
}
