//! What a listing says of a container's last run: little, and perhaps late.
//!
//! A sighting that is not explained by what is known has the container inspected. Only if that fails
//! is the listing taken at its word.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{State, Status};

use super::Asking;
use super::exit::{Exit, Source, later};
use super::tolerance::DIE_AFTER_END;

/// What a listing says of a container that has run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    pub(super) state: Seen,
    /// Between which times its last run ended or, if it runs, began.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// The uptime at which the listing was asked for.
    pub(super) asked: Duration,
    /// The Engine's time at which it had come, at the latest.
    pub(super) answered: Timestamp,
    pub(super) stage: Stage,
}

/// What the listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Running,
    /// It waits for its restart; the last run had this code.
    Restarting(Option<i64>),
    /// Its last run is over. The code is absent in the states `dead` and `removing`.
    Over(Option<i64>),
}

/// How far the sighting is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not at all.
    New,
    /// The exit that is known of the container is that of this run.
    Known,
    /// That, and no inspect is needed any more.
    Settled,
}

impl Sighting {
    /// The sighting in an element of a listing; `None` of a container that never ran.
    pub(super) fn new(status: Status, times: &Asking) -> Option<Self> {
        let state = match status.state? {
            State::Created => return None,
            State::Running | State::Paused => Seen::Running,
            State::Restarting => Seen::Restarting(status.code),
            State::Exited | State::Removing | State::Dead => Seen::Over(status.code),
        };
        let answered = later(times.answered.engine, times.answered.error);
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
            Seen::Running => None,
            Seen::Restarting(code) | Seen::Over(code) => code,
        }
    }

    /// This sighting as one more of the same run, or `None` if it shows something else, or there is
    /// no moment at which both can have ended.
    pub(super) fn after(self, before: &Self) -> Option<Self> {
        let span = match (before.span, self.span) {
            (Some(one), Some(two)) => Some((one.0.max(two.0), one.1.min(two.1))),
            _ => self.span,
        };
        let is_possible = span.is_none_or(|(earliest, latest)| earliest <= latest);
        let stage = before.stage;
        (self.state == before.state && is_possible).then_some(Self {
            span,
            stage,
            ..self
        })
    }

    /// This sighting as the first of a run whose end is known, or `None` if it is of another.
    pub(super) fn of(self, exit: &Exit) -> Option<Self> {
        let doubtful = exit.source == Source::DoubtfulEvent;
        if self.code().is_some_and(|code| exit.code != Some(code)) && !doubtful {
            return None;
        }
        // A start that failed has no time.
        if !exit.start_failed() && !self.is_of_time(exit) {
            return None;
        }
        let stage = match exit.source {
            Source::Inspect => Stage::Settled,
            _ => Stage::Known,
        };
        Some(Self { stage, ..self })
    }

    /// Whether a run that ended so can be the one that is shown, whatever its code.
    pub(super) fn is_of_time(&self, exit: &Exit) -> bool {
        let (end, slack) = match (exit.source, exit.died_at) {
            (Source::Inspect, _) | (_, None) => (exit.finished_at, SignedDuration::ZERO),
            (_, died) => (died, DIE_AFTER_END),
        };
        let Some((first, last)) = end.map(|end| (end, end)).or(exit.span) else {
            return false;
        };
        let fits = |(earliest, latest)| earliest <= last && first <= later(latest, slack);
        self.span.is_none_or(fits)
    }

    /// Whether it shows what was before this exit. One that is still to come is by another clock.
    pub(super) fn is_before(&self, exit: &Exit) -> bool {
        let inspected = exit.source == Source::Inspect;
        let end = exit
            .finished_at
            .filter(|end| inspected && *end <= self.answered);
        self.span.is_some_and(|(_, latest)| Some(latest) < end)
    }

    /// Whether its run can have ended at this moment.
    pub(super) fn spans(&self, finished: Timestamp) -> bool {
        let spans = |(earliest, latest)| earliest <= finished && finished <= latest;
        self.span.is_none_or(spans)
    }

    /// Takes in that the run ended at this moment, by the clock of the Engine. If that is another
    /// clock than this host's, it is of no use here.
    pub(super) fn narrow(&mut self, finished: Timestamp) {
        if self.spans(finished) {
            self.span = self.span.map(|_| (finished, finished));
        }
    }
}
