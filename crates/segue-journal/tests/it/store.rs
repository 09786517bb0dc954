//! Where a store is, what its folders are like, and which run a name means.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use segue_core::RunId;
use segue_journal::{FindError, LockError, Store, StoreError, network_file_system, write_atomic};

use crate::support::{Scene, at, plan, run_id};

#[test]
fn a_store_is_where_the_rule_says() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("repository/.git")).unwrap();
    fs::create_dir_all(root.join("repository/deep/down")).unwrap();
    let locate =
        |start: &str, home: Option<&str>| Store::locate(&root.join(start), home.map(OsStr::new));
    assert_eq!(locate("repository/deep", Some("/elsewhere")), Path::new("/elsewhere"));
    assert_eq!(locate("repository", Some("mine")), root.join("repository/mine"));
    assert_eq!(locate("repository/deep/down", None), root.join("repository/.segue"));
    assert_eq!(locate("repository/deep/down", Some("")), root.join("repository/.segue"));
    fs::create_dir_all(root.join("repository/deep/.segue")).unwrap();
    assert_eq!(locate("repository/deep/down", None), root.join("repository/deep/.segue"));
    fs::create_dir_all(root.join("loose")).unwrap();
    assert_eq!(locate("loose", None), root.join("loose/.segue"));
}

/// Every file and folder under `path` with the low bits of its mode.
fn modes(path: &Path, found: &mut Vec<(String, u32)>) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        found.push((entry.path().display().to_string(), mode));
        if entry.path().is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[test]
fn folders_are_0700_and_files_0600() {
    let scene = Scene::new();
    let (run, _lock, mut journal) = scene.run(1);
    journal.append(&crate::support::history(&run, 2)).unwrap();
    let inputs = [("w.segue.yaml".to_owned(), b"a".to_vec()), ("p/q/r.md".to_owned(), vec![])];
    scene.store.create_run(&run_id(2), &inputs, &plan()).unwrap();
    let (mut index, _) = segue_journal::Index::open(&scene.store).unwrap();
    let summary = scene.store.describe(&run).summary.unwrap();
    index.record_run(&summary, None).unwrap();
    write_atomic(&scene.store.run_dir(&run).join("state.json"), b"{}").unwrap();

    let mut found = Vec::new();
    modes(scene.folder.path(), &mut found);
    assert!(found.len() > 15, "{found:?}");
    for (path, mode) in found {
        let expected = if Path::new(&path).is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path}");
    }
    let ignored = fs::read_to_string(scene.store.root().join(".gitignore")).unwrap();
    assert_eq!(ignored, "*\n");
}

#[test]
fn a_folder_that_is_not_ours_gets_no_gitignore() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).unwrap();
    assert!(!folder.path().join(".gitignore").exists());
    assert!(folder.path().join("runs").is_dir());
}

#[test]
fn a_run_keeps_its_inputs_and_its_plan() {
    let scene = Scene::new();
    let inputs = [("w.segue.yaml".to_owned(), b"a: 1".to_vec()), ("p/q.md".to_owned(), vec![0])];
    let dir = scene.store.create_run(&run_id(1), &inputs, &plan()).unwrap();
    assert_eq!(fs::read(dir.path.join("inputs/w.segue.yaml")).unwrap(), b"a: 1");
    assert_eq!(fs::read(dir.path.join("inputs/p/q.md")).unwrap(), [0]);
    let json = fs::read(dir.path.join("plan.json")).unwrap();
    assert_eq!(serde_json::from_slice::<segue_core::Plan>(&json).unwrap(), plan());
}

#[test]
fn inputs_that_leave_the_runs_folder_are_refused_and_leave_nothing() {
    let scene = Scene::new();
    for name in ["../x", "/etc/x", "a/../../x", "", "."] {
        let inputs = [(name.to_owned(), b"x".to_vec())];
        let made = scene.store.create_run(&run_id(1), &inputs, &plan());
        assert!(matches!(made, Err(StoreError::InvalidInput { .. })), "{name:?}: {made:?}");
        assert!(!scene.store.run_dir(&run_id(1)).exists());
    }
    assert_eq!(fs::read_dir(scene.store.root()).unwrap().count(), 2, "runs and .gitignore");
}

#[test]
fn an_id_is_given_once() {
    let scene = Scene::new();
    scene.store.create_run(&run_id(1), &[], &plan()).unwrap();
    let again = scene.store.create_run(&run_id(1), &[], &plan());
    assert!(matches!(again, Err(StoreError::RunExists { .. })), "{again:?}");
    assert!(scene.store.run_dir(&run_id(1)).join("plan.json").exists());
}

#[test]
fn fifty_runs_in_one_second_have_fifty_ids() {
    let scene = Scene::new();
    let store = &scene.store;
    let ids: BTreeSet<RunId> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50u64)
            .map(|number| {
                scope.spawn(move || {
                    // All in the same millisecond, and all with the same chance at first.
                    (0..).find_map(|again| {
                        let random = if again == 0 { 7 } else { number * 1000 + again };
                        let run = RunId::new("demo", at(0), random);
                        store.create_run(&run, &[], &plan()).ok()
                    })
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap().run).collect()
    });
    assert_eq!(ids.len(), 50);
    assert_eq!(scene.store.run_ids().unwrap().len(), 50);
}

#[test]
fn a_name_finds_the_run_it_means() {
    let scene = Scene::new();
    let none = scene.store.find("latest");
    assert!(matches!(none, Err(FindError::NotFound { nearest: None, .. })), "{none:?}");
    // The newest run is of the workflow that sorts first.
    let runs = [("zoo", 1), ("demo", 2), ("demo", 3), ("alpha", 4)]
        .map(|(workflow, ms)| RunId::new(workflow, at(ms * 1_000_000), 5));
    for run in &runs {
        scene.store.create_run(run, &[], &plan()).unwrap();
    }
    fs::create_dir(scene.store.root().join("runs/.hidden")).unwrap();
    let newest_first: Vec<RunId> = runs.iter().rev().cloned().collect();
    assert_eq!(scene.store.run_ids().unwrap(), newest_first);
    assert_eq!(scene.store.find("latest").unwrap(), runs[3]);
    assert_eq!(scene.store.find(runs[1].as_str()).unwrap(), runs[1]);
    assert_eq!(scene.store.find("zo").unwrap(), runs[0]);
    match scene.store.find("demo-") {
        Err(FindError::Ambiguous { matches, .. }) => {
            assert_eq!(matches, [runs[2].clone(), runs[1].clone()]);
        }
        other => panic!("{other:?}"),
    }
    match scene.store.find("aplha") {
        Err(error @ FindError::NotFound { .. }) => {
            assert_eq!(error.to_string(), "there is no run `aplha`");
            let FindError::NotFound { nearest, .. } = error else { unreachable!() };
            assert_eq!(nearest, Some(runs[3].clone()));
        }
        other => panic!("{other:?}"),
    }
    for name in ["../../x", "", "/etc/passwd", "demo/..", "a\nb", "🎈", &"x".repeat(300)] {
        let found = scene.store.find(name);
        assert!(matches!(found, Err(FindError::Invalid(_))), "{name:?}: {found:?}");
    }
}

#[test]
fn a_run_that_is_not_there_cannot_be_locked() {
    let scene = Scene::new();
    let locked = scene.store.lock_run(&run_id(9));
    assert!(matches!(locked, Err(LockError::NoSuchRun { .. })), "{locked:?}");
    assert!(!scene.store.run_dir(&run_id(9)).exists());
}

#[test]
fn network_file_systems_are_known_by_their_numbers() {
    let cases = [
        (0x6969, None, Some("NFS")),
        (0xFF53_4D42, None, Some("CIFS")),
        (0xFE53_4D42, None, Some("SMB2")),
        (0x0102_1997, None, Some("9p")),
        (0x6573_5546, Some("fuse.sshfs"), Some("sshfs")),
        (0x6573_5546, Some("fuse.gcsfuse"), Some("gcsfuse")),
        (0x6573_5546, Some("fuse.encfs"), None),
        (0x6573_5546, None, None),
        (0xEF53, Some("ext4"), None),
        (0x0102_1994, Some("tmpfs"), None),
        (0x9123_683E, Some("btrfs"), None),
        (0x794C_7630, Some("overlay"), None),
    ];
    for (magic, mount_type, expected) in cases {
        assert_eq!(network_file_system(magic, mount_type), expected, "{magic:x} {mount_type:?}");
    }
}

#[test]
fn a_file_is_replaced_in_one_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let sizes = [1, 100_000];
    write_atomic(&path, &[b'a'; 1]).unwrap();
    std::thread::scope(|scope| {
        let path = &path;
        let writers: Vec<_> = sizes
            .iter()
            .map(|size| {
                scope.spawn(move || {
                    (0..50).for_each(|_| write_atomic(path, &vec![b'a'; *size]).unwrap());
                })
            })
            .collect();
        while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert!(sizes.contains(&fs::read(path).unwrap().len()));
        }
    });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    assert!(write_atomic(&folder.path().join("none/state.json"), b"").is_err());
}
