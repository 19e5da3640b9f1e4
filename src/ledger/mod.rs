//! What is known of containers and their exits. Pure: listings, inspects and events go in, with
//! the times at which they were taken; no socket, no clock, no thread.

mod container;
mod containers;
mod exit;
mod news;
mod removal;
mod sighting;
mod succession;
mod workloads;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use jiff::Timestamp;

use crate::cgroup::Layout;
use crate::engine::{Action, Event, Inspected, Labels, Listed, State};
use crate::labels::Filter;

use container::{Container, Next};
use containers::{Containers, SLOTS};
pub use exit::Exit;
pub use news::News;
use removal::Removals;
use succession::{Birth, Known, Place};
pub use workloads::Workloads;

/// When a listing was taken.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// The time of day just before it was asked for.
    pub asked: Timestamp,
    /// The time of day when it had come.
    pub answered: Timestamp,
    /// Time that only goes forward, for what expires.
    pub uptime: Duration,
    /// The Engine's events come in, so that an exit that is a moment old is best left to its event.
    pub events_followed: bool,
}

/// Why a container was not inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInspected {
    /// It was removed before; there is nothing more to know.
    Gone,
    /// The Engine gave no good answer.
    Failed,
    /// Its turn did not come.
    Postponed,
}

/// An exit, with the container that it belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The container's name.
    pub name: &'a str,
    /// The name of its image.
    pub image: &'a str,
    /// The labels of its series, without braces.
    pub labels: &'a str,
    /// Its Swarm service, or its Compose project and service; empty if it is of none.
    pub service: &'a str,
    /// It is removed.
    pub removed: bool,
    /// When it did something last, by its events.
    pub last_event: Option<Timestamp>,
    /// How its last run ended.
    pub exit: &'a Exit,
}

/// So many containers may be known from events alone until a listing has them: what an Engine tells
/// of more than that is lost.
const UNLISTED: usize = 20_000;

/// All containers of one host.
#[derive(Debug)]
pub struct Ledger {
    containers: Containers,
    /// How many containers the last listing had in each state, in the order of [`State::ALL`].
    states: [u64; State::ALL.len()],
    workloads: Workloads,
    /// Exits that were put out of sight before they were told.
    overtaken: Vec<News>,
    /// Runs of which it is known that they ended, and not how.
    lost: u64,
    layout: Layout,
    filter: Filter,
    retention: Duration,
    started: Timestamp,
    listings: u64,
    /// Containers that are known from events alone, and are not removed.
    unlisted: usize,
    /// How many containers were seen for the first time, at most.
    seen: u64,
    leaves_to_events: bool,
    keeps_back: bool,
    /// Containers with an exit that is not told, to be looked at by [`Ledger::tell`].
    untold: BTreeSet<Box<str>>,
    removals: Removals,
    /// Of each place the newest container that stood when the revision was the second of these.
    newest: (HashMap<Place, Birth>, u64),
    revision: u64,
}

impl Ledger {
    /// An empty ledger of an exporter that started at this time of day. An exit stays for
    /// `retention` after its container was removed.
    #[must_use]
    pub fn new(filter: Filter, retention: Duration, started: Timestamp) -> Self {
        Self {
            containers: Containers::default(),
            states: [0; State::ALL.len()],
            workloads: Workloads::default(),
            overtaken: Vec::new(),
            lost: 0,
            layout: Layout::default(),
            filter,
            retention,
            started,
            listings: 0,
            unlisted: 0,
            seen: 0,
            leaves_to_events: false,
            keeps_back: false,
            untold: BTreeSet::new(),
            removals: Removals::default(),
            newest: Default::default(),
            revision: 0,
        }
    }

    /// Says when the exporter started, by the clock of the Engine.
    pub fn set_started(&mut self, started: Timestamp) {
        self.started = started;
    }

    /// Says how the Engine lays out cgroups, which the label `id` shows.
    pub fn set_layout(&mut self, layout: Layout) {
        if self.layout != layout {
            self.layout = layout;
            for (_, container) in self.containers.iter_mut() {
                container.forget_labels();
            }
        }
    }

    /// Takes in a listing and returns the ids of the containers that are to be inspected: those
    /// whose exit is new, and `created` ones, of whose failed start no listing tells. Those that
    /// were inspected in vain before come last.
    pub fn listed(&mut self, containers: &[Listed<'_>], taken: Taken) -> Vec<String> {
        self.listings += 1;
        let states = std::mem::take(&mut self.states);
        self.leaves_to_events = false;
        let mut pending = Vec::new();
        let seen = self.number(containers);
        for (listed, seen) in containers.iter().zip(seen) {
            // An id is copied only if it is new.
            let container = match self.containers.get_mut(&listed.id) {
                Some(container) => container,
                None => self.containers.get_or_insert(&listed.id),
            };
            if container.listed == self.listings {
                continue; // An id that stands twice in one listing.
            }
            if let Some(state) = listed.status.state {
                self.states[state as usize] += 1;
            }
            let is_new = container.listed == 0;
            container.listed = self.listings;
            let mut changed = false;
            if let Some(gone) = container.gone {
                if container.is_ahead_of(taken) {
                    continue; // It is removed, and the listing is from before.
                }
                self.removals.forget(gone, &listed.id);
                container.gone = None;
                container.buried = false;
                changed = true;
            }
            let before = container.outline();
            container.notice_time(taken.answered);
            container.rename(&listed.name);
            container.take_image(&listed.image, false);
            if is_new {
                let labels = listed.labels();
                container.take_labels(&labels);
                join(container, &mut self.workloads, &labels);
                container.place = Place::of(&labels);
                container.birth.learn_second(listed.created());
                if container.birth.seen == 0 {
                    container.birth.seen = seen;
                }
            }
            match container.see(listed, taken) {
                Next::Nothing => {}
                Next::Event => self.leaves_to_events = true,
                Next::Inspect => {
                    // What has ended before what may have failed to start.
                    let later = listed.status.state == Some(State::Created);
                    pending.push((container.failed_inspects, later, listed.id.to_string()));
                }
            }
            changed |= container.label(
                &listed.id,
                || listed.labels(),
                true,
                self.layout,
                &self.filter,
            );
            if changed || container.outline() != before {
                self.touch(&listed.id);
            }
        }
        self.revision += u64::from(self.states != states);
        self.miss(taken);
        self.expire(taken.uptime);
        let known = self.containers.iter();
        let unlisted = known.filter(|(_, it)| it.listed == 0 && it.gone.is_none());
        self.unlisted = unlisted.count();
        pending.sort_unstable();
        pending.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Numbers the containers of a listing by their age, beyond all numbers before. The Engine sorts
    /// them, to the nanosecond: Docker has the newest first, Podman last.
    fn number(&mut self, containers: &[Listed<'_>]) -> impl Iterator<Item = u64> + use<> {
        let count = containers.len() as u64;
        let ends = containers.first().zip(containers.last());
        let newest_last = ends.is_some_and(|(first, last)| first.created() < last.created());
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

    /// Whether the last listing had something so young that it was left to events.
    #[must_use]
    pub fn leaves_something_to_events(&self) -> bool {
        self.leaves_to_events
    }

    /// Takes in an event; returns whether its container is to be inspected at once.
    pub fn happened(&mut self, event: &Event, uptime: Duration) -> bool {
        let is_known = self.containers.get(&event.id).is_some();
        if !is_known && event.action == Action::Destroy {
            return false;
        }
        if !is_known {
            if self.unlisted >= UNLISTED {
                self.lost += u64::from(event.action == Action::Die);
                return false;
            }
            self.unlisted += 1;
        }
        let container = self.containers.get_or_insert(&event.id);
        if !is_known {
            self.seen += 1;
            container.birth.seen = self.seen;
            container.birth.learn(Some(event.time), Known::Before);
        }
        container.touch(event.time);
        container.rename(event.name());
        let is_new = !container.introduced;
        if is_new || matches!(event.action, Action::Create | Action::Start) {
            let labels = event.labels();
            if event.action != Action::Die {
                container.take_labels(&labels);
            }
            container.take_image(event.image(), true);
            if is_new {
                container.place = Place::of(&labels);
                join(container, &mut self.workloads, &labels);
            }
        }
        let mut untold = None;
        match event.action {
            Action::Create => container.birth.learn(Some(event.time), Known::Event),
            Action::Rename | Action::Pause | Action::Unpause => {}
            Action::Start => container.start(event.time),
            Action::Kill => {
                if let Some(signal) = event.signal() {
                    container.kill(signal);
                }
            }
            Action::Oom => container.oom(),
            Action::Die => untold = container.die(event),
            Action::Destroy => {
                if std::mem::take(&mut container.runs) {
                    self.lost += 1;
                    untold = container.forget_exit();
                }
                if container.listed == 0 && container.gone.is_none() {
                    self.unlisted = self.unlisted.saturating_sub(1);
                }
                container.gone.get_or_insert(uptime);
            }
        }
        if container.buried && !container.told && container.exit.is_some() {
            // An exit that nobody has seen: it is shown for as long as any other.
            container.buried = false;
            container.gone = Some(uptime);
        }
        container.label(
            &event.id,
            || event.labels(),
            false,
            self.layout,
            &self.filter,
        );
        let awaits_inspect = container.awaits_inspect && event.action == Action::Die;
        self.changed(&event.id, untold);
        awaits_inspect
    }

    /// Takes in an inspect that was asked for at this time of day.
    pub fn inspected(&mut self, id: &str, inspected: &Inspected, asked: Timestamp, followed: bool) {
        if let Some(container) = self.containers.get_mut(id) {
            let untold = container.inspected(inspected, asked, followed);
            let labels = || inspected.labels.clone();
            container.label(id, labels, true, self.layout, &self.filter);
            self.changed(id, untold);
        }
    }

    /// Takes in that a container could not be inspected: what its event or the listing tells must
    /// do.
    pub fn not_inspected(&mut self, id: &str, why: NotInspected) {
        if let Some(container) = self.containers.get_mut(id) {
            let untold = container.not_inspected(why);
            self.changed(id, untold);
        }
    }

    /// Takes note of what is to be done about a container that is not what it was, and of an exit
    /// that a newer one of it has put out of sight before it was told.
    fn changed(&mut self, id: &str, overtaken: Option<Exit>) {
        self.touch(id);
        if let Some(exit) = overtaken {
            self.keep(id, exit);
        }
        if let Some(container) = self.containers.get(id) {
            if container.exit.is_some() && !container.told {
                self.untold.insert(id.into());
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
        // Both only grow.
        self.revision + self.workloads.revision()
    }

    /// The last revision that has changed something in these slots, of [`Ledger::SLOTS`].
    #[must_use]
    pub fn revision_of(&self, slots: Range<usize>) -> u64 {
        self.containers.revision(slots)
    }

    /// Into so many slots all containers are divided by their ids, in their order.
    pub const SLOTS: usize = SLOTS;

    /// The exits of all containers whose last run is over, in the order of their ids.
    pub fn exits(&self) -> impl Iterator<Item = Entry<'_>> {
        self.shown(0..SLOTS, false).map(|(_, entry)| entry)
    }

    /// The exits before of all containers that run again, in the order of their ids.
    pub fn last_exits(&self) -> impl Iterator<Item = Entry<'_>> {
        self.last_exits_of(0..SLOTS)
    }

    /// The same of some slots.
    pub fn last_exits_of(&self, slots: Range<usize>) -> impl Iterator<Item = Entry<'_>> {
        self.shown(slots, true).map(|(_, entry)| entry)
    }

    /// The containers that run, or do not, and have an exit to show.
    fn shown(
        &self,
        slots: Range<usize>,
        runs: bool,
    ) -> impl Iterator<Item = (&Container, Entry<'_>)> {
        let all = self.containers.of(slots);
        all.filter(move |(_, it)| it.runs == runs && !it.buried && !(runs && it.gone.is_some()))
            .filter_map(|(id, container)| {
                let entry = Entry {
                    id,
                    name: &container.name,
                    image: &container.image,
                    labels: &container.labels,
                    service: &container.service,
                    removed: container.gone.is_some(),
                    last_event: container.last_event,
                    exit: container.exit.as_ref().filter(|it| !it.code_in_doubt)?,
                };
                Some((container, entry))
            })
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

    /// How many runs are known to have ended without anyone knowing how.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How many containers the last listing had in each state.
    pub fn states(&self) -> impl Iterator<Item = (State, u64)> {
        State::ALL.into_iter().zip(self.states)
    }
}

/// Counts a container to its workload, from which it does not part.
fn join(container: &mut Container, workloads: &mut Workloads, labels: &Labels) {
    if !std::mem::replace(&mut container.introduced, true) {
        container.service = workloads::service(labels).into();
        let key = workloads::key(labels, &container.image);
        container.workload = workloads.join(&key);
    }
}
