//! The runs of one container, and which run a piece of evidence belongs to.
//!
//! A run is identified by its `StartedAt`. The Engine sets it, and makes its events, under the
//! container's lock (moby `daemon/start.go`, `daemon/monitor.go`). So for each run
//!
//! ```text
//! StartedAt ≤ `start` event ≤ `die` event < StartedAt of the next run
//! ```
//!
//! and an inspect includes everything that events showed before it was answered. This order tells
//! whether evidence belongs to a known run, a newer one or an older one. Evidence of an exit may
//! come before its `die` event. Such a run is a [`PendingDie`], so that the event is not counted
//! again and a missing event is noticed.

mod events;
mod inspect;
mod listing;
mod pending_die;

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Signals;

use super::exit::{Exit, RunEvents, SIGTERM, Source};
use super::listed_run::ListedRun;

pub(super) use listing::{CHECK_INTERVAL, InspectNeed};
use pending_die::{KnownEnd, PendingDie};

/// Time of a `die` event whose order is unknown because the Engine's clock was set back.
pub(super) const UNKNOWN_ORDER: Option<Timestamp> = Some(Timestamp::MIN);

/// Everything known about the runs of one container.
#[derive(Debug, Default)]
pub(super) struct Runs {
    state: RunState,
    /// The last known exit.
    exit: Option<Exit>,
    pub(super) report: ReportState,
    pending_dies: Vec<PendingDie>,
    /// Events of the present run.
    events: RunEvents,
    /// Events of an older run, which came late or out of order.
    late_events: Option<Box<RunEvents>>,
    /// End of the run before the last exit.
    previous_end: Option<Timestamp>,
    /// Time of the newest event.
    last_event_at: Option<Timestamp>,
    /// Uptime at which that event arrived.
    last_event_uptime: Duration,
    listed: Option<ListedRun>,
    stop_signal: Option<u8>,
    /// Whether someone cancelled the restart after the last exit.
    restart_cancelled: bool,
    /// Uptime of the last periodic inspect.
    checked_at: Option<Duration>,
    /// Whether anything has shown the container since the exporter's start.
    pub(super) is_known_since_start: bool,
    /// Runs without a seen exit that the ledger has not counted yet.
    pub(super) lost: u32,
}

/// State of the container.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum RunState {
    #[default]
    Unknown,
    Created(StartAttempt, Timestamp),
    Running(RunStart),
    Over,
    /// An inspect shows that it waits for its restart.
    Restarting,
}

/// Whether the start of a new container was attempted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StartAttempt {
    #[default]
    None,
    /// Its output was attached, or a network was connected.
    Begun,
    /// The network was disconnected again.
    Undone,
}

/// When a run started, as far as known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RunStart {
    /// Range of its `StartedAt`.
    earliest: Timestamp,
    latest: Timestamp,
    /// Time of the `start` event.
    start_event: Option<Timestamp>,
    /// It was running at this time, so the `start` event is older.
    running_at: Timestamp,
}

/// How far the last exit is reported.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportState {
    /// There is no exit to report.
    #[default]
    None,
    /// An inspect may change the reason. Waiting since this uptime.
    AwaitsInspect(Duration),
    /// The `die` event may change the reason. Waiting since this uptime.
    AwaitsEvent(Duration),
    /// Missed events may show a start. Waiting since this uptime, after this attempt.
    AwaitsReplay(Duration, StartAttempt),
    /// To be reported now.
    Due,
    /// Counted and logged.
    Reported,
}

impl RunStart {
    fn exactly(started_at: Timestamp, running_at: Timestamp) -> Self {
        Self {
            earliest: started_at,
            latest: started_at,
            start_event: None,
            running_at,
        }
    }

    /// Compares a run with this `StartedAt` to this run.
    fn cmp(&self, started_at: Timestamp) -> Ordering {
        match started_at {
            at if at < self.earliest => Ordering::Less,
            at if at > self.latest => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    /// Latest time at which the run was certainly not over.
    fn floor(&self) -> Timestamp {
        self.start_event.unwrap_or(self.earliest)
    }

    /// Whether a `start` event belongs to this run.
    fn is_own_start(&self, at: Timestamp) -> bool {
        self.start_event.is_none() && self.earliest <= at && at <= self.running_at
    }
}

impl Runs {
    fn running(&self) -> Option<RunStart> {
        match self.state {
            RunState::Running(start) => Some(start),
            _ => None,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running().is_some()
    }

    fn is_over(&self) -> bool {
        matches!(self.state, RunState::Over | RunState::Restarting)
    }

    pub(super) fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Whether the labels of its series are needed.
    pub(super) fn has_something_to_show(&self) -> bool {
        self.exit.is_some() || self.listed.is_some()
    }

    /// Time of the newest event.
    pub(super) fn last_event_at(&self) -> Option<Timestamp> {
        self.last_event_at
    }

    /// Whether anything is left to report.
    pub(super) fn has_unreported(&self) -> bool {
        self.has_unreported_exit() || self.pending_dies.iter().any(PendingDie::is_unseen)
    }

    /// Whether the container is stopped and everything is reported.
    pub(super) fn is_settled(&self) -> bool {
        (self.is_over() || self.state == RunState::Unknown) && !self.has_unreported()
    }

    /// Whether the last exit is not reported yet.
    pub(super) fn has_unreported_exit(&self) -> bool {
        !matches!(self.report, ReportState::None | ReportState::Reported)
    }

    /// Whether only an inspect can show the exit code, whether it ran at all, what a signal meant
    /// or, on Podman, whether the OOM killer was active.
    pub(super) fn needs_inspect(&self, podman: bool) -> bool {
        self.exit.as_ref().is_some_and(|exit| {
            let signal = self.stop_signal.is_none() && exit.events.signals != Signals::default();
            let killed = podman && exit.code != Some(0) && exit.source != Source::Inspect;
            let listed = exit.source == Source::Listing && !self.is_running();
            exit.is_doubtful() || listed || ((signal || killed) && !exit.is_stop_requested())
        })
    }

    pub(super) fn awaits_inspect(&self) -> bool {
        matches!(self.report, ReportState::AwaitsInspect(_))
    }

    pub(super) fn reported(&mut self) {
        self.report = ReportState::Reported;
    }

    /// Whether someone cancelled the restart after the last run ended on its own.
    pub(super) fn is_restart_cancelled(&self) -> bool {
        self.restart_cancelled && !self.is_running()
    }

    fn stop_signal(&self) -> u8 {
        self.stop_signal.unwrap_or(SIGTERM)
    }

    /// Sets the reason of the last exit again.
    fn classify(&mut self) {
        let stop_signal = self.stop_signal();
        if let Some(exit) = &mut self.exit {
            exit.classify(stop_signal);
        }
    }

    /// Replaces the last exit. Returns the one before if it is not reported yet.
    fn set_exit(&mut self, mut exit: Exit, report: ReportState) -> Option<Exit> {
        exit.is_first_evidence = !self.is_known_since_start;
        self.restart_cancelled = false;
        for pending in &mut self.pending_dies {
            if pending.end == KnownEnd::LastExit {
                pending.end = KnownEnd::Counted;
            }
        }
        let last = self.exit.replace(exit);
        let ended = |last: &Exit| last.died_at.or(last.finished_at);
        self.previous_end = last.as_ref().and_then(ended);
        let has_unreported = self.has_unreported_exit();
        self.report = report;
        last.filter(|_| has_unreported)
    }

    /// Starts another run. The events of the one before are kept for its `die` event.
    fn begin_next_run(&mut self, start: RunStart) {
        self.late_events = Some(Box::new(std::mem::take(&mut self.events)));
        self.state = RunState::Running(start);
    }
}
