//! Renders pages, each once for all clients that request it at the same time.
//!
//! Rendering takes half a core at most, whatever is requested: one page is rendered at a time, and after
//! it none for as long as it took. A client that is alone does not wait.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::exposition::{Segment, SharedText};
use crate::page::{self, Snapshot, View};

use super::lock;
use super::response::TextsInFlight;

/// How long a page is cached.
const MAX_PAGE_AGE: Duration = Duration::from_secs(1);

const MAX_CACHED: usize = 8;

/// Pages that wait to be rendered. Each holds a connection that others may need.
const MAX_QUEUED: usize = 16;

/// The cached pages, the queue, and the texts of pages that are being sent.
#[derive(Debug, Default)]
pub(super) struct PageCache {
    pub(super) texts: TextsInFlight,
    state: Mutex<CacheState>,
    turn_ended: Condvar,
}

/// What a page is rendered from.
#[derive(Debug, Clone)]
struct PageKey {
    snapshot: Weak<Snapshot>,
    view: View,
    host: String,
    gzip: bool,
}

#[derive(Debug, Default)]
struct CacheState {
    /// With the time of rendering, the newest first.
    cached: VecDeque<(Instant, PageKey, Arc<SharedText>)>,
    /// Pages to render, in order. The thread that requested a page first renders it.
    queue: VecDeque<PageKey>,
    /// When the next page may be rendered.
    free_at: Option<Instant>,
}

/// The turn of the first page in the queue. Dropping it lets the next one follow, even after a panic.
struct Turn<'a> {
    pages: &'a PageCache,
    began_at: Instant,
}

impl PartialEq for PageKey {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot.ptr_eq(&other.snapshot)
            && self.view == other.view
            && self.host == other.host
            && self.gzip == other.gzip
    }
}

impl PageCache {
    /// The page for this view. With `gzip`, the text exists only in deflated form. `host`: the request's
    /// `Host` header. Returns `None` if the queue is full.
    pub(super) fn get(
        &self,
        snapshot: &Arc<Snapshot>,
        view: View,
        host: &str,
        gzip: bool,
    ) -> Option<Arc<SharedText>> {
        // The page shows this name only if the Engine gives none.
        let has_name = !snapshot.host.name.is_empty();
        let host = if has_name { "" } else { host };
        let key = PageKey {
            snapshot: Arc::downgrade(snapshot),
            view,
            host: host.to_owned(),
            gzip,
        };
        let mut state = lock(&self.state);
        loop {
            if let Some(text) = state.get(&key) {
                return Some(text);
            }
            if !state.queue.contains(&key) {
                break;
            }
            let turn_ended = self.turn_ended.wait(state);
            state = turn_ended.unwrap_or_else(PoisonError::into_inner);
        }
        if state.queue.len() >= MAX_QUEUED {
            return None;
        }
        state.queue.push_back(key.clone());
        while let Some(wait) = state.wait_before(&key, Instant::now()) {
            let turn_ended = self.turn_ended.wait_timeout(state, wait);
            state = turn_ended.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        let turn = Turn {
            pages: self,
            began_at: Instant::now(),
        };
        let html = page::render(snapshot, &key.view, host, snapshot.clock.now());
        let text = Arc::new(if gzip {
            vec![Arc::new(Segment::deflated_only(&html))].into()
        } else {
            html.into()
        });
        lock(&self.state).insert(turn.began_at, key, Arc::clone(&text));
        Some(text)
    }
}

impl CacheState {
    fn get(&self, key: &PageKey) -> Option<Arc<SharedText>> {
        let mut cached = self.cached.iter();
        let same = cached.find(|(at, it, _)| at.elapsed() < MAX_PAGE_AGE && it == key);
        same.map(|(_, _, text)| Arc::clone(text))
    }

    fn insert(&mut self, at: Instant, key: PageKey, text: Arc<SharedText>) {
        self.cached.retain(|(at, ..)| at.elapsed() < MAX_PAGE_AGE);
        self.cached.truncate(MAX_CACHED - 1);
        self.cached.push_front((at, key, text));
    }

    /// How long a queued page has to wait, unless a turn ends before; `None` if it is its turn.
    fn wait_before(&self, key: &PageKey, now: Instant) -> Option<Duration> {
        if self.queue.front() != Some(key) {
            return Some(MAX_PAGE_AGE);
        }
        let left = self.free_at?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    /// Ends the turn of the first page in the queue.
    fn finish(&mut self, began_at: Instant, ended_at: Instant) {
        self.queue.pop_front();
        self.free_at = Some(ended_at + (ended_at - began_at));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.pages.state).finish(self.began_at, Instant::now());
        self.pages.turn_ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::engine::Clock;

    fn view(text: &str) -> View {
        View {
            search: text.to_owned(),
            ..View::default()
        }
    }

    fn get(pages: &PageCache, snapshot: &Arc<Snapshot>, text: &str, gzip: bool) -> Arc<SharedText> {
        let text = pages.get(snapshot, view(text), "host", gzip);
        text.expect("nobody else waits")
    }

    #[test]
    fn requests_for_the_same_page_share_it() {
        let pages = PageCache::default();
        let snapshot = Arc::default();
        let page = get(&pages, &snapshot, "a", false);
        assert!(page.plain().ends_with("</html>\n"));
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let again = get(&pages, &snapshot, "a", false);
                    assert!(Arc::ptr_eq(&again, &page));
                    get(&pages, &snapshot, "b", true)
                });
            }
        });
        for (snapshot, text, gzip) in [
            (&snapshot, "c", false),
            (&snapshot, "a", true),
            (&Arc::default(), "a", false),
        ] {
            let other = get(&pages, snapshot, text, gzip);
            assert!(!Arc::ptr_eq(&other, &page), "{text} {gzip}");
        }
        let other = pages.get(&snapshot, view("a"), "other", false);
        assert!(!Arc::ptr_eq(&other.unwrap(), &page));
        for number in 0..2 * MAX_CACHED {
            get(&pages, &snapshot, &number.to_string(), false);
        }
        let state = lock(&pages.state);
        assert_eq!((state.cached.len(), state.queue.len()), (MAX_CACHED, 0));
    }

    #[test]
    fn the_host_header_matters_only_while_the_host_has_no_name() {
        let pages = PageCache::default();
        let mut snapshot = Snapshot::default();
        snapshot.host.name = "web-1".to_owned();
        let snapshot = Arc::new(snapshot);
        let [one, other] = ["one", "other"].map(|it| pages.get(&snapshot, view(""), it, false));
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    }

    #[test]
    fn a_page_has_the_time_of_the_engine() {
        let engine = Clock::ahead_by(5 * 3600 * 1000);
        let snapshot = Arc::new(Snapshot {
            clock: engine.clone(),
            ..Snapshot::default()
        });
        let hour = || format!("As of {}", engine.now().strftime("%H:%M"));
        let (before, page, after) = (
            hour(),
            get(&PageCache::default(), &snapshot, "", false),
            hour(),
        );
        let page = page.plain();
        assert!(page.contains(&before) || page.contains(&after), "{page}");
    }

    #[test]
    fn a_request_behind_too_many_others_gets_no_page() {
        let pages = PageCache::default();
        let snapshot = Arc::default();
        let ahead = (0..MAX_QUEUED).map(|number| PageKey {
            snapshot: Arc::downgrade(&snapshot),
            view: view(&number.to_string()),
            host: String::new(),
            gzip: false,
        });
        lock(&pages.state).queue.extend(ahead);
        assert!(pages.get(&snapshot, view("a"), "", false).is_none());
    }

    #[test]
    fn the_next_rendering_waits_as_long_as_the_last_one_took() {
        let [first, second] = [false, true].map(|gzip| PageKey {
            snapshot: Weak::new(),
            view: View::default(),
            host: String::new(),
            gzip,
        });
        let mut state = CacheState::default();
        state.queue.extend([first.clone(), second.clone()]);
        let begun = Instant::now();
        let after = |millis| begun + Duration::from_millis(millis);
        assert_eq!(state.wait_before(&first, begun), None);
        assert_eq!(state.wait_before(&second, begun), Some(MAX_PAGE_AGE));
        state.finish(begun, after(30));
        for (millis, want) in [(30, Some(30)), (59, Some(1)), (60, None), (1000, None)] {
            let wait = state.wait_before(&second, after(millis));
            assert_eq!(wait, want.map(Duration::from_millis), "{millis}");
        }
    }
}
