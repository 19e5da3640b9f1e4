//! The runs of one container: which are known, and which of them a piece of evidence is of.
//!
//! A run is named by its `StartedAt`: the same in every inspect of one run, another in the next. The
//! Engine sets it, and makes its events, under the container's lock (moby `daemon/start.go`,
//! `daemon/monitor.go`), so that for each run
//!
//! ```text
//! StartedAt ≤ `start` event ≤ `die` event < StartedAt of the next run
//! ```
//!
//! and an inspect contains all that was told by events up to the moment at which it was answered. By
//! that order evidence is of a known run, of a newer one, or of an older one. Evidence that a run is
//! over may come before its `die` event; such runs are [`awaited::Awaited`], so that the
//! event counts nothing twice, and its absence is noticed.

mod awaited;
mod events;
mod inspect;
mod listing;

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Signals;

use super::exit::{Course, Exit, SIGTERM, Source};
use super::sighting::Sighting;

use awaited::{Awaited, Ended};
pub(super) use listing::{LOOK_EVERY, Want};

/// The `die` event of a run whose order to others is forgotten, since the Engine's clock went back.
pub(super) const FORGOTTEN: Option<Timestamp> = Some(Timestamp::MIN);

/// What is known of one container's runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    life: Life,
    /// How the last run ended that is known to have ended.
    exit: Option<Exit>,
    pub(super) report: Report,
    awaited: Vec<Awaited>,
    /// What events tell of the present run.
    course: Course,
    /// The same of an older run, whose events come late and out of order.
    late: Option<Box<Course>>,
    /// When the run before the last exit's ended.
    before: Option<Timestamp>,
    /// The newest event.
    newest: Option<Timestamp>,
    /// The uptime at which that came.
    newest_came: Duration,
    sighting: Option<Sighting>,
    stop_signal: Option<u8>,
    /// Someone has called off its restart since its last exit.
    called_off: bool,
    /// When it was last to be inspected for a start that failed.
    looked: Option<Duration>,
    /// Something has told of it since the exporter's start.
    pub(super) read: bool,
    /// Runs that ended unseen, of which the ledger was not told yet.
    pub(super) lost: u32,
}

/// What the container does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    #[default]
    Unknown,
    Created(Tried, Timestamp),
    Running(Began),
    Over {
        /// It waits to be restarted, says an inspect.
        waits: bool,
    },
}

/// Whether someone tried to start a container that never ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tried {
    #[default]
    No,
    /// Its output was attached, or it was connected to a network.
    Yes,
    /// It was disconnected from the network again.
    InVain,
}

const OVER: Life = Life::Over { waits: false };

/// When a run began, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Began {
    /// Its `StartedAt` lies between these.
    earliest: Timestamp,
    latest: Timestamp,
    /// Its `start` event, if that was seen.
    event: Option<Timestamp>,
    /// It was seen to run then, so its `start` event was made before.
    seen: Timestamp,
}

/// How far the last exit is reported: counted, and said in the log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// There is none to report.
    #[default]
    Nothing,
    /// Its inspect may tell the reason; since this uptime.
    AwaitsInspect(Duration),
    /// Its `die` event may tell the reason; since this uptime.
    AwaitsEvent(Duration),
    /// Missed events may tell otherwise; since this uptime. It was tried to be started so far.
    AwaitsProof(Duration, Tried),
    /// It is to be reported now.
    Due,
    /// It was.
    Reported,
}

impl Began {
    fn exactly(started_at: Timestamp, seen: Timestamp) -> Self {
        Self {
            earliest: started_at,
            latest: started_at,
            event: None,
            seen,
        }
    }

    /// Where a run with this `StartedAt` stands to this one.
    fn cmp(&self, started_at: Timestamp) -> Ordering {
        if started_at < self.earliest {
            Ordering::Less
        } else if started_at > self.latest {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// The last moment that is known to be before its end.
    fn floor(&self) -> Timestamp {
        self.event.unwrap_or(self.earliest)
    }

    /// Whether a `start` event that was made then is this run's.
    fn takes_start(&self, at: Timestamp) -> bool {
        self.event.is_none() && self.earliest <= at && at <= self.seen
    }
}

impl Runs {
    /// Its process is there.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// How the last run ended that is known to have ended.
    pub(super) fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Whether its series' labels are needed.
    pub(super) fn has_something_to_show(&self) -> bool {
        self.exit.is_some() || self.sighting.is_some()
    }

    /// When its newest event was made.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Whether something of it is not reported yet.
    pub(super) fn is_open(&self) -> bool {
        self.waits()
            || self
                .awaited
                .iter()
                .any(|it| matches!(it.what, Ended::Unseen(..)))
    }

    /// Whether all that it did is reported.
    pub(super) fn is_settled(&self) -> bool {
        matches!(self.life, Life::Unknown | Life::Over { .. }) && !self.is_open()
    }

    /// Whether its last exit is not reported yet.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.report, Report::Nothing | Report::Reported)
    }

    /// Whether only an inspect can tell the last exit's code, whether it ran at all, what the signal
    /// meant that came before, or, on Podman, that it was the OOM killer.
    pub(super) fn needs_inspect(&self, podman: bool) -> bool {
        self.exit.as_ref().is_some_and(|exit| {
            let signal = self.stop_signal.is_none() && exit.course.signals != Signals::default();
            let killed = podman && exit.code != Some(0) && exit.source != Source::Inspect;
            let listed = exit.source == Source::Listing && !self.is_running();
            exit.is_doubtful() || listed || ((signal || killed) && !exit.was_asked_for())
        })
    }

    /// Whether its last exit is to be inspected.
    pub(super) fn awaits_inspect(&self) -> bool {
        matches!(self.report, Report::AwaitsInspect(_))
    }

    /// Takes note that its last exit was reported.
    pub(super) fn reported(&mut self) {
        self.report = Report::Reported;
    }

    /// Whether it is down because someone has called off its restart: its last run ended by itself.
    pub(super) fn is_called_off(&self) -> bool {
        self.called_off && !self.is_running()
    }

    fn stop_signal(&self) -> u8 {
        self.stop_signal.unwrap_or(SIGTERM)
    }

    /// Finds the reason of the last exit again, after an event.
    fn classify(&mut self) {
        let stop_signal = self.stop_signal();
        if let Some(exit) = &mut self.exit {
            exit.classify(stop_signal);
        }
    }

    /// Makes this the last exit; returns the one before if that was not reported yet.
    fn end(&mut self, mut exit: Exit, report: Report) -> Option<Exit> {
        exit.old = !self.read;
        self.called_off = false;
        for awaited in &mut self.awaited {
            if awaited.what == Ended::Last {
                awaited.what = Ended::Counted;
            }
        }
        let last = self.exit.replace(exit);
        let ended = |last: &Exit| last.died_at.or(last.finished_at);
        self.before = last.as_ref().and_then(ended);
        let open = self.waits();
        self.report = report;
        last.filter(|_| open)
    }

    /// Another run has begun. What events told of the one before is kept for its `die` event.
    fn supersede(&mut self, began: Began) {
        self.late = Some(Box::new(std::mem::take(&mut self.course)));
        self.life = Life::Running(began);
    }
}
