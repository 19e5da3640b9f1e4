//! The place that a container holds in a service, and when the container was made: together they tell
//! which container has replaced which.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use crate::engine::Labels;
use crate::labels::{keys, push_label, series_label};

use super::workloads::short;

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
        let id = label(keys::SWARM_SERVICE_ID);
        if let Some(service) = id.or_else(|| label(keys::SWARM_SERVICE)) {
            // `service.slot.task`, with the node's id for the slot if the service is global.
            let mut parts = label(keys::SWARM_TASK)?.rsplit('.');
            let slot = parts.nth(1).filter(|slot| !slot.is_empty())?;
            parts.next()?;
            return Some(Self::new(&["swarm", service, slot]));
        }
        let oneoff = label(keys::COMPOSE_ONEOFF);
        if oneoff.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let project = label(keys::COMPOSE_PROJECT)?;
        let service = label(keys::COMPOSE_SERVICE)?;
        let number = label(keys::COMPOSE_NUMBER)?;
        Some(Self::new(&["compose", project, service, number]))
    }

    /// The labels of the series of a Swarm task's slot, without braces; `None` if it is of no Swarm
    /// service with a name.
    pub(super) fn slot_labels(labels: &Labels) -> Option<String> {
        let label = |key: &str| labels.get(key).map_or("", |value| short(value));
        let service = label(keys::SWARM_SERVICE);
        let slot = label(keys::SWARM_TASK).rsplit('.').nth(1);
        let slot = slot.filter(|slot| !slot.is_empty() && !service.is_empty())?;
        let mut text = String::new();
        for (key, value) in [
            (keys::STACK, label(keys::STACK)),
            (keys::SWARM_SERVICE, service),
        ] {
            push_label(&mut text, &series_label(key), value);
        }
        push_label(&mut text, "slot", slot);
        Some(text)
    }

    fn new(parts: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        parts.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// When a container was made, in each way that it is known.
///
/// A listing tells the second alone. Of two that were made in the same second the one that was seen
/// first is older: Engines sort their listings by age, to the nanosecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Birth {
    /// `Created` of an inspect.
    pub(super) exact: Option<Timestamp>,
    /// Its `create` event, which is made a moment later.
    pub(super) event: Option<Timestamp>,
    /// `Created` of a listing, in seconds.
    pub(super) second: Option<i64>,
    /// The first event that was seen of it: it was made before.
    pub(super) before: Option<Timestamp>,
    /// In which order it was seen for the first time.
    pub(super) seen: u64,
}

impl Birth {
    /// Whether it was before this time, for all that is known.
    pub(super) fn is_before(&self, time: Timestamp) -> bool {
        match self.exact.or(self.event) {
            Some(at) => at < time,
            None => self.second().is_none_or(|second| second < time.as_second()),
        }
    }

    /// The time itself, as exactly as it is known.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let second = || Timestamp::from_second(self.second?).ok();
        self.exact.or(self.event).or_else(second)
    }

    /// Whether more is known of it than what came before.
    pub(super) fn is_known(&self) -> bool {
        self.exact.is_some() || self.event.is_some() || self.second.is_some()
    }

    /// Compares what is left to compare them by. Of two of one second the order in a listing tells; one
    /// that a listing alone has told of is taken to be newer than one that no listing has.
    fn cmp_roughly(&self, other: &Self) -> Ordering {
        let listed = self.second.is_some() && other.second.is_some();
        let listed_alone = |it: &Self| !listed && it.exact.or(it.event).or(it.before).is_none();
        let key = |it: &Self| (it.second(), listed_alone(it), it.seen);
        key(self).cmp(&key(other))
    }

    /// Its second, or the last one that it can have been.
    fn second(&self) -> Option<i64> {
        let at = self.exact.or(self.event).or(self.before);
        self.second.or(at.map(Timestamp::as_second))
    }
}

impl PartialOrd for Birth {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Birth {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.exact, other.exact, self.event, other.event) {
            (Some(one), Some(two), _, _)
            | (_, _, Some(one), Some(two))
            | (Some(one), None, _, Some(two))
            | (None, Some(two), Some(one), _) => one.cmp(&two).then(self.seen.cmp(&other.seen)),
            _ => self.cmp_roughly(other),
        }
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
    fn the_labels_of_a_swarm_slot() {
        let slot = |pairs: &[(&str, &str)]| {
            let owned =
                |(key, value): &(&str, &str)| (format!("com.docker.{key}"), (*value).into());
            Place::slot_labels(&pairs.iter().map(owned).collect())
        };
        let name = ("swarm.service.name", "shop_web");
        let stack = ("stack.namespace", "shop");
        let task = |name| ("swarm.task.name", name);
        let service = "container_label_com_docker_swarm_service_name=\"shop_web\"";
        assert_eq!(
            slot(&[name, task("shop_web.3.zm")]),
            Some(format!("{service},slot=\"3\""))
        );
        assert_eq!(
            slot(&[name, stack, task("shop_web.t7tw.zm")]),
            Some(format!(
                "container_label_com_docker_stack_namespace=\"shop\",{service},slot=\"t7tw\""
            ))
        );
        for nothing in [&[name][..], &[task("web.3.zm")], &[name, task("web..zm")]] {
            assert_eq!(slot(nothing), None, "{nothing:?}");
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
    fn who_was_made_before_whom() {
        let at = |millis: i64| Timestamp::from_millisecond(millis).ok();
        let birth = |exact, event, second, seen| Birth {
            exact: Option::and_then(exact, at),
            event: Option::and_then(event, at),
            second,
            seen,
            before: None,
        };
        for (older, newer) in [
            (birth(None, None, Some(4), 9), birth(None, None, Some(5), 1)),
            (birth(None, None, Some(5), 1), birth(None, None, Some(5), 2)),
            (
                birth(Some(5_100), None, Some(5), 9),
                birth(Some(5_101), None, Some(5), 1),
            ),
            (
                birth(None, Some(5_100), None, 9),
                birth(None, Some(5_101), Some(5), 1),
            ),
            (
                birth(None, Some(5_100), Some(5), 2),
                birth(Some(5_900), None, None, 1),
            ),
            (
                birth(Some(4_999), None, None, 9),
                birth(None, None, Some(5), 1),
            ),
        ] {
            assert!(older < newer, "{older:?} {newer:?}");
        }
    }
}
