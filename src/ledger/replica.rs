//! Which replica of a service a container is, and when it was created. Together they show which
//! container supersedes which.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use crate::engine::Labels;
use crate::labels::{keys, push_label, series_label};

use super::workloads::label;

/// A place in a service that normally holds one container: a slot of a Swarm service, a node of a
/// global one, or a number of a Compose service.
///
/// This is a hash, so that its size does not depend on the labels. Among 10,000 replicas the chance
/// of a collision is about 1 in 10^11.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ReplicaId(u64);

impl ReplicaId {
    /// The replica of a container with these Docker labels. `None` for `docker compose run`.
    pub(super) fn of(labels: &Labels) -> Option<Self> {
        let label = |key: &str| labels.get(key).filter(|value| !value.is_empty());
        let id = label(keys::SWARM_SERVICE_ID);
        if let Some(service) = id.or_else(|| label(keys::SWARM_SERVICE)) {
            // `service.slot.task`. A global service has the node's id as slot.
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

    /// Labels of a Swarm slot's series, without braces. `None` outside Swarm.
    pub(super) fn slot_labels(labels: &Labels) -> Option<String> {
        let label = |key: &str| label(labels, key);
        let service = label(keys::SWARM_SERVICE);
        let slot = label(keys::SWARM_TASK).rsplit('.').nth(1);
        let slot = slot.filter(|slot| !slot.is_empty() && !service.is_empty())?;
        let mut text = String::new();
        for key in [keys::STACK, keys::SWARM_SERVICE] {
            push_label(&mut text, &series_label(key), label(key));
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

/// When a container was created, from each source.
///
/// A listing has seconds only. Within one second the container with the lower sequence number is
/// older, since Engines sort listings by exact creation time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CreationTime {
    /// `Created` of an inspect.
    pub(super) inspected: Option<Timestamp>,
    /// Time of the `create` event, slightly later.
    pub(super) create_event: Option<Timestamp>,
    /// `Created` of a listing, in seconds.
    pub(super) listed_second: Option<i64>,
    /// Time of the first event seen. The container is older.
    pub(super) first_event: Option<Timestamp>,
    /// Order in which the container was first seen.
    pub(super) sequence: u64,
}

impl CreationTime {
    /// Whether it is before this time, as far as known.
    pub(super) fn is_before(&self, time: Timestamp) -> bool {
        match self.exact() {
            Some(at) => at < time,
            None => self.second().is_none_or(|second| second < time.as_second()),
        }
    }

    /// The most exact time known.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let second = || Timestamp::from_second(self.listed_second?).ok();
        self.exact().or_else(second)
    }

    /// Whether more than the first event is known.
    pub(super) fn is_known(&self) -> bool {
        self.exact().is_some() || self.listed_second.is_some()
    }

    /// The exact time, if it is known.
    fn exact(&self) -> Option<Timestamp> {
        self.inspected.or(self.create_event)
    }

    /// Compares by the most exact times known from the same source, then by sequence.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let inspected = self.inspected.zip(other.inspected);
        let events = self.create_event.zip(other.create_event);
        let exact = inspected.or(events).or(self.exact().zip(other.exact()));
        match exact {
            Some((one, two)) => one.cmp(&two).then(self.sequence.cmp(&other.sequence)),
            None => self.cmp_roughly(other),
        }
    }

    /// Compares by second, then by sequence. Of two in the same second, one known from a listing
    /// alone is newer than one that was never listed.
    fn cmp_roughly(&self, other: &Self) -> Ordering {
        let listed = self.listed_second.is_some() && other.listed_second.is_some();
        let listed_alone = |it: &Self| !listed && it.exact().or(it.first_event).is_none();
        let key = |it: &Self| (it.second(), listed_alone(it), it.sequence);
        key(self).cmp(&key(other))
    }

    /// Second of the creation, or the last second possible.
    fn second(&self) -> Option<i64> {
        let at = self.exact().or(self.first_event);
        self.listed_second.or(at.map(Timestamp::as_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(pairs: &[(&str, &str)]) -> Option<ReplicaId> {
        let owned = |(key, value): &(&str, &str)| (format!("com.docker.{key}"), (*value).into());
        ReplicaId::of(&pairs.iter().map(owned).collect())
    }

    fn swarm(service: &str, slot: &str) -> ReplicaId {
        ReplicaId::new(&["swarm", service, slot])
    }

    #[test]
    fn the_replica_of_a_swarm_task() {
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
            assert_eq!(replica(pairs), want, "{pairs:?}");
        }
    }

    #[test]
    fn the_labels_of_a_swarm_slot() {
        let slot = |pairs: &[(&str, &str)]| {
            let owned =
                |(key, value): &(&str, &str)| (format!("com.docker.{key}"), (*value).into());
            ReplicaId::slot_labels(&pairs.iter().map(owned).collect())
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
    fn the_replica_of_a_compose_container() {
        let all = [
            ("compose.project", "shop"),
            ("compose.service", "web"),
            ("compose.container-number", "2"),
        ];
        let compose = ReplicaId::new(&["compose", "shop", "web", "2"]);
        let oneoff = |value| [&all[..], &[("compose.oneoff", value)]].concat();
        assert_eq!(replica(&all), Some(compose));
        assert_eq!(replica(&oneoff("False")), Some(compose));
        assert_eq!(replica(&oneoff("True")), None);
        for left_out in 0..all.len() {
            let mut some = all.to_vec();
            some.remove(left_out);
            assert_eq!(replica(&some), None, "{some:?}");
        }
    }

    #[test]
    fn which_container_was_created_first() {
        let at = |millis: i64| Timestamp::from_millisecond(millis).ok();
        let creation = |exact, event, second, seen| CreationTime {
            inspected: Option::and_then(exact, at),
            create_event: Option::and_then(event, at),
            listed_second: second,
            sequence: seen,
            first_event: None,
        };
        for (older, newer) in [
            (
                creation(None, None, Some(4), 9),
                creation(None, None, Some(5), 1),
            ),
            (
                creation(None, None, Some(5), 1),
                creation(None, None, Some(5), 2),
            ),
            (
                creation(Some(5_100), None, Some(5), 9),
                creation(Some(5_101), None, Some(5), 1),
            ),
            (
                creation(None, Some(5_100), None, 9),
                creation(None, Some(5_101), Some(5), 1),
            ),
            (
                creation(None, Some(5_100), Some(5), 2),
                creation(Some(5_900), None, None, 1),
            ),
            (
                creation(Some(4_999), None, None, 9),
                creation(None, None, Some(5), 1),
            ),
        ] {
            let order = older.compare(&newer);
            assert_eq!(order, Ordering::Less, "{older:?} {newer:?}");
        }
    }
}
