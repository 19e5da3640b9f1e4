//! Finds out whether events were missed in the gap before a stream.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::PastEvents;
use crate::ledger::Now;

/// Events made this shortly before a stream broke may not have come. A new stream replays them.
pub(super) const OVERLAP_WINDOW: SignedDuration = SignedDuration::from_secs(1);

/// The pauses before the past events are requested again after a failure.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// What was missed before a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::collector) enum Missed {
    Nothing,
    /// The last events of a daemon that has been replaced. The new one does not know them.
    LastOfOldDaemon,
    /// Events that no listing can replace.
    Events,
}

/// The check that nothing was missed before the current stream.
#[derive(Debug)]
pub(super) struct GapCheck {
    state: GapCheckState,
    /// All events made up to this time have come.
    pub(super) complete_until: Timestamp,
    /// The last event that came before the current stream.
    last: Option<Timestamp>,
    /// The newest event before the gap, if some events older than it may be missing as well.
    pub(super) doubtful_until: Option<Timestamp>,
    /// The stream has replayed an event from before the gap.
    has_replayed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GapCheckState {
    Done,
    Due { at: Duration, tries: usize },
    InFlight { tries: usize },
}

impl GapCheck {
    /// A check that is done: events before this time do not matter.
    pub(super) fn new(complete_until: Timestamp) -> Self {
        Self {
            state: GapCheckState::Done,
            complete_until,
            last: None,
            doubtful_until: None,
            has_replayed: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == GapCheckState::Done
    }

    /// Starts the check for a stream that has just opened. `last` is the newest event before it.
    pub(super) fn start(&mut self, now: Now, last: Option<Timestamp>) {
        self.state = GapCheckState::Due {
            at: now.uptime,
            tries: 0,
        };
        self.has_replayed = false;
        self.last = last;
    }

    /// Drops the check: the stream is closed.
    pub(super) fn cancel(&mut self) {
        self.state = GapCheckState::Done;
    }

    /// Whether to request the past events now.
    pub(super) fn take_due(&mut self, now: Now) -> bool {
        match self.state {
            GapCheckState::Due { at, tries } if now.uptime >= at => {
                self.state = GapCheckState::InFlight { tries };
                true
            }
            _ => false,
        }
    }

    /// The uptime at which [`GapCheck::take_due`] returns true.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        match self.state {
            GapCheckState::Due { at, .. } => Some(at),
            GapCheckState::Done | GapCheckState::InFlight { .. } => None,
        }
    }

    /// All events made up to now have come, except those still on their way. An event takes at most
    /// `delay`.
    pub(super) fn complete_now(&mut self, now: Now, delay: SignedDuration) {
        self.complete_before(now.engine, delay.max(OVERLAP_WINDOW) + now.error);
        self.doubtful_until = None;
    }

    /// All events made up to `margin` before this time have come.
    pub(super) fn complete_before(&mut self, at: Timestamp, margin: SignedDuration) {
        let at = at.checked_sub(margin).unwrap_or(at);
        self.complete_until = self.complete_until.max(at);
    }

    /// Some events before `last`, the newest one, may not have come.
    pub(super) fn doubt(&mut self, last: Option<Timestamp>) {
        self.doubtful_until = last;
    }

    /// The stream has replayed an event. The Engine still knows an event from before the gap, so it
    /// knows all events since.
    pub(super) fn note_replay(&mut self) {
        self.has_replayed |= !self.is_done() && self.doubtful_until.is_none();
    }

    /// Finishes the check, or schedules another try if there are no past events. Podman logs all its
    /// events, so it misses none. A stream opened `at_startup` has no gap before it.
    pub(super) fn check(
        &mut self,
        past_events: Option<&PastEvents>,
        podman: bool,
        at_startup: bool,
        now: Now,
    ) -> Missed {
        let GapCheckState::InFlight { tries } = self.state else {
            return Missed::Nothing;
        };
        if past_events.is_none() && tries < RETRY_DELAYS.len() {
            self.state = GapCheckState::Due {
                at: now.uptime + RETRY_DELAYS[tries],
                tries: tries + 1,
            };
            return Missed::Nothing;
        }
        self.state = GapCheckState::Done;
        let is_closed =
            |all: &PastEvents| all.reaches_back_to(self.complete_until, self.doubtful_until);
        if self.has_replayed || podman {
            Missed::Nothing
        } else if !at_startup && !past_events.is_some_and(is_closed) {
            Missed::Events
        } else if past_events
            .zip(self.last)
            .is_some_and(|(all, last)| all.is_from_another_daemon(last))
        {
            Missed::LastOfOldDaemon
        } else {
            Missed::Nothing
        }
    }
}
