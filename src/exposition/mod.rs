//! Renders what is known as the text that Prometheus reads, format 0.0.4.
//!
//! The text of the container families consists of segments. A segment is rendered again only after one
//! of its containers changed, from label sets that the ledger has rendered before. The exporter's own
//! metrics come from [`telemetry`](crate::telemetry).

mod family;
pub(crate) mod gzip;
mod text;

use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::EngineInfo;
use crate::labels::push_label;
use crate::ledger::{ContainerStatus, Entry, Ledger};
use crate::reason::Reason;

pub(crate) use text::Segment;
pub use text::SharedText;

use family::{
    CODE, CONTAINER_FAMILIES, CONTAINERS, DURATION, ENGINE_INFO, EXITS, LAST_CODE, LAST_REASON,
    LAST_TIMESTAMP, OOM_KILLS, POLICY, REASON, REMOVED, RESTART_COUNT, SUPERSEDED, SWARM_SLOTS,
    TIMESTAMP, UP,
};

/// Containers per group, on average, if there are enough. Their segments have some 30 KB: small enough to
/// render quickly, large enough to compress well.
const MIN_GROUP_CONTAINERS: usize = 32;
const MAX_GROUP_CONTAINERS: usize = 256;

/// The longest sample without its container's labels:
/// `container_last_exit_timestamp_seconds{} 1795336863.295093`
const MAX_SAMPLE_BYTES: usize = 64;

/// Renders the families of the host, its containers and their workloads. It keeps the segments of the last
/// text and renders only those that changed.
#[derive(Debug, Default)]
pub struct Renderer {
    host: Arc<Segment>,
    heads: Vec<Arc<Segment>>,
    groups: Vec<Group>,
    /// With the revision that it was rendered from; `workloads` likewise.
    swarm_slots: (Arc<Segment>, u64),
    workloads: (Arc<Segment>, u64),
    last: Arc<SharedText>,
}

impl Renderer {
    /// Renders the text.
    ///
    /// `up`: the last listing succeeded. `fresh`: the Engine's and the containers' data is recent enough
    /// to be shown. The counters are always shown.
    pub fn render(
        &mut self,
        up: bool,
        fresh: bool,
        engine: &EngineInfo,
        ledger: &Ledger,
    ) -> Arc<SharedText> {
        replace(&mut self.host, render_host(up, fresh, engine, ledger));
        let mut segments = vec![Arc::clone(&self.host)];
        if fresh {
            self.update_groups(ledger);
            if self.heads.is_empty() {
                let heads = CONTAINER_FAMILIES.iter().map(|it| it.head().into());
                self.heads = heads.map(Arc::new).collect();
            }
            for (family, head) in self.heads.iter().enumerate() {
                let samples = self.groups.iter().map(|group| &group.families[family]);
                let mut samples = samples.filter(|it| !it.is_empty()).peekable();
                // A family without samples has no head.
                segments.extend(samples.peek().map(|_| Arc::clone(head)));
                segments.extend(samples.cloned());
            }
            let (segment, revision) = &mut self.swarm_slots;
            if *revision != ledger.swarm_slots_revision() {
                *revision = ledger.swarm_slots_revision();
                replace(segment, render_swarm_slots(ledger));
            }
            segments.push(Arc::clone(segment));
        }
        let (segment, revision) = &mut self.workloads;
        if *revision != ledger.workloads().revision() {
            *revision = ledger.workloads().revision();
            replace(segment, render_workloads(ledger));
        }
        segments.push(Arc::clone(segment));
        segments.retain(|segment| !segment.is_empty());
        if !self.last.consists_of(&segments) {
            self.last = Arc::new(segments.into());
        }
        Arc::clone(&self.last)
    }

    /// Renders the groups that changed. Regroups all containers if the groups have become too small or
    /// too large.
    fn update_groups(&mut self, ledger: &Ledger) {
        let (count, groups) = (ledger.len(), self.groups.len().max(1));
        let too_small = groups > 1 && count < groups * MIN_GROUP_CONTAINERS;
        let too_large = groups < Ledger::SHARDS && count > groups * MAX_GROUP_CONTAINERS;
        if self.groups.is_empty() || too_small || too_large {
            let groups = (count / (2 * MIN_GROUP_CONTAINERS)).next_power_of_two();
            let groups = groups.min(Ledger::SHARDS);
            self.groups = (0..groups).map(|_| Group::default()).collect();
        }
        let shards = Ledger::SHARDS / self.groups.len();
        for (number, group) in self.groups.iter_mut().enumerate() {
            group.update(ledger, number * shards..(number + 1) * shards);
        }
    }
}

/// The segments of a group of containers, one per family.
#[derive(Debug, Default)]
struct Group {
    families: [Arc<Segment>; CONTAINER_FAMILIES.len()],
    /// The revision that they were rendered from; 0 if never.
    revision: u64,
}

impl Group {
    fn update(&mut self, ledger: &Ledger, shards: Range<usize>) {
        let revision = ledger.revision_of(shards.clone());
        if revision == self.revision {
            return;
        }
        self.revision = revision;
        let samples = Samples::render(ledger, shards);
        for (segment, text) in self.families.iter_mut().zip(samples.families) {
            replace(segment, text);
        }
    }
}

/// Replaces a segment, unless its text is the same.
fn replace(segment: &mut Arc<Segment>, mut text: String) {
    if segment.plain() != text {
        text.shrink_to_fit();
        *segment = Arc::new(text.into());
    }
}

/// The samples of a group of containers, by family.
#[derive(Debug, Default)]
struct Samples {
    families: [String; CONTAINER_FAMILIES.len()],
}

impl Samples {
    fn render(ledger: &Ledger, shards: Range<usize>) -> Self {
        let (mut exit_bytes, mut last_exit_bytes) = (0, 0);
        for entry in ledger.entries(shards.clone()) {
            let bytes = entry.labels.len() + MAX_SAMPLE_BYTES;
            if entry.is_running() {
                last_exit_bytes += bytes;
            } else {
                exit_bytes += bytes;
            }
        }
        let mut samples = Self::default();
        for (family, text) in samples.families.iter_mut().enumerate() {
            text.reserve_exact(match family {
                POLICY => 0, // Most containers have none.
                ..LAST_CODE => exit_bytes,
                _ => last_exit_bytes,
            });
        }
        for entry in ledger.entries(shards) {
            if entry.is_running() {
                samples.push_last_exit(&entry);
            } else {
                samples.push_exit(&entry);
            }
        }
        samples
    }

    fn push_exit(&mut self, entry: &Entry<'_>) {
        let Entry { labels, exit, .. } = entry;
        let removed = entry.status == ContainerStatus::Removed;
        self.push(CODE, labels, exit.code);
        self.push(TIMESTAMP, labels, exit.finished_at.map(unix_seconds));
        self.push(DURATION, labels, exit.duration.map(Seconds));
        self.push_reason(REASON, entry);
        self.push(SUPERSEDED, labels, Some(u8::from(entry.is_superseded)));
        self.push(REMOVED, labels, Some(u8::from(removed)));
        self.push_policy(entry);
        self.push(RESTART_COUNT, labels, exit.restart_count);
    }

    fn push_last_exit(&mut self, entry: &Entry<'_>) {
        let Entry { labels, exit, .. } = entry;
        self.push(LAST_CODE, labels, exit.code);
        self.push(LAST_TIMESTAMP, labels, exit.finished_at.map(unix_seconds));
        self.push_reason(LAST_REASON, entry);
        self.push_policy(entry);
    }

    fn push(&mut self, family: usize, labels: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            CONTAINER_FAMILIES[family].sample(&mut self.families[family], labels, value);
        }
    }

    /// A run that ended unseen has no code, and so no reason.
    fn push_reason(&mut self, family: usize, entry: &Entry<'_>) {
        if entry.exit.code.is_some() {
            self.push_with(family, entry.labels, ("reason", entry.reason.name()));
        }
    }

    fn push_policy(&mut self, entry: &Entry<'_>) {
        if let Some(policy) = entry.restart_policy {
            self.push_with(POLICY, entry.labels, ("policy", policy.name()));
        }
    }

    fn push_with(&mut self, family: usize, labels: &str, label: (&str, &str)) {
        CONTAINER_FAMILIES[family].sample_with(&mut self.families[family], labels, label, 1);
    }
}

fn render_host(up: bool, fresh: bool, engine: &EngineInfo, ledger: &Ledger) -> String {
    let mut text = UP.head();
    UP.sample(&mut text, "", u8::from(up));
    if fresh {
        text += &ENGINE_INFO.head();
        ENGINE_INFO.sample(&mut text, &engine_labels(engine), 1);
        text += &CONTAINERS.head();
        for (state, count) in ledger.states() {
            CONTAINERS.sample_with(&mut text, "", ("state", state.name()), count);
        }
    }
    text
}

fn render_swarm_slots(ledger: &Ledger) -> String {
    let mut text = String::new();
    for (labels, created) in ledger.swarm_slots() {
        if text.is_empty() {
            text = SWARM_SLOTS.head();
        }
        SWARM_SLOTS.sample(&mut text, labels, unix_seconds(created));
    }
    text
}

fn render_workloads(ledger: &Ledger) -> String {
    if ledger.workloads().is_empty() {
        return String::new();
    }
    let (mut exits, mut oom_kills) = (EXITS.head(), OOM_KILLS.head());
    for (labels, counts) in ledger.workloads().published() {
        for (reason, count) in Reason::ALL.into_iter().zip(counts.exits) {
            EXITS.sample_with(&mut exits, labels, ("reason", reason.name()), count);
        }
        OOM_KILLS.sample(&mut oom_kills, labels, counts.oom_kills);
    }
    exits + &oom_kills
}

fn unix_seconds(time: Timestamp) -> Seconds {
    Seconds(time.duration_since(Timestamp::UNIX_EPOCH))
}

fn engine_labels(engine: &EngineInfo) -> String {
    let info = engine.info.clone().unwrap_or_default();
    let mut labels = String::new();
    for (name, value) in [
        ("api_version", engine.identity.api_version.as_str()),
        ("architecture", &info.architecture),
        ("cgroup_driver", &info.cgroup_driver),
        ("cgroup_version", &info.cgroup_version),
        ("engine", engine.kind()),
        ("kernel_version", &info.kernel_version),
        ("name", &info.name),
        ("node_id", &info.node_id),
        ("operating_system", &info.operating_system),
        ("version", engine.version()),
    ] {
        push_label(&mut labels, name, value);
    }
    labels
}

/// Seconds with no more decimals than needed, six at most: a float has no more at the size of today's
/// time.
struct Seconds(SignedDuration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = self.0.subsec_micros();
        if micros == 0 {
            return write!(f, "{}", self.0.as_secs());
        }
        let (mut digits, mut decimals) = (micros, 6);
        while digits % 10 == 0 {
            digits /= 10;
            decimals -= 1;
        }
        write!(f, "{}.{digits:0decimals$}", self.0.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::Identity;
    use crate::labels::Filter;

    #[test]
    fn seconds_have_no_needless_decimals() {
        for (seconds, nanos, want) in [
            (0, 0, "0"),
            (0, 999, "0"),
            (0, 9_278_443, "0.009278"),
            (3, 500_000_000, "3.5"),
            (10, 0, "10"),
            (1_795_336_863, 295_093_763, "1795336863.295093"),
        ] {
            let duration = SignedDuration::new(seconds, nanos);
            assert_eq!(Seconds(duration).to_string(), want);
        }
    }

    #[test]
    fn without_data_there_is_only_docker_up() {
        let ledger = Ledger::new(Filter::default(), Duration::ZERO, Timestamp::UNIX_EPOCH);
        let engine = EngineInfo::default();
        let text = Renderer::default().render(false, false, &engine, &ledger);
        let want = "# HELP docker_up Whether the last listing of the containers worked.\n\
                    # TYPE docker_up gauge\ndocker_up 0\n";
        assert_eq!(text.plain(), want);
    }

    #[test]
    fn without_info_the_version_comes_from_the_server_header() {
        let engine = EngineInfo {
            identity: Identity {
                api_version: "1.51".into(),
                server: "Docker/28.5.2+dfsg4 (linux)".into(),
            },
            info: None,
        };
        let want = r#"api_version="1.51",engine="docker",version="28.5.2+dfsg4""#;
        assert_eq!(engine_labels(&engine), want);
        assert_eq!(engine_labels(&EngineInfo::default()), "");
    }
}
