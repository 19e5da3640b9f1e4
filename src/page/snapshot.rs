//! The data of the page, as it was when it was published.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Clock, RestartPolicy, State};
use crate::ledger::{ContainerStatus, Entry, FailingWorkload, Ledger};
use crate::reason::Reason;

/// A host and its containers.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The host.
    pub host: Host,
    /// Its containers; the same `Arc` while nothing changes.
    pub containers: Arc<ContainerSnapshot>,
    /// The Engine's clock, to which all times here refer.
    pub clock: Clock,
}

/// The exits on a host. It shares long texts with the ledger, and unchanged rows with the snapshot before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSnapshot {
    /// Containers by state; empty if nothing is known, or nothing recent enough to be shown.
    pub states: Vec<(State, u64)>,
    /// All exits, by the shards of the ledger.
    pub shards: Vec<Arc<[Row]>>,
    /// The workloads that failed recently, in no order.
    pub failing: Arc<[Arc<FailingWorkload>]>,
}

/// The host as a whole.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The host's name by the Engine; empty if unknown.
    pub name: String,
    /// `docker` or `podman`; empty if unknown.
    pub engine: &'static str,
    /// The Engine's version; empty if unknown.
    pub version: String,
    /// Whether the Engine can be read.
    pub docker: Docker,
    /// When the containers were listed last.
    pub listed_at: Option<Timestamp>,
    /// When the exporter started.
    pub started: Timestamp,
}

/// Whether the Engine can be read.
#[derive(Debug, Clone, Default)]
pub enum Docker {
    /// There was no listing yet.
    #[default]
    NotAsked,
    /// The last listing succeeded.
    Up {
        /// The first success since the start or since the last outage.
        since: Timestamp,
    },
    /// The last listing failed.
    Down {
        /// The first failure.
        since: Timestamp,
        /// The error of the last listing.
        why: String,
    },
}

/// An exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The container's id.
    pub id: Arc<str>,
    /// The container's name.
    pub name: Arc<str>,
    /// The Swarm service, or the Compose project and service; empty if there is none.
    pub service: Arc<str>,
    /// The service is a Swarm service.
    pub is_swarm: bool,
    /// The name of the image.
    pub image: Arc<str>,
    /// The labels of the container's series, without braces.
    pub labels: Arc<str>,
    /// The exit code.
    pub code: i64,
    /// Why it ended.
    pub reason: Reason,
    /// The Engine's error if it failed to start; otherwise empty.
    pub error: Arc<str>,
    /// When the container was created.
    pub created: Option<Timestamp>,
    /// Since when it does not run: the end of the run; if the Engine gives none, as for a failed start, its
    /// last event; if it has never run, its creation.
    pub stopped_at: Option<Timestamp>,
    /// `stopped_at` is the end of the run.
    pub has_end_time: bool,
    /// How long it ran.
    pub duration: Option<SignedDuration>,
    /// Restarts by the restart policy; absent if unknown.
    pub restart_count: Option<u64>,
    /// The restart policy; absent for `no` or if unknown.
    pub restart_policy: Option<RestartPolicy>,
    /// What became of the container.
    pub status: ContainerStatus,
    /// There is, or was, a newer container of the same service and slot or number.
    pub is_superseded: bool,
}

impl Row {
    /// The row of an exit; `None` if it has no code because the run ended unseen.
    fn new(entry: Entry<'_>) -> Option<Self> {
        let Entry { exit, .. } = entry;
        let never_ran = entry.created.filter(|_| exit.reason == Reason::StartFailed);
        Some(Self {
            id: Arc::clone(entry.id),
            name: Arc::clone(entry.name),
            service: Arc::clone(entry.service),
            is_swarm: entry.is_swarm,
            image: Arc::clone(entry.image),
            labels: Arc::clone(entry.labels),
            code: exit.code?,
            reason: entry.reason,
            error: Arc::clone(&exit.error),
            created: entry.created,
            stopped_at: exit.finished_at.or(entry.last_event).or(never_ran),
            has_end_time: exit.finished_at.is_some(),
            duration: exit.duration,
            restart_count: exit.restart_count,
            restart_policy: entry.restart_policy,
            status: entry.status,
            is_superseded: entry.is_superseded,
        })
    }

    /// When the run ended, if known.
    #[must_use]
    pub fn finished_at(&self) -> Option<Timestamp> {
        self.stopped_at.filter(|_| self.has_end_time)
    }

    /// Whether it is down now: it failed or could not start, and was not superseded, removed or started
    /// again.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.reason.is_failure() && !self.is_superseded && self.status == ContainerStatus::Stopped
    }
}

/// There is one row per exit: up to 100,000.
const _: () = assert!(size_of::<Row>() <= 208);

/// The rows of the last snapshot. Only those of changed shards are made again.
#[derive(Debug, Default)]
pub struct RowCache {
    shards: Vec<Arc<[Row]>>,
    /// The ledger's revision of each shard.
    revisions: Vec<u64>,
    /// With the ledger's revision.
    failing: (Arc<[Arc<FailingWorkload>]>, u64),
}

impl RowCache {
    /// A snapshot of the ledger's containers.
    pub fn update(&mut self, ledger: &Ledger) -> ContainerSnapshot {
        self.shards.resize_with(Ledger::SHARDS, Arc::default);
        self.revisions.resize(Ledger::SHARDS, 0);
        let shards = self.shards.iter_mut().zip(&mut self.revisions);
        for (number, (rows, before)) in shards.enumerate() {
            let shard = number..number + 1;
            let revision = ledger.revision_of(shard.clone());
            if revision != *before {
                *before = revision;
                *rows = ledger.entries(shard).filter_map(Row::new).collect();
            }
        }
        let (failing, before) = &mut self.failing;
        if *before != ledger.failing_revision() {
            *before = ledger.failing_revision();
            *failing = ledger.failing().cloned().collect();
        }
        ContainerSnapshot {
            states: ledger.states().collect(),
            shards: self.shards.clone(),
            failing: Arc::clone(failing),
        }
    }
}
