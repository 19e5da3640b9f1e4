//! A connection that sends one request at a time.

use std::io::{BufReader, Write};
use std::time::Instant;

use super::{Body, Head, HttpError, limits};
use crate::deadline::{DeadlineStream, Transport};

/// Size of the read buffer. Engines write responses in pieces of 4 KiB and more.
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// A connection to the peer. It can send another request while it [is idle](Self::is_idle).
#[derive(Debug)]
pub struct Connection<S: Transport> {
    pub(super) reader: BufReader<DeadlineStream<S>>,
    pub(super) is_idle: bool,
}

impl<S: Transport> Connection<S> {
    /// Wraps a newly connected stream.
    pub fn new(stream: S) -> Self {
        Self {
            reader: BufReader::with_capacity(READ_BUFFER_BYTES, DeadlineStream::new(stream)),
            is_idle: true,
        }
    }

    /// Whether another request can be sent: the last body was read to its end, and the peer keeps
    /// the connection open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        self.reader.get_ref().get_ref()
    }

    /// Sends `GET path` and reads the head of the response. The deadline covers the request, the
    /// head and the body; `None` means no deadline.
    ///
    /// # Errors
    /// Any [`HttpError`]. The connection cannot be used again then.
    ///
    /// # Panics
    /// If the connection is not idle, or if `host` or `path` has a character that is not visible
    /// ASCII. Neither may come from a peer unescaped.
    pub fn get(
        &mut self,
        host: &str,
        path: &str,
        deadline: Option<Instant>,
    ) -> Result<(Head, Body<'_, S>), HttpError> {
        assert!(self.is_idle, "the last response was not read to its end");
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(
            is_visible(host) && is_visible(path),
            "a request's head must not be split: {host:?} {path:?}"
        );
        self.is_idle = false;
        let stream = self.reader.get_mut();
        stream.set_deadline(deadline);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {}/{}\r\nAccept: application/json\r\n\r\n",
            env!("CARGO_PKG_NAME"),
            env!("CARGO_PKG_VERSION"),
        );
        stream.write_all(request.as_bytes())?;
        let head = self.read_final_head()?;
        let body = Body {
            state: head.body_state()?,
            is_keep_alive: head.is_keep_alive(),
            connection: self,
        };
        Ok((head, body))
    }

    /// Reads the head of the final response and skips interim ones (`1xx`).
    fn read_final_head(&mut self) -> Result<Head, HttpError> {
        for responses in 0..=limits::MAX_INTERIM_RESPONSES {
            let head = Head::read(&mut self.reader);
            let head = head.map_err(|error| match responses {
                0 => error,
                _ => error.in_response(),
            })?;
            if head.status == 101 {
                return Err(HttpError::Malformed("it switches protocols unasked".into()));
            }
            if head.status >= 200 {
                return Ok(head);
            }
        }
        Err(HttpError::too_large(
            "the number of answers",
            limits::MAX_INTERIM_RESPONSES,
            "interim answers",
        ))
    }
}
