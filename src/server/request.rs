//! The head of a request, as far as the gate needs to know it (RFC 9112).

/// Bytes of a request's head, at most. Prometheus sends about 250; browsers with cookies some KB.
pub(super) const HEAD_BYTES: usize = 16 * 1024;

/// A request without its headers and its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The request line, without its end; `None` if it is none of HTTP/1.x.
    pub(super) line: Option<Vec<u8>>,
    /// Another request may follow on the same connection.
    pub(super) keeps_alive: bool,
    /// The answer may be compressed.
    pub(super) takes_gzip: bool,
}

impl Request {
    /// Takes a complete head off the front of `input`; `None` while it is not complete. Lines may
    /// end without CR, and empty ones before the request are passed over (RFC 9112, 2.2).
    pub(super) fn take(input: &mut Vec<u8>) -> Option<Self> {
        let empty = input
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'));
        let start = empty.count();
        let mut line: Option<&[u8]> = None;
        let mut keeps_alive = true;
        let mut takes_gzip = false;
        let mut at = start;
        loop {
            let length = input[at..].iter().position(|byte| *byte == b'\n')?;
            let text = &input[at..at + length];
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            at += length + 1;
            match line {
                None => {
                    keeps_alive = text.ends_with(b" HTTP/1.1");
                    line = Some(text);
                }
                Some(line) if text.is_empty() => {
                    let line = is_request_line(line).then(|| line.to_owned());
                    input.drain(..at);
                    keeps_alive &= line.is_some();
                    return Some(Self {
                        line,
                        keeps_alive,
                        takes_gzip,
                    });
                }
                Some(_) => {
                    keeps_alive &= !ends_connection(text);
                    takes_gzip |= takes_gzip_by(text);
                }
            }
        }
    }
}

/// A method, a target and a version that `tiny_http` takes: HTTP/2.0 has it wait for itself, for
/// ever.
fn is_request_line(line: &[u8]) -> bool {
    let [method, target, version] = line.split(|byte| *byte == b' ').collect::<Vec<_>>()[..] else {
        return false;
    };
    let is_text = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_graphic);
    is_text(method) && is_text(target) && matches!(version, b"HTTP/1.0" | b"HTTP/1.1")
}

/// Whether no other request can follow one with this header: the client says so, or there is a
/// body, which nobody here reads.
fn ends_connection(header: &[u8]) -> bool {
    let (name, value) = split(header);
    match name.to_ascii_lowercase().as_slice() {
        b"connection" => {
            let mut options = value.split(|byte| *byte == b',');
            options.any(|it| it.trim_ascii().eq_ignore_ascii_case(b"close"))
        }
        b"content-length" => value.trim_ascii() != b"0",
        b"transfer-encoding" | b"expect" => true,
        _ => false,
    }
}

/// Whether a client that sends this header takes what is compressed by gzip (RFC 9110, 12.5.3).
fn takes_gzip_by(header: &[u8]) -> bool {
    let (name, value) = split(header);
    let mut codings = value.split(|byte| *byte == b',').map(|coding| {
        let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let is_gzip = parts
            .next()
            .is_some_and(|it| it.eq_ignore_ascii_case(b"gzip"));
        // A weight of nothing means that it is refused: q=0, q=0.0 and so on.
        is_gzip && !parts.any(|it| it.iter().all(|byte| b"qQ=0. ".contains(byte)))
    });
    name.eq_ignore_ascii_case(b"accept-encoding") && codings.any(|it| it)
}

/// A header's name and its value.
fn split(header: &[u8]) -> (&[u8], &[u8]) {
    let (name, value) = match header.iter().position(|byte| *byte == b':') {
        Some(colon) => (&header[..colon], &header[colon + 1..]),
        None => (header, &[][..]),
    };
    (name.trim_ascii(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_gzip() {
        for (header, want) in [
            ("Accept-Encoding: gzip", true),
            ("accept-encoding:deflate,GZIP ;q=0.5, br", true),
            ("Accept-Encoding: gzip;q=1.0", true),
            ("Accept-Encoding: gzip; q=0", false),
            ("Accept-Encoding: gzip;Q=0.000", false),
            ("Accept-Encoding: gzip;q=0, gzip", true),
            ("Accept-Encoding: x-gzip, deflate", false),
            ("Accept-Encoding: identity", false),
            // Whoever says so takes gzip as well, but no one who scrapes does.
            ("Accept-Encoding: *", false),
            ("Accept-Encoding:", false),
            ("Accept-Encoding", false),
            ("Content-Encoding: gzip", false),
            ("gzip", false),
        ] {
            let mut input = format!("GET / HTTP/1.1\r\nA: b\r\n{header}\r\n\r\n").into_bytes();
            let request = Request::take(&mut input).unwrap();
            assert_eq!(request.takes_gzip, want, "{header}");
        }
    }

    /// The request line, `+` if another may follow, and what is left of the input.
    fn take(input: &str) -> Option<(String, String)> {
        let mut input = input.as_bytes().to_vec();
        let request = Request::take(&mut input)?;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let more = if request.keeps_alive { "+" } else { "" };
        Some((request.line.map_or("bad".into(), text) + more, text(input)))
    }

    #[test]
    fn heads() {
        for (input, want) in [
            ("", None),
            ("\r\n\r\n", None),
            ("GET / HTTP/1.1\r\n", None),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(("GET / HTTP/1.1+", ""))),
            ("GET / HTTP/1.1\n\n", Some(("GET / HTTP/1.1+", ""))),
            ("\r\n\nGET / HTTP/1.1\n\r\n", Some(("GET / HTTP/1.1+", ""))),
            (
                "GET / HTTP/1.1\r\n\r\nGET",
                Some(("GET / HTTP/1.1+", "GET")),
            ),
            ("GET / HTTP/1.0\r\n\r\n", Some(("GET / HTTP/1.0", ""))),
            ("* * HTTP/1.1\r\n\r\n", Some(("* * HTTP/1.1+", ""))),
            ("GET /\r\n\r\n", Some(("bad", ""))),
            ("GET  / HTTP/1.1\r\n\r\n", Some(("bad", ""))),
            ("GET / HTTP/1.1 \r\n\r\n", Some(("bad", ""))),
            ("GET / HTTP/1.1 HTTP/1.1\r\n\r\n", Some(("bad", ""))),
            (" / HTTP/1.1\r\n\r\n", Some(("bad", ""))),
            ("GET  HTTP/1.1\r\n\r\n", Some(("bad", ""))),
            ("GET /\u{e9} HTTP/1.1\r\n\r\n", Some(("bad", ""))),
            ("GET /\rb HTTP/1.1\r\n\r\n", Some(("bad", ""))),
            ("GET / HTTP/2.0\r\n\r\nSM", Some(("bad", "SM"))),
            ("GET / HTTP/1.2\r\n\r\n", Some(("bad", ""))),
            ("GET / http/1.1\r\n\r\n", Some(("bad", ""))),
        ] {
            let want = want.map(|(line, left): (&str, &str)| (line.into(), left.into()));
            assert_eq!(take(input), want, "{input:?}");
        }
    }

    #[test]
    fn what_ends_a_connection() {
        for (header, keeps_alive) in [
            ("Host: x", true),
            ("Connection: keep-alive", true),
            ("Connection: Upgrade, HTTP2-Settings", true),
            ("Connection: close", false),
            ("connection:Keep-Alive , CLOSE", false),
            ("Connection : close", false),
            ("Content-Length: 0", true),
            ("Content-Length: 5", false),
            ("Content-Length: 99999999999999999999", false),
            ("content-length: -1", false),
            ("Content-Length:", false),
            ("Transfer-Encoding: chunked", false),
            ("Expect: 100-continue", false),
            ("Expect", false),
            ("no header", true),
        ] {
            let head = format!("GET / HTTP/1.1\r\nA: b\r\n{header}\r\nC: d\r\n\r\n");
            let (line, left) = take(&head).unwrap();
            assert_eq!(line.ends_with('+'), keeps_alive, "{header}");
            assert_eq!(left, "", "{header}");
        }
    }
}
