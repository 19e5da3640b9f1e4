//! The end of one run of a container.

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Inspected, Signals, State};
use crate::reason::Reason;

/// How far the Engine's times for one end may be out of order: `FinishedAt` is set before the `die`
/// event is made, but not always by the same clock reading.
pub(super) const OUT_OF_ORDER: SignedDuration = SignedDuration::from_millis(50);

/// A time and something more; an Engine can name the last moment that there is.
pub(super) fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: i64,
    /// Why it ended, as far as it is known.
    pub reason: Reason,
    /// When it ended: by inspect, or else when the `die` event was made.
    pub finished_at: Option<Timestamp>,
    /// How long it had run, never negative.
    pub duration: Option<SignedDuration>,
    /// Restarts by the restart policy so far.
    pub restart_count: Option<u64>,
    /// Why it could not be started; empty otherwise.
    pub error: String,
    /// When its `die` event was made, if that was seen.
    pub(super) died_at: Option<Timestamp>,
    /// An inspect has told its details.
    pub(super) inspected: bool,
    /// The code may be that of a label with the name of the event's attribute.
    pub(super) code_in_doubt: bool,
    pub(super) signals: Signals,
    pub(super) oom_killed: bool,
}

impl Exit {
    /// What a listing tells.
    pub(super) fn from_code(code: i64) -> Self {
        Self {
            code,
            reason: Reason::of(code, false, false, false),
            finished_at: None,
            duration: None,
            restart_count: None,
            error: String::new(),
            died_at: None,
            inspected: false,
            code_in_doubt: false,
            signals: Signals::default(),
            oom_killed: false,
        }
    }

    /// What a `die` event tells: when it was made, and the length of the run if that is known.
    pub(super) fn from_event(code: i64, at: Timestamp, ran: Option<SignedDuration>) -> Self {
        Self {
            finished_at: Some(at),
            died_at: Some(at),
            duration: ran.map(|ran| ran.max(SignedDuration::ZERO)),
            ..Self::from_code(code)
        }
    }

    /// What an inspect tells, if it shows an exit, of a container that a listing showed with this
    /// code.
    pub(super) fn from_inspect(listed_code: Option<i64>, inspected: &Inspected) -> Option<Self> {
        if inspected.runs() {
            // It was started again, which zeroed everything but the end of the run before (moby
            // container/state.go, SetRunning).
            return listed_code.map(|code| Self {
                finished_at: inspected.finished_at,
                restart_count: inspected.restart_count,
                ..Self::from_code(code)
            });
        }
        let code = inspected.code.or(listed_code)?;
        let never_ran = inspected.state == Some(State::Created)
            || (inspected.started_at.is_none() && listed_code.is_none());
        if never_ran && code == 0 && inspected.error.is_empty() {
            return None;
        }
        // Of a dead or vanishing container it tells why it could not be removed.
        let refused = !inspected.error.is_empty()
            && !matches!(inspected.state, Some(State::Dead | State::Removing));
        let start_failed = never_ran || refused;
        // After a start that failed, the times are those of the run before.
        let finished_at = inspected.finished_at.filter(|_| !start_failed);
        let duration = finished_at
            .zip(inspected.started_at)
            .map(|(finished, started)| finished.duration_since(started).max(SignedDuration::ZERO));
        Some(Self {
            reason: Reason::of(code, start_failed, false, inspected.oom_killed),
            finished_at,
            duration,
            restart_count: inspected.restart_count,
            error: inspected.error.clone(),
            inspected: true,
            oom_killed: inspected.oom_killed,
            ..Self::from_code(code)
        })
    }

    /// Whether a `die` event may come that tells more of it.
    pub(super) fn may_have_an_event(&self) -> bool {
        self.died_at.is_none() && !self.start_failed()
    }

    pub(super) fn start_failed(&self) -> bool {
        self.reason == Reason::StartFailed
    }

    /// Whether an inspect that shows `other`, of a run that began at `started_at`, is of the run
    /// that ended so.
    pub(super) fn is_of_the_run(&self, other: &Self, started_at: Option<Timestamp>) -> bool {
        if self.start_failed() || other.start_failed() {
            let one = (self.start_failed(), self.code, &self.error);
            return one == (other.start_failed(), other.code, &other.error)
                || (self.finished_at.is_none() && !self.inspected && self.code == other.code);
        }
        // Without an event the time is that of an inspect, to the nanosecond.
        let is_exact = self.inspected || self.died_at.is_none();
        if let (true, Some(one), Some(two)) = (is_exact, self.finished_at, other.finished_at) {
            return one == two && self.code == other.code;
        }
        match (self.died_at, started_at.or(other.finished_at)) {
            // The next run can only have begun after this one's `die` event: both are made under
            // the container's lock (moby daemon/monitor.go, daemon/start.go).
            (Some(died), Some(began)) => began <= later(died, OUT_OF_ORDER),
            _ => self.code == other.code || self.code_in_doubt,
        }
    }

    /// Takes in what an inspect tells of the same run.
    pub(super) fn learn(&mut self, inspected: Self) {
        self.code = inspected.code;
        self.code_in_doubt = false;
        self.oom_killed |= inspected.oom_killed;
        self.error = inspected.error;
        self.inspected = inspected.inspected;
        self.reason = inspected.reason;
        self.finished_at = inspected.finished_at.or(self.finished_at);
        self.duration = inspected.duration.or(self.duration);
        self.restart_count = inspected.restart_count.or(self.restart_count);
        if self.start_failed() {
            (self.finished_at, self.duration) = (None, None);
        }
    }

    /// Takes in what the events of the run tell, for a container that is stopped by this signal.
    pub(super) fn judge(&mut self, stop_signal: u8) {
        let stopped = self.signals.ask_for_the_end(stop_signal);
        self.reason = Reason::of(self.code, self.start_failed(), stopped, self.oom_killed);
    }
}
