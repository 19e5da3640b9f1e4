//! The texts that clients are taking, as they are or deflated. Each shares its bytes with all who take the same one; those
//! that are no longer published are bounded, however slowly they are taken.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::publication::{Segment, Text};

/// Bytes of texts other than the last one that was asked for. Who takes an older one beyond that
/// has his answer broken off.
const OLD_BYTES: usize = 8 * 1024 * 1024;

/// What is being taken, in the order in which it was asked for.
#[derive(Debug, Default)]
pub(super) struct Texts {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    last_number: u64,
    texts: Vec<(u64, Arc<Text>)>,
}

/// One client's text, as far as it is taken.
#[derive(Debug)]
pub(super) struct Reader {
    texts: Arc<Texts>,
    number: u64,
    text: Weak<Text>,
    gzip: bool,
    /// The next piece, and how much of it is taken.
    segment: usize,
    at: usize,
}

impl Texts {
    /// A reader of this text, as it is or deflated, from its beginning.
    pub(super) fn read(self: &Arc<Self>, text: Arc<Text>, gzip: bool) -> Reader {
        let weak = Arc::downgrade(&text);
        let mut taken = self.lock();
        taken.last_number += 1;
        let number = taken.last_number;
        taken.texts.push((number, text));
        taken.forget_old();
        Reader {
            texts: Arc::clone(self),
            number,
            text: weak,
            gzip,
            segment: 0,
            at: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Lets go of the oldest texts as soon as there is too much of them.
    fn forget_old(&mut self) {
        let Some((_, last)) = self.texts.last() else {
            return;
        };
        if self.texts.iter().all(|(_, text)| Arc::ptr_eq(text, last)) {
            return;
        }
        // The last one is not old, nor is what others share with it.
        let mut kept: HashSet<*const Segment> = pieces(last).collect();
        let mut bytes = 0;
        let first_kept = self.texts.iter().rposition(|(_, text)| {
            for segment in text.segments() {
                if kept.insert(Arc::as_ptr(segment)) {
                    bytes += segment.memory();
                }
            }
            bytes > OLD_BYTES
        });
        if let Some(too_old) = first_kept {
            self.texts.drain(..=too_old);
        }
    }
}

fn pieces(text: &Text) -> impl Iterator<Item = *const Segment> {
    text.segments().iter().map(Arc::as_ptr)
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(text) = self.text.upgrade() else {
            return Err(io::Error::other("its text is too old by now"));
        };
        while let Some(segment) = text.segments().get(self.segment) {
            let count = (&segment.bytes(self.gzip)[self.at..]).read(buffer)?;
            self.at += count;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            (self.segment, self.at) = (self.segment + 1, 0);
        }
        Ok(0)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut taken = self.texts.lock();
        taken.texts.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(letter: &str) -> Arc<Text> {
        Arc::new(letter.repeat(3 * 1024 * 1024).into())
    }

    #[test]
    fn a_text_is_read_in_pieces() {
        let texts = Arc::new(Texts::default());
        let mut reader = texts.read(Arc::new("abcdefg".to_owned().into()), false);
        let mut piece = [0; 4];
        assert_eq!(reader.read(&mut piece).unwrap(), 4);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "efg");
        drop(reader);
        assert!(texts.lock().texts.is_empty());
    }

    #[test]
    fn old_texts_are_let_go_and_the_last_ones_stay() {
        let texts = Arc::new(Texts::default());
        let mut readers: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|letter| texts.read(text(letter), false))
            .into();
        // The last, and 8 MiB before it.
        let mut piece = [0; 10];
        let read = readers.iter_mut().map(|it| it.read(&mut piece).is_ok());
        let read: Vec<_> = read.collect();
        assert_eq!(read, [false, false, true, true, true]);
        drop(readers);
        assert!(texts.lock().texts.is_empty());
    }

    #[test]
    fn one_text_may_have_any_number_of_readers() {
        let texts = Arc::new(Texts::default());
        let text: Arc<Text> = Arc::new("x".repeat(20 * 1024 * 1024).into());
        let mut readers: Vec<_> = (0..64)
            .map(|_| texts.read(Arc::clone(&text), false))
            .collect();
        drop(text);
        for reader in &mut readers {
            assert_eq!(reader.read(&mut [0; 10]).unwrap(), 10);
        }
    }
}
