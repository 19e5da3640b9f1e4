//! Runs that are over, or have ended unseen, and whose `die` event is still to come.

use std::time::Duration;

use jiff::Timestamp;

use super::super::exit::{Exit, later};
use super::super::tolerance::OUT_OF_ORDER;
use super::inspect::is_before;
use super::{Life, Report, Runs};

/// So many runs are remembered whose `die` event has not come: where events are not followed none
/// ever does, and where they are it is the last one or two.
const MAX_AWAITED: usize = 8;

/// A run that is over, and whose `die` event has not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited {
    /// It had begun by then.
    pub(super) began: Timestamp,
    /// Its `die` event is made between these.
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// It was over by then, so its `start` event was made before.
    pub(super) seen: Timestamp,
    /// Its `start` event has come.
    pub(super) started: bool,
    /// The `start` event of the run that it was taken for, by a listing.
    pub(super) taken_for: Option<Timestamp>,
    pub(super) what: Ended,
}

/// What is known of an awaited run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is the last exit.
    Last,
    /// It is counted, and another has ended since.
    Counted,
    /// Nothing but, perhaps, when; since this uptime.
    Unseen(Option<Timestamp>, Duration),
}

impl Awaited {
    pub(super) fn takes(&self, died: Timestamp) -> bool {
        self.from <= died && died <= self.until
    }
}

impl Runs {
    /// Gives up on runs that ended unseen, once their wait since an uptime `is_over`: each is lost, if it
    /// ended after the exporter's `start`. Returns whether such a run is the last exit now.
    pub(in crate::ledger) fn settle(
        &mut self,
        start: Timestamp,
        is_over: impl Fn(Duration) -> bool,
    ) -> bool {
        let (mut count, mut last) = (0, None);
        self.awaited.retain(|it| match it.what {
            Ended::Unseen(finished, since) if is_over(since) => {
                count += u32::from(finished.unwrap_or(it.until) >= start);
                last = last.max(Some((finished.unwrap_or(it.until), finished)));
                false
            }
            _ => true,
        });
        self.lost += count;
        let Some((at, finished)) = last else {
            return false;
        };
        let is_last = self.exit.as_ref().is_none_or(|exit| is_before(exit, at));
        if is_last {
            self.exit = Some(Exit::unseen(finished, at));
            self.report = Report::Reported;
        }
        is_last
    }

    /// Since which uptime the first of the runs that ended unseen waits to be given up.
    pub(in crate::ledger) fn unseen_since(&self) -> Option<Duration> {
        self.awaited.iter().find_map(|it| match it.what {
            Ended::Unseen(_, since) => Some(since),
            Ended::Last | Ended::Counted => None,
        })
    }

    /// Whether a run ended unseen, about which an inspect may tell when.
    pub(in crate::ledger) fn ended_unseen(&self) -> bool {
        let unseen = |it: &Awaited| matches!(it.what, Ended::Unseen(None, _));
        self.is_running() && self.awaited.iter().any(unseen)
    }

    /// Takes note that a run that was known to run has ended before this time, unseen.
    pub(super) fn end_unseen(
        &mut self,
        until: Timestamp,
        finished: Option<Timestamp>,
        uptime: Duration,
    ) {
        if let Life::Running(began) = self.life {
            self.expect_event(began.floor(), until, Ended::Unseen(finished, uptime));
            if let Some(awaited) = self.awaited.last_mut() {
                awaited.started = began.event.is_some();
            }
        }
    }

    /// A late `start` event among runs that ended unseen: what began before it has ended before it.
    pub(super) fn split_unseen(&mut self, at: Timestamp, uptime: Duration) {
        let awaited = self
            .awaited
            .iter_mut()
            .find(|it| matches!(it.what, Ended::Unseen(..)) && it.began < at && at <= it.until);
        if let Some(awaited) = awaited {
            let began = std::mem::replace(&mut awaited.began, at);
            // The first `start` event is its own.
            if std::mem::replace(&mut awaited.started, true) {
                self.expect_event(began, at, Ended::Unseen(None, uptime));
            }
        }
    }

    pub(super) fn expect_event(&mut self, from: Timestamp, until: Timestamp, what: Ended) {
        if self.awaited.len() == MAX_AWAITED {
            let oldest = self.awaited.remove(0);
            self.lost += u32::from(matches!(oldest.what, Ended::Unseen(..)));
        }
        // One is usual, for each stopped container of a host.
        self.awaited.reserve_exact(1);
        self.awaited.push(Awaited {
            began: from,
            from,
            until,
            seen: until,
            started: false,
            taken_for: None,
            what,
        });
    }
}

/// The first moment at which the `die` event of a run can be made that ended then.
pub(super) fn before(finished: Timestamp) -> Timestamp {
    later(finished, -OUT_OF_ORDER)
}
