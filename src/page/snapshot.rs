//! What the page shows, as it was when it was published.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Clock, RestartPolicy, State};
pub use crate::ledger::ContainerStatus as Now;
use crate::ledger::{Entry, FailingWorkload, Ledger};
use crate::reason::Reason;

/// A host and its containers.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The host.
    pub host: Host,
    /// Its containers; the same for as long as nothing changes.
    pub containers: Arc<Containers>,
    /// The Engine's clock, to which all times here refer.
    pub clock: Clock,
}

/// The exits on a host. It shares all that is long with the ledger, and what has not changed with the
/// one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Containers {
    /// How many containers there are in each state; empty if nothing is known, or nothing that is
    /// young enough to be shown.
    pub states: Vec<(State, u64)>,
    /// All exits, in the slots of the ledger.
    pub slots: Vec<Arc<[Row]>>,
    /// The workloads that have failed within the last hours, in no order.
    pub failing: Arc<[Arc<FailingWorkload>]>,
}

/// What is known of the host as a whole.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// The host's name by the Engine; empty if it is not known.
    pub name: String,
    /// `docker` or `podman`; empty if that is not known.
    pub engine: &'static str,
    /// The Engine's version; empty if it is not known.
    pub version: String,
    /// Whether the Engine can be read.
    pub docker: Docker,
    /// When its containers were listed last.
    pub listed_at: Option<Timestamp>,
    /// When the exporter started.
    pub started: Timestamp,
}

/// Whether Docker can be read.
#[derive(Debug, Clone, Default)]
pub enum Docker {
    /// It was not asked yet.
    #[default]
    NotAsked,
    /// The last listing worked.
    Up {
        /// When the first one did, since the start or the last outage.
        since: Timestamp,
    },
    /// The last listing did not work.
    Down {
        /// When the first one failed.
        since: Timestamp,
        /// Why the last one did.
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
    /// Its Swarm service, or its Compose project and service; empty if it is of none.
    pub service: Arc<str>,
    /// The service is one of Swarm.
    pub of_swarm: bool,
    /// The name of its image.
    pub image: Arc<str>,
    /// The labels of its series, without braces.
    pub labels: Arc<str>,
    /// The exit code.
    pub code: i64,
    /// Why it ended.
    pub reason: Reason,
    /// Why it could not be started, in the Engine's words; empty otherwise.
    pub error: Arc<str>,
    /// When the container was made.
    pub created: Option<Timestamp>,
    /// Since when it does not run: since it ended or, if the Engine does not say that, as of a start that
    /// failed, since its last event, or since it was made if it has never run.
    pub at: Option<Timestamp>,
    /// That is when it ended.
    pub is_end: bool,
    /// How long it had run.
    pub duration: Option<SignedDuration>,
    /// Restarts by the restart policy; absent if unknown.
    pub restart_count: Option<u64>,
    /// Its restart policy; absent for `no`, and while it is not known.
    pub restart_policy: Option<RestartPolicy>,
    /// What became of the container.
    pub now: Now,
    /// A newer container holds its place in a service, or has held it.
    pub superseded: bool,
}

impl Row {
    /// What is shown of an exit; `None` if it has no code, since the run ended unseen.
    fn new(entry: Entry<'_>) -> Option<Self> {
        let Entry { exit, .. } = entry;
        let never_ran = entry.created.filter(|_| exit.reason == Reason::StartFailed);
        Some(Self {
            id: Arc::clone(entry.id),
            name: Arc::clone(entry.name),
            service: Arc::clone(entry.service),
            of_swarm: entry.is_swarm,
            image: Arc::clone(entry.image),
            labels: Arc::clone(entry.labels),
            code: exit.code?,
            reason: entry.reason,
            error: Arc::clone(&exit.error),
            created: entry.created,
            at: exit.finished_at.or(entry.last_event).or(never_ran),
            is_end: exit.finished_at.is_some(),
            duration: exit.duration,
            restart_count: exit.restart_count,
            restart_policy: entry.restart_policy,
            now: entry.status,
            superseded: entry.is_superseded,
        })
    }

    /// When it ended, if that is known.
    #[must_use]
    pub fn ended(&self) -> Option<Timestamp> {
        self.at.filter(|_| self.is_end)
    }

    /// Whether it is down now: it has failed or could not start, and was not replaced, removed or
    /// started again.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.reason.is_failure() && !self.superseded && self.now == Now::Stopped
    }
}

/// There is one for each exit on a host.
const _: () = assert!(size_of::<Row>() <= 208);

/// The rows of the last snapshot, of which only those are made anew that have changed.
#[derive(Debug)]
pub struct Rows {
    slots: Vec<Arc<[Row]>>,
    /// The revisions that they were made of, as the next.
    revisions: [u64; Ledger::SHARDS],
    failing: (Arc<[Arc<FailingWorkload>]>, u64),
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            slots: vec![Arc::default(); Ledger::SHARDS],
            revisions: [0; Ledger::SHARDS],
            failing: (Arc::default(), 0),
        }
    }
}

impl Rows {
    /// What is known of the containers of a host.
    pub fn update(&mut self, ledger: &Ledger) -> Containers {
        for (number, (rows, before)) in self.slots.iter_mut().zip(&mut self.revisions).enumerate() {
            let slot = number..number + 1;
            let revision = ledger.revision_of(slot.clone());
            if revision != *before {
                *before = revision;
                *rows = ledger.entries(slot).filter_map(Row::new).collect();
            }
        }
        let (failing, before) = &mut self.failing;
        if *before != ledger.failing_revision() {
            *before = ledger.failing_revision();
            *failing = ledger.failing().cloned().collect();
        }
        Containers {
            states: ledger.states().collect(),
            slots: self.slots.clone(),
            failing: Arc::clone(failing),
        }
    }
}
