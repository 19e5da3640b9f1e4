//! The end of one run of a container.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Inspected, Signals, State};
use crate::one_line::MAX_TEXT_CHARS;
use crate::reason::{Asked, Reason};

use super::workloads::start;

/// SIGTERM, which stops a container that does not name another signal.
pub(super) const SIGTERM: u8 = 15;
/// SIGKILL, which stops any.
const SIGKILL: u8 = 9;

/// So much is kept of why a start failed, in bytes: more than a line of the log has.
const ERROR_BYTES: usize = 4 * MAX_TEXT_CHARS + 1;

/// The codes of a start that failed.
pub(super) const FAILED_START: std::ops::RangeInclusive<i64> = 125..=128;

/// A time and something more; an Engine can name the last moment that there is.
pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How a run of a container ended, or why it could not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; absent if nobody saw it.
    pub code: Option<i64>,
    /// Why it ended, as far as it is known; of no meaning without a code.
    pub reason: Reason,
    /// When it ended: `FinishedAt` of an inspect, or else when the `die` event was made.
    pub finished_at: Option<Timestamp>,
    /// How long it had run, never negative.
    pub duration: Option<SignedDuration>,
    /// Restarts by the restart policy so far.
    pub restart_count: Option<u64>,
    /// Why it could not be started, in the Engine's words; empty otherwise.
    pub error: Arc<str>,
    /// `StartedAt`, which names the run; known from an inspect.
    pub(super) began: Option<Timestamp>,
    /// When its `die` event was made, if that was seen.
    pub(super) died_at: Option<Timestamp>,
    /// It was over by then.
    pub(super) over_by: Option<Timestamp>,
    /// Between which times it ended, as a listing tells.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Nothing had told of its container before.
    pub(super) old: bool,
    pub(super) source: Source,
    pub(super) course: Course,
}

/// The best evidence there is of an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A `die` event whose code may be the value of a Docker label.
    DoubtfulEvent,
    /// The text of a listing: the code alone.
    Listing,
    /// A `die` event.
    Event,
    /// An inspect.
    Inspect,
}

/// What events told of a run before its end.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    /// When its `start` event was made.
    pub(super) started: Option<Timestamp>,
    pub(super) signals: Signals,
    /// A signal was sent whose number is hidden by a Docker label.
    pub(super) hidden_signal: bool,
    pub(super) oom_killed: bool,
    pub(super) unhealthy: bool,
}

impl Course {
    pub(super) fn since(start: Timestamp) -> Self {
        Self {
            started: Some(start),
            ..Self::default()
        }
    }

    /// Takes in a `kill` event; `None` if a Docker label hides its signal.
    pub(super) fn kill(&mut self, signal: Option<u8>) {
        match signal {
            Some(signal) => self.signals.add(signal),
            None => self.hidden_signal = true,
        }
    }

    /// Whether someone asked for the end that had this code. Of a hidden signal the code tells, if
    /// it is the one that the signal leads to.
    fn asked(&self, code: Option<i64>, stop_signal: u8) -> Asked {
        let led_to = |signal: u8| code == Some(128 + i64::from(signal));
        let stopped = self.signals.ask_for_the_end(stop_signal)
            || (self.hidden_signal && (led_to(SIGKILL) || led_to(stop_signal)));
        match (stopped, self.unhealthy) {
            (false, _) => Asked::No,
            (true, false) => Asked::Yes,
            (true, true) => Asked::WhileUnhealthy,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.started = self.started.or(other.started);
        self.signals.add_all(other.signals);
        self.hidden_signal |= other.hidden_signal;
        self.oom_killed |= other.oom_killed;
        self.unhealthy |= other.unhealthy;
    }
}

impl Exit {
    /// One of which nothing but this is known.
    fn new(code: Option<i64>, source: Source) -> Self {
        Self {
            code,
            reason: Reason::of(code.unwrap_or_default(), Asked::No, false),
            finished_at: None,
            duration: None,
            restart_count: None,
            error: Arc::default(),
            began: None,
            died_at: None,
            over_by: None,
            span: None,
            old: false,
            source,
            course: Course::default(),
        }
    }

    /// A run that ended unseen.
    pub(super) fn unseen(finished_at: Option<Timestamp>, over_by: Timestamp) -> Self {
        Self {
            finished_at,
            over_by: Some(over_by),
            ..Self::new(None, Source::Listing)
        }
    }

    /// What a listing tells.
    pub(super) fn from_code(code: i64) -> Self {
        Self::new(Some(code), Source::Listing)
    }

    /// What a `die` event tells that was made then, of a run that took so long.
    pub(super) fn from_event(code: i64, at: Timestamp, ran: Option<SignedDuration>) -> Self {
        Self {
            finished_at: Some(at),
            died_at: Some(at),
            duration: ran.map(|ran| ran.max(SignedDuration::ZERO)),
            ..Self::new(Some(code), Source::Event)
        }
    }

    /// A start that failed; a container that was removed with it has no code.
    pub(super) fn failed_start(code: Option<i64>, error: &str) -> Self {
        Self {
            reason: Reason::StartFailed,
            error: start(error, ERROR_BYTES).into(),
            ..Self::new(code, Source::Inspect)
        }
    }

    /// What an inspect tells of a run that is over.
    pub(super) fn from_inspect(inspected: &Inspected) -> Self {
        if refused_start(inspected) {
            return Self {
                began: inspected.started_at,
                restart_count: inspected.restart_count,
                ..Self::failed_start(Some(inspected.code), &inspected.error)
            };
        }
        let (began, finished_at) = (inspected.started_at, inspected.finished_at);
        let duration = finished_at
            .zip(began)
            .map(|(finished, began)| finished.duration_since(began).max(SignedDuration::ZERO));
        Self {
            finished_at,
            duration,
            restart_count: inspected.restart_count,
            began,
            course: Course {
                oom_killed: inspected.oom_killed,
                unhealthy: inspected.unhealthy,
                ..Course::default()
            },
            ..Self::new(Some(inspected.code), Source::Inspect)
        }
    }

    /// When its run ended, if no `die` event has told of it.
    #[must_use]
    pub fn ended_without_event(&self) -> Option<Timestamp> {
        self.finished_at.filter(|_| self.died_at.is_none())
    }

    /// Whether its code may be a label's; then it is not shown.
    pub(super) fn is_doubtful(&self) -> bool {
        self.source == Source::DoubtfulEvent
    }

    pub(super) fn start_failed(&self) -> bool {
        self.reason == Reason::StartFailed
    }

    /// Whether it is one start that failed, seen twice: a listing tells no error.
    pub(super) fn is_the_same_failure(&self, other: &Self) -> bool {
        self.code == other.code && (self.error.is_empty() || self.error == other.error)
    }

    /// The last moment that is known of its run.
    pub(super) fn end(&self) -> Option<Timestamp> {
        if self.start_failed() {
            return self.over_by;
        }
        // FinishedAt may lie before StartedAt.
        let end = self.finished_at.max(self.began);
        self.died_at.or(end).or(self.over_by)
    }

    /// Whether someone asked for it, as is known.
    pub(super) fn was_asked_for(&self) -> bool {
        matches!(self.reason, Reason::Stopped | Reason::Unhealthy)
    }

    /// Whether there is something to show: a failed start without a code is counted alone.
    pub(super) fn can_be_shown(&self) -> bool {
        !self.is_doubtful() && (self.code.is_some() || !self.start_failed())
    }

    /// Whether an inspect can tell another reason than events did.
    pub(super) fn reason_is_open(&self) -> bool {
        self.is_doubtful() || matches!(self.reason, Reason::Error | Reason::Signaled)
    }

    /// Takes in what an inspect tells of the same run.
    pub(super) fn merge_inspect(&mut self, inspected: &Self, stop_signal: u8) {
        self.code = inspected.code;
        self.finished_at = inspected.finished_at.or(self.finished_at);
        self.duration = inspected.duration.or(self.duration);
        self.restart_count = inspected.restart_count.or(self.restart_count);
        self.began = inspected.began.or(self.began);
        self.source = Source::Inspect;
        self.course.merge(inspected.course);
        self.classify(stop_signal);
    }

    /// Takes in the code that a listing tells, of an exit whose event could not.
    pub(super) fn learn_code(&mut self, code: Option<i64>, stop_signal: u8) {
        if code.is_some() {
            (self.code, self.source) = (code, Source::Event);
            self.classify(stop_signal);
        }
    }

    /// Takes in its `die` event, and what events told of the run before.
    pub(super) fn merge_event(&mut self, at: Timestamp, course: Course, stop_signal: u8) {
        self.died_at = Some(at);
        self.course.merge(course);
        self.classify(stop_signal);
    }

    /// Finds the reason, for a container that is stopped by this signal.
    pub(super) fn classify(&mut self, stop_signal: u8) {
        if let (Some(code), false) = (self.code, self.start_failed()) {
            let asked = self.course.asked(self.code, stop_signal);
            self.reason = Reason::of(code, asked, self.course.oom_killed);
        }
    }
}

/// Whether an inspect shows a start that the runtime refused: of a dead or vanishing container the
/// error tells why it could not be removed.
pub(super) fn refused_start(inspected: &Inspected) -> bool {
    let is_of_removal = matches!(inspected.state, Some(State::Dead | State::Removing));
    !inspected.error.is_empty() && !is_of_removal
}
