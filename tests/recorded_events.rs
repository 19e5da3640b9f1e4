//! The ledger on the event streams that real Engines wrote while containers ended in every way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use docker_exit_exporter::engine::{Action, Event};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{EventsCome, Ledger, Next, NotInspected, Now};
use jiff::{SignedDuration, Timestamp};

/// The recorded stream, without its head and chunk sizes: each event stands on a line of its own.
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

/// What is told when all containers are gone before anyone can inspect them: how often each name
/// ended with which code and reason; and how much is lost.
fn told(engine: &str) -> (BTreeMap<String, usize>, u64) {
    let mut ledger = Ledger::new(
        Filter::default(),
        Duration::from_secs(300),
        Timestamp::UNIX_EPOCH,
    );
    let mut told = BTreeMap::new();
    let mut died = 0;
    for event in events(engine) {
        died += u64::from(event.action == Action::Die);
        let now = Now {
            uptime: Duration::ZERO,
            engine: event.time,
            error: SignedDuration::ZERO,
        };
        if ledger.apply_event(&event, now) == Next::Inspect {
            ledger.inspect_failed(&event.id, NotInspected::Gone, now);
        }
        for report in ledger.report(now, EventsCome::Never) {
            let name = report.name.trim_start_matches("fx-");
            let code = report.exit.code.map_or("?".to_owned(), |it| it.to_string());
            let text = format!("{name} {code} {}", report.exit.reason.name());
            *told.entry(text).or_default() += 1;
        }
    }
    let all: usize = told.values().sum();
    assert_eq!(all as u64 + ledger.lost(), died, "{engine}: {told:?}");
    let counted: u64 = ledger.workloads().iter().flat_map(|(_, it)| it.exits).sum();
    assert_eq!(counted, all as u64, "{engine}");
    (told, ledger.lost())
}

#[test]
fn docker() {
    for engine in ["docker-20.10", "docker-28.5"] {
        let (told, lost) = told(engine);
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
            assert_eq!(told.get(want), Some(&1), "{engine}: {want} of {told:?}");
        }
        assert_eq!(
            told.get("onfailure 6 error"),
            Some(&3),
            "{engine}: {told:?}"
        );
        assert!(told["crashloop 7 error"] >= 8, "{engine}: {told:?}");
        // A label called `exitCode` hides the code of this one.
        assert_eq!(lost, 1, "{engine}");
    }
}

#[test]
fn podman() {
    let (told, lost) = told("podman-5.8");
    for want in [
        "ok 0 completed",
        "rm 5 error",
        "labels 4 error",
        "segv 139 signaled",
        "restarted 8 error",
    ] {
        assert_eq!(told.get(want), Some(&1), "{want} of {told:?}");
    }
    assert_eq!(lost, 0);
}
