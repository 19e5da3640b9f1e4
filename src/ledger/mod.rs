//! The containers of one host and their exits.
//!
//! Pure: listings, inspects and events go in together with the time they were taken. There is no
//! socket, no clock and no thread here.

mod container;
mod containers;
mod entry;
mod exit;
mod failing;
mod interner;
mod label_options;
mod listed_run;
mod removal;
mod replica;
mod report;
mod run;
mod swarm_slots;
#[cfg(test)]
mod tests;
mod tolerance;
mod workloads;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cgroup::Layout;
use crate::engine::{Action, CLOCK_TOLERANCE, Event, Inspected, Listed, State};
use crate::labels::Filter;

use container::Presence;
use containers::{ContainerMap, SHARDS};
pub use entry::{ContainerStatus, Entry};
pub use exit::Exit;
use exit::shift;
use failing::FailingWorkloads;
pub use failing::{FailingWorkload, Failure};
use interner::Interner;
use removal::Removals;
use replica::{CreationTime, ReplicaId};
pub use report::{EventFeed, ExitReport};
use run::InspectNeed;
use swarm_slots::SwarmSlots;
pub use workloads::{Counts, Workloads};

/// The current time, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the exporter started. Monotonic.
    pub uptime: Duration,
    /// Wall-clock time of the Engine.
    pub engine: Timestamp,
    /// Maximum error of `engine`.
    pub error: SignedDuration,
}

impl Now {
    /// The latest time the Engine's clock may show.
    fn latest(&self) -> Timestamp {
        shift(self.engine, self.error)
    }
}

/// When a request to the Engine was sent and answered.
#[derive(Debug, Clone, Copy)]
pub struct RequestTimes {
    /// Just before the request was sent.
    pub asked: Now,
    /// When the whole response had arrived.
    pub answered: Now,
}

/// Why an inspect returned nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InspectFailure {
    /// The container is removed (404).
    Gone,
    /// The request failed. It may be tried again.
    Failed,
    /// The Engine or a proxy refuses inspects (403).
    Refused,
}

/// What an event changes about the inspect of its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InspectPlan {
    /// No change.
    Unchanged,
    /// Inspect the container now.
    Now,
    /// Inspect the container shortly, unless another event comes first. A failed start makes no
    /// event of its own.
    Soon,
    /// Cancel a scheduled inspect.
    Cancel,
}

/// Containers to inspect after a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PendingInspects {
    /// Containers with a new exit, and containers that are missing from the listing.
    pub new: Vec<Box<str>>,
    /// Containers whose inspect was due before and may still add something.
    pub retry: Vec<Box<str>>,
    /// Created containers that may have failed to start.
    pub created: Vec<Box<str>>,
}

/// Docker labels left out of the series, because they are too many or too long.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct DroppedLabels {
    /// Number of labels, counted once per container.
    pub count: u64,
    /// Name of the first container that lost a label.
    pub first_container: String,
}

/// Maximum number of containers known from events alone. Past it, events of new containers are
/// dropped until the next listing, and their exits count as lost.
const MAX_UNLISTED: usize = 20_000;

/// Maximum size of the labels of those containers.
const MAX_UNLISTED_BYTES: usize = 16 * 1024 * 1024;

/// Everything known about the containers of one host.
#[derive(Debug, Default)]
pub struct Ledger {
    containers: ContainerMap,
    /// Containers in each state in the last listing, in the order of [`State::ALL`].
    states: [u64; State::ALL.len()],
    workloads: Workloads,
    failing: FailingWorkloads,
    interner: Interner,
    swarm_slots: SwarmSlots,
    /// Reports of exits that are no longer the last exit of their container.
    unreported_exits: Vec<ExitReport>,
    /// Runs whose exit was never seen.
    lost: u64,
    dropped_labels: DroppedLabels,
    layout: Option<Layout>,
    /// `None` until the Engine is identified.
    podman: Option<bool>,
    filter: Filter,
    retention: SignedDuration,
    started: Timestamp,
    listings: u64,
    /// Containers that are neither listed nor removed.
    unlisted: usize,
    /// Size of the labels rendered for them since the last listing.
    unlisted_bytes: usize,
    /// Last sequence number given to a container.
    last_sequence: u64,
    /// Containers with something left to report.
    unreported: BTreeSet<Box<str>>,
    /// Uptime at which the first of them is due, as of the last report.
    report_at: Duration,
    removals: Removals,
    /// Revision at which superseded containers were last computed.
    superseded_revision: u64,
    revision: u64,
}

impl Ledger {
    /// Creates an empty ledger. `started` is the exporter's start by the Engine's clock. An exit is
    /// kept for `retention` after its container was removed.
    #[must_use]
    pub fn new(filter: Filter, retention: Duration, started: Timestamp) -> Self {
        Self {
            filter,
            retention: retention.try_into().unwrap_or(SignedDuration::MAX),
            started,
            ..Self::default()
        }
    }

    /// Sets the exporter's start, by the Engine's clock.
    pub fn set_started(&mut self, started: Timestamp) {
        self.started = started;
    }

    /// The exporter's start, by the Engine's clock.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Sets whether the Engine is Podman.
    pub fn set_podman(&mut self, podman: bool) {
        self.podman = Some(podman);
    }

    /// Whether the Engine is Podman or not identified yet.
    fn may_be_podman(&self) -> bool {
        self.podman != Some(false)
    }

    /// Sets the cgroup layout, which determines the label `id`. Without a layout the label is left
    /// out.
    pub fn set_layout(&mut self, layout: Option<Layout>) {
        if self.layout != layout {
            self.layout = layout;
            for (id, container) in self.containers.iter_mut() {
                container.relabel(id, layout);
            }
            self.revision += 1;
            self.containers.touch_all(self.revision);
        }
    }

    /// Applies a listing and returns the containers to inspect.
    pub fn apply_listing(
        &mut self,
        containers: &[Listed<'_>],
        times: &RequestTimes,
    ) -> PendingInspects {
        self.listings += 1;
        let states = std::mem::take(&mut self.states);
        let mut pending = PendingInspects::default();
        let sequence = self.assign_sequence(containers);
        let answered = shift(times.answered.engine, CLOCK_TOLERANCE);
        for (listed, sequence) in containers.iter().zip(sequence) {
            // Copies the id only for a new container.
            let container = match self.containers.get_mut(&listed.id) {
                Some(container) => container,
                None => self.containers.get_or_insert(&listed.id),
            };
            let presence = container.presence();
            if presence == Presence::Listed(self.listings) {
                continue; // Listed twice.
            }
            if let Some(state) = listed.status.state {
                self.states[state as usize] += 1;
            }
            if !container.is_present() {
                if container.runs.has_newer_events_than(times) {
                    continue; // It is removed, and the listing is behind.
                }
                self.removals.forget(&listed.id, container);
                container.runs.reappear();
            }
            let before = container.shown_state();
            container.set_presence(Presence::Listed(self.listings));
            container.runs.forget_order_if_clock_went_back(answered);
            container.describe_from_listing(listed, sequence, &mut self.interner);
            let is_new = !matches!(presence, Presence::Listed(_)) || !container.has_labels;
            if is_new {
                let labels = listed.labels();
                container.apply_labels(&labels, &mut self.interner);
                container.set_hidden_attributes(&labels);
                container.join_workload(&mut self.workloads, &labels, false);
                self.swarm_slots.note(container, &labels);
            }
            let queue = match container.runs.apply_listing(listed.status, times) {
                _ if container.is_ignored() => None,
                InspectNeed::New => Some(&mut pending.new),
                InspectNeed::Retry => Some(&mut pending.retry),
                InspectNeed::Created => Some(&mut pending.created),
                InspectNeed::None => {
                    Some(&mut pending.retry).filter(|_| container.needs_workload())
                }
            };
            if let Some(queue) = queue {
                queue.push(listed.id.as_ref().into());
            }
            let labels = || listed.labels();
            let is_rendered =
                container.render_labels(&listed.id, labels, true, self.layout, &self.filter);
            if is_new || is_rendered || container.shown_state() != before {
                self.changed(&listed.id, None, times.answered);
            }
        }
        self.revision += u64::from(self.states != states);
        pending.new.extend(self.mark_missing(times));
        self.expire(times.answered.uptime);
        pending
    }

    /// Returns ascending sequence numbers for the containers of a listing, oldest first. Engines
    /// sort a listing by creation time, with nanoseconds: Docker newest first, Podman newest last.
    fn assign_sequence(&mut self, containers: &[Listed<'_>]) -> impl Iterator<Item = u64> + use<> {
        let count = containers.len() as u64;
        let ends = containers.first().zip(containers.last());
        let newest_last = ends.is_some_and(|(first, last)| {
            let (first, last) = (first.created(), last.created());
            first < last || (first == last && self.podman == Some(true))
        });
        let from = self.last_sequence + 1;
        self.last_sequence += count;
        (0..count).map(move |at| {
            if newest_last {
                from + at
            } else {
                from + count - 1 - at
            }
        })
    }

    /// Applies an event. Returns what to do about the container's inspect.
    pub fn apply_event(&mut self, event: &Event, now: Now) -> InspectPlan {
        let is_known = self.containers.get(&event.id).is_some();
        if !is_known {
            if self.unlisted >= MAX_UNLISTED || self.unlisted_bytes >= MAX_UNLISTED_BYTES {
                self.lost += u64::from(event.action == Action::Die);
                return InspectPlan::Unchanged;
            }
            self.unlisted += 1;
        }
        let container = self.containers.get_or_insert(&event.id);
        if !is_known {
            self.last_sequence += 1;
            container.creation.sequence = self.last_sequence;
            container.creation.first_event = Some(event.time);
        }
        let latest = shift(now.engine, CLOCK_TOLERANCE);
        container.runs.forget_order_if_clock_went_back(latest);
        container.describe_from_event(event, &mut self.interner);
        let has_all_labels = matches!(event.action, Action::Create | Action::Start);
        let of_network = matches!(event.action, Action::Connect | Action::Disconnect);
        if event.action == Action::Destroy {
            // `destroy` has no attributes of its own that labels could hide.
            container.set_hidden_attributes(&event.labels());
        }
        let needs_labels = has_all_labels || !container.has_labels || container.needs_workload();
        // The attributes of network events belong to the network.
        if needs_labels && !of_network {
            let labels = event.labels();
            if has_all_labels {
                container.set_hidden_attributes(&labels);
            }
            if !container.has_labels {
                container.apply_labels(&labels, &mut self.interner);
                self.swarm_slots.note(container, &labels);
            }
            container.join_workload(&mut self.workloads, &labels, false);
        }
        let failed =
            event.action == Action::Disconnect && container.runs.apply_disconnect(event.time);
        let unreported = container.apply_event(event, now);
        if event.time >= self.started {
            if !matches!(event.action, Action::Create | Action::Rename) {
                container.runs.mark_known(event.time, of_network);
            }
            if let (Action::Oom, Some(workload)) = (event.action, container.workload()) {
                self.workloads.count_oom_kill(workload);
            }
        }
        let plan = match event.action {
            _ if container.is_ignored() => InspectPlan::Unchanged,
            Action::Create => InspectPlan::Soon,
            Action::Die if container.runs.awaits_inspect() => InspectPlan::Now,
            Action::Disconnect if failed => InspectPlan::Now,
            Action::Start if container.runs.has_unseen_end() => InspectPlan::Now,
            Action::Start | Action::Destroy => InspectPlan::Cancel,
            _ => InspectPlan::Unchanged,
        };
        if event.action == Action::Destroy {
            self.mark_removed(&event.id, event.time, now);
        }
        self.restore_expired(&event.id, now.uptime);
        let container = self.containers.get_mut(&event.id);
        if let Some(container) = container.filter(|_| !of_network) {
            let labels = || event.labels();
            if container.render_labels(&event.id, labels, false, self.layout, &self.filter) {
                self.unlisted_bytes += container.unlisted_label_bytes();
            }
        }
        self.changed(&event.id, unreported, now);
        plan
    }

    /// Records that events were missed: all before now or, with `daemon_came`, the last events
    /// before a new daemon started at that time.
    pub fn note_gap(&mut self, daemon_came: Option<Timestamp>) {
        for (_, container) in self.containers.iter_mut() {
            container.runs.note_gap(daemon_came);
        }
    }

    /// Applies an inspect.
    pub fn apply_inspect(&mut self, id: &str, inspected: &Inspected, times: &RequestTimes) {
        let podman = self.may_be_podman();
        if let Some(container) = self.containers.get_mut(id) {
            if matches!(container.presence(), Presence::Missing(_)) {
                container.set_presence(Presence::Hidden(times.answered.uptime));
            }
            container.describe_from_inspect(inspected, &mut self.interner);
            if !container.has_labels {
                container.apply_labels(&inspected.labels, &mut self.interner);
                self.swarm_slots.note(container, &inspected.labels);
            }
            container.join_workload(&mut self.workloads, &inspected.labels, true);
            let unreported = container.runs.apply_inspect(inspected, times, podman);
            let labels = || inspected.labels.clone();
            container.render_labels(id, labels, true, self.layout, &self.filter);
            self.changed(id, unreported, times.answered);
        }
    }

    /// Records that an inspect failed, so that its event or listing has to do. Returns whether it
    /// may be tried again.
    pub fn inspect_failed(&mut self, id: &str, why: InspectFailure, now: Now) -> bool {
        let podman = self.may_be_podman();
        let Some(container) = self.containers.get_mut(id) else {
            return false;
        };
        let is_present = container.is_present();
        let why = if is_present {
            why
        } else {
            InspectFailure::Gone
        };
        let unreported = container.runs.inspect_failed(why, now.uptime, podman);
        let is_missing = matches!(container.presence(), Presence::Missing(_));
        self.changed(id, unreported, now);
        if is_missing && why == InspectFailure::Gone {
            self.remove_unseen(id, now);
        }
        is_present && why != InspectFailure::Gone
    }

    /// Updates everything that depends on a changed container, and reports an exit that is no
    /// longer its last.
    fn changed(&mut self, id: &str, unreported: Option<Exit>, now: Now) {
        self.touch(id);
        if let Some(exit) = unreported {
            self.report_previous(id, exit, now);
        }
        self.update_indexes(id);
    }

    /// Updates the counters and indexes that depend on a container.
    fn update_indexes(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            let lost = std::mem::take(&mut container.runs.lost);
            self.lost += u64::from(lost) * u64::from(!container.is_ignored());
            let dropped = std::mem::take(&mut container.new_dropped_labels);
            if self.dropped_labels.count == 0 && dropped > 0 {
                self.dropped_labels.first_container = container.name.to_string();
            }
            self.dropped_labels.count += dropped;
            if container.runs.has_unreported() {
                self.unreported.insert(id.into());
                self.report_at = Duration::ZERO;
            }
            self.removals.note(id, container);
        }
    }

    /// Marks a container as changed in the output.
    fn touch(&mut self, id: &str) {
        self.revision += 1;
        self.containers.touch(id, self.revision);
    }

    /// Changes whenever the output may have changed.
    #[must_use]
    pub fn revision(&self) -> u64 {
        // Each of them only grows.
        self.revision + self.workloads.revision() + self.failing.revision()
    }

    /// Last revision that changed any container of these [shards](Ledger::SHARDS).
    #[must_use]
    pub fn revision_of(&self, shards: Range<usize>) -> u64 {
        self.containers.revision(shards)
    }

    /// Number of shards. They partition the containers by id, in order.
    pub const SHARDS: usize = SHARDS;

    /// The exits of containers that are not running, by id.
    pub fn exits(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries(0..SHARDS).filter(|entry| !entry.is_running())
    }

    /// The last exits of containers that are running again, by id.
    pub fn last_exits(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries(0..SHARDS).filter(Entry::is_running)
    }

    /// Everything shown of the containers in these shards, by id.
    pub fn entries(&self, shards: Range<usize>) -> impl Iterator<Item = Entry<'_>> {
        let all = self.containers.of(shards);
        all.filter_map(|(id, container)| container.entry(id))
    }

    /// Computes which containers are superseded, if anything has changed.
    pub fn find_superseded(&mut self) {
        if self.superseded_revision == self.revision {
            return;
        }
        let all = self.containers.iter().map(|(_, container)| container);
        self.swarm_slots.find(all);
        let mut newest: HashMap<ReplicaId, &CreationTime> = HashMap::new();
        let all = self.containers.iter();
        for (replica, creation) in all.filter_map(|(_, it)| it.replica_and_creation()) {
            let newest = newest.entry(replica).or_insert(creation);
            if creation.compare(newest).is_gt() {
                *newest = creation;
            }
        }
        let all = self.containers.iter();
        let new = all.filter(|(_, it)| it.is_newly_superseded(&newest));
        for id in new.map(|(id, _)| Arc::clone(id)).collect::<Vec<_>>() {
            if let Some(container) = self.containers.get_mut(&id) {
                container.is_superseded = true;
                self.touch(&id);
            }
        }
        self.superseded_revision = self.revision;
    }

    /// Swarm slots with a container or an exit on this host: their labels, without braces, and the
    /// creation time of the newest container.
    pub fn swarm_slots(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.swarm_slots.iter()
    }

    /// Changes whenever [`Ledger::swarm_slots`] may have changed.
    #[must_use]
    pub fn swarm_slots_revision(&self) -> u64 {
        self.superseded_revision
    }

    /// Number of known containers, including those no longer shown.
    #[must_use]
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether no container is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters per workload.
    #[must_use]
    pub fn workloads(&self) -> &Workloads {
        &self.workloads
    }

    /// Workloads that failed within the last hour or slightly longer, in no order.
    pub fn failing(&self) -> impl Iterator<Item = &Arc<FailingWorkload>> {
        self.failing.iter()
    }

    /// Changes whenever [`Ledger::failing`] changes.
    #[must_use]
    pub fn failing_revision(&self) -> u64 {
        self.failing.revision()
    }

    /// Number of runs whose exit was never seen.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Labels left out of the series since the start.
    #[must_use]
    pub fn dropped_labels(&self) -> &DroppedLabels {
        &self.dropped_labels
    }

    /// Number of containers in each state in the last listing.
    pub fn states(&self) -> impl Iterator<Item = (State, u64)> {
        State::ALL.into_iter().zip(self.states)
    }
}
