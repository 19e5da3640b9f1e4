//! Shares equal texts, such as the names of images and services.

use std::collections::HashSet;
use std::sync::Arc;

/// Unused texts are kept up to this number.
const MIN_SWEEP_LEN: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Interner {
    all: HashSet<Arc<str>>,
    /// Number of texts at which unused ones are dropped.
    sweep_len: usize,
}

impl Interner {
    /// Returns the shared copy of a text.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.all.get(text) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.sweep_len {
            self.all.retain(|it| Arc::strong_count(it) > 1);
            self.sweep_len = MIN_SWEEP_LEN.max(2 * self.all.len());
        }
        let new: Arc<str> = text.into();
        self.all.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one() {
        let mut interner = Interner::default();
        let shop = interner.intern("shop");
        assert!(!Arc::ptr_eq(&shop, &interner.intern("web")));
        assert!(Arc::ptr_eq(&shop, &interner.intern("shop")));
        assert!(Arc::ptr_eq(&interner.intern(""), &interner.intern("")));
    }

    #[test]
    fn unused_texts_leave() {
        let mut interner = Interner::default();
        let shop = interner.intern("shop");
        for number in 0..10_000 {
            interner.intern(&number.to_string());
            assert!(interner.all.len() <= MIN_SWEEP_LEN, "{number}");
        }
        assert!(Arc::ptr_eq(&shop, &interner.intern("shop")));
        let held: Vec<_> = (0..1_000)
            .map(|it| interner.intern(&it.to_string()))
            .collect();
        assert!(interner.all.len() > held.len());
        drop(held);
        for number in 0..2_000 {
            interner.intern(&number.to_string());
        }
        assert!(
            interner.all.len() <= MIN_SWEEP_LEN,
            "{}",
            interner.all.len()
        );
    }
}
