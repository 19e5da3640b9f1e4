//! What is known of containers and their exits. Pure: listings, inspects and events go in, with
//! the times at which they were taken; no socket, no clock, no thread.

mod container;
mod containers;
mod entry;
mod exit;
mod failing;
mod label_options;
mod place;
mod removal;
mod report;
mod run;
mod sighting;
mod slots;
mod texts;
mod tolerance;
mod workloads;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cgroup::Layout;
use crate::engine::{Action, Event, Inspected, Listed, SAME_CLOCK, State};
use crate::labels::Filter;

use container::{Container, Presence};
use containers::{Containers, SLOTS};
pub use entry::{Became, Entry};
pub use exit::Exit;
use exit::later;
use failing::AllFailing;
pub use failing::{Failing, Failure};
use place::{Birth, Place};
use removal::Removals;
pub use report::{EventsCome, ExitReport};
use run::Want;
use slots::Slots;
use texts::Texts;
pub use workloads::{Counts, Workloads};

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the start of the exporter; only goes forward.
    pub uptime: Duration,
    /// The time of day by the Engine's clock.
    pub engine: Timestamp,
    /// How far that may be off.
    pub error: SignedDuration,
}

/// When the Engine was asked for something.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Just before the request.
    pub asked: Now,
    /// When the answer had come.
    pub answered: Now,
}

/// Why a container was not inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInspected {
    /// It is removed; there is nothing more to know.
    Gone,
    /// There was no good answer; it will be asked again.
    Failed,
    /// Nobody may inspect it.
    Refused,
}

/// What an event has to be done about its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// To inspect it now.
    Inspect,
    /// To inspect it in a moment, if nothing more happens to it: its start may fail, and no event
    /// tells of that.
    InspectSoon,
    /// Not to inspect it after all.
    DoNotInspect,
}

/// Containers that are to be inspected, of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Those of which the listing shows something new, or that it lacks.
    pub new: Vec<Box<str>>,
    /// Those of which an inspect could tell more, and that were to be inspected before.
    pub unexplained: Vec<Box<str>>,
    /// Those that were created and may have failed to start.
    pub created: Vec<Box<str>>,
}

/// Docker labels that the series of containers lack, since there are too many or they are too long.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// How many there were, each of a container once.
    pub count: u64,
    /// The name of the container that had the first of them.
    pub first: String,
}

impl LeftOut {
    fn note(&mut self, container: &mut Container) {
        let new = container.take_left_out() as u64;
        if self.count == 0 && new > 0 {
            self.first = container.name().to_string();
        }
        self.count += new;
    }
}

/// So many containers may be known from events alone until a listing has them: what an Engine tells
/// of more than that is lost.
const MAX_UNLISTED: usize = 20_000;

/// The same in bytes of their labels.
const MAX_UNLISTED_BYTES: usize = 16 * 1024 * 1024;

/// All containers of one host.
#[derive(Debug)]
pub struct Ledger {
    containers: Containers,
    /// How many containers the last listing had in each state, in the order of [`State::ALL`].
    states: [u64; State::ALL.len()],
    workloads: Workloads,
    failing: AllFailing,
    texts: Texts,
    slots: Slots,
    /// Exits to report that are not, or no longer, the last of their container.
    overtaken: Vec<ExitReport>,
    /// Runs that ended unseen.
    lost: u64,
    left_out: LeftOut,
    layout: Option<Layout>,
    /// Whether it is Podman, once that is known.
    podman: Option<bool>,
    filter: Filter,
    retention: SignedDuration,
    started: Timestamp,
    listings: u64,
    /// Containers that no listing has, and that are not removed.
    unlisted: usize,
    /// The bytes of the labels of those since the last listing.
    unlisted_bytes: usize,
    /// How many containers were seen for the first time, at most.
    seen: u64,
    /// Containers of which something is not reported yet.
    open: BTreeSet<Box<str>>,
    /// The uptime at which the first of them is due, as far as was known at the last report.
    report_at: Duration,
    removals: Removals,
    /// The revision at which it was found out who supersedes whom.
    superseded_at: u64,
    revision: u64,
}

impl Ledger {
    /// An empty ledger of an exporter that started at this time of the Engine. An exit stays for
    /// `retention` after its container was removed.
    #[must_use]
    pub fn new(filter: Filter, retention: Duration, started: Timestamp) -> Self {
        Self {
            containers: Containers::default(),
            states: [0; State::ALL.len()],
            workloads: Workloads::default(),
            failing: AllFailing::default(),
            texts: Texts::default(),
            slots: Slots::default(),
            overtaken: Vec::new(),
            lost: 0,
            left_out: LeftOut::default(),
            layout: None,
            podman: None,
            filter,
            retention: retention.try_into().unwrap_or(SignedDuration::MAX),
            started,
            listings: 0,
            unlisted: 0,
            unlisted_bytes: 0,
            seen: 0,
            open: BTreeSet::new(),
            report_at: Duration::MAX,
            removals: Removals::default(),
            superseded_at: 0,
            revision: 0,
        }
    }

    /// Says when the exporter started, by the clock of the Engine.
    pub fn set_started(&mut self, started: Timestamp) {
        self.started = started;
    }

    /// When the exporter started, by the clock of the Engine.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// Says whether it is Podman.
    pub fn set_podman(&mut self, podman: bool) {
        self.podman = Some(podman);
    }

    /// Whether it is Podman, or that is not known yet.
    fn may_be_podman(&self) -> bool {
        self.podman != Some(false)
    }

    /// Says how the Engine lays out cgroups, which the label `id` shows. While that is not known the
    /// label is left out.
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

    /// Takes in a listing and returns which containers are to be inspected.
    pub fn apply_listing(&mut self, containers: &[Listed<'_>], times: &Asking) -> Pending {
        self.listings += 1;
        let states = std::mem::take(&mut self.states);
        let mut pending = Pending::default();
        let seen = self.number(containers);
        let answered = later(times.answered.engine, SAME_CLOCK);
        for (listed, seen) in containers.iter().zip(seen) {
            // An id is copied only if it is new.
            let container = match self.containers.get_mut(&listed.id) {
                Some(container) => container,
                None => self.containers.get_or_insert(&listed.id),
            };
            let presence = container.presence();
            if presence == Presence::Listed(self.listings) {
                continue; // An id that stands twice in one listing.
            }
            if let Some(state) = listed.status.state {
                self.states[state as usize] += 1;
            }
            if !container.stands() {
                if container.runs.is_ahead_of(times) {
                    continue; // It is removed, and the listing is behind.
                }
                self.removals.forget(&listed.id, container);
                container.runs.reappear();
            }
            let before = container.outline();
            container.set_presence(Presence::Listed(self.listings));
            container.runs.forget_order_after(answered);
            container.describe(listed, seen, &mut self.texts);
            let is_new = !matches!(presence, Presence::Listed(_)) || !container.is_introduced();
            if is_new {
                let labels = listed.labels();
                container.introduce(&labels, &mut self.texts);
                container.hide(&labels);
                container.join(&mut self.workloads, &labels, false);
                self.slots.note(container, &labels);
            }
            let want = container.runs.apply_listing(listed.status, times);
            let want = if container.is_ignored() {
                Want::Nothing
            } else {
                want
            };
            match want {
                Want::Inspect => pending.new.push(listed.id.as_ref().into()),
                Want::InspectAgain => pending.unexplained.push(listed.id.as_ref().into()),
                Want::LookForFailedStart => pending.created.push(listed.id.as_ref().into()),
                Want::Nothing if container.lacks_workload() && !container.is_ignored() => {
                    pending.unexplained.push(listed.id.as_ref().into());
                }
                Want::Nothing => {}
            }
            let labels = || listed.labels();
            let labelled = container.label(&listed.id, labels, true, self.layout, &self.filter);
            if is_new || labelled || container.outline() != before {
                self.changed(&listed.id, None, times.answered);
            }
        }
        self.revision += u64::from(self.states != states);
        pending.new.extend(self.mark_missing(times));
        self.expire(times.answered.uptime);
        pending
    }

    /// Numbers the containers of a listing by their age, beyond all numbers before. The Engine sorts
    /// them, to the nanosecond: Docker has the newest first, Podman last.
    fn number(&mut self, containers: &[Listed<'_>]) -> impl Iterator<Item = u64> + use<> {
        let count = containers.len() as u64;
        let ends = containers.first().zip(containers.last());
        let newest_last = ends.is_some_and(|(first, last)| {
            let (first, last) = (first.created(), last.created());
            first < last || (first == last && self.podman == Some(true))
        });
        let from = self.seen + 1;
        self.seen += count;
        (0..count).map(move |at| {
            if newest_last {
                from + at
            } else {
                from + count - 1 - at
            }
        })
    }

    /// Takes in an event; returns what is to be done about its container.
    pub fn apply_event(&mut self, event: &Event, now: Now) -> Next {
        let is_known = self.containers.get(&event.id).is_some();
        if !is_known {
            if self.unlisted >= MAX_UNLISTED || self.unlisted_bytes >= MAX_UNLISTED_BYTES {
                self.lost += u64::from(event.action == Action::Die);
                return Next::Nothing;
            }
            self.unlisted += 1;
        }
        let container = self.containers.get_or_insert(&event.id);
        if !is_known {
            self.seen += 1;
            container.number(self.seen);
            container.appear(event.time);
        }
        container
            .runs
            .forget_order_after(later(now.engine, SAME_CLOCK));
        container.describe_by_event(event, &mut self.texts);
        let has_all_labels = matches!(event.action, Action::Create | Action::Start);
        let of_network = matches!(event.action, Action::Connect | Action::Disconnect);
        if event.action == Action::Destroy {
            // It has no attributes of its own that labels could hide.
            container.hide(&event.labels());
        }
        if of_network {
            // Its attributes are the network's.
        } else if !is_known || has_all_labels || !container.is_introduced() {
            let labels = event.labels();
            if has_all_labels {
                container.hide(&labels);
            }
            if !container.is_introduced() {
                container.introduce(&labels, &mut self.texts);
                self.slots.note(container, &labels);
            }
            container.join(&mut self.workloads, &labels, false);
        } else if container.lacks_workload() {
            container.join(&mut self.workloads, &event.labels(), false);
        }
        let failed = event.action == Action::Disconnect && container.runs.disconnect(event.time);
        let open = container.apply_event(event, now);
        let tells = !matches!(event.action, Action::Create | Action::Rename);
        if tells && event.time >= self.started {
            container.runs.note_told(event.time, of_network);
        }
        if event.action == Action::Oom && event.time >= self.started {
            if let Some(workload) = container.workload() {
                self.workloads.count_oom_kill(workload);
            }
        }
        let next = match event.action {
            _ if container.is_ignored() => Next::Nothing,
            Action::Create => Next::InspectSoon,
            Action::Die if container.runs.awaits_inspect() => Next::Inspect,
            Action::Disconnect if failed => Next::Inspect,
            Action::Start if container.runs.ended_unseen() => Next::Inspect,
            Action::Start | Action::Destroy => Next::DoNotInspect,
            _ => Next::Nothing,
        };
        if event.action == Action::Destroy {
            self.remove(&event.id, event.time, now);
        }
        self.unbury(&event.id, now.uptime);
        let container = self.containers.get_mut(&event.id);
        if let Some(container) = container.filter(|_| !of_network) {
            let labels = || event.labels();
            if container.label(&event.id, labels, false, self.layout, &self.filter) {
                self.unlisted_bytes += container.labels_for_unlisted();
            }
        }
        self.changed(&event.id, open, now);
        next
    }

    /// Takes in that events went missing: any before now, or the last that a daemon told before another
    /// came, at that time.
    pub fn note_gap(&mut self, daemon_came: Option<Timestamp>) {
        for (_, container) in self.containers.iter_mut() {
            container.runs.note_gap(daemon_came);
        }
    }

    /// Takes in an inspect.
    pub fn apply_inspect(&mut self, id: &str, inspected: &Inspected, times: &Asking) {
        let podman = self.may_be_podman();
        if let Some(container) = self.containers.get_mut(id) {
            if matches!(container.presence(), Presence::Missing(_)) {
                container.set_presence(Presence::Hidden(times.answered.uptime));
            }
            container.describe_by_inspect(inspected, &mut self.texts);
            if !container.is_introduced() {
                container.introduce(&inspected.labels, &mut self.texts);
                self.slots.note(container, &inspected.labels);
            }
            container.join(&mut self.workloads, &inspected.labels, true);
            let open = container.runs.apply_inspect(inspected, times, podman);
            let labels = || inspected.labels.clone();
            container.label(id, labels, true, self.layout, &self.filter);
            self.changed(id, open, times.answered);
        }
    }

    /// Takes in that a container could not be inspected: what its event or the listing tells must
    /// do. Returns whether it may be tried again.
    pub fn inspect_failed(&mut self, id: &str, why: NotInspected, now: Now) -> bool {
        let podman = self.may_be_podman();
        let Some(container) = self.containers.get_mut(id) else {
            return false;
        };
        let stands = container.stands();
        let why = if stands { why } else { NotInspected::Gone };
        let open = container.runs.inspect_failed(why, now.uptime, podman);
        let is_missing = matches!(container.presence(), Presence::Missing(_));
        self.changed(id, open, now);
        if is_missing && why == NotInspected::Gone {
            self.vanish(id, now);
        }
        stands && why != NotInspected::Gone
    }

    /// Takes note of what is to be done about a container that is not what it was, and of an exit to
    /// report that is not, or no longer, its last.
    fn changed(&mut self, id: &str, open: Option<Exit>, now: Now) {
        self.touch(id);
        if let Some(exit) = open {
            self.report_overtaken(id, exit, now);
        }
        self.take_note(id);
    }

    /// Takes note of what is to be done about a container.
    fn take_note(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id) {
            let lost = std::mem::take(&mut container.runs.lost);
            self.lost += u64::from(lost) * u64::from(!container.is_ignored());
            self.left_out.note(container);
            if container.runs.is_open() {
                self.open.insert(id.into());
                self.report_at = Duration::ZERO;
            }
            self.removals.note(id, container);
        }
    }

    /// Takes note that something may have changed of what is shown of a container.
    fn touch(&mut self, id: &str) {
        self.revision += 1;
        self.containers.touch(id, self.revision);
    }

    /// A number that is another one whenever something may have changed of what is shown.
    #[must_use]
    pub fn revision(&self) -> u64 {
        // All only grow.
        self.revision + self.workloads.revision() + self.failing.revision()
    }

    /// The last revision that has changed something in these slots, of [`Ledger::SLOTS`].
    #[must_use]
    pub fn revision_of(&self, slots: Range<usize>) -> u64 {
        self.containers.revision(slots)
    }

    /// Into so many slots all containers are divided by their ids, in their order.
    pub const SLOTS: usize = SLOTS;

    /// The exits of all containers that do not run, in the order of their ids.
    pub fn exits(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries(0..SLOTS).filter(|entry| !entry.runs())
    }

    /// The exits before of all containers that run again, in the order of their ids.
    pub fn last_exits(&self) -> impl Iterator<Item = Entry<'_>> {
        self.entries(0..SLOTS).filter(Entry::runs)
    }

    /// All that is shown of some slots, in the order of their ids.
    pub fn entries(&self, slots: Range<usize>) -> impl Iterator<Item = Entry<'_>> {
        let all = self.containers.of(slots);
        all.filter_map(|(id, container)| container.entry(id))
    }

    /// Finds out which containers are superseded, if anything has changed since it was done last.
    pub fn find_superseded(&mut self) {
        if self.superseded_at == self.revision {
            return;
        }
        let all = self.containers.iter().map(|(_, container)| container);
        self.slots.find(all);
        let mut newest: HashMap<Place, &Birth> = HashMap::new();
        for (_, container) in self.containers.iter() {
            if let Some((place, birth)) = container.successor() {
                let known = newest.entry(place).or_insert(birth);
                *known = birth.max(*known);
            }
        }
        let all = self.containers.iter();
        let new = all
            .filter(|(_, it)| it.is_newly_superseded(|place| newest.get(place).copied()))
            .map(|(id, _)| Arc::clone(id));
        for id in new.collect::<Vec<_>>() {
            if let Some(container) = self.containers.get_mut(&id) {
                container.supersede();
                self.touch(&id);
            }
        }
        self.superseded_at = self.revision;
    }

    /// The slots of Swarm services that have a container or an exit on this host: their labels,
    /// without braces, and when the newest container of each was made.
    pub fn slots(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.slots.iter()
    }

    /// A number that is another one whenever [`Ledger::slots`] may have changed.
    #[must_use]
    pub fn slots_revision(&self) -> u64 {
        self.superseded_at
    }

    /// How many containers are known, with those that are shown no more.
    #[must_use]
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Whether none are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The counters.
    #[must_use]
    pub fn workloads(&self) -> &Workloads {
        &self.workloads
    }

    /// The workloads that have failed within the last hour or a little longer, as the exporter has seen
    /// it, in no order.
    pub fn failing(&self) -> impl Iterator<Item = &Arc<Failing>> {
        self.failing.iter()
    }

    /// A number that is another one whenever any of [`Ledger::failing`] has changed.
    #[must_use]
    pub fn failing_revision(&self) -> u64 {
        self.failing.revision()
    }

    /// How many runs ended unseen, since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The Docker labels that series lack, since the start.
    #[must_use]
    pub fn left_out(&self) -> &LeftOut {
        &self.left_out
    }

    /// How many containers the last listing had in each state.
    pub fn states(&self) -> impl Iterator<Item = (State, u64)> {
        State::ALL.into_iter().zip(self.states)
    }
}
