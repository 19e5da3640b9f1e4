//! The finished text and what the page is made of, handed from the collector to the server.

use std::mem;
use std::sync::{Arc, PoisonError, RwLock};

use crate::exposition::Text;
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

/// The place where the text is left and taken. The lock is held for a pointer's copy only, never
/// while anything is rendered or sent.
#[derive(Debug, Default)]
pub struct Publication {
    current: RwLock<Published>,
}

impl Publication {
    /// Replaces what was published before.
    pub fn set(&self, published: Published) {
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
