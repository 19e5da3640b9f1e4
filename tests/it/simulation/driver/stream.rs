//! The stream of events: what comes, what is dropped, and which gaps nobody can close.

use docker_exit_exporter::engine::limits;
use jiff::Timestamp;

use crate::simulation::dice::{MS, Nanos, SECOND};
use crate::simulation::history::Flavour;
use crate::simulation::network::at;
use crate::simulation::render;
use crate::simulation::subject::{Failure, Subject};

use super::{Arrival, Driver, Item, LATE, nanos};

impl<S: Subject> Driver<'_, S> {
    /// The Engine makes an event while the stream is open.
    pub(super) fn pass_on(&mut self, place: usize) {
        let event = &self.world.events[place];
        if !self.follows(place) {
            return;
        }
        let delay = at(&self.network.delays, event.at).map_or(MS / 20, |span| span.by);
        let due = event.at + delay;
        let mut comes = due.max(self.latest_line);
        let awake = self.network.awake(event.at);
        // What a proxy has held back, and comes late, looks like what has waited in the queue; and a
        // queue that is just full looks like one that is too full.
        self.late = if self.network.awake(due) > due {
            self.late + 1
        } else {
            0
        };
        self.played.gaps += u64::from(self.late == self.history.setting.queue);
        if awake > event.at {
            if self.queued == 0 {
                self.first_queued = event.at;
            }
            self.queued += 1;
            if self.queued > self.history.setting.queue {
                if awake - self.first_queued < LATE {
                    self.played.dropped_silently.push(event.number);
                }
                self.miss(event.at);
                return;
            }
            comes = comes.max(awake);
        } else {
            self.queued = 0;
            comes = self.network.awake(comes);
        }
        self.latest_line = comes;
        self.send(comes, Some(self.stream), Item::Line(place));
    }

    pub(super) fn follows(&self, place: usize) -> bool {
        let words = self.world.events[place]
            .kind
            .words(self.history.setting.flavour);
        words.is_some_and(|(kind, action)| self.subject.follows(kind, action))
    }

    /// What was made then did not come.
    pub(super) fn miss(&mut self, at: Nanos) {
        self.gap_from = Some(self.gap_from.map_or(at, |from| from.min(at)));
        // The reader that hears of it by the lateness of others finds this out when it goes on.
        let awake = self.network.awake(at);
        self.count_gap(at, awake);
    }

    /// Counts a gap if the Engine does not remember all that was made since it began.
    pub(super) fn count_gap(&mut self, from: Nanos, opened: Nanos) {
        let flavour = self.history.setting.flavour;
        if flavour == Flavour::Podman {
            return;
        }
        let restarted = self
            .world
            .down
            .iter()
            .any(|it| from < it.from && it.from < opened);
        // What is remembered is asked for later, as soon as the exporter hears that the stream is open.
        let asked = self.network.awake(opened) + 20 * MS;
        let memory = self.world.remembered(asked, flavour);
        let oldest = self
            .world
            .events
            .get(memory.events.start)
            .map_or(opened, |it| it.at);
        // Who was stopped does not know when the stream broke, nor how well the clocks agree.
        let known = at(&self.network.stalls, from).map_or(from, |stall| stall.from);
        let overflowed = memory.overflowed && oldest > known - 4 * SECOND;
        // An exporter cannot tell a proxy that is gone from a daemon that is: what happened between the
        // one and the other, and was never told to the new daemon, nobody may know of.
        self.played.unprovable |= restarted;
        if restarted || overflowed {
            self.played.gaps += 1;
        }
    }

    pub(super) fn cut(&mut self, cut: Nanos) {
        self.is_open = false;
        // A proxy takes with it what it held back.
        let by_daemon = self.world.down.iter().any(|it| it.from == cut);
        let mut missed = None;
        if !by_daemon && at(&self.network.stalls, cut).is_none() {
            let lost = |it: &Arrival| matches!(it.item, Item::Line(_)) && it.at > cut;
            let all = std::mem::take(&mut self.arrivals).into_vec();
            for arrival in all {
                if lost(&arrival.0) {
                    if let Item::Line(place) = arrival.0.item {
                        let at = self.world.events[place].at;
                        missed = Some(missed.map_or(at, |it: Nanos| it.min(at)));
                    }
                } else {
                    self.arrivals.push(arrival);
                }
            }
        }
        self.gap_from = [self.gap_from, missed, Some(cut)]
            .into_iter()
            .flatten()
            .min();
        let comes = self.network.awake((cut + MS).max(self.latest_line));
        self.send(comes, Some(self.stream), Item::Closed(Failure::Closed));
    }

    /// The Engine takes the request for its events.
    pub(super) fn open(&mut self, since: Timestamp) {
        let now = self.now;
        if self.network.is_out(now) {
            let comes = self.network.awake(now + MS);
            self.send(comes, Some(self.stream), Item::Closed(Failure::Unreachable));
            return;
        }
        if let Some(wait) = at(&self.network.waits, now) {
            let longest = now + nanos(limits::REQUEST_TIMEOUT);
            let (comes, item) = if wait.to < longest {
                (wait.to + MS, Item::Opens(since))
            } else {
                let comes = self.network.awake(longest);
                (comes, Item::Closed(Failure::TimedOut))
            };
            self.send(comes, Some(self.stream), item);
            return;
        }
        if let Some(from) = self.gap_from.take() {
            if from > 0 || now > SECOND {
                self.count_gap(from, now);
            }
        }
        self.is_open = true;
        self.queued = 0;
        let comes = self.network.awake(now + MS / 2);
        self.latest_line = comes;
        let stream = Some(self.stream);
        self.send(comes, stream, Item::Opened(render::date(now)));
        let since = render::nanos(since);
        let memory = self.world.remembered(now, self.history.setting.flavour);
        self.next_event = self.world.events.partition_point(|event| event.at <= now);
        for place in memory.events {
            if self.world.events[place].at >= since && self.follows(place) {
                self.send(comes, stream, Item::Line(place));
            }
        }
    }

    pub(super) fn follow(&mut self, since: Timestamp) {
        self.played.follows += 1;
        if self.is_open {
            let lines = self.arrivals.iter().filter_map(|it| match it.0.item {
                Item::Line(place) => Some(self.world.events[place].at),
                _ => None,
            });
            let from = lines.min().unwrap_or(self.now).min(self.now);
            self.gap_from = Some(self.gap_from.map_or(from, |it| it.min(from)));
        }
        self.is_open = false;
        self.stream += 1;
        self.send(self.now + MS, Some(self.stream), Item::Opens(since));
    }
}
