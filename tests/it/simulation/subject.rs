//! What is simulated against the model: the exporter's core, behind a small adapter.
//!
//! The driver calls [`Subject::step`] with one message at a time and simulated time that only goes
//! forward. The subject returns requests, which go out at that moment and are answered by messages
//! later; any number may be on their way. It is woken with [`Message::Tick`] when the time comes that
//! [`Subject::next_wake`] names. The first message is a `Tick` at uptime 0, on which a core will
//! usually return [`Request::List`] and [`Request::Follow`].
//!
//! The subject is not stepped while a history has its process stopped. What arrives meanwhile, it
//! gets afterwards, at one moment, and events beyond the Engine's queue not at all.

use std::time::Duration;

use docker_exit_exporter::engine;
use docker_exit_exporter::http;
use jiff::{SignedDuration, Timestamp};

/// The present, as an exporter can know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Time since the exporter's start. Never wrong.
    pub(crate) uptime: Duration,
    /// The Engine's clock, as the client knows it: the exporter's own, put right by the last answer's
    /// `Date` if that was more than three seconds before it was asked for or after it came.
    pub(crate) engine: Timestamp,
}

/// What the core wants to have done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// `GET /containers/json?all=1`, within 30 s.
    List,
    /// `GET /containers/{id}/json`, within so long.
    Inspect(String, Duration),
    /// `GET /info`, within 10 s.
    Info,
    /// `GET /events?since=0&until=now`, without filters: all that the Engine remembers.
    Remembered,
    /// Opens the stream of events, with what is remembered since then, inclusive. A stream that is
    /// still there is dropped without [`Message::Closed`].
    Follow { since: Timestamp },
}

/// What there is to know.
#[derive(Debug)]
pub(crate) enum Message {
    /// The time has come that the core wanted to be woken at.
    Tick,
    /// The Engine has taken the request for its events.
    Opened,
    /// Bytes of the stream: one line with its end. They go through `engine::LineReader`.
    Line(Vec<u8>),
    /// The stream ended, or could not be opened.
    Closed(Failure),
    Listed(Answer<String>),
    Inspected(String, Answer<String>),
    Info(Answer<String>),
    /// All lines that are remembered, oldest first.
    Remembered(Answer<Vec<u8>>),
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// When it was sent, as it was known then.
    pub(crate) asked: Now,
    pub(crate) result: Result<T, Failure>,
}

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection could be made.
    Unreachable,
    /// The connection broke.
    Closed,
    /// It took too long.
    TimedOut,
    /// An answer with another status than 200, and its message.
    Refused(u16, String),
}

impl Failure {
    /// The same as the client's error.
    pub(crate) fn error(self, path: &str) -> engine::EngineError {
        let kind = match self {
            Self::Unreachable => engine::EngineErrorKind::Unreachable {
                message: "there is no Docker".to_owned(),
                cause: std::io::ErrorKind::ConnectionRefused.into(),
            },
            Self::Closed => {
                engine::EngineErrorKind::Http(http::HttpError::Closed { in_response: true })
            }
            Self::TimedOut => engine::EngineErrorKind::Http(http::HttpError::DeadlinePassed),
            Self::Refused(status, message) => engine::EngineErrorKind::Refused { status, message },
        };
        let path = path.to_owned();
        engine::EngineError { path, kind }
    }
}

/// The exporter's core.
pub(crate) trait Subject {
    /// Takes in a message and says what is to be done.
    fn step(&mut self, now: Now, message: Message) -> Vec<Request>;

    /// When it wants to be woken if no message comes before, as an uptime.
    fn next_wake(&self) -> Option<Duration>;

    /// What is known and shown now. It must not change what is to come.
    fn outcome(&mut self, now: Now) -> Outcome;

    /// Whether the core follows events of this type and action, as the Engine's filter would decide:
    /// `("container", "die")`, `("container", "health_status: unhealthy")`, `("network", "connect")`.
    fn follows(&self, kind: &str, action: &str) -> bool;

    /// Calls `each` with the id of every container whose exit is shown, and whether it is shown as
    /// superseded. Asked for after every step where there are services, so it should be cheap.
    fn superseded(&mut self, each: &mut dyn FnMut(&str, bool));

    /// Whether the exit of this container is on `/metrics` now, as it was published last. It is asked
    /// for 150 ms after its `die` event came. `None` leaves that out.
    fn shows(&mut self, _id: &str) -> Option<bool> {
        None
    }

    /// Whether what was rendered piece by piece is what rendering everything anew would give, and
    /// any other promise between the core's own parts. It is asked for after each step of some
    /// histories, and at the end of each.
    fn audit(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// An exit that was counted or, if it is from before the start, only taken note of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The container's id.
    pub(crate) id: String,
    /// Absent for the failed start of a container that vanished before it could be inspected.
    pub(crate) code: Option<i64>,
    /// The label's value.
    pub(crate) reason: &'static str,
    /// It is from before the exporter's start, so no counter has it.
    pub(crate) before_start: bool,
}

/// The series of one container's exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) id: String,
    pub(crate) name: String,
    /// All labels of the series, as text.
    pub(crate) labels: String,
    pub(crate) code: i64,
    pub(crate) reason: &'static str,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) duration: Option<SignedDuration>,
}

/// What an exporter has made of it all.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    /// Every exit that was reported, in order.
    pub(crate) counted: Vec<Counted>,
    /// The sum of `container_exits_total`.
    pub(crate) total: u64,
    /// `events_lost_total`
    pub(crate) lost: u64,
    /// `container_exit_*`
    pub(crate) exits: Vec<Series>,
    /// `container_last_exit_*`
    pub(crate) last_exits: Vec<Series>,
    /// The labels of each workload in `container_exits_total`, without the reason.
    pub(crate) workloads: Vec<String>,
}
