//! One line of `events.jsonl`, written and read.
//!
//! `{"seq":1,"at":"…Z","v":1,"event":{…},"crc":"8 hex digits"}`: a JSON object of its own,
//! whose last member is the CRC-32 of all bytes before `,"crc"`. This envelope never
//! changes; `v` is the version of the event inside.

use std::io::Write as _;

use segue_core::{EVENT_VERSION, Event, Recorded, Seq, Timestamp};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// How every first line begins.
pub(crate) const FIRST_BYTES: &[u8] = b"{\"seq\":1,\"at\":\"";

const CRC_KEY: &[u8] = b",\"crc\":\"";
const CRC_DIGITS: usize = 8;
const CRC_BYTES: usize = CRC_KEY.len() + CRC_DIGITS + b"\"}".len();

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BadLine {
    /// Nothing that Segue wrote.
    Foreign,
    /// Written by a newer Segue.
    Newer(u32),
    /// Segue's, but not as it was written.
    Damaged(String),
}

#[derive(Deserialize)]
struct Line {
    seq: Seq,
    at: Timestamp,
    v: u32,
    event: Event,
}

/// What every version of a line has.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "seq")]
    _seq: Seq,
    v: u32,
    #[serde(rename = "event")]
    _event: IgnoredAny,
}

/// Appends the line of `recorded` to `buffer`, line feed included.
pub(crate) fn encode(recorded: &Recorded, buffer: &mut Vec<u8>) -> serde_json::Result<()> {
    let start = buffer.len();
    let Recorded { seq, at, event } = recorded;
    write!(buffer, "{{\"seq\":{seq},\"at\":\"{at}\",\"v\":{EVENT_VERSION},\"event\":")
        .map_err(serde_json::Error::io)?;
    serde_json::to_writer(&mut *buffer, event)?;
    let crc = crc32fast::hash(&buffer[start..]);
    writeln!(buffer, ",\"crc\":\"{crc:08x}\"}}").map_err(serde_json::Error::io)
}

/// Reads a line, given without its line feed, that must have the number `due`.
pub(crate) fn decode(line: &[u8], due: Seq) -> Result<Recorded, BadLine> {
    let damaged = |why: &str| Err(BadLine::Damaged(why.to_owned()));
    let Some(covered) = line.len().checked_sub(CRC_BYTES) else {
        return Err(unlike(line));
    };
    let (body, tail) = line.split_at(covered);
    if !tail.starts_with(CRC_KEY) || !tail.ends_with(b"\"}") {
        return Err(unlike(line));
    }
    let digits = &tail[CRC_KEY.len()..CRC_KEY.len() + CRC_DIGITS];
    let written = std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, 16).ok());
    if written != Some(crc32fast::hash(body)) {
        return damaged("its checksum does not match");
    }
    match serde_json::from_slice::<Line>(line) {
        Ok(line) if line.v > EVENT_VERSION => Err(BadLine::Newer(line.v)),
        Ok(line) if line.seq != due => {
            Err(BadLine::Damaged(format!("it has the number {} where {due} was due", line.seq)))
        }
        Ok(Line { seq, at, event, .. }) => Ok(Recorded { seq, at, event }),
        Err(error) => match serde_json::from_slice::<Envelope>(line) {
            Ok(envelope) if envelope.v > EVENT_VERSION => Err(BadLine::Newer(envelope.v)),
            Ok(_) => Err(BadLine::Damaged(format!("its event cannot be read: {error}"))),
            Err(_) => Err(BadLine::Foreign),
        },
    }
}

/// What to call a line that does not end as every line does.
fn unlike(line: &[u8]) -> BadLine {
    match serde_json::from_slice::<Envelope>(line) {
        Ok(_) => BadLine::Damaged("it has no checksum".to_owned()),
        Err(_) if line.starts_with(b"{\"seq\":") => BadLine::Damaged("it is not whole".to_owned()),
        Err(_) => BadLine::Foreign,
    }
}
