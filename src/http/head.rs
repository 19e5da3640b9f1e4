//! Parses the status line and headers of a response.

use std::io::BufRead;

use super::body::BodyState;
use super::error::Limit;
use super::reader::read_line;
use super::{HttpError, limits};

const HEAD_LIMIT: Limit = Limit {
    what: "the head",
    max: limits::MAX_HEAD_BYTES,
    unit: "bytes",
};

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The status code, 100–999.
    pub status: u16,
    /// Names in lower case, trimmed values, in the order received.
    headers: Vec<(String, String)>,
    is_http_1_0: bool,
}

impl Head {
    /// Reads one head, including the empty line at its end.
    ///
    /// # Errors
    /// [`HttpError::Closed`] if the stream ends first, [`HttpError::TooLarge`],
    /// [`HttpError::Malformed`], or a read error.
    pub(super) fn read(reader: &mut impl BufRead) -> Result<Self, HttpError> {
        let mut bytes_left = HEAD_LIMIT.max;
        let first = read_line(reader, &mut bytes_left, HEAD_LIMIT)?;
        let (is_http_1_0, status) = parse_status_line(&first)?;
        let mut headers = Vec::new();
        loop {
            let line =
                read_line(reader, &mut bytes_left, HEAD_LIMIT).map_err(HttpError::in_response)?;
            if line.is_empty() {
                break;
            }
            if headers.len() == limits::MAX_HEADERS {
                return Err(HttpError::too_large(
                    "the head",
                    limits::MAX_HEADERS,
                    "headers",
                ));
            }
            headers.push(parse_header(&line)?);
        }
        Ok(Self {
            status,
            headers,
            is_http_1_0,
        })
    }

    /// The first value of a header. `name` is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// Whether the connection stays open after the body (RFC 9112, 9.3).
    pub(super) fn is_keep_alive(&self) -> bool {
        !self.has_token("connection", "close")
            && (!self.is_http_1_0 || self.has_token("connection", "keep-alive"))
    }

    /// The first state of the body of this response to a GET (RFC 9112, 6.3).
    ///
    /// # Errors
    /// [`HttpError::Malformed`] if the lengths differ or the coding is not `chunked`.
    pub(super) fn body_state(&self) -> Result<BodyState, HttpError> {
        if matches!(self.status, 204 | 304) {
            return Ok(BodyState::Length(0));
        }
        let mut codings = self.values("transfer-encoding");
        if let Some(coding) = codings.next() {
            if codings.next().is_some() || !coding.eq_ignore_ascii_case("chunked") {
                return Err(HttpError::Malformed(format!(
                    "unknown Transfer-Encoding {coding:?}"
                )));
            }
            return Ok(BodyState::ChunkSize);
        }
        let mut length = None;
        for value in self.values("content-length") {
            let parsed = parse_decimal(value).ok_or_else(|| bad_length(value))?;
            if length.is_some_and(|known| known != parsed) {
                return Err(bad_length(value));
            }
            length = Some(parsed);
        }
        Ok(length.map_or(BodyState::UntilClose, BodyState::Length))
    }
}

fn bad_length(value: &str) -> HttpError {
    HttpError::Malformed(format!("bad Content-Length {value:?}"))
}

/// Parses digits only; `str::parse` alone would accept a sign.
fn parse_decimal(text: &str) -> Option<u64> {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_decimal)
}

/// Parses a status line into "is HTTP/1.0" and the status code. The reason phrase is ignored.
fn parse_status_line(line: &[u8]) -> Result<(bool, u16), HttpError> {
    let malformed = || {
        let start = String::from_utf8_lossy(&line[..line.len().min(60)]);
        HttpError::Malformed(format!("it starts with {start:?}"))
    };
    let text = line.strip_prefix(b"HTTP/1.").ok_or_else(malformed)?;
    let (is_http_1_0, text) = match text {
        [b'0', b' ', text @ ..] => (true, text),
        [b'1'..=b'9', b' ', text @ ..] => (false, text),
        _ => return Err(malformed()),
    };
    let (code, rest) = text.split_at_checked(3).ok_or_else(malformed)?;
    let status = std::str::from_utf8(code).ok().and_then(parse_decimal);
    let status = status.and_then(|status| u16::try_from(status).ok());
    match status {
        Some(status @ 100..) if matches!(rest, [] | [b' ', ..]) => Ok((is_http_1_0, status)),
        _ => Err(malformed()),
    }
}

fn parse_header(line: &[u8]) -> Result<(String, String), HttpError> {
    let line = String::from_utf8_lossy(line);
    match line.split_once(':') {
        // A blank before the colon or a folded line could hide a length from one of two parsers.
        Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
            Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err(HttpError::Malformed(format!(
            "bad header {:?}",
            line.chars().take(60).collect::<String>()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Head, HttpError> {
        Head::read(&mut &bytes[..])
    }

    fn body_state(headers: &str) -> Result<BodyState, HttpError> {
        read(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes())?.body_state()
    }

    #[test]
    fn status_lines() {
        for (line, want) in [
            ("HTTP/1.1 200 OK", Some(200)),
            ("HTTP/1.0 404 Not Found", Some(404)),
            ("HTTP/1.1 500 ", Some(500)),
            ("HTTP/1.1 500", Some(500)),
            ("HTTP/1.1 099 Low", None),
            ("HTTP/1.1 +20 Sign", None),
            ("HTTP/1.1 2000 Long", None),
            ("HTTP/1.1 20", None),
            ("HTTP/1.1  200 OK", None),
            ("HTTP/2 200", None),
            ("HTTP/2.0 200 OK", None),
            ("http/1.1 200 OK", None),
            ("ICY 200 OK", None),
            ("", None),
            ("{\"message\":\"hello\"}", None),
        ] {
            let got = read(format!("{line}\r\n\r\n").as_bytes()).ok();
            let got = got.map(|head| head.status);
            assert_eq!(got, want, "{line:?}");
        }
    }

    #[test]
    fn headers_are_found_whatever_their_case_and_blanks() {
        let head =
            read(b"HTTP/1.1 200 OK\r\nAPI-version:\t1.51 \r\nServer:a:b\r\nX:\r\n\r\n").unwrap();
        assert_eq!(head.header("api-version"), Some("1.51"));
        assert_eq!(head.header("server"), Some("a:b"));
        assert_eq!(head.header("x"), Some(""));
        assert_eq!(head.header("y"), None);
    }

    #[test]
    fn bad_headers() {
        for line in [
            "a: b\nc: d",
            "nothing",
            ": value",
            "Length : 5",
            " folded: line",
            "\tx",
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\nA: b\r\n{line}\r\n\r\n");
            assert!(
                matches!(read(bytes.as_bytes()), Err(HttpError::Malformed(_))),
                "{line:?}"
            );
        }
    }

    #[test]
    fn body_states() {
        for (headers, want) in [
            ("", Some(BodyState::UntilClose)),
            ("Content-Length: 0\r\n", Some(BodyState::Length(0))),
            (
                "Content-Length: 18446744073709551615\r\n",
                Some(BodyState::Length(u64::MAX)),
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Some(BodyState::Length(5)),
            ),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", None),
            ("Content-Length: +5\r\n", None),
            ("Content-Length: -5\r\n", None),
            ("Content-Length: 5, 5\r\n", None),
            ("Content-Length: 0x5\r\n", None),
            ("Content-Length: \r\n", None),
            ("Content-Length: 18446744073709551616\r\n", None),
            ("Transfer-Encoding: chunked\r\n", Some(BodyState::ChunkSize)),
            ("transfer-encoding: Chunked\r\n", Some(BodyState::ChunkSize)),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Some(BodyState::ChunkSize),
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", None),
            ("Transfer-Encoding: identity\r\n", None),
        ] {
            assert_eq!(body_state(headers).ok(), want, "{headers:?}");
        }
    }

    #[test]
    fn keep_alive() {
        for (head, want) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", false),
            ("HTTP/1.0 200 OK\r\n", false),
            ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n", true),
        ] {
            let head_read = read(format!("{head}\r\n").as_bytes()).unwrap();
            assert_eq!(head_read.is_keep_alive(), want, "{head:?}");
        }
    }

    #[test]
    fn a_head_of_exactly_the_limit_is_read_and_one_byte_more_is_not() {
        let frame = "HTTP/1.1 200 OK\r\nX: \r\n\r\n".len();
        for (padding, fits) in [
            (limits::MAX_HEAD_BYTES - frame, true),
            (limits::MAX_HEAD_BYTES - frame + 1, false),
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(padding));
            let result = read(bytes.as_bytes());
            assert_eq!(result.is_ok(), fits, "{padding}");
            if let Err(error) = result {
                assert!(error.to_string().contains("32768 bytes"), "{error}");
            }
        }
    }

    #[test]
    fn a_line_without_end_stops_at_the_limit() {
        let mut endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let error = Head::read(&mut endless).unwrap_err();
        assert!(matches!(error, HttpError::TooLarge(_)), "{error}");
    }

    #[test]
    fn one_header_more_than_the_limit() {
        for (count, fits) in [
            (limits::MAX_HEADERS, true),
            (limits::MAX_HEADERS + 1, false),
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
            assert_eq!(read(bytes.as_bytes()).is_ok(), fits, "{count}");
        }
    }
}
