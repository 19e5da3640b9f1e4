//! Exit counters per Swarm service, Compose service or image. They outlive the containers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Labels;
use crate::labels::{keys, push_label, series_label};
use crate::reason::Reason;

/// Maximum number of workloads. An endless supply of image names must not fill the memory of the
/// exporter or of Prometheus.
const MAX_WORKLOADS: usize = 10_000;

/// How long a workload without containers is kept.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Maximum length of a workload's name: the series of each reason repeat it.
const MAX_NAME_BYTES: usize = 512;

/// How long a new workload may be shown as 0 while no scrape has taken that. `increase()` misses
/// the first exit of a counter that starts at 1.
const ZERO_TIMEOUT: Duration = Duration::from_secs(60);

/// The counters of all workloads.
#[derive(Debug, Default)]
pub struct Workloads {
    counters: BTreeMap<Arc<str>, Counters>,
    /// Workloads whose zeros no scrape has taken, oldest first.
    unscraped: VecDeque<UnscrapedWorkload>,
    dropped: u64,
    /// No workload is dropped before this uptime. `None` if all have containers.
    next_expiry: Option<Duration>,
    revision: u64,
}

/// A workload whose zeros no scrape has taken.
#[derive(Debug)]
struct UnscrapedWorkload {
    key: WorkloadKey,
    /// Texts from this revision on show it.
    revision: u64,
    /// Uptime at which it was added, set by the next `expire`.
    since: Option<Duration>,
}

/// The counts of one workload.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Exits, in the order of [`Reason::ALL`].
    pub exits: [u64; Reason::ALL.len()],
    /// OOM kills.
    pub oom_kills: u64,
}

#[derive(Debug, Default)]
struct Counters {
    counts: Counts,
    /// Whether no scrape has taken its zeros yet.
    is_unscraped: bool,
    containers: usize,
    /// Uptime at which its last container left.
    empty_since: Option<Duration>,
}

/// Labels of a workload's series, without braces and without the reason.
pub(super) type WorkloadKey = Arc<str>;

impl Workloads {
    /// Adds a container to a workload. Returns `None` if there are too many workloads.
    pub(super) fn join(&mut self, key: &str) -> Option<WorkloadKey> {
        if let Some(counters) = self.counters.get_mut(key) {
            counters.containers += 1;
            counters.empty_since = None;
            return self
                .counters
                .get_key_value(key)
                .map(|(key, _)| Arc::clone(key));
        }
        if self.counters.len() >= MAX_WORKLOADS {
            self.dropped += 1;
            return None;
        }
        self.revision += 1;
        let key: WorkloadKey = key.into();
        let counters = Counters {
            is_unscraped: true,
            containers: 1,
            ..Counters::default()
        };
        self.counters.insert(Arc::clone(&key), counters);
        self.unscraped.push_back(UnscrapedWorkload {
            key: Arc::clone(&key),
            revision: self.revision,
            since: None,
        });
        Some(key)
    }

    /// Removes a container from a workload.
    pub(super) fn leave(&mut self, key: &str, uptime: Duration) {
        if let Some(counters) = self.counters.get_mut(key) {
            counters.containers = counters.containers.saturating_sub(1);
            if counters.containers == 0 {
                counters.empty_since = Some(uptime);
                self.next_expiry.get_or_insert(uptime + EMPTY_TIMEOUT);
            }
        }
    }

    pub(super) fn count(&mut self, key: &str, reason: Reason) {
        if let Some(counters) = self.counters.get_mut(key) {
            counters.counts.exits[reason as usize] += 1;
            self.revision += 1;
        }
    }

    pub(super) fn count_oom_kill(&mut self, key: &str) {
        if let Some(counters) = self.counters.get_mut(key) {
            counters.counts.oom_kills += 1;
            self.revision += 1;
        }
    }

    /// Records that a scrape has taken the text of this revision. Zeros it showed may grow now.
    pub(super) fn mark_scraped(&mut self, revision: u64) {
        self.end_zeros_while(|oldest| oldest.revision <= revision);
    }

    /// The newest revision that shows zeros no scrape has taken. `None` if there are none.
    #[must_use]
    pub fn unscraped_revision(&self) -> Option<u64> {
        self.unscraped.back().map(|newest| newest.revision)
    }

    /// Uptime at which [`Workloads::expire`] next stops waiting for a scrape to take a workload's zeros.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let oldest = self.unscraped.front()?;
        Some(oldest.since.map_or(Duration::ZERO, |at| at + ZERO_TIMEOUT))
    }

    fn end_zeros_while(&mut self, is_due: impl Fn(&UnscrapedWorkload) -> bool) -> bool {
        let count = self.unscraped.iter().take_while(|it| is_due(it)).count();
        for UnscrapedWorkload { key, .. } in self.unscraped.drain(..count) {
            if let Some(counters) = self.counters.get_mut(&key) {
                counters.is_unscraped = false;
                self.revision += u64::from(counters.counts != Counts::default());
            }
        }
        count > 0
    }

    /// Shows the counts of workloads that no scrape has taken for [`ZERO_TIMEOUT`], and drops those
    /// without containers for [`EMPTY_TIMEOUT`]. Returns whether anything changed.
    pub(super) fn expire(&mut self, uptime: Duration) -> bool {
        let new = self.unscraped.iter_mut().rev();
        for workload in new.take_while(|it| it.since.is_none()) {
            workload.since = Some(uptime);
        }
        let is_due =
            |it: &UnscrapedWorkload| it.since.is_some_and(|at| at + ZERO_TIMEOUT <= uptime);
        let any_shown = self.end_zeros_while(is_due);
        self.drop_empty(uptime) || any_shown
    }

    fn drop_empty(&mut self, uptime: Duration) -> bool {
        if self.next_expiry.is_none_or(|at| uptime < at) {
            return false;
        }
        let before = self.counters.len();
        let is_kept = |since| uptime < since + EMPTY_TIMEOUT;
        let counters = &mut self.counters;
        counters.retain(|_, it| it.empty_since.is_none_or(is_kept));
        let empty = self.counters.values().filter_map(|it| it.empty_since);
        self.next_expiry = empty.min().map(|since| since + EMPTY_TIMEOUT);
        let any = self.counters.len() != before;
        self.revision += u64::from(any);
        any
    }

    /// Labels and counts of each workload.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Counts)> {
        self.counters.iter().map(|(key, it)| (&**key, &it.counts))
    }

    /// Labels and counts to show: 0 until a scrape has taken that.
    pub fn published(&self) -> impl Iterator<Item = (&str, Counts)> {
        let all = self.counters.iter();
        all.map(|(key, it)| {
            let shown = Some(it.counts).filter(|_| !it.is_unscraped);
            (&**key, shown.unwrap_or_default())
        })
    }

    /// Changes whenever a workload or a count changes.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Number of workloads.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counters.len()
    }

    /// Whether there are no workloads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters.is_empty()
    }

    /// Number of containers not counted because of the limit of 10,000 workloads.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Labels of a container's workload: its Swarm service, else its Compose service, else its image.
pub(super) fn workload_key(labels: &Labels, image: &str) -> String {
    let mut text = String::new();
    if !has_service(labels) {
        push_label(&mut text, "image", truncate_name(image));
        return text;
    }
    let pair = if is_swarm(labels) {
        [keys::STACK, keys::SWARM_SERVICE]
    } else {
        [keys::COMPOSE_PROJECT, keys::COMPOSE_SERVICE]
    };
    for key in pair {
        push_label(&mut text, &series_label(key), label(labels, key));
    }
    text
}

/// Value of a Docker label, truncated. Empty if there is none.
pub(super) fn label<'a>(labels: &'a Labels, key: &str) -> &'a str {
    truncate_name(labels.get(key).map_or("", String::as_str))
}

/// Whether the workload is a service and not an image.
pub(super) fn has_service(labels: &Labels) -> bool {
    is_swarm(labels) || !label(labels, keys::COMPOSE_SERVICE).is_empty()
}

/// Whether the container belongs to a Swarm service.
pub(super) fn is_swarm(labels: &Labels) -> bool {
    !label(labels, keys::SWARM_SERVICE).is_empty()
}

/// Truncates a name to [`MAX_NAME_BYTES`].
fn truncate_name(name: &str) -> &str {
    truncate(name, MAX_NAME_BYTES)
}

/// Truncates a text after `bytes` bytes, at the end of a character.
pub(super) fn truncate(text: &str, bytes: usize) -> &str {
    let end = text.char_indices().find(|(at, _)| *at >= bytes);
    end.map_or(text, |(at, _)| &text[..at])
}

/// Service name for people: the Swarm service, which includes its stack, else `project/service` of
/// Compose, else empty.
pub(super) fn service_name(labels: &Labels) -> String {
    let keys = [
        keys::SWARM_SERVICE,
        keys::COMPOSE_PROJECT,
        keys::COMPOSE_SERVICE,
    ];
    match keys.map(|key| label(labels, key)) {
        ["", "", service] => service.to_owned(),
        ["", _, ""] => String::new(),
        ["", project, service] => format!("{project}/{service}"),
        [swarm, _, _] => swarm.to_owned(),
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
            assert_eq!(workload_key(&labels(pairs), "nginx"), want);
            assert_eq!(service_name(&labels(pairs)), service_is);
            assert_eq!(is_swarm(&labels(pairs)), service_is == "api_web");
        }
    }

    #[test]
    fn long_names_are_truncated() {
        assert_eq!(
            workload_key(&Labels::default(), &"x".repeat(512)).len(),
            512 + 8
        );
        assert_eq!(
            workload_key(&Labels::default(), &"x".repeat(9999)).len(),
            512 + 8
        );
        assert_eq!(truncate_name(&"\u{20ac}".repeat(200)).len(), 513);
    }

    #[test]
    fn workloads_without_containers_leave_after_a_day() {
        let mut workloads = Workloads::default();
        let hour = Duration::from_secs(3600);
        workloads.join("a");
        workloads.join("a");
        workloads.mark_scraped(workloads.revision());
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
        let first = workloads.unscraped_revision().unwrap();
        workloads.count("a", Reason::Error);
        workloads.count_oom_kill("a");
        workloads.join("b");
        workloads.count("b", Reason::Error);
        assert_eq!(published(&workloads), [("a", 0, 0), ("b", 0, 0)]);
        let before = workloads.revision();
        workloads.mark_scraped(first);
        assert!(workloads.revision() > before, "the text is made anew");
        assert_eq!(published(&workloads), [("a", 1, 1), ("b", 0, 0)]);
        workloads.mark_scraped(workloads.unscraped_revision().unwrap());
        assert_eq!(published(&workloads), [("a", 1, 1), ("b", 1, 0)]);
        assert_eq!(workloads.unscraped_revision(), None);
        workloads.join("b");
        assert_eq!(workloads.unscraped_revision(), None, "it is known");
        let all: Vec<_> = workloads.iter().map(|(key, _)| key).collect();
        assert_eq!(all, ["a", "b"]);
    }

    #[test]
    fn zeros_are_shown_for_a_minute_at_most() {
        let mut workloads = Workloads::default();
        let second = Duration::from_secs(1);
        workloads.join("a");
        assert_eq!(
            workloads.next_timeout(),
            Some(Duration::ZERO),
            "its time is not known"
        );
        assert!(!workloads.expire(second * 10));
        assert_eq!(workloads.next_timeout(), Some(second * 70));
        workloads.count("a", Reason::Error);
        workloads.join("b");
        assert!(!workloads.expire(second * 69));
        assert_eq!(published(&workloads), [("a", 0, 0), ("b", 0, 0)]);
        assert!(workloads.expire(second * 70));
        assert_eq!(published(&workloads), [("a", 1, 0), ("b", 0, 0)]);
        assert_eq!(workloads.next_timeout(), Some(second * 129));
        assert!(workloads.expire(second * 129));
        assert_eq!(workloads.next_timeout(), None);
    }

    #[test]
    fn workloads_past_the_limit_are_dropped_and_counted() {
        let mut workloads = Workloads::default();
        for number in 0..MAX_WORKLOADS {
            assert!(workloads.join(&number.to_string()).is_some());
        }
        assert!(workloads.join("one more").is_none());
        assert!(workloads.join("5").is_some());
        workloads.count("one more", Reason::Error);
        assert_eq!((workloads.len(), workloads.dropped()), (MAX_WORKLOADS, 1));
    }
}
