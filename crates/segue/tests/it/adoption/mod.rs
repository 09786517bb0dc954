//! Engines, supervisors and keepers that are killed: tasks go on, and the next engine adopts them.

mod alone;
mod random_points;

use crate::lab::{Lab, Live, Signal, await_end, signal};

/// Who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Engine,
    Supervisor,
    Keeper,
}

/// The processes of `lab` that are `victim`s; engines are the test's own children.
pub(crate) fn pids(lab: &Lab, victim: Victim) -> Vec<u32> {
    let name = match victim {
        Victim::Engine => "segue",
        Victim::Supervisor => "segue-supervise",
        Victim::Keeper => "segue-keeper",
    };
    let is_named = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim_end() == name
    };
    lab.processes().into_iter().filter(is_named).collect()
}

/// SIGKILLs every supervisor and keeper of `lab`, and waits until they are gone.
pub(crate) fn kill_all_but_the_engine(lab: &Lab) {
    let pids = [pids(lab, Victim::Supervisor), pids(lab, Victim::Keeper)].concat();
    for pid in &pids {
        signal(*pid, Signal::KILL);
    }
    for pid in &pids {
        assert!(await_end(*pid, crate::lab::PATIENCE));
    }
}

/// Waits until `task` has printed its first line.
pub(crate) fn await_print(lab: &Lab, task: &str) {
    let mut logs: Live = lab.live(&["logs", "latest", task, "-f"]);
    assert!(logs.next_line().is_some(), "it ended without a word: {}", logs.told());
    logs.kill();
}
