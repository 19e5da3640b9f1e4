//! gzip (RFC 1952) for a text that is sent to many clients, each time with a different tail.
//!
//! Each segment of the text is deflated once and ends on a byte boundary (zlib's sync flush), so that
//! segments can be concatenated. The tail, a few KB, follows uncompressed in stored blocks (RFC 1951,
//! 3.2.4). The result is one gzip member, and no response needs any compression of its own.

use flate2::{Compress, Compression, Crc, FlushCompress};

/// Magic number, deflate, no flags, no time, fastest, Unix.
pub(crate) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 3];

/// Level 1 of 9 takes a third of the time of level 6 and makes a tenth more bytes.
const LEVEL: Compression = Compression::fast();

/// The most that a stored block can hold.
const MAX_BLOCK_BYTES: usize = 0xffff;

/// A deflated segment, with the checksum of its plain text.
#[derive(Debug)]
pub(crate) struct Deflated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) crc: Crc,
}

/// A compressor that deflates one segment after another.
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
            let consumed = usize::try_from(compress.total_in()).expect("it is within the text");
            // Only decompression can fail.
            let _ = compress.compress_vec(&text[consumed..], &mut bytes, FlushCompress::Sync);
            // Room left in the buffer means that all is written.
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

/// The end of a gzip member: the tail in stored blocks, then checksum and length. `crc` is the combined
/// checksum of the segments before.
pub(crate) fn tail(crc: &Crc, tail: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tail.len() + 64);
    let mut blocks = tail.chunks(MAX_BLOCK_BYTES).peekable();
    while let Some(block) = blocks.next() {
        push_stored(&mut bytes, block, blocks.peek().is_none());
    }
    if tail.is_empty() {
        push_stored(&mut bytes, &[], true);
    }
    let mut whole = Crc::new();
    whole.combine(crc);
    whole.update(tail);
    bytes.extend(whole.sum().to_le_bytes());
    bytes.extend(whole.amount().to_le_bytes());
    bytes
}

fn push_stored(bytes: &mut Vec<u8>, block: &[u8], is_last: bool) {
    let length = u16::try_from(block.len()).expect("a block is short");
    bytes.push(u8::from(is_last));
    bytes.extend(length.to_le_bytes());
    bytes.extend((!length).to_le_bytes());
    bytes.extend(block);
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn gzip(text: &str, rest: &str) -> Vec<u8> {
        let mut compressor = Deflater::new();
        let mut bytes = GZIP_HEADER.to_vec();
        let mut crc = Crc::new();
        // Some segments are empty.
        for segment in text.as_bytes().chunks(300_000).flat_map(|it| [it, b""]) {
            let deflated = compressor.deflate(segment);
            bytes.extend(&deflated.bytes);
            crc.combine(&deflated.crc);
        }
        bytes.extend(tail(&crc, rest.as_bytes()));
        bytes
    }

    #[test]
    fn the_result_is_one_gzip_member() {
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
            ("é\n", &noise(MAX_BLOCK_BYTES)),
            ("", &noise(2 * MAX_BLOCK_BYTES)),
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
