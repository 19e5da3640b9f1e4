//! The Docker Engine, as far as this program asks it anything: four paths, all by GET.

mod address;
mod error;
mod event;
mod info;
mod json;
mod signal;
mod status;
mod stream;
mod value;

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use jiff::{SignedDuration, Timestamp};
use prometheus::IntCounter;

use crate::deadline::Stream;
use crate::http::{self, Connection, Head};

pub use address::Address;
pub use error::{Complaint, Error, Kind};
pub use event::{Action, Event};
pub use info::{EngineInfo, Identity, Info};
pub use json::{Inspected, Listed, listing};
pub use signal::{Signals, signal_name};
pub use status::{Age, State, Status};
pub use stream::{Line, Lines};
pub use value::Labels;

/// The bounds on one request to the Engine, each with its reason.
pub mod limits {
    use std::time::Duration;

    /// From connecting to the last byte of a listing. A busy daemon with 1,000 containers takes
    /// 0.1 s; one that takes longer than this is stuck.
    pub const LISTING: Duration = Duration::from_secs(30);
    /// The same for one container or for `/info`.
    pub const INSPECT: Duration = Duration::from_secs(10);
    /// The body of an inspect or of `/info`, in bytes. Usual are 5 KB; labels can make it larger.
    pub const INSPECT_BYTES: usize = 16 * 1024 * 1024;
    /// Containers of one listing.
    pub const CONTAINERS: usize = 200_000;
    /// A container's id, name, image or another of its texts, in bytes of JSON: what is longer is
    /// taken for absent.
    pub const TEXT_BYTES: usize = 4 * 1024;
    /// The labels of one container with their keys, in bytes: what does not fit is left out.
    pub const LABELS_BYTES: usize = 64 * 1024;
    /// One line of the event stream, in bytes: an event repeats its container's labels.
    pub const EVENT_LINE_BYTES: usize = 1024 * 1024;
    /// The body of an error, or why a start failed, in bytes; what is longer is not read.
    pub const ERROR_BYTES: usize = 64 * 1024;
}

/// Up to here two clocks are taken for one.
const SAME_CLOCK: SignedDuration = SignedDuration::from_secs(3);

/// A connected socket of either family.
type Socket = Box<dyn Stream + Send>;

const LIST: &str = "/containers/json?all=1";
const INFO: &str = "/info";

/// A listing: every container of the host, at one moment.
#[derive(Debug)]
pub struct Listing<'a> {
    /// The containers, in the Engine's order.
    pub containers: Vec<Listed<'a>>,
    /// Which Engine answered.
    pub identity: Identity,
    /// When, by its clock.
    pub answered: Timestamp,
}

/// A client of one Engine. It keeps one connection alive and opens a new one when that is gone.
pub struct Engine {
    address: Address,
    /// The `Host` of each request.
    host: String,
    connection: Option<Connection<Socket>>,
    connecting: Connecting,
    requests: IntCounter,
    /// The last body that was read; kept for its memory.
    body: Vec<u8>,
    /// How far the Engine's clock is ahead of this host's.
    ahead: SignedDuration,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.address)
    }
}

impl Engine {
    /// A client that connects when it is first asked. `requests` counts what is sent.
    #[must_use]
    pub fn new(address: Address, requests: IntCounter) -> Self {
        let host = match &address {
            Address::Unix(_) => "docker".to_owned(),
            Address::Tcp(host_and_port) => host_and_port.clone(),
        };
        Self {
            address,
            host,
            connection: None,
            connecting: Connecting::default(),
            requests,
            body: Vec::new(),
            ahead: SignedDuration::ZERO,
        }
    }

    /// How far the Engine's clock is ahead of this host's, by the last answer.
    #[must_use]
    pub fn ahead(&self) -> SignedDuration {
        self.ahead
    }

    /// The time of day by the Engine's clock, to which all that it says refers.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.ahead).unwrap_or(now)
    }

    /// All containers, by one request.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::LISTING`].
    pub fn list(&mut self) -> Result<Listing<'_>, Error> {
        let head = self.get(LIST, limits::LISTING, http::limits::BODY_BYTES)?;
        // A listing that was large once must not hold its memory for ever.
        self.body.shrink_to(2 * self.body.len());
        let identity = Identity::from(&head);
        let answered = self.now();
        // What comes after an answer that is none may be anything.
        let containers =
            parse(LIST, &self.body, listing).inspect_err(|_| self.connection = None)?;
        Ok(Listing {
            containers,
            identity,
            answered,
        })
    }

    /// One container and how its last run ended.
    ///
    /// # Errors
    /// [`Error`], after at most `within`; see [`Error::is_not_found`].
    pub fn inspect(&mut self, id: &str, within: Duration) -> Result<Inspected, Error> {
        let path = format!("/containers/{}/json", escape(id));
        self.get(&path, within, limits::INSPECT_BYTES)?;
        let inspected = parse(&path, &self.body, Inspected::parse);
        let inspected = inspected.inspect_err(|_| self.connection = None)?;
        if inspected.id.as_ref().is_some_and(|it| it != id) {
            self.connection = None;
            return Err(Error {
                path,
                kind: Kind::Json("it is of another container".into()),
            });
        }
        Ok(inspected)
    }

    /// The Engine itself.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::INSPECT`]. Socket proxies often refuse this one.
    pub fn info(&mut self) -> Result<Info, Error> {
        self.get(INFO, limits::INSPECT, limits::INSPECT_BYTES)?;
        parse(INFO, &self.body, Info::parse)
    }

    /// Follows what happens to containers, from `since` on as far as the Engine remembers, over a
    /// connection of its own. It returns only when that breaks.
    pub fn follow(&mut self, since: Timestamp, tell: &mut impl FnMut(Line)) -> Error {
        let deadline = Instant::now() + limits::INSPECT;
        let kind = match self.connect(deadline) {
            Ok(connection) => {
                self.requests.inc();
                let path = stream::path(since);
                let ahead = &mut self.ahead;
                let mut took = |head: &Head| {
                    if let Some(date) = head.header("date") {
                        *ahead = self::ahead(date, Timestamp::now());
                    }
                };
                stream::follow(connection, &self.host, &path, deadline, &mut took, tell)
            }
            Err(kind) => kind,
        };
        Error {
            path: "/events".to_owned(),
            kind,
        }
    }

    /// Asks for `path` and leaves the body of a good answer in `self.body`.
    fn get(&mut self, path: &str, within: Duration, most: usize) -> Result<Head, Error> {
        let deadline = Instant::now() + within;
        let fail = |kind| Error {
            path: path.to_owned(),
            kind,
        };
        if let Some(connection) = self.connection.take() {
            match self.exchange(connection, path, deadline, most) {
                // It had been closed while idle: nothing of the request was answered.
                Err(Kind::Http(error)) if error.closed_unanswered() => {}
                result => return self.let_go(result).map_err(fail),
            }
        }
        let connection = self.connect(deadline).map_err(fail)?;
        let result = self.exchange(connection, path, deadline, most);
        self.let_go(result).map_err(fail)
    }

    /// Gives back the memory of a body that was of no use, which may have been of any size.
    fn let_go<T>(&mut self, result: Result<T, Kind>) -> Result<T, Kind> {
        if result.is_err() {
            self.body = Vec::new();
        }
        result
    }

    fn connect(&mut self, deadline: Instant) -> Result<Connection<Socket>, Kind> {
        let stream = match &self.address {
            Address::Unix(path) => {
                let stream = self.connecting.connect(path, deadline);
                stream.map(|stream| Box::new(stream) as Socket)
            }
            Address::Tcp(host_and_port) => {
                connect_tcp(host_and_port, deadline).map(|stream| Box::new(stream) as Socket)
            }
        };
        stream
            .map(Connection::new)
            .map_err(|error| error::unreachable(&self.address, &error))
    }

    fn exchange(
        &mut self,
        mut connection: Connection<Socket>,
        path: &str,
        deadline: Instant,
        most: usize,
    ) -> Result<Head, Kind> {
        self.requests.inc();
        self.body.clear();
        let (head, mut body) = connection
            .get(&self.host, path, Some(deadline))
            .map_err(Kind::Http)?;
        if let Some(date) = head.header("date") {
            self.ahead = ahead(date, Timestamp::now());
        }
        let result = if head.status == 200 {
            body.read_to_end(&mut self.body, most).map_err(Kind::Http)?;
            Ok(head)
        } else {
            Err(error::refused(&head, body))
        };
        if connection.is_idle() {
            self.connection = Some(connection);
        }
        result
    }
}

/// How far a clock that shows this date (RFC 9110, 5.6.7) is ahead of `now`; nothing if that may be
/// due to the whole seconds of the one, and the answer's way.
fn ahead(date: &str, now: Timestamp) -> SignedDuration {
    let date = jiff::fmt::rfc2822::parse(date).map(|date| date.timestamp());
    let ahead = date.map_or(SignedDuration::ZERO, |date| date.duration_since(now));
    if ahead.abs() <= SAME_CLOCK {
        return SignedDuration::ZERO;
    }
    ahead
}

/// Connects to a Unix socket within a deadline, which the system does not offer: it waits for as
/// long as the other side accepts nobody. So a thread waits, one at most.
#[derive(Default)]
struct Connecting {
    waiting: Option<Receiver<io::Result<UnixStream>>>,
}

impl Connecting {
    fn connect(&mut self, path: &Path, deadline: Instant) -> io::Result<UnixStream> {
        let waiting = if let Some(waiting) = self.waiting.take() {
            waiting
        } else {
            let (sender, waiting) = mpsc::sync_channel(1);
            let path = path.to_owned();
            let connect = move || {
                // Nobody may wait for it any more.
                let _ = sender.send(UnixStream::connect(path));
            };
            let thread = thread::Builder::new().name("connect".into());
            thread.spawn(connect)?;
            waiting
        };
        match waiting.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.waiting = Some(waiting);
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("no thread connects")),
        }
    }
}

fn connect_tcp(host_and_port: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for address in host_and_port.to_socket_addrs()? {
        let left = deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .ok_or(io::ErrorKind::TimedOut)?;
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn parse<'a, T>(
    path: &str,
    body: &'a [u8],
    parse: impl FnOnce(&'a str) -> serde_json::Result<T>,
) -> Result<T, Error> {
    let result = match std::str::from_utf8(body) {
        Ok(text) => parse(text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    result.map_err(|why| Error {
        path: path.to_owned(),
        kind: Kind::Json(why),
    })
}

/// An id as part of a path. Engines send hexadecimal ones; anything else must not form a request.
fn escape(id: &str) -> String {
    let mut path = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => path.push(char::from(byte)),
            byte => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let now = Timestamp::from_second(1_795_336_870).unwrap();
        for (date, want) in [
            ("Sun, 22 Nov 2026 08:41:10 GMT", 0),
            ("Sun, 22 Nov 2026 08:41:08 GMT", 0),
            ("Sun, 22 Nov 2026 09:41:10 GMT", 3600),
            ("Sun, 22 Nov 2026 08:41:00 GMT", -10),
            ("yesterday", 0),
            ("", 0),
        ] {
            assert_eq!(ahead(date, now).as_secs(), want, "{date}");
        }
    }
}
