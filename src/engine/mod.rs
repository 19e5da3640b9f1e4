//! The Docker Engine, as far as this program asks it anything: four paths, all by GET.

mod address;
mod clock;
mod error;
mod event;
mod info;
mod json;
mod remembered;
mod signal;
mod socket;
mod status;
mod stream;
mod value;

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use prometheus::IntCounter;

use crate::http::{self, Connection, Head};

pub use address::Address;
pub use clock::{Clock, SAME_CLOCK};
pub use error::{Complaint, Error, Kind};
pub use event::{Action, Event};
pub use info::{EngineInfo, Identity, Info};
pub use json::{Inspected, Listed, RestartPolicy, listing};
pub use remembered::Remembered;
pub use signal::{Signals, signal_name};
use socket::Connecting;
pub use socket::{Hangup, Socket};
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
    /// The same for what the Engine remembers of its events: it has that at hand.
    pub const REMEMBERED: Duration = Duration::from_secs(3);
    /// The body of an inspect or of `/info`, in bytes. Usual are 5 KB; labels can make it larger.
    pub const INSPECT_BYTES: usize = 16 * 1024 * 1024;
    /// What the Engine remembers, in bytes. Usual are 200 KB: 256 events with their labels.
    pub const REMEMBERED_BYTES: usize = 8 * 1024 * 1024;
    /// Containers of one listing.
    pub const CONTAINERS: usize = 200_000;
    /// A container's id, name, image or another of its texts, in bytes of JSON: what is longer is
    /// taken for absent. No name of an image has more than 500.
    pub const TEXT_BYTES: usize = 1024;
    /// A label's value, in bytes: a longer one is left out. Each stands in up to eight series.
    pub const LABEL_BYTES: usize = 2 * 1024;
    /// What is read of the labels of one container with their keys, in bytes, and [`LABEL_PLACE`] more
    /// for each: what does not fit is left out. [`crate::labels::MAX_BYTES`] of them stand in series.
    pub const LABELS_BYTES: usize = 64 * 1024;
    /// The place that a label takes in memory besides its texts, about.
    pub const LABEL_PLACE: usize = 96;
    /// One line of the event stream, in bytes: an event repeats its container's labels.
    pub const EVENT_LINE_BYTES: usize = 1024 * 1024;
    /// The body of an error, or why a start failed, in bytes; what is longer is not read.
    pub const ERROR_BYTES: usize = 64 * 1024;
}

const LIST: &str = "/containers/json?all=1";
const INFO: &str = "/info";

/// An answer to `/containers/json`: every container of the host, at one moment.
#[derive(Debug)]
pub struct Listing {
    /// The JSON, as it came.
    pub body: Vec<u8>,
    /// Which Engine answered.
    pub identity: Identity,
}

impl Listing {
    /// The containers, in the Engine's order.
    ///
    /// # Errors
    /// [`Kind::Json`] if it is not the JSON of a listing.
    pub fn containers(&self) -> Result<Vec<Listed<'_>>, Error> {
        parse(LIST, &self.body, listing)
    }
}

/// An answer to `/containers/{id}/json`.
#[derive(Debug)]
pub struct Inspect {
    /// The JSON, as it came.
    pub body: Vec<u8>,
}

impl Inspect {
    /// What it says of the container that was asked for.
    ///
    /// # Errors
    /// [`Kind::Json`] if it is not the JSON of an inspect, or is that of another container.
    pub fn of(&self, id: &str) -> Result<Inspected, Error> {
        let path = inspect_path(id);
        let inspected = parse(&path, &self.body, Inspected::parse)?;
        if inspected.id.as_ref().is_some_and(|it| it != id) {
            let kind = Kind::Json("it is of another container".into());
            return Err(Error { path, kind });
        }
        Ok(inspected)
    }
}

fn inspect_path(id: &str) -> String {
    format!("/containers/{}/json", escape(id))
}

/// A client of one Engine. It keeps one connection alive and opens a new one when that is gone.
pub struct Engine {
    address: Address,
    /// The `Host` of each request.
    host: String,
    connection: Option<Connection<Socket>>,
    connecting: Connecting,
    requests: IntCounter,
    /// The body that is read, or was read last.
    body: Vec<u8>,
    /// The last answer has begun, and is a good one.
    answered: bool,
    clock: Clock,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.address)
    }
}

impl Engine {
    /// A client that connects when it is first asked. `requests` counts what is sent, and `clock`
    /// is set by what is answered.
    #[must_use]
    pub fn new(address: Address, requests: IntCounter, clock: Clock) -> Self {
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
            answered: false,
            clock,
        }
    }

    /// All containers, by one request. `body` is a buffer to read into.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::LISTING`].
    pub fn list(&mut self, body: Vec<u8>) -> Result<Listing, Error> {
        self.body = body;
        let head = self.get(LIST, limits::LISTING, http::limits::MAX_BODY_BYTES)?;
        let mut body = std::mem::take(&mut self.body);
        // A listing that was large once must not hold its memory for ever.
        body.shrink_to(2 * body.len());
        Ok(Listing {
            body,
            identity: Identity::from(&head),
        })
    }

    /// One container and how its last run ended.
    ///
    /// # Errors
    /// [`Error`], after at most `within`; see [`Error::is_not_found`].
    pub fn inspect(&mut self, id: &str, within: Duration) -> Result<Inspect, Error> {
        self.get(&inspect_path(id), within, limits::INSPECT_BYTES)?;
        Ok(Inspect {
            body: std::mem::take(&mut self.body),
        })
    }

    /// The Engine itself.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::INSPECT`]. Socket proxies often refuse this one.
    pub fn info(&mut self) -> Result<Info, Error> {
        self.get(INFO, limits::INSPECT, limits::INSPECT_BYTES)?;
        let body = std::mem::take(&mut self.body);
        parse(INFO, &body, Info::parse)
    }

    /// What the Engine remembers of its last events, of all types, since then.
    ///
    /// # Errors
    /// [`Error`], after at most [`limits::REMEMBERED`].
    pub fn remembered(&mut self, since: Timestamp) -> Result<Remembered, Error> {
        let path = remembered::path(since, self.clock.now());
        let got = self.get(&path, limits::REMEMBERED, limits::REMEMBERED_BYTES);
        let body = std::mem::take(&mut self.body);
        // A stream that does not end at `until` has said all that it had to say by now.
        let late =
            |error: &Error| matches!(error.kind, Kind::Http(http::HttpError::DeadlinePassed));
        match got {
            Err(error) if !(late(&error) && self.answered) => Err(error),
            _ => Ok(Remembered::parse(&body)),
        }
    }

    /// Follows what happens to containers, from `since` on as far as the Engine remembers, over a
    /// connection of its own. It returns only when that breaks, or is ended by `hangup`.
    pub fn follow(
        &mut self,
        since: Timestamp,
        hangup: &Hangup,
        take: &mut impl FnMut(Line),
    ) -> Error {
        let deadline = Instant::now() + limits::INSPECT;
        let kind = match self.connect(deadline) {
            Ok(connection) => {
                hangup.holds(connection.get_ref());
                self.requests.inc();
                let path = stream::path(since);
                let clock = &self.clock;
                let asked = Timestamp::now();
                let mut took = |head: &Head| clock.set_by(head, asked);
                let end = stream::follow(connection, &self.host, &path, deadline, &mut took, take);
                hangup.lets_go();
                end
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
        // Bytes that wait there already are no answer to this request.
        let connection = self.connection.take();
        if let Some(connection) = connection.filter(|it| it.get_ref().is_quiet()) {
            match self.exchange(connection, path, deadline, most) {
                // It had been closed while idle: nothing of the request was answered.
                Err(Kind::Http(error)) if error.is_closed_before_response() => {}
                result => return self.let_go(result).map_err(fail),
            }
        }
        let connection = self.connect(deadline).map_err(fail)?;
        let result = self.exchange(connection, path, deadline, most);
        self.let_go(result).map_err(fail)
    }

    /// Gives back the memory of a body that was of no use, which may have been of any size.
    fn let_go<T>(&mut self, result: Result<T, Kind>) -> Result<T, Kind> {
        if result.is_err() && self.body.capacity() > limits::INSPECT_BYTES {
            self.body = Vec::new();
        }
        result
    }

    fn connect(&mut self, deadline: Instant) -> Result<Connection<Socket>, Kind> {
        let socket = self.connecting.connect(&self.address, deadline);
        socket
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
        let asked = Timestamp::now();
        self.requests.inc();
        self.body.clear();
        self.answered = false;
        let (head, mut body) = connection
            .get(&self.host, path, Some(deadline))
            .map_err(Kind::Http)?;
        self.clock.set_by(&head, asked);
        self.answered = head.status == 200;
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
