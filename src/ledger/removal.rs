//! Containers that are removed: how long their exits are shown, and what is kept of them after.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::container::Container;
use super::{Ledger, Taken};

/// So many exits of removed containers are shown at most: a storm of short-lived containers must
/// fill neither the memory of the exporter nor that of Prometheus. They are counted all the same.
const RETAINED: usize = 5_000;

/// So many containers that are shown no more are kept for events that are repeated late, so that
/// no exit is counted again. An Engine repeats 256 events at most.
const BURIED: usize = 1024;

/// The removed containers, so that it takes no look at all the others to find those that are due.
#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Those that are not buried, by the uptime at which they went.
    by_time: BTreeSet<(Duration, Box<str>)>,
    /// Those among them that were seen to have nothing to show.
    empty: Vec<Box<str>>,
    /// Those that are buried, the oldest first.
    buried: VecDeque<Box<str>>,
}

impl Removals {
    /// Takes note of a container that has changed, if it is removed.
    pub(super) fn note(&mut self, id: &str, container: &Container) {
        if let Some(gone) = container.gone.filter(|_| !container.buried) {
            self.by_time.insert((gone, id.into()));
            if !container.is_shown() {
                self.empty.push(id.into());
            }
        }
    }

    /// Takes note that one that went then is there all the same.
    pub(super) fn forget(&mut self, gone: Duration, id: &str) {
        self.by_time.remove(&(gone, id.into()));
    }
}

impl Ledger {
    /// Takes note of containers that the last listing lacks.
    pub(super) fn miss(&mut self, taken: Taken) {
        let mut missed = Vec::new();
        for (id, container) in self.containers.iter_mut() {
            if container.listed == self.listings || container.is_ahead_of(taken) {
                continue;
            }
            let is_new = container.gone.is_none();
            container.gone.get_or_insert(taken.uptime);
            // It ran when it was seen last. Its events may come, or come again.
            let ran = container.runs && taken.events_followed;
            if ran && container.leave_to_event(taken.asked) {
                self.leaves_to_events = true;
            } else if ran {
                container.runs = false;
                self.lost += 1;
                missed.push((id.to_owned(), container.forget_exit()));
                continue;
            }
            if is_new {
                missed.push((id.to_owned(), None));
            }
        }
        for (id, exit) in missed {
            self.changed(&id, exit);
        }
    }

    /// Drops what has been gone for longer than the retention, and workloads without containers
    /// for a day; returns whether there was any.
    pub fn expire(&mut self, uptime: Duration) -> bool {
        let mut any = self.workloads.expire(uptime);
        for id in std::mem::take(&mut self.removals.empty) {
            let container = self.containers.get(&id);
            if container.is_some_and(|it| it.gone.is_some() && !it.buried && !it.is_shown()) {
                self.bury(&id);
                any = true;
            }
        }
        for id in self.due(uptime) {
            self.bury(&id);
            any = true;
        }
        while self.removals.buried.len() > BURIED {
            let oldest = self.removals.buried.pop_front();
            let oldest = oldest.filter(|id| self.containers.get(id).is_some_and(|it| it.buried));
            if let Some(container) = oldest.and_then(|id| self.containers.remove(&id)) {
                if let Some(workload) = &container.workload {
                    self.workloads.leave(workload, uptime);
                }
            }
        }
        any
    }

    /// The removed containers whose time is over, and the oldest of those that are over [`RETAINED`].
    /// What is not told yet stays until it is.
    fn due(&self, uptime: Duration) -> Vec<Box<str>> {
        let all = &self.removals.by_time;
        let is_over = |gone: &Duration| uptime.saturating_sub(*gone) >= self.retention;
        let expired = all.iter().take_while(|(gone, _)| is_over(gone)).count();
        let over = if all.len() > RETAINED {
            let untold = self.untold.iter().filter(|id| self.is_removed(id)).count();
            (all.len() - untold).saturating_sub(RETAINED)
        } else {
            0
        };
        let told = all
            .iter()
            .enumerate()
            .filter(|(_, (_, id))| self.is_told(id));
        let due = told
            .zip(0..)
            .take_while(|((at, _), told)| *at < expired || *told < over);
        due.map(|((_, (_, id)), _)| id.clone()).collect()
    }

    fn is_told(&self, id: &str) -> bool {
        self.containers.get(id).is_some_and(|it| it.told)
    }

    fn is_removed(&self, id: &str) -> bool {
        let container = self.containers.get(id);
        container.is_some_and(|it| it.gone.is_some() && !it.buried)
    }

    /// Shows a container no more.
    fn bury(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            if let Some(gone) = container.gone {
                self.removals.forget(gone, id);
            }
            container.bury();
            self.removals.buried.push_back(id.into());
            self.touch(id);
        }
    }

    /// The uptime at which [`Ledger::expire`] will next have a container to drop.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let mut all = self.removals.by_time.iter();
        // What is not told yet stays until it is.
        let (gone, _) = all.find(|(_, id)| self.is_told(id))?;
        Some(*gone + self.retention)
    }
}
