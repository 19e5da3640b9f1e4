//! What listings show: new runs, known runs, special cases.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::evidence::{Evidence, each_run_counts_once};
use super::support::{TestHost, inspect, listed};
use crate::ledger::{EventFeed, InspectFailure};

#[test]
fn an_exit_is_inspected_once() {
    let mut host = TestHost::new();
    let run = inspect("exited", 3, 2, 5);
    assert!(host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run));
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
    assert_eq!(host.report_codes(EventFeed::Off), [3]);
    for (now, age) in [
        (25, "20 seconds"),
        (70, "About a minute"),
        (200, "3 minutes"),
        (3605, "About an hour"),
        (3600 * 30, "30 hours"),
        (3600 * 24 * 10, "9 days"),
        (3600 * 24 * 400, "13 months"),
    ] {
        host.now = now;
        let listed = listed("exited", &format!("Exited (3) {age} ago"));
        assert!(!host.collect(&listed, &json!({})), "inspected after {age}");
        assert_eq!(host.report_codes(EventFeed::Off), [0; 0]);
    }
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
}

#[test]
fn another_code_or_a_younger_age_is_a_new_run() {
    let mut host = TestHost::new();
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.report_codes(EventFeed::Off), [3]);
    // Started and ended again between two listings, with the same code.
    host.now = 25;
    assert!(host.collect(
        &listed("exited", "Exited (3) 2 seconds ago"),
        &inspect("exited", 3, 20, 23)
    ));
    assert_eq!(host.exits(), ["web 3 error at 23 after 3"]);
    assert_eq!(host.report_codes(EventFeed::Off), [3]);
    // The same with another code.
    host.now = 40;
    assert!(host.collect(
        &listed("exited", "Exited (4) 17 seconds ago"),
        &inspect("exited", 4, 22, 23)
    ));
    assert_eq!(host.report_codes(EventFeed::Off), [4]);
}

#[test]
fn a_known_run_that_is_inspected_again_is_not_reported_again() {
    let mut host = TestHost::new();
    host.now = 100;
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) About a minute ago"), &run);
    assert_eq!(host.report_codes(EventFeed::Off), [3]);
    // The clock was set back, which makes the exit look younger.
    host.now = 150;
    assert!(host.collect(&listed("exited", "Exited (3) 2 seconds ago"), &run));
    assert_eq!(host.report_codes(EventFeed::Off), [0; 0]);
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
}

#[test]
fn a_container_that_runs_again_has_no_exit() {
    let mut host = TestHost::new();
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
    host.report_codes(EventFeed::Off);
    let runs = inspect("running", 0, 9, 5);
    for (state, is_inspected) in [("running", true), ("paused", false)] {
        assert_eq!(
            host.collect(&listed(state, "Up 1 second"), &runs),
            is_inspected
        );
        assert_eq!(host.exits(), [""; 0]);
        assert_eq!(host.last_exits(), ["web 3 error at 5 after 3"]);
    }
    host.now = 30;
    let again = inspect("exited", 3, 12, 28);
    assert!(host.collect(&listed("exited", "Exited (3) 2 seconds ago"), &again));
    assert_eq!(host.report_codes(EventFeed::Off), [3]);
}

#[test]
fn each_run_of_a_crash_loop_that_is_listed_is_one_exit() {
    let mut host = TestHost::new();
    for round in 1..=5 {
        host.now = round * 15;
        let listed = listed("restarting", "Restarting (7) 1 second ago");
        let run = inspect("restarting", 7, host.now - 3, host.now - 1);
        assert!(host.collect(&listed, &run));
        assert_eq!(host.report_codes(EventFeed::Off), [7], "round {round}");
    }
}

#[test]
fn a_container_listed_as_restarting_and_inspected_as_running() {
    let mut host = TestHost::new();
    // A start resets the code and keeps the end of the run before.
    let inspect = inspect("running", 0, 10, 8);
    host.collect(
        &listed("restarting", "Restarting (7) 2 seconds ago"),
        &inspect,
    );
    assert_eq!(host.last_exits(), ["web 7 error at 8"]);
}

#[test]
fn a_run_that_was_inspected_as_running_is_inspected_again() {
    let mut host = TestHost::new();
    let running = inspect("running", 0, 10, 8);
    host.collect(
        &listed("restarting", "Restarting (6) 1 second ago"),
        &running,
    );
    // It exits for good within the same second, with the same code.
    host.now = 11;
    let ended = inspect("exited", 6, 10, 10);
    assert!(host.collect(&listed("exited", "Exited (6) 1 second ago"), &ended));
    assert_eq!(host.exits(), ["web 6 error at 10 after 0"]);
}

#[test]
fn two_exits_within_a_second_differ_by_the_exact_time_of_the_first() {
    let mut host = TestHost::new();
    let just_now = listed("exited", "Exited (6) Less than a second ago");
    assert!(host.collect(&just_now, &inspect("exited", 6, 9, 9)));
    assert_eq!(host.report_codes(EventFeed::Off), [6]);
    host.now = 11;
    assert!(host.collect(&just_now, &inspect("exited", 6, 10, 11)));
    assert_eq!(host.report_codes(EventFeed::Off), [6]);
    assert_eq!(host.exits(), ["web 6 error at 11 after 1"]);
}

#[test]
fn a_container_that_no_longer_waits_for_its_restart_is_inspected_again() {
    let mut host = TestHost::new();
    let run = inspect("restarting", 6, 9, 9);
    host.collect(&listed("restarting", "Restarting (6) 1 second ago"), &run);
    let run = inspect("exited", 6, 9, 9);
    assert!(host.collect(&listed("exited", "Exited (6) 1 second ago"), &run));
    assert!(!host.collect(&listed("exited", "Exited (6) 1 second ago"), &run));
}

#[test]
fn another_clock_of_the_engine_costs_no_extra_inspects() {
    let mut host = TestHost::new();
    let hour = 3600;
    let run = inspect("exited", 3, hour + 2, hour + 5);
    assert!(host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run));
    for (now, age) in [
        (25, "20 seconds"),
        (70, "About a minute"),
        (300, "4 minutes"),
    ] {
        host.now = now;
        let listed = listed("exited", &format!("Exited (3) {age} ago"));
        assert!(!host.collect(&listed, &run), "inspected after {age}");
    }
    host.now = 315;
    let again = inspect("exited", 3, hour + 303, hour + 305);
    assert!(host.collect(&listed("exited", "Exited (3) 10 seconds ago"), &again));
}

#[test]
fn dead_and_removing_containers_keep_what_is_known_or_are_inspected() {
    for (state, status) in [("dead", "Dead"), ("removing", "Removal In Progress")] {
        let mut host = TestHost::new();
        let run = inspect(state, 3, 2, 5);
        assert!(host.collect(&listed(state, status), &run));
        assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
        assert!(!host.collect(&listed(state, status), &run));

        let mut host = TestHost::new();
        host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
        assert!(!host.collect(&listed(state, status), &json!({})));
        assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
        assert_eq!(host.report_codes(EventFeed::Off), [3]);
    }
    // The error is about the removal.
    let mut host = TestHost::new();
    let mut stuck = inspect("dead", 3, 2, 5);
    stuck["State"]["Error"] = "unable to remove filesystem".into();
    host.collect(&listed("dead", "Dead"), &stuck);
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
    // Removed before it ever ran.
    let mut host = TestHost::new();
    let unborn = json!({"State": {"Status": "removing", "ExitCode": 0}});
    host.collect(&listed("removing", "Removal In Progress"), &unborn);
    assert_eq!(host.exits(), [""; 0]);
}

#[test]
fn an_id_that_is_listed_twice_counts_once() {
    let mut host = TestHost::new();
    let stopped = listed("exited", "Exited (3) 5 seconds ago");
    assert_eq!(host.list(&[stopped.clone(), stopped]), ["c1".into()]);
    let states: Vec<_> = host
        .ledger
        .states()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].1, 1);
}

#[test]
fn recorded_special_cases() {
    for (name, want) in [
        ("exit255-after-crash", &["rb-a 255 error"][..]),
        ("start-failed-network", &["rb-netfail 128 start_failed"]),
        ("removing", &["rb-big 0 completed"]),
        (
            "swarm-task",
            &["rb-svc.1.f73pimw6fqbm59vr7n2r0c180 42 error"],
        ),
        // The OOM killer killed a child; the container keeps running.
        ("oom-child-still-running", &[]),
    ] {
        let read = |kind: &str| -> Value {
            let file = format!("fixtures/extra/{name}.{kind}.json");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            match value {
                Value::Array(elements) => elements[0].clone(),
                value => value,
            }
        };
        let mut host = TestHost::new();
        let inspected = host.collect(&read("list"), &read("inspect"));
        assert_eq!(inspected, !want.is_empty(), "{name}");
        assert_eq!(host.exits_without_times(), want, "{name}");
    }
}

#[test]
fn which_run_a_listing_belongs_to() {
    use Evidence::{Event, Inspect, Listed, NoInspect};
    each_run_counts_once(&[
        (
            "a run that nothing else shows",
            &[
                (20, Listed("exited", "Exited (3) 15 seconds ago")),
                (20, NoInspect(InspectFailure::Refused)),
            ],
            &["3 error"],
            0,
            "web 3 error",
        ),
        (
            "a run that an inspect shows later",
            &[
                (20, Listed("exited", "Exited (3) 15 seconds ago")),
                (20, NoInspect(InspectFailure::Refused)),
                (60, Inspect("exited", 3, 2, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 3",
        ),
        (
            "the run of an event",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (20, Listed("exited", "Exited (3) 15 seconds ago")),
                (20, NoInspect(InspectFailure::Refused)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "a run after the one of the last event",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (60, Listed("exited", "Exited (3) 15 seconds ago")),
                (60, NoInspect(InspectFailure::Refused)),
            ],
            &["3 error", "3 error"],
            0,
            "web 3 error",
        ),
        (
            "the state before the last event",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (8, Event("start", 8, 0)),
                (9, Listed("exited", "Exited (3) 4 seconds ago")),
                (9, NoInspect(InspectFailure::Refused)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "another run than the one of the previous listing",
            &[
                (20, Listed("running", "Up 19 seconds")),
                (100, Listed("running", "Up 30 seconds")),
                (100, NoInspect(InspectFailure::Refused)),
            ],
            &[],
            1,
            "web ?",
        ),
        (
            "another run than the one of a start event",
            &[
                (1, Event("start", 1, 0)),
                (100, Listed("running", "Up 30 seconds")),
                (100, NoInspect(InspectFailure::Refused)),
            ],
            &[],
            1,
            "web ?",
        ),
    ]);
}
