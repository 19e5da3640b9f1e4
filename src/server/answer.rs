//! Answers that clients are taking. They share the texts; those that are no longer published are
//! bounded, however slowly they are taken.

use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::iter::once;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, Weak};

use crate::exposition::Text;

use super::lock;

/// Bytes of texts other than the last one that was asked for. Who takes an older one beyond that
/// has his answer broken off.
const MAX_OLD_BYTES: usize = 4 * 1024 * 1024;

/// Pieces that are sent at a time. Of more bytes than the kernel takes at once it looks at none.
const MAX_PIECES: usize = 256;

/// A text while a client takes it; none if it was let go since it is too old.
type Slot = Mutex<Option<Arc<Text>>>;

/// The texts that are being taken, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Texts(Mutex<Vec<Weak<Slot>>>);

/// One client's answer, as far as it is not sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    start: Vec<u8>,
    text: Option<Arc<Slot>>,
    gzip: bool,
    end: Vec<u8>,
    /// The next piece of all of these, and how much of it is sent.
    piece: usize,
    at: usize,
}

impl Texts {
    /// Takes in the text that is asked for last. Lets go of the oldest as soon as there is too much
    /// of them that the last one does not share.
    fn share(&self, last: Arc<Text>) -> Arc<Slot> {
        let mut seen = vec![Arc::as_ptr(&last)];
        let mut kept: HashSet<_> = HashSet::new();
        let mut old_bytes = 0;
        let mut slots = lock(&self.0);
        slots.retain(|slot| slot.strong_count() > 0);
        for slot in slots.iter().rev().filter_map(Weak::upgrade) {
            let mut slot = lock(&slot);
            let Some(text) = slot.as_ref() else { continue };
            if seen.contains(&Arc::as_ptr(text)) {
                continue;
            }
            if kept.is_empty() {
                kept.extend(last.segments().iter().map(Arc::as_ptr));
            }
            seen.push(Arc::as_ptr(text));
            let segments = text.segments().iter();
            let new = segments.filter(|segment| kept.insert(Arc::as_ptr(segment)));
            old_bytes += new.map(|segment| segment.memory()).sum::<usize>();
            if old_bytes > MAX_OLD_BYTES {
                *slot = None;
            }
        }
        let slot = Arc::new(Mutex::new(Some(last)));
        slots.push(Arc::downgrade(&slot));
        slot
    }
}

impl Answer {
    /// An answer without a text.
    pub(super) fn new(start: Vec<u8>) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }

    /// An answer with this text, as it is or deflated, before its end.
    pub(super) fn with_text(
        start: Vec<u8>,
        text: Arc<Text>,
        gzip: bool,
        end: Vec<u8>,
        texts: &Texts,
    ) -> Self {
        Self {
            text: Some(texts.share(text)),
            gzip,
            end,
            ..Self::new(start)
        }
    }

    /// Sends as much as the kernel takes at once, without copying it before, to a client that does
    /// not block. Returns whether all is sent. No text is held while its client is waited for.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is taken at once; `TimedOut` if the text was let go.
    pub(super) fn send(&mut self, client: &TcpStream) -> io::Result<bool> {
        let too_old = || io::Error::new(ErrorKind::TimedOut, "its text is too old by now");
        let text = self
            .text
            .as_ref()
            .map(|it| lock(it).clone().ok_or_else(too_old));
        let text = text.transpose()?;
        let segments = text.as_ref().map_or(&[][..], |text| text.segments());
        let pieces = once(&self.start[..])
            .chain(segments.iter().map(|segment| segment.bytes(self.gzip)))
            .chain(once(&self.end[..]));
        let mut pieces = pieces.skip(self.piece);
        let first = pieces.next().map(|piece| &piece[self.at..]);
        let pieces: Vec<_> = first.into_iter().chain(pieces).take(MAX_PIECES).collect();
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut sent = (&*client).write_vectored(&slices)?;
        for piece in &pieces {
            if sent < piece.len() {
                self.at += sent;
                return Ok(false);
            }
            sent -= piece.len();
            (self.piece, self.at) = (self.piece + 1, 0);
        }
        Ok(self.piece == segments.len() + 2)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use rustix::net::sockopt::set_socket_send_buffer_size;

    use super::*;

    fn answer(text: impl Into<Arc<Text>>, texts: &Texts) -> Answer {
        Answer::with_text(b"<".into(), text.into(), false, b">".into(), texts)
    }

    fn text(letter: &str) -> Text {
        letter.repeat(3 * 1024 * 1024).into()
    }

    /// Both ends of a connection.
    fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        server.set_nonblocking(true).unwrap();
        (client, server)
    }

    /// A text in pieces, of which the first, some others and the last are empty.
    fn in_pieces(pieces: usize, length: usize) -> Text {
        let pieces = (0..pieces).flat_map(|number| {
            let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
            let piece = letter.to_string().repeat(length);
            [String::new(), piece, String::new()]
        });
        let segments: Vec<_> = pieces.map(|it| Arc::new(it.into())).collect();
        segments.into()
    }

    #[test]
    fn an_answer_is_sent_to_its_end_as_fast_as_it_is_taken() {
        for (pieces, length) in [(0, 0), (1, 0), (1, 5), (1000, 10), (100, 300_000)] {
            let texts = Texts::default();
            let text = Arc::new(in_pieces(pieces, length));
            let mut answer = answer(Arc::clone(&text), &texts);
            let (mut client, server) = connection();
            set_socket_send_buffer_size(&server, 100_000).unwrap();
            let taken = thread::spawn(move || {
                let mut taken = String::new();
                client.read_to_string(&mut taken).map(|_| taken)
            });
            loop {
                match answer.send(&server) {
                    Ok(true) => break,
                    Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                    _ => thread::yield_now(),
                }
            }
            drop((server, answer));
            let want = format!("<{}>", text.plain());
            assert!(taken.join().unwrap().unwrap() == want, "{pieces} {length}");
        }
        let (mut client, server) = connection();
        assert!(Answer::new(b"alone".into()).send(&server).unwrap());
        drop(server);
        let mut taken = String::new();
        client.read_to_string(&mut taken).unwrap();
        assert_eq!(taken, "alone");
    }

    #[test]
    fn old_texts_are_let_go_and_the_last_ones_stay() {
        let texts = Texts::default();
        let (_client, server) = connection();
        set_socket_send_buffer_size(&server, 0).unwrap();
        let mut first = answer(text("a"), &texts);
        let error = loop {
            if let Err(error) = first.send(&server) {
                break error;
            }
        };
        // A client that takes nothing does not hold its text.
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let others = ["b", "c", "d", "e"].map(|letter| answer(text(letter), &texts));
        assert_eq!(first.send(&server).unwrap_err().kind(), ErrorKind::TimedOut);
        // The last, and 4 MiB before it.
        let is_held = |it: &Answer| lock(it.text.as_ref().unwrap()).is_some();
        assert_eq!(others.each_ref().map(is_held), [false, false, true, true]);
    }

    #[test]
    fn one_text_may_be_taken_by_any_number() {
        let texts = Texts::default();
        let text: Arc<Text> = Arc::new("x".repeat(20 * 1024 * 1024).into());
        let answers: Vec<_> = (0..64).map(|_| answer(Arc::clone(&text), &texts)).collect();
        drop(text);
        let (_client, server) = connection();
        for mut answer in answers {
            let sent = answer.send(&server);
            assert!(!matches!(sent, Err(error) if error.kind() == ErrorKind::TimedOut));
        }
    }
}
