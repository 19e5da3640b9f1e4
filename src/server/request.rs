//! Reads the head of a request strictly (RFC 9112), before `tiny_http` gets its first line.

use std::error::Error;
use std::fmt;

use httparse::{EMPTY_HEADER, Header, Status};
use memchr::memchr;

/// The largest head of a request. Prometheus sends about 250 bytes; browsers with cookies some KB.
const MAX_HEAD_BYTES: usize = 16 * 1024;

const MAX_HEADERS: usize = 100;

/// A host and port in a `Host` header: a DNS name is no longer.
const MAX_HOST_BYTES: usize = 255;

/// What the server needs of a request's head.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The request line without its line end: method, target, and HTTP/1.0 or 1.1.
    pub line: Vec<u8>,
    /// Another request may follow on the same connection.
    pub keeps_alive: bool,
    /// The client accepts gzip.
    pub accepts_gzip: bool,
    /// The `Host` header, with the port if there is one; empty if it is missing or implausible.
    pub host: String,
}

/// Why a request is refused. Its connection is closed after the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestError {
    /// It is not HTTP/1.x, or a proxy might understand it differently.
    Malformed,
    /// The head has more than 16 KiB, or more than 100 headers.
    TooLarge,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the request is malformed",
            Self::TooLarge => "the head of the request is too large",
        })
    }
}

impl Error for RequestError {}

/// Received bytes that are not yet part of a complete request head. Each byte is scanned once, however
/// the bytes are split.
#[derive(Debug, Default)]
pub struct RequestBuffer {
    bytes: Vec<u8>,
    /// Where the last, incomplete line begins.
    line_start: usize,
    /// Bytes that were searched for its end.
    searched: usize,
}

impl RequestBuffer {
    /// Appends received bytes. Skips empty lines before a request (RFC 9112, 2.2).
    pub fn push(&mut self, mut bytes: &[u8]) {
        if self.bytes.is_empty() {
            let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            bytes = &bytes[bytes.iter().take_while(|it| is_line_end(it)).count()..];
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no request has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that will not be scanned again. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Removes a head from the front; `None` while it is incomplete. Lines may end without CR.
    ///
    /// # Errors
    /// After a [`RequestError`], the rest of the buffer is useless.
    pub fn take(&mut self) -> Result<Option<RequestHead>, RequestError> {
        while let Some(length) = memchr(b'\n', &self.bytes[self.searched..]) {
            let end = self.searched + length;
            let line = std::mem::replace(&mut self.line_start, end + 1)..end;
            self.searched = end + 1;
            if self.searched > MAX_HEAD_BYTES {
                return Err(RequestError::TooLarge);
            }
            if matches!(&self.bytes[line], b"" | b"\r") {
                let request = RequestHead::parse(&self.bytes[..=end]);
                let bytes = std::mem::take(self).bytes;
                self.push(&bytes[end + 1..]);
                return request.map(Some);
            }
        }
        self.searched = self.bytes.len();
        if self.bytes.len() > MAX_HEAD_BYTES {
            return Err(RequestError::TooLarge);
        }
        Ok(None)
    }
}

impl RequestHead {
    fn parse(head: &[u8]) -> Result<Self, RequestError> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(Status::Complete(_)) => {}
            Err(httparse::Error::TooManyHeaders) => return Err(RequestError::TooLarge),
            _ => return Err(RequestError::Malformed),
        }
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(RequestError::Malformed);
        };
        if !target.is_ascii() {
            return Err(RequestError::Malformed);
        }
        Ok(Self {
            line: format!("{method} {target} HTTP/1.{version}").into(),
            keeps_alive: version == 1 && !request.headers.iter().any(ends_connection),
            accepts_gzip: request.headers.iter().any(accepts_gzip),
            host: request.headers.iter().find_map(host).unwrap_or_default(),
        })
    }
}

/// Whether the request with this header is the last on its connection: the client asks for that, or the
/// request has a body, which the server does not read.
fn ends_connection(header: &Header) -> bool {
    match header.name.to_ascii_lowercase().as_str() {
        "connection" => {
            let mut options = header.value.split(|byte| *byte == b',');
            options.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"))
        }
        "content-length" => header.value != b"0",
        "transfer-encoding" | "expect" => true,
        _ => false,
    }
}

/// Whether this is an `Accept-Encoding` header with gzip (RFC 9110, 12.5.3).
fn accepts_gzip(header: &Header) -> bool {
    let mut codings = header.value.split(|byte| *byte == b',').map(|coding| {
        let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        // A weight of 0 means that it is refused: q=0, q=0.0 and so on.
        name.eq_ignore_ascii_case(b"gzip")
            && !parts.any(|it| it.iter().all(|byte| b"qQ=0. ".contains(byte)))
    });
    header.name.eq_ignore_ascii_case("accept-encoding") && codings.any(|it| it)
}

/// The value of a `Host` header, if it is plausible.
fn host(header: &Header) -> Option<String> {
    let is_plausible = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    let is_host = header.name.eq_ignore_ascii_case("host")
        && header.value.len() <= MAX_HOST_BYTES
        && header.value.iter().all(is_plausible);
    is_host.then(|| String::from_utf8_lossy(header.value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request line, with `+` if another may follow, and what is left in the buffer.
    fn take(input: &[u8]) -> Option<(String, String)> {
        let mut whole = RequestBuffer::default();
        whole.push(input);
        let request = whole.take();
        // Byte by byte, the result is the same.
        let mut drip = RequestBuffer::default();
        let dripped = input.iter().map(|byte| {
            drip.push(&[*byte]);
            drip.take()
        });
        let first = dripped.into_iter().find(|it| *it != Ok(None));
        assert_eq!(first.unwrap_or(Ok(None)), request, "{input:?}");
        let said = match request {
            Ok(request) => {
                let request = request?;
                let more = if request.keeps_alive { "+" } else { "" };
                String::from_utf8(request.line).unwrap() + more
            }
            Err(error) => format!("{error:?}"),
        };
        Some((said, String::from_utf8(whole.bytes).unwrap()))
    }

    const NEXT: &str = "GET / HTTP/1.1+";
    const LAST: &str = "GET / HTTP/1.1";
    const BAD: &str = "Malformed";

    #[test]
    fn heads() {
        for input in [
            "",
            "\r\n\r\n",
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r",
        ] {
            assert_eq!(take(input.as_bytes()), None, "{input:?}");
        }
        for (input, want, left) in [
            ("GET / HTTP/1.1\r\n\r\n", NEXT, ""),
            ("GET / HTTP/1.1\n\n", NEXT, ""),
            ("\r\n\nGET / HTTP/1.1\n\r\n", NEXT, ""),
            ("GET / HTTP/1.1\r\n\r\n\r\nGET", NEXT, "GET"),
            ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0", ""),
            ("* * HTTP/1.1\r\n\r\n", "* * HTTP/1.1+", ""),
            ("GET /\r\n\r\n", BAD, ""),
            ("GET  / HTTP/1.1\r\n\r\n", BAD, ""),
            ("GET / HTTP/1.1 \r\n\r\n", BAD, ""),
            ("GET / HTTP/1.1 HTTP/1.1\r\n\r\n", BAD, ""),
            (" / HTTP/1.1\r\n\r\n", BAD, ""),
            ("GET  HTTP/1.1\r\n\r\n", BAD, ""),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", BAD, ""),
            ("GET /\rb HTTP/1.1\r\n\r\n", BAD, ""),
            ("GET / HTTP/2.0\r\n\r\nSM", BAD, "SM"),
            ("GET / HTTP/1.2\r\n\r\n", BAD, ""),
            ("GET / http/1.1\r\n\r\n", BAD, ""),
        ] {
            let want = Some((want.to_owned(), left.to_owned()));
            assert_eq!(take(input.as_bytes()), want, "{input:?}");
        }
    }

    #[test]
    fn headers() {
        for (header, want) in [
            ("Host: x", NEXT),
            ("Connection: keep-alive", NEXT),
            ("Connection: Upgrade, HTTP2-Settings", NEXT),
            ("Connection: close", LAST),
            ("connection:Keep-Alive , CLOSE", LAST),
            ("Connection : close", BAD),
            ("Content-Length:  0", NEXT),
            ("Content-Length: 5", LAST),
            ("Content-Length: 99999999999999999999", LAST),
            ("content-length: -1", LAST),
            ("Content-Length:", LAST),
            ("Transfer-Encoding: chunked", LAST),
            ("Expect: 100-continue", LAST),
            ("Expect", BAD),
            (": no name", BAD),
            ("X: folded\r\n Content-Length: 5", BAD),
            ("X: folded\r\n\tContent-Length: 5", BAD),
            ("X: a\rContent-Length: 5", BAD),
            ("X: a\0", BAD),
            ("X:", NEXT),
        ] {
            let head = format!("GET / HTTP/1.1\r\nA: b\r\n{header}\r\nC: d\r\n\r\n");
            let want = Some((want.to_owned(), String::new()));
            assert_eq!(take(head.as_bytes()), want, "{header}");
        }
    }

    #[test]
    fn heads_up_to_the_limits_are_accepted() {
        let head = |length: usize| {
            let rest = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
            let long = "x".repeat(length - rest);
            format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n").into_bytes()
        };
        assert!(take(&head(MAX_HEAD_BYTES)).unwrap().0.ends_with('+'));
        for length in [MAX_HEAD_BYTES + 1, 3 * MAX_HEAD_BYTES] {
            assert_eq!(take(&head(length)).unwrap().0, "TooLarge");
        }
        assert_eq!(take(&b"x".repeat(MAX_HEAD_BYTES)), None);
        assert_eq!(take(&b"\n".repeat(3 * MAX_HEAD_BYTES)), None);
        for long in [
            b"x".repeat(MAX_HEAD_BYTES + 1),
            b"a\n".repeat(MAX_HEAD_BYTES),
        ] {
            assert_eq!(take(&long).unwrap().0, "TooLarge");
        }
        let many = ["GET / HTTP/1.1\n", &"a:b\n".repeat(MAX_HEADERS), "\n"].concat();
        assert!(take(many.as_bytes()).unwrap().0.ends_with('+'));
        let more = many.replacen('\n', "\na:b\n", 1);
        assert_eq!(take(more.as_bytes()).unwrap().0, "TooLarge");
    }

    #[test]
    fn accept_encoding() {
        for (value, want) in [
            ("gzip", true),
            ("deflate,GZIP ;q=0.5, br", true),
            (" gzip;q=1.0", true),
            ("gzip; q=0", false),
            ("gzip;Q=0.000", false),
            ("gzip;q=0, gzip", true),
            ("x-gzip, deflate", false),
            ("identity", false),
            // This accepts gzip too, but no scraper sends it.
            ("*", false),
            ("", false),
        ] {
            let mut buffer = RequestBuffer::default();
            let head = format!("GET / HTTP/1.1\r\nA: gzip\r\naccept-Encoding:{value}\r\n\r\n");
            buffer.push(head.as_bytes());
            let request = buffer.take().unwrap().unwrap();
            assert_eq!(request.accepts_gzip, want, "{value}");
        }
    }

    #[test]
    fn hosts() {
        let long = "x".repeat(MAX_HOST_BYTES);
        for (header, want) in [
            ("Host: web-1", "web-1"),
            ("HOST:web_1.example.org:9090", "web_1.example.org:9090"),
            ("Host: [2001:db8::1]:9090", "[2001:db8::1]:9090"),
            (&format!("Host: {long}"), &long),
            (&format!("Host: {long}x"), ""),
            ("Host: a b", ""),
            ("Host: <b>", ""),
            ("Host: h\u{fc}", ""),
            ("Host:", ""),
            ("X: web-1", ""),
        ] {
            let mut buffer = RequestBuffer::default();
            buffer.push(format!("GET / HTTP/1.1\r\n{header}\r\n\r\n").as_bytes());
            assert_eq!(buffer.take().unwrap().unwrap().host, want, "{header}");
        }
    }
}
