//! Whatever an event holds, it reads as it was written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use segue_core::{
    AttemptId, AttemptReport, Event, FailureClass, Finding, ItemKey, ItemsReset, ListedItem,
    Millis, Outcome, Recorded, RunRequest, RunStatus, SkipReason, Stored, TaskId, Teardown,
    Timestamp, Usd, Value, Wants,
};
use segue_journal::{Follower, read};

use crate::support::{Scene, started};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn task() -> impl Strategy<Value = TaskId> {
    "[a-z0-9_]{1,20}(/[a-z]{1,5})?".prop_map(|text| TaskId::parse(&text).unwrap())
}

fn attempt() -> impl Strategy<Value = AttemptId> {
    (task(), prop::option::of(any::<String>()), 1u32..).prop_map(|(task, item, number)| AttemptId {
        task,
        item: item.map(|item| ItemKey::new(&item)),
        number,
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.unix_ms()).prop_map(Timestamp::from_unix_ms)
}

fn class() -> impl Strategy<Value = FailureClass> {
    prop::sample::select(FailureClass::ALL)
}

fn values() -> impl Strategy<Value = BTreeMap<String, Value>> {
    prop::collection::btree_map(any::<String>(), value(), 0..3)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<i32>().prop_map(|code| Outcome::Exited { code }),
        any::<i32>().prop_map(|signal| Outcome::Signaled { signal }),
        (any::<String>(), any::<String>())
            .prop_map(|(kind, message)| Outcome::SpawnFailed { kind, message }),
        Just(Outcome::Lost),
    ]
}

fn report() -> impl Strategy<Value = AttemptReport> {
    let finding = (any::<String>(), any::<bool>(), prop::option::of(-1e300..1e300f64)).prop_map(
        |(detail, passed, value)| Finding {
            gate: "score".to_owned(),
            passed,
            detail,
            value,
            feedback: !passed,
        },
    );
    (
        outcome(),
        prop::option::of(class()),
        any::<String>(),
        prop::option::of(time()),
        prop::option::of(value().prop_map(Stored::Inline)),
        prop::collection::vec(finding, 0..3),
        prop::collection::vec(any::<u32>(), 0..3),
        prop::option::of(any::<i64>()),
    )
        .prop_map(|(outcome, class, tail, ended_at, result, findings, pids, cost)| {
            let mut report = AttemptReport::bare(outcome, class, Teardown::Unverified { pids });
            report.stderr_tail = tail;
            report.ended_at = ended_at;
            report.result = result;
            report.findings = findings;
            report.cost = cost.map(Usd);
            report
        })
}

fn item() -> impl Strategy<Value = Option<ItemKey>> {
    prop::option::of(any::<String>().prop_map(|key| ItemKey::new(&key)))
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (attempt(), any::<String>(), any::<u32>(), any::<bool>()).prop_map(
            |(attempt, group, max, reject)| {
                Event::GrantAsked { attempt, wants: Wants { group, max, reject } }
            }
        ),
        (attempt(), report())
            .prop_map(|(attempt, report)| Event::AttemptEnded { attempt, report: report.into() }),
        (task(), item(), time(), class(), any::<bool>()).prop_map(
            |(task, item, until, class, feedback)| {
                Event::RetryScheduled { task, item, until, class, feedback }
            }
        ),
        (task(), item(), class(), any::<String>()).prop_map(|(task, item, class, message)| {
            Event::TaskFailed { task, item, class, message }
        }),
        (task(), item(), any::<String>()).prop_map(|(task, item, expression)| {
            Event::TaskSkipped { task, item, reason: SkipReason::SkipIf { expression } }
        }),
        (task(), prop::collection::vec((any::<String>(), value()), 0..3)).prop_map(
            |(task, items)| {
                let item = |(key, value): (String, _)| ListedItem {
                    key: ItemKey::new(&key),
                    value: Stored::Inline(value),
                };
                Event::ItemsExpanded { task, items: items.into_iter().map(item).collect() }
            }
        ),
        (prop::sample::select(RunStatus::ALL), values()).prop_map(|(status, outputs)| {
            Event::RunEnded { status, outputs, failure: None, verdict_only: false }
        }),
        (
            prop::collection::vec(task(), 0..3),
            prop::collection::vec((task(), any::<String>(), any::<bool>()), 0..3),
            values(),
            any::<u64>(),
        )
            .prop_map(|(reset, items, params, timeout)| {
                let timeout = Some(Millis(timeout));
                let request = RunRequest { params, timeout, ..RunRequest::default() };
                let (digest, segue) = (String::new(), "0.1.0".to_owned());
                let item = |(task, key, anew): (_, String, _)| ItemsReset {
                    task,
                    keys: vec![ItemKey::new(&key)],
                    anew,
                };
                let items = items.into_iter().map(item).collect();
                Event::RunResumed { reset, request, slots: 1, digest, segue, items }
            }),
    ]
}

proptest! {
    // No file of failures: a failing case becomes a test of its own.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    })]

    #[test]
    fn events_read_as_they_were_written(
        events in prop::collection::vec((time(), event()), 1..8),
        batch in 1usize..5,
    ) {
        let scene = Scene::new();
        let (run, _lock, mut journal) = scene.run(1);
        let dir = scene.store.run_dir(&run);
        let mut follower = Follower::new(&dir, 1);
        journal.append(&[started(&run)]).unwrap();
        let records: Vec<Recorded> =
            (2..).zip(events).map(|(seq, (at, event))| Recorded { seq, at, event }).collect();
        let mut followed = Vec::new();
        for batch in records.chunks(batch) {
            journal.append(batch).unwrap();
            followed.extend(follower.poll().unwrap());
        }
        prop_assert_eq!(&read(&dir).unwrap().records[1..], &records[..]);
        prop_assert_eq!(followed, records);
    }
}
