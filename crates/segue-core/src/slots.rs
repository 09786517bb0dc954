//! How many attempts run at once when nobody says so: what the machine has, and how it fares.
//!
//! Pure: hardware and load come in from outside, and so does the rhythm of the looks.

use crate::Hardware;

const GB: u64 = 1_000_000_000;
const MB: u64 = 1_000_000;

/// Above this share of the processors that may be used, in percent, half of the slots go.
const CPU_PERCENT_MAX: u32 = 90;

/// Below so much free memory half of the slots go.
const FREE_MEMORY_BYTES_MIN: u64 = 1_000 * MB;

/// From so much free memory on they come back: well above, or what they start takes it again.
const FREE_MEMORY_BYTES_CALM: u64 = 2 * FREE_MEMORY_BYTES_MIN;

/// So many looks in a row have to find busy processors: what just starts is busy for a moment.
const BUSY_LOOKS: u32 = 2;

/// So many looks in a row have to find calm before slots come back.
const CALM_LOOKS: u32 = 3;

/// How many attempts may run at once on this machine: the table of promise S2.9. A container
/// keeps one of its cores for what else is in it.
#[must_use]
pub fn concurrency_for(hardware: &Hardware) -> u32 {
    if hardware.kind == "container" {
        return hardware.cores.saturating_sub(1).max(1);
    }
    let memory = hardware.memory_bytes;
    match hardware.cores {
        16.. if memory >= 32 * GB => 12,
        8.. if memory >= 16 * GB => 8,
        4.. if memory >= 8 * GB => 4,
        _ => 2,
    }
}

/// How a machine fares at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Use of the processors that may be used since the look before, in percent.
    pub cpu_percent: u32,
    /// Memory that could be had without swapping.
    pub free_memory_bytes: u64,
}

/// The slots of a run that leaves their number to the machine.
///
/// Busy processors halve them, and so does scarce memory, both together twice. They come back
/// when calm has lasted, and for the processors only if twice the work would still fit: what
/// halved slots leave idle is no calm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoSlots {
    base: u32,
    cpu: Pressure,
    memory: Pressure,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pressure {
    is_on: bool,
    /// Looks in a row that spoke for the other state.
    against: u32,
}

impl Pressure {
    /// Takes in a look; `looks` in a row that speak for the other state bring it about.
    fn look(&mut self, is_against: bool, looks: u32) {
        self.against = if is_against { self.against + 1 } else { 0 };
        if self.against >= looks {
            *self = Self { is_on: !self.is_on, against: 0 };
        }
    }
}

impl AutoSlots {
    /// Slots that are `base`, at least 1, while all is calm.
    #[must_use]
    pub fn new(base: u32) -> Self {
        Self { base: base.max(1), cpu: Pressure::default(), memory: Pressure::default() }
    }

    /// How many slots there are by the looks so far; at least 1.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.base_with(self.cpu.is_on, self.memory.is_on)
    }

    fn base_with(&self, is_busy: bool, is_scarce: bool) -> u32 {
        (self.base >> (u32::from(is_busy) + u32::from(is_scarce))).max(1)
    }

    /// Takes in a look and says how many slots there are from now on.
    pub fn look(&mut self, load: Load) -> u32 {
        let Load { cpu_percent, free_memory_bytes } = load;
        if self.cpu.is_on {
            let (now, then) = (self.slots(), self.base_with(false, self.memory.is_on));
            let would_fit = u64::from(cpu_percent) * u64::from(then)
                <= u64::from(CPU_PERCENT_MAX) * u64::from(now);
            self.cpu.look(would_fit, CALM_LOOKS);
        } else {
            self.cpu.look(cpu_percent > CPU_PERCENT_MAX, BUSY_LOOKS);
        }
        if self.memory.is_on {
            self.memory.look(free_memory_bytes >= FREE_MEMORY_BYTES_CALM, CALM_LOOKS);
        } else {
            // Nothing is to be waited for: what comes next is the kernel's choice of whom to kill.
            self.memory.look(free_memory_bytes < FREE_MEMORY_BYTES_MIN, 1);
        }
        self.slots()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_table() {
        let cases = [
            ("vm", 32, 64 * GB, 12),
            ("bare metal", 16, 32 * GB, 12),
            ("vm", 16, 32 * GB - 1, 8),
            ("vm", 15, 64 * GB, 8),
            ("vm", 8, 16 * GB, 8),
            ("vm", 8, 16 * GB - 1, 4),
            ("bare metal", 7, 64 * GB, 4),
            ("bare metal", 4, 8 * GB, 4),
            ("vm", 4, 2 * GB, 2),
            ("vm", 3, 64 * GB, 2),
            ("vm", 1, GB, 2),
            ("vm", 0, 0, 2),
            ("container", 8, 64 * GB, 7),
            ("container", 2, GB, 1),
            ("container", 1, GB, 1),
            ("container", 0, 0, 1),
        ];
        for (kind, cores, memory_bytes, slots) in cases {
            let hardware =
                Hardware { cores, memory_bytes, cpu_model: String::new(), kind: kind.to_owned() };
            assert_eq!(concurrency_for(&hardware), slots, "{kind} {cores} {memory_bytes}");
        }
    }

    /// Looks of (percent of processor, free MB), and the slots after each.
    #[track_caller]
    fn check(base: u32, looks: &[(u32, u64, u32)]) {
        let mut slots = AutoSlots::new(base);
        for (place, &(cpu_percent, free, expected)) in looks.iter().enumerate() {
            let load = Load { cpu_percent, free_memory_bytes: free * MB };
            assert_eq!(slots.look(load), expected, "look {place}: {load:?}");
        }
    }

    #[test]
    fn pressure_halves_and_both_together_twice() {
        check(8, &[(91, 9000, 8), (91, 9000, 4), (100, 9000, 4), (100, 9000, 4)]);
        check(8, &[(0, 999, 4), (0, 0, 4)]);
        check(8, &[(95, 999, 4), (95, 999, 2)]);
        check(3, &[(95, 999, 1), (95, 999, 1)]);
        // Never none, and what was one stays one.
        check(1, &[(100, 0, 1), (100, 0, 1), (0, 9000, 1), (0, 9000, 1), (0, 9000, 1)]);
        check(0, &[(0, 9000, 1)]);
    }

    #[test]
    fn at_the_limit_is_no_pressure_and_a_moment_is_none_either() {
        check(8, &[(90, 1000, 8), (90, 1000, 8), (90, 1000, 8)]);
        check(8, &[(100, 9000, 8), (10, 9000, 8), (100, 9000, 8), (10, 9000, 8)]);
    }

    #[test]
    fn slots_come_back_when_calm_has_lasted() {
        let busy = [(100, 9000, 8), (100, 9000, 4)];
        let calm = [(45, 9000, 4), (45, 9000, 4), (45, 9000, 8)];
        check(8, &[&busy[..], &calm].concat());
        // One look that speaks against it begins the count again.
        let nearly = [(45, 9000, 4), (45, 9000, 4), (46, 9000, 4)];
        check(8, &[&busy[..], &nearly, &calm].concat());
        check(8, &[(0, 999, 4), (0, 2000, 4), (0, 1999, 4), (0, 2000, 4), (0, 2000, 4)]);
        check(8, &[(0, 999, 4), (0, 2000, 4), (0, 2000, 4), (0, 2000, 8)]);
    }

    #[test]
    fn work_that_fills_the_machine_does_not_make_them_flap() {
        // Each of eight slots takes a core of eight: as many percent as there are slots.
        let mut slots = AutoSlots::new(8);
        let mut changes = 0;
        for _ in 0..1_000 {
            let before = slots.slots();
            let cpu_percent = before * 100 / 8;
            changes +=
                u32::from(slots.look(Load { cpu_percent, free_memory_bytes: GB * 9 }) != before);
        }
        assert_eq!((changes, slots.slots()), (1, 4));
    }
}
