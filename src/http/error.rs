//! What can go wrong between a request and the end of its answer.

use std::{fmt, io};

use crate::one_line::OneLine;

/// A failed exchange. The connection that it happened on is of no further use.
#[derive(Debug)]
pub enum Error {
    /// The deadline passed before the answer was complete.
    DeadlinePassed,
    /// The peer closed the connection; `in_answer` is false if it did so before the first byte of
    /// the answer, as happens when a kept-alive connection had been closed while it was idle.
    Closed {
        /// Whether part of the answer had been read.
        in_answer: bool,
    },
    /// The answer is larger than one of the [`limits`](super::limits).
    TooLarge(Limit),
    /// The answer is not HTTP/1.x as this client understands it.
    Malformed(String),
    /// The operating system's word.
    Io(io::Error),
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What it bounds, as in "the head".
    pub what: &'static str,
    /// The most that is let through.
    pub most: usize,
    /// What is counted.
    pub unit: &'static str,
}

impl Error {
    /// Whether the peer hung up without a single byte of an answer: with a connection that was
    /// kept alive, the request may simply be sent again on a new one.
    #[must_use]
    pub fn closed_unanswered(&self) -> bool {
        matches!(self, Self::Closed { in_answer: false })
    }

    /// The same, known to have happened after part of the answer was read.
    pub(super) fn in_answer(self) -> Self {
        match self {
            Self::Closed { .. } => Self::Closed { in_answer: true },
            error => error,
        }
    }

    /// The same, known to have happened before any of the answer was read.
    pub(super) fn unanswered(self) -> Self {
        match self {
            Self::Closed { .. } => Self::Closed { in_answer: false },
            error => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeadlinePassed => f.write_str("no complete answer within the deadline"),
            Self::Closed { in_answer: false } => {
                f.write_str("the connection was closed without an answer")
            }
            Self::Closed { in_answer: true } => {
                f.write_str("the connection was closed in the middle of the answer")
            }
            Self::TooLarge(Limit { what, most, unit }) => {
                write!(f, "{what} is larger than the limit of {most} {unit}")
            }
            Self::Malformed(what) => write!(f, "not a valid HTTP answer: {}", OneLine::new(what)),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock,
        };
        match error.kind() {
            // A socket's read or write timeout shows as either, depending on the system.
            TimedOut | WouldBlock => Self::DeadlinePassed,
            UnexpectedEof | BrokenPipe | ConnectionReset | ConnectionAborted => {
                Self::Closed { in_answer: true }
            }
            _ => Self::Io(error),
        }
    }
}
