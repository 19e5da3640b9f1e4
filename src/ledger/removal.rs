//! Containers that are removed: how long their exits are shown, and what is kept of them after.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::container::{Container, Presence};
use super::exit::later;
use super::run::LOOK_EVERY;
use super::tolerance::LAST_INSPECT_COMES;
use super::{Asking, Ledger, Now};

/// So many exits of removed containers are shown at most: a storm of short-lived containers must
/// fill neither the memory of the exporter nor that of Prometheus. They are counted all the same.
const MAX_RETAINED: usize = 5_000;

/// So many containers that are shown no more are kept for late events. Docker remembers 256.
const MAX_BURIED: usize = 1024;

/// The removed containers, so that it takes no look at all the others to find those that are due.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Those that are not buried, by the uptime at which they went.
    by_time: BTreeSet<(SignedDuration, Box<str>)>,
    /// Those among them that were seen to have nothing to show.
    empty: Vec<Box<str>>,
    /// Those that are buried, the oldest first.
    buried: VecDeque<Box<str>>,
}

impl Removals {
    /// Takes note of a container that has changed, if it is removed.
    pub(super) fn note(&mut self, id: &str, container: &Container) {
        if let Some(since) = container.removed() {
            self.by_time.insert((since, id.into()));
            if container.has_nothing_to_show() {
                self.empty.push(id.into());
            }
        }
    }

    /// Takes note that one that was removed is there all the same.
    pub(super) fn forget(&mut self, id: &str, container: &Container) {
        if let Some(since) = container.removed() {
            self.by_time.remove(&(since, id.into()));
        }
    }
}

fn signed(uptime: Duration) -> SignedDuration {
    uptime.try_into().unwrap_or(SignedDuration::MAX)
}

impl Ledger {
    /// Takes note of containers that the last listing lacks. One that an event tells of, made since
    /// or a moment before, may be too young for it. If not all that it did is reported, an inspect is to
    /// tell whether it is removed: returns those.
    pub(super) fn mark_missing(&mut self, times: &Asking) -> Vec<Box<str>> {
        let (mut missing, mut gone) = (Vec::new(), Vec::new());
        (self.unlisted, self.unlisted_bytes) = (0, 0);
        for (id, container) in self.containers.iter_mut() {
            let is_missing = match container.presence() {
                Presence::Listed(number) => number != self.listings,
                Presence::Unlisted | Presence::Missing(_) | Presence::Hidden(_) => true,
                Presence::Removed(_) | Presence::Buried => false,
            };
            if !is_missing {
                continue;
            }
            self.unlisted += 1;
            if container.runs.is_ahead_of(times) {
                continue;
            }
            let uptime = times.answered.uptime;
            match container.presence() {
                _ if container.runs.is_settled() => gone.push(Box::<str>::from(id)),
                Presence::Missing(since) if uptime < since + LAST_INSPECT_COMES => {}
                Presence::Missing(_) => gone.push(id.into()),
                Presence::Hidden(since) if uptime < since + LOOK_EVERY => {}
                _ => {
                    container.set_presence(Presence::Missing(uptime));
                    missing.push(id.into());
                }
            }
        }
        for id in gone {
            self.vanish(&id, times.answered);
        }
        missing
    }

    /// Takes in that a container is no longer there.
    pub(super) fn vanish(&mut self, id: &str, now: Now) {
        if let Some(container) = self.containers.get_mut(id) {
            let at = later(now.engine, now.error);
            let open = container.runs.remove(at, now.uptime, false);
            container.set_presence(Presence::Removed(signed(now.uptime)));
            self.unlisted = self.unlisted.saturating_sub(1);
            self.changed(id, open, now);
        }
    }

    /// Takes in that a container was removed at this time of the Engine.
    pub(super) fn remove(&mut self, id: &str, at: Timestamp, now: Now) {
        let Some(container) = self.containers.get_mut(id).filter(|it| it.stands()) else {
            return;
        };
        if !matches!(container.presence(), Presence::Listed(_)) {
            self.unlisted = self.unlisted.saturating_sub(1);
        }
        // It may have been before the exporter's start.
        let ago = now.engine.duration_since(at).max(SignedDuration::ZERO);
        container.set_presence(Presence::Removed(signed(now.uptime) - ago));
    }

    /// Shows a buried container again whose exit nobody has seen, for as long as any other.
    pub(super) fn unbury(&mut self, id: &str, uptime: Duration) {
        let container = self.containers.get_mut(id);
        if let Some(container) =
            container.filter(|it| it.presence() == Presence::Buried && it.runs.waits())
        {
            container.set_presence(Presence::Removed(signed(uptime)));
            container.rejoin(&mut self.workloads);
        }
    }

    /// Drops what has been removed for longer than the retention, and workloads without containers
    /// for a day; returns whether there was any.
    pub fn expire(&mut self, uptime: Duration) -> bool {
        let mut any = self.workloads.expire(uptime);
        for id in std::mem::take(&mut self.removals.empty) {
            let container = self.containers.get(&id);
            if container.is_some_and(|it| it.removed().is_some() && it.has_nothing_to_show()) {
                self.bury(&id, uptime);
                any = true;
            }
        }
        for id in self.due(signed(uptime)) {
            self.bury(&id, uptime);
            any = true;
        }
        while self.removals.buried.len() > MAX_BURIED {
            let oldest = self.removals.buried.pop_front();
            let is_buried = |id: &str| {
                let container = self.containers.get(id);
                container.is_some_and(|it| it.presence() == Presence::Buried)
            };
            if let Some(id) = oldest.filter(|id| is_buried(id)) {
                self.containers.remove(&id);
            }
        }
        any
    }

    /// The removed containers whose time is over, and the oldest of those that are over
    /// [`MAX_RETAINED`]. What is not reported yet stays until it is.
    fn due(&self, uptime: SignedDuration) -> Vec<Box<str>> {
        let all = &self.removals.by_time;
        let is_over = |since: &SignedDuration| uptime - *since >= self.retention;
        let expired = all.iter().take_while(|(since, _)| is_over(since)).count();
        let over = if all.len() > MAX_RETAINED {
            let open = self.open.iter().filter(|id| {
                let container = self.containers.get(id);
                container.is_some_and(|it| it.removed().is_some())
            });
            (all.len() - open.count()).saturating_sub(MAX_RETAINED)
        } else {
            0
        };
        let all = all.iter().enumerate();
        let reported = all.filter(|(_, (_, id))| self.is_reported(id));
        let due = reported
            .zip(0..)
            .take_while(|((at, _), reported)| *at < expired || *reported < over);
        due.map(|((_, (_, id)), _)| id.clone()).collect()
    }

    fn is_reported(&self, id: &str) -> bool {
        self.containers.get(id).is_some_and(|it| !it.runs.is_open())
    }

    /// Shows a container no more.
    fn bury(&mut self, id: &str, uptime: Duration) {
        if let Some(container) = self.containers.get_mut(id) {
            self.removals.forget(id, container);
            container.set_presence(Presence::Buried);
            if let Some(workload) = container.workload() {
                self.workloads.leave(workload, uptime);
            }
            self.removals.buried.push_back(id.into());
            self.touch(id);
        }
    }

    /// The uptime at which [`Ledger::expire`] will next have something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let mut all = self.removals.by_time.iter();
        // What is not reported yet stays until it is.
        let due = all.find(|(_, id)| self.is_reported(id));
        let due = due.map(|(since, _)| *since + self.retention);
        let due = due.map(|at| at.max(SignedDuration::ZERO).unsigned_abs());
        due.into_iter().chain(self.workloads.show_at()).min()
    }

    /// Takes in that a scrape has taken the text of this [revision of the
    /// counters](super::Workloads::revision).
    pub fn shown(&mut self, revision: u64) {
        self.workloads.shown(revision);
    }
}
