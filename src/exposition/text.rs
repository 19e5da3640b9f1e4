//! A text in segments that successive texts share. Each segment is compressed at most once.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flate2::Crc;

use super::gzip::{self, Deflated, Deflater};

/// One compressor for all texts, made on first use. It takes 300 KB, which some allocators would keep
/// for each thread that had one.
static COMPRESSOR: Mutex<Option<Deflater>> = Mutex::new(None);

/// A text in segments, most of which it may share with the text before. It is compressed on first use.
#[derive(Debug, Default)]
pub struct SharedText {
    segments: Vec<Arc<Segment>>,
    gzip: OnceLock<GzipTotals>,
}

/// A segment of a text.
#[derive(Debug, Default)]
pub struct Segment {
    plain: String,
    deflated: OnceLock<Deflated>,
}

/// Length and checksum of a text whose segments are all deflated.
#[derive(Debug)]
struct GzipTotals {
    length: usize,
    crc: Crc,
}

impl From<String> for Segment {
    fn from(plain: String) -> Self {
        Self {
            plain,
            deflated: OnceLock::new(),
        }
    }
}

impl From<Vec<Arc<Segment>>> for SharedText {
    fn from(segments: Vec<Arc<Segment>>) -> Self {
        Self {
            segments,
            gzip: OnceLock::new(),
        }
    }
}

impl From<String> for SharedText {
    fn from(plain: String) -> Self {
        vec![Arc::new(plain.into())].into()
    }
}

impl Segment {
    /// A segment that exists only in deflated form.
    pub(crate) fn deflated_only(plain: &str) -> Self {
        Self {
            plain: String::new(),
            deflated: deflate(plain).into(),
        }
    }

    pub(crate) fn plain(&self) -> &str {
        &self.plain
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Its bytes, plain or deflated. [`SharedText::length`] deflates all segments of a text; before that,
    /// there are no deflated bytes.
    pub(crate) fn bytes(&self, gzip: bool) -> &[u8] {
        if gzip {
            self.deflated.get().map_or(&[], |it| &it.bytes)
        } else {
            self.plain.as_bytes()
        }
    }

    /// The memory that both forms take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.plain.capacity() + self.bytes(true).len()
    }
}

impl SharedText {
    /// The plain text.
    #[must_use]
    pub fn plain(&self) -> String {
        self.segments.iter().map(|it| it.plain.as_str()).collect()
    }

    /// Whether the text consists of exactly these segments.
    pub(crate) fn consists_of(&self, segments: &[Arc<Segment>]) -> bool {
        let mut pairs = self.segments.iter().zip(segments);
        self.segments.len() == segments.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
    }

    pub(crate) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// The length of all segments in bytes, plain or deflated. The first call with `gzip` deflates them;
    /// concurrent calls wait for it.
    pub(crate) fn length(&self, gzip: bool) -> usize {
        if gzip {
            return self.gzip_totals().length;
        }
        self.segments.iter().map(|it| it.plain.len()).sum()
    }

    /// What must follow the deflated segments if `tail` is the rest of the body.
    pub(crate) fn gzip_tail(&self, tail: &[u8]) -> Vec<u8> {
        gzip::tail(&self.gzip_totals().crc, tail)
    }

    fn gzip_totals(&self) -> &GzipTotals {
        self.gzip.get_or_init(|| {
            let mut totals = GzipTotals {
                length: 0,
                crc: Crc::new(),
            };
            for segment in &self.segments {
                let deflated = segment.deflated.get_or_init(|| deflate(&segment.plain));
                totals.length += deflated.bytes.len();
                totals.crc.combine(&deflated.crc);
            }
            totals
        })
    }
}

fn deflate(plain: &str) -> Deflated {
    let mut compressor = COMPRESSOR.lock().unwrap_or_else(PoisonError::into_inner);
    let compressor = compressor.get_or_insert_with(Deflater::new);
    compressor.deflate(plain.as_bytes())
}
