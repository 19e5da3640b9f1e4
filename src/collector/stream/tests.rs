use serde_json::json;

use super::known::{KNOWN_AGAIN, KNOWN_AGAIN_OF_STORM};
use super::*;

/// A moment of the Engine, in milliseconds since the start.
fn at(millis: i64) -> Timestamp {
    let start = Timestamp::from_second(1_795_336_800).unwrap();
    start + SignedDuration::from_millis(millis)
}

fn now(millis: i64) -> Now {
    Now {
        uptime: Duration::from_millis(millis.unsigned_abs()),
        engine: at(millis),
        error: SignedDuration::ZERO,
    }
}

fn new(wanted: bool) -> Stream {
    Stream::new(wanted, 4, at(0))
}

/// A stream that is open since then.
fn open(millis: i64) -> Stream {
    let mut stream = new(true);
    open_again(&mut stream, millis);
    stream
}

fn open_again(stream: &mut Stream, millis: i64) {
    assert!(matches!(stream.ask(now(millis)), Some(Ask::Follow(_))));
    stream.opened(now(millis), at(0));
}

/// A stream that is open since then, and before which nothing was missed.
fn proven(millis: i64) -> Stream {
    let mut stream = open(millis);
    assert_eq!(stream.ask(now(millis)), Some(Ask::Remembered));
    assert_eq!(
        stream.prove(Some(&all_since(millis)), false, now(millis)),
        Missed::Nothing
    );
    stream
}

fn event(action: &str, id: &str, millis: i64, signal: &str) -> Event {
    let line = json!({
        "Type": "container", "Action": action,
        "timeNano": i64::try_from(at(millis).as_nanosecond()).unwrap(),
        "Actor": {"ID": id, "Attributes": {"signal": signal}},
    });
    Event::parse(&line.to_string()).unwrap().unwrap()
}

fn die(millis: i64) -> Event {
    event("die", "a", millis, "")
}

/// What a daemon remembers that has forgotten nothing.
fn all_since(millis: i64) -> Remembered {
    Remembered {
        count: 1,
        oldest: Some(at(millis)),
        events: Vec::new(),
    }
}

/// What one remembers that has forgotten all that was before.
fn some_since(millis: i64) -> Remembered {
    Remembered {
        count: 256,
        ..all_since(millis)
    }
}

#[test]
fn an_event_is_new_once() {
    let mut stream = open(100);
    for new in [
        event("die", "a", 5, ""),
        event("die", "b", 5, ""),
        event("die", "a", 6, ""),
        event("kill", "a", 5, "15"),
        event("kill", "a", 5, "9"),
        event("start", "a", 5, ""),
    ] {
        assert!(stream.take(&new, now(200)), "{new:?}");
        assert!(!stream.take(&new, now(200)), "{new:?}");
    }
}

#[test]
fn so_many_events_are_known_again() {
    // Between two events, and how many are known again.
    for (pause, most) in [(1000, KNOWN_AGAIN), (0, KNOWN_AGAIN_OF_STORM)] {
        let mut stream = open(0);
        let count = i64::try_from(most).unwrap();
        let one = |number: i64| event("die", &number.to_string(), number * pause, "");
        for number in 0..count {
            assert!(stream.take(&one(number), now(number * pause)));
        }
        assert!(!stream.take(&one(0), now(count * pause)), "{most}");
        assert!(stream.take(&one(count), now(count * pause)));
        assert!(!stream.take(&one(1), now(count * pause)), "{most}");
        assert!(stream.take(&one(0), now(count * pause)), "{most}");
        assert_eq!(stream.known.hashes.len(), most);
        assert_eq!(stream.known.order.len(), most);
    }
}

#[test]
fn a_new_stream_begins_before_all_that_may_be_missing() {
    let since = |stream: &mut Stream, millis: i64| match stream.ask(now(millis)) {
        Some(Ask::Follow(since)) => since.duration_since(at(0)).as_millis(),
        other => panic!("{other:?}"),
    };
    // What led to the exits that are there is of interest, too.
    assert_eq!(since(&mut new(true), 0), -3_600_000);
    // What came up to a second before the break may not have come.
    let mut stream = proven(0);
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), 20_000 - 1_000 - 5_000);
    // It is not known what came.
    let mut stream = open(0);
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), -5_000);
    // The events of this Engine come late.
    let mut stream = proven(0);
    for (made, came) in [(5_000, 5_000), (6_000, 7_900)] {
        assert!(stream.take(&die(made), now(came)));
    }
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), 20_000 - 1_900 - 5_000);
    // The Engine's clock is not well known.
    let mut stream = proven(0);
    let vague = Now {
        error: SAME_CLOCK,
        ..now(20_000)
    };
    stream.closed(vague, false);
    assert_eq!(since(&mut stream, 30_000), 20_000 - 1_000 - 3_000 - 5_000);
    // This process was stopped, and the stream may have broken meanwhile.
    let mut stream = proven(0);
    stream.note_alive(now(8_000));
    stream.note_alive(now(20_000));
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), 8_000 - 1_000 - 5_000);
    // The Engine's clock went back.
    let mut stream = proven(0);
    stream.closed(now(20_000), false);
    let back = Now {
        engine: at(-3_600_000),
        ..now(30_000)
    };
    assert_eq!(stream.ask(back), Some(Ask::Follow(at(-3_600_000 - 5_000))));
}

#[test]
fn a_gap_is_proven_closed_or_events_are_lost() {
    // When the stream was opened, what is remembered, whether it is Podman, and whether events
    // may be lost.
    for (opened, remembered, podman, lost) in [
        (900, some_since(900), false, false),
        (5_000, some_since(4_000), false, true),
        (5_000, some_since(0), false, false),
        (5_000, some_since(1), false, true),
        (5_000, all_since(4_000), false, false),
        (5_000, Remembered::default(), false, false),
        (5_000, some_since(4_000), true, false),
    ] {
        let mut stream = open(opened);
        assert_eq!(stream.ask(now(opened)), Some(Ask::Remembered));
        assert_eq!(stream.ask(now(opened)), None);
        let got = stream.prove(Some(&remembered), podman, now(opened));
        let lost = if lost {
            Missed::Events
        } else {
            Missed::Nothing
        };
        assert_eq!(got, lost, "{opened} {remembered:?} {podman}");
        // It is proven once.
        assert_eq!(
            stream.prove(Some(&some_since(4_000)), false, now(opened)),
            Missed::Nothing
        );
        assert_eq!(stream.ask(now(60_000)), None);
    }
}

#[test]
fn a_stream_that_repeats_what_came_before_the_break_has_missed_nothing() {
    for repeats in [false, true] {
        let mut stream = proven(0);
        assert!(stream.take(&die(19_000), now(19_000)));
        stream.closed(now(20_000), false);
        open_again(&mut stream, 30_000);
        assert_eq!(stream.ask(now(30_000)), Some(Ask::Remembered));
        if repeats {
            assert!(!stream.take(&die(19_000), now(30_000)));
        }
        let lost = stream.prove(Some(&some_since(25_000)), false, now(30_000));
        let want = if repeats {
            Missed::Nothing
        } else {
            Missed::Events
        };
        assert_eq!(lost, want);
    }
}

#[test]
fn what_cannot_be_proven_is_tried_again_and_then_lost() {
    for (opened, repeats, lost) in [
        (5_000, false, true),
        (5_000, true, false),
        (0, false, false),
    ] {
        let mut stream = new(true);
        stream.take(&die(-500), now(0));
        open_again(&mut stream, opened);
        if repeats {
            assert!(!stream.take(&die(-500), now(opened)));
        }
        let mut at = opened;
        for pause in [1_000, 5_000] {
            assert_eq!(stream.ask(now(at)), Some(Ask::Remembered));
            assert_eq!(stream.prove(None, false, now(at)), Missed::Nothing);
            assert_eq!(stream.events_come(now(at + 2_000)), EventFeed::CatchingUp);
            assert_eq!(stream.ask(now(at + pause - 1)), None);
            at += pause;
            assert_eq!(stream.wake_at(), Some(now(at).uptime));
        }
        assert_eq!(stream.ask(now(at)), Some(Ask::Remembered));
        let lost = if lost {
            Missed::Events
        } else {
            Missed::Nothing
        };
        let got = stream.prove(None, false, now(at));
        assert_eq!(got, lost, "{opened} {repeats}");
        assert_eq!(stream.ask(now(at + 60_000)), None);
    }
}

#[test]
fn a_proof_of_a_stream_that_is_gone_proves_nothing() {
    let mut stream = open(5_000);
    assert_eq!(stream.ask(now(5_000)), Some(Ask::Remembered));
    stream.closed(now(6_000), false);
    assert_eq!(
        stream.prove(Some(&some_since(4_000)), false, now(6_000)),
        Missed::Nothing
    );
    open_again(&mut stream, 7_000);
    assert_eq!(
        stream.prove(Some(&some_since(4_000)), false, now(7_000)),
        Missed::Nothing
    );
    assert_eq!(stream.ask(now(7_000)), Some(Ask::Remembered));
    assert_eq!(
        stream.prove(Some(&some_since(4_000)), false, now(7_000)),
        Missed::Events
    );
}

#[test]
fn a_stream_that_was_behind_is_opened_again() {
    // How many events came while it was behind, and whether some may have been dropped.
    for (count, dropped) in [(1, false), (3, false), (4, true)] {
        let mut stream = proven(0);
        assert!(stream.take(&die(5_000), now(5_000)));
        assert!(!stream.has_caught_up(now(7_000)));
        for number in 0..count {
            // Each is three seconds late.
            assert!(stream.take(&die(7_000 + number), now(10_000 + number)));
        }
        let last = 10_000 + count - 1;
        assert_eq!(stream.events_come(now(last)), EventFeed::CatchingUp);
        assert!(!stream.has_caught_up(now(last + 999)));
        assert!(stream.has_caught_up(now(last + 1_000)));
        assert_eq!(stream.wake_at(), Some(now(last + 1_000).uptime));
        stream.ending(now(last + 1_000));
        assert_eq!(stream.events_come(now(last + 1_000)), EventFeed::CatchingUp);
        stream.closed(now(last + 1_000), false);
        // There is no pause.
        open_again(&mut stream, last + 1_000);
        assert_eq!(stream.proof.is_doubtful(), dropped, "{count}");
        let covered = if dropped { 7_003 - 50 } else { last };
        assert_eq!(stream.proof.covered(), at(covered), "{count}");
    }
}

#[test]
fn events_that_are_repeated_or_always_late_do_not_mean_that_it_is_behind() {
    let mut stream = proven(10_000);
    // Made before it was opened.
    assert!(stream.take(&die(1_000), now(10_100)));
    assert!(!stream.has_caught_up(now(60_000)));
    // An Engine whose clock is a little behind.
    for made in [11_000, 15_000, 20_000] {
        assert!(stream.take(&die(made), now(made + 1_900)));
    }
    assert!(!stream.has_caught_up(now(60_000)));
    assert_eq!(stream.events_come(now(60_000)), EventFeed::Live);
}

#[test]
fn the_pauses_grow_until_a_stream_lasts() {
    let mut stream = new(true);
    let mut at = 0;
    for pause in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        assert!(matches!(stream.ask(now(at)), Some(Ask::Follow(_))));
        assert_eq!(stream.ask(now(at)), None);
        stream.closed(now(at), false);
        at += pause;
        assert_eq!(stream.wake_at(), Some(now(at).uptime));
        assert_eq!(stream.ask(now(at - 1)), None);
    }
    // One that does not last is as bad as none.
    for (lasts, pause) in [(9_999, 5_000), (10_000, 100), (0, 200)] {
        open_again(&mut stream, at);
        at += lasts;
        stream.closed(now(at), false);
        at += pause;
        assert_eq!(stream.wake_at(), Some(now(at).uptime), "{lasts}");
    }
}

#[test]
fn one_that_is_refused_is_asked_for_again_after_a_minute() {
    let mut stream = new(true);
    assert!(matches!(stream.ask(now(0)), Some(Ask::Follow(_))));
    stream.closed(now(10), true);
    assert_eq!(stream.events_come(now(10)), EventFeed::Off);
    assert_eq!(stream.ask(now(60_009)), None);
    open_again(&mut stream, 60_010);
    assert_eq!(stream.events_come(now(60_010)), EventFeed::CatchingUp);
}

#[test]
fn whether_events_come() {
    let stream = new(false);
    assert_eq!(stream.events_come(now(0)), EventFeed::Off);
    assert_eq!(stream.wake_at(), None);
    assert_eq!(new(false).ask(now(60_000)), None);

    let mut stream = new(true);
    assert_eq!(stream.events_come(now(0)), EventFeed::CatchingUp);
    stream.ask(now(0));
    assert_eq!(stream.events_come(now(0)), EventFeed::CatchingUp);
    assert!(!stream.opened(now(50), at(0)));
    assert_eq!(stream.events_come(now(60_000)), EventFeed::CatchingUp);
    stream.ask(now(50));
    stream.prove(Some(&all_since(0)), false, now(100));
    assert_eq!(stream.events_come(now(1_049)), EventFeed::CatchingUp);
    assert_eq!(stream.events_come(now(1_050)), EventFeed::Live);
    stream.closed(now(2_000), false);
    assert_eq!(stream.events_come(now(2_000)), EventFeed::CatchingUp);
    stream.ask(now(3_000));
    assert!(stream.opened(now(3_000), at(0)));
}

#[test]
fn a_stream_without_the_event_of_what_ended_is_dead_but_not_all_the_time() {
    let mut stream = proven(5_000);
    assert!(!stream.is_dead(at(4_999), now(20_000)));
    assert!(stream.is_dead(at(6_000), now(20_000)));
    stream.ending(now(20_000));
    assert!(!stream.is_dead(at(6_000), now(20_000)));
    stream.closed(now(20_000), false);
    open_again(&mut stream, 20_000);
    assert!(!stream.is_dead(at(30_000), now(79_999)));
    assert!(stream.is_dead(at(30_000), now(80_000)));
}

#[test]
fn a_process_that_was_stopped_knows() {
    for (wanted, pause, stopped) in [
        (true, 4_000, false),
        (true, 4_001, true),
        (false, 60_000, false),
    ] {
        let mut stream = new(wanted);
        assert!(!stream.note_alive(now(60_000)));
        let got = stream.note_alive(now(60_000 + pause));
        assert_eq!(got, stopped, "{wanted} {pause}");
        assert!(!stream.note_alive(now(60_000 + pause)));
    }
    // An open stream has it woken for that.
    let mut stream = proven(0);
    stream.note_alive(now(1_000));
    assert_eq!(stream.wake_at(), Some(now(3_000).uptime));
}

#[test]
fn what_is_repeated_was_made_between_the_start_and_the_opening() {
    let stream = open(5_000);
    for (made, repeated) in [(-1, false), (0, true), (4_999, true), (5_000, false)] {
        let got = stream.is_repeated(&die(made), at(0), now(9_000));
        assert_eq!(got, repeated, "{made}");
    }
    assert!(!new(true).is_repeated(&die(1), at(0), now(9_000)));
}

#[test]
fn what_one_stream_has_repeated_proves_nothing_of_the_next() {
    let mut stream = proven(0);
    assert!(stream.take(&die(500), now(500)));
    for (opened, told, want) in [
        (20_000, 500, Missed::Nothing),
        (40_000, 39_000, Missed::Events),
    ] {
        stream.closed(now(opened - 5_000), false);
        open_again(&mut stream, opened);
        // The first repeats what is known, the second does not.
        stream.take(&die(told), now(opened));
        stream.ask(now(opened));
        let got = stream.prove(Some(&some_since(opened)), false, now(opened));
        assert_eq!(got, want, "{opened}");
    }
}

#[test]
fn what_is_repeated_after_the_queue_was_full_proves_nothing() {
    let mut stream = proven(0);
    // More wait than the Engine keeps.
    for millis in 5_000..5_010 {
        assert!(stream.take(&die(millis), now(15_000)));
    }
    stream.closed(now(15_000), false);
    open_again(&mut stream, 20_000);
    assert!(!stream.take(&die(5_009), now(20_000)));
    stream.ask(now(20_000));
    let got = stream.prove(Some(&some_since(14_000)), false, now(20_000));
    assert_eq!(got, Missed::Events);
}

#[test]
fn a_stream_that_is_behind_is_proven_by_the_next() {
    let mut stream = open(0);
    stream.ask(now(0));
    assert!(stream.take(&die(1_000), now(9_000)));
    let got = stream.prove(Some(&some_since(8_000)), false, now(9_000));
    assert_eq!(got, Missed::Nothing);
    assert_eq!(stream.events_come(now(60_000)), EventFeed::CatchingUp);
}
