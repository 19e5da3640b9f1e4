//! `tiny_http` behind one connection that nobody else can have.
//!
//! On a network, `tiny_http` waits for ever for a head that does not come and for a client that takes
//! no answer, panics when a connection is reset, and allocates as many bytes as a `Content-Length`
//! says. Here it reads one good request line after the other, without a body, and that is all it does.

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

/// A request is read in microseconds. After this the lane is taken to be broken.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// What follows a request line: an HTTP/1.0 one would end the connection otherwise.
const HEADERS: &[u8] = b"\r\nConnection: keep-alive\r\n\r\n";

/// Before a lane that could not be opened is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A request as `tiny_http` has read it, and what was published at that moment.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) version: HTTPVersion,
    pub(super) published: Published,
}

/// A request line, and who waits for it.
type Question = (Vec<u8>, SyncSender<Asked>);

/// The way to the lane, for all who have a request.
#[derive(Clone)]
pub(super) struct Questions(Sender<Question>);

impl Questions {
    pub(super) fn new() -> (Self, Receiver<Question>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }

    /// Has a request line read, after those of others.
    ///
    /// # Errors
    /// If the lane broke over it.
    pub(super) fn ask(&self, line: Vec<u8>) -> io::Result<Asked> {
        let (sender, asked) = sync_channel(1);
        let broken = || io::Error::other("tiny_http did not read the request");
        self.0.send((line, sender)).map_err(|_| broken())?;
        asked.recv().map_err(|_| broken())
    }
}

/// A server with its one client.
pub(super) struct Lane {
    client: UnixStream,
    /// Never dropped: it would ask for the path of its socket, which has none, and panic.
    server: &'static Server,
}

impl Lane {
    /// A server with its client.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn open() -> io::Result<Self> {
        loop {
            match Self::open_one() {
                // Another process was quicker to connect, and is let go.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                opened => return opened,
            }
        }
    }

    fn open_one() -> io::Result<Self> {
        let socket = |flags| socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let listener = socket(SocketFlags::CLOEXEC)?;
        // A scratch image has no place for a file: the kernel gives it an abstract name.
        bind(&listener, &SocketAddrUnix::new_unnamed())?;
        // One connection may wait to be accepted, and it is ours or there is no lane.
        listen(&listener, 0)?;
        let client = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        connect(&client, &getsockname(&listener)?)?;
        let client = UnixStream::from(client);
        client.set_nonblocking(false)?;
        client.set_write_timeout(Some(READ_TIMEOUT))?;
        // Nobody can connect any more. What waits is still accepted.
        rustix::net::shutdown(&listener, rustix::net::Shutdown::Both)?;
        // It panics where it can have no thread.
        let server = catch_unwind(|| Server::from_listener(UnixListener::from(listener), None));
        let server = server.map_err(|_| io::Error::other("there is no thread for tiny_http"))?;
        Ok(Self {
            client,
            server: Box::leak(Box::new(server.map_err(io::Error::other)?)),
        })
    }

    /// Takes one question after the other, in one thread.
    pub(super) fn serve(mut self, questions: &Receiver<Question>, publication: &Publication) {
        for (line, sender) in questions {
            match self.read(&line) {
                Ok(request) => {
                    let asked = Asked {
                        method: request.method().clone(),
                        target: request.url().to_owned(),
                        version: request.http_version().clone(),
                        published: publication.get(),
                    };
                    drop(request.into_writer()); // Else `tiny_http` would answer it.
                    // Who asked waits for it.
                    let _ = sender.send(asked);
                }
                Err(error) => {
                    log::warn!("the HTTP server is started anew, since it failed: {error}");
                    self = Self::reopen();
                }
            }
        }
    }

    fn reopen() -> Self {
        loop {
            match Self::open() {
                Ok(lane) => return lane,
                Err(error) => log::warn!("the HTTP server cannot be started: {error}"),
            }
            thread::sleep(PAUSE);
        }
    }

    /// Has the server read a request line.
    ///
    /// # Errors
    /// The operating system's, and `TimedOut` if it was not read. The lane is broken then.
    pub(super) fn read(&mut self, line: &[u8]) -> io::Result<Request> {
        let end = Instant::now() + READ_TIMEOUT;
        self.client.write_all(&[line, HEADERS].concat())?;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.server.recv_timeout(left) {
                Ok(Some(request)) => return Ok(request),
                Ok(None) => return Err(io::ErrorKind::TimedOut.into()),
                // Once it says that nobody can connect.
                Err(_) => {}
            }
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Ends the server's thread. It fails where that has ended.
        let _ = self.client.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_after_the_other() {
        let mut lane = Lane::open().unwrap();
        for number in 0..100 {
            let version = number % 2;
            let asked = format!("GET /{number} HTTP/1.{version}");
            let request = lane.read(asked.as_bytes()).unwrap();
            assert_eq!(request.url(), format!("/{number}"));
            assert_eq!(request.http_version().1, version);
            drop(request.into_writer());
        }
    }

    #[test]
    fn nobody_else_can_connect() {
        let mut lane = Lane::open().unwrap();
        let name = lane.client.peer_addr().unwrap();
        let refused = |when| {
            let error = UnixStream::connect_addr(&name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{when}");
        };
        refused("before the first request");
        let request = lane.read(b"GET / HTTP/1.1").unwrap();
        refused("while it is read");
        drop(request.into_writer());
        refused("after it");
    }

    #[test]
    fn each_gets_what_it_asked_for_also_after_the_lane_broke() {
        let lane = Lane::open().unwrap();
        let client = lane.client.try_clone().unwrap();
        let (questions, receiver) = Questions::new();
        thread::spawn(move || lane.serve(&receiver, &Publication::default()));
        let ask = |target: &str| questions.ask(format!("GET {target} HTTP/1.1").into());
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    for again in 0..50 {
                        let target = format!("/{number}/{again}");
                        assert_eq!(ask(&target).unwrap().target, target);
                    }
                });
            }
        });
        client.shutdown(Shutdown::Both).unwrap();
        assert!(ask("/broken").is_err());
        assert_eq!(ask("/again").unwrap().target, "/again");
    }
}
