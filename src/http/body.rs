//! The body of an answer, without its framing.

use std::io::BufRead;
use std::time::Instant;

use super::error::Limit;
use super::head::{Framing, available, fill, read_line};
use super::{Connection, Error, limits};
use crate::deadline::Stream;

const LINE: Limit = Limit {
    what: "a chunk's size line or trailer",
    most: limits::LINE_BYTES,
    unit: "bytes",
};

/// The body of one answer. It borrows its connection, which can be used again once the body was
/// read to its end.
#[derive(Debug)]
pub struct Body<'a, S: Stream> {
    connection: &'a mut Connection<S>,
    state: State,
    keeps_alive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes are left of a body of known length.
    Length(u64),
    /// A chunk's size line comes next.
    ChunkSize,
    /// So many bytes are left of a chunk; then comes a line end.
    Chunk(u64),
    UntilClose,
    Done,
}

impl<'a, S: Stream> Body<'a, S> {
    pub(super) fn new(
        connection: &'a mut Connection<S>,
        framing: Framing,
        keeps_alive: bool,
    ) -> Self {
        let state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            connection,
            state,
            keeps_alive,
        }
    }

    /// Gives the rest of the body another deadline than the head had; `None` waits for ever.
    pub fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.connection.reader.get_mut().set(deadline);
    }

    /// The next bytes of the body, as many as are there, waiting for at least one; empty at its
    /// end. They come again until [`Body::consume`] takes them.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection ends before the body does, [`Error::Malformed`] for bad
    /// framing, [`Error::TooLarge`] for an endless size line, or what reading gives.
    pub fn fill(&mut self) -> Result<&[u8], Error> {
        self.skip_framing().map_err(Error::in_answer)?;
        let left = match self.state {
            State::Done => return Ok(&[]),
            State::Length(left) | State::Chunk(left) => left,
            State::ChunkSize | State::UntilClose => u64::MAX,
        };
        let available = fill(&mut self.connection.reader).map_err(Error::in_answer)?;
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(&available[..available.len().min(most)])
    }

    /// Takes `count` bytes of what [`Body::fill`] gave.
    ///
    /// # Panics
    /// If that were more bytes than it gave.
    pub fn consume(&mut self, count: usize) {
        if let State::Length(left) | State::Chunk(left) = &mut self.state {
            *left = left
                .checked_sub(count as u64)
                .expect("only bytes that are there are consumed");
        }
        self.connection.reader.consume(count);
    }

    /// Appends the rest of the body to `into`.
    ///
    /// # Errors
    /// As for [`Body::fill`], and [`Error::TooLarge`] if `into` would grow past `limit` bytes.
    pub fn read_to_end(&mut self, into: &mut Vec<u8>, limit: usize) -> Result<(), Error> {
        let too_large = Error::TooLarge(Limit {
            what: "the body",
            most: limit,
            unit: "bytes",
        });
        if let State::Length(length) = self.state {
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

    /// Goes on until bytes of the body come next, or nothing does.
    fn skip_framing(&mut self) -> Result<(), Error> {
        loop {
            self.state = match self.state {
                State::Length(0) => self.end(),
                State::Chunk(0) => {
                    if !self.read_line()?.is_empty() {
                        return Err(Error::Malformed("a chunk is longer than its size".into()));
                    }
                    State::ChunkSize
                }
                State::ChunkSize => match chunk_size(&self.read_line()?)? {
                    0 => {
                        self.skip_trailers()?;
                        self.end()
                    }
                    size => State::Chunk(size),
                },
                // A connection that breaks is another end than one that is closed.
                State::UntilClose => match available(&mut self.connection.reader)? {
                    [] => State::Done,
                    _ => return Ok(()),
                },
                State::Length(_) | State::Chunk(_) | State::Done => return Ok(()),
            };
        }
    }

    /// The body ended where its framing said: the connection may serve another request.
    fn end(&mut self) -> State {
        self.connection.idle = self.keeps_alive && self.connection.reader.buffer().is_empty();
        State::Done
    }

    fn skip_trailers(&mut self) -> Result<(), Error> {
        for _ in 0..=limits::TRAILERS {
            if self.read_line()?.is_empty() {
                return Ok(());
            }
        }
        Err(Error::TooLarge(Limit {
            what: "the end of the body",
            most: limits::TRAILERS,
            unit: "trailers",
        }))
    }

    fn read_line(&mut self) -> Result<Vec<u8>, Error> {
        read_line(
            &mut self.connection.reader,
            &mut limits::LINE_BYTES.clone(),
            LINE,
        )
    }
}

/// The size in a chunk's first line: hexadecimal digits only, then perhaps blanks (some servers
/// pad) and extensions, which are skipped.
fn chunk_size(line: &[u8]) -> Result<u64, Error> {
    let end = line.iter().position(|byte| *byte == b';');
    let digits = line[..end.unwrap_or(line.len())].trim_ascii_end();
    let text = std::str::from_utf8(digits).unwrap_or_default();
    // `from_str_radix` would take a sign as well.
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(bad_chunk_size(line));
    }
    u64::from_str_radix(text, 16).map_err(|_| bad_chunk_size(line))
}

fn bad_chunk_size(line: &[u8]) -> Error {
    let start = String::from_utf8_lossy(&line[..line.len().min(40)]);
    Error::Malformed(format!("bad chunk size {start:?}"))
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
            assert_eq!(chunk_size(line.as_bytes()).ok(), want, "{line:?}");
        }
    }
}
