//! The gate before `tiny_http`: it takes the connections from the network, reads each request's
//! head, hands on the request line and whether gzip is taken, and passes the answer back.
//!
//! `tiny_http` waits for ever for a head that does not come and for a client that takes no answer,
//! reads requests ahead without end, panics when a client resets its connection, accepts nobody any
//! more after one error, allocates as many bytes as a `Content-Length` says, which ends the process,
//! and never gets over an HTTP/2.0 request. Behind the gate it sees a few local connections, with one
//! good request line each, one header at most, and no body.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::Deadline;
use crate::process;
use crate::telemetry::Telemetry;

use super::backend::Backend;
use super::connections::{Connection, Connections, Turn};
use super::request::{HEAD_BYTES, Request};

/// Connections at a time. Prometheus needs one.
const CONNECTIONS: usize = 64;

/// Connections that wait to be accepted, as far as the system allows.
const WAITING: i32 = 4096;

/// Descriptors that one connection takes: its socket, the two ends of the local one, of which
/// `tiny_http` has one twice, and a file of `/proc` while it is answered.
const DESCRIPTORS: usize = 5;

/// Descriptors for everything else: the Engine, the log, the listeners, some to spare.
const OTHER_DESCRIPTORS: usize = 32;

/// Threads that one connection takes: its own, one of `tiny_http`, one that answers.
const THREADS: usize = 3;

/// Threads for everything else.
const OTHER_THREADS: usize = 16;

/// From a request's first byte, or the connection's beginning, to the end of its head.
const HEAD: Duration = Duration::from_secs(5);

/// Between an answer and the next request.
const IDLE: Duration = Duration::from_secs(60);

/// The server behind answers in milliseconds. After this it is taken to be broken.
const ANSWER: Duration = Duration::from_secs(5);

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

/// Bytes of an answer that are passed on at a time.
const PIECE: usize = 16 * 1024;

/// The answer to what `tiny_http` is not to see.
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A thread here calls nothing that goes deep.
const STACK: usize = 128 * 1024;

/// Takes connections for as long as the process lives.
pub(super) struct Gate {
    listener: TcpListener,
    backend: Arc<Backend>,
    connections: Arc<Connections>,
    telemetry: Telemetry,
}

impl Gate {
    /// A gate before `backend`. It takes as many connections as the limits on this process's open
    /// files and threads let it, 64 at most.
    pub(super) fn new(listener: TcpListener, backend: Arc<Backend>, telemetry: Telemetry) -> Self {
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
            connections: Connections::new(most, &telemetry),
            telemetry,
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
        let telemetry = self.telemetry.clone();
        let thread = thread::Builder::new().name("connection".into());
        let run = move || {
            if let Err(error) = converse(&place, &backend, &telemetry) {
                log::debug!("a client is sent away: {error}");
                if is_refusal(&error) && !place.was_sent_away() {
                    telemetry.connections_refused.inc();
                }
            }
        };
        if let Err(error) = thread.stack_size(STACK).spawn(run) {
            log::debug!("no thread for a client: {error}");
            self.telemetry.connections_refused.inc();
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
fn converse(connection: &Connection, backend: &Backend, telemetry: &Telemetry) -> io::Result<()> {
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
            answer(connection, backend, line, request.takes_gzip)?;
        } else {
            telemetry.answered(400);
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

/// Has one request answered, and passes the answer on as it comes.
fn answer(connection: &Connection, backend: &Backend, line: &[u8], gzip: bool) -> io::Result<()> {
    let backend = backend.current();
    let mut server = Deadline::new(backend.connect()?);
    server.set(Some(Instant::now() + ANSWER));
    let accepts: &[u8] = if gzip {
        b"\r\nAccept-Encoding: gzip"
    } else {
        b""
    };
    server.write_all(&[line, accepts, b"\r\n\r\n"].concat())?;
    // No other request follows, so nobody is to wait for one.
    server.get_ref().shutdown(Shutdown::Write)?;
    let mut client = Deadline::new(connection.client());
    let end = Instant::now() + ANSWER_TAKEN;
    let mut piece = vec![0; PIECE];
    let mut passed = 0;
    let mut length = None;
    loop {
        server.set(Some(Instant::now() + ANSWER));
        let count = match server.read(&mut piece) {
            Ok(0) if length == Some(passed) || line.starts_with(b"HEAD ") => return Ok(()),
            // Its text became too old meanwhile.
            Ok(0) => return Err(ErrorKind::TimedOut.into()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                if is_refusal(&error) {
                    backend.give_up();
                }
                return Err(error);
            }
        };
        if passed == 0 {
            length = length_of(&piece[..count]);
        }
        passed += count;
        let mut rest = &piece[..count];
        while !rest.is_empty() {
            connection.is_to(Turn::Take);
            client.set(Some(end.min(Instant::now() + STALLED)));
            match client.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => rest = &rest[taken..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        connection.is_to(Turn::Answer);
    }
}

/// How long an answer is that begins so. `tiny_http` writes a head at once, and its length into it.
fn length_of(start: &[u8]) -> Option<usize> {
    let end = start.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&start[..end]).ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?;
    Some(end + 4 + length.parse::<usize>().ok()?)
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
