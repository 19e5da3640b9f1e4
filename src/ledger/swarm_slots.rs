//! When the newest container of each Swarm slot was created.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::engine::Labels;

use super::container::Container;
use super::replica::ReplicaId;

/// All Swarm slots with a container or an exit on this host.
#[derive(Debug, Default)]
pub(super) struct SwarmSlots {
    /// Labels of the slot's series, without braces.
    labels: HashMap<ReplicaId, Box<str>>,
    /// Creation time of the newest container, by those labels.
    created: BTreeMap<Box<str>, Timestamp>,
}

impl SwarmSlots {
    /// Adds the slot of a new container, if it has one.
    pub(super) fn note(&mut self, container: &Container, labels: &Labels) {
        if let (Some(replica), Some(slot)) = (container.replica(), ReplicaId::slot_labels(labels)) {
            self.labels.entry(replica).or_insert_with(|| slot.into());
        }
    }

    /// Recomputes the creation times and drops slots without containers.
    pub(super) fn find<'a>(&mut self, all: impl Iterator<Item = &'a Container>) {
        let before = std::mem::take(&mut self.created);
        if self.labels.is_empty() {
            return;
        }
        let mut taken = HashSet::new();
        for container in all {
            let replica = container.replica();
            let slot = replica.and_then(|replica| self.labels.get_key_value(&replica));
            let Some((replica, labels)) = slot else {
                continue;
            };
            taken.insert(*replica);
            if let Some(created) = container.creation.time() {
                // A recreated service may have the same name.
                let newest = self.created.entry(labels.clone()).or_insert(created);
                *newest = created.max(*newest);
            }
        }
        // The newest container may be gone without an exit, but it has replaced the older ones.
        for (labels, created) in before {
            if let Some(newest) = self.created.get_mut(&labels) {
                *newest = created.max(*newest);
            }
        }
        self.labels.retain(|replica, _| taken.contains(replica));
    }

    /// Labels and creation time of each slot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let all = self.created.iter();
        all.map(|(labels, created)| (&**labels, *created))
    }
}
