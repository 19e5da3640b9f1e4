//! Which events came already.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use jiff::Timestamp;

use crate::engine::Event;

use super::proof::OVERLAP;

/// So many events are known again when they are repeated. Docker repeats 256 at most.
pub(super) const KNOWN_AGAIN: usize = 1024;

/// The same of a storm, of which all that a new stream may repeat is known again.
pub(super) const KNOWN_AGAIN_OF_STORM: usize = 16 * KNOWN_AGAIN;

/// The events that came last, by hashes of their times, containers, actions and signals: two of 16,384 are
/// the same once in 10^11 times.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) hashes: HashSet<u64>,
    pub(super) order: VecDeque<(Timestamp, u64)>,
    pub(super) newest: Option<Timestamp>,
    hasher: RandomState,
}

impl Known {
    /// Remembers an event; returns whether it is a new one.
    pub(super) fn remember(&mut self, event: &Event) -> bool {
        let id = (event.time, &event.id, event.action.name(), event.signal());
        let hash = self.hasher.hash_one(id);
        if !self.hashes.insert(hash) {
            return false;
        }
        self.newest = self.newest.max(Some(event.time));
        while let Some((oldest, forgotten)) = self.order.front() {
            let age = self.newest.map(|newest| newest.duration_since(*oldest));
            let most = if age > Some(2 * OVERLAP) {
                KNOWN_AGAIN
            } else {
                KNOWN_AGAIN_OF_STORM
            };
            if self.order.len() < most {
                break;
            }
            self.hashes.remove(forgotten);
            self.order.pop_front();
        }
        self.order.push_back((event.time, hash));
        true
    }
}
