use serde_json::json;

use super::seen::{MAX_SEEN, MAX_SEEN_IN_STORM};
use super::*;

/// A time of the Engine's clock, in milliseconds since the start.
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

fn new(wanted: bool) -> EventStream {
    EventStream::new(wanted, 4, at(0))
}

/// A stream that opened at this time.
fn open(millis: i64) -> EventStream {
    let mut stream = new(true);
    open_again(&mut stream, millis);
    stream
}

fn open_again(stream: &mut EventStream, millis: i64) {
    assert!(matches!(
        stream.next_request(now(millis)),
        Some(StreamRequest::Open(_))
    ));
    stream.opened(now(millis), at(0));
}

/// A stream that opened at this time, with a closed gap before it.
fn checked(millis: i64) -> EventStream {
    let mut stream = open(millis);
    assert_eq!(
        stream.next_request(now(millis)),
        Some(StreamRequest::PastEvents)
    );
    assert_eq!(
        stream.check_gap(Some(&all_since(millis)), false, now(millis)),
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

/// The past events of a daemon that has dropped none.
fn all_since(millis: i64) -> PastEvents {
    PastEvents {
        count: 1,
        oldest: Some(at(millis)),
        events: Vec::new(),
    }
}

/// The past events of a daemon that has dropped all earlier ones.
fn some_since(millis: i64) -> PastEvents {
    PastEvents {
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
        assert!(stream.apply_event(&new, now(200)), "{new:?}");
        assert!(!stream.apply_event(&new, now(200)), "{new:?}");
    }
}

#[test]
fn the_number_of_recognised_events_is_bounded() {
    // The pause between two events, and how many are recognised.
    for (pause, most) in [(1000, MAX_SEEN), (0, MAX_SEEN_IN_STORM)] {
        let mut stream = open(0);
        let count = i64::try_from(most).unwrap();
        let one = |number: i64| event("die", &number.to_string(), number * pause, "");
        for number in 0..count {
            assert!(stream.apply_event(&one(number), now(number * pause)));
        }
        assert!(!stream.apply_event(&one(0), now(count * pause)), "{most}");
        assert!(stream.apply_event(&one(count), now(count * pause)));
        assert!(!stream.apply_event(&one(1), now(count * pause)), "{most}");
        assert!(stream.apply_event(&one(0), now(count * pause)), "{most}");
        assert_eq!(stream.seen.hashes.len(), most);
        assert_eq!(stream.seen.order.len(), most);
    }
}

#[test]
fn a_new_stream_starts_before_all_events_that_may_be_missing() {
    let since = |stream: &mut EventStream, millis: i64| match stream.next_request(now(millis)) {
        Some(StreamRequest::Open(since)) => since.duration_since(at(0)).as_millis(),
        other => panic!("{other:?}"),
    };
    // The first one also explains the exits that are already there.
    assert_eq!(since(&mut new(true), 0), -3_600_000);
    // Events made up to a second before the break may be missing.
    let mut stream = checked(0);
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), 20_000 - 1_000 - 5_000);
    // The gap before the stream was never checked.
    let mut stream = open(0);
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), -5_000);
    // Events come late.
    let mut stream = checked(0);
    for (made, came) in [(5_000, 5_000), (6_000, 7_900)] {
        assert!(stream.apply_event(&die(made), now(came)));
    }
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), 20_000 - 1_900 - 5_000);
    // The Engine's clock is not well known.
    let mut stream = checked(0);
    let vague = Now {
        error: CLOCK_TOLERANCE,
        ..now(20_000)
    };
    stream.closed(vague, false);
    assert_eq!(since(&mut stream, 30_000), 20_000 - 1_000 - 3_000 - 5_000);
    // The process was suspended, and the stream may have broken meanwhile.
    let mut stream = checked(0);
    stream.note_alive(now(8_000));
    stream.note_alive(now(20_000));
    stream.closed(now(20_000), false);
    assert_eq!(since(&mut stream, 30_000), 8_000 - 1_000 - 5_000);
    // The Engine's clock went back.
    let mut stream = checked(0);
    stream.closed(now(20_000), false);
    let back = Now {
        engine: at(-3_600_000),
        ..now(30_000)
    };
    assert_eq!(
        stream.next_request(back),
        Some(StreamRequest::Open(at(-3_600_000 - 5_000)))
    );
}

#[test]
fn a_gap_is_closed_or_events_are_lost() {
    // When the stream opened, the past events, whether the Engine is Podman, and whether events may be
    // lost.
    for (opened, past_events, podman, lost) in [
        (900, some_since(900), false, false),
        (5_000, some_since(4_000), false, true),
        (5_000, some_since(0), false, false),
        (5_000, some_since(1), false, true),
        (5_000, all_since(4_000), false, false),
        (5_000, PastEvents::default(), false, false),
        (5_000, some_since(4_000), true, false),
    ] {
        let mut stream = open(opened);
        assert_eq!(
            stream.next_request(now(opened)),
            Some(StreamRequest::PastEvents)
        );
        assert_eq!(stream.next_request(now(opened)), None);
        let got = stream.check_gap(Some(&past_events), podman, now(opened));
        let lost = if lost {
            Missed::Events
        } else {
            Missed::Nothing
        };
        assert_eq!(got, lost, "{opened} {past_events:?} {podman}");
        // The check is done once.
        assert_eq!(
            stream.check_gap(Some(&some_since(4_000)), false, now(opened)),
            Missed::Nothing
        );
        assert_eq!(stream.next_request(now(60_000)), None);
    }
}

#[test]
fn a_stream_that_replays_an_event_from_before_the_gap_has_missed_nothing() {
    for repeats in [false, true] {
        let mut stream = checked(0);
        assert!(stream.apply_event(&die(19_000), now(19_000)));
        stream.closed(now(20_000), false);
        open_again(&mut stream, 30_000);
        assert_eq!(
            stream.next_request(now(30_000)),
            Some(StreamRequest::PastEvents)
        );
        if repeats {
            assert!(!stream.apply_event(&die(19_000), now(30_000)));
        }
        let lost = stream.check_gap(Some(&some_since(25_000)), false, now(30_000));
        let want = if repeats {
            Missed::Nothing
        } else {
            Missed::Events
        };
        assert_eq!(lost, want);
    }
}

#[test]
fn a_failed_gap_check_is_retried_and_then_events_are_lost() {
    for (opened, repeats, lost) in [
        (5_000, false, true),
        (5_000, true, false),
        (0, false, false),
    ] {
        let mut stream = new(true);
        stream.apply_event(&die(-500), now(0));
        open_again(&mut stream, opened);
        if repeats {
            assert!(!stream.apply_event(&die(-500), now(opened)));
        }
        let mut at = opened;
        for backoff in [1_000, 5_000] {
            assert_eq!(
                stream.next_request(now(at)),
                Some(StreamRequest::PastEvents)
            );
            assert_eq!(stream.check_gap(None, false, now(at)), Missed::Nothing);
            assert_eq!(stream.event_feed(now(at + 2_000)), EventFeed::CatchingUp);
            assert_eq!(stream.next_request(now(at + backoff - 1)), None);
            at += backoff;
            assert_eq!(stream.wake_at(), Some(now(at).uptime));
        }
        assert_eq!(
            stream.next_request(now(at)),
            Some(StreamRequest::PastEvents)
        );
        let lost = if lost {
            Missed::Events
        } else {
            Missed::Nothing
        };
        let got = stream.check_gap(None, false, now(at));
        assert_eq!(got, lost, "{opened} {repeats}");
        assert_eq!(stream.next_request(now(at + 60_000)), None);
    }
}

#[test]
fn past_events_for_a_closed_stream_are_ignored() {
    let mut stream = open(5_000);
    assert_eq!(
        stream.next_request(now(5_000)),
        Some(StreamRequest::PastEvents)
    );
    stream.closed(now(6_000), false);
    assert_eq!(
        stream.check_gap(Some(&some_since(4_000)), false, now(6_000)),
        Missed::Nothing
    );
    open_again(&mut stream, 7_000);
    assert_eq!(
        stream.check_gap(Some(&some_since(4_000)), false, now(7_000)),
        Missed::Nothing
    );
    assert_eq!(
        stream.next_request(now(7_000)),
        Some(StreamRequest::PastEvents)
    );
    assert_eq!(
        stream.check_gap(Some(&some_since(4_000)), false, now(7_000)),
        Missed::Events
    );
}

#[test]
fn a_stream_that_lagged_is_reopened() {
    // How many events came while it lagged, and whether some may have been dropped.
    for (count, dropped) in [(1, false), (3, false), (4, true)] {
        let mut stream = checked(0);
        assert!(stream.apply_event(&die(5_000), now(5_000)));
        assert!(!stream.has_caught_up(now(7_000)));
        for number in 0..count {
            // Each one is three seconds late.
            assert!(stream.apply_event(&die(7_000 + number), now(10_000 + number)));
        }
        let last = 10_000 + count - 1;
        assert_eq!(stream.event_feed(now(last)), EventFeed::CatchingUp);
        assert!(!stream.has_caught_up(now(last + 999)));
        assert!(stream.has_caught_up(now(last + 1_000)));
        assert_eq!(stream.wake_at(), Some(now(last + 1_000).uptime));
        stream.closing(now(last + 1_000));
        assert_eq!(stream.event_feed(now(last + 1_000)), EventFeed::CatchingUp);
        stream.closed(now(last + 1_000), false);
        // It is reopened without a pause.
        open_again(&mut stream, last + 1_000);
        assert_eq!(
            stream.gap_check.doubtful_until.is_some(),
            dropped,
            "{count}"
        );
        let complete_until = if dropped { 7_003 - 50 } else { last };
        assert_eq!(
            stream.gap_check.complete_until,
            at(complete_until),
            "{count}"
        );
    }
}

#[test]
fn replayed_events_and_constant_delays_are_no_lag() {
    let mut stream = checked(10_000);
    // Made before the stream opened.
    assert!(stream.apply_event(&die(1_000), now(10_100)));
    assert!(!stream.has_caught_up(now(60_000)));
    // An Engine whose clock is a little behind.
    for made in [11_000, 15_000, 20_000] {
        assert!(stream.apply_event(&die(made), now(made + 1_900)));
    }
    assert!(!stream.has_caught_up(now(60_000)));
    assert_eq!(stream.event_feed(now(60_000)), EventFeed::Live);
}

#[test]
fn the_backoff_grows_until_a_stream_lasts() {
    let mut stream = new(true);
    let mut at = 0;
    for backoff in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
        assert!(matches!(
            stream.next_request(now(at)),
            Some(StreamRequest::Open(_))
        ));
        assert_eq!(stream.next_request(now(at)), None);
        stream.closed(now(at), false);
        at += backoff;
        assert_eq!(stream.wake_at(), Some(now(at).uptime));
        assert_eq!(stream.next_request(now(at - 1)), None);
    }
    // A short stream does not reset the backoff.
    for (lasts, backoff) in [(9_999, 5_000), (10_000, 100), (0, 200)] {
        open_again(&mut stream, at);
        at += lasts;
        stream.closed(now(at), false);
        at += backoff;
        assert_eq!(stream.wake_at(), Some(now(at).uptime), "{lasts}");
    }
}

#[test]
fn a_refused_stream_is_retried_after_a_minute() {
    let mut stream = new(true);
    assert!(matches!(
        stream.next_request(now(0)),
        Some(StreamRequest::Open(_))
    ));
    stream.closed(now(10), true);
    assert_eq!(stream.event_feed(now(10)), EventFeed::Off);
    assert_eq!(stream.next_request(now(60_009)), None);
    open_again(&mut stream, 60_010);
    assert_eq!(stream.event_feed(now(60_010)), EventFeed::CatchingUp);
}

#[test]
fn whether_events_come() {
    let stream = new(false);
    assert_eq!(stream.event_feed(now(0)), EventFeed::Off);
    assert_eq!(stream.wake_at(), None);
    assert_eq!(new(false).next_request(now(60_000)), None);

    let mut stream = new(true);
    assert_eq!(stream.event_feed(now(0)), EventFeed::CatchingUp);
    stream.next_request(now(0));
    assert_eq!(stream.event_feed(now(0)), EventFeed::CatchingUp);
    assert!(!stream.opened(now(50), at(0)));
    assert_eq!(stream.event_feed(now(60_000)), EventFeed::CatchingUp);
    stream.next_request(now(50));
    stream.check_gap(Some(&all_since(0)), false, now(100));
    assert_eq!(stream.event_feed(now(1_049)), EventFeed::CatchingUp);
    assert_eq!(stream.event_feed(now(1_050)), EventFeed::Live);
    stream.closed(now(2_000), false);
    assert_eq!(stream.event_feed(now(2_000)), EventFeed::CatchingUp);
    stream.next_request(now(3_000));
    assert!(stream.opened(now(3_000), at(0)));
}

#[test]
fn a_stream_that_lacks_the_event_of_an_exit_is_dead_once_a_minute() {
    let mut stream = checked(5_000);
    assert!(!stream.is_dead(at(4_999), now(20_000)));
    assert!(stream.is_dead(at(6_000), now(20_000)));
    stream.closing(now(20_000));
    assert!(!stream.is_dead(at(6_000), now(20_000)));
    stream.closed(now(20_000), false);
    open_again(&mut stream, 20_000);
    assert!(!stream.is_dead(at(30_000), now(79_999)));
    assert!(stream.is_dead(at(30_000), now(80_000)));
}

#[test]
fn a_suspended_process_is_noticed() {
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
    // An open stream wakes the core for that.
    let mut stream = checked(0);
    stream.note_alive(now(1_000));
    assert_eq!(stream.wake_at(), Some(now(3_000).uptime));
}

#[test]
fn replayed_events_were_made_between_the_start_and_the_opening() {
    let stream = open(5_000);
    for (made, repeated) in [(-1, false), (0, true), (4_999, true), (5_000, false)] {
        let got = stream.is_replayed(&die(made), at(0), now(9_000));
        assert_eq!(got, repeated, "{made}");
    }
    assert!(!new(true).is_replayed(&die(1), at(0), now(9_000)));
}

#[test]
fn a_replay_counts_only_for_its_own_stream() {
    let mut stream = checked(0);
    assert!(stream.apply_event(&die(500), now(500)));
    for (opened, told, want) in [
        (20_000, 500, Missed::Nothing),
        (40_000, 39_000, Missed::Events),
    ] {
        stream.closed(now(opened - 5_000), false);
        open_again(&mut stream, opened);
        // The first stream replays a known event, the second does not.
        stream.apply_event(&die(told), now(opened));
        stream.next_request(now(opened));
        let got = stream.check_gap(Some(&some_since(opened)), false, now(opened));
        assert_eq!(got, want, "{opened}");
    }
}

#[test]
fn a_replay_after_a_full_queue_does_not_close_the_gap() {
    let mut stream = checked(0);
    // More events than the Engine keeps.
    for millis in 5_000..5_010 {
        assert!(stream.apply_event(&die(millis), now(15_000)));
    }
    stream.closed(now(15_000), false);
    open_again(&mut stream, 20_000);
    assert!(!stream.apply_event(&die(5_009), now(20_000)));
    stream.next_request(now(20_000));
    let got = stream.check_gap(Some(&some_since(14_000)), false, now(20_000));
    assert_eq!(got, Missed::Events);
}

#[test]
fn the_gap_check_of_a_lagging_stream_is_left_to_the_next() {
    let mut stream = open(0);
    stream.next_request(now(0));
    assert!(stream.apply_event(&die(1_000), now(9_000)));
    let got = stream.check_gap(Some(&some_since(8_000)), false, now(9_000));
    assert_eq!(got, Missed::Nothing);
    assert_eq!(stream.event_feed(now(60_000)), EventFeed::CatchingUp);
}
