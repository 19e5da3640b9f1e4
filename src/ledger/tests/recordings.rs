//! Event streams recorded from real Engines, whose containers ended in every way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Action, Event};
use crate::labels::Filter;
use crate::ledger::{EventFeed, InspectFailure, InspectPlan, Ledger, Now};

/// The events of a recorded stream, one a line. Its head and the chunk sizes are skipped.
fn events(engine: &str) -> Vec<Event> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(engine)
        .join("events.http");
    let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .filter_map(|line| Event::parse(line).unwrap())
        .collect()
}

/// What is reported if all containers are gone before an inspect: how often each name ended with
/// which code and reason. And how many runs are lost.
fn reported(engine: &str) -> (BTreeMap<String, usize>, u64) {
    let mut ledger = Ledger::new(
        Filter::default(),
        Duration::from_secs(300),
        Timestamp::UNIX_EPOCH,
    );
    let mut reported = BTreeMap::new();
    let mut died = 0;
    for event in events(engine) {
        died += u64::from(event.action == Action::Die);
        let now = Now {
            uptime: Duration::ZERO,
            engine: event.time,
            error: SignedDuration::ZERO,
        };
        if ledger.apply_event(&event, now) == InspectPlan::Now {
            ledger.inspect_failed(&event.id, InspectFailure::Gone, now);
        }
        for report in ledger.report(now, EventFeed::Off) {
            let name = report.name.trim_start_matches("fx-");
            let code = report.exit.code.map_or("?".to_owned(), |it| it.to_string());
            let text = format!("{name} {code} {}", report.exit.reason.name());
            *reported.entry(text).or_default() += 1;
        }
    }
    let all: usize = reported.values().sum();
    assert_eq!(all as u64 + ledger.lost(), died, "{engine}: {reported:?}");
    let counted: u64 = ledger.workloads().iter().flat_map(|(_, it)| it.exits).sum();
    assert_eq!(counted, all as u64, "{engine}");
    (reported, ledger.lost())
}

#[test]
fn docker() {
    for engine in ["docker-20.10", "docker-28.5"] {
        let (reported, lost) = reported(engine);
        for want in [
            "ok 0 completed",
            "err 3 error",
            "segv 139 signaled",
            "rm 5 error",
            "stopped 137 stopped",
            "killed 137 stopped",
            "compose 9 error",
            "oom 137 oom_killed",
            "oomrm 137 oom_killed",
            "restarted 8 error",
            "cgparent 2 error",
        ] {
            assert_eq!(
                reported.get(want),
                Some(&1),
                "{engine}: {want} of {reported:?}"
            );
        }
        assert_eq!(
            reported.get("onfailure 6 error"),
            Some(&3),
            "{engine}: {reported:?}"
        );
        assert!(reported["crashloop 7 error"] >= 8, "{engine}: {reported:?}");
        // A label called `exitCode` hides the code of one exit.
        assert_eq!(lost, 1, "{engine}");
    }
}

#[test]
fn podman() {
    let (reported, lost) = reported("podman-5.8");
    for want in [
        "ok 0 completed",
        "rm 5 error",
        "labels 4 error",
        "segv 139 signaled",
        "restarted 8 error",
    ] {
        assert_eq!(reported.get(want), Some(&1), "{want} of {reported:?}");
    }
    assert_eq!(lost, 0);
}
