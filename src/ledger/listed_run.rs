//! What a listing shows of a container's last run.
//!
//! A listed run that nothing known explains is inspected. Only if the inspect fails is the listing
//! used itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{State, Status};

use super::RequestTimes;
use super::exit::{Exit, Source, shift};
use super::tolerance::DIE_EVENT_DELAY;

/// The last run of a container, as listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListedRun {
    pub(super) state: ListedState,
    /// Earliest and latest end or, of a running container, start.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Uptime at which the listing was requested.
    pub(super) asked: Duration,
    /// Latest Engine time at which the listing was answered.
    pub(super) answered: Timestamp,
    pub(super) stage: Stage,
}

/// Listed state of a container that has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListedState {
    Running,
    /// Waiting for its restart. The exit code of the last run.
    Restarting(Option<i64>),
    /// Stopped. No exit code in the states `dead` and `removing`.
    Over(Option<i64>),
}

/// How far a listed run is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not explained.
    New,
    /// The same run as the known exit.
    Matched,
    /// Explained, and no inspect is needed any more.
    Settled,
}

impl ListedRun {
    /// Reads one element of a listing. `None` if the container never ran.
    pub(super) fn new(status: Status, times: &RequestTimes) -> Option<Self> {
        let state = match status.state? {
            State::Created => return None,
            State::Running | State::Paused => ListedState::Running,
            State::Restarting => ListedState::Restarting(status.code),
            State::Exited | State::Removing | State::Dead => ListedState::Over(status.code),
        };
        let answered = times.answered.latest();
        let span = status.age.and_then(|age| {
            let earliest = times.asked.engine.checked_sub(age.max).ok()?;
            let earliest = earliest.checked_sub(times.answered.error).ok()?;
            Some((earliest, answered.checked_sub(age.min).ok()?))
        });
        Some(Self {
            state,
            span,
            asked: times.asked.uptime,
            answered,
            stage: Stage::New,
        })
    }

    pub(super) fn code(&self) -> Option<i64> {
        match self.state {
            ListedState::Running => None,
            ListedState::Restarting(code) | ListedState::Over(code) => code,
        }
    }

    /// Merges this with the previous listing of the same run. `None` if it is another run: the
    /// state differs, or the times do not overlap.
    pub(super) fn continues(self, previous: &Self) -> Option<Self> {
        let span = match (previous.span, self.span) {
            (Some(one), Some(two)) => Some((one.0.max(two.0), one.1.min(two.1))),
            _ => self.span,
        };
        let is_possible = span.is_none_or(|(earliest, latest)| earliest <= latest);
        let stage = previous.stage;
        (self.state == previous.state && is_possible).then_some(Self {
            span,
            stage,
            ..self
        })
    }

    /// Matches this with a known exit. `None` if it is another run.
    pub(super) fn match_exit(self, exit: &Exit) -> Option<Self> {
        let doubtful = exit.source == Source::DoubtfulEvent;
        if self.code().is_some_and(|code| exit.code != Some(code)) && !doubtful {
            return None;
        }
        // A failed start has no time of its own.
        if !exit.start_failed() && !self.matches_time_of(exit) {
            return None;
        }
        let stage = match exit.source {
            Source::Inspect => Stage::Settled,
            _ => Stage::Matched,
        };
        Some(Self { stage, ..self })
    }

    /// Whether an exit may be that of the listed run, by its time.
    pub(super) fn matches_time_of(&self, exit: &Exit) -> bool {
        let (end, slack) = match (exit.source, exit.died_at) {
            (Source::Inspect, _) | (_, None) => (exit.finished_at, SignedDuration::ZERO),
            (_, died) => (died, DIE_EVENT_DELAY),
        };
        let Some((first, last)) = end.map(|end| (end, end)).or(exit.span) else {
            return false;
        };
        let fits = |(earliest, latest)| earliest <= last && first <= shift(latest, slack);
        self.span.is_none_or(fits)
    }

    /// Whether the listing is older than an exit. An exit in the future is by another clock.
    pub(super) fn predates(&self, exit: &Exit) -> bool {
        let inspected = exit.source == Source::Inspect;
        let end = exit
            .finished_at
            .filter(|end| inspected && *end <= self.answered);
        self.span.is_some_and(|(_, latest)| Some(latest) < end)
    }

    /// Whether the run may have ended at this time.
    pub(super) fn includes(&self, finished: Timestamp) -> bool {
        let spans = |(earliest, latest)| earliest <= finished && finished <= latest;
        self.span.is_none_or(spans)
    }

    /// Sets the exact end. A time outside the range is by another clock and ignored.
    pub(super) fn narrow_to(&mut self, finished: Timestamp) {
        if self.includes(finished) {
            self.span = self.span.map(|_| (finished, finished));
        }
    }
}
