//! Runs that are over but whose `die` event has not come.

use std::time::Duration;

use jiff::Timestamp;

use super::super::exit::{Exit, shift};
use super::super::tolerance::FINISHED_AT_WINDOW;
use super::inspect::ended_before;
use super::{ReportState, Runs};

/// Maximum number of such runs per container. Without an event stream the events never come. With
/// it, one or two runs are usual.
const MAX_PENDING_DIES: usize = 8;

/// A run that is over but whose `die` event has not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingDie {
    /// It had started by then.
    pub(super) started_by: Timestamp,
    /// Range of the `die` event.
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    /// It was over by then, so the `start` event is older.
    pub(super) over_at: Timestamp,
    /// Whether its `start` event has come.
    pub(super) has_start_event: bool,
    /// Time of the `start` event of the run that a listing mistook it for.
    pub(super) assumed_start: Option<Timestamp>,
    pub(super) end: KnownEnd,
}

/// What is known about the end of such a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KnownEnd {
    /// It is the last exit.
    LastExit,
    /// It is counted, and another run has ended since.
    Counted,
    /// No more than its time, if that. Waiting since this uptime.
    Unseen(Option<Timestamp>, Duration),
}

impl PendingDie {
    pub(super) fn matches(&self, died: Timestamp) -> bool {
        self.earliest <= died && died <= self.latest
    }

    pub(super) fn is_unseen(&self) -> bool {
        matches!(self.end, KnownEnd::Unseen(..))
    }
}

impl Runs {
    /// Gives up on runs without a seen exit whose wait `is_over`. They are lost if they ended after
    /// the exporter's `start`. Returns whether one of them is the last exit now.
    pub(crate) fn give_up_unseen(
        &mut self,
        start: Timestamp,
        is_over: impl Fn(Duration) -> bool,
    ) -> bool {
        let (mut count, mut last) = (0, None);
        self.pending_dies.retain(|it| match it.end {
            KnownEnd::Unseen(finished, since) if is_over(since) => {
                count += u32::from(finished.unwrap_or(it.latest) >= start);
                last = last.max(Some((finished.unwrap_or(it.latest), finished)));
                false
            }
            _ => true,
        });
        self.lost += count;
        let Some((at, finished)) = last else {
            return false;
        };
        let is_last = self.exit.as_ref().is_none_or(|exit| ended_before(exit, at));
        if is_last {
            self.exit = Some(Exit::unseen(finished, at));
            self.report = ReportState::Reported;
        }
        is_last
    }

    /// Uptime since which the first run without a seen exit waits.
    pub(crate) fn unseen_end_since(&self) -> Option<Duration> {
        self.pending_dies.iter().find_map(|it| match it.end {
            KnownEnd::Unseen(_, since) => Some(since),
            KnownEnd::LastExit | KnownEnd::Counted => None,
        })
    }

    /// Whether an inspect may show the end of a run whose exit was not seen.
    pub(crate) fn has_unseen_end(&self) -> bool {
        let mut ends = self.pending_dies.iter().map(|it| it.end);
        self.is_running() && ends.any(|end| matches!(end, KnownEnd::Unseen(None, _)))
    }

    /// Records that the running run ended by `until` and its exit was not seen.
    pub(super) fn mark_unseen_end(
        &mut self,
        until: Timestamp,
        finished: Option<Timestamp>,
        uptime: Duration,
    ) {
        if let Some(start) = self.running() {
            let pending = self.expect_die(start.floor(), until, KnownEnd::Unseen(finished, uptime));
            pending.has_start_event = start.start_event.is_some();
        }
    }

    /// Applies a late `start` event to a run without a seen exit: it was two runs.
    pub(super) fn split_unseen_run(&mut self, at: Timestamp, uptime: Duration) {
        let mut all = self.pending_dies.iter_mut();
        if let Some(pending) =
            all.find(|it| it.is_unseen() && it.started_by < at && at <= it.latest)
        {
            let started_by = std::mem::replace(&mut pending.started_by, at);
            // The first `start` event is its own.
            if std::mem::replace(&mut pending.has_start_event, true) {
                self.expect_die(started_by, at, KnownEnd::Unseen(None, uptime));
            }
        }
    }

    /// Adds a run whose `die` event is made between these times.
    pub(super) fn expect_die(
        &mut self,
        earliest: Timestamp,
        latest: Timestamp,
        end: KnownEnd,
    ) -> &mut PendingDie {
        if self.pending_dies.len() == MAX_PENDING_DIES {
            self.lost += u32::from(self.pending_dies.remove(0).is_unseen());
        }
        let index = self.pending_dies.len();
        // Most stopped containers have exactly one.
        self.pending_dies.reserve_exact(1);
        self.pending_dies.push(PendingDie {
            started_by: earliest,
            earliest,
            latest,
            over_at: latest,
            has_start_event: false,
            assumed_start: None,
            end,
        });
        &mut self.pending_dies[index]
    }
}

/// Earliest time of the `die` event of a run with this end.
pub(super) fn earliest_die(finished: Timestamp) -> Timestamp {
    shift(finished, -FINISHED_AT_WINDOW)
}
