use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// All that is to be asked for at this uptime, in its order.
fn next(inspects: &mut Inspects, uptime: Duration) -> String {
    let ids = std::iter::from_fn(|| inspects.next(uptime, false));
    ids.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_few_are_asked_for_at_once_and_the_others_in_turn() {
    let mut inspects = Inspects::default();
    for id in ["a", "b", "c", "d", "a", "e", "f"] {
        inspects.want(id);
    }
    inspects.want_listed("b");
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
fn what_happens_while_one_is_asked_for_has_it_asked_for_again() {
    let finish: [fn(&mut Inspects); 2] = [|it| it.answered("a"), |it| it.forget("a")];
    for finish in finish {
        let mut inspects = Inspects::default();
        inspects.want("a");
        assert_eq!(next(&mut inspects, seconds(1)), "a");
        // That a listing shows it is nothing that happens.
        inspects.want_listed("a");
        finish(&mut inspects);
        assert_eq!(next(&mut inspects, seconds(1)), "");
        inspects.want("a");
        assert_eq!(next(&mut inspects, seconds(1)), "a");
        inspects.want("a");
        inspects.want("a");
        assert_eq!(next(&mut inspects, seconds(1)), "");
        finish(&mut inspects);
        assert_eq!(next(&mut inspects, seconds(1)), "a");
        finish(&mut inspects);
        assert_eq!(next(&mut inspects, seconds(1)), "");
        assert!(!inspects.is_busy());
    }
}

#[test]
fn one_that_fails_is_tried_again_ever_more_rarely() {
    let mut inspects = Inspects::default();
    let mut now = seconds(7);
    inspects.want("a");
    for pause in [1, 5, 15, 60, 120, 240, 480, 960, 960] {
        assert_eq!(next(&mut inspects, now), "a", "{now:?}");
        inspects.failed("a", now);
        // A listing shows it all the time.
        inspects.want_listed("a");
        now += seconds(pause);
        assert_eq!(inspects.wake_at(), Some(now));
        assert_eq!(
            next(&mut inspects, now.saturating_sub(Duration::from_nanos(1))),
            ""
        );
    }
    // Something happens to it.
    inspects.want("a");
    assert_eq!(next(&mut inspects, now.saturating_sub(seconds(1))), "a");
    inspects.failed("a", now);
    assert_eq!(inspects.wake_at(), Some(now + seconds(1)));
    inspects.forget("a");
    assert_eq!((inspects.wake_at(), inspects.jobs.len()), (None, 0));
}

#[test]
fn what_a_listing_shows_anew_does_not_wait_for_the_pause_after_what_was_in_vain() {
    let mut inspects = Inspects::default();
    inspects.want("a");
    for now in [1, 2, 7, 22] {
        assert_eq!(next(&mut inspects, seconds(now)), "a");
        inspects.failed("a", seconds(now));
    }
    inspects.want_listed("a");
    assert_eq!(next(&mut inspects, seconds(30)), "");
    inspects.want_new("a");
    assert_eq!(next(&mut inspects, seconds(30)), "a");
    // It is under way.
    inspects.want_new("a");
    inspects.answered("a");
    assert_eq!(next(&mut inspects, seconds(30)), "");
}

#[test]
fn what_happens_while_one_is_asked_for_in_vain_does_not_wait_for_its_pause() {
    let mut inspects = Inspects::default();
    inspects.want("a");
    for now in [1, 2, 7] {
        assert_eq!(next(&mut inspects, seconds(now)), "a");
        inspects.failed("a", seconds(now));
    }
    assert_eq!(next(&mut inspects, seconds(22)), "a");
    inspects.want("a");
    // The next pause would be of a minute.
    inspects.failed("a", seconds(22));
    assert_eq!(next(&mut inspects, seconds(23)), "a");
}

#[test]
fn a_proxy_that_refuses_all_is_not_asked_before_a_listing_works() {
    let mut inspects = Inspects::default();
    for id in ["a", "b", "c", "d", "e"] {
        inspects.want(id);
    }
    inspects.look_for_failed_start("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "a b c d x");
    for id in ["a", "b"] {
        inspects.refused();
        inspects.failed(id, seconds(1));
        assert!(inspects.next_in_vain(seconds(1)).is_empty(), "{id}");
    }
    inspects.refused();
    inspects.failed("c", seconds(1));
    inspects.look_for_failed_start("y", seconds(1));
    assert_eq!(inspects.next_in_vain(seconds(1)).join(" "), "e y");
    for id in ["e", "y"] {
        inspects.failed(id, seconds(1));
    }
    assert!(inspects.next_in_vain(seconds(1)).is_empty());
    assert_eq!(next(&mut inspects, seconds(1)), "");
    // One that was in vain is not asked for, but said to be in vain again.
    assert_eq!(inspects.next_in_vain(seconds(2)).join(" "), "a b c e y");
    for id in ["a", "b", "c", "e", "y"] {
        inspects.failed(id, seconds(2));
    }
    inspects.hope(false);
    inspects.want("f");
    assert!(inspects.next_in_vain(seconds(3)).is_empty());
    assert_eq!(next(&mut inspects, seconds(3)), "f");
    inspects.refused();
    inspects.failed("f", seconds(3));
    inspects.want("g");
    assert_eq!(inspects.next_in_vain(seconds(3)).join(" "), "g");
    // An answer shows that others may be answered too.
    inspects.failed("g", seconds(3));
    inspects.answered("d");
    assert!(inspects.next_in_vain(seconds(9)).is_empty());
}

#[test]
fn after_an_outage_all_are_tried_again_at_once() {
    let mut inspects = Inspects::default();
    for id in ["a", "b"] {
        inspects.want(id);
    }
    for now in [1, 2, 7] {
        assert_eq!(next(&mut inspects, seconds(now)), "a b");
        for id in ["a", "b"] {
            inspects.failed(id, seconds(now));
        }
    }
    assert_eq!(next(&mut inspects, seconds(22)), "a b");
    for id in ["a", "b"] {
        (0..REFUSALS).for_each(|_| inspects.refused());
        inspects.failed(id, seconds(22));
    }
    inspects.hope(false);
    assert_eq!(next(&mut inspects, seconds(23)), "");
    inspects.hope(true);
    assert!(inspects.next_in_vain(seconds(23)).is_empty());
    assert_eq!(next(&mut inspects, seconds(23)), "a b");
    inspects.failed("a", seconds(23));
    // The pauses start anew.
    assert_eq!(inspects.wake_at(), Some(seconds(24)));
}

#[test]
fn created_ones_are_asked_for_one_at_a_time_beside_the_others() {
    let mut inspects = Inspects::default();
    for id in ["x", "y"] {
        inspects.look_for_failed_start(id, seconds(2));
    }
    // Once is enough.
    inspects.look_for_failed_start("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "");
    assert_eq!(next(&mut inspects, seconds(2)), "x");
    // Its inspect may hang, and those of the others must not.
    assert!(!inspects.is_busy());
    for id in ["a", "b", "c", "d", "e"] {
        inspects.want(id);
    }
    assert_eq!(next(&mut inspects, seconds(2)), "a b c d");
    inspects.answered("x");
    assert_eq!(next(&mut inspects, seconds(2)), "y");
    inspects.failed("y", seconds(2));
    assert_eq!(next(&mut inspects, seconds(2)), "");
    assert_eq!(next(&mut inspects, seconds(3)), "y");
}

#[test]
fn a_created_one_that_something_happens_to_is_asked_for_now() {
    // It waits for its time.
    let mut inspects = Inspects::default();
    inspects.look_for_failed_start("x", seconds(2));
    inspects.want("x");
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    inspects.answered("x");
    assert_eq!(next(&mut inspects, seconds(9)), "");
    // It waits for its turn.
    let mut inspects = Inspects::default();
    for id in ["w", "x"] {
        inspects.look_for_failed_start(id, seconds(1));
    }
    assert_eq!(next(&mut inspects, seconds(1)), "w");
    inspects.want("x");
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    for id in ["w", "x"] {
        inspects.answered(id);
    }
    assert_eq!(next(&mut inspects, seconds(9)), "");
    // It is asked for already.
    let mut inspects = Inspects::default();
    inspects.look_for_failed_start("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    inspects.want("x");
    assert_eq!(next(&mut inspects, seconds(1)), "");
    inspects.answered("x");
    assert_eq!(next(&mut inspects, seconds(1)), "x");
    assert!(inspects.is_busy());
    inspects.answered("x");
    assert_eq!((inspects.in_flight, inspects.created_in_flight), (0, 0));
    assert!(inspects.jobs.is_empty());
}

#[test]
fn what_is_cancelled_is_not_asked_for() {
    // Whether it was created alone, and is gone; whether it was to be inspected for its exit, and
    // what is inspected after.
    for (created, is_gone, was_wanted, after) in [
        (false, false, false, "a"),
        (false, true, true, ""),
        (true, false, false, ""),
        (true, true, false, ""),
    ] {
        for fails in [false, true] {
            let mut inspects = Inspects::default();
            if created {
                inspects.look_for_failed_start("a", seconds(1));
            } else {
                inspects.want("a");
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
    // What is asked for already is answered.
    let mut inspects = Inspects::default();
    inspects.want("a");
    inspects.look_for_failed_start("x", seconds(1));
    assert_eq!(next(&mut inspects, seconds(1)), "a x");
    assert!(!inspects.cancel("a", true) && !inspects.cancel("x", false));
    assert!(!inspects.cancel("nobody", true));
    inspects.answered("a");
    inspects.answered("x");
    assert_eq!((inspects.in_flight, inspects.created_in_flight), (0, 0));
    // It is wanted again before its turn has come.
    inspects.want("a");
    assert!(inspects.cancel("a", true));
    inspects.want("b");
    inspects.want("a");
    assert_eq!(next(&mut inspects, seconds(1)).len(), "a b".len());
}

#[test]
fn in_a_storm_a_few_hundred_are_asked_for_at_once_and_then_100_a_second() {
    let mut inspects = Inspects::default();
    let burst = usize::try_from(BURST).unwrap();
    (0..5000).for_each(|number| inspects.want(&number.to_string()));
    for (millis, count, wake_at) in [
        (10, burst, 20),
        (19, 0, 20),
        (20, 1, 30),
        (1020, 100, 1030),
        // A pause makes up for no more than one burst.
        (60_000, burst, 60_010),
    ] {
        let now = Duration::from_millis(millis);
        // Each is answered at once.
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
fn what_the_first_listing_has_is_not_held_back() {
    let mut inspects = Inspects::default();
    (0..5000).for_each(|number| inspects.want(&number.to_string()));
    let ask = |inspects: &mut Inspects, first: bool| {
        let id = inspects.next(seconds(1), first);
        id.inspect(|id| inspects.answered(id)).is_some()
    };
    assert!((0..1000).all(|_| ask(&mut inspects, true)));
    // The text was published before all were explained, and more has happened.
    (5000..9000).for_each(|number| inspects.want(&number.to_string()));
    let rest = std::iter::from_fn(|| ask(&mut inspects, false).then_some(()));
    assert_eq!(rest.count(), 4000 + 500);
    assert_eq!(inspects.wake_at(), Some(seconds(1) + EVERY));
}

#[test]
fn what_waits_for_its_turn_is_waited_for_and_can_be_cancelled() {
    let mut inspects = Inspects::default();
    let now = seconds(1);
    for number in 0..BURST {
        inspects.want(&number.to_string());
        assert!(inspects.next(now, false).is_some());
        inspects.answered(&number.to_string());
    }
    for id in ["a", "b", "c"] {
        inspects.want(id);
    }
    assert!(inspects.is_busy());
    assert_eq!(next(&mut inspects, now), "");
    assert_eq!(inspects.wake_at(), Some(now + EVERY));
    // Its container is removed.
    assert!(inspects.cancel("a", true));
    assert_eq!(next(&mut inspects, now + EVERY), "b");
    assert_eq!(next(&mut inspects, now + EVERY), "");
    assert_eq!(next(&mut inspects, now + EVERY * 2), "c");
    assert_eq!(inspects.wake_at(), None);
    // Those that may have failed to start do not wait with them.
    inspects.want("d");
    inspects.look_for_failed_start("x", now);
    assert_eq!(next(&mut inspects, now + EVERY * 2), "x");
}
