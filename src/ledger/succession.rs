//! Who came after whom: of the containers that held one place of a service, the newest standing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use jiff::Timestamp;

use crate::engine::Labels;

use super::container::Container;
use super::{Entry, Ledger};

/// What a service has one container for at a time, as far as all goes well: a slot of a Swarm
/// service (of a global one, the node), or one of the numbers of a Compose service.
///
/// It is a hash, so that it takes no room and no time to speak of, however long the labels are.
/// Among 10,000 places two are taken for one on one of 10^11 hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place(u64);

impl Place {
    /// The place of a container with these Docker labels. One of `docker compose run` takes none.
    pub(super) fn of(labels: &Labels) -> Option<Self> {
        let label = |key: &str| {
            let value = labels.get(key).map(String::as_str);
            value.filter(|value| !value.is_empty())
        };
        let id = label("com.docker.swarm.service.id");
        if let Some(service) = id.or_else(|| label("com.docker.swarm.service.name")) {
            // `service.slot.task`, with the node's id for the slot if the service is global.
            let mut parts = label("com.docker.swarm.task.name")?.rsplit('.');
            let slot = parts.nth(1).filter(|slot| !slot.is_empty())?;
            parts.next()?;
            return Some(Self::new(&["swarm", service, slot]));
        }
        let oneoff = label("com.docker.compose.oneoff");
        if oneoff.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let project = label("com.docker.compose.project")?;
        let service = label("com.docker.compose.service")?;
        let number = label("com.docker.compose.container-number")?;
        Some(Self::new(&["compose", project, service, number]))
    }

    fn new(parts: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// When a container was made, by the finest that is known of it.
///
/// A listing tells the second alone, which is taken for its end: what ends is inspected, so it is
/// the one that runs whose fraction is not known. Where two are still the same, the one that was
/// seen first is older: by its event, by an earlier listing, or by its place in one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Birth {
    at: Option<Timestamp>,
    pub(super) seen: u64,
    known: Known,
}

/// How well the time is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Known {
    #[default]
    Not,
    /// It was before its first event that was seen.
    Before,
    /// To the second, by a listing.
    Listed,
    /// By the `create` event, which is made a moment later.
    Event,
    /// By an inspect.
    Exactly,
}

impl Birth {
    /// Takes in a time, unless a better one is known.
    pub(super) fn learn(&mut self, at: Option<Timestamp>, known: Known) {
        if at.is_some() && known > self.known {
            (self.at, self.known) = (at, known);
        }
    }

    /// Takes in the second that a listing tells.
    pub(super) fn learn_second(&mut self, second: Option<i64>) {
        let end = second.and_then(|second| Timestamp::new(second, 999_999_999).ok());
        self.learn(end, Known::Listed);
    }
}

impl Ledger {
    /// The exits of all containers whose last run is over, in the order of their ids, each with
    /// whether a newer container in the same place of the same service stands on this host:
    /// whatever that one does, as long as it is not removed. That is as it was found by
    /// [`Ledger::find_newest`].
    pub fn exits_superseded(&self, slots: Range<usize>) -> impl Iterator<Item = (Entry<'_>, bool)> {
        let (newest, _) = &self.newest;
        self.shown(slots, false).map(move |(container, entry)| {
            let newest = container.place.and_then(|place| newest.get(&place));
            (entry, newest.is_some_and(|it| *it > container.birth))
        })
    }

    /// Finds out who is the newest in each place, if anything has changed since it was done last.
    pub fn find_newest(&mut self) {
        if self.newest.1 == self.revision {
            return;
        }
        let newest = self.newest();
        let (before, _) = &self.newest;
        if newest != *before {
            let is_other = |place| newest.get(&place) != before.get(&place);
            let all = self.containers.iter();
            let touched = all.filter(|(_, it)| it.exit.is_some() && it.place.is_some_and(is_other));
            let touched: Vec<Box<str>> = touched.map(|(id, _)| id.into()).collect();
            for id in touched {
                self.touch(&id);
            }
        }
        self.newest = (newest, self.revision);
    }

    /// Of each place the newest container that stands.
    fn newest(&self) -> HashMap<Place, Birth> {
        let mut newest = HashMap::new();
        let all = self.containers.iter().map(|(_, container)| container);
        for container in all.filter(|it| it.succeeds()) {
            if let Some(place) = container.place {
                let birth = newest.entry(place).or_insert(container.birth);
                *birth = container.birth.max(*birth);
            }
        }
        newest
    }
}

impl Container {
    /// Whether it stands, and may be after another: of when it was made must be known more than
    /// what came before, since a failure that is hidden is worse than one that is shown.
    fn succeeds(&self) -> bool {
        self.gone.is_none() && !self.buried && self.birth.known > Known::Before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pairs: &[(&str, &str)]) -> Option<Place> {
        let owned = |(key, value): &(&str, &str)| (format!("com.docker.{key}"), (*value).into());
        Place::of(&pairs.iter().map(owned).collect())
    }

    fn swarm(service: &str, slot: &str) -> Place {
        Place::new(&["swarm", service, slot])
    }

    #[test]
    fn the_place_of_a_swarm_task() {
        let name = ("swarm.service.name", "web");
        let id = ("swarm.service.id", "kz");
        let task = |name| ("swarm.task.name", name);
        for (pairs, want) in [
            (&[name, id, task("web.3.zm")][..], Some(swarm("kz", "3"))),
            (&[name, task("web.3.zm")], Some(swarm("web", "3"))),
            (&[id, task("web.t7tw.zm")], Some(swarm("kz", "t7tw"))),
            (&[id, task("a.b.3.zm")], Some(swarm("kz", "3"))),
            (
                &[id, ("swarm.service.name", ""), task("w.1.z")],
                Some(swarm("kz", "1")),
            ),
            (&[id], None),
            (&[id, task("")], None),
            (&[id, task("3.zm")], None),
            (&[id, task("web..zm")], None),
            (&[task("web.3.zm")], None),
        ] {
            assert_eq!(place(pairs), want, "{pairs:?}");
        }
    }

    #[test]
    fn the_place_of_a_compose_container() {
        let all = [
            ("compose.project", "shop"),
            ("compose.service", "web"),
            ("compose.container-number", "2"),
        ];
        let compose = Place::new(&["compose", "shop", "web", "2"]);
        let oneoff = |value| [&all[..], &[("compose.oneoff", value)]].concat();
        assert_eq!(place(&all), Some(compose));
        assert_eq!(place(&oneoff("False")), Some(compose));
        assert_eq!(place(&oneoff("True")), None);
        for left_out in 0..all.len() {
            let mut some = all.to_vec();
            some.remove(left_out);
            assert_eq!(place(&some), None, "{some:?}");
        }
    }

    #[test]
    fn the_finest_time_that_is_known_stays() {
        let at = |millis| Timestamp::from_millisecond(millis).ok();
        let mut birth = Birth::default();
        let unknown = birth;
        birth.learn_second(Some(5));
        assert!(birth > unknown);
        birth.learn(at(5_300), Known::Event);
        birth.learn_second(Some(5));
        assert_eq!(birth.at, at(5_300));
        birth.learn(at(5_200), Known::Exactly);
        birth.learn(at(5_300), Known::Event);
        birth.learn(None, Known::Exactly);
        assert_eq!(birth.at, at(5_200));
        birth.learn_second(Some(i64::MAX));
        assert_eq!(birth.at, at(5_200));
    }
}
