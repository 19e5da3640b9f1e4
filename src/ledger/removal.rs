//! Removed containers: how long their exits are shown, and what is kept afterwards.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::container::{Container, Presence};
use super::run::CHECK_INTERVAL;
use super::tolerance::FINAL_INSPECT_TIMEOUT;
use super::{Ledger, Now, RequestTimes};

/// Maximum number of removed containers with an exit shown. A storm of short-lived containers must
/// not fill the memory of the exporter or of Prometheus. All exits are counted.
const MAX_RETAINED: usize = 5_000;

/// Maximum number of expired containers kept for late events. Docker remembers 256 events.
const MAX_EXPIRED: usize = 1024;

/// Index of the removed containers.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Those still shown, by the uptime of their removal.
    by_time: BTreeSet<(SignedDuration, Box<str>)>,
    /// Those that have nothing to show.
    empty: Vec<Box<str>>,
    /// Those no longer shown, oldest first.
    expired: VecDeque<Box<str>>,
}

impl Removals {
    /// Adds a container if it is removed.
    pub(super) fn note(&mut self, id: &str, container: &Container) {
        if let Some(since) = container.removed_at() {
            self.by_time.insert((since, id.into()));
            if container.is_empty() {
                self.empty.push(id.into());
            }
        }
    }

    /// Drops a container from the index.
    pub(super) fn forget(&mut self, id: &str, container: &Container) {
        if let Some(since) = container.removed_at() {
            self.by_time.remove(&(since, id.into()));
        }
    }
}

fn signed(uptime: Duration) -> SignedDuration {
    uptime.try_into().unwrap_or(SignedDuration::MAX)
}

impl Ledger {
    /// Marks the containers that are missing from the last listing. A listing may be too old for a
    /// container with newer events. Returns the containers with something left to report, for which
    /// only an inspect can confirm the removal.
    pub(super) fn mark_missing(&mut self, times: &RequestTimes) -> Vec<Box<str>> {
        let (mut missing, mut gone) = (Vec::new(), Vec::new());
        (self.unlisted, self.unlisted_bytes) = (0, 0);
        for (id, container) in self.containers.iter_mut() {
            let is_listed = container.presence() == Presence::Listed(self.listings);
            if is_listed || !container.is_present() {
                continue;
            }
            self.unlisted += 1;
            if container.runs.has_newer_events_than(times) {
                continue;
            }
            let uptime = times.answered.uptime;
            match container.presence() {
                _ if container.runs.is_settled() => gone.push(Box::<str>::from(id)),
                Presence::Missing(since) if uptime < since + FINAL_INSPECT_TIMEOUT => {}
                Presence::Missing(_) => gone.push(id.into()),
                Presence::Hidden(since) if uptime < since + CHECK_INTERVAL => {}
                _ => {
                    container.set_presence(Presence::Missing(uptime));
                    missing.push(id.into());
                }
            }
        }
        for id in gone {
            self.remove_unseen(&id, times.answered);
        }
        missing
    }

    /// Records that a container is gone without a `destroy` event.
    pub(super) fn remove_unseen(&mut self, id: &str, now: Now) {
        if let Some(container) = self.containers.get_mut(id) {
            let runs = &mut container.runs;
            let unreported = runs.apply_removal(now.latest(), now.uptime, false);
            container.set_presence(Presence::Removed(signed(now.uptime)));
            self.unlisted = self.unlisted.saturating_sub(1);
            self.changed(id, unreported, now);
        }
    }

    /// Records a removal at this time.
    pub(super) fn mark_removed(&mut self, id: &str, at: Timestamp, now: Now) {
        let Some(container) = self.containers.get_mut(id).filter(|it| it.is_present()) else {
            return;
        };
        if !matches!(container.presence(), Presence::Listed(_)) {
            self.unlisted = self.unlisted.saturating_sub(1);
        }
        // It may have been before the exporter's start.
        let ago = now.engine.duration_since(at).max(SignedDuration::ZERO);
        container.set_presence(Presence::Removed(signed(now.uptime) - ago));
    }

    /// Shows an expired container again if it has a new exit.
    pub(super) fn restore_expired(&mut self, id: &str, uptime: Duration) {
        let container = self.containers.get_mut(id);
        if let Some(container) = container
            .filter(|it| it.presence() == Presence::Expired && it.runs.has_unreported_exit())
        {
            container.set_presence(Presence::Removed(signed(uptime)));
            container.rejoin_workload(&mut self.workloads);
        }
    }

    /// Drops containers that were removed for longer than the retention, and workloads that had no
    /// containers for a day. Returns whether anything changed.
    pub fn expire(&mut self, uptime: Duration) -> bool {
        let mut any = self.workloads.expire(uptime);
        for id in std::mem::take(&mut self.removals.empty) {
            let container = self.containers.get(&id);
            if container.is_some_and(|it| it.removed_at().is_some() && it.is_empty()) {
                self.expire_container(&id, uptime);
                any = true;
            }
        }
        for id in self.due(signed(uptime)) {
            self.expire_container(&id, uptime);
            any = true;
        }
        while self.removals.expired.len() > MAX_EXPIRED {
            let Some(id) = self.removals.expired.pop_front() else {
                break;
            };
            let container = self.containers.get(&id);
            if container.is_some_and(|it| it.presence() == Presence::Expired) {
                self.containers.remove(&id);
            }
        }
        any
    }

    /// Removed containers to expire: those past the retention, and the oldest past
    /// [`MAX_RETAINED`]. A container with something left to report stays.
    fn due(&self, uptime: SignedDuration) -> Vec<Box<str>> {
        let all = &self.removals.by_time;
        let is_over = |since: &SignedDuration| uptime - *since >= self.retention;
        let over = if all.len() > MAX_RETAINED {
            let unreported = self.unreported.iter().filter(|id| {
                let container = self.containers.get(id);
                container.is_some_and(|it| it.removed_at().is_some())
            });
            (all.len() - unreported.count()).saturating_sub(MAX_RETAINED)
        } else {
            0
        };
        let reported = all.iter().filter(|(_, id)| self.is_reported(id));
        let due = reported.enumerate();
        let due = due.take_while(|(index, (since, _))| is_over(since) || *index < over);
        due.map(|(_, (_, id))| id.clone()).collect()
    }

    fn is_reported(&self, id: &str) -> bool {
        let container = self.containers.get(id);
        container.is_some_and(|it| !it.runs.has_unreported())
    }

    /// Stops showing a container.
    fn expire_container(&mut self, id: &str, uptime: Duration) {
        if let Some(container) = self.containers.get_mut(id) {
            self.removals.forget(id, container);
            container.set_presence(Presence::Expired);
            if let Some(workload) = container.workload() {
                self.workloads.leave(workload, uptime);
            }
            self.removals.expired.push_back(id.into());
            self.touch(id);
        }
    }

    /// Uptime at which [`Ledger::expire`] next has something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let mut all = self.removals.by_time.iter();
        // A container with something left to report stays.
        let due = all.find(|(_, id)| self.is_reported(id));
        let due = due.map(|(since, _)| *since + self.retention);
        let due = due.map(|at| at.max(SignedDuration::ZERO).unsigned_abs());
        due.into_iter().chain(self.workloads.next_timeout()).min()
    }

    /// Records that a scrape has taken the text of this [revision](super::Workloads::revision).
    pub fn mark_scraped(&mut self, revision: u64) {
        self.workloads.mark_scraped(revision);
    }
}
