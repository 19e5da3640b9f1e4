//! The gate before `tiny_http`: it takes the connections from the network, reads each request's
//! head, hands on the request line, and answers.
//!
//! `tiny_http` waits for ever for a head that does not come and for a client that takes no answer,
//! reads requests ahead without end, panics when a client resets its connection, accepts nobody any
//! more after one error, allocates as many bytes as a `Content-Length` says, which ends the process,
//! and never gets over an HTTP/2.0 request. Behind the gate it sees a few local connections, with one
//! good request line each, one header, and no body, and writes the heads of the answers to memory.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::deadline::Deadline;
use crate::process;

use super::backend::Backend;
use super::connections::{Connection, Connections, Turn};
use super::request::{HEAD_BYTES, Request};
use super::{Answer, Site};

/// Connections at a time. Prometheus needs one.
const CONNECTIONS: usize = 64;

/// Connections that wait to be accepted, as far as the system allows.
const WAITING: i32 = 4096;

/// Descriptors that one connection takes: its socket, the two ends of the local one, of which
/// `tiny_http` has one twice, and a file of `/proc` while it is answered.
const DESCRIPTORS: usize = 5;

/// Descriptors for everything else: the Engine, the log, the listeners, some to spare.
const OTHER_DESCRIPTORS: usize = 32;

/// Threads that one connection takes: its own, and one of `tiny_http`.
const THREADS: usize = 2;

/// Threads for everything else.
const OTHER_THREADS: usize = 16;

/// From a request's first byte, or the connection's beginning, to the end of its head.
const HEAD: Duration = Duration::from_secs(5);

/// Between an answer and the next request.
const IDLE: Duration = Duration::from_secs(60);

/// A client that takes nothing of its answer for so long is gone.
const STALLED: Duration = Duration::from_secs(5);

/// From the first to the last byte of an answer. Prometheus itself gives up before.
const ANSWER_TAKEN: Duration = Duration::from_secs(60);

/// A client that has more to say than is read is given so long to take its answer: closing the
/// connection at once would take the answer back.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that such a client may send meanwhile.
const UNREAD: u64 = 256 * 1024;

/// After an error of `accept`.
const PAUSE: Duration = Duration::from_millis(100);

/// The thread of a client that is sent away is gone after so long.
const THREAD_ENDS: Duration = Duration::from_millis(5);

/// Bytes of a text that a client is waited for to take.
const PIECE: usize = 16 * 1024;

/// The answer to what `tiny_http` is not to see.
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// An answer takes some 30 KB, but the compressor's state is made on the stack, which takes over
/// 256 KB of it in a program that is not optimised.
const STACK: usize = 1024 * 1024;

/// Takes connections for as long as the process lives.
pub(super) struct Gate {
    listener: TcpListener,
    backend: Arc<Backend>,
    connections: Arc<Connections>,
    site: Arc<Site>,
}

impl Gate {
    /// A gate before `backend`. It takes as many connections as the limits on this process's open
    /// files and threads let it, 64 at most.
    pub(super) fn new(listener: TcpListener, backend: Arc<Backend>, site: Site) -> Self {
        // std has 128 wait to be accepted, and who comes then is heard a second later.
        if let Err(error) = rustix::net::listen(&listener, WAITING) {
            log::debug!("the listener's queue stays short: {error}");
        }
        let descriptors = process::max_descriptors().unwrap_or(usize::MAX);
        let threads = process::max_threads().unwrap_or(usize::MAX);
        let most = (descriptors.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS)
            .min(threads.saturating_sub(OTHER_THREADS) / THREADS)
            .clamp(2, CONNECTIONS);
        if most < CONNECTIONS {
            log::warn!(
                "{most} HTTP connections at a time, since {descriptors} files may be open, \
                 and there may be {threads} threads"
            );
        }
        Self {
            listener,
            backend,
            connections: Connections::new(most, &site.telemetry),
            site: Arc::new(site),
        }
    }

    /// Accepts, whatever happens.
    pub(super) fn run(self) -> ! {
        let mut said = false;
        loop {
            match self.listener.accept() {
                Ok((client, _)) => {
                    said = false;
                    self.admit(client);
                }
                // It left before its turn.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        log::warn!("no HTTP connection can be taken: {error}");
                    }
                    self.connections.make_room();
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn admit(&self, client: TcpStream) {
        let place = self.connections.enter(client);
        let backend = Arc::clone(&self.backend);
        let site = Arc::clone(&self.site);
        let thread = thread::Builder::new().name("connection".into());
        let run = move || {
            if let Err(error) = converse(&place, &backend, &site) {
                log::debug!("a client is sent away: {error}");
                if is_refusal(&error) && !place.was_sent_away() {
                    site.telemetry.connections_refused.inc();
                }
            }
        };
        if let Err(error) = thread.stack_size(STACK).spawn(run) {
            log::debug!("no thread for a client: {error}");
            self.site.telemetry.connections_refused.inc();
            // The next one is to have a thread.
            self.connections.make_room();
            thread::sleep(THREAD_ENDS);
        }
    }
}

/// Whether it is the gate that ends the connection, and not the client.
fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::InvalidData
    )
}

/// Answers a client's requests, one after the other.
fn converse(connection: &Connection, backend: &Backend, site: &Site) -> io::Result<()> {
    let client = connection.client();
    // Else the end of an answer waits up to 40 ms for the client's acknowledgement of its beginning.
    client.set_nodelay(true)?;
    let mut input = Vec::new();
    let mut wait = HEAD;
    while let Some(request) = read(client, &mut input, wait)? {
        connection.is_to(Turn::Answer);
        // Who has reset the connection meanwhile is not answered.
        if let Some(error) = client.take_error()? {
            return Err(error);
        }
        if let Some(line) = &request.line {
            let line = backend.read(line)?;
            let answer = site.answer(&line, request.takes_gzip)?;
            drop(line.into_writer()); // Else `tiny_http` would answer it.
            give(connection, answer)?;
        } else {
            site.telemetry.answered(400);
            refuse(client)?;
        }
        // While others wait for a place, nobody keeps one for more than an answer.
        if !request.keeps_alive || connection.is_crowded() {
            connection.is_to(Turn::Ask);
            return linger(client);
        }
        connection.is_to(Turn::Ask);
        wait = IDLE;
    }
    Ok(())
}

/// The next request; `None` if the client left, or was silent for as long as `patience`.
fn read(
    client: &TcpStream,
    input: &mut Vec<u8>,
    patience: Duration,
) -> io::Result<Option<Request>> {
    let mut stream = Deadline::new(client);
    let mut piece = [0; 2048];
    let mut begun = !input.is_empty();
    stream.set(Some(Instant::now() + if begun { HEAD } else { patience }));
    loop {
        if let Some(request) = Request::take(input) {
            return Ok(Some(request));
        }
        if input.len() >= HEAD_BYTES {
            let why = format!("the request's head is larger than {HEAD_BYTES} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        match stream.read(&mut piece) {
            Ok(0) => return Ok(None),
            Ok(count) => input.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if !begun && is_refusal(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        if !begun && !input.is_empty() {
            begun = true;
            stream.set(Some(Instant::now() + HEAD));
        }
    }
}

/// Has the client take an answer.
fn give(connection: &Connection, answer: Answer) -> io::Result<()> {
    let mut taker = Taker {
        connection,
        client: Deadline::new(connection.client()),
        end: Instant::now() + ANSWER_TAKEN,
    };
    taker.take(&answer.start)?;
    if let Some(mut text) = answer.text {
        let mut piece = [0; PIECE];
        loop {
            connection.is_to(Turn::Take);
            match text.send(connection.client()) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let count = text.read(&mut piece)?;
                    taker.take(&piece[..count])?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    taker.take(&answer.end)
}

/// A client that takes an answer.
struct Taker<'a> {
    connection: &'a Connection,
    client: Deadline<&'a TcpStream>,
    end: Instant,
}

impl Taker<'_> {
    /// Waits until it has taken all of this.
    fn take(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.connection.is_to(Turn::Take);
            let stalled = Instant::now() + STALLED;
            self.client.set(Some(self.end.min(stalled)));
            match self.client.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Answers what is not to be handed on.
fn refuse(client: &TcpStream) -> io::Result<()> {
    let mut client = Deadline::new(client);
    client.set(Some(Instant::now() + STALLED));
    client.write_all(BAD_REQUEST)
}

/// Ends a connection without taking back the answer, which happens where something is left unread.
fn linger(client: &TcpStream) -> io::Result<()> {
    client.shutdown(Shutdown::Write)?;
    let mut stream = Deadline::new(client);
    stream.set(Some(Instant::now() + LINGER));
    // Its end, an error and the deadline are all the same here.
    let _ = io::copy(&mut stream.take(UNREAD), &mut io::sink());
    Ok(())
}
