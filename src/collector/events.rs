//! What the collector does with the messages of the watcher.

use std::time::{Duration, Instant};

use crate::engine::{Complaint, Event};
use crate::queue::Queue;
use crate::watcher::Message;

use super::Collector;
use super::said::Said;

/// After so long a new stream has repeated what it will ever repeat.
pub(super) const REPEATS_COME: Duration = Duration::from_secs(1);

/// Messages that are taken at once before anything else is done.
const BATCH: usize = 1000;

/// The stream of events, as the collector sees it.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The configuration wants them.
    pub(super) wanted: bool,
    /// They come in.
    pub(super) followed: bool,
    /// Since when there is a new stream that has not repeated what the one before ended with,
    /// although the Engine was there all the time: something may have been missed.
    pub(super) gap: Option<Instant>,
    /// When the stream was opened last.
    since: Option<Instant>,
    /// It is refused, so it is not about to be opened again.
    refused: bool,
    /// There was no Engine since the last stream: it is a new one, which can repeat nothing.
    pub(super) engine_was_down: bool,
}

impl Events {
    pub(super) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            ..Self::default()
        }
    }

    /// Whether events may be about to come that tell of what a listing shows already.
    pub(super) fn come(&self) -> bool {
        let is_new = self
            .since
            .is_some_and(|since| since.elapsed() < REPEATS_COME);
        self.wanted && !self.refused && (!self.followed || is_new)
    }
}

impl Collector {
    /// Waits for messages until then, and takes in those that are there. Returns whether a listing
    /// is due at once.
    pub(super) fn take_messages(&mut self, messages: &Queue<Message>, until: Instant) -> bool {
        let mut list = false;
        for message in messages.take(BATCH, until) {
            list |= self.take(message);
        }
        list
    }

    /// Takes in one message; returns whether a listing is due at once.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Event(event) => {
                self.happened(&event);
                return false;
            }
            Message::Seamless => self.events.gap = None,
            Message::Bad(why) => {
                self.telemetry.events_lost.inc();
                if self.is_news(Said::BadEvent) {
                    log::warn!("a line of the event stream is of no use: {why}");
                }
                return false;
            }
            Message::Open { again } => {
                self.telemetry.event_stream_connects.inc();
                self.events.followed = true;
                self.events.refused = false;
                self.events.since = Some(Instant::now());
                // After an outage it is the listing that shows what happened.
                let was_down = std::mem::take(&mut self.events.engine_was_down);
                self.events.gap = (again && !was_down).then(Instant::now);
                if self.is_over(Said::NoEvents) {
                    log::info!("events are followed again");
                }
                self.telemetry.event_stream_up.set(1);
                if self.telemetry.event_stream_connects.get() > 1 {
                    // It may be another daemon, with other settings.
                    self.info_due = Some(Instant::now());
                }
                return true;
            }
            Message::Closed(error) => {
                self.events.followed = false;
                self.events.engine_was_down |= error.is_unreachable();
                self.telemetry.event_stream_up.set(0);
                let refused = error.is_refusal();
                self.events.refused = refused;
                if refused && self.is_news(Said::NoEvents) {
                    log::warn!("exits are found by listing alone, since {error}");
                } else {
                    log::debug!("no events: {error}");
                }
                // A daemon that goes down is to be noticed now, not at the next interval.
                return error.complaint() == Complaint::Down && self.outage.is_none();
            }
        }
        false
    }

    fn happened(&mut self, event: &Event) {
        if self.events.gap.is_some() {
            self.lose_events(); // What is repeated comes first.
        }
        self.telemetry.happened(event.action);
        if self.ledger.happened(event, self.started.elapsed()) {
            self.fresh.push(event.id.clone());
        }
        self.dirty = true;
    }

    /// Takes note that the Engine may have made more events than it remembers.
    pub(super) fn lose_events(&mut self) {
        self.events.gap = None;
        self.telemetry.events_lost.inc();
        if self.is_news(Said::LostEvents) {
            log::warn!("events may be lost: the Engine no longer remembers all since the last one");
        }
    }

    /// Takes note of the exits that the ledger knows to be lost.
    pub(super) fn tell_lost(&mut self) {
        let lost = self.ledger.lost() - self.lost;
        self.lost += lost;
        self.telemetry.events_lost.inc_by(lost);
        if lost > 0 && self.is_news(Said::LostEvents) {
            log::warn!("{lost} containers are gone whose exit was not seen, or hidden by a label");
        }
    }
}
