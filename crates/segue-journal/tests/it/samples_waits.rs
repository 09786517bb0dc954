//! Samples of what tasks wait for: checks, people, services.

use segue_core::{
    Action, Answer, ApprovalAnswered, ApprovalAsked, CheckEnded, CheckKind, CheckStarted, Event,
    Millis, Precheck, Probe, Service, ServiceReleased, SkipReason, StopReason, Task, Template,
};

use crate::support::{at, task};

fn text(text: &str) -> Template {
    Template(text.to_owned())
}

/// One event of each kind, every choice among them.
pub(crate) fn events() -> Vec<Event> {
    let (name, seen) = (task("b"), "it answered 503".to_owned());
    let (by, note) = ("ann".to_owned(), "it's \"fine\"".to_owned());
    let (until, silent) = (Some(at(9_000)), String::new());
    let checked = |kind, passed, seen, next| {
        Event::CheckEnded(CheckEnded { task: task("b"), kind, passed, seen, next })
    };
    let answered = |answer, by, note| {
        Event::ApprovalAnswered(ApprovalAnswered { task: task("b"), answer, by, note })
    };
    let started = CheckStarted { task: name.clone(), kind: CheckKind::Precheck, until: at(60_000) };
    let message = "Publish?".to_owned();
    let asked = |until, default| {
        let message = message.clone();
        Event::ApprovalAsked(ApprovalAsked { task: task("b"), message, until, default })
    };
    vec![
        Event::CheckStarted(started),
        checked(CheckKind::Precheck, false, seen, Some(at(3_000))),
        checked(CheckKind::Ready, true, silent.clone(), None),
        asked(until, Some(Answer::Reject)),
        asked(None, None),
        answered(Answer::Approve, by, note),
        answered(Answer::Reject, silent.clone(), silent.clone()),
        Event::TaskSkipped { task: name.clone(), item: None, reason: SkipReason::NotNeeded },
        Event::ApprovalWithdrawn { task: name.clone() },
        Event::ServiceReady { task: name.clone() },
        Event::ServiceReleased(ServiceReleased {
            task: name.clone(),
            reason: StopReason::Released,
            fault: silent,
        }),
        Event::ServiceReleased(ServiceReleased {
            task: name,
            reason: StopReason::NotReady,
            fault: "ready `file: x` did not pass".to_owned(),
        }),
    ]
}

fn check(probe: Probe, hint: Option<&str>) -> Precheck {
    let hint = hint.map(str::to_owned);
    Precheck { probe, wait: Millis(60_000), every: Millis(2_000), hint }
}

/// A service and an approval.
pub(crate) fn tasks() -> [Task; 2] {
    let mut service = Task::new(task("service"), &["db"]);
    let url = text("http://localhost:5432/");
    service.background = Some(Service { ready: Some(check(Probe::Http { url }, None)) });
    service.precheck = Some(check(Probe::File { path: text("data") }, Some("make data")));
    let mut approval = Task::new(task("approval"), &[]);
    let message = text("Publish {{ params.x }}?");
    let (timeout, default) = (Some(Millis(1)), Some(Answer::Approve));
    approval.action = Action::Approve { message, timeout, default };
    approval.precheck = Some(check(Probe::Run { script: text("curl -f x") }, None));
    [service, approval]
}
