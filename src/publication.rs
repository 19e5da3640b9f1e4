//! The last published text and page snapshot, handed from the collector to the server.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::exposition::SharedText;
use crate::page::Snapshot;

/// What the collector published last.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The families of the host and its containers, in text format 0.0.4.
    pub text: Arc<SharedText>,
    /// The data of the page at `/`.
    pub page: Arc<Snapshot>,
    /// A collection has succeeded since the start.
    pub ready: bool,
    /// The newest revision of the workload counters in `text`, if the text shows a workload at 0 that
    /// no scrape has seen yet.
    pub unscraped_revision: Option<u64>,
}

/// Holds what is published. The lock is held only to copy pointers, never during rendering or I/O.
#[derive(Default)]
pub struct Publication {
    current: RwLock<Published>,
    /// The newest revision that was reported to `on_scraped`.
    scraped: AtomicU64,
    on_scraped: OnceLock<Box<dyn Fn(u64) + Send + Sync>>,
}

impl Publication {
    /// Replaces what was published before.
    pub fn publish(&self, published: Published) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *current, published);
        drop(current);
        drop(before); // Freeing it may take a while: not under the lock.
    }

    /// Sets the callback for the first scrape of a text with new workloads. It gets the revision of the
    /// workload counters in that text. Only the first callback counts.
    pub fn on_scraped(&self, callback: impl Fn(u64) + Send + Sync + 'static) {
        let _ = self.on_scraped.set(Box::new(callback));
    }

    /// Records that a scrape takes this text.
    pub fn mark_scraped(&self, published: &Published) {
        let Some(revision) = published.unscraped_revision else {
            return;
        };
        let is_first = self.scraped.fetch_max(revision, Ordering::Relaxed) < revision;
        if let Some(callback) = self.on_scraped.get().filter(|_| is_first) {
            callback(revision);
        }
    }

    /// What is published now.
    #[must_use]
    pub fn latest(&self) -> Published {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Publication");
        fields
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_revision_is_reported_as_scraped_once() {
        let publication = Publication::default();
        let calls: Arc<Mutex<Vec<u64>>> = Arc::default();
        let called = Arc::clone(&calls);
        publication.on_scraped(move |revision| called.lock().unwrap().push(revision));
        for unscraped_revision in [None, Some(3), Some(3), Some(2), None, Some(7), Some(7)] {
            publication.mark_scraped(&Published {
                unscraped_revision,
                ..Published::default()
            });
        }
        assert_eq!(*calls.lock().unwrap(), [3, 7]);
    }
}
