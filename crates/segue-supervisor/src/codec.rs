//! Requests and reports as frames, and back.
//!
//! One function a direction and a type, fields in one order. Knows nothing of sockets.

use std::path::Path;

use crate::report::{Ended, Report};
use crate::request::{Limits, Request, Start, Stdin, StopMode, StopReason};
use crate::wire::{Fields, Frame, Kind, Malformed, Writer};

/// What the supervisor needs to know of a start that it only passes on: the first fields.
#[derive(Clone, Debug)]
pub(crate) struct StartHead {
    pub(crate) run_dir: std::path::PathBuf,
    pub(crate) number: u64,
    pub(crate) label: String,
}

impl StartHead {
    pub(crate) fn of(start: &Start) -> Self {
        let Start { run_dir, number, label, .. } = start;
        Self { run_dir: run_dir.clone(), number: *number, label: label.clone() }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self { run_dir: fields.path()?, number: fields.u64()?, label: fields.string()? })
    }
}

/// A stop as it goes over the wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopOrder {
    pub(crate) mode: StopMode,
    pub(crate) reason: StopReason,
}

pub(crate) fn write_request(request: &Request) -> Result<Vec<u8>, Malformed> {
    match request {
        Request::OpenRun { run_dir } => Writer::new(Kind::OpenRun).path(run_dir).finish(),
        Request::CloseRun { run_dir } => Writer::new(Kind::CloseRun).path(run_dir).finish(),
        Request::Start(start) => write_start(start),
        Request::Stop { run_dir, number, mode, reason } => {
            write_stop(run_dir, *number, StopOrder { mode: *mode, reason: *reason })
        }
    }
}

pub(crate) fn write_stop(
    run_dir: &Path,
    number: u64,
    order: StopOrder,
) -> Result<Vec<u8>, Malformed> {
    Writer::new(Kind::Stop)
        .path(run_dir)
        .u64(number)
        .u8(u8::from(order.mode == StopMode::AtOnce))
        .u8(reason_code(order.reason))
        .finish()
}

pub(crate) fn read_stop(frame: &Frame) -> Result<(std::path::PathBuf, u64, StopOrder), Malformed> {
    let mut fields = frame.fields();
    let run_dir = fields.path()?;
    let number = fields.u64()?;
    let mode = match fields.u8()? {
        0 => StopMode::Graceful,
        1 => StopMode::AtOnce,
        _ => return Err(Malformed::BadValue),
    };
    let reason = reason_of(fields.u8()?).ok_or(Malformed::BadValue)?;
    fields.end()?;
    Ok((run_dir, number, StopOrder { mode, reason }))
}

const REASONS: [StopReason; 4] =
    [StopReason::Cancelled, StopReason::Shutdown, StopReason::Budget, StopReason::Superseded];

/// The number of a reason, from 1; also what an adopter's signal carries.
pub(crate) fn reason_code(reason: StopReason) -> u8 {
    match reason {
        StopReason::Cancelled => 1,
        StopReason::Shutdown => 2,
        StopReason::Budget => 3,
        StopReason::Superseded => 4,
    }
}

pub(crate) fn reason_of(code: u8) -> Option<StopReason> {
    REASONS.into_iter().find(|reason| reason_code(*reason) == code)
}

fn write_start(start: &Start) -> Result<Vec<u8>, Malformed> {
    use std::os::unix::ffi::OsStrExt;
    let writer = Writer::new(Kind::Start)
        .path(&start.run_dir)
        .u64(start.number)
        .blob(start.label.as_bytes())
        .path(&start.attempt_dir)
        .list(&start.argv, |writer, item| writer.blob(item.as_bytes()))
        .path(&start.cwd)
        .list(&start.env, |writer, (name, value)| {
            writer.blob(name.as_bytes()).blob(value.as_bytes())
        });
    let writer = match &start.stdin {
        Stdin::Null => writer.u8(0),
        Stdin::Bytes(bytes) => writer.u8(1).blob(bytes),
        Stdin::Pty => writer.u8(2),
    };
    write_limits(writer.list(&start.secrets, |writer, item| writer.blob(item)), &start.limits)
        .blob(start.token.as_bytes())
        .list(&start.leave, |writer, item| writer.blob(item.as_bytes()))
        .finish()
}

fn write_limits(writer: Writer, limits: &Limits) -> Writer {
    writer
        .maybe(limits.timeout_ms)
        .maybe(limits.stall_ms)
        .u64(limits.kill_grace_ms)
        .maybe(limits.output_bytes_max)
        .maybe(limits.stdout_bytes_stop)
        .maybe(limits.orphan_ms)
        .maybe(limits.run_deadline_unix_ms)
        .maybe(limits.memory_bytes_max)
        .maybe(limits.cpu_millis_max)
        .maybe(limits.interrupt.map(|signal| u64::try_from(signal).unwrap_or(u64::MAX)))
}

pub(crate) fn read_start(frame: &Frame) -> Result<Start, Malformed> {
    let mut fields = frame.fields();
    let head = StartHead::read(&mut fields)?;
    let start = Start {
        run_dir: head.run_dir,
        number: head.number,
        label: head.label,
        attempt_dir: fields.path()?,
        argv: fields.list(Fields::os)?,
        cwd: fields.path()?,
        env: fields.list(|fields| Ok((fields.os()?, fields.os()?)))?,
        stdin: match fields.u8()? {
            0 => Stdin::Null,
            1 => Stdin::Bytes(fields.blob()?.to_vec()),
            2 => Stdin::Pty,
            _ => return Err(Malformed::BadValue),
        },
        secrets: fields.list(|fields| Ok(fields.blob()?.to_vec()))?,
        limits: read_limits(&mut fields)?,
        token: fields.string()?,
        leave: fields.list(Fields::string)?,
    };
    fields.end()?;
    Ok(start)
}

fn read_limits(fields: &mut Fields<'_>) -> Result<Limits, Malformed> {
    let signal = |value: u64| i32::try_from(value).map_err(|_| Malformed::BadValue);
    Ok(Limits {
        timeout_ms: fields.maybe()?,
        stall_ms: fields.maybe()?,
        kill_grace_ms: fields.u64()?,
        output_bytes_max: fields.maybe()?,
        stdout_bytes_stop: fields.maybe()?,
        orphan_ms: fields.maybe()?,
        run_deadline_unix_ms: fields.maybe()?,
        memory_bytes_max: fields.maybe()?,
        cpu_millis_max: fields.maybe()?,
        interrupt: fields.maybe()?.map(signal).transpose()?,
    })
}

pub(crate) fn write_report(report: &Report) -> Result<Vec<u8>, Malformed> {
    match report {
        Report::RunOpened { run_dir } => Writer::new(Kind::RunOpened).path(run_dir).finish(),
        Report::RunRefused { run_dir, message } => {
            Writer::new(Kind::RunRefused).path(run_dir).blob(message.as_bytes()).finish()
        }
        Report::Spawned { run_dir, number, pid, keeper_pid, started_unix_ms } => {
            Writer::new(Kind::Spawned)
                .path(run_dir)
                .u64(*number)
                .u32(*pid)
                .u32(*keeper_pid)
                .u64(*started_unix_ms)
                .finish()
        }
        Report::StartRefused { run_dir, number, message } => Writer::new(Kind::StartRefused)
            .path(run_dir)
            .u64(*number)
            .blob(message.as_bytes())
            .finish(),
        Report::Ended(ended) => {
            let json = serde_json::to_vec(ended).map_err(|_| Malformed::BadValue)?;
            Writer::new(Kind::Ended).path(&ended.run_dir).blob(&json).finish()
        }
        Report::Rejected { message } => {
            Writer::new(Kind::Rejected).blob(message.as_bytes()).finish()
        }
    }
}

/// A report, or `None` for a frame that is no report.
pub(crate) fn read_report(frame: &Frame) -> Result<Option<Report>, Malformed> {
    let mut fields = frame.fields();
    let report = match frame.kind {
        Kind::RunOpened => Report::RunOpened { run_dir: fields.path()? },
        Kind::RunRefused => {
            Report::RunRefused { run_dir: fields.path()?, message: fields.string()? }
        }
        Kind::Spawned => Report::Spawned {
            run_dir: fields.path()?,
            number: fields.u64()?,
            pid: fields.u32()?,
            keeper_pid: fields.u32()?,
            started_unix_ms: fields.u64()?,
        },
        Kind::StartRefused => Report::StartRefused {
            run_dir: fields.path()?,
            number: fields.u64()?,
            message: fields.string()?,
        },
        Kind::Ended => {
            let run_dir = fields.path()?;
            let json = fields.blob()?;
            let ended: Ended = serde_json::from_slice(json).map_err(|_| Malformed::BadValue)?;
            Report::Ended(Ended { run_dir, ..ended })
        }
        Kind::Rejected => Report::Rejected { message: fields.string()? },
        _ => return Ok(None),
    };
    fields.end()?;
    Ok(Some(report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameBuffer;

    fn frame(bytes: &[u8]) -> Frame {
        let mut buffer = FrameBuffer::default();
        buffer.push(bytes);
        buffer.next().expect("well formed").expect("whole")
    }

    fn start() -> Start {
        use std::os::unix::ffi::OsStringExt;
        let odd = || std::ffi::OsString::from_vec(b"\xff\xfe=".to_vec());
        Start {
            run_dir: "/run".into(),
            number: 7,
            label: "a.1".into(),
            attempt_dir: "/run/attempts/a.1".into(),
            argv: vec!["true".into(), odd(), "".into()],
            cwd: odd().into(),
            env: vec![("A".into(), odd())],
            stdin: Stdin::Bytes(vec![0, 1, 2]),
            secrets: vec![b"12345678".to_vec()],
            limits: Limits {
                timeout_ms: Some(1),
                kill_grace_ms: 2,
                interrupt: Some(2),
                orphan_ms: Some(u64::MAX),
                memory_bytes_max: Some(3),
                cpu_millis_max: Some(4),
                ..Limits::default()
            },
            token: "token".into(),
            leave: vec!["gradle".into()],
        }
    }

    #[test]
    fn a_start_comes_back_as_it_was_and_no_piece_of_it_is_a_panic() {
        let bytes = write_start(&start()).expect("short");
        assert_eq!(read_start(&frame(&bytes)), Ok(start()));
        for cut in 5..bytes.len() {
            let mut short = bytes[..cut].to_vec();
            let length = u32::try_from(cut - 4).expect("short").to_le_bytes();
            short[..4].copy_from_slice(&length);
            assert!(read_start(&frame(&short)).is_err(), "cut at {cut}");
        }
        for at in 5..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0xff;
            let _ = read_start(&frame(&wrong));
        }
    }

    #[test]
    fn stops_and_reports_come_back_as_they_were() {
        for reason in REASONS {
            let order = StopOrder { mode: StopMode::AtOnce, reason };
            let bytes = write_stop(Path::new("/run"), 3, order).expect("short");
            let (run_dir, number, read) = read_stop(&frame(&bytes)).expect("well formed");
            assert_eq!((run_dir.as_path(), number), (Path::new("/run"), 3));
            assert_eq!((read.mode, read.reason), (order.mode, order.reason));
        }
        let run_dir = || std::path::PathBuf::from("/run");
        let message = || "why".to_owned();
        let (number, pid, keeper_pid, started_unix_ms) = (1, 2, 3, 4);
        for report in [
            Report::RunOpened { run_dir: run_dir() },
            Report::RunRefused { run_dir: run_dir(), message: message() },
            Report::Spawned { run_dir: run_dir(), number, pid, keeper_pid, started_unix_ms },
            Report::StartRefused { run_dir: run_dir(), number, message: message() },
            Report::Rejected { message: message() },
        ] {
            let bytes = write_report(&report).expect("short");
            assert_eq!(read_report(&frame(&bytes)), Ok(Some(report)));
        }
    }
}
