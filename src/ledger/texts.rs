//! Texts that many containers have, each kept once: the names of images and services.

use std::collections::HashSet;
use std::sync::Arc;

/// Up to so many nobody looks which of them are still needed.
const FEW: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Texts {
    all: HashSet<Arc<str>>,
    /// With more than these it is looked which of them are still needed.
    most: usize,
}

impl Texts {
    /// A text, as all have it that share it.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.all.get(text) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.most {
            self.all.retain(|it| Arc::strong_count(it) > 1);
            self.most = FEW.max(2 * self.all.len());
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
        let mut texts = Texts::default();
        let shop = texts.share("shop");
        assert!(!Arc::ptr_eq(&shop, &texts.share("web")));
        assert!(Arc::ptr_eq(&shop, &texts.share("shop")));
        assert!(Arc::ptr_eq(&texts.share(""), &texts.share("")));
    }

    #[test]
    fn what_nobody_has_any_more_leaves() {
        let mut texts = Texts::default();
        let shop = texts.share("shop");
        for number in 0..10_000 {
            texts.share(&number.to_string());
            assert!(texts.all.len() <= FEW, "{number}");
        }
        assert!(Arc::ptr_eq(&shop, &texts.share("shop")));
        let held: Vec<_> = (0..1_000).map(|it| texts.share(&it.to_string())).collect();
        assert!(texts.all.len() > held.len());
        drop(held);
        for number in 0..2_000 {
            texts.share(&number.to_string());
        }
        assert!(texts.all.len() <= FEW, "{}", texts.all.len());
    }
}
