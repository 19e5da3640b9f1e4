//! All containers by id, in shards.
//!
//! Each shard knows when it last changed, so that only its part of the output has to be rendered
//! again. Ids are random hexadecimal numbers. Their first two digits select the shard, which
//! spreads them evenly and keeps their order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::container::Container;

/// Number of shards.
pub(super) const SHARDS: usize = 256;

#[derive(Debug)]
pub(super) struct ContainerMap {
    shards: Vec<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    /// Boxed: a `BTreeMap` node has room for eleven values, and most shards hold one or two.
    containers: BTreeMap<Arc<str>, Box<Container>>,
    revision: u64,
}

impl Default for ContainerMap {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { shards }
    }
}

impl ContainerMap {
    pub(super) fn get(&self, id: &str) -> Option<&Container> {
        self.shards[shard(id)].containers.get(id).map(|it| &**it)
    }

    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Container> {
        let container = self.shards[shard(id)].containers.get_mut(id);
        container.map(|it| &mut **it)
    }

    pub(super) fn get_or_insert(&mut self, id: &str) -> &mut Container {
        let containers = &mut self.shards[shard(id)].containers;
        containers.entry(id.into()).or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.containers.len()).sum()
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<Box<Container>> {
        self.shards[shard(id)].containers.remove(id)
    }

    /// The containers of these shards, by id.
    pub(super) fn of(&self, shards: Range<usize>) -> impl Iterator<Item = (&Arc<str>, &Container)> {
        let all = self.shards[shards].iter().flat_map(|it| &it.containers);
        all.map(|(id, container)| (id, &**container))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Container)> {
        self.of(0..SHARDS)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Container)> {
        let all = self.shards.iter_mut().flat_map(|it| &mut it.containers);
        all.map(|(id, container)| (&**id, &mut **container))
    }

    /// Marks the container's shard as changed.
    pub(super) fn touch(&mut self, id: &str, revision: u64) {
        self.shards[shard(id)].revision = revision;
    }

    /// Marks all shards as changed.
    pub(super) fn touch_all(&mut self, revision: u64) {
        for shard in &mut self.shards {
            shard.revision = revision;
        }
    }

    /// Last revision that changed any of these shards.
    pub(super) fn revision(&self, shards: Range<usize>) -> u64 {
        let revisions = self.shards[shards].iter().map(|shard| shard.revision);
        revisions.max().unwrap_or_default()
    }
}

/// Shard of an id. Monotonic in the id, even for ids that are not hexadecimal.
fn shard(id: &str) -> usize {
    let mut digits = id.bytes().map(digit);
    match digits.next() {
        None => 0,
        Some(Err(near)) => near,
        Some(Ok(first)) => match digits.next() {
            None => 16 * first,
            Some(Ok(second)) => 16 * first + second,
            // Not a digit: use the shard before it, or the first.
            Some(Err(near)) => 16 * first + near / 16,
        },
    }
}

/// Value of a lower-case hexadecimal digit. For another byte, the last shard whose ids sort before
/// it, or the first shard.
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
            assert_eq!(shard(id), want, "{id}");
        }
        let letters = ["", "!", "0", "1", "9", "A", "Z", "a", "c", "f", "g", "é"];
        let mut ids: Vec<String> = letters
            .iter()
            .flat_map(|one| letters.map(|two| format!("{one}{two}")))
            .collect();
        ids.sort();
        assert!(ids.is_sorted_by_key(|id| shard(id)), "{ids:?}");
    }
}
