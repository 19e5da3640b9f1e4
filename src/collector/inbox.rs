//! A queue of messages for the thread that owns the core, bounded by bytes: it holds many small
//! events or a few large ones.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A first-in, first-out queue of items with their sizes.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    queue: Mutex<Queue<T>>,
    not_empty: Condvar,
    not_full: Condvar,
    max_bytes: usize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// A reader waits. Waking nobody would cost a system call all the same.
    has_reader: bool,
    /// The number of writers that wait for room.
    blocked: usize,
}

impl<T> Inbox<T> {
    /// An empty inbox for items of at most `max_bytes` in total.
    #[must_use]
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            queue: Mutex::new(Queue {
                items: VecDeque::new(),
                bytes: 0,
                has_reader: false,
                blocked: 0,
            }),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
            max_bytes,
        }
    }

    /// Adds an item of this size. Waits until there is room; an empty inbox has room for any item.
    pub(super) fn push(&self, item: T, bytes: usize) {
        let mut queue = self.lock();
        while !queue.items.is_empty() && queue.bytes + bytes > self.max_bytes {
            queue.blocked += 1;
            let woken = self.not_full.wait(queue);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
            queue.blocked -= 1;
        }
        queue.items.push_back((item, bytes));
        queue.bytes += bytes;
        if std::mem::take(&mut queue.has_reader) {
            self.not_empty.notify_one();
        }
    }

    /// Takes up to `max_items`. If there are none, waits for one until `deadline`.
    pub(super) fn take(&self, max_items: usize, deadline: Instant) -> Vec<T> {
        let mut queue = self.lock();
        while queue.items.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Vec::new();
            }
            queue.has_reader = true;
            let woken = self.not_empty.wait_timeout(queue, left);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = max_items.min(queue.items.len());
        let taken: Vec<_> = queue.items.drain(..count).collect();
        queue.bytes -= taken.iter().map(|(_, bytes)| bytes).sum::<usize>();
        // Give back the memory of a storm.
        if queue.items.is_empty() {
            queue.items.shrink_to(count);
        }
        if queue.blocked > 0 {
            self.not_full.notify_all();
        }
        taken.into_iter().map(|(item, _)| item).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn items_come_first_in_first_out_up_to_the_maximum() {
        let inbox = Inbox::new(100);
        for item in 1..=5 {
            inbox.push(item, 10);
        }
        assert_eq!(inbox.take(2, soon()), [1, 2]);
        assert_eq!(inbox.take(10, soon()), [3, 4, 5]);
        assert!(inbox.take(10, Instant::now()).is_empty());
    }

    #[test]
    fn a_writer_waits_until_there_is_room() {
        let inbox = Arc::new(Inbox::new(100));
        // An empty inbox takes an item of any size.
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
