//! One connection: a request out, an answer in, and again.

use std::io::{BufReader, Write};
use std::time::Instant;

use super::error::Limit;
use super::{Body, Error, Head, limits};
use crate::deadline::{Deadline, Stream};

/// Bytes that are read ahead. Engines write answers in pieces of 4 KiB and more.
const READ_BUFFER: usize = 64 * 1024;

/// A connection to the peer that can be asked again and again while it [is idle](Self::is_idle).
#[derive(Debug)]
pub struct Connection<S: Stream> {
    pub(super) reader: BufReader<Deadline<S>>,
    /// The last answer was read to its end and the peer keeps the connection open.
    pub(super) idle: bool,
}

impl<S: Stream> Connection<S> {
    /// A connection over a stream on which nothing was sent yet.
    pub fn new(stream: S) -> Self {
        Self {
            reader: BufReader::with_capacity(READ_BUFFER, Deadline::new(stream)),
            idle: true,
        }
    }

    /// Whether another request can be sent. If not, open a new connection.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        self.reader.get_ref().get_ref()
    }

    /// Sends `GET path` and reads the head of the answer. Sending, the head and the body share the
    /// deadline; `None` waits for ever.
    ///
    /// # Errors
    /// Any [`Error`]; the connection is of no further use then.
    ///
    /// # Panics
    /// If the connection is not idle, or if host or path have characters that do not belong into a
    /// request's head: both come from this program, never from a peer.
    pub fn get(
        &mut self,
        host: &str,
        path: &str,
        deadline: Option<Instant>,
    ) -> Result<(Head, Body<'_, S>), Error> {
        assert!(self.idle, "the last answer was not read to its end");
        assert!(
            [host, path]
                .iter()
                .all(|text| text.bytes().all(|byte| byte.is_ascii_graphic())),
            "a request's head must not be split: {host:?} {path:?}"
        );
        self.idle = false;
        let stream = self.reader.get_mut();
        stream.set(deadline);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {}/{}\r\nAccept: application/json\r\n\r\n",
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
        );
        stream
            .write_all(request.as_bytes())
            .map_err(|error| Error::from(error).unanswered())?;
        let head = self.read_final_head()?;
        let body = Body::new(self, head.framing()?, head.keeps_alive());
        Ok((head, body))
    }

    /// The head of the final answer: interim ones (`1xx`) are passed over.
    fn read_final_head(&mut self) -> Result<Head, Error> {
        for answers in 0..=limits::INTERIM_ANSWERS {
            let head = Head::read(&mut self.reader);
            let head = head.map_err(|error| match answers {
                0 => error,
                _ => error.in_answer(),
            })?;
            if head.status == 101 {
                return Err(Error::Malformed("it switches protocols unasked".into()));
            }
            if head.status >= 200 {
                return Ok(head);
            }
        }
        Err(Error::TooLarge(Limit {
            what: "the number of answers",
            most: limits::INTERIM_ANSWERS,
            unit: "interim answers",
        }))
    }
}
