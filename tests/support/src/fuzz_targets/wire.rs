//! A made-up peer, and what its bytes mean, read a second time by a slow reader that has all of
//! them at hand.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use docker_exit_exporter::deadline::Transport;
use docker_exit_exporter::http::{Connection, Head, HttpError, limits};

use super::dice::Dice;

/// How bytes arrive.
#[derive(Debug, Clone)]
pub(super) enum Pieces<'a> {
    Whole,
    By(usize),
    /// Of any size, with interruptions.
    ByChance(Dice<'a>),
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Reset,
}

/// Plays answers, one after the other: no piece is of two of them. It forgets what is sent.
pub(super) struct Played<'a> {
    pub(super) answers: VecDeque<&'a [u8]>,
    pub(super) pieces: Pieces<'a>,
    pub(super) end: End,
}

impl Pieces<'_> {
    /// How long the next one is at most; 0 for an interruption.
    pub(super) fn most(&mut self) -> usize {
        match self {
            Self::Whole => usize::MAX,
            Self::By(size) => *size,
            Self::ByChance(dice) => match dice.below(40) {
                0 => 0,
                1..30 => 1 + dice.below(20),
                _ => usize::MAX,
            },
        }
    }
}

impl Read for Played<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.pieces.most();
        if most == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        while self.answers.front().is_some_and(|it| it.is_empty()) {
            self.answers.pop_front();
        }
        let Some(bytes) = self.answers.front_mut() else {
            return match self.end {
                End::Closed => Ok(0),
                End::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            };
        };
        let count = most.min(buffer.len()).min(bytes.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        *bytes = &bytes[count..];
        Ok(count)
    }
}

impl Write for Played<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Played<'_> {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// A connection on which one answer comes, whatever is asked.
pub(super) fn connection<'a>(
    bytes: &'a [u8],
    pieces: &Pieces<'a>,
    end: End,
) -> Connection<Played<'a>> {
    Connection::new(Played {
        answers: [bytes].into(),
        pieces: pieces.clone(),
        end,
    })
}

/// Some ways for so many bytes to arrive that these dice choose.
pub(super) fn ways<'a>(length: usize, dice: &Dice<'a>) -> [Pieces<'a>; 4] {
    let size = 2 + dice.clone().below(30);
    [
        Pieces::Whole,
        // One by one, unless that takes long.
        Pieces::By(1 + length / 1000),
        Pieces::By(size),
        Pieces::ByChance(dice.clone()),
    ]
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Closed { in_answer: bool },
    TooLarge,
    Malformed,
}

impl From<&HttpError> for Fault {
    fn from(error: &HttpError) -> Self {
        match error {
            HttpError::Closed { in_response } => Self::Closed {
                in_answer: *in_response,
            },
            HttpError::TooLarge(_) => Self::TooLarge,
            HttpError::Malformed(_) => Self::Malformed,
            HttpError::DeadlinePassed | HttpError::Io(_) => {
                panic!("nothing that the peer did: {error}")
            }
        }
    }
}

/// An answer's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlowHead {
    pub(super) http_1_0: bool,
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
}

/// How a body's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// All bytes of an answer, and how many of them were read.
pub(super) struct Slow<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Slow<'a> {
    pub(super) fn left(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    fn cut_off(&self) -> Fault {
        Fault::Closed {
            in_answer: !self.bytes.is_empty(),
        }
    }

    /// A line, of at most so many bytes with its end.
    fn line(&mut self, most: &mut usize) -> Result<&'a [u8], Fault> {
        let left = self.left();
        let Some(end) = left.iter().position(|byte| *byte == b'\n') else {
            return Err(if left.len() > *most {
                Fault::TooLarge
            } else {
                self.cut_off()
            });
        };
        *most = most.checked_sub(end + 1).ok_or(Fault::TooLarge)?;
        self.at += end + 1;
        left[..end].strip_suffix(b"\r").ok_or(Fault::Malformed)
    }

    /// The final head; interim ones are passed over.
    pub(super) fn head(&mut self) -> Result<SlowHead, Fault> {
        for _ in 0..=limits::MAX_INTERIM_RESPONSES {
            let head = self.any_head()?;
            match head.status {
                101 => return Err(Fault::Malformed),
                100..200 => {}
                _ => return Ok(head),
            }
        }
        Err(Fault::TooLarge)
    }

    fn any_head(&mut self) -> Result<SlowHead, Fault> {
        let mut most = limits::MAX_HEAD_BYTES;
        let first = self.line(&mut most)?;
        let &[
            b'H',
            b'T',
            b'T',
            b'P',
            b'/',
            b'1',
            b'.',
            minor,
            b' ',
            a,
            b,
            c,
            ref text @ ..,
        ] = first
        else {
            return Err(Fault::Malformed);
        };
        let digits = [minor, a, b, c].iter().all(u8::is_ascii_digit);
        if !digits || a == b'0' || text.first().is_some_and(|byte| *byte != b' ') {
            return Err(Fault::Malformed);
        }
        let [a, b, c] = [a, b, c].map(|digit| u16::from(digit - b'0'));
        let mut headers = Vec::new();
        loop {
            let line = self.line(&mut most)?;
            if line.is_empty() {
                return Ok(SlowHead {
                    http_1_0: minor == b'0',
                    status: a * 100 + b * 10 + c,
                    headers,
                });
            }
            if headers.len() == limits::MAX_HEADERS {
                return Err(Fault::TooLarge);
            }
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.ok_or(Fault::Malformed)?);
            if name.is_empty() || name.contains(&b' ') || name.contains(&b'\t') {
                return Err(Fault::Malformed);
            }
            headers.push((
                String::from_utf8_lossy(name).to_ascii_lowercase(),
                String::from_utf8_lossy(&value[1..]).trim().to_owned(),
            ));
        }
    }

    /// A body within its framing, of at most so many bytes.
    pub(super) fn body(
        &mut self,
        framing: Framing,
        most: usize,
        end: End,
    ) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        match framing {
            Framing::UntilClose => {
                self.bytes_of_body(self.left().len() as u64, most, &mut body)?;
                if end == End::Reset {
                    return Err(self.cut_off());
                }
            }
            Framing::Length(length) => {
                if length > most as u64 {
                    return Err(Fault::TooLarge);
                }
                self.bytes_of_body(length, most, &mut body)?;
            }
            Framing::Chunked => loop {
                let size = chunk_size(self.line(&mut limits::MAX_LINE_BYTES.clone())?)?;
                if size == 0 {
                    self.trailers()?;
                    break;
                }
                self.bytes_of_body(size, most, &mut body)?;
                if !self.line(&mut limits::MAX_LINE_BYTES.clone())?.is_empty() {
                    return Err(Fault::Malformed);
                }
            },
        }
        Ok(body)
    }

    fn bytes_of_body(&mut self, count: u64, most: usize, body: &mut Vec<u8>) -> Result<(), Fault> {
        let left = self.left();
        let there = usize::try_from(count).map_or(left.len(), |count| count.min(left.len()));
        if body.len() + there > most {
            return Err(Fault::TooLarge);
        }
        body.extend_from_slice(&left[..there]);
        self.at += there;
        if (there as u64) < count {
            return Err(self.cut_off());
        }
        Ok(())
    }

    fn trailers(&mut self) -> Result<(), Fault> {
        for _ in 0..=limits::MAX_TRAILERS {
            if self.line(&mut limits::MAX_LINE_BYTES.clone())?.is_empty() {
                return Ok(());
            }
        }
        Err(Fault::TooLarge)
    }
}

impl SlowHead {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.headers.iter().filter(move |(it, _)| it == name);
        values.map(|(_, value)| value.as_str())
    }

    pub(super) fn framing(&self) -> Result<Framing, Fault> {
        if self.status == 204 || self.status == 304 {
            return Ok(Framing::Length(0));
        }
        let codings: Vec<_> = self.values("transfer-encoding").collect();
        match codings[..] {
            [] => {}
            [coding] if coding.eq_ignore_ascii_case("chunked") => return Ok(Framing::Chunked),
            _ => return Err(Fault::Malformed),
        }
        let mut lengths = Vec::new();
        for text in self.values("content-length") {
            if text.starts_with(['+', '-']) {
                return Err(Fault::Malformed);
            }
            lengths.push(super::integer(text).ok_or(Fault::Malformed)?);
        }
        lengths.dedup();
        match lengths[..] {
            [] => Ok(Framing::UntilClose),
            [length] => Ok(Framing::Length(length)),
            _ => Err(Fault::Malformed),
        }
    }

    pub(super) fn keeps_alive(&self) -> bool {
        let says = |what: &str| {
            let mut parts = self.values("connection").flat_map(|it| it.split(','));
            parts.any(|part| part.trim().eq_ignore_ascii_case(what))
        };
        !says("close") && (!self.http_1_0 || says("keep-alive"))
    }

    /// The same in other bytes.
    pub(super) fn written_again(&self) -> Vec<u8> {
        let minor = u8::from(!self.http_1_0);
        let mut text = format!("HTTP/1.{minor} {}\r\n", self.status);
        for (name, value) in &self.headers {
            text += &format!("{}:  {value} \t\r\n", name.to_ascii_uppercase());
        }
        (text + "\r\n").into_bytes()
    }

    /// What the client says of the same head.
    pub(super) fn agrees(&self, head: &Head) {
        assert_eq!(head.status, self.status);
        for (name, _) in &self.headers {
            assert_eq!(head.header(name), self.values(name).next(), "{name:?}");
        }
        assert_eq!(head.header(":"), None);
    }
}

fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let mut size: u128 = 0;
    let mut digits = 0;
    let mut blanks = false;
    for byte in line {
        match byte {
            b';' => break,
            b' ' | b'\t' | b'\r' | b'\x0c' => blanks = true,
            byte if !blanks && byte.is_ascii_hexdigit() => {
                let digit = char::from(*byte).to_digit(16).unwrap_or_default();
                size = (size * 16 + u128::from(digit)).min(1 << 100);
                digits += 1;
            }
            _ => return Err(Fault::Malformed),
        }
    }
    if digits == 0 {
        return Err(Fault::Malformed);
    }
    u64::try_from(size).map_err(|_| Fault::Malformed)
}
