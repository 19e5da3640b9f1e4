//! Has `tiny_http` parse request lines, through a private connection.
//!
//! `tiny_http` is not exposed to the network: there it waits forever for a head that does not come and
//! for a client that does not read, panics when a connection is reset, and allocates as many bytes as a
//! `Content-Length` says. Here it gets one valid request line after another, without bodies.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::catch_unwind;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname, listen,
    socket_with,
};
use tiny_http::{HTTPVersion, Method, Request, Server};

use crate::publication::{Publication, Published};

/// A request line is parsed in microseconds. After this the parser is restarted.
const PARSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before the next attempt to start a parser.
const START_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The headers after each request line. Without keep-alive, an HTTP/1.0 one would end the connection.
const HEADERS: &[u8] = b"\r\nConnection: keep-alive\r\n\r\n";

/// A request line that `tiny_http` has parsed, and what was published at that moment.
pub(super) struct ParsedRequest {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) version: HTTPVersion,
    pub(super) published: Published,
}

/// A request line, and where to send the result.
type ParseJob = (Vec<u8>, SyncSender<ParsedRequest>);

/// Sends request lines to the parser's thread.
pub(super) struct ParserHandle(Sender<ParseJob>);

impl ParserHandle {
    pub(super) fn new() -> (Self, Receiver<ParseJob>) {
        let (sender, jobs) = channel();
        (Self(sender), jobs)
    }

    /// Parses a request line, after those that were sent before.
    ///
    /// # Errors
    /// If the parser fails.
    pub(super) fn parse(&self, line: Vec<u8>) -> io::Result<ParsedRequest> {
        let (sender, parsed) = sync_channel(1);
        let failed = || io::Error::other("tiny_http failed to parse the request line");
        self.0.send((line, sender)).map_err(|_| failed())?;
        parsed.recv().map_err(|_| failed())
    }
}

/// A `tiny_http` server with its only client.
pub(super) struct RequestParser {
    client: UnixStream,
    /// Leaked, because its `drop` asks for the path of its socket, which has none, and panics.
    server: &'static Server,
}

impl RequestParser {
    /// Starts the server and connects to it.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn start() -> io::Result<Self> {
        loop {
            match Self::try_start() {
                // Another process has connected first: drop this socket.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn try_start() -> io::Result<Self> {
        let socket = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let listener = socket(SocketFlags::CLOEXEC)?;
        // A scratch image has no place for a socket file: the kernel chooses an abstract name.
        bind(&listener, &SocketAddrUnix::new_unnamed())?;
        // The backlog is one connection, so either it is ours or connecting fails.
        listen(&listener, 0)?;
        let client = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        connect(&client, &getsockname(&listener)?)?;
        let client = UnixStream::from(client);
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(PARSE_TIMEOUT))?;
        // No one else can connect. The connection in the backlog can still be accepted.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both)?;
        // It panics if it cannot start a thread.
        let server = catch_unwind(|| Server::from_listener(UnixListener::from(listener), None));
        let server = server.map_err(|_| io::Error::other("there is no thread for tiny_http"))?;
        Ok(Self {
            client,
            server: Box::leak(Box::new(server.map_err(io::Error::other)?)),
        })
    }

    /// Parses the request lines that come in, until all handles are dropped.
    pub(super) fn run(mut self, jobs: &Receiver<ParseJob>, publication: &Publication) {
        for (line, sender) in jobs {
            match self.parse(&line) {
                Ok(request) => {
                    let parsed = ParsedRequest {
                        method: request.method().clone(),
                        target: request.url().to_owned(),
                        version: request.http_version().clone(),
                        published: publication.latest(),
                    };
                    drop(request.into_writer()); // Otherwise `tiny_http` would answer it.
                    let _ = sender.send(parsed); // The caller waits for it.
                }
                Err(error) => {
                    log::warn!("the HTTP server is started anew, since it failed: {error}");
                    self = Self::restart();
                }
            }
        }
    }

    fn restart() -> Self {
        loop {
            match Self::start() {
                Ok(parser) => return parser,
                Err(error) => log::warn!("the HTTP server cannot be started: {error}"),
            }
            thread::sleep(START_RETRY_DELAY);
        }
    }

    /// Parses a request line. After an error the parser cannot be used any more.
    ///
    /// # Errors
    /// The operating system's, and `TimedOut`.
    fn parse(&mut self, line: &[u8]) -> io::Result<Request> {
        let deadline = Instant::now() + PARSE_TIMEOUT;
        self.client.write_all(&[line, HEADERS].concat())?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.server.recv_timeout(left) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => return Err(io::ErrorKind::TimedOut.into()),
                // It reports once that its listener was shut down.
                Err(_) => {}
            }
        }
    }
}

impl Drop for RequestParser {
    fn drop(&mut self) {
        // Ends the server's thread. This fails if it has ended already.
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_parsed_one_after_another() {
        let mut parser = RequestParser::start().unwrap();
        for number in 0..100 {
            let version = number % 2;
            let line = format!("GET /{number} HTTP/1.{version}");
            let request = parser.parse(line.as_bytes()).unwrap();
            assert_eq!(request.url(), format!("/{number}"));
            assert_eq!(request.http_version().1, version);
            drop(request.into_writer());
        }
    }

    #[test]
    fn nobody_else_can_connect() {
        let mut parser = RequestParser::start().unwrap();
        let name = parser.client.peer_addr().unwrap();
        let refused = |when| {
            let error = UnixStream::connect_addr(&name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{when}");
        };
        refused("before the first request");
        let request = parser.parse(b"GET / HTTP/1.1").unwrap();
        refused("while it is parsed");
        drop(request.into_writer());
        refused("after it");
    }

    #[test]
    fn each_caller_gets_its_own_request_also_after_a_restart() {
        let parser = RequestParser::start().unwrap();
        let client = parser.client.try_clone().unwrap();
        let (handle, jobs) = ParserHandle::new();
        thread::spawn(move || parser.run(&jobs, &Publication::default()));
        let parse = |target: &str| handle.parse(format!("GET {target} HTTP/1.1").into());
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    for again in 0..50 {
                        let target = format!("/{number}/{again}");
                        assert_eq!(parse(&target).unwrap().target, target);
                    }
                });
            }
        });
        client.shutdown(Shutdown::Both).unwrap();
        assert!(parse("/broken").is_err());
        assert_eq!(parse("/again").unwrap().target, "/again");
    }
}
