//! The stream of events: when it is opened, what of it is new, and whether something was missed.

mod known;
mod proof;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Event, Remembered, SAME_CLOCK};
use crate::ledger::{EventFeed, Now};

use known::Known;
pub(super) use proof::Missed;
use proof::{OVERLAP, Proof};

/// Between two attempts to open it, doubled from the first to the second.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A stream that lasted so long was a good one: after it the pauses start anew.
const GOOD_STREAM: Duration = Duration::from_secs(10);

/// A proxy that refuses the stream is asked again after so long.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A new stream begins so much before that: what is known is repeated for nothing, and an event that
/// was held back on its way is not missed.
const REPEATED: SignedDuration = SignedDuration::from_secs(5);

/// The first stream begins so much before the start: what led to the exits that are there is repeated
/// in its order. Podman remembers all that ever happened.
const REPEATED_FIRST: SignedDuration = SignedDuration::from_hours(1);

/// A new stream has repeated what it will ever repeat after so long.
const REPEATS_COME: Duration = Duration::from_secs(1);

/// An event that is so much later than the others of its stream shows that the stream was not read
/// for a while. An Engine drops events for a reader that is slow, without a word (moby
/// `daemon/events/events.go`).
const BEHIND: SignedDuration = SignedDuration::from_secs(2);

/// Events of one stream are so much out of the order of their times.
const SHUFFLED: SignedDuration = SignedDuration::from_millis(50);

/// So many events Docker keeps for a reader that is slow, before it drops any (moby
/// `daemon/events/events.go`, `bufferSize`).
pub const ENGINE_QUEUE: usize = 1024;

/// After so long without another late event, a stream that was behind has caught up.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// A stream that seems to be dead is opened again, but not more often than this.
const REVIVE_EVERY: Duration = Duration::from_secs(60);

/// A first stream that is open so soon after the start has no gap before it.
const AT_THE_START: Duration = Duration::from_secs(1);

/// While the stream is open the core is woken so often at least, so that it knows when this process
/// was stopped.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// What is to be asked of the Engine for the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// To open a stream that begins with what was remembered since then.
    Follow(Timestamp),
    /// What it remembers of all types.
    Remembered,
}

/// What is known of the stream.
#[derive(Debug)]
pub(super) struct Stream {
    state: State,
    pause: Duration,
    proof: Proof,
    /// How late the events of this stream come: at least, and at most.
    delays: (SignedDuration, SignedDuration),
    known: Known,
    /// So many events wait in the Engine for a reader that is slow.
    queue: usize,
    /// How often it was opened.
    opened: u32,
    revived: Option<Duration>,
    /// When this process was last seen to be alive.
    alive: Option<Now>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is not wanted.
    Off,
    Closed {
        /// It is opened again at this uptime.
        until: Duration,
        refused: bool,
    },
    Opening,
    Open(Open),
    /// It is being ended, to be opened anew.
    Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    since: Duration,
    behind: Option<Behind>,
}

impl Open {
    /// When it was opened, by the Engine's clock as it is known now.
    fn since(&self, now: Now) -> Timestamp {
        let ago = SignedDuration::try_from(now.uptime.saturating_sub(self.since));
        let since = now.engine.checked_sub(ago.unwrap_or_default());
        since.unwrap_or(now.engine)
    }
}

/// The stream was not read for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Behind {
    /// The uptime of the last late event.
    last: Duration,
    /// When that came, by the Engine's clock: what was made later has not waited with it.
    found: Timestamp,
    /// How many have waited, at most.
    events: usize,
}

impl Behind {
    fn since(now: Now) -> Self {
        Self {
            last: now.uptime,
            found: now.engine,
            events: 0,
        }
    }
}

impl Stream {
    /// A stream that is to be opened at once, if it is wanted, by an exporter that started then.
    pub(super) fn new(wanted: bool, queue: usize, started: Timestamp) -> Self {
        Self {
            state: if wanted {
                State::Closed {
                    until: Duration::ZERO,
                    refused: false,
                }
            } else {
                State::Off
            },
            pause: MIN_PAUSE,
            proof: Proof::new(started),
            delays: (SAME_CLOCK, SignedDuration::ZERO),
            known: Known::default(),
            queue,
            opened: 0,
            revived: None,
            alive: None,
        }
    }

    /// Takes note that this process is alive. Returns whether it was stopped for a while, as far as that
    /// matters to the stream: then it has not read it.
    pub(super) fn note_alive(&mut self, now: Now) -> bool {
        let before = self.alive.replace(now);
        let was_stopped = |it: &Now| now.uptime.saturating_sub(it.uptime) > 2 * HEARTBEAT;
        let Some(before) = before.filter(was_stopped) else {
            return false;
        };
        if let State::Open(open @ Open { behind: None, .. }) = &mut self.state {
            open.behind = Some(Behind::since(now));
            if self.proof.is_done() {
                self.proof.cover_until(before, self.delays.1);
            }
        }
        self.state != State::Off
    }

    /// What is to be asked now, if anything.
    pub(super) fn ask(&mut self, now: Now) -> Option<Ask> {
        match self.state {
            State::Closed { until, .. } if now.uptime >= until => {
                self.state = State::Opening;
                let repeated = match self.opened {
                    0 => REPEATED_FIRST,
                    _ => REPEATED,
                };
                let covered = self.proof.covered();
                let since = covered.min(now.engine).checked_sub(repeated);
                Some(Ask::Follow(since.unwrap_or(covered)))
            }
            State::Open(_) => self.proof.ask(now).then_some(Ask::Remembered),
            _ => None,
        }
    }

    /// The uptime at which [`Stream::ask`] or [`Stream::has_caught_up`] has something.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        match self.state {
            State::Closed { until, .. } => Some(until),
            State::Open(Open { behind, .. }) => {
                let caught_up = behind.map(|it| it.last + CAUGHT_UP);
                let alive = self.alive.map(|alive| alive.uptime + HEARTBEAT);
                let all = [caught_up, alive, self.proof.wake_at()];
                all.into_iter().flatten().min()
            }
            State::Off | State::Opening | State::Ending => None,
        }
    }

    /// Whether events may come that tell more of what is known already.
    pub(super) fn events_come(&self, now: Now) -> EventFeed {
        match self.state {
            State::Off | State::Closed { refused: true, .. } => EventFeed::Off,
            State::Closed { .. } | State::Opening | State::Ending => EventFeed::CatchingUp,
            State::Open(Open { since, behind }) => {
                let is_new = now.uptime.saturating_sub(since) < REPEATS_COME;
                if is_new || behind.is_some() || !self.proof.is_done() {
                    EventFeed::CatchingUp
                } else {
                    EventFeed::Live
                }
            }
        }
    }

    /// It is open. The first one begins with the start of the exporter, by the Engine's clock. Returns
    /// whether there was another before.
    pub(super) fn opened(&mut self, now: Now, started: Timestamp) -> bool {
        let again = self.opened > 0;
        self.opened += 1;
        if !again {
            self.proof = Proof::new(started);
        }
        self.proof.begin(now, self.known.newest);
        self.delays = (SAME_CLOCK, SignedDuration::ZERO);
        self.state = State::Open(Open {
            since: now.uptime,
            behind: None,
        });
        again
    }

    /// It is gone; if it was `refused`, it will be refused again.
    pub(super) fn closed(&mut self, now: Now, refused: bool) {
        let mut until = now.uptime;
        match self.state {
            State::Open(Open { since, behind }) => {
                let is_whole = behind.is_none_or(|it| it.events < self.queue);
                if !is_whole {
                    self.proof.doubt(self.known.newest);
                } else if self.proof.is_done() && behind.is_none() {
                    self.proof.cover_until(now, self.delays.1);
                }
                if now.uptime.saturating_sub(since) >= GOOD_STREAM {
                    self.pause = MIN_PAUSE;
                }
                until += self.pause;
            }
            State::Ending => {}
            _ => until += self.pause,
        }
        if self.state != State::Ending {
            self.pause = (self.pause * 2).min(MAX_PAUSE);
        }
        if refused {
            until = now.uptime + AFTER_REFUSAL;
        }
        self.proof.end();
        self.state = State::Closed { until, refused };
    }

    /// Takes note of an event; returns whether it is new.
    pub(super) fn take(&mut self, event: &Event, now: Now) -> bool {
        if !self.known.remember(event) {
            self.proof.repeat();
            return false;
        }
        if let State::Open(open) = &mut self.state {
            // What was made before is repeated.
            if event.time > open.since(now) {
                let delay = now.engine.duration_since(event.time);
                let (shortest, longest) = &mut self.delays;
                *shortest = delay.min(*shortest);
                if delay > *shortest + BEHIND {
                    let margin = match open.behind {
                        // What came before it was in time.
                        None => Some(OVERLAP),
                        // Nothing was dropped before the Engine's queue was full.
                        Some(it) if it.events < self.queue => Some(SHUFFLED),
                        Some(_) => None,
                    };
                    if let Some(margin) = margin.filter(|_| self.proof.is_done()) {
                        self.proof.cover(event.time, margin);
                    }
                    let events = open.behind.map_or(0, |it| it.events) + 1;
                    open.behind = Some(Behind {
                        events,
                        ..Behind::since(now)
                    });
                } else {
                    *longest = delay.max(*longest);
                    if let Some(behind) = &mut open.behind {
                        behind.events += usize::from(event.time <= behind.found);
                    }
                }
            }
        }
        true
    }

    /// Whether an event was made before the stream was open, and after that time.
    pub(super) fn is_repeated(&self, event: &Event, started: Timestamp, now: Now) -> bool {
        let State::Open(open) = self.state else {
            return false;
        };
        (started..open.since(now)).contains(&event.time)
    }

    /// Whether a stream that was behind has caught up: then it is to be opened again, to learn what
    /// it has lost.
    pub(super) fn has_caught_up(&self, now: Now) -> bool {
        let State::Open(Open { behind, .. }) = self.state else {
            return false;
        };
        behind.is_some_and(|it| now.uptime.saturating_sub(it.last) >= CAUGHT_UP)
    }

    /// Whether a run that ended then, and whose event has not come, shows that the stream is dead.
    pub(super) fn is_dead(&self, finished: Timestamp, now: Now) -> bool {
        let State::Open(open) = self.state else {
            return false;
        };
        let revived = self.revived.map(|at| now.uptime.saturating_sub(at));
        finished > open.since(now) && revived.is_none_or(|ago| ago >= REVIVE_EVERY)
    }

    /// It is being ended, to be opened again.
    pub(super) fn ending(&mut self, now: Now) {
        if let State::Open(Open {
            behind: Some(it), ..
        }) = self.state
        {
            if it.events < self.queue {
                // The Engine's queue was never full, so nothing was dropped.
                self.proof.cover_until(now, self.delays.1);
            } else {
                self.proof.doubt(self.known.newest);
            }
        } else {
            self.revived = Some(now.uptime);
        }
        self.state = State::Ending;
        self.proof.end();
    }

    /// What the Engine remembers has come, or not.
    pub(super) fn prove(
        &mut self,
        remembered: Option<&Remembered>,
        podman: bool,
        now: Now,
    ) -> Missed {
        let State::Open(open) = self.state else {
            return Missed::Nothing;
        };
        if open.behind.is_some() {
            return Missed::Nothing;
        }
        let at_the_start = self.opened == 1 && open.since < AT_THE_START;
        self.proof.check(remembered, podman, at_the_start, now)
    }
}

#[cfg(test)]
mod tests;
