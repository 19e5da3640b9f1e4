//! From what is known to the text that Prometheus reads, format 0.0.4.
//!
//! The container families are written here, in pieces that are made anew only where something has
//! changed, from label blocks that were rendered once; the workloads' counters are one piece. The
//! exporter's own metrics are the [`telemetry`](crate::telemetry)'s.

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
pub use text::Text;

use family::{
    CODE, CONTAINERS, DURATION, ENGINE_INFO, EXITS, LAST_CODE, LAST_REASON, LAST_TIMESTAMP,
    OF_CONTAINERS, OOM_KILLS, POLICY, REASON, REMOVED, RESTART_COUNT, SLOTS, SUPERSEDED, TIMESTAMP,
    UP,
};

/// So many containers are to be in one piece of the text, at least and at most, where there are as
/// many: pieces of some 30 KB are quickly made anew, and large enough to be compressed well.
const FEWEST: usize = 32;
const MOST: usize = 256;

/// A sample without its container's labels, in bytes, at most:
/// `container_last_exit_timestamp_seconds{} 1795336863.295093`
const SAMPLE_BYTES: usize = 64;

/// What renders the families of the host, its containers and their workloads. It keeps the pieces of
/// the last text and makes only those anew in which something has changed.
#[derive(Debug, Default)]
pub struct Renderer {
    host: Arc<Segment>,
    heads: Vec<Arc<Segment>>,
    groups: Vec<Group>,
    /// With the revision that it was made of, as the next.
    slots: (Arc<Segment>, u64),
    workloads: (Arc<Segment>, u64),
    last: Arc<Text>,
}

impl Renderer {
    /// Renders all that is known.
    ///
    /// `up`: the last listing worked. `fresh`: what is known of the Engine and its containers is not
    /// too old to be shown; the counters always are.
    pub fn render(
        &mut self,
        up: bool,
        fresh: bool,
        engine: &EngineInfo,
        ledger: &Ledger,
    ) -> Arc<Text> {
        replace(&mut self.host, host(up, fresh, engine, ledger));
        let mut segments = vec![Arc::clone(&self.host)];
        if fresh {
            self.update_groups(ledger);
            if self.heads.is_empty() {
                let heads = OF_CONTAINERS.iter().map(|family| family.head().into());
                self.heads = heads.map(Arc::new).collect();
            }
            for (family, head) in self.heads.iter().enumerate() {
                let pieces = self.groups.iter().map(|group| &group.families[family]);
                let mut pieces = pieces.filter(|piece| !piece.is_empty()).peekable();
                // No head stands alone.
                segments.extend(pieces.peek().map(|_| Arc::clone(head)));
                segments.extend(pieces.cloned());
            }
            let (piece, revision) = &mut self.slots;
            if *revision != ledger.swarm_slots_revision() {
                *revision = ledger.swarm_slots_revision();
                replace(piece, slots(ledger));
            }
            segments.push(Arc::clone(piece));
        }
        let (piece, revision) = &mut self.workloads;
        if *revision != ledger.workloads().revision() {
            *revision = ledger.workloads().revision();
            replace(piece, workloads(ledger));
        }
        segments.push(Arc::clone(piece));
        segments.retain(|segment| !segment.is_empty());
        if !self.last.has(&segments) {
            self.last = Arc::new(segments.into());
        }
        Arc::clone(&self.last)
    }

    /// Makes the pieces of those containers anew that have changed.
    fn update_groups(&mut self, ledger: &Ledger) {
        let (count, before) = (ledger.len(), self.groups.len().max(1));
        let too_few = before > 1 && count < before * FEWEST;
        let too_many = before < Ledger::SHARDS && count > before * MOST;
        if self.groups.is_empty() || too_few || too_many {
            let groups = (count / (2 * FEWEST)).next_power_of_two();
            let groups = groups.min(Ledger::SHARDS);
            self.groups = (0..groups).map(|_| Group::default()).collect();
        }
        let slots = Ledger::SHARDS / self.groups.len();
        for (number, group) in self.groups.iter_mut().enumerate() {
            group.update(ledger, number * slots..(number + 1) * slots);
        }
    }
}

/// The pieces of some slots' containers, one for each of their families.
#[derive(Debug, Default)]
struct Group {
    families: [Arc<Segment>; OF_CONTAINERS.len()],
    /// What they were made of; 0 if they were not.
    revision: u64,
}

impl Group {
    fn update(&mut self, ledger: &Ledger, slots: Range<usize>) {
        let revision = ledger.revision_of(slots.clone());
        if revision == self.revision {
            return;
        }
        self.revision = revision;
        let samples = Samples::of(ledger, slots);
        for (piece, text) in self.families.iter_mut().zip(samples.families) {
            replace(piece, text);
        }
    }
}

/// Puts a new text into a piece, which stays the same if the text does.
fn replace(piece: &mut Arc<Segment>, mut text: String) {
    if piece.plain() != text {
        text.shrink_to_fit();
        *piece = Arc::new(text.into());
    }
}

/// The samples of some containers, by family.
#[derive(Debug, Default)]
struct Samples {
    families: [String; OF_CONTAINERS.len()],
}

impl Samples {
    fn of(ledger: &Ledger, slots: Range<usize>) -> Self {
        let (mut room, mut room_of_last) = (0, 0);
        for entry in ledger.entries(slots.clone()) {
            let room = if entry.is_running() {
                &mut room_of_last
            } else {
                &mut room
            };
            *room += entry.labels.len() + SAMPLE_BYTES;
        }
        let mut samples = Self::default();
        for (number, family) in samples.families.iter_mut().enumerate() {
            family.reserve_exact(match number {
                POLICY => 0, // Most have none.
                ..LAST_CODE => room,
                _ => room_of_last,
            });
        }
        for entry in ledger.entries(slots) {
            if entry.is_running() {
                samples.last_exit(&entry);
            } else {
                samples.exit(&entry);
            }
        }
        samples
    }

    fn exit(&mut self, entry: &Entry<'_>) {
        let Entry { labels, exit, .. } = entry;
        self.add(CODE, labels, exit.code);
        self.add(TIMESTAMP, labels, exit.finished_at.map(seconds));
        self.add(DURATION, labels, exit.duration.map(Seconds));
        self.add_reason(REASON, entry);
        self.add(SUPERSEDED, labels, Some(u8::from(entry.is_superseded)));
        self.add(
            REMOVED,
            labels,
            Some(u8::from(entry.status == ContainerStatus::Removed)),
        );
        self.add_policy(entry);
        self.add(RESTART_COUNT, labels, exit.restart_count);
    }

    fn last_exit(&mut self, entry: &Entry<'_>) {
        let Entry { labels, exit, .. } = entry;
        self.add(LAST_CODE, labels, exit.code);
        self.add(LAST_TIMESTAMP, labels, exit.finished_at.map(seconds));
        self.add_reason(LAST_REASON, entry);
        self.add_policy(entry);
    }

    fn add(&mut self, family: usize, labels: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            OF_CONTAINERS[family].sample(&mut self.families[family], labels, value);
        }
    }

    /// A run that ended unseen has no code, and so no reason.
    fn add_reason(&mut self, family: usize, entry: &Entry<'_>) {
        if entry.exit.code.is_some() {
            let text = &mut self.families[family];
            let reason = ("reason", entry.reason.name());
            OF_CONTAINERS[family].sample_with(text, entry.labels, reason, 1);
        }
    }

    fn add_policy(&mut self, entry: &Entry<'_>) {
        if let Some(policy) = entry.restart_policy {
            let text = &mut self.families[POLICY];
            let policy = ("policy", policy.name());
            OF_CONTAINERS[POLICY].sample_with(text, entry.labels, policy, 1);
        }
    }
}

fn host(up: bool, fresh: bool, engine: &EngineInfo, ledger: &Ledger) -> String {
    let mut text = UP.head();
    UP.sample(&mut text, "", u8::from(up));
    if fresh {
        text += &ENGINE_INFO.head();
        ENGINE_INFO.sample(&mut text, &engine_labels(engine), 1);
        text += &CONTAINERS.head();
        for (state, count) in ledger.states() {
            let mut labels = String::new();
            push_label(&mut labels, "state", state.name());
            CONTAINERS.sample(&mut text, &labels, count);
        }
    }
    text
}

fn slots(ledger: &Ledger) -> String {
    let mut text = String::new();
    for (labels, created) in ledger.swarm_slots() {
        if text.is_empty() {
            text = SLOTS.head();
        }
        SLOTS.sample(&mut text, labels, seconds(created));
    }
    text
}

fn workloads(ledger: &Ledger) -> String {
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

fn seconds(time: Timestamp) -> Seconds {
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

/// Seconds with as many decimals as are needed, six at most: a float of the size of today's time
/// has no more.
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
    fn seconds_are_as_short_as_they_can_be() {
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
    fn without_anything_known_there_is_only_docker_up() {
        let ledger = Ledger::new(Filter::default(), Duration::ZERO, Timestamp::UNIX_EPOCH);
        let engine = EngineInfo::default();
        let text = Renderer::default().render(false, false, &engine, &ledger);
        let want = "# HELP docker_up Whether the last listing of the containers worked.\n\
                    # TYPE docker_up gauge\ndocker_up 0\n";
        assert_eq!(text.plain(), want);
    }

    #[test]
    fn the_version_is_that_of_the_head_where_info_is_refused() {
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
