//! The heads of requests, and what a query asks the page to show.

use docker_exit_exporter::page::View;
use docker_exit_exporter::server::request::{RequestBuffer, RequestError, RequestHead};

use super::dice::Dice;
use super::wire::{Pieces, ways};

/// Bytes of a head, at most.
const HEAD_BYTES: usize = 16 * 1024;

/// Headers of a request, at most.
const HEADERS: usize = 100;

/// Two bytes that say how the first head grows, then what a client sends.
pub fn request(data: &[u8]) {
    let [line, how, wire @ ..] = data else {
        return;
    };
    let wire = grown(wire, *line, *how);
    let slow = slow(&wire);
    for pieces in ways(wire.len(), &Dice::new(data)) {
        is_read_as(&slow, &wire, pieces);
    }
}

/// What is read of one connection, and where each head ends. None follows a refusal, or a
/// request that does not keep the connection alive.
type Heads = Vec<(Result<SlowRequest, RequestError>, usize)>;

/// A request, read from a head that is there as a whole.
struct SlowRequest {
    line: String,
    keeps_alive: bool,
    may_take_gzip: bool,
}

fn is_read_as(want: &Heads, wire: &[u8], mut pieces: Pieces<'_>) {
    let mut input = RequestBuffer::default();
    let mut left = wire;
    let mut want = want.iter();
    // Where the head begins that is not whole.
    let mut start = 0;
    loop {
        let came = &wire[start..wire.len() - left.len()];
        let came = without_empty_lines(came);
        let taken = input.take();
        match taken {
            Ok(None) => {
                assert_eq!(input.is_empty(), came.is_empty(), "{pieces:?}");
                // None of them is looked at again, and they are not many.
                assert_eq!(input.searched(), came.len(), "{pieces:?}");
                assert!(came.len() <= HEAD_BYTES, "{pieces:?}");
            }
            Ok(Some(request)) => {
                let (wanted, end) = want.next().expect("a request was there");
                let wanted = wanted.as_ref().expect("the request is good");
                wanted.agrees(&request);
                if !request.keeps_alive {
                    break;
                }
                start = *end;
                continue;
            }
            Err(refusal) => {
                let (wanted, _) = want.next().expect("it was refused for a reason");
                assert_eq!(wanted.as_ref().err(), Some(&refusal), "{pieces:?}");
                break;
            }
        }
        if left.is_empty() {
            break;
        }
        let (piece, rest) = left.split_at(pieces.most().min(left.len()));
        input.push(piece);
        left = rest;
    }
    assert!(
        want.next().is_none(),
        "a request was passed over: {pieces:?}"
    );
}

impl SlowRequest {
    fn agrees(&self, request: &RequestHead) {
        assert_eq!(self.line.as_bytes(), request.line);
        assert_eq!(self.keeps_alive, request.keeps_alive);
        assert!(self.may_take_gzip || !request.accepts_gzip);
        // As `tiny_http` is to see it.
        let parts: Vec<_> = self.line.split(' ').collect();
        let [method, target, version] = parts[..] else {
            panic!("{:?} has not three parts", self.line);
        };
        for part in [method, target] {
            assert!(!part.is_empty() && part.bytes().all(|it| it.is_ascii_graphic()));
        }
        assert!(matches!(version, "HTTP/1.0" | "HTTP/1.1"));
        let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        assert!(request.host.len() <= 255 && request.host.bytes().all(is_of_host));
        shows_what_its_query_says(target.split_once('?').unwrap_or_default().1);
    }
}

fn shows_what_its_query_says(query: &str) {
    let view = View::parse(query);
    let query = view.query();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*-._+%=&".contains(&byte);
    assert!(query.bytes().skip(1).all(is_plain), "{query}");
    assert_eq!(
        View::parse(query.strip_prefix('?').unwrap_or_default()),
        view
    );
}

fn slow(wire: &[u8]) -> Heads {
    let mut heads = Vec::new();
    let mut left = wire;
    loop {
        left = without_empty_lines(left);
        let head = match slow_head(left) {
            Ok(None) => return heads,
            Ok(Some(length)) => {
                let (head, rest) = left.split_at(length);
                left = rest;
                slow_request(head)
            }
            Err(refusal) => Err(refusal),
        };
        let goes_on = head.as_ref().is_ok_and(|it| it.keeps_alive);
        heads.push((head, wire.len() - left.len()));
        if !goes_on {
            return heads;
        }
    }
}

fn without_empty_lines(mut bytes: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// The length of the head, with the empty line that ends it.
fn slow_head(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    let ends = [&b"\n\n"[..], b"\n\r\n"].map(|end| {
        let at = bytes.windows(end.len()).position(|it| it == end);
        at.map(|at| at + end.len())
    });
    let end = ends.into_iter().flatten().min();
    if end.unwrap_or(bytes.len()) > HEAD_BYTES {
        return Err(RequestError::TooLarge);
    }
    Ok(end)
}

/// As RFC 9112 wants it, sections 2 to 5, and no other way.
fn slow_request(head: &[u8]) -> Result<SlowRequest, RequestError> {
    let lines = head.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.take_while(|line| !line.is_empty());

    let line = std::str::from_utf8(lines.next().unwrap_or_default());
    let line = line.map_err(|_| RequestError::Malformed)?;
    let parts: Vec<_> = line.split(' ').collect();
    let [method, target, version] = parts[..] else {
        return Err(RequestError::Malformed);
    };
    let is_target = |byte: u8| byte.is_ascii_graphic() || !byte.is_ascii();
    if !is_token(method.as_bytes()) || target.is_empty() || !target.bytes().all(is_target) {
        return Err(RequestError::Malformed);
    }
    let mut request = SlowRequest {
        line: line.to_owned(),
        keeps_alive: match version {
            "HTTP/1.0" => false,
            "HTTP/1.1" => true,
            _ => return Err(RequestError::Malformed),
        },
        may_take_gzip: false,
    };

    for (number, line) in lines.enumerate() {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.ok_or(RequestError::Malformed)?);
        let is_text = |byte: &u8| *byte == b'\t' || !byte.is_ascii_control();
        if !is_token(name) || !value.iter().all(is_text) {
            return Err(RequestError::Malformed);
        }
        if number == HEADERS {
            return Err(RequestError::TooLarge);
        }
        let value = String::from_utf8_lossy(&value[1..]).to_ascii_lowercase();
        let value = value.trim_matches([' ', '\t']);
        match String::from_utf8_lossy(name).to_ascii_lowercase().as_str() {
            "content-length" => request.keeps_alive &= value == "0",
            "transfer-encoding" | "expect" => request.keeps_alive = false,
            "connection" => {
                let mut options = value.split(',').map(|it| it.trim_matches([' ', '\t']));
                request.keeps_alive &= options.all(|it| it != "close");
            }
            "accept-encoding" => request.may_take_gzip |= value.contains("gzip"),
            _ => {}
        }
    }
    // Nothing else is wrong with it.
    if !line.is_ascii() {
        return Err(RequestError::Malformed);
    }
    Ok(request)
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// The same with one line as often, or as long, as the limits let through, or a bit less or more.
fn grown(wire: &[u8], line: u8, how: u8) -> Vec<u8> {
    let mut lines: Vec<_> = wire
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let line = usize::from(line) % lines.len();
    match how {
        1..=3 => lines[line] = lines[line].repeat(HEADERS + usize::from(how) - 2),
        4..=6 => {
            let length = slow_head(wire).ok().flatten().unwrap_or(wire.len());
            let missing = (HEAD_BYTES + usize::from(how) - 5).saturating_sub(length);
            let end = lines[line].len().saturating_sub(2);
            lines[line].splice(end..end, std::iter::repeat_n(b'x', missing));
        }
        // All of them, one after the other.
        7..=9 => return wire.repeat(usize::from(how)),
        _ => {}
    }
    lines.concat()
}
