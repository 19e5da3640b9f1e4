//! What an Engine remembers of its last events, of all types.
//!
//! Docker remembers 256 in memory (moby `daemon/events/events.go`, `eventsLimit`). They prove what a
//! stream that broke has missed: if the oldest of them is from before the break, nothing.

use jiff::Timestamp;

use super::{Event, event};

/// So many events Docker remembers, of all types.
const REMEMBERED_EVENTS: usize = 256;

/// The answer to a request for all that is remembered.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// How many events there were, of all types.
    pub count: usize,
    /// When the oldest of them was made.
    pub oldest: Option<Timestamp>,
    /// Those that are of interest, the oldest first.
    pub events: Vec<Event>,
}

impl Remembered {
    /// Reads the body of the answer, an event per line. A line that is none counts all the same.
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

    /// Whether nothing is forgotten that was made since then: it reaches back so far, or the daemon is
    /// a new one that has never forgotten anything. A new daemon knows nothing of the one before; if
    /// that matters, it must be the one that made the event of that `other` time.
    #[must_use]
    pub fn reaches_back_to(&self, time: Timestamp, other: Option<Timestamp>) -> bool {
        let reaches = |time| self.oldest.is_some_and(|oldest| oldest <= time);
        let forgot_nothing = self.count < REMEMBERED_EVENTS;
        reaches(time) || (forgot_nothing && other.is_none_or(reaches))
    }

    /// Whether it is another daemon than the one that made an event then.
    #[must_use]
    pub fn is_of_another_than(&self, event: Timestamp) -> bool {
        self.count < REMEMBERED_EVENTS && self.oldest.is_none_or(|oldest| oldest > event)
    }
}

/// The path that asks for all that was made from one time to another, of whatever type.
pub(super) fn path(since: Timestamp, until: Timestamp) -> String {
    let text = |time: Timestamp| {
        let nanos = time.as_nanosecond();
        format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    };
    if since <= Timestamp::UNIX_EPOCH {
        return format!("/events?since=0&until={}", text(until));
    }
    format!("/events?since={}&until={}", text(since), text(until))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_reaches_back_or_is_all_there_ever_was() {
        let line = |nanos: u64| {
            format!(r#"{{"Type":"image","Action":"pull","Actor":{{"ID":"i"}},"timeNano":{nanos}}}"#)
        };
        let at = |nanos: i128| Timestamp::from_nanosecond(nanos).unwrap();
        for (count, back_to_10, back_to_9) in
            [(0, true, true), (255, true, true), (256, true, false)]
        {
            let lines: Vec<String> = (0..count).map(|number| line(10 + number)).collect();
            let all = Remembered::parse(lines.join("\n").as_bytes());
            assert_eq!(all.count as u64, count);
            assert_eq!(all.reaches_back_to(at(10), None), back_to_10, "{count}");
            assert_eq!(all.reaches_back_to(at(9), None), back_to_9, "{count}");
        }
    }

    #[test]
    fn what_is_no_event_counts_and_what_is_of_interest_is_kept() {
        let die = r#"{"Type":"container","Action":"die","Actor":{"ID":"c"},"timeNano":7}"#;
        let all = Remembered::parse(format!("garbage\r\n\n{die}\n\u{0}").as_bytes());
        assert_eq!((all.count, all.events.len()), (3, 1));
        assert_eq!(all.oldest, Timestamp::from_nanosecond(7).ok());
    }

    #[test]
    fn the_path_of_all_that_is_remembered() {
        let until = Timestamp::from_nanosecond(1_795_336_842_015_241_720).unwrap();
        let want = "/events?since=0&until=1795336842.015241720";
        assert_eq!(path(Timestamp::UNIX_EPOCH, until), want);
        let since = Timestamp::from_second(5).unwrap();
        assert!(path(since, until).starts_with("/events?since=5.000000000&until="));
    }
}
