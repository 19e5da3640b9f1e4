//! The finished text and what the page is made of, handed from the collector to the server.

use std::mem;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::gzip::Deflated;
use crate::page::Snapshot;

/// What the last collection published.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// The families of the host and its containers, format 0.0.4.
    pub text: Arc<Text>,
    /// The same for the page at `/`.
    pub page: Arc<Snapshot>,
    /// A collection has worked since the start.
    pub ready: bool,
}

/// A text, which is compressed when that is asked for first.
#[derive(Debug, Default)]
pub struct Text {
    plain: String,
    deflated: OnceLock<Deflated>,
}

impl From<String> for Text {
    fn from(plain: String) -> Self {
        Self {
            plain,
            deflated: OnceLock::new(),
        }
    }
}

impl Text {
    /// The text itself.
    #[must_use]
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// The same, deflated, once: who asks meanwhile waits.
    pub(crate) fn deflated(&self) -> &Deflated {
        self.deflated
            .get_or_init(|| Deflated::new(self.plain.as_bytes()))
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let deflated = self.deflated.get().map_or(0, |it| it.bytes().len());
        self.plain.capacity() + deflated
    }
}

/// The place where the text is left and taken. The lock is held for a pointer's copy only, never
/// while anything is rendered or sent.
#[derive(Debug, Default)]
pub struct Publication {
    current: RwLock<Published>,
}

impl Publication {
    /// Replaces what was published before. The same text again takes no more memory, however many
    /// slow readers still hold it.
    pub fn set(&self, mut published: Published) {
        let before = self.get().text;
        if before.plain == published.text.plain {
            published.text = before;
        }
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let before = mem::replace(&mut *current, published);
        drop(current);
        drop(before); // Not under the lock: it may take a while.
    }

    /// What is published at this moment.
    #[must_use]
    pub fn get(&self) -> Published {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
