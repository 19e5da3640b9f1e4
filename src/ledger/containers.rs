//! All containers by their ids, in slots.
//!
//! A slot is a part of a host that knows when it changed last, so that what was made of it, such as
//! its piece of the text, is made anew only then. Ids are random hexadecimal numbers: their first two
//! digits say the slot, which spreads them evenly and keeps them in their order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::container::Container;

/// How many slots there are.
pub(super) const SLOTS: usize = 256;

#[derive(Debug)]
pub(super) struct Containers {
    slots: Vec<Slot>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Boxed, since a map has room for eleven where it has one, and most slots have one or two.
    containers: BTreeMap<Arc<str>, Box<Container>>,
    revision: u64,
}

impl Default for Containers {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| Slot::default());
        Self {
            slots: slots.collect(),
        }
    }
}

impl Containers {
    pub(super) fn get(&self, id: &str) -> Option<&Container> {
        self.slots[slot(id)].containers.get(id).map(|it| &**it)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Container> {
        let container = self.slots[slot(id)].containers.get_mut(id);
        container.map(|it| &mut **it)
    }

    /// The container with this id, which may be new.
    pub(super) fn get_or_insert(&mut self, id: &str) -> &mut Container {
        let containers = &mut self.slots[slot(id)].containers;
        containers.entry(id.into()).or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.iter().map(|slot| slot.containers.len()).sum()
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Box<Container>> {
        self.slots[slot(id)].containers.remove(id)
    }

    /// All of these slots, in the order of their ids.
    pub(super) fn of(&self, slots: Range<usize>) -> impl Iterator<Item = (&Arc<str>, &Container)> {
        let all = self.slots[slots].iter().flat_map(|slot| &slot.containers);
        all.map(|(id, container)| (id, &**container))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Container)> {
        self.of(0..SLOTS)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Container)> {
        let all = self.slots.iter_mut().flat_map(|slot| &mut slot.containers);
        all.map(|(id, container)| (&**id, &mut **container))
    }

    /// Says that the container with this id is another one since this revision.
    pub(super) fn touch(&mut self, id: &str, revision: u64) {
        self.slots[slot(id)].revision = revision;
    }

    /// Says that all containers are others since this revision.
    pub(super) fn touch_all(&mut self, revision: u64) {
        self.slots
            .iter_mut()
            .for_each(|slot| slot.revision = revision);
    }

    /// The last revision that changed any of these slots.
    pub(super) fn revision(&self, slots: Range<usize>) -> u64 {
        let revisions = self.slots[slots].iter().map(|slot| slot.revision);
        revisions.max().unwrap_or_default()
    }
}

/// The slot of an id. Of two ids in their order, the second's is not before the first's, even where
/// they are no numbers.
fn slot(id: &str) -> usize {
    let mut digits = id.bytes().map(digit);
    match digits.next() {
        None => 0,
        Some(Err(near)) => near,
        Some(Ok(first)) => match digits.next() {
            None => 16 * first,
            Some(Ok(second)) => 16 * first + second,
            // Beside the digits: the slot is that of the one before, or the first.
            Some(Err(near)) => 16 * first + near / 16,
        },
    }
}

/// A hexadecimal digit in lower case; for another byte the last slot whose ids are before those that
/// begin with it, or the first.
fn digit(byte: u8) -> Result<usize, usize> {
    match byte {
        b'0'..=b'9' => Ok(usize::from(byte - b'0')),
        b'a'..=b'f' => Ok(usize::from(byte - b'a') + 10),
        0..b'0' => Err(0),
        b':'..b'a' => Err(0x9f),
        b'g'.. => Err(0xff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_keep_the_order_of_ids() {
        for (id, want) in [
            ("", 0),
            ("!", 0),
            ("0", 0),
            ("00", 0),
            ("5", 0x50),
            ("5-", 0x50),
            ("5a", 0x5a),
            ("5aff", 0x5a),
            ("5A", 0x59),
            ("5g", 0x5f),
            ("9f", 0x9f),
            ("C1", 0x9f),
            ("c1", 0xc1),
            ("ff", 0xff),
            ("web", 0xff),
            ("é", 0xff),
        ] {
            assert_eq!(slot(id), want, "{id}");
        }
        let letters = ["", "!", "0", "1", "9", "A", "Z", "a", "c", "f", "g", "é"];
        let mut ids: Vec<String> = letters
            .iter()
            .flat_map(|one| letters.map(|two| format!("{one}{two}")))
            .collect();
        ids.sort();
        assert!(ids.is_sorted_by_key(|id| slot(id)), "{ids:?}");
    }
}
