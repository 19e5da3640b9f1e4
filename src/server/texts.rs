//! The texts that clients are taking, as they are or deflated. Each shares its bytes with all who
//! take the same one; those that are no longer published are bounded, however slowly they are taken.

use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use crate::exposition::{Segment, Text};

/// Bytes of texts other than the last one that was asked for. Who takes an older one beyond that
/// has his answer broken off.
const OLD_BYTES: usize = 8 * 1024 * 1024;

/// What is sent at a time, in bytes and in pieces.
const SENT_BYTES: usize = 256 * 1024;
const SENT_PIECES: usize = 256;

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
        let mut seen = vec![Arc::as_ptr(last)];
        let mut bytes = 0;
        let last_dropped = self.texts.iter().rposition(|(_, text)| {
            if seen.contains(&Arc::as_ptr(text)) {
                return false;
            }
            seen.push(Arc::as_ptr(text));
            for segment in text.segments() {
                if kept.insert(Arc::as_ptr(segment)) {
                    bytes += segment.memory();
                }
            }
            bytes > OLD_BYTES
        });
        if let Some(last_dropped) = last_dropped {
            self.texts.drain(..=last_dropped);
        }
    }
}

fn pieces(text: &Text) -> impl Iterator<Item = *const Segment> {
    text.segments().iter().map(Arc::as_ptr)
}

impl Reader {
    /// Sends as much as the system takes at once, without copying it before; 0 bytes at the end.
    ///
    /// The text is not held while the client is waited for, so that it can be let go meanwhile.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is taken at once; `TimedOut` if the text was let go.
    pub(super) fn send(&mut self, client: &TcpStream) -> io::Result<usize> {
        let text = self.text()?;
        self.skip(&text, 0); // What is empty.
        let segments = text.segments().iter().skip(self.segment);
        let mut pieces: Vec<IoSlice> = Vec::new();
        let (mut bytes, mut at) = (0, self.at);
        for segment in segments.take(SENT_PIECES) {
            let piece = &segment.bytes(self.gzip)[at..];
            let piece = &piece[..piece.len().min(SENT_BYTES - bytes)];
            pieces.push(IoSlice::new(piece));
            bytes += piece.len();
            at = 0;
            if bytes == SENT_BYTES {
                break;
            }
        }
        if bytes == 0 {
            return Ok(0);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let count = loop {
            let nothing_else = &mut SendAncillaryBuffer::default();
            match sendmsg(client, &pieces, nothing_else, flags) {
                Err(Errno::INTR) => {}
                sent => break sent?,
            }
        };
        self.skip(&text, count);
        Ok(count)
    }

    /// Goes on behind so many bytes.
    fn skip(&mut self, text: &Text, count: usize) {
        self.at += count;
        while let Some(segment) = text.segments().get(self.segment) {
            let length = segment.bytes(self.gzip).len();
            if self.at < length {
                break;
            }
            (self.segment, self.at) = (self.segment + 1, self.at - length);
        }
    }

    fn text(&self) -> io::Result<Arc<Text>> {
        let text = self.text.upgrade();
        text.ok_or_else(|| io::Error::new(ErrorKind::TimedOut, "its text is too old by now"))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let text = self.text()?;
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
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;

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

    /// A text in pieces, of which the first, some others and the last are empty.
    fn in_pieces(pieces: usize, length: usize) -> Text {
        let pieces = (0..pieces).flat_map(|number| {
            let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
            [
                String::new(),
                letter.to_string().repeat(length),
                String::new(),
            ]
        });
        let segments: Vec<_> = pieces.map(|it| Arc::new(it.into())).collect();
        segments.into()
    }

    #[test]
    fn a_text_is_sent_to_its_end_as_fast_as_it_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (pieces, length) in [(0, 0), (1, 0), (1, 5), (1000, 10), (100, 300_000)] {
            let texts = Arc::new(Texts::default());
            let text = Arc::new(in_pieces(pieces, length));
            let mut reader = texts.read(Arc::clone(&text), false);
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            let taken = thread::spawn(move || {
                let mut taken = String::new();
                client.read_to_string(&mut taken).map(|_| taken)
            });
            loop {
                match reader.send(&server) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        let mut piece = [0; 100];
                        let count = reader.read(&mut piece).unwrap();
                        server.write_all(&piece[..count]).unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            drop(server);
            assert!(taken.join().unwrap().unwrap() == text.plain());
        }
    }

    #[test]
    fn a_text_is_let_go_while_a_client_takes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let texts = Arc::new(Texts::default());
        let mut reader = texts.read(text("a"), false);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&server, 4096).unwrap();
        let error = loop {
            if let Err(error) = reader.send(&server) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let _others = ["b", "c", "d", "e"].map(|letter| texts.read(text(letter), false));
        let error = reader.send(&server).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
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
