//! A text in pieces that successive texts share, each compressed once at most.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use flate2::Crc;

use super::gzip::{self, Deflated, Deflater};

/// One for all texts, once it is needed: it takes 300 KB, which many an allocator would keep for each
/// thread that had one.
static COMPRESSOR: Mutex<Option<Deflater>> = Mutex::new(None);

/// A text in pieces, most of which it may share with the one before. It is compressed when that is
/// asked for first.
#[derive(Debug, Default)]
pub struct Text {
    segments: Vec<Arc<Segment>>,
    deflated: OnceLock<Whole>,
}

/// A piece of a text.
#[derive(Debug, Default)]
pub struct Segment {
    plain: String,
    deflated: OnceLock<Deflated>,
}

/// What is known of a text whose pieces are deflated.
#[derive(Debug)]
struct Whole {
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

impl From<Vec<Arc<Segment>>> for Text {
    fn from(segments: Vec<Arc<Segment>>) -> Self {
        Self {
            segments,
            deflated: OnceLock::new(),
        }
    }
}

impl From<String> for Text {
    fn from(plain: String) -> Self {
        vec![Arc::new(plain.into())].into()
    }
}

impl Segment {
    /// A piece for those who take it deflated. The text itself is not kept.
    pub(crate) fn deflated_only(plain: &str) -> Self {
        Self {
            plain: String::new(),
            deflated: deflate(plain).into(),
        }
    }

    /// The text itself.
    pub(crate) fn plain(&self) -> &str {
        &self.plain
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// Its bytes, as they are or deflated. Those of a text are deflated by [`Text::length`].
    pub(crate) fn bytes(&self, gzip: bool) -> &[u8] {
        if gzip {
            self.deflated.get().map_or(&[], Deflated::bytes)
        } else {
            self.plain.as_bytes()
        }
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.plain.capacity() + self.bytes(true).len()
    }
}

impl Text {
    /// The text itself.
    #[must_use]
    pub fn plain(&self) -> String {
        let segments = self.segments.iter();
        segments.map(|segment| segment.plain.as_str()).collect()
    }

    /// Whether it is made of just these pieces.
    pub(crate) fn has(&self, segments: &[Arc<Segment>]) -> bool {
        let same = self.segments.iter().zip(segments);
        self.segments.len() == segments.len() && same.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Its pieces, one after the other.
    pub(crate) fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// How many bytes all pieces are, as they are or deflated. That is done when it is asked for
    /// first; who asks meanwhile waits.
    pub(crate) fn length(&self, gzip: bool) -> usize {
        if gzip {
            return self.deflated().length;
        }
        let segments = self.segments.iter();
        segments.map(|segment| segment.plain.len()).sum()
    }

    /// What comes after all deflated pieces if `rest` is all that follows.
    pub(crate) fn gzip_end(&self, rest: &[u8]) -> Vec<u8> {
        gzip::end(&self.deflated().crc, rest)
    }

    fn deflated(&self) -> &Whole {
        self.deflated.get_or_init(|| {
            let mut whole = Whole {
                length: 0,
                crc: Crc::new(),
            };
            for segment in &self.segments {
                let deflated = segment.deflated.get_or_init(|| deflate(&segment.plain));
                whole.length += deflated.bytes().len();
                whole.crc.combine(deflated.crc());
            }
            whole
        })
    }
}

fn deflate(plain: &str) -> Deflated {
    let mut compressor = COMPRESSOR.lock().unwrap_or_else(PoisonError::into_inner);
    let compressor = compressor.get_or_insert_with(Deflater::new);
    compressor.deflate(plain.as_bytes())
}
