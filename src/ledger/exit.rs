//! The exit of one run of a container.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Inspected, Signals, State};
use crate::one_line::MAX_TEXT_CHARS;
use crate::reason::{Reason, StopRequest};

use super::workloads::truncate;

/// Default stop signal.
pub(super) const SIGTERM: u8 = 15;
const SIGKILL: u8 = 9;

/// Maximum length of an Engine's error text. A log line shows less.
const MAX_ERROR_BYTES: usize = 4 * MAX_TEXT_CHARS + 1;

/// Exit codes of a failed start.
pub(super) const FAILED_START_CODES: std::ops::RangeInclusive<i64> = 125..=128;

/// Adds a duration to a time. An Engine can send the last representable time.
pub(super) fn shift(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How a run ended, or why it failed to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Exit code. `None` if it was never seen.
    pub code: Option<i64>,
    /// Reason as far as known. Has no meaning without a code.
    pub reason: Reason,
    /// `FinishedAt` of an inspect, or else the time of the `die` event.
    pub finished_at: Option<Timestamp>,
    /// How long the container ran. Never negative.
    pub duration: Option<SignedDuration>,
    /// Restarts by the restart policy so far.
    pub restart_count: Option<u64>,
    /// The Engine's error if the start failed, else empty.
    pub error: Arc<str>,
    /// `StartedAt`, which identifies the run. Known from an inspect.
    pub(super) started_at: Option<Timestamp>,
    /// Time of the `die` event.
    pub(super) died_at: Option<Timestamp>,
    /// The run was over at this time.
    pub(super) over_by: Option<Timestamp>,
    /// Earliest and latest end, from a listing.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Whether nothing was known of the container before.
    pub(super) is_first_evidence: bool,
    pub(super) source: Source,
    pub(super) events: RunEvents,
}

/// The best evidence of an exit, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A `die` event whose code may come from a Docker label.
    DoubtfulEvent,
    /// A listing, which shows the code only.
    Listing,
    /// A `die` event.
    Event,
    /// An inspect.
    Inspect,
}

/// What events showed of a run before its exit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct RunEvents {
    /// Time of the `start` event.
    pub(super) start_event: Option<Timestamp>,
    pub(super) signals: Signals,
    /// A signal was sent, but a Docker label hides its number.
    pub(super) has_hidden_signal: bool,
    pub(super) oom_killed: bool,
    pub(super) unhealthy: bool,
}

impl RunEvents {
    pub(super) fn since(start: Timestamp) -> Self {
        Self {
            start_event: Some(start),
            ..Self::default()
        }
    }

    /// Applies a `kill` event. `None`: a Docker label hides the signal.
    pub(super) fn kill(&mut self, signal: Option<u8>) {
        match signal {
            Some(signal) => self.signals.add(signal),
            None => self.has_hidden_signal = true,
        }
    }

    /// Whether the exit was requested. If the signal is hidden, the exit code shows which one it
    /// was.
    fn stop_request(&self, code: Option<i64>, stop_signal: u8) -> StopRequest {
        let led_to = |signal: u8| code == Some(128 + i64::from(signal));
        let stopped = self.signals.ask_to_stop(stop_signal)
            || (self.has_hidden_signal && (led_to(SIGKILL) || led_to(stop_signal)));
        match (stopped, self.unhealthy) {
            (false, _) => StopRequest::None,
            (true, false) => StopRequest::WhileHealthy,
            (true, true) => StopRequest::WhileUnhealthy,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.start_event = self.start_event.or(other.start_event);
        self.signals.add_all(other.signals);
        self.has_hidden_signal |= other.has_hidden_signal;
        self.oom_killed |= other.oom_killed;
        self.unhealthy |= other.unhealthy;
    }
}

impl Exit {
    /// An exit with a code and nothing else.
    fn new(code: Option<i64>, source: Source) -> Self {
        Self {
            code,
            reason: Reason::classify(code.unwrap_or_default(), StopRequest::None, false),
            finished_at: None,
            duration: None,
            restart_count: None,
            error: Arc::default(),
            started_at: None,
            died_at: None,
            over_by: None,
            span: None,
            is_first_evidence: false,
            source,
            events: RunEvents::default(),
        }
    }

    /// A run whose exit was never seen.
    pub(super) fn unseen(finished_at: Option<Timestamp>, over_by: Timestamp) -> Self {
        Self {
            finished_at,
            over_by: Some(over_by),
            ..Self::new(None, Source::Listing)
        }
    }

    /// An exit from a listing.
    pub(super) fn from_code(code: i64) -> Self {
        Self::new(Some(code), Source::Listing)
    }

    /// An exit from a `die` event.
    pub(super) fn from_event(code: i64, at: Timestamp, duration: Option<SignedDuration>) -> Self {
        Self {
            finished_at: Some(at),
            died_at: Some(at),
            duration: duration.map(|it| it.max(SignedDuration::ZERO)),
            ..Self::new(Some(code), Source::Event)
        }
    }

    /// A failed start. It has no code if the container was removed before an inspect.
    pub(super) fn failed_start(code: Option<i64>, error: &str) -> Self {
        Self {
            reason: Reason::StartFailed,
            error: truncate(error, MAX_ERROR_BYTES).into(),
            ..Self::new(code, Source::Inspect)
        }
    }

    /// An exit from an inspect.
    pub(super) fn from_inspect(inspected: &Inspected) -> Self {
        if is_failed_start(inspected) {
            return Self {
                started_at: inspected.started_at,
                restart_count: inspected.restart_count,
                ..Self::failed_start(Some(inspected.code), &inspected.error)
            };
        }
        let (started_at, finished_at) = (inspected.started_at, inspected.finished_at);
        let ran = finished_at
            .zip(started_at)
            .map(|(end, start)| end.duration_since(start));
        Self {
            finished_at,
            duration: ran.map(|ran| ran.max(SignedDuration::ZERO)),
            restart_count: inspected.restart_count,
            started_at,
            events: RunEvents {
                oom_killed: inspected.oom_killed,
                unhealthy: inspected.unhealthy,
                ..RunEvents::default()
            },
            ..Self::new(Some(inspected.code), Source::Inspect)
        }
    }

    /// Time of the exit if its `die` event was not seen.
    #[must_use]
    pub fn ended_without_event(&self) -> Option<Timestamp> {
        self.finished_at.filter(|_| self.died_at.is_none())
    }

    /// Whether the code may come from a Docker label. Such an exit is not shown.
    pub(super) fn is_doubtful(&self) -> bool {
        self.source == Source::DoubtfulEvent
    }

    pub(super) fn start_failed(&self) -> bool {
        self.reason == Reason::StartFailed
    }

    /// Whether both are the same failed start. A listing has no error text.
    pub(super) fn is_same_failure(&self, other: &Self) -> bool {
        self.code == other.code && (self.error.is_empty() || self.error == other.error)
    }

    /// Last known time of the run.
    pub(super) fn end(&self) -> Option<Timestamp> {
        if self.start_failed() {
            return self.over_by;
        }
        // FinishedAt may be before StartedAt.
        let end = self.finished_at.max(self.started_at);
        self.died_at.or(end).or(self.over_by)
    }

    /// Whether the exit is known to be requested.
    pub(super) fn is_stop_requested(&self) -> bool {
        matches!(self.reason, Reason::Stopped | Reason::Unhealthy)
    }

    /// Whether it can be shown. A failed start without a code is only counted.
    pub(super) fn is_shown(&self) -> bool {
        !self.is_doubtful() && (self.code.is_some() || !self.start_failed())
    }

    /// Whether an inspect can still change the reason.
    pub(super) fn is_reason_open(&self) -> bool {
        self.is_doubtful() || matches!(self.reason, Reason::Error | Reason::Signaled)
    }

    /// Applies an inspect of the same run.
    pub(super) fn merge_inspect(&mut self, inspected: &Self, stop_signal: u8) {
        self.code = inspected.code;
        self.finished_at = inspected.finished_at.or(self.finished_at);
        self.duration = inspected.duration.or(self.duration);
        self.restart_count = inspected.restart_count.or(self.restart_count);
        self.started_at = inspected.started_at.or(self.started_at);
        self.source = Source::Inspect;
        self.events.merge(inspected.events);
        self.classify(stop_signal);
    }

    /// Sets the reason. `stop_signal` is the container's.
    pub(super) fn classify(&mut self, stop_signal: u8) {
        if let (Some(code), false) = (self.code, self.start_failed()) {
            let stop_request = self.events.stop_request(self.code, stop_signal);
            self.reason = Reason::classify(code, stop_request, self.events.oom_killed);
        }
    }
}

/// Whether an inspect shows a failed start. The error of a dead container, or of one being removed,
/// is about its removal.
pub(super) fn is_failed_start(inspected: &Inspected) -> bool {
    let is_of_removal = matches!(inspected.state, Some(State::Dead | State::Removing));
    !inspected.error.is_empty() && !is_of_removal
}
