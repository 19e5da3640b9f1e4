use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All inspects that are due at this uptime, in order.
fn next(inspects: &mut InspectQueue, uptime: Duration) -> String {
    let ids = std::iter::from_fn(|| inspects.next(uptime, false));
    ids.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_few_are_in_flight_and_the_others_follow_in_turn() {
    let mut inspects = InspectQueue::default();
    for id in ["a", "b", "c", "d", "a", "e", "f"] {
        inspects.request(id);
    }
    inspects.request_unless_pending("b");
    assert_eq!(next(&mut inspects, seconds(1)), "a b c d");
    inspects.answered("c");
    assert_eq!(next(&mut inspects, seconds(1)), "e");
    inspects.failed("a", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "f");
    for id in ["b", "d", "e", "f"] {
        assert!(inspects.is_busy(), "{id}");
        inspects.answered(id);
    }
    assert!(!inspects.is_busy());
    assert_eq!(next(&mut inspects, seconds(1)), "");
    assert_eq!(next(&mut inspects, seconds(2)), "a");
}

#[test]
fn an_event_during_an_inspect_requests_another() {
    let finish: [fn(&mut InspectQueue); 2] = [|it| it.answered("a"), |it| it.forget("a")];
    for finish in finish {
        let mut inspects = InspectQueue::default();
        inspects.request("a");
        assert_eq!(next(&mut inspects, seconds(1)), "a");
        // A listing does not request another.
        inspects.request_unless_pending("a");
        finish(&mut inspects);
        assert_eq!(next(&mut inspects, seconds(1)), "");
        inspects.request("a");
        assert_eq!(next(&mut inspects, seconds(1)), "a");
        inspects.request("a");
        inspects.request("a");
        assert_eq!(next(&mut inspects, seconds(1)), "");
        finish(&mut inspects);
        assert_eq!(next(&mut inspects, seconds(1)), "a");
        finish(&mut inspects);
        assert_eq!(next(&mut inspects, seconds(1)), "");
        assert!(!inspects.is_busy());
    }
}

#[test]
fn the_pauses_between_retries_grow() {
    let mut inspects = InspectQueue::default();
    let mut now = seconds(7);
    inspects.request("a");
    for pause in [1, 5, 15, 60, 120, 240, 480, 960, 960] {
        assert_eq!(next(&mut inspects, now), "a", "{now:?}");
        inspects.failed("a", now);
        // Every listing shows the container.
        inspects.request_unless_pending("a");
        now += seconds(pause);
        assert_eq!(inspects.wake_at(), Some(now));
        assert_eq!(
            next(&mut inspects, now.saturating_sub(Duration::from_nanos(1))),
            ""
        );
    }
    // An event comes.
    inspects.request("a");
    assert_eq!(next(&mut inspects, now.saturating_sub(seconds(1))), "a");
    inspects.failed("a", now);
    assert_eq!(inspects.wake_at(), Some(now + seconds(1)));
    inspects.forget("a");
    assert_eq!((inspects.wake_at(), inspects.jobs.len()), (None, 0));
}

#[test]
fn a_new_exit_in_a_listing_does_not_wait_for_a_retry() {
    let mut inspects = InspectQueue::default();
    inspects.request("a");
    for now in [1, 2, 7, 22] {
        assert_eq!(next(&mut inspects, seconds(now)), "a");
        inspects.failed("a", seconds(now));
    }
    inspects.request_unless_pending("a");
    assert_eq!(next(&mut inspects, seconds(30)), "");
    inspects.request_unless_in_flight("a");
    assert_eq!(next(&mut inspects, seconds(30)), "a");
    // It is in flight.
    inspects.request_unless_in_flight("a");
    inspects.answered("a");
    assert_eq!(next(&mut inspects, seconds(30)), "");
}

#[test]
fn after_an_event_during_a_failed_inspect_the_next_is_not_delayed() {
    let mut inspects = InspectQueue::default();
    inspects.request("a");
    for now in [1, 2, 7] {
        assert_eq!(next(&mut inspects, seconds(now)), "a");
        inspects.failed("a", seconds(now));
    }
    assert_eq!(next(&mut inspects, seconds(22)), "a");
    inspects.request("a");
    // The next pause would be a minute.
    inspects.failed("a", seconds(22));
    assert_eq!(next(&mut inspects, seconds(23)), "a");
}

#[test]
fn after_refusals_no_inspect_is_sent_before_a_listing_succeeds() {
    let mut inspects = InspectQueue::default();
    for id in ["a", "b", "c", "d", "e"] {
        inspects.request(id);
    }
    inspects.schedule_created("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "a b c d x");
    for id in ["a", "b"] {
        inspects.count_refusal();
        inspects.failed(id, seconds(1));
        assert!(inspects.take_refused(seconds(1)).is_empty(), "{id}");
    }
    inspects.count_refusal();
    inspects.failed("c", seconds(1));
    inspects.schedule_created("y", seconds(1));
    assert_eq!(inspects.take_refused(seconds(1)).join(" "), "e y");
    for id in ["e", "y"] {
        inspects.failed(id, seconds(1));
    }
    assert!(inspects.take_refused(seconds(1)).is_empty());
    assert_eq!(next(&mut inspects, seconds(1)), "");
    // A retry is not sent either, but taken as refused.
    assert_eq!(inspects.take_refused(seconds(2)).join(" "), "a b c e y");
    for id in ["a", "b", "c", "e", "y"] {
        inspects.failed(id, seconds(2));
    }
    inspects.allow_retries(false);
    inspects.request("f");
    assert!(inspects.take_refused(seconds(3)).is_empty());
    assert_eq!(next(&mut inspects, seconds(3)), "f");
    inspects.count_refusal();
    inspects.failed("f", seconds(3));
    inspects.request("g");
    assert_eq!(inspects.take_refused(seconds(3)).join(" "), "g");
    // A response shows that others may succeed.
    inspects.failed("g", seconds(3));
    inspects.answered("d");
    assert!(inspects.take_refused(seconds(9)).is_empty());
}

#[test]
fn after_an_outage_all_are_retried_at_once() {
    let mut inspects = InspectQueue::default();
    for id in ["a", "b"] {
        inspects.request(id);
    }
    for now in [1, 2, 7] {
        assert_eq!(next(&mut inspects, seconds(now)), "a b");
        for id in ["a", "b"] {
            inspects.failed(id, seconds(now));
        }
    }
    assert_eq!(next(&mut inspects, seconds(22)), "a b");
    for id in ["a", "b"] {
        (0..MAX_REFUSALS).for_each(|_| inspects.count_refusal());
        inspects.failed(id, seconds(22));
    }
    inspects.allow_retries(false);
    assert_eq!(next(&mut inspects, seconds(23)), "");
    inspects.allow_retries(true);
    assert!(inspects.take_refused(seconds(23)).is_empty());
    assert_eq!(next(&mut inspects, seconds(23)), "a b");
    inspects.failed("a", seconds(23));
    // The pauses start from the beginning.
    assert_eq!(inspects.wake_at(), Some(seconds(24)));
}

#[test]
fn created_containers_are_inspected_one_at_a_time_beside_the_others() {
    let mut inspects = InspectQueue::default();
    for id in ["x", "y"] {
        inspects.schedule_created(id, seconds(2));
    }
    // It is scheduled already.
    inspects.schedule_created("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "");
    assert_eq!(next(&mut inspects, seconds(2)), "x");
    // Its inspect may hang, which must not delay the others.
    assert!(!inspects.is_busy());
    for id in ["a", "b", "c", "d", "e"] {
        inspects.request(id);
    }
    assert_eq!(next(&mut inspects, seconds(2)), "a b c d");
    inspects.answered("x");
    assert_eq!(next(&mut inspects, seconds(2)), "y");
    inspects.failed("y", seconds(2));
    assert_eq!(next(&mut inspects, seconds(2)), "");
    assert_eq!(next(&mut inspects, seconds(3)), "y");
}

#[test]
fn an_event_requests_the_inspect_of_a_created_container_now() {
    // It is delayed.
    let mut inspects = InspectQueue::default();
    inspects.schedule_created("x", seconds(2));
    inspects.request("x");
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    inspects.answered("x");
    assert_eq!(next(&mut inspects, seconds(9)), "");
    // It is queued.
    let mut inspects = InspectQueue::default();
    for id in ["w", "x"] {
        inspects.schedule_created(id, seconds(1));
    }
    assert_eq!(next(&mut inspects, seconds(1)), "w");
    inspects.request("x");
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    for id in ["w", "x"] {
        inspects.answered(id);
    }
    assert_eq!(next(&mut inspects, seconds(9)), "");
    // It is in flight.
    let mut inspects = InspectQueue::default();
    inspects.schedule_created("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    inspects.request("x");
    assert_eq!(next(&mut inspects, seconds(1)), "");
    inspects.answered("x");
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    assert!(inspects.is_busy());
    inspects.answered("x");
    assert_eq!((inspects.in_flight, inspects.created_in_flight), (0, 0));
    assert!(inspects.jobs.is_empty());
}

#[test]
fn a_cancelled_inspect_is_not_sent() {
    // Whether the container was only created, and is gone; whether the inspect of an exit was
    // cancelled, and what is inspected afterwards.
    for (created, is_gone, was_wanted, after) in [
        (false, false, false, "a"),
        (false, true, true, ""),
        (true, false, false, ""),
        (true, true, false, ""),
    ] {
        for fails in [false, true] {
            let mut inspects = InspectQueue::default();
            if created {
                inspects.schedule_created("a", seconds(1));
            } else {
                inspects.request("a");
            }
            if fails {
                assert_eq!(next(&mut inspects, seconds(1)), "a");
                inspects.failed("a", seconds(1));
            }
            let case = format!("{created} {is_gone} {fails}");
            assert_eq!(inspects.cancel("a", is_gone), was_wanted, "{case}");
            assert_eq!(next(&mut inspects, seconds(9)), after, "{case}");
            assert_eq!(inspects.wake_at(), None, "{case}");
        }
    }
    // An inspect in flight cannot be cancelled.
    let mut inspects = InspectQueue::default();
    inspects.request("a");
    inspects.schedule_created("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "a x");
    assert!(!inspects.cancel("a", true) && !inspects.cancel("x", false));
    assert!(!inspects.cancel("nobody", true));
    inspects.answered("a");
    inspects.answered("x");
    assert_eq!((inspects.in_flight, inspects.created_in_flight), (0, 0));
    // It is requested again while its old id is queued.
    inspects.request("a");
    assert!(inspects.cancel("a", true));
    inspects.request("b");
    inspects.request("a");
    assert_eq!(next(&mut inspects, seconds(1)).len(), "a b".len());
}

#[test]
fn in_a_storm_one_burst_is_sent_and_then_100_a_second() {
    let mut inspects = InspectQueue::default();
    let burst = usize::try_from(MAX_BURST).unwrap();
    (0..5000).for_each(|number| inspects.request(&number.to_string()));
    for (millis, count, wake_at) in [
        (10, burst, 20),
        (19, 0, 20),
        (20, 1, 30),
        (1020, 100, 1030),
        // A pause allows no more than one burst.
        (60_000, burst, 60_010),
    ] {
        let now = Duration::from_millis(millis);
        // Each one is answered at once.
        let asked = std::iter::from_fn(|| {
            let id = inspects.next(now, false)?;
            inspects.answered(&id);
            Some(id)
        });
        assert_eq!(asked.count(), count, "{now:?}");
        assert_eq!(inspects.wake_at(), Some(Duration::from_millis(wake_at)));
    }
}

#[test]
fn inspects_of_the_first_listing_are_not_rate_limited() {
    let mut inspects = InspectQueue::default();
    (0..5000).for_each(|number| inspects.request(&number.to_string()));
    let ask = |inspects: &mut InspectQueue, first: bool| {
        let id = inspects.next(seconds(1), first);
        id.inspect(|id| inspects.answered(id)).is_some()
    };
    assert!((0..1000).all(|_| ask(&mut inspects, true)));
    // The text was published before all were inspected, and more events came.
    (5000..9000).for_each(|number| inspects.request(&number.to_string()));
    let rest = std::iter::from_fn(|| ask(&mut inspects, false).then_some(()));
    assert_eq!(rest.count(), 4000 + 500);
    assert_eq!(inspects.wake_at(), Some(seconds(1) + INSPECT_INTERVAL));
}

#[test]
fn rate_limited_inspects_wake_the_core_and_can_be_cancelled() {
    let mut inspects = InspectQueue::default();
    let now = seconds(1);
    for number in 0..MAX_BURST {
        inspects.request(&number.to_string());
        assert!(inspects.next(now, false).is_some());
        inspects.answered(&number.to_string());
    }
    for id in ["a", "b", "c"] {
        inspects.request(id);
    }
    assert!(inspects.is_busy());
    assert_eq!(next(&mut inspects, now), "");
    assert_eq!(inspects.wake_at(), Some(now + INSPECT_INTERVAL));
    // The container is removed.
    assert!(inspects.cancel("a", true));
    assert_eq!(next(&mut inspects, now + INSPECT_INTERVAL), "b");
    assert_eq!(next(&mut inspects, now + INSPECT_INTERVAL), "");
    assert_eq!(next(&mut inspects, now + INSPECT_INTERVAL * 2), "c");
    assert_eq!(inspects.wake_at(), None);
    // Created containers are not rate limited.
    inspects.request("d");
    inspects.schedule_created("x", now);
    assert_eq!(next(&mut inspects, now + INSPECT_INTERVAL * 2), "x");
}
