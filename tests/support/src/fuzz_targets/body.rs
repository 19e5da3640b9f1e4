//! The bodies of answers, and their framing.

use docker_exit_exporter::http::{Connection, HttpError, limits};

use super::dice::Dice;
use super::wire::{End, Fault, Framing, Pieces, Played, Slow, connection, ways};

/// A length that is not there is put in.
const HEADS: [&str; 6] = [
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: ",
    "HTTP/1.0 200 OK\r\nContent-Length: ",
];

/// What may stand behind the last chunk.
const TRAILERS: [&str; 3] = ["", "Trailer: x\r\n", "a\r\n: \r\nb: c\r\n"];

/// A byte that chooses the head and one that says how much is read at most, then a body.
pub fn body(data: &[u8]) {
    let [kind, most, body @ ..] = data else {
        return;
    };
    is_read_as_it_is_framed(*kind, *most, body);
    is_read_back(body, &mut Dice::new(data));
}

/// As much as a length says, or the limit allows: a few bytes more or less than there are.
fn about(count: usize, byte: u8) -> usize {
    match byte {
        0..100 => count,
        100..200 => count.saturating_add_signed(isize::from(byte) - 150),
        200..240 => usize::from(byte) - 200,
        _ => usize::MAX,
    }
}

fn is_read_as_it_is_framed(kind: u8, most: u8, body: &[u8]) {
    let head = HEADS[usize::from(kind) % HEADS.len()];
    let mut wire = head.as_bytes().to_vec();
    if !head.ends_with('\n') {
        wire.extend(format!("{}\r\n\r\n", about(body.len(), most.rotate_left(3))).bytes());
    }
    wire.extend(grown(body, kind));
    let most = about(body.len(), most);
    let end = if kind >= 128 { End::Reset } else { End::Closed };

    let mut slow = Slow {
        bytes: &wire,
        at: 0,
    };
    let head = slow.head().unwrap();
    let framing = head.framing().unwrap();
    let want = slow.body(framing, most, end);
    let nothing_left = slow.left().is_empty();
    let stays_open = head.keeps_alive() && framing != Framing::UntilClose;

    let whole = read(&wire, &Pieces::Whole, end, most);
    for pieces in ways(wire.len(), &Dice::new(body)) {
        let got = read(&wire, &pieces, end, most);
        match (&want, &got, &whole) {
            (Ok(want), Ok((got, idle)), Ok((_, whole_idle))) => {
                assert_eq!(got, want, "{pieces:?}");
                assert!(got.len() <= most && got.len() <= wire.len());
                // What comes unasked is seen only where it comes at once.
                if nothing_left {
                    assert_eq!(*idle, stays_open, "{pieces:?}");
                }
                assert_eq!(*whole_idle, nothing_left && stays_open);
            }
            (Err(want), Err(got), Err(whole)) => {
                assert_eq!(Fault::from(got), *want, "{got}, {pieces:?}");
                assert_eq!(got.to_string(), whole.to_string(), "{pieces:?}");
            }
            _ => panic!("{got:?}, not {want:?}, by {pieces:?}"),
        }
    }
}

/// The body with a line of it as long, or a trailer as often, as the limits let through or not.
fn grown(body: &[u8], kind: u8) -> Vec<u8> {
    let how = kind % 128 / 6;
    let Some(end) = body.windows(2).position(|it| it == b"\r\n") else {
        return body.to_vec();
    };
    let (start, rest) = body.split_at(end);
    match how {
        1..=3 => {
            let missing = (limits::MAX_LINE_BYTES + usize::from(how) - 4).saturating_sub(end);
            [start, &vec![b';'; missing][..], rest].concat()
        }
        4 | 5 => {
            let trailers = b"a: b\r\n".repeat(limits::MAX_TRAILERS + usize::from(how) - 4);
            let (line_end, rest) = rest.split_at(2);
            [start, line_end, &trailers[..], rest].concat()
        }
        _ => body.to_vec(),
    }
}

/// The body, and whether the connection can be used again.
fn read(
    wire: &[u8],
    pieces: &Pieces<'_>,
    end: End,
    most: usize,
) -> Result<(Vec<u8>, bool), HttpError> {
    let mut connection = connection(wire, pieces, end);
    let (_, mut body) = connection.get("docker", "/", None)?;
    let mut text = Vec::new();
    let result = body.read_to_end(&mut text, most);
    assert!(text.len() <= most, "{} bytes of {most}", text.len());
    if result.is_err() {
        assert!(!connection.is_idle());
    }
    result.map(|()| (text, connection.is_idle()))
}

/// What was put into chunks comes out again, and the connection serves the next answer; one that is
/// cut off is told as such.
fn is_read_back(payload: &[u8], dice: &mut Dice<'_>) {
    let wire = [HEADS[0].as_bytes(), &chunked(payload, dice)].concat();
    let next = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    for pieces in ways(wire.len(), dice) {
        let mut connection = Connection::new(Played {
            answers: [&wire[..], next].into(),
            pieces,
            end: End::Closed,
        });
        for (want, status) in [(payload, 200), (b"no", 404)] {
            let (head, mut body) = connection.get("docker", "/", None).unwrap();
            let mut text = Vec::new();
            // A part as it comes, if any, and what is left at once.
            for _ in 0..dice.below(4) {
                let bytes = body.fill().unwrap().to_vec();
                assert_eq!(body.fill().unwrap(), bytes, "they come again");
                let count = dice.below(bytes.len() + 1);
                text.extend_from_slice(&bytes[..count]);
                body.consume(count);
            }
            body.read_to_end(&mut text, want.len()).unwrap();
            assert_eq!((text.as_slice(), head.status), (want, status));
            assert!(connection.is_idle());
        }
    }

    let at = usize::try_from(dice.number() % wire.len() as u64).unwrap_or_default();
    let end = dice.one_of(&[End::Closed, End::Reset]);
    let result = read(
        &wire[..at],
        &Pieces::ByChance(dice.clone()),
        end,
        usize::MAX,
    );
    let in_answer = at > 0;
    assert_eq!(
        Fault::from(&result.unwrap_err()),
        Fault::Closed { in_answer }
    );
}

/// A body in chunks, as no Engine writes them but any may.
pub(super) fn chunked(mut payload: &[u8], dice: &mut Dice<'_>) -> Vec<u8> {
    let mut wire = Vec::new();
    while !payload.is_empty() {
        let most = dice.one_of(&[1, 3, 16, 300, usize::MAX]);
        let (chunk, rest) = payload.split_at(1 + dice.below(payload.len().min(most)));
        wire.extend(size_line(chunk.len(), dice).bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        payload = rest;
    }
    wire.extend(size_line(0, dice).bytes());
    wire.extend(dice.one_of(&TRAILERS).bytes());
    wire.extend_from_slice(b"\r\n");
    wire
}

fn size_line(size: usize, dice: &mut Dice<'_>) -> String {
    let number = match dice.below(4) {
        0 => format!("{size:X}"),
        1 => format!("{size:020x}"),
        _ => format!("{size:x}"),
    };
    let extension = dice.one_of(&["", "", "  ", ";", ";a=b", " ; q=\"\u{e9};5\"", "\t;\r;"]);
    format!("{number}{extension}\r\n")
}
