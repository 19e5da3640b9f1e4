//! The finished text and what the page is made of, handed from the collector to the server.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::exposition::Text;
use crate::page::Snapshot;

/// What the last collection published.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The families of the host and its containers, format 0.0.4.
    pub text: Arc<Text>,
    /// The same for the page at `/`.
    pub page: Arc<Snapshot>,
    /// A collection has worked since the start.
    pub ready: bool,
    /// The newest revision of the counters whose text shows a workload as 0 that no scrape had taken;
    /// `None` if there is no such workload.
    pub unshown: Option<u64>,
}

/// The place where the text is left and taken. The lock is held for a pointer's copy only, never
/// while anything is rendered or sent.
#[derive(Default)]
pub struct Publication {
    current: RwLock<Published>,
    /// The newest revision of the counters that was reported as shown.
    shown: AtomicU64,
    on_shown: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Publication {
    /// Replaces what was published before.
    pub fn set(&self, published: Published) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *current, published);
        drop(current);
        drop(before); // Not under the lock: it may take a while.
    }

    /// Says whom to call when a scrape takes workloads for the first time, with the revision of the
    /// counters that it took.
    pub fn on_shown(&self, call: impl Fn(u64) + Send + Sync + 'static) {
        // There is one collector.
        let _ = self.on_shown.set(Box::new(call));
    }

    /// Takes note that a scrape takes what was published.
    pub fn taken(&self, published: &Published) {
        let Some(revision) = published.unshown else {
            return;
        };
        let is_first = self.shown.fetch_max(revision, Ordering::Relaxed) < revision;
        if let Some(call) = self.on_shown.get().filter(|_| is_first) {
            call(revision);
        }
    }

    /// What is published at this moment.
    #[must_use]
    pub fn get(&self) -> Published {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Publication");
        all.field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_revision_is_reported_as_shown_once() {
        let publication = Publication::default();
        let calls: Arc<Mutex<Vec<u64>>> = Arc::default();
        let called = Arc::clone(&calls);
        publication.on_shown(move |revision| called.lock().unwrap().push(revision));
        for unshown in [None, Some(3), Some(3), Some(2), None, Some(7), Some(7)] {
            publication.taken(&Published {
                unshown,
                ..Published::default()
            });
        }
        assert_eq!(*calls.lock().unwrap(), [3, 7]);
    }
}
