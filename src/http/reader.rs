//! Lines and bytes from a buffered stream, with limits.

use std::io::{BufRead, ErrorKind};

use super::HttpError;
use super::error::Limit;

/// Reads one line and returns it without its CRLF. Subtracts the bytes it read from `bytes_left`;
/// `limit` is the error when `bytes_left` is not enough.
pub(super) fn read_line(
    reader: &mut impl BufRead,
    bytes_left: &mut usize,
    limit: Limit,
) -> Result<Vec<u8>, HttpError> {
    let mut line = Vec::new();
    loop {
        let available = fill(reader).map_err(|error| {
            if line.is_empty() {
                error
            } else {
                error.in_response()
            }
        })?;
        let newline = available.iter().position(|byte| *byte == b'\n');
        let taken = newline.map_or(available.len(), |at| at + 1);
        if taken > *bytes_left {
            return Err(HttpError::TooLarge(limit));
        }
        *bytes_left -= taken;
        line.extend_from_slice(&available[..taken]);
        reader.consume(taken);
        if newline.is_some() {
            // Parsers disagree on a lone LF, so it is refused.
            let end = line.len().checked_sub(2).filter(|end| line[*end] == b'\r');
            line.truncate(
                end.ok_or_else(|| HttpError::Malformed("a line ends without CR".into()))?,
            );
            return Ok(line);
        }
    }
}

/// The buffered bytes, at least one; [`HttpError::Closed`] at the end of the stream.
pub(super) fn fill(reader: &mut impl BufRead) -> Result<&[u8], HttpError> {
    match available(reader)? {
        [] => Err(HttpError::Closed { in_response: false }),
        available => Ok(available),
    }
}

/// The buffered bytes; empty only at the end of the stream.
pub(super) fn available(reader: &mut impl BufRead) -> Result<&[u8], HttpError> {
    loop {
        match reader.fill_buf() {
            Ok([]) => return Ok(&[]),
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The borrow checker does not allow the loop to return the slice. This call reads nothing.
    Ok(reader.fill_buf()?)
}
