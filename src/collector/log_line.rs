//! The collector's log lines, and how often each is written.

use std::fmt;
use std::time::Duration;

use crate::ledger::ExitReport;
use crate::one_line::OneLine;
use crate::reason::Reason;

/// A problem that is logged once, until it is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum LogTopic {
    NoInfo,
    NoLayout,
    NoInspect,
    NoEvents,
    BadEvent,
    LostEvents,
    LostRuns,
    LabelsLeftOut,
}

/// The maximum number of exit lines a second, so that a storm of exits does not fill the disk.
const MAX_EXIT_LINES: u64 = 50;

const EXIT_LINES_WINDOW: Duration = Duration::from_secs(1);

/// Limits how many exits a second are logged, and counts the others.
#[derive(Debug, Default)]
pub(super) struct ExitLogLimit {
    /// The uptime at which the current second ends.
    end: Duration,
    /// The exits in the current second.
    exits: u64,
}

impl ExitLogLimit {
    /// Whether to log an exit at this uptime. Call [`ExitLogLimit::take_suppressed`] before.
    pub(super) fn allow(&mut self, now: Duration) -> bool {
        if now >= self.end {
            *self = Self {
                end: now + EXIT_LINES_WINDOW,
                exits: 0,
            };
        }
        self.exits += 1;
        self.exits <= MAX_EXIT_LINES
    }

    /// The uptime at which to log the number of suppressed exits, if there are any.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        (self.exits > MAX_EXIT_LINES).then_some(self.end)
    }

    /// The number of suppressed exits, once after each second that had any.
    pub(super) fn take_suppressed(&mut self, now: Duration) -> Option<u64> {
        self.wake_at().filter(|end| *end <= now)?;
        let suppressed = self.exits - MAX_EXIT_LINES;
        self.exits = 0;
        Some(suppressed)
    }
}

/// The log line of an exit.
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
    fn at_most_50_exits_a_second_are_logged_and_the_others_are_counted() {
        let at = Duration::from_millis;
        let mut lines = ExitLogLimit::default();
        // When exits come, how many, how many are logged, and the suppressed ones before them.
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
            assert_eq!(lines.take_suppressed(at(now)), rest, "{case}");
            assert_eq!(lines.take_suppressed(at(now)), None, "{case}");
            let taken = (0..exits).filter(|_| lines.allow(at(now))).count();
            assert_eq!(taken, with_line, "{case}");
            let waits = lines.wake_at().is_some();
            assert_eq!(waits, exits > with_line, "{case}");
        }
        assert_eq!(lines.wake_at(), None);
        assert_eq!((0..51).filter(|_| lines.allow(at(10_000))).count(), 50);
        assert_eq!(lines.wake_at(), Some(at(11_000)));
    }
}
