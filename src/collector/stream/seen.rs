//! Recognises events that a new stream replays.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use jiff::Timestamp;

use crate::engine::Event;

use super::gap::OVERLAP_WINDOW;

/// The number of events that are recognised. Docker replays at most 256.
pub(super) const MAX_SEEN: usize = 1024;

/// The same for a storm of events within [`OVERLAP_WINDOW`], all of which may be replayed.
pub(super) const MAX_SEEN_IN_STORM: usize = 16 * MAX_SEEN;

/// The last events, as hashes of time, container, action and signal. Two of 16,384 hashes collide
/// once in 10^11 times.
#[derive(Debug, Default)]
pub(super) struct SeenEvents {
    pub(super) hashes: HashSet<u64>,
    pub(super) order: VecDeque<(Timestamp, u64)>,
    pub(super) newest: Option<Timestamp>,
    hasher: RandomState,
}

impl SeenEvents {
    /// Adds an event. Returns whether it is new.
    pub(super) fn insert(&mut self, event: &Event) -> bool {
        let id = (event.time, &event.id, event.action.name(), event.signal());
        let hash = self.hasher.hash_one(id);
        if !self.hashes.insert(hash) {
            return false;
        }
        self.newest = self.newest.max(Some(event.time));
        while let Some((oldest, hash)) = self.order.front() {
            let age = self.newest.map(|newest| newest.duration_since(*oldest));
            let max = if age > Some(2 * OVERLAP_WINDOW) {
                MAX_SEEN
            } else {
                MAX_SEEN_IN_STORM
            };
            if self.order.len() < max {
                break;
            }
            self.hashes.remove(hash);
            self.order.pop_front();
        }
        self.order.push_back((event.time, hash));
        true
    }
}
