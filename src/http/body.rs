//! Reads the body of a response and removes its framing.

use std::io::BufRead;
use std::time::Instant;

use super::error::Limit;
use super::reader::{available, fill, read_line};
use super::{Connection, HttpError, limits};
use crate::deadline::Transport;

const LINE_LIMIT: Limit = Limit {
    what: "a chunk's size line or trailer",
    max: limits::MAX_LINE_BYTES,
    unit: "bytes",
};

/// The body of one response. Its connection can be used again after the body is read to its end.
#[derive(Debug)]
pub struct Body<'a, S: Transport> {
    pub(super) connection: &'a mut Connection<S>,
    pub(super) state: BodyState,
    /// Whether the peer keeps the connection open after the body.
    pub(super) is_keep_alive: bool,
}

/// What comes next in a body. The head determines its first state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyState {
    /// The bytes left of a body of known length.
    Length(u64),
    /// A chunk's size line.
    ChunkSize,
    /// The bytes left of a chunk, and a line end after them.
    Chunk(u64),
    /// Bytes until the peer closes the connection.
    UntilClose,
    /// Nothing.
    Done,
}

impl<S: Transport> Body<'_, S> {
    /// Replaces the deadline for the rest of the body; `None` means no deadline.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.connection.reader.get_mut().set_deadline(deadline);
    }

    /// The next bytes of the body. Waits for at least one; empty means the end of the body. The
    /// same bytes are returned until [`Body::consume`] is called.
    ///
    /// # Errors
    /// [`HttpError::Closed`] if the connection ends before the body does, [`HttpError::Malformed`]
    /// for bad framing, [`HttpError::TooLarge`] for a line over the limit, or a read error.
    pub fn fill(&mut self) -> Result<&[u8], HttpError> {
        self.skip_framing().map_err(HttpError::in_response)?;
        let left = match self.state {
            BodyState::Done => return Ok(&[]),
            BodyState::Length(left) | BodyState::Chunk(left) => left,
            BodyState::ChunkSize | BodyState::UntilClose => u64::MAX,
        };
        let available = fill(&mut self.connection.reader).map_err(HttpError::in_response)?;
        let max = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(&available[..available.len().min(max)])
    }

    /// Marks `count` bytes that [`Body::fill`] returned as read.
    ///
    /// # Panics
    /// If `count` is larger than the number of bytes that it returned.
    pub fn consume(&mut self, count: usize) {
        if let BodyState::Length(left) | BodyState::Chunk(left) = &mut self.state {
            *left = left
                .checked_sub(count as u64)
                .expect("only returned bytes are consumed");
        }
        self.connection.reader.consume(count);
    }

    /// Appends the rest of the body to `into`.
    ///
    /// # Errors
    /// Those of [`Body::fill`], and [`HttpError::TooLarge`] if `into` would exceed `limit` bytes.
    pub fn read_to_end(&mut self, into: &mut Vec<u8>, limit: usize) -> Result<(), HttpError> {
        let too_large = HttpError::too_large("the body", limit, "bytes");
        if let BodyState::Length(length) = self.state {
            if length > limit.saturating_sub(into.len()) as u64 {
                return Err(too_large);
            }
        }
        loop {
            let bytes = self.fill()?;
            let count = bytes.len();
            if count == 0 {
                return Ok(());
            }
            if count > limit.saturating_sub(into.len()) {
                return Err(too_large);
            }
            into.extend_from_slice(bytes);
            self.consume(count);
        }
    }

    /// Reads framing until the next bytes belong to the body, or the body is over.
    fn skip_framing(&mut self) -> Result<(), HttpError> {
        loop {
            self.state = match self.state {
                BodyState::Length(0) => self.end(),
                BodyState::Chunk(0) => {
                    if !self.read_line()?.is_empty() {
                        return Err(HttpError::Malformed(
                            "a chunk is longer than its size".into(),
                        ));
                    }
                    BodyState::ChunkSize
                }
                BodyState::ChunkSize => match parse_chunk_size(&self.read_line()?)? {
                    0 => {
                        self.skip_trailers()?;
                        self.end()
                    }
                    size => BodyState::Chunk(size),
                },
                // A broken connection is an error; a closed one ends the body.
                BodyState::UntilClose => match available(&mut self.connection.reader)? {
                    [] => BodyState::Done,
                    _ => return Ok(()),
                },
                BodyState::Length(_) | BodyState::Chunk(_) | BodyState::Done => return Ok(()),
            };
        }
    }

    /// Ends the body and makes the connection idle if it can be used again.
    fn end(&mut self) -> BodyState {
        self.connection.is_idle = self.is_keep_alive && self.connection.reader.buffer().is_empty();
        BodyState::Done
    }

    fn skip_trailers(&mut self) -> Result<(), HttpError> {
        for _ in 0..=limits::MAX_TRAILERS {
            if self.read_line()?.is_empty() {
                return Ok(());
            }
        }
        Err(HttpError::too_large(
            "the end of the body",
            limits::MAX_TRAILERS,
            "trailers",
        ))
    }

    fn read_line(&mut self) -> Result<Vec<u8>, HttpError> {
        let mut bytes_left = LINE_LIMIT.max;
        read_line(&mut self.connection.reader, &mut bytes_left, LINE_LIMIT)
    }
}

/// Parses a chunk's size line: hexadecimal digits, then optional blanks (some servers pad) and
/// extensions, which are ignored.
fn parse_chunk_size(line: &[u8]) -> Result<u64, HttpError> {
    let end = line.iter().position(|byte| *byte == b';');
    let digits = line[..end.unwrap_or(line.len())].trim_ascii_end();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    // `from_str_radix` alone would accept a sign.
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = u64::from_str_radix(text, 16).ok().filter(|_| is_hex);
    size.ok_or_else(|| {
        let start = String::from_utf8_lossy(&line[..line.len().min(40)]);
        HttpError::Malformed(format!("bad chunk size {start:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes() {
        for (line, want) in [
            ("0", Some(0)),
            ("5", Some(5)),
            ("3cff", Some(0x3cff)),
            ("3CFF", Some(0x3cff)),
            ("0005", Some(5)),
            ("5;name=value", Some(5)),
            ("5;quoted=\"a;b\"", Some(5)),
            ("5 ;x", Some(5)),
            ("5  ", Some(5)),
            ("ffffffffffffffff", Some(u64::MAX)),
            ("10000000000000000", None),
            ("+5", None),
            ("-5", None),
            ("0x5", None),
            (" 5", None),
            ("5 5", None),
            ("", None),
            (";x", None),
            ("g", None),
            ("5é", None),
        ] {
            assert_eq!(parse_chunk_size(line.as_bytes()).ok(), want, "{line:?}");
        }
    }
}
