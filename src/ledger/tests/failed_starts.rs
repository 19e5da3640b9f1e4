//! Starts that failed.

use serde_json::json;

use super::evidence::{Evidence, NO_CODE, each_run_counts_once};
use super::support::{TestHost, inspect, listed};
use crate::ledger::{EventFeed, InspectFailure};

#[test]
fn failed_starts() {
    let never = "0001-01-01T00:00:00Z";
    let created = |code: i64, error: &str| {
        json!({"State": {"Status": "created", "ExitCode": code, "Error": error,
                         "StartedAt": never, "FinishedAt": never}})
    };
    let mut host = TestHost::new();
    let listed = listed("created", "Created");
    assert!(host.collect(&listed, &created(0, "")));
    assert_eq!(host.exits(), [""; 0]);
    // A listing does not show it, so it is inspected from time to time.
    host.now += 59;
    assert!(!host.collect(&listed, &created(127, "no such file")));
    host.now += 1;
    assert!(host.collect(&listed, &created(127, "no such file")));
    assert_eq!(host.exits(), ["web 127 start_failed"]);
    assert_eq!(host.report_codes(EventFeed::Off), [127]);
    host.now += 60;
    assert!(host.collect(&listed, &created(127, "no such file")));
    assert_eq!(host.report_codes(EventFeed::Off), [0; 0]);
    host.now += 60;
    assert!(host.collect(&listed, &created(126, "permission denied")));
    assert_eq!(host.report_codes(EventFeed::Off), [126]);
    host.now += 60;
    assert!(host.collect(&listed, &created(0, "refused early")));
    assert_eq!(host.exits(), ["web 0 start_failed"]);
}

#[test]
fn a_failed_restart_has_no_time_of_its_own() {
    let mut host = TestHost::new();
    host.now = 20;
    host.collect(
        &listed("exited", "Exited (3) 15 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.report_codes(EventFeed::Off), [3]);
    host.now = 35;
    let mut refused = inspect("exited", 127, 2, 5);
    refused["State"]["Error"] = "not a directory".into();
    assert!(host.collect(&listed("exited", "Exited (127) 30 seconds ago"), &refused));
    assert_eq!(host.exits(), ["web 127 start_failed"]);
    assert_eq!(host.report_codes(EventFeed::Off), [127]);
}

#[test]
fn network_events_alone_tell_of_a_failed_start() {
    use Evidence::{Event, FailedStart, NoInspect};
    use InspectFailure::Gone;
    const CREATE: (i64, Evidence) = (1, Event("create", 1, 0));
    const CONNECT: (i64, Evidence) = (1, Event("connect", 1, 0));
    const DISCONNECT: (i64, Evidence) = (2, Event("disconnect", 2, 0));
    const DESTROY: (i64, Evidence) = (3, Event("destroy", 3, 0));
    each_run_counts_once(&[
        ("it was never started", &[CREATE, DESTROY], &[], 0, ""),
        (
            "its output was attached",
            &[CREATE, (1, Event("attach", 1, 0)), DESTROY],
            &["? start_failed"],
            0,
            "",
        ),
        (
            "it was connected",
            &[CREATE, CONNECT, DISCONNECT, (2, NoInspect(Gone)), DESTROY],
            &["? start_failed"],
            0,
            "",
        ),
        (
            "it was started later",
            &[
                CREATE,
                CONNECT,
                DISCONNECT,
                CONNECT,
                (3, Event("start", 3, 0)),
                (5, Event("die", 5, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 2",
        ),
        (
            "it was started before the inspect of the failed start came",
            &[
                CREATE,
                CONNECT,
                DISCONNECT,
                (3, Event("start", 3, 0)),
                (3, FailedStart("created", 127, 0, 0)),
                (5, Event("die", 5, 3)),
            ],
            &["3 error", "? start_failed"],
            0,
            "web 3 error at 5 after 2",
        ),
        (
            "it was connected, started, and removed",
            &[
                CREATE,
                CONNECT,
                (3, Event("start", 3, 0)),
                (5, Event("die", 5, 3)),
                (5, Event("disconnect", 5, 0)),
                (6, Event("destroy", 6, 0)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 2",
        ),
    ]);
}

#[test]
fn the_first_successful_inspect_tells_why_a_start_failed() {
    let mut host = TestHost::new();
    host.collect(
        &listed("exited", "Exited (0) 1 second ago"),
        &inspect("exited", 0, 1, 9),
    );
    host.now += 15;
    // A failed start is listed with the time of the run before.
    host.apply(Evidence::Listed("exited", "Exited (127) 16 seconds ago"));
    host.apply(Evidence::NoInspect(InspectFailure::Refused));
    let error = |host: &TestHost| {
        let exit = host.ledger.exits().next().unwrap().exit.clone();
        (exit.reason.name(), exit.error)
    };
    assert_eq!(error(&host), ("start_failed", "".into()));
    host.apply(Evidence::FailedStart("exited", 127, 1, 9));
    assert_eq!(error(&host), ("start_failed", "not a directory".into()));
    assert_eq!(host.report_codes(EventFeed::Off).len(), 2);
}

#[test]
fn a_listed_failed_start_is_not_counted_again() {
    use Evidence::{Event, FailedStart, Inspect, Listed, NoInspect};
    use InspectFailure::Failed;
    each_run_counts_once(&[
        (
            "after a run whose end is before its start",
            &[
                (2, Event("start", 2, 0)),
                (3, Event("die", 3, 0)),
                (3, Inspect("exited", 0, 2, 1)),
                (40, Listed("exited", "Exited (127) 39 seconds ago")),
                (40, NoInspect(Failed)),
                (46, FailedStart("exited", 127, 2, 0)),
            ],
            &["0 completed", "127 start_failed"],
            0,
            "web 127 start_failed",
        ),
        (
            "it hides the run before, whose code a label hides",
            &[
                (2, Event("start", 2, 0)),
                (40, Listed("exited", "Exited (127) 10 seconds ago")),
                (40, NoInspect(Failed)),
                (41, Event("die", 30, NO_CODE)),
                (46, FailedStart("exited", 127, 1, 30)),
            ],
            &["127 start_failed"],
            1,
            "web 127 start_failed",
        ),
    ]);
}
