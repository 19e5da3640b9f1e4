//! The pages that were asked for, each rendered for all who ask for the same one meanwhile.
//!
//! They cost the rest of the exporter little, whatever is asked for: one is rendered at a time, and
//! then none for as long as that took, so that it is half of one core at most. Who asks alone does
//! not wait.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::exposition::{Segment, Text};
use crate::page::{self, Snapshot, View};

use super::answer::Texts;
use super::lock;

/// How long a page is kept for others.
const PAGE_AGE: Duration = Duration::from_secs(1);

/// So many are kept.
const MAX_KEPT: usize = 8;

/// So many wait to be rendered. Each keeps a connection that others may need.
const MAX_WAITING: usize = 16;

/// The pages, and the texts of those that are being taken.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pub(super) texts: Texts,
    desk: Mutex<Desk>,
    moved_on: Condvar,
}

/// What a page is made of.
#[derive(Debug, Clone)]
struct Wanted {
    snapshot: Weak<Snapshot>,
    view: View,
    asked_as: String,
    gzip: bool,
}

#[derive(Debug, Default)]
struct Desk {
    /// The newest first.
    kept: VecDeque<(Instant, Wanted, Arc<Text>)>,
    /// Those that are to be rendered, in their order: the thread that asked first renders its page.
    waiting: VecDeque<Wanted>,
    /// When the next may be rendered.
    free_at: Option<Instant>,
}

/// The turn of the first one that waits. When it ends, the next one comes, also if rendering has failed.
struct Turn<'a> {
    pages: &'a Pages,
    begun: Instant,
}

impl PartialEq for Wanted {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot.ptr_eq(&other.snapshot)
            && self.view == other.view
            && self.asked_as == other.asked_as
            && self.gzip == other.gzip
    }
}

impl Pages {
    /// The page of this view; with `gzip` it can be taken compressed only. `None` if too many others wait
    /// to be rendered.
    pub(super) fn get(
        &self,
        snapshot: &Arc<Snapshot>,
        view: View,
        asked_as: &str,
        gzip: bool,
    ) -> Option<Arc<Text>> {
        let has_name = !snapshot.host.name.is_empty();
        let asked_as = if has_name { "" } else { asked_as };
        let wanted = Wanted {
            snapshot: Arc::downgrade(snapshot),
            view,
            asked_as: asked_as.to_owned(),
            gzip,
        };
        let mut desk = lock(&self.desk);
        loop {
            if let Some(text) = desk.recent(&wanted) {
                return Some(text);
            }
            if !desk.waiting.contains(&wanted) {
                break;
            }
            let moved_on = self.moved_on.wait(desk);
            desk = moved_on.unwrap_or_else(PoisonError::into_inner);
        }
        if desk.waiting.len() >= MAX_WAITING {
            return None;
        }
        desk.waiting.push_back(wanted.clone());
        while let Some(wait) = desk.wait_of(&wanted, Instant::now()) {
            let moved_on = self.moved_on.wait_timeout(desk, wait);
            desk = moved_on.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(desk);
        let turn = Turn {
            pages: self,
            begun: Instant::now(),
        };
        let html = page::render(snapshot, &wanted.view, asked_as, snapshot.clock.now());
        let text = Arc::new(if gzip {
            vec![Arc::new(Segment::deflated_only(&html))].into()
        } else {
            html.into()
        });
        lock(&self.desk).keep(turn.begun, wanted, Arc::clone(&text));
        Some(text)
    }
}

impl Desk {
    fn recent(&self, wanted: &Wanted) -> Option<Arc<Text>> {
        let mut kept = self.kept.iter();
        let same = kept.find(|(at, it, _)| at.elapsed() < PAGE_AGE && it == wanted);
        same.map(|(_, _, text)| Arc::clone(text))
    }

    fn keep(&mut self, at: Instant, wanted: Wanted, text: Arc<Text>) {
        self.kept.retain(|(at, ..)| at.elapsed() < PAGE_AGE);
        self.kept.truncate(MAX_KEPT - 1);
        self.kept.push_front((at, wanted, text));
    }

    /// How long what waits has to wait, unless others move on; `None` if it is its turn.
    fn wait_of(&self, wanted: &Wanted, now: Instant) -> Option<Duration> {
        if self.waiting.front() != Some(wanted) {
            return Some(PAGE_AGE);
        }
        let left = self.free_at?.checked_duration_since(now)?;
        (!left.is_zero()).then_some(left)
    }

    /// The first was rendered, or cannot be.
    fn move_on(&mut self, begun: Instant, ended: Instant) {
        self.waiting.pop_front();
        self.free_at = Some(ended + (ended - begun));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.pages.desk).move_on(self.begun, Instant::now());
        self.pages.moved_on.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::engine::Clock;

    fn view(text: &str) -> View {
        View {
            text: text.to_owned(),
            ..View::default()
        }
    }

    fn get(pages: &Pages, snapshot: &Arc<Snapshot>, text: &str, gzip: bool) -> Arc<Text> {
        let text = pages.get(snapshot, view(text), "host", gzip);
        text.expect("nobody else waits")
    }

    #[test]
    fn a_page_is_the_same_for_all_who_ask_for_the_same() {
        let pages = Pages::default();
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
        for number in 0..2 * MAX_KEPT {
            get(&pages, &snapshot, &number.to_string(), false);
        }
        let desk = lock(&pages.desk);
        assert_eq!((desk.kept.len(), desk.waiting.len()), (MAX_KEPT, 0));
    }

    #[test]
    fn what_the_host_is_called_counts_only_while_it_has_no_name() {
        let pages = Pages::default();
        let mut snapshot = Snapshot::default();
        snapshot.host.name = "web-1".to_owned();
        let snapshot = Arc::new(snapshot);
        let [one, other] = ["one", "other"].map(|it| pages.get(&snapshot, view(""), it, false));
        assert!(Arc::ptr_eq(&one.unwrap(), &other.unwrap()));
    }

    #[test]
    fn a_page_has_the_time_of_the_engine() {
        let engine = Clock::that_is_ahead(5 * 3600 * 1000);
        let snapshot = Arc::new(Snapshot {
            clock: engine.clone(),
            ..Snapshot::default()
        });
        let hour = || format!("As of {}", engine.now().strftime("%H:%M"));
        let (before, page, after) = (hour(), get(&Pages::default(), &snapshot, "", false), hour());
        let page = page.plain();
        assert!(page.contains(&before) || page.contains(&after), "{page}");
    }

    #[test]
    fn who_would_wait_behind_too_many_gets_none() {
        let pages = Pages::default();
        let snapshot = Arc::default();
        let ahead = (0..MAX_WAITING).map(|number| Wanted {
            snapshot: Arc::downgrade(&snapshot),
            view: view(&number.to_string()),
            asked_as: String::new(),
            gzip: false,
        });
        lock(&pages.desk).waiting.extend(ahead);
        assert!(pages.get(&snapshot, view("a"), "", false).is_none());
    }

    #[test]
    fn after_one_was_rendered_none_is_for_as_long_as_that_took() {
        let [first, second] = [false, true].map(|gzip| Wanted {
            snapshot: Weak::new(),
            view: View::default(),
            asked_as: String::new(),
            gzip,
        });
        let mut desk = Desk::default();
        desk.waiting.extend([first.clone(), second.clone()]);
        let begun = Instant::now();
        let after = |millis| begun + Duration::from_millis(millis);
        assert_eq!(desk.wait_of(&first, begun), None);
        assert_eq!(desk.wait_of(&second, begun), Some(PAGE_AGE));
        desk.move_on(begun, after(30));
        for (millis, want) in [(30, Some(30)), (59, Some(1)), (60, None), (1000, None)] {
            let wait = desk.wait_of(&second, after(millis));
            assert_eq!(wait, want.map(Duration::from_millis), "{millis}");
        }
    }
}
