//! Slots that follow the machine's load, while a run leaves their number to the machine.
//!
//! Owns the rhythm of the looks. What a look finds comes from whoever drives the run, what
//! follows from it is the core's: see [`AutoSlots`].

use std::fmt;

use segue_core::{AutoSlots, Load, Millis, Timestamp};

/// The time between two looks at the machine's load.
const LOOK_PAUSE: Millis = Millis(5_000);

/// Reads the machine's load since the call before; `None` if it cannot be told.
pub type LoadReader = Box<dyn FnMut() -> Option<Load>>;

/// Looks at the load every few seconds while attempts run.
pub(crate) struct LoadWatch {
    auto: Option<(AutoSlots, LoadReader)>,
    look_at: Option<Timestamp>,
}

impl fmt::Debug for LoadWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.auto.as_ref().map(|(slots, _)| slots);
        f.debug_struct("LoadWatch").field("slots", &slots).finish_non_exhaustive()
    }
}

impl LoadWatch {
    /// A watch that begins with `base` slots; without a reader it never looks.
    pub(crate) fn new(base: u32, reader: Option<LoadReader>) -> Self {
        let auto = reader.map(|reader| (AutoSlots::new(base), reader));
        Self { auto, look_at: None }
    }

    /// When to look again; `None` if nothing runs or nobody leaves it to the machine.
    pub(crate) const fn due(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// Looks if it is due; how many slots there are then.
    pub(crate) fn look(&mut self, now: Timestamp, is_running: bool) -> Option<u32> {
        let (slots, read) = self.auto.as_mut()?;
        if !is_running {
            self.look_at = None;
            return None;
        }
        let at = *self.look_at.get_or_insert(now + LOOK_PAUSE);
        if at > now {
            return None;
        }
        self.look_at = Some(now + LOOK_PAUSE);
        Some(slots.look(read()?))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms)
    }

    #[test]
    fn the_machine_is_looked_at_only_while_something_runs() {
        let looks = Rc::new(Cell::new(0));
        let counted = Rc::clone(&looks);
        let busy = Load { cpu_percent: 100, free_memory_bytes: 0 };
        let reader = move || {
            counted.set(counted.get() + 1);
            (counted.get() != 2).then_some(busy)
        };
        let mut watch = LoadWatch::new(8, Some(Box::new(reader)));
        assert_eq!((watch.look(at(0), false), watch.due()), (None, None));
        assert_eq!((watch.look(at(0), true), watch.due()), (None, Some(at(5_000))));
        assert_eq!((watch.look(at(4_999), true), looks.get()), (None, 0));
        assert_eq!(watch.look(at(5_000), true), Some(4), "memory is scarce");
        assert_eq!((watch.look(at(10_000), true), looks.get()), (None, 2), "not to be told");
        assert_eq!(watch.look(at(15_000), true), Some(2), "and processors are busy");
        assert_eq!((watch.look(at(20_000), false), watch.due()), (None, None));
        assert_eq!((watch.look(at(60_000), true), watch.due()), (None, Some(at(65_000))));
        assert_eq!(looks.get(), 3);
    }

    #[test]
    fn a_number_that_was_given_stays() {
        let mut watch = LoadWatch::new(8, None);
        assert_eq!((watch.look(at(0), true), watch.due()), (None, None));
    }
}
