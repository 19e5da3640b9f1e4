//! When exits are reported, and which are counted.

use std::time::Duration;

use serde_json::json;

use super::evidence::Evidence;
use super::support::{TestHost, inspect, listed, web_event};
use crate::ledger::{EventFeed, InspectFailure};

#[test]
fn an_exit_before_the_start_is_not_counted() {
    let mut host = TestHost::new();
    // It exited five seconds before the exporter started.
    let run = inspect("exited", 3, -8, -5);
    host.collect(&listed("exited", "Exited (3) 15 seconds ago"), &run);
    let now = host.time();
    let reports = host.ledger.report(now, EventFeed::Off);
    assert_eq!(reports.len(), 1);
    assert!(reports[0].is_before_start);
    assert!(host.ledger.report_at().is_none());
    assert_eq!(host.counted(), 0);
}

#[test]
fn a_repeated_event_from_before_the_start_is_not_counted() {
    let mut host = TestHost::new();
    host.web_event("start", -20, &json!({}));
    host.web_event("die", -10, &json!({"exitCode": "3"}));
    host.web_event("start", 5, &json!({}));
    host.web_event("die", 6, &json!({"exitCode": "4"}));
    let now = host.time();
    let reports = host.ledger.report(now, EventFeed::Off);
    let reports = reports.iter();
    let before: Vec<_> = reports
        .map(|it| (it.exit.code, it.is_before_start))
        .collect();
    assert_eq!(before, [(Some(3), true), (Some(4), false)]);
    assert_eq!(host.counted(), 1);
}

#[test]
fn a_listed_exit_waits_for_its_event() {
    let mut host = TestHost::new();
    host.list(&[]);
    host.collect(
        &listed("exited", "Exited (137) 5 seconds ago"),
        &inspect("exited", 137, 2, 5),
    );
    assert_eq!(host.exits(), ["web 137 signaled at 5 after 3"]);
    for (now, events, want) in [
        (10, EventFeed::Live, 0),
        (12, EventFeed::Live, 0),
        (19, EventFeed::CatchingUp, 0),
        (19, EventFeed::Live, 1),
        (20, EventFeed::Live, 0),
    ] {
        assert_eq!(host.ledger.report_at().is_some(), now < 20);
        host.now = now;
        assert_eq!(host.report_codes(events).len(), want, "{now} {events:?}");
    }
}

#[test]
fn reports_are_due_when_the_first_of_them_is() {
    let mut host = TestHost::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    assert_eq!(host.ledger.report_at(), None);
    host.now = 10;
    for (id, action, more) in [
        ("a", "die", json!({"exitCode": "3"})),
        // Only an inspect tells whether this is its stop signal.
        ("b", "kill", json!({"signal": "1"})),
        ("b", "die", json!({"exitCode": "129"})),
    ] {
        let mut event = web_event(action, 10, &more);
        event.id = id.to_owned();
        let now = host.time();
        host.ledger.apply_event(&event, now);
    }
    let at = |host: &mut TestHost| {
        let reports = host.reports(EventFeed::Live);
        (reports.join(" "), host.ledger.report_at())
    };
    let due = Some(Duration::from_millis(10_250));
    assert_eq!(at(&mut host), (String::new(), due));
    host.now = 11;
    let due = Some(Duration::from_secs(130));
    assert_eq!(at(&mut host), ("3 error".to_owned(), due));
    host.now = 130;
    assert_eq!(at(&mut host), ("129 signaled".to_owned(), None));
}

#[test]
fn a_lost_run_beside_an_exit_is_due_in_its_turn() {
    let mut host = TestHost::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    host.now = 12;
    host.apply(Evidence::Event("start", 1, 0));
    // One run ended without a seen exit, another with its event.
    host.inspect("c1", &inspect("running", 0, 10, 8));
    host.apply(Evidence::Event("die", 12, 3));
    host.inspect_fails("c1", InspectFailure::Failed);
    assert_eq!(host.reports(EventFeed::Live), ["3 error"]);
    assert!(host.ledger.report_at() <= Some(Duration::from_secs(15)));
    host.now = 15;
    host.reports(EventFeed::Live);
    assert_eq!((host.ledger.report_at(), host.ledger.lost()), (None, 1));
}
