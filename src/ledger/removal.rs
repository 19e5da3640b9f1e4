//! Containers that are removed: how long their exits are shown, and what is kept of them after.

use std::time::Duration;

use super::{Ledger, Taken};

/// So many exits of removed containers are shown at most: a storm of short-lived containers must
/// fill neither the memory of the exporter nor that of Prometheus. They are counted all the same.
const RETAINED: usize = 5_000;

/// So many containers that are shown no more are kept for events that are repeated late, so that
/// no exit is counted again. An Engine repeats 256 events at most.
const BURIED: usize = 1024;

impl Ledger {
    /// Takes note of containers that the last listing lacks.
    pub(super) fn miss(&mut self, taken: Taken) {
        let mut untold = Vec::new();
        for (id, container) in &mut self.containers {
            if container.listed == self.listings || container.is_ahead_of(taken) {
                continue;
            }
            container.gone.get_or_insert(taken.uptime);
            // It ran when it was seen last. Its events may come, or come again.
            if container.runs && taken.events_followed {
                if container.leave_to_event(taken.asked) {
                    self.leaves_to_events = true;
                } else {
                    container.runs = false;
                    untold.push((id.clone(), container.forget_exit()));
                    self.lost += 1;
                }
            }
        }
        for (id, exit) in untold {
            self.keep(&id, exit);
        }
    }

    /// Drops what has been gone for longer than the retention, and workloads without containers
    /// for a day; returns whether there was any.
    pub fn expire(&mut self, uptime: Duration) -> bool {
        let mut any = self.workloads.expire(uptime);
        for (id, container) in &mut self.containers {
            let Some(gone) = container.gone.filter(|_| !container.buried) else {
                continue;
            };
            let is_shown = container.exit.is_some() && !container.runs;
            let is_kept = uptime.saturating_sub(gone) < self.retention || !container.told;
            if !(is_shown && is_kept) {
                container.bury();
                self.buried.push_back(id.clone());
                any = true;
            }
        }
        any |= self.make_room();
        while self.buried.len() > BURIED {
            let oldest = self.buried.pop_front();
            let oldest = oldest.filter(|id| self.containers.get(id).is_some_and(|it| it.buried));
            if let Some(container) = oldest.and_then(|id| self.containers.remove(&id)) {
                if let Some(workload) = &container.workload {
                    self.workloads.leave(workload, uptime);
                }
            }
        }
        any
    }

    /// Takes the exits of removed containers out of sight that are over [`RETAINED`], the oldest
    /// first; returns whether there were any.
    fn make_room(&mut self) -> bool {
        let gone = self
            .containers
            .iter()
            .filter(|(_, it)| !it.buried && it.told);
        let mut gone: Vec<_> = gone
            .filter_map(|(id, it)| Some((it.gone?, id.clone())))
            .collect();
        let over = gone.len().saturating_sub(RETAINED);
        if over == 0 {
            return false;
        }
        gone.sort_unstable();
        for (_, id) in gone.into_iter().take(over) {
            if let Some(container) = self.containers.get_mut(&id) {
                container.bury();
                self.buried.push_back(id);
            }
        }
        true
    }

    /// The uptime at which [`Ledger::expire`] will next have a container to drop.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        // What is not told yet stays until it is.
        let all = self.containers.values();
        let shown = all.filter(|it| !it.buried && (it.told || it.exit.is_none()));
        let gone = shown.filter_map(|it| it.gone);
        gone.min().map(|gone| gone + self.retention)
    }
}
