//! Real processes under a real supervisor: every way to end, to hide, to flood and to be killed.
#![expect(unsafe_code, reason = "tests wait by poll, signal and lock as the kernel has it")]

mod crashes;
mod limits;
mod outcomes;
mod output;
mod protocol;
mod support;
mod teardown;
