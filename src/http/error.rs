//! Why a request got no complete response.

use std::{error, fmt, io};

use crate::one_line::OneLine;

/// A failed request. Its connection cannot be used again.
#[derive(Debug)]
pub enum HttpError {
    /// The deadline passed before the response was complete.
    DeadlinePassed,
    /// The peer closed the connection.
    Closed {
        /// Whether part of the response had been read. If not, the peer may have closed a
        /// kept-alive connection while it was idle.
        in_response: bool,
    },
    /// The response exceeds one of the [`limits`](super::limits).
    TooLarge(Limit),
    /// The response is not HTTP/1.x as this client understands it.
    Malformed(String),
    /// Any other I/O error.
    Io(io::Error),
}

/// A limit that a response exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The part of the response, such as "the head".
    pub what: &'static str,
    /// The largest amount allowed.
    pub max: usize,
    /// The unit of `max`.
    pub unit: &'static str,
}

impl HttpError {
    /// Whether the peer closed the connection before the first byte of the response. On a
    /// kept-alive connection, the request can be sent again on a new one.
    #[must_use]
    pub fn is_closed_before_response(&self) -> bool {
        matches!(self, Self::Closed { in_response: false })
    }

    pub(super) fn too_large(what: &'static str, max: usize, unit: &'static str) -> Self {
        Self::TooLarge(Limit { what, max, unit })
    }

    /// The same error, known to come after part of the response was read.
    pub(super) fn in_response(self) -> Self {
        match self {
            Self::Closed { .. } => Self::Closed { in_response: true },
            error => error,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadlinePassed => f.write_str("no complete answer within the deadline"),
            Self::Closed { in_response: false } => {
                f.write_str("the connection was closed without an answer")
            }
            Self::Closed { in_response: true } => {
                f.write_str("the connection was closed in the middle of the answer")
            }
            Self::TooLarge(Limit { what, max, unit }) => {
                write!(f, "{what} is larger than the limit of {max} {unit}")
            }
            Self::Malformed(what) => write!(f, "not a valid HTTP answer: {}", OneLine::new(what)),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl error::Error for HttpError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// The error before any part of the response was read.
impl From<io::Error> for HttpError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
        };
        match error.kind() {
            // Systems report a socket's timeout as one or the other.
            TimedOut | WouldBlock => Self::DeadlinePassed,
            UnexpectedEof | BrokenPipe | ConnectionReset | ConnectionAborted => {
                Self::Closed { in_response: false }
            }
            _ => Self::Io(error),
        }
    }
}
