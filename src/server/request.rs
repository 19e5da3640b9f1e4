//! The head of a request, as far as it must be known before `tiny_http` reads the first line of it
//! (RFC 9112).

use httparse::{EMPTY_HEADER, Error, Header, Status};

/// Bytes of a request's head, at most. Prometheus sends about 250; browsers with cookies some KB.
const MAX_HEAD: usize = 16 * 1024;

/// Headers of a request, at most.
const MAX_HEADERS: usize = 100;

/// Bytes of a host's name and port: a name in the DNS has no more.
const MAX_HOST: usize = 255;

/// A request without its headers and its body.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The request line, without its end: a method, a target and HTTP/1.0 or 1.1.
    pub line: Vec<u8>,
    /// Another request may follow on the same connection.
    pub keeps_alive: bool,
    /// The answer may be compressed.
    pub takes_gzip: bool,
    /// What the client calls this host, with the port if it says one; empty if that is not plausible.
    pub host: String,
}

/// Why no request can be taken, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is no HTTP/1.x, or could mean one thing to this program and another to a proxy.
    Malformed,
    /// Its head has more than 16 KiB, or more than 100 headers.
    TooLarge,
}

/// What a client has sent and no request was made of yet. Each byte is looked at once, however they
/// come.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    /// Where the line begins that has no end yet.
    line: usize,
    /// So many bytes were searched for its end.
    searched: usize,
}

impl Input {
    /// Appends what came. Empty lines before a request are passed over (RFC 9112, 2.2).
    pub fn push(&mut self, mut bytes: &[u8]) {
        if self.bytes.is_empty() {
            let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
            bytes = &bytes[bytes.iter().take_while(|byte| is_end(byte)).count()..];
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no request has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes of what was not taken need not be looked at again: for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn searched(&self) -> usize {
        self.searched
    }

    /// Takes a whole head off the front; `None` while it is not whole. Lines may end without CR.
    ///
    /// # Errors
    /// [`Refusal`]. What comes after it is of no use.
    pub fn take(&mut self) -> Result<Option<Request>, Refusal> {
        while let Some(length) = self.unsearched().iter().position(|byte| *byte == b'\n') {
            let end = self.searched + length;
            let line = std::mem::replace(&mut self.line, end + 1)..end;
            self.searched = end + 1;
            if self.searched > MAX_HEAD {
                return Err(Refusal::TooLarge);
            }
            if matches!(&self.bytes[line.clone()], b"" | b"\r") {
                let request = Request::parse(&self.bytes[..=end]);
                let bytes = std::mem::take(self).bytes;
                self.push(&bytes[end + 1..]);
                return request.map(Some);
            }
        }
        self.searched = self.bytes.len();
        if self.bytes.len() > MAX_HEAD {
            return Err(Refusal::TooLarge);
        }
        Ok(None)
    }

    fn unsearched(&self) -> &[u8] {
        &self.bytes[self.searched..]
    }
}

impl Request {
    fn parse(head: &[u8]) -> Result<Self, Refusal> {
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(Status::Complete(_)) => {}
            Err(Error::TooManyHeaders) => return Err(Refusal::TooLarge),
            _ => return Err(Refusal::Malformed),
        }
        let (Some(method), Some(target), Some(version)) =
            (request.method, request.path, request.version)
        else {
            return Err(Refusal::Malformed);
        };
        if !target.is_ascii() {
            return Err(Refusal::Malformed);
        }
        Ok(Self {
            line: format!("{method} {target} HTTP/1.{version}").into(),
            keeps_alive: version == 1 && !request.headers.iter().any(ends_connection),
            takes_gzip: request.headers.iter().any(takes_gzip),
            host: request.headers.iter().find_map(host).unwrap_or_default(),
        })
    }
}

/// Whether no other request can follow one with this header: the client says so, or there is a
/// body, which nobody here reads.
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

/// Whether a client that sends this header takes what is compressed by gzip (RFC 9110, 12.5.3).
fn takes_gzip(header: &Header) -> bool {
    let mut codings = header.value.split(|byte| *byte == b',').map(|coding| {
        let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_gzip = parts
            .next()
            .unwrap_or_default()
            .eq_ignore_ascii_case(b"gzip");
        // A weight of nothing means that it is refused: q=0, q=0.0 and so on.
        is_gzip && !parts.any(|it| it.iter().all(|byte| b"qQ=0. ".contains(byte)))
    });
    header.name.eq_ignore_ascii_case("accept-encoding") && codings.any(|it| it)
}

/// The name or address that this header says, if it may be one.
fn host(header: &Header) -> Option<String> {
    let is_plausible = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    let is_host = header.name.eq_ignore_ascii_case("host")
        && header.value.len() <= MAX_HOST
        && header.value.iter().all(is_plausible);
    is_host.then(|| String::from_utf8_lossy(header.value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request line, `+` if another may follow, and what is left of the input.
    fn take(input: &[u8]) -> Option<(String, String)> {
        let mut whole = Input::default();
        whole.push(input);
        let request = whole.take();
        // It is all the same how they come.
        let mut drip = Input::default();
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
            Err(refusal) => format!("{refusal:?}"),
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
    fn a_head_may_be_long_but_not_longer() {
        let head = |length: usize| {
            let rest = "GET / HTTP/1.1\r\nX: \r\n\r\n".len();
            let long = "x".repeat(length - rest);
            format!("GET / HTTP/1.1\r\nX: {long}\r\n\r\n").into_bytes()
        };
        assert!(take(&head(MAX_HEAD)).unwrap().0.ends_with('+'));
        for length in [MAX_HEAD + 1, 3 * MAX_HEAD] {
            assert_eq!(take(&head(length)).unwrap().0, "TooLarge");
        }
        assert_eq!(take(&b"x".repeat(MAX_HEAD)), None);
        assert_eq!(take(&b"\n".repeat(3 * MAX_HEAD)), None);
        for long in [b"x".repeat(MAX_HEAD + 1), b"a\n".repeat(MAX_HEAD)] {
            assert_eq!(take(&long).unwrap().0, "TooLarge");
        }
        let many = ["GET / HTTP/1.1\n", &"a:b\n".repeat(MAX_HEADERS), "\n"].concat();
        assert!(take(many.as_bytes()).unwrap().0.ends_with('+'));
        let more = many.replacen('\n', "\na:b\n", 1);
        assert_eq!(take(more.as_bytes()).unwrap().0, "TooLarge");
    }

    #[test]
    fn who_takes_gzip() {
        for (value, want) in [
            ("gzip", true),
            ("deflate,GZIP ;q=0.5, br", true),
            (" gzip;q=1.0", true),
            ("gzip; q=0", false),
            ("gzip;Q=0.000", false),
            ("gzip;q=0, gzip", true),
            ("x-gzip, deflate", false),
            ("identity", false),
            // Whoever says so takes gzip as well, but no one who scrapes does.
            ("*", false),
            ("", false),
        ] {
            let mut input = Input::default();
            let head = format!("GET / HTTP/1.1\r\nA: gzip\r\naccept-Encoding:{value}\r\n\r\n");
            input.push(head.as_bytes());
            let request = input.take().unwrap().unwrap();
            assert_eq!(request.takes_gzip, want, "{value}");
        }
    }

    #[test]
    fn hosts() {
        let long = "x".repeat(MAX_HOST);
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
            let mut input = Input::default();
            input.push(format!("GET / HTTP/1.1\r\n{header}\r\n\r\n").as_bytes());
            assert_eq!(input.take().unwrap().unwrap().host, want, "{header}");
        }
    }
}
