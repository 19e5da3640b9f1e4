//! The event stream: an endless response with one JSON object per line.

use std::time::Instant;

use jiff::Timestamp;

use crate::deadline::Transport;
use crate::http::{self, Connection, Head};
use crate::one_line::OneLine;

use super::error::{self, EngineErrorKind};
use super::past_events::seconds;
use super::{Event, limits};

/// The types and actions to follow. Engines ignore unknown actions. Podman's filter has `died` (podman
/// `libpod/events`), and its events have `die`.
const FILTERS: &str = r#"{"type":["container","network"],"event":["create","attach","connect","disconnect","start","health_status","oom","kill","die","died","stop","destroy","remove","rename","pause","unpause"]}"#;

/// The path of a stream that starts with the past events since this time, inclusive.
pub(super) fn path(since: Timestamp) -> String {
    let mut path = format!("/events?since={}&filters=", seconds(since));
    for byte in FILTERS.bytes() {
        match byte {
            b'a'..=b'z' => path.push(char::from(byte)),
            byte => path += &format!("%{byte:02X}"),
        }
    }
    path
}

/// An item of the event stream.
#[derive(Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// The Engine accepted the request: no later event is missed.
    Opened,
    /// An event of interest.
    Event(Box<Event>),
    /// A line that is not an event or is too long, with the reason.
    Invalid(String),
}

/// Reads the response until it ends, which is an error. `on_head` gets its head, `emit` its items.
pub(super) fn follow<S: Transport>(
    mut connection: Connection<S>,
    host: &str,
    path: &str,
    deadline: Instant,
    on_head: &mut impl FnMut(&Head),
    emit: &mut impl FnMut(StreamItem),
) -> EngineErrorKind {
    let (head, mut body) = match connection.get(host, path, Some(deadline)) {
        Ok(response) => response,
        Err(error) => return EngineErrorKind::Http(error),
    };
    on_head(&head);
    if head.status != 200 {
        return error::read_refusal(&head, body);
    }
    emit(StreamItem::Opened);
    // No event for hours is normal.
    body.set_deadline(None);
    let mut lines = LineReader::default();
    loop {
        let count = match body.fill() {
            Ok([]) => return EngineErrorKind::Http(http::HttpError::Closed { in_response: true }),
            Ok(bytes) => {
                lines.push(bytes, emit);
                bytes.len()
            }
            Err(error) => return EngineErrorKind::Http(error),
        };
        body.consume(count);
    }
}

/// Assembles lines from pieces of any size.
#[derive(Debug, Default)]
pub struct LineReader {
    /// The line so far.
    line: Vec<u8>,
    /// The line is over the limit, and the rest of it is skipped.
    is_too_long: bool,
}

impl LineReader {
    /// Adds the next piece, and emits the items of the lines that end in it.
    pub fn push(&mut self, mut bytes: &[u8], emit: &mut impl FnMut(StreamItem)) {
        while !bytes.is_empty() {
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let piece = &bytes[..newline.unwrap_or(bytes.len())];
            if self.line.len() + piece.len() > limits::EVENT_LINE_BYTES {
                self.is_too_long = true;
                self.line = Vec::new();
            }
            if !self.is_too_long {
                self.line.extend_from_slice(piece);
            }
            let Some(newline) = newline else {
                return;
            };
            bytes = &bytes[newline + 1..];
            if std::mem::take(&mut self.is_too_long) {
                emit(StreamItem::Invalid(format!(
                    "it is longer than the limit of {} bytes",
                    limits::EVENT_LINE_BYTES
                )));
            } else {
                parse(&self.line, emit);
            }
            self.line.clear();
        }
    }

    /// The size of the buffer in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.line.capacity()
    }
}

fn parse(line: &[u8], emit: &mut impl FnMut(StreamItem)) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    match std::str::from_utf8(line) {
        Err(error) => emit(StreamItem::Invalid(error.to_string())),
        Ok(text) => match Event::parse(text) {
            Ok(Some(event)) => emit(StreamItem::Event(Box::new(event))),
            Ok(None) => {}
            Err(error) => {
                let reason = error.to_string();
                emit(StreamItem::Invalid(OneLine::new(&reason).to_string()));
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut lines = LineReader::default();
        for piece in pieces {
            lines.push(piece, &mut |line| {
                all.push(match line {
                    StreamItem::Opened => "open".to_owned(),
                    StreamItem::Event(event) => event.id,
                    StreamItem::Invalid(why) => format!("bad: {why}"),
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
    fn the_path_has_nanoseconds() {
        let since = Timestamp::from_nanosecond(1_795_336_842_015_241_720).unwrap();
        let path = path(since);
        assert!(
            path.starts_with("/events?since=1795336842.015241720&filters=%7B%22type%22%3A"),
            "{path}"
        );
        assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
    }

    #[test]
    fn lines_are_assembled_from_pieces_of_any_size() {
        let text = format!("{}\n\r\n{}\n", event("a", 0), event("b", 0));
        for size in 1..text.len() {
            let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
            assert_eq!(lines(&pieces), ["a", "b"], "by {size}");
        }
    }

    #[test]
    fn an_invalid_line_is_reported_and_the_next_is_read() {
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
