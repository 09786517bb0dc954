//! One run of 40 tasks after another, killed at 200 random points in all, resumed each time.
//!
//! The seed is printed; `SEGUE_KILL_SEED` runs the same plans and choices again. When exactly a
//! kill strikes is the machine's chance too: the waits in here *are* the random points.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::{Victim, pids};
use crate::lab::{Lab, Live, PATIENCE, Signal, await_end, journal, signal};

const POINTS: usize = 200;
const POINTS_A_RUN: usize = 12;
const TASKS: usize = 40;
const LAYERS: usize = 5;
/// A kill comes at most so long after the one before: one of these for a whole run, so that some
/// runs are struck while they begin and others all along.
const PAUSES_MS_MAX: [u64; 3] = [40, 120, 320];
/// No run needs more resumes than this to end, with nobody killing any more.
const RESUMES_MAX: usize = 10;

/// A small generator of even numbers of chance (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// 40 tasks in layers. Each writes down that it began, and by which attempt.
fn workflow(chance: &mut Chance) -> String {
    let mut text = "name: forty\nlimits: {concurrency: 4, min_free_disk: 1MiB}\ndefaults: \
                    {retry: {attempts: 9, delay: 5ms, jitter: false}, kill_grace: 1s}\ntasks:\n"
        .to_owned();
    let wide = TASKS / LAYERS;
    for task in 0..TASKS {
        let layer = task / wide;
        writeln!(text, "  t{task}:").expect("a string");
        if layer > 0 {
            let mut needs: Vec<u64> = (0..=chance.below(3))
                .map(|_| ((layer - 1) * wide) as u64 + chance.below(wide as u64))
                .collect();
            needs.sort_unstable();
            needs.dedup();
            let needs: Vec<String> = needs.iter().map(|need| format!("t{need}")).collect();
            writeln!(text, "    needs: [{}]", needs.join(", ")).expect("a string");
        }
        let pause = 10 + chance.below(50);
        let fails =
            if chance.one_in(6) { "\n      [ {{ task.attempt }} -gt 1 ] || exit 7" } else { "" };
        writeln!(
            text,
            "    run: |\n      echo {{{{ task.attempt }}}} >> side/{{{{ task.id }}}}\n      sleep \
             0.0{pause}{fails}\n      echo '{{\"by\": {{{{ task.attempt }}}}}}'\n    \
             outputs: {{by: {{json: /by}}}}"
        )
        .expect("a string");
    }
    text
}

/// Reads `state.json` of every run again and again: it is always whole and adds up.
fn watch_states(store: &Path, is_over: &AtomicBool) {
    let statuses = [
        "pending",
        "queued",
        "running",
        "waiting",
        "succeeded",
        "failed",
        "skipped",
        "blocked",
        "cancelled",
    ];
    while !is_over.load(Ordering::Relaxed) {
        let runs = std::fs::read_dir(store.join("runs")).into_iter().flatten().flatten();
        for run in runs {
            let Ok(text) = std::fs::read(run.path().join("state.json")) else { continue };
            let state: Value = serde_json::from_slice(&text).expect("state.json is always JSON");
            let metrics = &state["metrics"];
            let sum: u64 = statuses.iter().filter_map(|status| metrics[status].as_u64()).sum();
            assert_eq!(metrics["total"].as_u64(), Some(sum), "{metrics}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Kills at one point; whether anybody was there to kill.
fn strike(lab: &Lab, engine: &Live, chance: &mut Chance) -> bool {
    let victims: &[Victim] = match chance.below(5) {
        0 | 1 => &[Victim::Engine],
        2 => &[Victim::Supervisor],
        3 => &[Victim::Keeper],
        _ => &[Victim::Engine, Victim::Supervisor, Victim::Keeper],
    };
    let mut targets = Vec::new();
    for victim in victims {
        match victim {
            Victim::Engine => targets.push(engine.pid()),
            // Of all keepers one, or with everybody else all of them.
            Victim::Keeper if victims.len() == 1 || chance.one_in(2) => {
                let keepers = pids(lab, Victim::Keeper);
                let count = keepers.len() as u64;
                targets.extend((count > 0).then(|| keepers[chance.below(count.max(1)) as usize]));
            }
            other => targets.extend(pids(lab, *other)),
        }
    }
    // Who dies first is chance as well.
    if chance.one_in(2) {
        targets.reverse();
    }
    for pid in &targets {
        signal(*pid, Signal::KILL);
    }
    !targets.is_empty()
}

/// Every attempt that began, by task, as the tasks themselves wrote it down.
fn side_effects(lab: &Lab) -> BTreeMap<String, Vec<u64>> {
    let files = std::fs::read_dir(lab.work().join("side")).expect("a folder").flatten();
    let numbers = |path: PathBuf| -> Vec<u64> {
        let text = std::fs::read_to_string(path).expect("text");
        text.lines().map(|line| line.parse().expect("a number")).collect()
    };
    files
        .map(|file| (file.file_name().to_string_lossy().into_owned(), numbers(file.path())))
        .collect()
}

/// What the kills have led to: a test that met nothing of it would prove nothing.
#[derive(Debug, Default)]
struct Met {
    points: usize,
    resumed: usize,
    adopted: usize,
    lost: usize,
}

/// What has to hold once a run has ended well.
fn check(lab: &Lab, run: &Path, met: &mut Met) {
    let events = journal(run);
    let mut seqs = events.iter().map(|recorded| recorded["seq"].as_u64().expect("a number"));
    assert!((1..).zip(&mut seqs).all(|(place, seq)| place == seq), "gaps");
    let mut cleared: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut succeeded: BTreeMap<String, usize> = BTreeMap::new();
    let mut dispatched = BTreeSet::new();
    for event in events.iter().map(|recorded| &recorded["event"]) {
        let task = |value: &Value| value["task"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("attempt_cleared") => {
                let name = task(&event["attempt"]);
                assert!(!succeeded.contains_key(&name), "{name} ran again after it succeeded");
                let number = event["attempt"]["number"].as_u64().expect("a number");
                cleared.entry(name).or_default().push(number);
            }
            Some("task_succeeded") => *succeeded.entry(task(event)).or_default() += 1,
            Some("run_resumed") => met.resumed += 1,
            Some("attempt_dispatched") => {
                let number = event["attempt"]["number"].as_u64().expect("a number");
                let again = !dispatched.insert((task(&event["attempt"]), number));
                met.adopted += usize::from(again);
            }
            Some("attempt_ended") if event["report"]["class"] == "lost" => met.lost += 1,
            _ => {}
        }
    }
    let effects = side_effects(lab);
    for index in 0..TASKS {
        let task = format!("t{index}");
        assert_eq!(succeeded.get(&task), Some(&1), "{task} has to succeed once");
        let (did, recorded) = (&effects[&task], &cleared[&task]);
        let mut distinct = did.clone();
        distinct.dedup();
        assert_eq!(&distinct, did, "{task}: an attempt ran twice");
        assert!(did.iter().all(|number| recorded.contains(number)), "{task}: unrecorded: {did:?}");
        assert!(did.len() <= recorded.len(), "{task}: {did:?} of {recorded:?}");
    }
}

/// One run: killed until it ends or `points` are used up, then left to end.
fn one_run(chance: &mut Chance, points: usize, met: &mut Met) {
    let lab = Lab::with(&workflow(chance));
    std::fs::create_dir(lab.work().join("side")).expect("a folder");
    let (store, is_over) = (lab.store(), AtomicBool::new(false));
    let pause_ms_max = PAUSES_MS_MAX[chance.below(3) as usize];
    let mut hit = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| watch_states(&store, &is_over));
        let _guard = Guard(&is_over);
        let mut engine = lab.live(&["run", "flow.segue.yaml"]);
        while lab.runs().is_empty() {
            std::thread::yield_now();
        }
        while hit < points {
            std::thread::sleep(Duration::from_millis(chance.below(pause_ms_max)));
            if !await_end(engine.pid(), Duration::ZERO) {
                hit += usize::from(strike(&lab, &engine, chance));
                continue;
            }
            match next_engine(&lab, engine) {
                Some(next) => engine = next,
                None => return,
            }
        }
        for _ in 0..RESUMES_MAX {
            match next_engine(&lab, engine) {
                Some(next) => engine = next,
                None => return,
            }
        }
        panic!("the run does not end: {}", engine.told());
    });
    lab.await_emptiness();
    check(&lab, &lab.latest(), met);
    met.points += hit;
}

/// Lets the watcher end also when the test fails.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The engine after one that ends: none if the run has ended well.
fn next_engine(lab: &Lab, engine: Live) -> Option<Live> {
    assert!(await_end(engine.pid(), PATIENCE), "it hangs: {}", engine.told());
    let done = engine.wait();
    // It was killed, or the run failed: an attempt was lost too often.
    assert!([0, 1, -9].contains(&done.code), "{done:#?}");
    (done.code != 0).then(|| lab.live(&["resume", "latest"]))
}

#[test]
fn kill_anybody_at_200_random_points() {
    let given = std::env::var("SEGUE_KILL_SEED").ok().and_then(|text| text.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed: u64 = given.unwrap_or_else(|| now.expect("after 1970").as_secs());
    println!("SEGUE_KILL_SEED={seed}");
    let mut chance = Chance(seed);
    let (mut met, mut runs) = (Met::default(), 0);
    while met.points < POINTS {
        let left = POINTS - met.points;
        one_run(&mut chance, left.min(POINTS_A_RUN), &mut met);
        runs += 1;
    }
    println!("{met:?} in {runs} runs");
    assert!(met.resumed > 20 && met.adopted > 5 && met.lost > 5, "{met:?}");
}
