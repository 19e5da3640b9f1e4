//! Responses that are being sent. They share their texts. The memory of texts that are no longer
//! published is bounded, however slowly clients read.

use std::collections::HashSet;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::iter::once;
use std::net::TcpStream;
use std::sync::{Arc, Mutex, Weak};

use crate::exposition::SharedText;

use super::lock;

/// Memory of all texts in flight but the newest. If they take more, the oldest responses are cut off.
const MAX_OLD_BYTES: usize = 4 * 1024 * 1024;

/// Slices per write: more than the kernel takes at once.
const MAX_SLICES: usize = 256;

/// The text of a response in flight; `None` once it was dropped as too old.
type HeldText = Mutex<Option<Arc<SharedText>>>;

/// The texts of all responses in flight, the oldest request first.
#[derive(Debug, Default)]
pub(super) struct TextsInFlight(Mutex<Vec<Weak<HeldText>>>);

/// A response, and how much of it is sent.
#[derive(Debug, Default)]
pub(super) struct Response {
    /// The head and the beginning of the body.
    start: Vec<u8>,
    text: Option<Arc<HeldText>>,
    gzip: bool,
    tail: Vec<u8>,
    /// The slice to send next: 0 is `start`, then the text's segments, then `tail`.
    next_slice: usize,
    /// Bytes of that slice that are sent.
    offset: usize,
}

impl TextsInFlight {
    /// Adds the newest text. Drops the oldest texts if the older ones take more than [`MAX_OLD_BYTES`],
    /// not counting segments that the newest one shares.
    fn add(&self, newest: Arc<SharedText>) -> Arc<HeldText> {
        let mut seen = vec![Arc::as_ptr(&newest)];
        let mut counted: HashSet<_> = HashSet::new();
        let mut old_bytes = 0;
        let mut all = lock(&self.0);
        all.retain(|held| held.strong_count() > 0);
        for held in all.iter().rev().filter_map(Weak::upgrade) {
            let mut held = lock(&held);
            let Some(text) = held.as_ref() else { continue };
            if seen.contains(&Arc::as_ptr(text)) {
                continue;
            }
            if counted.is_empty() {
                counted.extend(newest.segments().iter().map(Arc::as_ptr));
            }
            seen.push(Arc::as_ptr(text));
            let segments = text.segments().iter();
            let new = segments.filter(|segment| counted.insert(Arc::as_ptr(segment)));
            old_bytes += new.map(|segment| segment.memory()).sum::<usize>();
            if old_bytes > MAX_OLD_BYTES {
                *held = None;
            }
        }
        let held = Arc::new(Mutex::new(Some(newest)));
        all.push(Arc::downgrade(&held));
        held
    }
}

impl Response {
    /// A response without a text.
    pub(super) fn new(start: Vec<u8>) -> Self {
        Self {
            start,
            ..Self::default()
        }
    }

    /// A response with a text, plain or deflated, between `start` and `tail`.
    pub(super) fn with_text(
        start: Vec<u8>,
        text: Arc<SharedText>,
        gzip: bool,
        tail: Vec<u8>,
        texts: &TextsInFlight,
    ) -> Self {
        Self {
            text: Some(texts.add(text)),
            gzip,
            tail,
            ..Self::new(start)
        }
    }

    /// Writes as much as the kernel takes at once, without copying. The socket must not block. Returns
    /// whether all is sent. Between calls the text may be dropped.
    ///
    /// # Errors
    /// `WouldBlock` if the kernel takes nothing; `TimedOut` if the text was dropped.
    pub(super) fn send(&mut self, client: &TcpStream) -> io::Result<bool> {
        let too_old = || io::Error::new(ErrorKind::TimedOut, "its text is too old by now");
        let text = self
            .text
            .as_ref()
            .map(|held| lock(held).clone().ok_or_else(too_old));
        let text = text.transpose()?;
        let segments = text.as_ref().map_or(&[][..], |text| text.segments());
        let slices = once(&self.start[..])
            .chain(segments.iter().map(|segment| segment.bytes(self.gzip)))
            .chain(once(&self.tail[..]));
        let mut slices = slices.skip(self.next_slice);
        let first = slices.next().map(|slice| &slice[self.offset..]);
        let slices = first.into_iter().chain(slices).take(MAX_SLICES);
        let slices: Vec<_> = slices.map(IoSlice::new).collect();
        let mut sent = (&*client).write_vectored(&slices)?;
        for slice in &slices {
            if sent < slice.len() {
                self.offset += sent;
                return Ok(false);
            }
            sent -= slice.len();
            (self.next_slice, self.offset) = (self.next_slice + 1, 0);
        }
        Ok(self.next_slice == segments.len() + 2)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    use rustix::net::sockopt::set_socket_send_buffer_size;

    use super::*;

    fn response(text: impl Into<Arc<SharedText>>, texts: &TextsInFlight) -> Response {
        Response::with_text(b"<".into(), text.into(), false, b">".into(), texts)
    }

    fn text(letter: &str) -> SharedText {
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

    /// A text in segments, of which the first, some others and the last are empty.
    fn in_segments(count: usize, length: usize) -> SharedText {
        let segments = (0..count).flat_map(|number| {
            let letter = char::from(b'a' + u8::try_from(number % 26).unwrap());
            let segment = letter.to_string().repeat(length);
            [String::new(), segment, String::new()]
        });
        let segments: Vec<_> = segments.map(|it| Arc::new(it.into())).collect();
        segments.into()
    }

    #[test]
    fn a_response_is_sent_to_its_end_as_fast_as_the_client_reads() {
        for (count, length) in [(0, 0), (1, 0), (1, 5), (1000, 10), (100, 300_000)] {
            let texts = TextsInFlight::default();
            let text = Arc::new(in_segments(count, length));
            let mut response = response(Arc::clone(&text), &texts);
            let (mut client, server) = connection();
            set_socket_send_buffer_size(&server, 100_000).unwrap();
            let taken = thread::spawn(move || {
                let mut taken = String::new();
                client.read_to_string(&mut taken).map(|_| taken)
            });
            loop {
                match response.send(&server) {
                    Ok(true) => break,
                    Err(error) if error.kind() != ErrorKind::WouldBlock => panic!("{error}"),
                    _ => thread::yield_now(),
                }
            }
            drop((server, response));
            let want = format!("<{}>", text.plain());
            assert!(taken.join().unwrap().unwrap() == want, "{count} {length}");
        }
        let (mut client, server) = connection();
        assert!(Response::new(b"alone".into()).send(&server).unwrap());
        drop(server);
        let mut taken = String::new();
        client.read_to_string(&mut taken).unwrap();
        assert_eq!(taken, "alone");
    }

    #[test]
    fn old_texts_are_dropped_and_the_newest_ones_stay() {
        let texts = TextsInFlight::default();
        let (_client, server) = connection();
        set_socket_send_buffer_size(&server, 0).unwrap();
        let mut first = response(text("a"), &texts);
        let error = loop {
            if let Err(error) = first.send(&server) {
                break error;
            }
        };
        // A client that reads nothing does not keep its text alive.
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let others = ["b", "c", "d", "e"].map(|letter| response(text(letter), &texts));
        assert_eq!(first.send(&server).unwrap_err().kind(), ErrorKind::TimedOut);
        // The newest, and 4 MiB before it.
        let is_held = |it: &Response| lock(it.text.as_ref().unwrap()).is_some();
        assert_eq!(others.each_ref().map(is_held), [false, false, true, true]);
    }

    #[test]
    fn any_number_of_clients_may_read_one_text() {
        let texts = TextsInFlight::default();
        let text: Arc<SharedText> = Arc::new("x".repeat(20 * 1024 * 1024).into());
        let responses: Vec<_> = (0..64)
            .map(|_| response(Arc::clone(&text), &texts))
            .collect();
        drop(text);
        let (_client, server) = connection();
        for mut response in responses {
            let sent = response.send(&server);
            assert!(!matches!(sent, Err(error) if error.kind() == ErrorKind::TimedOut));
        }
    }
}
