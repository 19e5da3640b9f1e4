//! gzip (RFC 1952) of a text that many take, each with an end of its own.
//!
//! Its pieces are deflated once each, up to a boundary of bytes (a sync flush, as zlib calls it), so
//! that they can be put together in any way. What follows them in one answer, a few KB that differ
//! each time, is put behind them as it is, in stored blocks (RFC 1951, 3.2.4): one member, and
//! nothing is compressed for an answer.

use flate2::{Compress, Compression, Crc, FlushCompress};

/// Magic number, deflate, no flags, no time, fastest, Unix.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

/// Level 1 of 9: a third of the time of level 6 for a tenth more bytes.
const LEVEL: Compression = Compression::fast();

/// What a stored block can have.
const STORED_BYTES: usize = 0xffff;

/// A piece of a text, deflated.
#[derive(Debug)]
pub(crate) struct Deflated {
    bytes: Vec<u8>,
    crc: Crc,
}

/// What deflates, one piece after the other.
#[derive(Debug)]
pub(crate) struct Deflater(Compress);

impl Deflater {
    pub(crate) fn new() -> Self {
        Self(Compress::new(LEVEL, false))
    }

    pub(crate) fn deflate(&mut self, text: &[u8]) -> Deflated {
        let Self(compress) = self;
        compress.reset();
        let mut bytes = Vec::with_capacity(text.len() / 16 + 256);
        loop {
            let taken = usize::try_from(compress.total_in()).expect("it is within the text");
            // It fails on a broken stream, when it is read.
            let _ = compress.compress_vec(&text[taken..], &mut bytes, FlushCompress::Sync);
            // All is written once there is room left.
            if bytes.len() < bytes.capacity() {
                break;
            }
            bytes.reserve(bytes.len());
        }
        bytes.shrink_to_fit();
        let mut crc = Crc::new();
        crc.update(text);
        Deflated { bytes, crc }
    }
}

impl Deflated {
    /// The deflated piece.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The checksum of what it was.
    pub(crate) fn crc(&self) -> &Crc {
        &self.crc
    }
}

/// What comes after [`HEADER`] and pieces with this checksum if `rest` is all that follows.
pub(crate) fn end(pieces: &Crc, rest: &[u8]) -> Vec<u8> {
    let mut end = Vec::with_capacity(rest.len() + 64);
    let mut blocks = rest.chunks(STORED_BYTES).peekable();
    while let Some(block) = blocks.next() {
        stored(&mut end, block, blocks.peek().is_none());
    }
    if rest.is_empty() {
        stored(&mut end, &[], true);
    }
    let mut crc = Crc::new();
    crc.update(rest);
    let mut whole = Crc::new();
    whole.combine(pieces);
    whole.combine(&crc);
    end.extend(whole.sum().to_le_bytes());
    end.extend(whole.amount().to_le_bytes());
    end
}

fn stored(into: &mut Vec<u8>, block: &[u8], is_last: bool) {
    let length = u16::try_from(block.len()).expect("a block is short");
    into.push(u8::from(is_last));
    into.extend(length.to_le_bytes());
    into.extend((!length).to_le_bytes());
    into.extend(block);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn gzip(text: &str, rest: &str) -> Vec<u8> {
        let mut compressor = Deflater::new();
        let mut bytes = HEADER.to_vec();
        let mut crc = Crc::new();
        // Some pieces are empty.
        for piece in text.as_bytes().chunks(300_000).flat_map(|it| [it, b""]) {
            let deflated = compressor.deflate(piece);
            bytes.extend(deflated.bytes());
            crc.combine(deflated.crc());
        }
        bytes.extend(end(&crc, rest.as_bytes()));
        bytes
    }

    #[test]
    fn one_member_with_all_of_both() {
        let mut noise = 1_u32;
        let mut noise = |length: usize| -> String {
            let letters = (0..length).map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b' ' + u8::try_from(noise >> 24).unwrap() % 95)
            });
            letters.collect()
        };
        let lines = "container_exit_code{id=\"/docker/5a\"} 137\n".repeat(100_000);
        for (text, rest) in [
            ("", ""),
            ("a 1\n", ""),
            ("", "b 2\n"),
            ("a 1\n", "b 2\n"),
            (&lines, "b 2\n"),
            (&noise(1_000_000), &noise(200_000)),
            ("é\n", &noise(STORED_BYTES)),
            ("", &noise(2 * STORED_BYTES)),
        ] {
            let compressed = gzip(text, rest);
            let mut reader = GzDecoder::new(&compressed[..]);
            let mut whole = String::new();
            reader.read_to_string(&mut whole).unwrap();
            assert!(whole == format!("{text}{rest}"), "{} bytes", whole.len());
            assert!(reader.into_inner().is_empty(), "something is left");
        }
        assert!(gzip(&lines, "").len() < lines.len() / 100);
    }
}
