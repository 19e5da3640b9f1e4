//! Up to when all events have come, and the proof that none was missed before a stream.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::Remembered;
use crate::ledger::Now;

/// What was made so long before a stream broke may not have come; a new one repeats it.
pub(super) const OVERLAP: SignedDuration = SignedDuration::from_secs(1);

/// What the Engine remembers is asked for again after these, if there was no good answer.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// What may have been missed before a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::collector) enum Missed {
    Nothing,
    /// The daemon is another one, which does not know what the one before told last.
    LastOfOldDaemon,
    /// Events that no listing makes up for.
    Events,
}

/// The proof that nothing was missed before the present stream.
#[derive(Debug)]
pub(super) struct Proof {
    state: State,
    /// All that was made up to then has come.
    covered: Timestamp,
    /// The last event that came before the present stream.
    last: Option<Timestamp>,
    /// The same, if some before it may not have come.
    doubtful: Option<Timestamp>,
    /// The stream has repeated what came before it was opened.
    seamless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Due { at: Duration, tries: usize },
    Asked { tries: usize },
}

impl Proof {
    /// Nothing is to be proven of what was before this time.
    pub(super) fn new(covered: Timestamp) -> Self {
        Self {
            state: State::Done,
            covered,
            last: None,
            doubtful: None,
            seamless: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// All that was made up to then has come.
    pub(super) fn covered(&self) -> Timestamp {
        self.covered
    }

    #[cfg(test)]
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.is_some()
    }

    /// A stream is open, before which this event was the last to come.
    pub(super) fn begin(&mut self, now: Now, last: Option<Timestamp>) {
        self.state = State::Due {
            at: now.uptime,
            tries: 0,
        };
        self.seamless = false;
        self.last = last;
    }

    /// The stream is gone.
    pub(super) fn end(&mut self) {
        self.state = State::Done;
    }

    /// Whether what the Engine remembers is to be asked for now.
    pub(super) fn ask(&mut self, now: Now) -> bool {
        match self.state {
            State::Due { at, tries } if now.uptime >= at => {
                self.state = State::Asked { tries };
                true
            }
            _ => false,
        }
    }

    /// The uptime at which [`Proof::ask`] says so.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        match self.state {
            State::Due { at, .. } => Some(at),
            State::Done | State::Asked { .. } => None,
        }
    }

    /// All that was made up to now has come, but for what is under way, which took so long at most.
    pub(super) fn cover_until(&mut self, now: Now, delay: SignedDuration) {
        self.cover(now.engine, delay.max(OVERLAP) + now.error);
        self.doubtful = None;
    }

    /// All that was made so long before this time has come.
    pub(super) fn cover(&mut self, at: Timestamp, margin: SignedDuration) {
        let at = at.checked_sub(margin).unwrap_or(at);
        self.covered = self.covered.max(at);
    }

    /// Before this event, the last one, some may not have come.
    pub(super) fn doubt(&mut self, last: Option<Timestamp>) {
        self.doubtful = last;
    }

    /// The stream repeats an event. The Engine remembers what came before the break, so it remembers all
    /// since.
    pub(super) fn repeat(&mut self) {
        self.seamless |= !self.is_done() && self.doubtful.is_none();
    }

    /// What the Engine remembers has come, or not. Podman has a log of all that ever happened; and before
    /// a stream that was opened `at_the_start` nothing was.
    pub(super) fn check(
        &mut self,
        remembered: Option<&Remembered>,
        podman: bool,
        at_the_start: bool,
        now: Now,
    ) -> Missed {
        let State::Asked { tries } = self.state else {
            return Missed::Nothing;
        };
        let missed = match remembered {
            Some(_) if self.seamless || podman => Missed::Nothing,
            Some(all) if !at_the_start && !all.reaches_back_to(self.covered, self.doubtful) => {
                Missed::Events
            }
            Some(all) if self.last.is_some_and(|last| all.is_of_another_than(last)) => {
                Missed::LastOfOldDaemon
            }
            Some(_) => Missed::Nothing,
            None if tries < AGAIN.len() => {
                self.state = State::Due {
                    at: now.uptime + AGAIN[tries],
                    tries: tries + 1,
                };
                return Missed::Nothing;
            }
            None if self.seamless || podman || at_the_start => Missed::Nothing,
            None => Missed::Events,
        };
        self.state = State::Done;
        missed
    }
}
