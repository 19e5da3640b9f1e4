//! What inspects tell, and what is shown without one.

use std::time::Duration;

use serde_json::json;

use super::evidence::{Evidence, each_run_counts_once};
use super::support::{TestHost, inspect, listed};
use crate::ledger::{EventFeed, InspectFailure, Now};

#[test]
fn without_an_inspect_an_exit_is_shown_from_the_listing() {
    let mut host = TestHost::new();
    let stopped = listed("exited", "Exited (143) 5 seconds ago");
    assert_eq!(host.list(std::slice::from_ref(&stopped)), ["c1".into()]);
    assert_eq!(host.exits(), [""; 0]);
    assert!(host.inspect_fails("c1", InspectFailure::Failed));
    assert_eq!(host.exits(), ["web 143 signaled"]);
    // An inspect would show more, so it is tried again.
    assert_eq!(host.report_codes(EventFeed::Off), [0; 0]);
    assert!(host.labels()[0].contains(r#"image="nginx",name="web""#));
    assert_eq!(host.list(std::slice::from_ref(&stopped)), ["c1".into()]);
    assert!(host.inspect_fails("c1", InspectFailure::Refused));
    assert_eq!(host.report_codes(EventFeed::Off), [143]);
    // A later inspect adds to it, and it is not reported again.
    assert!(host.collect(&stopped, &inspect("exited", 143, -10, -5)));
    assert_eq!(host.exits(), ["web 143 signaled at -5 after 5"]);
    assert_eq!(host.report_codes(EventFeed::Off), [0; 0]);
    assert!(!host.collect(&stopped, &json!({})));
}

#[test]
fn a_container_that_is_gone_is_not_inspected_again() {
    let mut host = TestHost::new();
    let stopped = listed("exited", "Exited (5) 1 second ago");
    host.list(std::slice::from_ref(&stopped));
    assert!(!host.inspect_fails("c1", InspectFailure::Gone));
    assert_eq!(host.exits(), ["web 5 error"]);
    assert!(host.list(&[stopped]).is_empty());
}

#[test]
fn an_inspect_tells_the_image_whose_tag_has_moved() {
    let mut host = TestHost::new();
    let mut running = listed("running", "Up 2 hours");
    running["Image"] = "sha256:315aa9d82e21".into();
    assert_eq!(host.list(std::slice::from_ref(&running)).len(), 1);
    host.inspect("c1", &inspect("running", 0, -7200, -9000));
    assert!(host.list(&[running]).is_empty());
}

#[test]
fn the_last_representable_time_is_no_problem() {
    let mut host = TestHost::new();
    let mut run = inspect("exited", 3, 2, 5);
    run["State"]["StartedAt"] = "9999-12-30T22:00:00.999999999Z".into();
    run["State"]["FinishedAt"] = "9999-12-30T22:00:00.999999999Z".into();
    for events in [EventFeed::Off, EventFeed::Live] {
        host.list(&[listed("exited", "Exited (3) 5 seconds ago")]);
        host.inspect("c1", &run);
        host.report_codes(events);
    }
    assert_eq!(host.exits_without_times(), ["web 3 error"]);
}

#[test]
fn runs_without_a_seen_exit_are_lost_however_many() {
    let mut host = TestHost::new();
    host.now = 0;
    host.list(&[]);
    for run in 1..=12 {
        host.now = 10 * run + 2;
        host.apply(Evidence::Event("rename", host.now, 0));
        host.apply(Evidence::Inspect("running", 0, 10 * run, 10 * run - 2));
    }
    host.now += 600;
    assert!(host.report_codes(EventFeed::Live).is_empty());
    assert_eq!(host.ledger.lost(), 12);
}

#[test]
fn a_removal_does_not_cut_short_the_wait_for_an_inspect() {
    let mut host = TestHost::new();
    host.now = 0;
    host.list(&[]);
    host.ledger.set_podman(true);
    host.now = 5;
    for (action, second) in [("start", 1), ("die", 5), ("destroy", 5)] {
        host.apply(Evidence::Event(action, second, 137));
    }
    assert!(host.report_codes(EventFeed::Live).is_empty());
    let mut inspect = inspect("exited", 137, 1, 5);
    inspect["State"]["OOMKilled"] = true.into();
    host.inspect("c1", &inspect);
    host.now += 10;
    assert_eq!(host.reports(EventFeed::Live), ["137 oom_killed"]);
}

#[test]
fn how_long_an_exit_waits_for_its_inspect() {
    // On Podman, or while the Engine may be Podman, only the inspect reports the OOM killer.
    for (podman, millis, code, counted) in [
        (Some(false), 249, 137, false),
        (Some(false), 250, 137, true),
        (Some(false), 0, 0, true),
        (Some(true), 119_999, 137, false),
        (Some(true), 120_000, 137, true),
        (Some(true), 0, 0, true),
        (None, 119_999, 137, false),
        (None, 120_000, 137, true),
    ] {
        let mut host = TestHost::new();
        host.ledger.podman = podman;
        host.list(&[]);
        host.apply(Evidence::Event("start", 9, 0));
        host.apply(Evidence::Event("die", 10, code));
        let now = host.time();
        let later = Now {
            uptime: now.uptime + Duration::from_millis(millis),
            ..now
        };
        let reports = host.ledger.report(later, EventFeed::Live);
        assert_eq!(reports.len() == 1, counted, "{podman:?} {millis} {code}");
    }
}

#[test]
fn which_run_an_inspect_belongs_to() {
    use Evidence::{Event, Inspect};
    each_run_counts_once(&[
        (
            "the running run",
            &[
                (1, Event("start", 1, 0)),
                (5, Inspect("running", 0, 1, -9)),
                (9, Event("die", 9, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 9 after 8",
        ),
        (
            "a later run that is running, so the one before is over",
            &[
                (1, Event("start", 1, 0)),
                (12, Inspect("running", 0, 10, 8)),
            ],
            &[],
            1,
            "", // Until a listing shows its labels.
        ),
        (
            "a later run that is running, and the exit of the one before",
            &[
                (1, Event("start", 1, 0)),
                (12, Inspect("running", 0, 10, 8)),
                (13, Event("die", 8, 3)),
                (13, Event("start", 10, 0)),
            ],
            &["3 error"],
            0,
            "web 3 error at 8 after 7",
        ),
        (
            "a run before the last one",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (8, Event("start", 8, 0)),
                (9, Event("die", 9, 4)),
                (9, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error", "4 error"],
            0,
            "web 4 error at 9 after 1",
        ),
        (
            "the run before the running one",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (8, Event("start", 8, 0)),
                (8, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
    ]);
}

#[test]
fn whether_two_inspects_are_of_one_run() {
    use Evidence::{Event, FailedStart, Inspect};
    each_run_counts_once(&[
        (
            "the same run again",
            &[
                (0, Event("create", 0, 0)),
                (5, Inspect("exited", 3, 1, 5)),
                (9, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "two runs with the same code",
            &[
                (0, Event("create", 0, 0)),
                (5, Inspect("exited", 3, 1, 5)),
                (9, Inspect("exited", 3, 7, 9)),
            ],
            &["3 error", "3 error"],
            0,
            "web 3 error at 9 after 2",
        ),
        (
            "a failed start after a run",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (5, Inspect("exited", 3, 1, 5)),
                (9, FailedStart("exited", 127, 1, 5)),
            ],
            &["127 start_failed", "3 error"],
            0,
            "web 127 start_failed",
        ),
        (
            "the same again",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (9, FailedStart("exited", 127, 1, 5)),
                (12, FailedStart("exited", 127, 1, 5)),
            ],
            &["127 start_failed", "3 error"],
            0,
            "web 127 start_failed",
        ),
    ]);
}
