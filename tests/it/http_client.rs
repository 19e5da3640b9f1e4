//! The hand-written HTTP client on what real Engines wrote: whole, cut off at every byte, in pieces
//! of every size, and bent out of shape.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use docker_exit_exporter::deadline::Transport;
use docker_exit_exporter::http::{Connection, Head, HttpError, limits};

/// Plays bytes, at most `piece` at a time, and forgets what is sent.
struct Recorded<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Recorded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(buffer.len()).min(self.bytes.len());
        buffer[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes = &self.bytes[count..];
        Ok(count)
    }
}

impl Write for Recorded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Recorded<'_> {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// Plays reads, one after the other, and what they fail with; then it is closed.
struct Script(VecDeque<Result<&'static str, ErrorKind>>);

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.0.pop_front().unwrap_or(Ok(""))?.as_bytes();
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Script {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// The body of what these reads bring.
fn body_of<const READS: usize>(
    reads: [Result<&'static str, ErrorKind>; READS],
) -> Result<String, HttpError> {
    let mut connection = Connection::new(Script(reads.into()));
    let (_, mut body) = connection.get("docker", "/", None)?;
    let mut text = Vec::new();
    body.read_to_end(&mut text, 100)?;
    Ok(String::from_utf8(text).unwrap())
}

const WHOLE: usize = usize::MAX;

/// The answer as the client reads it, and whether the connection can be used again.
fn read_up_to(
    bytes: &[u8],
    piece: usize,
    limit: usize,
) -> Result<(Head, Vec<u8>, bool), HttpError> {
    let mut connection = Connection::new(Recorded { bytes, piece });
    let (head, mut body) = connection.get("docker", "/", None)?;
    let mut text = Vec::new();
    body.read_to_end(&mut text, limit)?;
    Ok((head, text, connection.is_idle()))
}

fn read(bytes: &[u8], piece: usize) -> Result<(Head, Vec<u8>, bool), HttpError> {
    read_up_to(bytes, piece, limits::MAX_BODY_BYTES)
}

fn body(bytes: &str) -> Result<String, HttpError> {
    read(bytes.as_bytes(), WHOLE).map(|(_, body, _)| String::from_utf8(body).unwrap())
}

/// All recorded answers that have an end.
fn recordings() -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for engine in ["docker-20.10", "docker-28.5", "podman-5.8"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(engine);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let endless = path.ends_with("events.http");
            if path.extension().is_some_and(|it| it == "http") && !endless {
                let bytes = fs::read(&path).unwrap();
                all.push((path, bytes));
            }
        }
    }
    assert!(all.len() > 80, "the recordings are incomplete");
    all
}

/// The body of a recording, taken out of its framing in another way than the client's.
fn expected_body(bytes: &[u8]) -> Vec<u8> {
    let at = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..at]).unwrap();
    let mut rest = &bytes[at + 4..];
    if !head.contains("Transfer-Encoding: chunked") {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            assert_eq!(&rest[end..], b"\r\n\r\n");
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
}

#[test]
fn recorded_answers_are_read_whole_and_in_pieces_of_any_size() {
    for (path, bytes) in recordings() {
        let want = expected_body(&bytes);
        for piece in [1, 2, 3, 7, 4096, WHOLE] {
            let (head, body, idle) =
                read(&bytes, piece).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(head.header("api-version").is_some(), "{}", path.display());
            assert_eq!(body, want, "{} by {piece}", path.display());
            assert!(!idle, "{} was to be the last one", path.display());
        }
    }
}

#[test]
fn no_answer_that_is_cut_off_passes_for_a_whole_one() {
    for (path, bytes) in recordings() {
        for end in 0..bytes.len() {
            let result = read(&bytes[..end], WHOLE);
            let in_answer = end > 0;
            assert!(
                matches!(result, Err(HttpError::Closed { in_response: it }) if it == in_answer),
                "{} cut at {end}: {result:?}",
                path.display()
            );
        }
    }
}

#[test]
fn a_stream_of_events_is_read_as_it_comes() {
    for engine in ["docker-20.10", "docker-28.5", "podman-5.8"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(engine);
        let bytes = fs::read(folder.join("events.http")).unwrap();
        let stream = Recorded {
            bytes: &bytes,
            piece: 100,
        };
        let mut connection = Connection::new(stream);
        let (_, mut body) = connection.get("docker", "/events", None).unwrap();
        let mut text = Vec::new();
        let error = loop {
            match body.fill() {
                Ok([]) => panic!("{engine}: the recording has no last chunk"),
                Ok(bytes) => {
                    text.extend_from_slice(bytes);
                    let count = bytes.len();
                    body.consume(count);
                }
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, HttpError::Closed { in_response: true }),
            "{error}"
        );
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.lines().count() > 50,
            "{engine}: {}",
            text.lines().count()
        );
    }
}

#[test]
fn chunks() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let huge = format!(
        "5;{}\r\nhello\r\n0\r\n\r\n",
        "x".repeat(limits::MAX_LINE_BYTES)
    );
    let many_trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(limits::MAX_TRAILERS + 1));
    let few_trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(limits::MAX_TRAILERS));
    for (chunks, want) in [
        ("0\r\n\r\n", Ok("")),
        ("5\r\nhello\r\n0\r\n\r\n", Ok("hello")),
        ("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", Ok("hello")),
        ("5;ext=1;q=\"a b\"\r\nhello\r\n0;last\r\n\r\n", Ok("hello")),
        ("5  \r\nhello\r\n0\r\n\r\n", Ok("hello")),
        ("0\r\nTrailer: x\r\nOther: y\r\n\r\n", Ok("")),
        (&few_trailers, Ok("")),
        (&many_trailers, Err("100 trailers")),
        (&huge, Err("4096 bytes")),
        ("+5\r\nhello\r\n0\r\n\r\n", Err("bad chunk size \"+5\"")),
        ("-5\r\nhello\r\n0\r\n\r\n", Err("bad chunk size")),
        ("0x5\r\nhello\r\n0\r\n\r\n", Err("bad chunk size")),
        ("\r\nhello\r\n0\r\n\r\n", Err("bad chunk size \"\"")),
        ("fffffffffffffffff\r\nhello", Err("bad chunk size")),
        ("ffffffffffffffff\r\nhello", Err("middle of the answer")),
        ("4\r\nhello\r\n0\r\n\r\n", Err("longer than its size")),
        ("6\r\nhello\r\n0\r\n\r\n", Err("without CR")),
        ("2\nhe\n3\nllo\n0\n\n", Err("without CR")),
        ("5\r\nhello0\r\n\r\n", Err("longer than its size")),
        ("5\r\nhello\r\n", Err("middle of the answer")),
        ("5\r\nhello\r\n0\r\n", Err("middle of the answer")),
    ] {
        let bytes = format!("{HEAD}{chunks}");
        match (body(&bytes), want) {
            (Ok(body), Ok(want)) => assert_eq!(body, want, "{chunks:?}"),
            (Err(error), Err(want)) => {
                assert!(error.to_string().contains(want), "{chunks:?}: {error}");
            }
            (got, want) => panic!("{chunks:?}: {got:?}, not {want:?}"),
        }
    }
}

#[test]
fn chunks_without_end_stop_at_the_bodys_limit() {
    let chunks = "5\r\nhello\r\n".repeat(100);
    let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let error = read_up_to(bytes.as_bytes(), WHOLE, 99).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the body is larger than the limit of 99 bytes"
    );
}

#[test]
fn a_length_over_the_limit_is_refused_before_the_body_is_read() {
    let at = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        read_up_to(format!("{head}{}", "x".repeat(10)).as_bytes(), WHOLE, 10)
    };
    assert_eq!(at(10).unwrap().1.len(), 10);
    assert!(matches!(at(11), Err(HttpError::TooLarge(_))));
}

#[test]
fn a_body_ends_where_its_framing_says() {
    for (bytes, want, idle) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", "OK", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", false),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nOK",
            "OK",
            false,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nOK",
            "OK",
            false,
        ),
        // What nobody asked for makes the connection useless.
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOKmore",
            "OK",
            false,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
            "OK",
            true,
        ),
    ] {
        let (_, body, is_idle) = read(bytes.as_bytes(), WHOLE).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), want, "{bytes:?}");
        assert_eq!(is_idle, idle, "{bytes:?}");
    }
}

#[test]
fn interim_answers_have_an_end() {
    let answer = "HTTP/1.1 100 Continue\r\n\r\n".repeat(limits::MAX_INTERIM_RESPONSES + 1);
    assert!(matches!(
        read(answer.as_bytes(), WHOLE),
        Err(HttpError::TooLarge(_))
    ));
    // A peer that answered in part has not been away: nothing may be sent again.
    for answers in 1..=limits::MAX_INTERIM_RESPONSES {
        let answer = "HTTP/1.1 100 Continue\r\n\r\n".repeat(answers);
        let error = read(answer.as_bytes(), WHOLE).unwrap_err();
        assert!(!error.is_closed_before_response(), "{answers}");
    }
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\n";
    assert!(matches!(read(switch, WHOLE), Err(HttpError::Malformed(_))));
}

#[test]
fn an_interrupted_read_is_repeated_wherever_it_is() {
    let interrupted = Err(ErrorKind::Interrupted);
    let text = body_of([
        interrupted,
        Ok("HTTP/1.1 2"),
        interrupted,
        Ok("00 OK\r\n\r\nhel"),
        interrupted,
        Ok("lo"),
        interrupted,
    ]);
    assert_eq!(text.unwrap(), "hello");
    // Of the end, as well: once it has come, nothing more is asked for.
    let cut_off = body_of([Ok("HTTP/1.1 2"), Ok(""), interrupted]);
    assert!(
        matches!(cut_off, Err(HttpError::Closed { in_response: true })),
        "{cut_off:?}"
    );
}

#[test]
fn a_body_without_a_length_that_is_broken_off_does_not_pass_for_a_whole_one() {
    let head = Ok("HTTP/1.0 200 OK\r\n\r\n");
    assert_eq!(body_of([head, Ok("[]")]).unwrap(), "[]");
    let broken_off = body_of([head, Ok("[]"), Err(ErrorKind::ConnectionReset)]);
    assert!(
        matches!(broken_off, Err(HttpError::Closed { in_response: true })),
        "{broken_off:?}"
    );
}

#[test]
fn a_connection_is_used_again_for_answer_after_answer() {
    let bytes = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none\
                 HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
                 HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthree";
    // One byte at a time, so that nothing is read ahead.
    let stream = Recorded {
        bytes: bytes.as_bytes(),
        piece: 1,
    };
    let mut connection = Connection::new(stream);
    for (want, status, idle) in [
        ("one", 200, true),
        ("two", 404, true),
        ("three", 200, false),
    ] {
        let (head, mut body) = connection.get("docker", "/", None).unwrap();
        let mut text = Vec::new();
        body.read_to_end(&mut text, 100).unwrap();
        assert_eq!((head.status, text.as_slice()), (status, want.as_bytes()));
        assert_eq!(connection.is_idle(), idle);
    }
}

#[test]
fn a_body_that_was_not_read_to_its_end_leaves_no_idle_connection() {
    let stream = Recorded {
        bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        piece: WHOLE,
    };
    let mut connection = Connection::new(stream);
    let (_, mut body) = connection.get("docker", "/", None).unwrap();
    body.fill().unwrap();
    body.consume(3);
    assert!(!connection.is_idle());
}

#[test]
#[should_panic(expected = "must not be split")]
fn a_path_cannot_smuggle_a_second_request() {
    let mut connection = Connection::new(Recorded {
        bytes: b"",
        piece: WHOLE,
    });
    let _ = connection.get("docker", "/x HTTP/1.1\r\nX: y", None);
}

#[test]
fn silence_ends_at_the_deadline_wherever_it_begins() {
    use std::os::unix::net::UnixStream;
    use std::time::Instant;
    for start in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
    ] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(start.as_bytes()).unwrap();
        let mut connection = Connection::new(ours);
        let deadline = Instant::now() + Duration::from_millis(50);
        let result = connection
            .get("docker", "/", Some(deadline))
            .and_then(|(_, mut body)| body.read_to_end(&mut Vec::new(), 100));
        assert!(
            matches!(result, Err(HttpError::DeadlinePassed)),
            "{start:?}: {result:?}"
        );
    }
}
