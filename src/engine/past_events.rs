//! The past events of all types that the Engine still knows.
//!
//! Docker keeps 256 in memory (moby `daemon/events/events.go`, `eventsLimit`). If the oldest of them is
//! older than a gap in the event stream, none in the gap is lost.

use jiff::Timestamp;

use super::{Event, event};

/// The number of events that Docker keeps.
const MAX_PAST_EVENTS: usize = 256;

/// A response to `/events` with an end.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct PastEvents {
    /// The number of events of all types.
    pub count: usize,
    /// The time of the oldest event.
    pub oldest: Option<Timestamp>,
    /// The events of interest, oldest first.
    pub events: Vec<Event>,
}

impl PastEvents {
    /// Parses the body, which has one event per line. Invalid lines count too.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let mut all = Self::default();
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        for line in lines.filter(|line| !line.is_empty()) {
            all.count += 1;
            let Ok(line) = std::str::from_utf8(line) else {
                continue;
            };
            if let Some(time) = event::time(line) {
                all.oldest = Some(all.oldest.map_or(time, |oldest| oldest.min(time)));
            }
            all.events.extend(Event::parse(line).ok().flatten());
        }
        all
    }

    /// Whether all events since `time` are here: the oldest is not newer, or the daemon is so new that
    /// it has dropped none. A new daemon does not know the events of the one before. To rule that out,
    /// pass the time of an event in `other`: the oldest must not be newer than that either.
    #[must_use]
    pub fn reaches_back_to(&self, time: Timestamp, other: Option<Timestamp>) -> bool {
        let reaches = |time| self.oldest.is_some_and(|oldest| oldest <= time);
        let has_dropped_none = self.count < MAX_PAST_EVENTS;
        reaches(time) || (has_dropped_none && other.is_none_or(reaches))
    }

    /// Whether another daemon made the event of this time.
    #[must_use]
    pub fn is_from_another_daemon(&self, event: Timestamp) -> bool {
        self.count < MAX_PAST_EVENTS && self.oldest.is_none_or(|oldest| oldest > event)
    }
}

/// The path of the events of all types between two times.
pub(super) fn path(since: Timestamp, until: Timestamp) -> String {
    let until = seconds(until);
    if since <= Timestamp::UNIX_EPOCH {
        return format!("/events?since=0&until={until}");
    }
    format!("/events?since={}&until={until}", seconds(since))
}

/// A time in a query: seconds since 1970 with nanoseconds.
pub(super) fn seconds(time: Timestamp) -> String {
    let nanos = time.as_nanosecond();
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_events_reach_back_or_are_complete() {
        let line = |nanos: u64| {
            format!(r#"{{"Type":"image","Action":"pull","Actor":{{"ID":"i"}},"timeNano":{nanos}}}"#)
        };
        let at = |nanos: i128| Timestamp::from_nanosecond(nanos).unwrap();
        for (count, back_to_10, back_to_9) in
            [(0, true, true), (255, true, true), (256, true, false)]
        {
            let lines: Vec<String> = (0..count).map(|number| line(10 + number)).collect();
            let all = PastEvents::parse(lines.join("\n").as_bytes());
            assert_eq!(all.count as u64, count);
            assert_eq!(all.reaches_back_to(at(10), None), back_to_10, "{count}");
            assert_eq!(all.reaches_back_to(at(9), None), back_to_9, "{count}");
        }
    }

    #[test]
    fn invalid_lines_count_and_events_of_interest_are_kept() {
        let die = r#"{"Type":"container","Action":"die","Actor":{"ID":"c"},"timeNano":7}"#;
        let all = PastEvents::parse(format!("garbage\r\n\n{die}\n\u{0}").as_bytes());
        assert_eq!((all.count, all.events.len()), (3, 1));
        assert_eq!(all.oldest, Timestamp::from_nanosecond(7).ok());
    }

    #[test]
    fn the_path_of_past_events() {
        let until = Timestamp::from_nanosecond(1_795_336_842_015_241_720).unwrap();
        let want = "/events?since=0&until=1795336842.015241720";
        assert_eq!(path(Timestamp::UNIX_EPOCH, until), want);
        let since = Timestamp::from_second(5).unwrap();
        assert!(path(since, until).starts_with("/events?since=5.000000000&until="));
    }
}
