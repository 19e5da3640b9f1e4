//! The event stream: one endless answer, a JSON object per line.

use std::time::Instant;

use jiff::Timestamp;

use crate::deadline::Transport;
use crate::http::{self, Connection, Head};
use crate::one_line::OneLine;

use super::error::{self, Kind};
use super::{Event, limits};

/// What is asked for. An unknown action is no error to any Engine; Podman says `died` in its
/// filters (podman `libpod/events`), and `die` in its events.
const FILTERS: &str = r#"{"type":["container","network"],"event":["create","attach","connect","disconnect","start","health_status","oom","kill","die","died","stop","destroy","remove","rename","pause","unpause"]}"#;

/// The path of a stream that begins with what was remembered since then, inclusive.
pub(super) fn path(since: Timestamp) -> String {
    let nanos = since.as_nanosecond();
    let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut path = format!("/events?since={seconds}.{nanos:09}&filters=");
    for byte in FILTERS.bytes() {
        match byte {
            b'a'..=b'z' => path.push(char::from(byte)),
            byte => path += &format!("%{byte:02X}"),
        }
    }
    path
}

/// What a stream brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// The Engine has taken the request: from now on nothing is missed.
    Open,
    /// An event.
    Event(Box<Event>),
    /// What is no event, or too long for one, with the reason.
    Bad(String),
}

/// Shows `took` the head, and reads lines until the stream ends, which is an error, since it has no end.
pub(super) fn follow<S: Transport>(
    mut connection: Connection<S>,
    host: &str,
    path: &str,
    deadline: Instant,
    took: &mut impl FnMut(&Head),
    tell: &mut impl FnMut(Line),
) -> Kind {
    let (head, mut body) = match connection.get(host, path, Some(deadline)) {
        Ok(answer) => answer,
        Err(error) => return Kind::Http(error),
    };
    took(&head);
    if head.status != 200 {
        return error::refused(&head, body);
    }
    tell(Line::Open);
    // Silence for hours is normal.
    body.set_deadline(None);
    let mut lines = Lines::default();
    loop {
        let count = match body.fill() {
            Ok([]) => return Kind::Http(http::HttpError::Closed { in_response: true }),
            Ok(bytes) => {
                lines.take(bytes, tell);
                bytes.len()
            }
            Err(error) => return Kind::Http(error),
        };
        body.consume(count);
    }
}

/// Puts lines together from pieces of any size.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line.
    line: Vec<u8>,
    /// The line is over the limit; what is left of it is skipped.
    too_long: bool,
}

impl Lines {
    /// Takes the next piece, and tells what the lines bring that end in it.
    pub fn take(&mut self, mut bytes: &[u8], tell: &mut impl FnMut(Line)) {
        while !bytes.is_empty() {
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..newline.unwrap_or(bytes.len())];
            if self.line.len() + piece.len() > limits::EVENT_LINE_BYTES {
                self.too_long = true;
                self.line = Vec::new();
            }
            if !self.too_long {
                self.line.extend_from_slice(piece);
            }
            let Some(newline) = newline else {
                return;
            };
            bytes = &bytes[newline + 1..];
            if std::mem::take(&mut self.too_long) {
                tell(Line::Bad(format!(
                    "it is longer than the limit of {} bytes",
                    limits::EVENT_LINE_BYTES
                )));
            } else {
                parse(&self.line, tell);
            }
            self.line.clear();
        }
    }

    /// How many bytes of memory it holds on to.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.line.capacity()
    }
}

fn parse(line: &[u8], tell: &mut impl FnMut(Line)) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    match std::str::from_utf8(line) {
        Err(error) => tell(Line::Bad(error.to_string())),
        Ok(text) => match Event::parse(text) {
            Ok(Some(event)) => tell(Line::Event(Box::new(event))),
            Ok(None) => {}
            Err(why) => tell(Line::Bad(OneLine::new(&why).to_string())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = Lines::default();
        for piece in pieces {
            lines.take(piece, &mut |line| {
                all.push(match line {
                    Line::Open => "open".to_owned(),
                    Line::Event(event) => event.id,
                    Line::Bad(why) => format!("bad: {why}"),
                });
            });
        }
        all
    }

    fn event(id: &str, padding: usize) -> String {
        let pad = "x".repeat(padding);
        format!(
            r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{id}"}},"timeNano":1,"pad":"{pad}"}}"#
        )
    }

    #[test]
    fn the_path_has_the_time_to_the_nanosecond() {
        let since = Timestamp::from_nanosecond(1_795_336_842_015_241_720).unwrap();
        let path = path(since);
        assert!(
            path.starts_with("/events?since=1795336842.015241720&filters=%7B%22type%22%3A"),
            "{path}"
        );
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = format!("{}\n\r\n{}\n", event("a", 0), event("b", 0));
        for size in 1..text.len() {
            let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
            assert_eq!(lines(&pieces), ["a", "b"], "by {size}");
        }
    }

    #[test]
    fn what_is_bad_is_told_and_the_next_line_is_read() {
        let limit = limits::EVENT_LINE_BYTES;
        let fits = event("fits", limit - event("fits", 0).len());
        let text = format!(
            "{fits}\n{}\ngarbage\n{}\n",
            event("long", limit),
            event("next", 0)
        );
        let pieces: Vec<_> = text.as_bytes().chunks(4096).collect();
        let lines = lines(&pieces);
        assert_eq!(lines.len(), 4);
        assert_eq!((lines[0].as_str(), lines[3].as_str()), ("fits", "next"));
        assert_eq!(
            lines[1],
            "bad: it is longer than the limit of 1048576 bytes"
        );
        assert!(lines[2].starts_with("bad: "), "{}", lines[2]);
    }
}
