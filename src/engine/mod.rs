//! The client of the Docker Engine: four paths, all by GET.

mod address;
mod clock;
mod error;
mod event;
mod info;
mod json;
mod past_events;
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

pub use address::{Address, AddressError};
pub use clock::{CLOCK_TOLERANCE, Clock};
pub use error::{EngineError, EngineErrorKind, EngineResult, ErrorClass};
pub use event::{Action, Event, EventError};
pub use info::{EngineInfo, Identity, Info};
pub use json::{Inspected, Listed, RestartPolicy, listing};
pub use past_events::PastEvents;
pub use signal::{Signals, signal_name};
use socket::Connector;
pub use socket::{Hangup, Socket};
pub use status::{Age, State, Status};
pub use stream::{LineReader, StreamItem};
pub use value::Labels;

/// The limits of one request to the Engine.
pub mod limits {
    use std::time::Duration;

    /// A listing, from connecting to the last byte. A busy daemon with 1,000 containers takes 0.1 s;
    /// one that takes longer than this hangs.
    pub const LISTING_TIMEOUT: Duration = Duration::from_secs(30);
    /// The same for `/info`, and for the head of the event stream.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
    /// The same for past events. The Engine has them in memory.
    pub const PAST_EVENTS_TIMEOUT: Duration = Duration::from_secs(3);
    /// The body of an inspect or of `/info`. It usually has 5 KB; labels can make it larger.
    pub const INSPECT_BYTES: usize = 16 * 1024 * 1024;
    /// The body of past events. It usually has 200 KB: 256 events with their labels.
    pub const PAST_EVENTS_BYTES: usize = 8 * 1024 * 1024;
    /// The containers of one listing.
    pub const MAX_CONTAINERS: usize = 200_000;
    /// A container's id, name, image or other text, as JSON. A longer one is treated as absent. Image
    /// names have at most 500.
    pub const TEXT_BYTES: usize = 1024;
    /// The value of a label. A longer one is left out, because it is repeated in up to eight series.
    pub const LABEL_BYTES: usize = 2 * 1024;
    /// The labels of one container with their keys, and [`LABEL_OVERHEAD_BYTES`] for each. Labels
    /// beyond that are left out. Series show at most [`crate::labels::MAX_BYTES`] of them.
    pub const LABELS_BYTES: usize = 64 * 1024;
    /// The approximate memory that a label takes besides its key and value.
    pub const LABEL_OVERHEAD_BYTES: usize = 96;
    /// One line of the event stream. An event repeats the labels of its container.
    pub const EVENT_LINE_BYTES: usize = 1024 * 1024;
    /// The body of an error response, or the reason of a failed start. The rest is not read.
    pub const ERROR_BYTES: usize = 64 * 1024;
}

const LISTING_PATH: &str = "/containers/json?all=1";
const INFO_PATH: &str = "/info";

/// A response to `/containers/json`.
#[derive(Debug)]
pub struct Listing {
    /// The JSON.
    pub body: Vec<u8>,
    /// Which Engine answered.
    pub identity: Identity,
}

impl Listing {
    /// Parses the containers, in the Engine's order.
    ///
    /// # Errors
    /// [`EngineErrorKind::Json`] if the body is not a listing.
    pub fn containers(&self) -> EngineResult<Vec<Listed<'_>>> {
        parse(LISTING_PATH, &self.body, listing)
    }
}

/// A response to `/containers/{id}/json`.
#[derive(Debug)]
pub struct Inspect {
    /// The JSON.
    pub body: Vec<u8>,
}

impl Inspect {
    /// Parses the details of the container with this id.
    ///
    /// # Errors
    /// [`EngineErrorKind::Json`] if the body is not an inspect, or is of another container.
    pub fn parse(&self, id: &str) -> EngineResult<Inspected> {
        let path = inspect_path(id);
        let inspected = parse(&path, &self.body, Inspected::parse)?;
        if inspected.id.as_ref().is_some_and(|it| it != id) {
            let kind = EngineErrorKind::Json("it is of another container".into());
            return Err(EngineError { path, kind });
        }
        Ok(inspected)
    }
}

fn inspect_path(id: &str) -> String {
    format!("/containers/{}/json", escape(id))
}

/// How to reach the Engine.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where the Engine listens.
    pub address: Address,
    /// Counts the requests.
    pub requests: IntCounter,
    /// The Engine's clock, which is set by its responses.
    pub clock: Clock,
}

/// A client of one Engine. It keeps one connection open, and reconnects when needed.
pub struct Engine {
    endpoint: Endpoint,
    /// The `Host` header.
    host: String,
    connection: Option<Connection<Socket>>,
    connector: Connector,
    /// The body of the current or last response.
    body: Vec<u8>,
    /// The head of the last response came, with status 200.
    has_good_head: bool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.endpoint.address)
    }
}

impl Engine {
    /// A client that connects with its first request.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        let host = match &endpoint.address {
            Address::Unix(_) => "docker".to_owned(),
            Address::Tcp(host_and_port) => host_and_port.clone(),
        };
        Self {
            endpoint,
            host,
            connection: None,
            connector: Connector::default(),
            body: Vec::new(),
            has_good_head: false,
        }
    }

    /// Lists all containers. The response is read into `buffer`.
    ///
    /// # Errors
    /// [`EngineError`], after at most [`limits::LISTING_TIMEOUT`].
    pub fn list(&mut self, buffer: Vec<u8>) -> EngineResult<Listing> {
        self.body = buffer;
        let head = self.get(
            LISTING_PATH,
            limits::LISTING_TIMEOUT,
            http::limits::MAX_BODY_BYTES,
        )?;
        let mut body = std::mem::take(&mut self.body);
        // Give back the memory of a larger listing.
        body.shrink_to(2 * body.len());
        Ok(Listing {
            body,
            identity: Identity::from(&head),
        })
    }

    /// Inspects one container.
    ///
    /// # Errors
    /// [`EngineError`], after at most `timeout`; see [`EngineError::is_not_found`].
    pub fn inspect(&mut self, id: &str, timeout: Duration) -> EngineResult<Inspect> {
        self.get(&inspect_path(id), timeout, limits::INSPECT_BYTES)?;
        Ok(Inspect {
            body: std::mem::take(&mut self.body),
        })
    }

    /// Requests `/info`. Socket proxies often refuse it.
    ///
    /// # Errors
    /// [`EngineError`], after at most [`limits::REQUEST_TIMEOUT`].
    pub fn info(&mut self) -> EngineResult<Info> {
        self.get(INFO_PATH, limits::REQUEST_TIMEOUT, limits::INSPECT_BYTES)?;
        let body = std::mem::take(&mut self.body);
        parse(INFO_PATH, &body, Info::parse)
    }

    /// Requests the past events of all types since this time.
    ///
    /// # Errors
    /// [`EngineError`], after at most [`limits::PAST_EVENTS_TIMEOUT`].
    pub fn past_events(&mut self, since: Timestamp) -> EngineResult<PastEvents> {
        let path = past_events::path(since, self.endpoint.clock.now());
        let result = self.get(
            &path,
            limits::PAST_EVENTS_TIMEOUT,
            limits::PAST_EVENTS_BYTES,
        );
        let body = std::mem::take(&mut self.body);
        match result {
            // A response that does not end at `until` is complete all the same by now.
            Err(error) if !(error.is_late() && self.has_good_head) => Err(error),
            _ => Ok(PastEvents::parse(&body)),
        }
    }

    /// Follows the event stream, with the past events since this time, over a connection of its own.
    /// Returns when the stream breaks, or is closed by `hangup`.
    pub fn follow(
        &mut self,
        since: Timestamp,
        hangup: &Hangup,
        emit: &mut impl FnMut(StreamItem),
    ) -> EngineError {
        let deadline = Instant::now() + limits::REQUEST_TIMEOUT;
        let kind = match self.connect(deadline) {
            Ok(connection) => {
                hangup.attach(connection.get_ref());
                self.endpoint.requests.inc();
                let path = stream::path(since);
                let sent_at = Timestamp::now();
                let mut on_head = |head: &Head| self.endpoint.clock.sync(head, sent_at);
                let kind =
                    stream::follow(connection, &self.host, &path, deadline, &mut on_head, emit);
                hangup.detach();
                kind
            }
            Err(kind) => kind,
        };
        EngineError {
            path: "/events".to_owned(),
            kind,
        }
    }

    /// Sends `GET path`, and reads the body of a good response into `self.body`.
    fn get(&mut self, path: &str, timeout: Duration, max_bytes: usize) -> EngineResult<Head> {
        let deadline = Instant::now() + timeout;
        let result = self.get_by(path, deadline, max_bytes);
        // Give back the memory of a failed response, which may have any size.
        if result.is_err() && self.body.capacity() > limits::INSPECT_BYTES {
            self.body = Vec::new();
        }
        result.map_err(|kind| EngineError {
            path: path.to_owned(),
            kind,
        })
    }

    fn get_by(
        &mut self,
        path: &str,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Head, EngineErrorKind> {
        // Bytes that are already there do not belong to this request.
        let connection = self.connection.take();
        if let Some(connection) = connection.filter(|it| it.get_ref().is_quiet()) {
            match self.exchange(connection, path, deadline, max_bytes) {
                // The Engine had closed the idle connection: retry on a new one.
                Err(EngineErrorKind::Http(error)) if error.is_closed_before_response() => {}
                result => return result,
            }
        }
        let connection = self.connect(deadline)?;
        self.exchange(connection, path, deadline, max_bytes)
    }

    fn connect(&mut self, deadline: Instant) -> Result<Connection<Socket>, EngineErrorKind> {
        let socket = self.connector.connect(&self.endpoint.address, deadline);
        socket
            .map(Connection::new)
            .map_err(|error| error::unreachable(&self.endpoint.address, error))
    }

    fn exchange(
        &mut self,
        mut connection: Connection<Socket>,
        path: &str,
        deadline: Instant,
        max_bytes: usize,
    ) -> Result<Head, EngineErrorKind> {
        let sent_at = Timestamp::now();
        self.endpoint.requests.inc();
        self.body.clear();
        self.has_good_head = false;
        let (head, mut body) = connection
            .get(&self.host, path, Some(deadline))
            .map_err(EngineErrorKind::Http)?;
        self.endpoint.clock.sync(&head, sent_at);
        self.has_good_head = head.status == 200;
        let result = if head.status == 200 {
            body.read_to_end(&mut self.body, max_bytes)
                .map_err(EngineErrorKind::Http)?;
            Ok(head)
        } else {
            Err(error::read_refusal(&head, body))
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
) -> EngineResult<T> {
    let result = match std::str::from_utf8(body) {
        Ok(text) => parse(text).map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    result.map_err(|error| EngineError {
        path: path.to_owned(),
        kind: EngineErrorKind::Json(error),
    })
}

/// Percent-encodes an id for a path. Engines send hexadecimal ids; any other must not alter the
/// request.
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
