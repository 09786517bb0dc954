//! A full disk: an append fails, nothing earlier is lost, and later appends are fine.
//!
//! The disk is a process's limit on the size of files (`ulimit -f`), set by a shell around
//! this test binary; a write then ends in the middle, as on a real one.

use std::path::Path;
use std::process::Command;

use segue_core::Event;
use segue_journal::{Journal, Store, read};

use crate::support::{Scene, history, plan, recorded, run_id, succeeded, task};

const ROLE: &str = "SEGUE_TEST_FULL";

fn long(seq: u64) -> segue_core::Recorded {
    let class = segue_core::FailureClass::Execution;
    recorded(
        seq,
        Event::TaskFailed { task: task("a"), item: None, class, message: "x".repeat(700) },
    )
}

#[test]
fn a_writer_on_a_full_disk() {
    let Ok(root) = std::env::var(ROLE) else { return };
    let store = Store::existing(Path::new(&root));
    let run = run_id(1);
    let lock = store.lock_run(&run).unwrap();
    let dir = store.run_dir(&run);
    let mut journal = Journal::create(&dir, &lock).unwrap();
    journal.append(&history(&run, 2)).unwrap();
    let mut last = 2;
    let failed = loop {
        let batch = [long(last + 1), long(last + 2), long(last + 3)];
        match journal.append(&batch) {
            Ok(()) => last += 3,
            Err(error) => break error,
        }
        assert!(last < 10_000, "the disk is never full");
    };
    assert!(failed.is_disk_full(), "{failed}");
    let found = read(&dir).unwrap();
    assert_eq!((found.records.len() as u64, found.torn_bytes), (last, 0));
    // A smaller batch still fits, and follows what is there.
    journal.append(&[succeeded(last + 1)]).unwrap();
    journal.syncer().unwrap().sync().unwrap();
    let again = journal.append(&[long(last + 2), long(last + 3), long(last + 4)]);
    assert!(again.unwrap_err().is_disk_full());
    println!("kept {}", last + 1);
}

#[test]
fn a_full_disk_loses_nothing_earlier() {
    let scene = Scene::new();
    let run = run_id(1);
    scene.store.create_run(&run, &[], &plan()).unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "disk_full::a_writer_on_a_full_disk", "--nocapture"])
        .env(ROLE, scene.store.root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let kept: u64 =
        said.lines().find_map(|line| line.split_once("kept ")).unwrap().1.parse().unwrap();

    let lock = scene.store.lock_run(&run).unwrap();
    let dir = scene.store.run_dir(&run);
    let (mut journal, records) = Journal::open(&dir, &lock).unwrap();
    assert_eq!(records.len() as u64, kept);
    assert_eq!(records.last(), Some(&succeeded(kept)));
    journal.append(&[long(kept + 1), long(kept + 2)]).unwrap();
    assert_eq!(read(&dir).unwrap().records.len() as u64, kept + 2);
}
