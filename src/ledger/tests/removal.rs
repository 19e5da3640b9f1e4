//! Removed and missing containers.

use std::time::Duration;

use serde_json::json;

use super::evidence::{Evidence, each_run_counts_once};
use super::support::{TestHost, inspect, listed, web_event};
use crate::ledger::{EventFeed, InspectFailure};

#[test]
fn a_removed_containers_exit_stays_for_the_retention() {
    let mut host = TestHost::with_retention(60);
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    host.report_codes(EventFeed::Off);
    host.now = 25;
    host.list(&[]);
    assert_eq!(host.exits().len(), 1);
    assert_eq!(host.ledger.next_expiry(), Some(Duration::from_secs(85)));
    assert!(!host.ledger.expire(Duration::from_secs(84)));
    assert!(host.ledger.expire(Duration::from_secs(85)));
    assert_eq!(host.exits(), [""; 0]);
    assert_eq!(host.ledger.next_expiry(), None);
}

#[test]
fn without_retention_an_exit_leaves_at_once() {
    let mut host = TestHost::with_retention(0);
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    host.report_codes(EventFeed::Off);
    host.list(&[]);
    assert_eq!(host.exits(), [""; 0]);
}

#[test]
fn a_container_that_is_listed_again_is_not_gone() {
    let mut host = TestHost::with_retention(60);
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
    host.list(&[]);
    host.now = 20;
    assert!(!host.collect(&listed("exited", "Exited (3) 15 seconds ago"), &run));
    assert!(!host.ledger.expire(Duration::from_secs(1000)));
}

#[test]
fn an_exit_that_waits_has_no_expiry() {
    let mut host = TestHost::with_retention(0);
    host.list(&[]);
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.report_codes(EventFeed::Live), [0; 0]);
    host.list(&[]);
    assert!(!host.ledger.expire(Duration::from_secs(11)));
    assert_eq!(host.ledger.next_expiry(), None);
}

#[test]
fn past_the_limit_the_oldest_removed_containers_leave_first() {
    let mut host = TestHost::new();
    for number in 0..5_010_u64 {
        let mut die = web_event("die", 1, &json!({"exitCode": "4"}));
        let mut destroy = web_event("destroy", 1, &json!({}));
        die.id = format!("c{number:05}");
        destroy.id.clone_from(&die.id);
        host.apply_event(&die);
        host.apply_event(&destroy);
        host.report_codes(EventFeed::Off);
    }
    assert!(host.ledger.expire(Duration::from_secs(6)));
    let ids: Vec<_> = host.ledger.exits().map(|entry| entry.id).collect();
    assert_eq!((ids.len(), &**ids[0]), (5_000, "c00010"));
    assert_eq!(host.counted(), 5_010);
}

#[test]
fn an_exit_that_waits_survives_the_removal_of_its_container() {
    let mut host = TestHost::new();
    host.list(&[]);
    host.collect(
        &listed("exited", "Exited (4) 5 seconds ago"),
        &inspect("exited", 4, 2, 5),
    );
    assert_eq!(host.report_codes(EventFeed::Live), [0; 0]);
    host.now = 12;
    host.list(&[listed("running", "Up 1 second")]);
    // The container is gone, and its events are missing.
    for now in [15, 19] {
        host.now = now;
        host.list(&[]);
        host.inspect_fails("c1", InspectFailure::Gone);
    }
    assert_eq!(host.report_codes(EventFeed::Off), [4]);
    assert_eq!(host.ledger.lost(), 1);
}

#[test]
fn a_missing_container_is_inspected_if_that_can_tell_more() {
    let mut host = TestHost::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    // A container that is hidden from listings is inspected once a minute.
    host.apply(Evidence::Event("start", 0, 0));
    for (now, looks) in [(15, true), (30, false), (60, false), (75, true)] {
        host.now = now;
        let is_asked = !host.list(&[]).is_empty();
        assert_eq!(is_asked, looks, "{now}");
        host.inspect("c1", &inspect("running", 0, 0, -9));
    }
    // A listing may be too old for a new container.
    let mut host = TestHost::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    host.now = 30;
    host.apply(Evidence::Event("start", 30, 0));
    assert!(host.list(&[]).is_empty());
    // The inspect is tried again as long as the container may exist.
    host.now = 45;
    host.apply(Evidence::Event("die", 44, 3));
    host.now = 46;
    host.list(&[listed("exited", "Exited (3) 2 seconds ago")]);
    assert!(host.inspect_fails("c1", InspectFailure::Failed));
    host.now = 60;
    assert_eq!(host.list(&[]), ["c1".into()]);
    assert!(host.inspect_fails("c1", InspectFailure::Failed));
    assert_eq!(host.reports(EventFeed::Live), ["3 error"]);
    // Everything is reported, so the listing is believed.
    host.now = 75;
    assert!(host.list(&[]).is_empty());
    assert!(!host.inspect_fails("c1", InspectFailure::Failed));
    // The container existed all the time, and an inspect tells more than the event.
    host.now = 90;
    let listed = listed("exited", "Exited (3) 46 seconds ago");
    assert!(host.collect(&listed, &inspect("exited", 3, 30, 43)));
    assert_eq!(host.exits(), ["web 3 error at 43 after 13"]);
}

#[test]
fn a_run_that_ends_with_its_container_counts_once() {
    use Evidence::{Event, Inspect, Listed, Missing, NoInspect};
    use InspectFailure::{Failed, Gone, Refused};
    const START: (i64, Evidence) = (1, Event("start", 1, 0));
    each_run_counts_once(&[
        (
            "a removal without the exit before",
            &[(1, Event("start", 1, 0)), (10, Event("destroy", 10, 0))],
            &[],
            1,
            "",
        ),
        (
            "a removal before the exit",
            &[
                (1, Event("start", 1, 0)),
                (10, Event("destroy", 10, 0)),
                (10, Event("die", 9, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 9",
        ),
        (
            "a running container that is missing",
            &[START, (30, Missing), (30, NoInspect(Gone))],
            &[],
            1,
            "",
        ),
        (
            "a running container that is hidden from listings",
            &[
                START,
                (30, Missing),
                (30, Inspect("running", 0, 1, -9)),
                (45, Missing),
                (45, Inspect("running", 0, 1, -9)),
                (160, Missing),
                (175, Listed("running", "Up 2 minutes")),
            ],
            &[],
            0,
            "",
        ),
        (
            "a container missing from one listing, with inspects refused",
            &[
                START,
                (30, Missing),
                (30, NoInspect(Refused)),
                (45, Listed("running", "Up 44 seconds")),
                (160, Missing),
            ],
            &[],
            0,
            "",
        ),
        (
            "a container missing for two minutes, with inspects failing",
            &[
                START,
                (30, Missing),
                (31, NoInspect(Failed)),
                (150, Missing),
            ],
            &[],
            1,
            "",
        ),
        (
            "the exit of a missing container",
            &[
                START,
                (30, Missing),
                (30, NoInspect(Gone)),
                (31, Event("die", 20, 3)),
                (31, Event("destroy", 20, 0)),
            ],
            &["3 error"],
            0,
            "web 3 error at 20 after 19",
        ),
    ]);
}

#[test]
fn a_listed_exit_is_counted_if_the_next_listing_lacks_it() {
    use Evidence::{Listed, Missing, NoInspect};
    use InspectFailure::Gone;
    each_run_counts_once(&[(
        "removed before its inspect",
        &[
            (20, Listed("exited", "Exited (3) 15 seconds ago")),
            (35, Missing),
            (36, NoInspect(Gone)),
        ],
        &["3 error"],
        0,
        "web 3 error",
    )]);
}

#[test]
fn a_listed_run_is_lost_if_the_next_listing_lacks_it() {
    use Evidence::{Inspect, Listed, Missing, NoInspect};
    use InspectFailure::Gone;
    each_run_counts_once(&[(
        "running again and removed before its inspect",
        &[
            (20, Listed("exited", "Exited (3) 15 seconds ago")),
            (20, Inspect("exited", 3, 2, 5)),
            (100, Listed("running", "Up 30 seconds")),
            (115, Missing),
            (116, NoInspect(Gone)),
        ],
        &["3 error"],
        1,
        "web ?",
    )]);
}
