//! The heads of answers.

use docker_exit_exporter::http::{Head, HttpError, limits};

use super::dice::Dice;
use super::wire::{End, Fault, Pieces, Slow, connection, ways};

/// Two bytes that say how the head grows, then an answer.
pub fn head(data: &[u8]) {
    let [line, how, wire @ ..] = data else {
        return;
    };
    let wire = grow(wire, *line, *how);
    let dice = Dice::new(data);
    let mut slow = Slow {
        bytes: &wire,
        at: 0,
    };
    let want = slow.head().and_then(|head| head.framing().map(|_| head));
    // More than the limits of its parts is never read.
    assert!(slow.at <= (limits::MAX_INTERIM_RESPONSES + 1) * limits::MAX_HEAD_BYTES);

    let whole = read(&wire, &Pieces::Whole);
    for pieces in ways(wire.len(), &dice) {
        let got = read(&wire, &pieces);
        match (&want, &got, &whole) {
            (Ok(want), Ok(got), Ok(whole)) => {
                want.agrees(got);
                assert_eq!(got, whole, "{pieces:?}");
            }
            (Err(want), Err(got), Err(whole)) => {
                assert_eq!(Fault::from(got), *want, "{got}, {pieces:?}");
                assert_eq!(got.to_string(), whole.to_string(), "{pieces:?}");
            }
            _ => panic!("{got:?}, not {want:?}, by {pieces:?}"),
        }
    }

    let (Ok(want), Ok(whole)) = (want, whole) else {
        return;
    };
    let again = want.written_again();
    if again.len() <= limits::MAX_HEAD_BYTES {
        assert_eq!(read(&again, &Pieces::Whole).unwrap(), whole);
    }
    // One that is cut off is none.
    let end = dice.clone().below(slow.at);
    let cut_off = read(&wire[..end], &Pieces::ByChance(dice)).unwrap_err();
    let closed = Fault::Closed { in_answer: end > 0 };
    assert_eq!(Fault::from(&cut_off), closed, "{end}");
}

fn read(wire: &[u8], pieces: &Pieces<'_>) -> Result<Head, HttpError> {
    let mut connection = connection(wire, pieces, End::Closed);
    connection.get("docker", "/", None).map(|(head, _)| head)
}

/// The same with one line as often or as long as the limits let through, or one more.
fn grow(wire: &[u8], line: u8, how: u8) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = wire
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let line = usize::from(line) % lines.len();
    match how {
        1..=4 => {
            let times = [
                limits::MAX_INTERIM_RESPONSES,
                limits::MAX_INTERIM_RESPONSES + 1,
                limits::MAX_HEADERS,
                limits::MAX_HEADERS + 1,
            ];
            lines[line] = lines[line].repeat(times[usize::from(how) - 1]);
        }
        5..=7 => {
            let length = wire.windows(4).position(|it| it == b"\r\n\r\n");
            let length = length.map_or(wire.len(), |at| at + 4);
            let missing = (limits::MAX_HEAD_BYTES + usize::from(how) - 6).saturating_sub(length);
            let end = lines[line].len().saturating_sub(2);
            lines[line].splice(end..end, std::iter::repeat_n(b'x', missing));
        }
        // The whole, for interim answers.
        8..=11 => return wire.repeat(usize::from(how)),
        _ => {}
    }
    lines.concat()
}
