//! One run's journal: round trips, torn tails, and everything that is refused by name.

use std::fs;

use segue_core::{Event, Recorded, RunStatus};
use segue_journal::{Follower, Journal, JournalError, LockError, read};

use crate::support::{Scene, ended, history, recorded, succeeded};

/// Opens a journal whose bytes were changed by `spoil`, and gives what that led to.
#[track_caller]
fn open_spoiled(spoil: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<Recorded>, JournalError> {
    let scene = Scene::new();
    let (run, lock, mut journal) = scene.run(1);
    journal.append(&history(&run, 5)).unwrap();
    let file = scene.file(&run);
    let mut bytes = fs::read(&file).unwrap();
    spoil(&mut bytes);
    fs::write(&file, &bytes).unwrap();
    let opened = Journal::open(&scene.store.run_dir(&run), &lock).map(|(_, records)| records);
    if opened.is_err() {
        assert_eq!(fs::read(&file).unwrap(), bytes, "a refused journal must stay as it is");
    }
    opened
}

fn line_starts(bytes: &[u8]) -> Vec<usize> {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
}

#[test]
fn what_is_appended_is_read_again() {
    let scene = Scene::new();
    let (run, lock, mut journal) = scene.run(1);
    let records = history(&run, 20);
    journal.append(&records[..7]).unwrap();
    journal.append(&[]).unwrap();
    journal.append(&records[7..]).unwrap();
    journal.syncer().unwrap().sync().unwrap();
    let dir = scene.store.run_dir(&run);
    assert_eq!(read(&dir).unwrap().records, records);
    drop(journal);
    let (mut journal, again) = Journal::open(&dir, &lock).unwrap();
    assert_eq!(again, records);
    assert_eq!(journal.last_seq(), 20);
    journal.append(&[ended(21, RunStatus::Succeeded)]).unwrap();
    assert_eq!(read(&dir).unwrap().records.len(), 21);
}

#[test]
fn a_line_is_written_as_the_format_says() {
    let scene = Scene::new();
    let (run, _lock, mut journal) = scene.run(1);
    journal.append(&history(&run, 2)).unwrap();
    let text = fs::read_to_string(scene.file(&run)).unwrap();
    let line = text.lines().nth(1).unwrap();
    let (covered, _) = line.split_once(",\"crc\"").unwrap();
    let crc = crc32fast::hash(covered.as_bytes());
    let start = r#"{"seq":2,"at":"2025-11-24T16:00:00.002Z","v":1,"#;
    let event = r#""event":{"type":"task_succeeded","task":"t2"}"#;
    let expected = format!("{start}{event},\"crc\":\"{crc:08x}\"}}");
    assert_eq!(line, expected);
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_is_torn() {
    let scene = Scene::new();
    let (run, lock, mut journal) = scene.run(1);
    journal.append(&history(&run, 3)).unwrap();
    let dir = scene.store.run_dir(&run);
    let file = scene.file(&run);
    let whole = fs::read(&file).unwrap();
    let last = line_starts(&whole)[2];
    for end in last..whole.len() {
        fs::write(&file, &whole[..end]).unwrap();
        assert_eq!(read(&dir).unwrap().torn_bytes, (end - last) as u64);
        let (mut journal, records) = Journal::open(&dir, &lock).unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(fs::read(&file).unwrap(), whole[..last]);
        journal.append(&[succeeded(3)]).unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole);
    }
}

#[test]
fn a_torn_tail_of_zeros_is_cut_off() {
    let records = open_spoiled(|bytes| bytes.extend([0; 512])).unwrap();
    assert_eq!(records.len(), 5);
}

#[test]
fn a_bad_line_before_the_last_is_refused() {
    let spoiled = |line: usize, spoil: fn(&mut Vec<u8>, usize)| {
        open_spoiled(|bytes| spoil(bytes, line_starts(bytes)[line - 1]))
    };
    let overwritten = spoiled(3, |bytes, at| bytes[at + 30] ^= 1);
    assert!(matches!(overwritten, Err(JournalError::Damaged { line: 3, .. })), "{overwritten:?}");
    let noise = spoiled(3, |bytes, at| drop(bytes.splice(at..at, *b"noise\n")));
    assert!(matches!(noise, Err(JournalError::Damaged { line: 3, .. })), "{noise:?}");
    let half = spoiled(4, |bytes, at| drop(bytes.splice(at - 9..at - 1, [])));
    let message = half.unwrap_err().to_string();
    assert!(message.ends_with("is damaged in line 3: it is not whole"), "{message}");
    let last = spoiled(5, |bytes, at| bytes[at + 30] ^= 1);
    let message = last.unwrap_err().to_string();
    assert!(message.ends_with("is damaged in line 5: its checksum does not match"), "{message}");
}

#[test]
fn a_gap_in_the_numbers_is_refused() {
    let gap = open_spoiled(|bytes| {
        let starts = line_starts(bytes);
        bytes.drain(starts[2]..starts[3]);
    });
    let message = gap.unwrap_err().to_string();
    assert!(message.ends_with("in line 3: it has the number 4 where 3 was due"), "{message}");
}

#[test]
fn an_empty_journal_is_refused() {
    let empty = open_spoiled(Vec::clear);
    assert!(matches!(empty, Err(JournalError::Empty { .. })), "{empty:?}");
    let torn = open_spoiled(|bytes| bytes.truncate(40));
    assert!(matches!(torn, Err(JournalError::Empty { .. })), "{torn:?}");
}

#[test]
fn what_is_no_journal_is_refused() {
    let foreign: &[&[u8]] = &[
        &[0x7f, b'E', b'L', b'F', 0, 1, 2, 3, b'\n', 0xff],
        &[0; 4096],
        b"hello",
        b"\n",
        b"{}\n",
        b"{\"seq\":\"one\"}\n{\"seq\":2}\n",
        b"{\"level\":\"info\",\"msg\":\"started\"}\n{\"level\":\"info\",\"msg\":\"done\"}\n",
        b"[1,2,3]\n",
    ];
    for bytes in foreign {
        let opened = open_spoiled(|all| *all = bytes.to_vec());
        let text = String::from_utf8_lossy(bytes);
        assert!(
            matches!(opened, Err(JournalError::Foreign { .. } | JournalError::Damaged { .. })),
            "{text}: {opened:?}"
        );
        let message = opened.unwrap_err().to_string();
        assert!(message.contains("events.jsonl"), "{message}");
    }
}

/// A line of any version, with a checksum that is right.
fn line_of(seq: u64, version: u32, event: &str) -> String {
    let body =
        format!(r#"{{"seq":{seq},"at":"2025-11-24T16:00:00.000Z","v":{version},"event":{event}"#);
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32fast::hash(body.as_bytes()))
}

#[test]
fn a_newer_version_is_refused_whether_or_not_its_events_look_familiar() {
    for event in [r#"{"type":"task_succeeded","task":"a"}"#, r#"{"kind":"unheard_of"}"#] {
        let newer = open_spoiled(|bytes| bytes.extend_from_slice(line_of(6, 2, event).as_bytes()));
        let message = newer.unwrap_err().to_string();
        assert!(message.ends_with("is of version 2; this build reads up to 1"), "{message}");
    }
    let unknown = open_spoiled(|bytes| {
        bytes.extend_from_slice(line_of(6, 1, r#"{"type":"unheard_of"}"#).as_bytes());
    });
    let message = unknown.unwrap_err().to_string();
    assert!(message.contains("in line 6: its event cannot be read"), "{message}");
}

#[test]
fn there_is_one_writer_a_run_within_one_process_too() {
    let scene = Scene::new();
    let (run, lock, _journal) = scene.run(1);
    assert!(scene.store.is_locked(&run).unwrap());
    match scene.store.lock_run(&run) {
        Err(LockError::Busy { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(lock);
    assert!(!scene.store.is_locked(&run).unwrap());
    scene.store.lock_run(&run).unwrap();
}

#[test]
fn a_lock_of_another_run_opens_no_journal() {
    let scene = Scene::new();
    let (run, _lock, _journal) = scene.run(1);
    let (_, other_lock, _other) = scene.run(2);
    let opened = Journal::open(&scene.store.run_dir(&run), &other_lock);
    assert!(matches!(opened, Err(JournalError::NotLocked { .. })));
}

#[test]
fn events_out_of_order_are_not_written() {
    let scene = Scene::new();
    let (run, _lock, mut journal) = scene.run(1);
    journal.append(&history(&run, 3)).unwrap();
    for wrong in [vec![succeeded(3)], vec![succeeded(5)], vec![succeeded(4), succeeded(6)]] {
        let appended = journal.append(&wrong);
        assert!(matches!(appended, Err(JournalError::OutOfOrder { .. })), "{appended:?}");
    }
    journal.append(&[succeeded(4)]).unwrap();
    assert_eq!(read(&scene.store.run_dir(&run)).unwrap().records.len(), 4);
}

#[test]
fn a_follower_gives_each_event_once_and_never_a_torn_line() {
    let scene = Scene::new();
    let (run, _lock, mut journal) = scene.run(1);
    let dir = scene.store.run_dir(&run);
    let mut all = Follower::new(&dir, 0);
    let mut late = Follower::new(&dir, 3);
    assert!(all.poll().unwrap().is_empty());
    journal.append(&history(&run, 2)).unwrap();
    assert_eq!(all.poll().unwrap(), history(&run, 2));
    assert!(late.poll().unwrap().is_empty());

    let mut bytes = fs::read(scene.file(&run)).unwrap();
    journal.append(&[succeeded(3), succeeded(4)]).unwrap();
    let grown = fs::read(scene.file(&run)).unwrap();
    for end in bytes.len() + 1..grown.len() {
        fs::write(scene.file(&run), &grown[..end]).unwrap();
        // Each longer write replaces the file's content in place, as an append would show it.
        let seen = all.poll().unwrap();
        assert!(seen.iter().all(|record| record.seq == 3), "{seen:?}");
        bytes.extend(&grown[bytes.len()..end]);
    }
    fs::write(scene.file(&run), &grown).unwrap();
    assert_eq!(all.poll().unwrap(), [succeeded(4)]);
    assert_eq!(late.poll().unwrap(), [succeeded(4)]);
    assert!(all.poll().unwrap().is_empty());

    fs::write(scene.file(&run), &grown[..50]).unwrap();
    assert!(matches!(all.poll(), Err(JournalError::CutBack { .. })));
}

#[test]
fn a_follower_waits_for_a_journal_that_is_not_there_yet() {
    let scene = Scene::new();
    let mut follower = Follower::new(&scene.folder.path().join("nowhere"), 0);
    assert!(follower.poll().unwrap().is_empty());
}

#[test]
fn lines_longer_than_a_followers_piece_come_whole() {
    let scene = Scene::new();
    let (run, _lock, mut journal) = scene.run(1);
    let mut follower = Follower::new(&scene.store.run_dir(&run), 0);
    let mut records = history(&run, 2);
    let message = "é".repeat(700_000);
    let class = segue_core::FailureClass::Execution;
    let long = Event::TaskFailed { task: crate::support::task("a"), item: None, class, message };
    records.push(recorded(3, long));
    records.push(succeeded(4));
    journal.append(&records).unwrap();
    assert_eq!(follower.poll().unwrap(), records);
}
