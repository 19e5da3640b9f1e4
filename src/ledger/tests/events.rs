//! What events tell, in order, late or never.

use serde_json::json;

use super::evidence::{Evidence, each_run_counts_once};
use super::support::{TestHost, listed, web_event};
use crate::engine::Event;
use crate::ledger::{EventFeed, InspectFailure};

#[test]
fn a_start_event_that_comes_after_its_die_event_starts_nothing() {
    let mut host = TestHost::new();
    host.web_event("create", 1, &json!({}));
    host.web_event("die", 6, &json!({"exitCode": "4"}));
    host.web_event("start", 5, &json!({}));
    assert_eq!(host.exits_without_times(), ["web 4 error"]);
}

#[test]
fn an_unreported_exit_survives_the_loss_of_the_next() {
    let mut host = TestHost::new();
    host.web_event("start", 1, &json!({}));
    host.web_event("die", 2, &json!({"exitCode": "4"}));
    host.web_event("start", 3, &json!({}));
    host.web_event("destroy", 4, &json!({}));
    assert_eq!(host.report_codes(EventFeed::Off), [4]);
    assert_eq!(host.ledger.lost(), 1);
}

#[test]
fn containers_known_from_events_alone_are_limited() {
    let mut host = TestHost::new();
    let [die, destroy] =
        ["die", "destroy"].map(|action| web_event(action, 1, &json!({"exitCode": "3"})));
    let of = |number: i64, event: &Event| Event {
        id: format!("{number:064x}"),
        ..event.clone()
    };
    // Removed containers do not count towards the limit.
    for number in 0..20_100 {
        host.apply_event(&of(number, &die));
        host.apply_event(&of(number, &destroy));
    }
    assert_eq!(host.ledger.lost(), 0);
    for number in 100_000..120_100 {
        host.apply_event(&of(number, &die));
    }
    assert_eq!(host.ledger.lost(), 100);
    // No listing shows them, but an inspect might.
    host.now = 60;
    let missing = host.list(&[]);
    host.now = 75;
    assert!(host.list(&[]).is_empty());
    host.apply_event(&of(200_000, &die));
    assert_eq!(host.ledger.lost(), 101);
    for id in missing {
        host.inspect_fails(&id, InspectFailure::Gone);
    }
    // Now there is room for new ones.
    host.apply_event(&of(200_001, &die));
    assert_eq!(host.ledger.lost(), 101);
}

#[test]
fn a_clock_that_goes_back_hides_no_exit_and_counts_none_twice() {
    let mut host = TestHost::new();
    host.now = 5000;
    host.web_event("start", 4990, &json!({}));
    host.web_event("die", 5000, &json!({"exitCode": "3"}));
    host.report_codes(EventFeed::Off);
    // The clock is set back an hour. To Docker the exit is in the future.
    host.ahead = -3600;
    for _ in 0..3 {
        host.now += 15;
        host.list(&[listed("exited", "Exited (3) Less than a second ago")]);
        host.report_codes(EventFeed::Off);
    }
    assert_eq!(host.counted(), 1);
    host.now += 15;
    host.web_event("start", 1450, &json!({}));
    host.web_event("die", 1460, &json!({"exitCode": "4"}));
    host.report_codes(EventFeed::Off);
    assert_eq!(host.counted(), 2);
}

#[test]
fn which_run_an_event_belongs_to() {
    use Evidence::{Event, Inspect, Listed, NoInspect};
    use InspectFailure::Gone;
    each_run_counts_once(&[
        (
            "an event and its inspect",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (5, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "an event after its inspect",
            &[
                (1, Event("start", 1, 0)),
                (5, Inspect("exited", 3, 1, 5)),
                (6, Event("die", 5, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "an event after the inspect of the next run",
            &[
                (1, Event("start", 1, 0)),
                (12, Inspect("exited", 4, 10, 12)),
                (13, Event("die", 5, 3)),
                (13, Event("start", 10, 0)),
                (13, Event("die", 12, 4)),
            ],
            &["3 error", "4 error"],
            0,
            "web 4 error at 12 after 2",
        ),
        (
            "an event after a listing that is used",
            &[
                (1, Event("start", 1, 0)),
                (16, Listed("exited", "Exited (3) 1 second ago")),
                (16, NoInspect(Gone)),
                (17, Event("die", 15, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error",
        ),
        (
            "another run after the listed one",
            &[
                (1, Event("start", 1, 0)),
                (16, Listed("exited", "Exited (3) 1 second ago")),
                (16, NoInspect(Gone)),
                (17, Event("die", 15, 3)),
                (20, Event("start", 20, 0)),
                (21, Event("die", 21, 3)),
            ],
            &["3 error", "3 error"],
            0,
            "web 3 error at 21 after 1",
        ),
        (
            "a start without the exit before",
            &[
                (1, Event("start", 1, 0)),
                (10, Event("start", 10, 0)),
                (12, Event("die", 12, 4)),
            ],
            &["4 error"],
            1,
            "web 4 error at 12 after 2",
        ),
        (
            "a start event before the exit of the run before",
            &[
                (1, Event("start", 1, 0)),
                (10, Event("start", 10, 0)),
                (10, Event("die", 8, 3)),
                (12, Event("die", 12, 4)),
            ],
            &["3 error", "4 error"],
            0,
            "web 4 error at 12 after 2",
        ),
    ]);
}

#[test]
fn events_tell_what_led_to_an_exit() {
    use Evidence::Event;
    each_run_counts_once(&[
        (
            "a signal after the exit",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 143)),
                (5, Event("kill", 4, 15)),
            ],
            &["143 stopped"],
            0,
            "web 143 stopped at 5 after 4",
        ),
        (
            "a stop of an unhealthy container",
            &[
                (1, Event("start", 1, 0)),
                (2, Event("health_status: unhealthy", 2, 0)),
                (4, Event("kill", 4, 15)),
                (5, Event("die", 5, 143)),
            ],
            &["143 unhealthy"],
            0,
            "web 143 unhealthy at 5 after 4",
        ),
        (
            "a stop of a container that is healthy again",
            &[
                (1, Event("start", 1, 0)),
                (2, Event("health_status: unhealthy", 2, 0)),
                (3, Event("health_status: healthy", 3, 0)),
                (4, Event("kill", 4, 15)),
                (5, Event("die", 5, 143)),
            ],
            &["143 stopped"],
            0,
            "web 143 stopped at 5 after 4",
        ),
    ]);
}
