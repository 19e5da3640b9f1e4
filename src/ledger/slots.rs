//! The slots of Swarm services that have a container or an exit on this host, and when the newest container
//! of each was made.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::engine::Labels;

use super::container::Container;
use super::place::Place;

/// All slots of one host.
#[derive(Debug, Default)]
pub(super) struct Slots {
    /// The labels of their series, without braces.
    labels: HashMap<Place, Box<str>>,
    /// When the newest container of each was made, by these labels.
    created: BTreeMap<Box<str>, Timestamp>,
}

impl Slots {
    /// Takes note of the slot of a container whose Docker labels are seen first, if it has one.
    pub(super) fn note(&mut self, container: &Container, labels: &Labels) {
        if let (Some(place), Some(slot)) = (container.place(), Place::slot_labels(labels)) {
            self.labels.entry(place).or_insert_with(|| slot.into());
        }
    }

    /// Finds out when the newest container of each was made, and drops those that have none left.
    pub(super) fn find<'a>(&mut self, all: impl Iterator<Item = &'a Container>) {
        let before = std::mem::take(&mut self.created);
        if self.labels.is_empty() {
            return;
        }
        let mut taken = HashSet::new();
        for container in all {
            let place = container.place();
            let slot = place.and_then(|place| self.labels.get_key_value(&place));
            let Some((place, labels)) = slot else {
                continue;
            };
            taken.insert(*place);
            if let Some(created) = container.created() {
                // A service that was made anew may have the name of the one before.
                let newest = self.created.entry(labels.clone()).or_insert(created);
                *newest = created.max(*newest);
            }
        }
        // The newest may be gone without an exit, if it never ran. It has replaced the older ones all the same.
        for (labels, created) in before {
            if let Some(newest) = self.created.get_mut(&labels) {
                *newest = created.max(*newest);
            }
        }
        self.labels.retain(|place, _| taken.contains(place));
    }

    /// Their labels, and when the newest container of each was made.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let all = self.created.iter();
        all.map(|(labels, created)| (&**labels, *created))
    }
}
