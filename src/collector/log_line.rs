//! What the collector says in the log, and what it has said already.

use std::fmt;
use std::time::Duration;

use crate::ledger::ExitReport;
use crate::one_line::OneLine;
use crate::reason::Reason;

/// What is said once, until it is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    NoInfo,
    NoLayout,
    NoInspect,
    NoEvents,
    BadEvent,
    LostEvents,
    LostRuns,
    LabelsLeftOut,
}

/// What was said already, and is not said again.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<Topic>);

impl Topics {
    /// Whether this is to be said, since it was not said yet.
    pub(super) fn first_time(&mut self, topic: Topic) -> bool {
        let is_new = !self.0.contains(&topic);
        if is_new {
            self.0.push(topic);
        }
        is_new
    }

    /// Whether something that was said is resolved now.
    pub(super) fn resolved(&mut self, topic: Topic) -> bool {
        let before = self.0.len();
        self.0.retain(|it| *it != topic);
        self.0.len() != before
    }

    /// Forgets what was said.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// So many exits have a line of their own in one second: a storm of them must not fill the disk.
const EXIT_LINES: u64 = 50;

const SECOND: Duration = Duration::from_secs(1);

/// Which exits have a line of their own in the log, and how many others there are.
#[derive(Debug, Default)]
pub(super) struct ExitLines {
    /// The uptime at which the second ends that the last exit is in.
    end: Duration,
    /// The exits in that second.
    exits: u64,
}

impl ExitLines {
    /// Whether an exit at this uptime has a line. The rest of an older second is said before.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        if now >= self.end {
            *self = Self {
                end: now + SECOND,
                exits: 0,
            };
        }
        self.exits += 1;
        self.exits <= EXIT_LINES
    }

    /// The uptime at which the rest is to be said, if there is any.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        (self.exits > EXIT_LINES).then_some(self.end)
    }

    /// How many exits of the last second had no line, once it is over; gives that out once.
    pub(super) fn take_rest(&mut self, now: Duration) -> Option<u64> {
        self.wake_at().filter(|end| *end <= now)?;
        let rest = self.exits - EXIT_LINES;
        self.exits = 0;
        Some(rest)
    }
}

/// An exit as a line of the log.
pub(super) struct ExitLine<'a>(pub(super) &'a ExitReport);

impl fmt::Display for ExitLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExitReport {
            id,
            name,
            image,
            exit,
            ..
        } = self.0;
        let verb = if exit.reason == Reason::StartFailed {
            "could not be started"
        } else {
            "exited"
        };
        let id: String = id.chars().take(12).collect();
        let [name, image, id] = [name, image, &id].map(|text| OneLine::new(text));
        write!(f, "{name} ({image}, {id}) {verb}")?;
        match (exit.code, exit.reason) {
            (Some(code), Reason::StartFailed) => write!(f, ", code {code}")?,
            (Some(code), _) => write!(f, " with code {code}")?,
            (None, _) => {}
        }
        write!(f, ": {}", exit.reason.name())?;
        if let Some(duration) = exit.duration {
            write!(f, ", after {:.1} s", duration.as_secs_f64())?;
        }
        if !exit.error.is_empty() {
            write!(f, ", {}", OneLine::new(&exit.error))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_50_exits_a_second_have_a_line_and_the_rest_is_said_when_it_is_over() {
        let at = Duration::from_millis;
        let mut lines = ExitLines::default();
        // When exits come, how many, how many of them have a line, and what rest is said before.
        for (now, exits, with_line, rest) in [
            (0, 1, 1, None),
            (999, 49, 49, None),
            (999, 3, 0, None),
            (1000, 60, 50, Some(3)),
            (1999, 1, 0, None),
            (2500, 0, 0, Some(11)),
            (2500, 50, 50, None),
            (3499, 0, 0, None),
            (3500, 50, 50, None),
            (4499, 1_000_000, 0, None),
            (9000, 1, 1, Some(1_000_000)),
        ] {
            let case = format!("{exits} at {now} ms");
            assert_eq!(lines.take_rest(at(now)), rest, "{case}");
            assert_eq!(lines.take_rest(at(now)), None, "{case}");
            let taken = (0..exits).filter(|_| lines.take(at(now))).count();
            assert_eq!(taken, with_line, "{case}");
            let waits = lines.wake_at().is_some();
            assert_eq!(waits, exits > with_line, "{case}");
        }
        assert_eq!(lines.wake_at(), None);
        assert_eq!((0..51).filter(|_| lines.take(at(10_000))).count(), 50);
        assert_eq!(lines.wake_at(), Some(at(11_000)));
    }
}
