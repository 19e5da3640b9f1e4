//! What waits for the thread that owns the core, bounded by bytes: a thousand small events may wait,
//! or a few large ones.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Items and what they weigh, first in, first out.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    waiting: Mutex<Waiting<T>>,
    /// Something has come for the thread that waits for it.
    filled: Condvar,
    /// There is room for those that wait for it.
    emptied: Condvar,
    most: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// Someone waits for an item. To wake nobody is a system call all the same.
    wanted: bool,
    /// So many wait for room.
    full: usize,
}

impl<T> Inbox<T> {
    /// An empty inbox in which items of `most` bytes together may wait.
    #[must_use]
    pub(super) fn new(most: usize) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                items: VecDeque::new(),
                bytes: 0,
                wanted: false,
                full: 0,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            most,
        }
    }

    /// Adds an item of so many bytes; waits for as long as there is no room for it. An empty inbox
    /// has room for anything.
    pub(super) fn push(&self, item: T, bytes: usize) {
        let mut waiting = self.lock();
        while !waiting.items.is_empty() && waiting.bytes + bytes > self.most {
            waiting.full += 1;
            let woken = self.emptied.wait(waiting);
            waiting = woken.unwrap_or_else(PoisonError::into_inner);
            waiting.full -= 1;
        }
        waiting.items.push_back((item, bytes));
        waiting.bytes += bytes;
        if std::mem::take(&mut waiting.wanted) {
            self.filled.notify_one();
        }
    }

    /// Takes what is there, up to `count` items; if there is nothing, waits for it until then.
    pub(super) fn take(&self, count: usize, until: Instant) -> Vec<T> {
        let mut waiting = self.lock();
        while waiting.items.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Vec::new();
            }
            waiting.wanted = true;
            let woken = self.filled.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = count.min(waiting.items.len());
        let taken: Vec<_> = waiting.items.drain(..count).collect();
        waiting.bytes -= taken.iter().map(|(_, bytes)| bytes).sum::<usize>();
        // A storm must not hold its memory for ever.
        if waiting.items.is_empty() {
            waiting.items.shrink_to(count);
        }
        if waiting.full > 0 {
            self.emptied.notify_all();
        }
        taken.into_iter().map(|(item, _)| item).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn first_in_first_out_and_no_more_than_is_asked_for() {
        let inbox = Inbox::new(100);
        for item in 1..=5 {
            inbox.push(item, 10);
        }
        assert_eq!(inbox.take(2, soon()), [1, 2]);
        assert_eq!(inbox.take(10, soon()), [3, 4, 5]);
        assert!(inbox.take(10, Instant::now()).is_empty());
    }

    #[test]
    fn what_has_no_room_waits_until_there_is_some() {
        let inbox = Arc::new(Inbox::new(100));
        // Nothing else waits, so it may be of any size.
        inbox.push(0, 1000);
        let pushing = Arc::clone(&inbox);
        let pushed = thread::spawn(move || {
            for item in 1..=1000 {
                pushing.push(item, 40);
            }
        });
        let mut taken = Vec::new();
        while taken.len() < 1001 {
            let bytes = inbox.lock().bytes;
            assert!(bytes <= 100 || taken.is_empty(), "{bytes} bytes wait");
            taken.extend(inbox.take(7, soon()));
        }
        pushed.join().unwrap();
        assert!(taken.into_iter().eq(0..=1000));
        assert_eq!(inbox.lock().bytes, 0);
    }
}
