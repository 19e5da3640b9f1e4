//! The Docker Engine, as far as this program asks it anything: three paths, all by GET.

mod address;
mod error;
mod json;
mod status;

use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{fmt, io};

use prometheus::IntCounter;

use crate::http::{self, Connection, Head, Stream};

pub use address::Address;
pub use error::{Complaint, Error, Kind};
pub use json::{Info, Inspected, Labels, Listed, listing};
pub use status::{Age, State, Status};

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
    /// The body of an error, in bytes; what is longer is not read.
    pub const ERROR_BYTES: usize = 64 * 1024;
}

const LIST: &str = "/containers/json?all=1";
const INFO: &str = "/info";

/// A listing: every container of the host, at one moment.
#[derive(Debug)]
pub struct Listing<'a> {
    /// The containers, in the Engine's order.
    pub containers: Vec<Listed<'a>>,
    /// Which Engine answered.
    pub identity: Identity,
}

/// What the Engine says of itself in the head of each answer. When it changes, another daemon
/// answers than before.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `Api-Version`; empty behind some proxies.
    pub api_version: String,
    /// `Server`, as in `Docker/28.5.2 (linux)`.
    pub server: String,
}

impl From<&Head> for Identity {
    fn from(head: &Head) -> Self {
        let header = |name| head.header(name).unwrap_or_default().to_owned();
        Self {
            api_version: header("api-version"),
            server: header("server"),
        }
    }
}

/// A client of one Engine. It keeps one connection alive and opens a new one when that is gone.
pub struct Engine {
    address: Address,
    /// The `Host` of each request.
    host: String,
    connection: Option<Connection<Box<dyn Stream + Send>>>,
    requests: IntCounter,
    /// The last body that was read; kept for its memory.
    body: Vec<u8>,
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
            requests,
            body: Vec::new(),
        }
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
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
        let containers = parse(LIST, &self.body, listing)?;
        Ok(Listing {
            containers,
            identity,
        })
    }

    /// One container and how its last run ended.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::INSPECT`]; see [`Error::is_not_found`].
    pub fn inspect(&mut self, id: &str) -> Result<Inspected, Error> {
        let path = format!("/containers/{}/json", escape(id));
        self.get(&path, limits::INSPECT, limits::INSPECT_BYTES)?;
        parse(&path, &self.body, Inspected::parse)
    }

    /// The Engine itself.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::INSPECT`]. Socket proxies often refuse this one.
    pub fn info(&mut self) -> Result<Info, Error> {
        self.get(INFO, limits::INSPECT, limits::INSPECT_BYTES)?;
        parse(INFO, &self.body, Info::parse)
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
                result => return result.map_err(fail),
            }
        }
        let connection = self.connect(deadline).map_err(fail)?;
        self.exchange(connection, path, deadline, most)
            .map_err(fail)
    }

    fn connect(&self, deadline: Instant) -> Result<Connection<Box<dyn Stream + Send>>, Kind> {
        let stream = match &self.address {
            Address::Unix(path) => {
                UnixStream::connect(path).map(|stream| Box::new(stream) as Box<dyn Stream + Send>)
            }
            Address::Tcp(host_and_port) => connect_tcp(host_and_port, deadline)
                .map(|stream| Box::new(stream) as Box<dyn Stream + Send>),
        };
        stream
            .map(Connection::new)
            .map_err(|error| error::unreachable(&self.address, &error))
    }

    fn exchange(
        &mut self,
        mut connection: Connection<Box<dyn Stream + Send>>,
        path: &str,
        deadline: Instant,
        most: usize,
    ) -> Result<Head, Kind> {
        self.requests.inc();
        self.body.clear();
        let (head, mut body) = connection
            .get(&self.host, path, Some(deadline))
            .map_err(Kind::Http)?;
        if head.status == 200 {
            body.read_to_end(&mut self.body, most).map_err(Kind::Http)?;
        } else {
            // Whatever can be had of the message is good enough.
            let _ = body.read_to_end(&mut self.body, limits::ERROR_BYTES);
        }
        if connection.is_idle() {
            self.connection = Some(connection);
        }
        if head.status == 200 {
            Ok(head)
        } else {
            Err(Kind::Refused {
                status: head.status,
                message: error::message(&self.body),
            })
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
