//! Counters of exits that outlive the containers: one set per service, Compose service or image.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Labels;
use crate::labels::{keys, push_label, series_label};
use crate::reason::Reason;

/// More workloads than this are not counted: an endless supply of image names must not fill the
/// memory of the exporter, nor that of Prometheus.
const MOST: usize = 10_000;

/// A workload without containers is dropped after so long.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// A workload's name is cut after so many bytes: each reason's series repeats it.
const NAME_BYTES: usize = 512;

/// A new workload's counters are shown as 0 until a scrape has taken that, but for no longer than
/// this: Prometheus' `increase()` sees no first exit where a counter begins at 1.
const ZEROS_WAIT: Duration = Duration::from_secs(60);

/// The counters of all workloads.
#[derive(Debug, Default)]
pub struct Workloads {
    counters: BTreeMap<Arc<str>, Counters>,
    /// Those whose zeros no scrape has taken, the oldest first.
    unshown: VecDeque<Unshown>,
    dropped: u64,
    /// No workload is dropped before this uptime; absent if none has lost its last container.
    next_expiry: Option<Duration>,
    revision: u64,
}

/// A workload whose zeros no scrape has taken.
#[derive(Debug)]
struct Unshown {
    key: Key,
    /// The texts that are made since this revision show it.
    revision: u64,
    /// The uptime at which it was known first, or a moment later.
    since: Option<Duration>,
}

/// What is counted of a workload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Exits, in the order of [`Reason::ALL`].
    pub exits: [u64; Reason::ALL.len()],
    /// How often the OOM killer came.
    pub oom_kills: u64,
}

#[derive(Debug, Default)]
struct Counters {
    counts: Counts,
    /// No scrape has taken its zeros yet.
    unshown: bool,
    containers: usize,
    /// The uptime at which its last container went.
    empty_since: Option<Duration>,
}

/// What a workload's series are labelled with, without braces and without the reason.
pub(super) type Key = Arc<str>;

impl Workloads {
    /// Takes in one more container of a workload; `None` if there are too many workloads already.
    pub(super) fn join(&mut self, key: &str) -> Option<Key> {
        if let Some((known, counters)) = self.get_mut(key) {
            counters.containers += 1;
            counters.empty_since = None;
            return Some(known);
        }
        if self.counters.len() >= MOST {
            self.dropped += 1;
            return None;
        }
        self.revision += 1;
        let key: Key = key.into();
        let counters = Counters {
            unshown: true,
            containers: 1,
            ..Counters::default()
        };
        self.counters.insert(Arc::clone(&key), counters);
        self.unshown.push_back(Unshown {
            key: Arc::clone(&key),
            revision: self.revision,
            since: None,
        });
        Some(key)
    }

    /// Takes in that a container of a workload is forgotten.
    pub(super) fn leave(&mut self, key: &str, uptime: Duration) {
        if let Some((_, counters)) = self.get_mut(key) {
            counters.containers = counters.containers.saturating_sub(1);
            if counters.containers == 0 {
                counters.empty_since = Some(uptime);
                self.next_expiry.get_or_insert(uptime + KEPT);
            }
        }
    }

    pub(super) fn count(&mut self, key: &str, reason: Reason) {
        if let Some((_, counters)) = self.get_mut(key) {
            counters.counts.exits[reason as usize] += 1;
            self.revision += 1;
        }
    }

    pub(super) fn count_oom_kill(&mut self, key: &str) {
        if let Some((_, counters)) = self.get_mut(key) {
            counters.counts.oom_kills += 1;
            self.revision += 1;
        }
    }

    /// Takes in that a scrape has taken a text of this revision: what it showed as 0 may grow.
    pub(super) fn shown(&mut self, revision: u64) {
        self.show_while(|oldest| oldest.revision <= revision);
    }

    /// The newest revision whose text shows a workload as 0 that no scrape has taken; `None` if there
    /// is no such workload.
    #[must_use]
    pub fn unshown(&self) -> Option<u64> {
        self.unshown.back().map(|newest| newest.revision)
    }

    /// The uptime at which [`Workloads::expire`] shows the next workload that no scrape has taken.
    pub(super) fn show_at(&self) -> Option<Duration> {
        let oldest = self.unshown.front()?;
        Some(oldest.since.map_or(Duration::ZERO, |at| at + ZEROS_WAIT))
    }

    fn show_while(&mut self, is_due: impl Fn(&Unshown) -> bool) -> bool {
        let count = self.unshown.iter().take_while(|it| is_due(it)).count();
        for Unshown { key, .. } in self.unshown.drain(..count) {
            if let Some(counters) = self.counters.get_mut(&key) {
                counters.unshown = false;
                self.revision += u64::from(counters.counts != Counts::default());
            }
        }
        count > 0
    }

    /// Shows the counts of workloads that no scrape has taken for [`ZEROS_WAIT`], and drops those that
    /// had no containers for [`KEPT`]; returns whether there were any.
    pub(super) fn expire(&mut self, uptime: Duration) -> bool {
        for new in self.unshown.iter_mut().rev() {
            if new.since.is_some() {
                break;
            }
            new.since = Some(uptime);
        }
        let is_due = |it: &Unshown| it.since.is_some_and(|at| at + ZEROS_WAIT <= uptime);
        let any_shown = self.show_while(is_due);
        self.drop_empty(uptime) || any_shown
    }

    fn drop_empty(&mut self, uptime: Duration) -> bool {
        if self.next_expiry.is_none_or(|at| uptime < at) {
            return false;
        }
        let before = self.counters.len();
        self.counters.retain(|_, counters| {
            counters
                .empty_since
                .is_none_or(|since| uptime < since + KEPT)
        });
        let empty = self.counters.values().filter_map(|it| it.empty_since);
        self.next_expiry = empty.min().map(|since| since + KEPT);
        let any = self.counters.len() != before;
        self.revision += u64::from(any);
        any
    }

    /// Each workload's labels with what is counted of it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Counts)> {
        self.counters.iter().map(|(key, it)| (&**key, &it.counts))
    }

    /// The same as it is to be shown: 0 while no scrape has taken that.
    pub fn published(&self) -> impl Iterator<Item = (&str, Counts)> {
        let shown = |it: &Counters| {
            if it.unshown {
                Counts::default()
            } else {
                it.counts
            }
        };
        self.counters
            .iter()
            .map(move |(key, it)| (&**key, shown(it)))
    }

    /// A number that is another one whenever a workload or a count has changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// How many containers were not counted, since there were 10,000 workloads.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn get_mut(&mut self, key: &str) -> Option<(Key, &mut Counters)> {
        let known = Arc::clone(self.counters.get_key_value(key)?.0);
        self.counters.get_mut(key).map(|counters| (known, counters))
    }
}

/// The labels of the workload that a container belongs to: its Swarm service, else its Compose
/// service, else its image.
pub(super) fn key(labels: &Labels, image: &str) -> String {
    let label = |key: &str| short(labels.get(key).map_or("", String::as_str));
    let pairs = if !label(keys::SWARM_SERVICE).is_empty() {
        [keys::STACK, keys::SWARM_SERVICE]
    } else if !label(keys::COMPOSE_SERVICE).is_empty() {
        [keys::COMPOSE_PROJECT, keys::COMPOSE_SERVICE]
    } else {
        let mut text = String::new();
        push_label(&mut text, "image", short(image));
        return text;
    };
    let mut text = String::new();
    for key in pairs {
        push_label(&mut text, &series_label(key), label(key));
    }
    text
}

/// Whether a container's workload is named by its labels, and not by its image.
pub(super) fn is_of_service(labels: &Labels) -> bool {
    let keys = [keys::SWARM_SERVICE, keys::COMPOSE_SERVICE];
    keys.iter()
        .any(|key| labels.get(*key).is_some_and(|it| !it.is_empty()))
}

/// Whether a container is of a Swarm service.
pub(super) fn is_of_swarm(labels: &Labels) -> bool {
    labels
        .get(keys::SWARM_SERVICE)
        .is_some_and(|it| !it.is_empty())
}

/// A name, cut where it is longer than any that is meant.
pub(super) fn short(name: &str) -> &str {
    start(name, NAME_BYTES)
}

/// So many bytes of a text, and the rest of the last letter among them.
pub(super) fn start(text: &str, bytes: usize) -> &str {
    let end = text.char_indices().find(|(at, _)| *at >= bytes);
    end.map_or(text, |(at, _)| &text[..at])
}

/// What a human calls the service that a container belongs to: that of Swarm, whose name has its
/// stack in it, else `project/service` of Compose, else nothing.
pub(super) fn service(labels: &Labels) -> String {
    let label = |key: &str| short(labels.get(key).map_or("", String::as_str));
    let [swarm, project, service] = [
        keys::SWARM_SERVICE,
        keys::COMPOSE_PROJECT,
        keys::COMPOSE_SERVICE,
    ]
    .map(label);
    match (swarm, project, service) {
        ("", "", service) => service.to_owned(),
        ("", _, "") => String::new(),
        ("", project, service) => format!("{project}/{service}"),
        (swarm, _, _) => swarm.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn a_container_belongs_to_its_service_or_else_to_its_image() {
        let swarm = ("com.docker.swarm.service.name", "api_web");
        let stack = ("com.docker.stack.namespace", "api");
        let compose = ("com.docker.compose.service", "web");
        let project = ("com.docker.compose.project", "shop");
        for (pairs, want, service_is) in [
            (&[][..], r#"image="nginx""#, ""),
            (&[stack], r#"image="nginx""#, ""),
            (&[project], r#"image="nginx""#, ""),
            (
                &[compose],
                r#"container_label_com_docker_compose_service="web""#,
                "web",
            ),
            (
                &[swarm, compose, project],
                r#"container_label_com_docker_swarm_service_name="api_web""#,
                "api_web",
            ),
            (
                &[swarm, stack],
                r#"container_label_com_docker_stack_namespace="api",container_label_com_docker_swarm_service_name="api_web""#,
                "api_web",
            ),
            (
                &[compose, project],
                r#"container_label_com_docker_compose_project="shop",container_label_com_docker_compose_service="web""#,
                "shop/web",
            ),
        ] {
            assert_eq!(key(&labels(pairs), "nginx"), want);
            assert_eq!(service(&labels(pairs)), service_is);
            assert_eq!(is_of_swarm(&labels(pairs)), service_is == "api_web");
        }
    }

    #[test]
    fn a_name_without_end_is_cut() {
        assert_eq!(key(&Labels::default(), &"x".repeat(512)).len(), 512 + 8);
        assert_eq!(key(&Labels::default(), &"x".repeat(9999)).len(), 512 + 8);
        assert_eq!(short(&"\u{20ac}".repeat(200)).len(), 513);
    }

    #[test]
    fn workloads_without_containers_leave_after_a_day() {
        let mut workloads = Workloads::default();
        let hour = Duration::from_secs(3600);
        workloads.join("a");
        workloads.join("a");
        workloads.shown(workloads.revision());
        workloads.leave("a", hour);
        assert!(!workloads.expire(hour * 100));
        workloads.leave("a", hour * 100);
        assert!(!workloads.expire(hour * 123));
        workloads.join("a");
        assert!(!workloads.expire(hour * 124));
        workloads.leave("a", hour * 124);
        assert!(workloads.expire(hour * 148));
        assert!(workloads.is_empty());
    }

    /// What is shown of each workload: its exits with an error, and its OOM kills.
    fn published(workloads: &Workloads) -> Vec<(&str, u64, u64)> {
        let all = workloads.published();
        let short = all.map(|(key, it)| (key, it.exits[Reason::Error as usize], it.oom_kills));
        short.collect()
    }

    #[test]
    fn a_new_workload_is_shown_as_0_until_a_scrape_has_taken_that() {
        let mut workloads = Workloads::default();
        workloads.join("a");
        let first = workloads.unshown().unwrap();
        workloads.count("a", Reason::Error);
        workloads.count_oom_kill("a");
        workloads.join("b");
        workloads.count("b", Reason::Error);
        assert_eq!(published(&workloads), [("a", 0, 0), ("b", 0, 0)]);
        let before = workloads.revision();
        workloads.shown(first);
        assert!(workloads.revision() > before, "the text is made anew");
        assert_eq!(published(&workloads), [("a", 1, 1), ("b", 0, 0)]);
        workloads.shown(workloads.unshown().unwrap());
        assert_eq!(published(&workloads), [("a", 1, 1), ("b", 1, 0)]);
        assert_eq!(workloads.unshown(), None);
        workloads.join("b");
        assert_eq!(workloads.unshown(), None, "it is known");
        let all: Vec<_> = workloads.iter().map(|(key, _)| key).collect();
        assert_eq!(all, ["a", "b"]);
    }

    #[test]
    fn no_scrape_is_waited_for_for_longer_than_a_minute() {
        let mut workloads = Workloads::default();
        let second = Duration::from_secs(1);
        workloads.join("a");
        assert_eq!(
            workloads.show_at(),
            Some(Duration::ZERO),
            "its time is not known"
        );
        assert!(!workloads.expire(second * 10));
        assert_eq!(workloads.show_at(), Some(second * 70));
        workloads.count("a", Reason::Error);
        workloads.join("b");
        assert!(!workloads.expire(second * 69));
        assert_eq!(published(&workloads), [("a", 0, 0), ("b", 0, 0)]);
        assert!(workloads.expire(second * 70));
        assert_eq!(published(&workloads), [("a", 1, 0), ("b", 0, 0)]);
        assert_eq!(workloads.show_at(), Some(second * 129));
        assert!(workloads.expire(second * 129));
        assert_eq!(workloads.show_at(), None);
    }

    #[test]
    fn workloads_over_the_limit_are_not_counted_and_told() {
        let mut workloads = Workloads::default();
        for number in 0..MOST {
            assert!(workloads.join(&number.to_string()).is_some());
        }
        assert!(workloads.join("one more").is_none());
        assert!(workloads.join("5").is_some());
        workloads.count("one more", Reason::Error);
        assert_eq!((workloads.len(), workloads.dropped()), (MOST, 1));
    }
}
