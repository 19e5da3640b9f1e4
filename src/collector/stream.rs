//! The state of the event stream: when to open it, which of its events are new, and whether some
//! were missed.

mod gap;
mod seen;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{CLOCK_TOLERANCE, Event, PastEvents};
use crate::ledger::{EventFeed, Now};

pub(super) use gap::Missed;
use gap::{GapCheck, OVERLAP_WINDOW};
use seen::SeenEvents;

/// The pause between two attempts to open the stream. It doubles from the minimum to the maximum.
const MIN_BACKOFF: Duration = Duration::from_millis(100);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A stream that lasts this long resets the backoff.
const BACKOFF_RESET_DELAY: Duration = Duration::from_secs(10);

/// The pause after a proxy has refused the stream.
const REFUSAL_DELAY: Duration = Duration::from_secs(60);

/// A new stream starts this long before the time up to which all events have come, so that an event
/// that was delayed is not missed. Events that come twice are dropped.
const REPLAY_WINDOW: SignedDuration = SignedDuration::from_secs(5);

/// The first stream starts this long before the exporter did: the replayed events explain the exits
/// that are already there. The window is bounded because Podman keeps its events for ever.
const FIRST_REPLAY_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// A new stream has replayed all its old events after this time.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(1);

/// An event that is this much later than the others of its stream shows that the stream was not read
/// for a while. An Engine silently drops events for a slow reader (moby `daemon/events/events.go`).
const MAX_EVENT_DELAY: SignedDuration = SignedDuration::from_secs(2);

/// The events of a stream may be this much out of order.
const REORDER_WINDOW: SignedDuration = SignedDuration::from_millis(50);

/// The number of events that Docker keeps for a slow reader before it drops any (moby
/// `daemon/events/events.go`, `bufferSize`).
pub const ENGINE_QUEUE: usize = 1024;

/// A lagging stream has caught up after this time without another late event.
const CATCH_UP_DELAY: Duration = Duration::from_secs(1);

/// The minimum time between two attempts to replace a stream that seems dead.
const REOPEN_INTERVAL: Duration = Duration::from_secs(60);

/// A first stream that opens this soon after the start has no gap before it.
const STARTUP_WINDOW: Duration = Duration::from_secs(1);

/// The core wakes at least this often while the stream is open, to notice that its process was
/// suspended.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);

/// A request that the stream needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamRequest {
    /// Open a stream that starts with the past events since this time.
    Open(Timestamp),
    /// Fetch the past events of all types.
    PastEvents,
}

/// The event stream as the core sees it.
#[derive(Debug)]
pub(super) struct EventStream {
    state: StreamState,
    backoff: Duration,
    gap_check: GapCheck,
    /// The shortest and the longest delay of this stream's events.
    min_delay: SignedDuration,
    max_delay: SignedDuration,
    seen: SeenEvents,
    /// The number of events that the Engine keeps for a slow reader.
    engine_queue: usize,
    open_count: u32,
    reopened_at: Option<Duration>,
    /// When the process was last known to run.
    last_alive: Option<Now>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StreamState {
    /// Events are switched off.
    Off,
    Closed {
        /// The uptime of the next attempt.
        retry_at: Duration,
        refused: bool,
    },
    Opening,
    Open(OpenStream),
    /// The connection is being closed, to be opened again.
    Closing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenStream {
    /// The uptime at which it opened.
    since: Duration,
    lag: Option<Lag>,
}

impl OpenStream {
    /// When it opened, by the Engine's clock as it is known now.
    fn opened_at(&self, now: Now) -> Timestamp {
        let ago = SignedDuration::try_from(now.uptime.saturating_sub(self.since));
        let at = now.engine.checked_sub(ago.unwrap_or_default());
        at.unwrap_or(now.engine)
    }
}

/// The stream was not read for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lag {
    /// The uptime of the last late event.
    last: Duration,
    /// The time of the last late event's arrival by the Engine's clock. Events made later were not
    /// in the queue with it.
    noticed_at: Timestamp,
    /// The maximum number of events that were in the Engine's queue.
    events: usize,
}

impl Lag {
    fn new(now: Now, events: usize) -> Self {
        Self {
            last: now.uptime,
            noticed_at: now.engine,
            events,
        }
    }
}

impl EventStream {
    /// A stream to open at once if `enabled`. The exporter started at `started`.
    pub(super) fn new(enabled: bool, engine_queue: usize, started: Timestamp) -> Self {
        let closed = StreamState::Closed {
            retry_at: Duration::ZERO,
            refused: false,
        };
        Self {
            state: if enabled { closed } else { StreamState::Off },
            backoff: MIN_BACKOFF,
            gap_check: GapCheck::new(started),
            min_delay: CLOCK_TOLERANCE,
            max_delay: SignedDuration::ZERO,
            seen: SeenEvents::default(),
            engine_queue,
            open_count: 0,
            reopened_at: None,
            last_alive: None,
        }
    }

    /// Records that the process runs. Returns whether it was suspended, and so did not read the
    /// stream. Always false if events are off.
    pub(super) fn note_alive(&mut self, now: Now) -> bool {
        let before = self.last_alive.replace(now);
        let was_suspended =
            |it: &Now| now.uptime.saturating_sub(it.uptime) > 2 * HEARTBEAT_INTERVAL;
        let Some(before) = before.filter(was_suspended) else {
            return false;
        };
        if let StreamState::Open(open @ OpenStream { lag: None, .. }) = &mut self.state {
            open.lag = Some(Lag::new(now, 0));
            if self.gap_check.is_done() {
                self.gap_check.complete_now(before, self.max_delay);
            }
        }
        self.state != StreamState::Off
    }

    /// The request that is due now, if any.
    pub(super) fn next_request(&mut self, now: Now) -> Option<StreamRequest> {
        match self.state {
            StreamState::Closed { retry_at, .. } if now.uptime >= retry_at => {
                self.state = StreamState::Opening;
                let window = match self.open_count {
                    0 => FIRST_REPLAY_WINDOW,
                    _ => REPLAY_WINDOW,
                };
                let complete_until = self.gap_check.complete_until;
                let since = complete_until.min(now.engine).checked_sub(window);
                Some(StreamRequest::Open(since.unwrap_or(complete_until)))
            }
            StreamState::Open(_) => {
                let is_due = self.gap_check.take_due(now);
                is_due.then_some(StreamRequest::PastEvents)
            }
            _ => None,
        }
    }

    /// The uptime at which [`EventStream::next_request`] or [`EventStream::has_caught_up`] changes.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        match self.state {
            StreamState::Closed { retry_at, .. } => Some(retry_at),
            StreamState::Open(OpenStream { lag, .. }) => {
                let caught_up = lag.map(|it| it.last + CATCH_UP_DELAY);
                let heartbeat = self.last_alive.map(|it| it.uptime + HEARTBEAT_INTERVAL);
                let all = [caught_up, heartbeat, self.gap_check.wake_at()];
                all.into_iter().flatten().min()
            }
            StreamState::Off | StreamState::Opening | StreamState::Closing => None,
        }
    }

    /// Whether events about what is already known may still come.
    pub(super) fn event_feed(&self, now: Now) -> EventFeed {
        match self.state {
            StreamState::Off | StreamState::Closed { refused: true, .. } => EventFeed::Off,
            StreamState::Closed { .. } | StreamState::Opening | StreamState::Closing => {
                EventFeed::CatchingUp
            }
            StreamState::Open(OpenStream { since, lag }) => {
                let is_replaying = now.uptime.saturating_sub(since) < REPLAY_TIMEOUT;
                if is_replaying || lag.is_some() || !self.gap_check.is_done() {
                    EventFeed::CatchingUp
                } else {
                    EventFeed::Live
                }
            }
        }
    }

    /// The stream is open. Returns whether there was another one before. The first one has no gap to
    /// check before `started`, the start of the exporter by the Engine's clock.
    pub(super) fn opened(&mut self, now: Now, started: Timestamp) -> bool {
        let again = self.open_count > 0;
        self.open_count += 1;
        if !again {
            self.gap_check = GapCheck::new(started);
        }
        self.gap_check.start(now, self.seen.newest);
        (self.min_delay, self.max_delay) = (CLOCK_TOLERANCE, SignedDuration::ZERO);
        self.state = StreamState::Open(OpenStream {
            since: now.uptime,
            lag: None,
        });
        again
    }

    /// The stream is closed. `refused`: another attempt would be refused too.
    pub(super) fn closed(&mut self, now: Now, refused: bool) {
        let mut retry_at = now.uptime;
        match self.state {
            StreamState::Open(OpenStream { since, lag }) => {
                if lag.is_some_and(|it| it.events >= self.engine_queue) {
                    self.gap_check.doubt(self.seen.newest);
                } else if self.gap_check.is_done() && lag.is_none() {
                    self.gap_check.complete_now(now, self.max_delay);
                }
                if now.uptime.saturating_sub(since) >= BACKOFF_RESET_DELAY {
                    self.backoff = MIN_BACKOFF;
                }
                retry_at += self.backoff;
            }
            StreamState::Closing => {}
            _ => retry_at += self.backoff,
        }
        if self.state != StreamState::Closing {
            self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        }
        if refused {
            retry_at = now.uptime + REFUSAL_DELAY;
        }
        self.gap_check.cancel();
        self.state = StreamState::Closed { retry_at, refused };
    }

    /// Records an event. Returns whether it is new.
    pub(super) fn apply_event(&mut self, event: &Event, now: Now) -> bool {
        if !self.seen.insert(event) {
            self.gap_check.note_replay();
            return false;
        }
        let StreamState::Open(open) = &mut self.state else {
            return true;
        };
        if event.time <= open.opened_at(now) {
            return true; // It is replayed, so its delay means nothing.
        }
        let delay = now.engine.duration_since(event.time);
        self.min_delay = delay.min(self.min_delay);
        if delay <= self.min_delay + MAX_EVENT_DELAY {
            self.max_delay = delay.max(self.max_delay);
            if let Some(lag) = &mut open.lag {
                lag.events += usize::from(event.time <= lag.noticed_at);
            }
            return true;
        }
        let margin = match open.lag {
            // The events before it were in time.
            None => Some(OVERLAP_WINDOW),
            // The Engine drops nothing before its queue is full.
            Some(it) if it.events < self.engine_queue => Some(REORDER_WINDOW),
            Some(_) => None,
        };
        if let Some(margin) = margin.filter(|_| self.gap_check.is_done()) {
            self.gap_check.complete_before(event.time, margin);
        }
        let events = open.lag.map_or(0, |it| it.events) + 1;
        open.lag = Some(Lag::new(now, events));
        true
    }

    /// Whether an event was made after `started` and before the stream opened.
    pub(super) fn is_replayed(&self, event: &Event, started: Timestamp, now: Now) -> bool {
        let StreamState::Open(open) = self.state else {
            return false;
        };
        (started..open.opened_at(now)).contains(&event.time)
    }

    /// Whether a lagging stream has caught up. It must be reopened then, to find out what it lost.
    pub(super) fn has_caught_up(&self, now: Now) -> bool {
        let StreamState::Open(OpenStream { lag: Some(lag), .. }) = self.state else {
            return false;
        };
        now.uptime.saturating_sub(lag.last) >= CATCH_UP_DELAY
    }

    /// Whether the stream is dead, given a run that ended at `finished` without a `die` event. True
    /// at most once per [`REOPEN_INTERVAL`].
    pub(super) fn is_dead(&self, finished: Timestamp, now: Now) -> bool {
        let StreamState::Open(open) = self.state else {
            return false;
        };
        let may_reopen = |at: Duration| now.uptime.saturating_sub(at) >= REOPEN_INTERVAL;
        finished > open.opened_at(now) && self.reopened_at.is_none_or(may_reopen)
    }

    /// The connection is being closed, to be opened again.
    pub(super) fn closing(&mut self, now: Now) {
        match self.state {
            // The Engine's queue was never full, so nothing was dropped.
            StreamState::Open(OpenStream { lag: Some(it), .. })
                if it.events < self.engine_queue =>
            {
                self.gap_check.complete_now(now, self.max_delay);
            }
            StreamState::Open(OpenStream { lag: Some(_), .. }) => {
                self.gap_check.doubt(self.seen.newest);
            }
            _ => self.reopened_at = Some(now.uptime),
        }
        self.state = StreamState::Closing;
        self.gap_check.cancel();
    }

    /// Checks the gap before the stream by the past events; `None` if the request for them failed.
    pub(super) fn check_gap(
        &mut self,
        past_events: Option<&PastEvents>,
        podman: bool,
        now: Now,
    ) -> Missed {
        let StreamState::Open(OpenStream { since, lag: None }) = self.state else {
            return Missed::Nothing;
        };
        let at_startup = self.open_count == 1 && since < STARTUP_WINDOW;
        self.gap_check.check(past_events, podman, at_startup, now)
    }
}

#[cfg(test)]
mod tests;
