//! What is known of containers and their exits. Pure: listings and inspects go in, with the times
//! at which they were taken; no socket, no clock, no thread.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cgroup::Layout;
use crate::engine::{Inspected, Labels, Listed, State, Status};
use crate::labels::{self, Filter};
use crate::reason::Reason;

/// A container that cannot be inspected is tried again after at most 2 to the power of so many
/// listings: 16 minutes, if they are taken every 15 seconds.
const LONGEST_PAUSE: u32 = 6;

/// When a listing was taken.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    /// The time of day just before it was asked for.
    pub asked: Timestamp,
    /// The time of day when it had come.
    pub answered: Timestamp,
    /// Time that only goes forward, for what expires.
    pub uptime: Duration,
}

/// Why a container was not inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotInspected {
    /// It was removed after the listing; there is nothing more to know.
    Gone,
    /// The Engine gave no good answer.
    Failed,
    /// Its turn did not come.
    Postponed,
}

/// How the last run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: i64,
    /// Why it ended, as far as it is known.
    pub reason: Reason,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it had run, never negative.
    pub duration: Option<SignedDuration>,
    /// Restarts by the restart policy so far.
    pub restart_count: Option<u64>,
    /// Why it could not be started; empty otherwise.
    pub error: String,
}

impl Exit {
    /// What the code alone tells.
    fn from_code(code: i64) -> Self {
        Self {
            code,
            reason: Reason::of(code, false, false),
            finished_at: None,
            duration: None,
            restart_count: None,
            error: String::new(),
        }
    }

    /// Whether both are surely the end of one run.
    fn is_same_run(&self, other: &Self) -> bool {
        let told_apart = self.finished_at.is_some() || self.reason == Reason::StartFailed;
        told_apart
            && self.code == other.code
            && self.finished_at == other.finished_at
            && self.error == other.error
    }
}

/// The exit that an inspect shows, if any, of a container that a listing showed with this code.
fn exit_of(listed_code: Option<i64>, inspected: &Inspected) -> Option<Exit> {
    if inspected.runs() {
        // It was started again after the listing, which zeroed everything but the end of the run
        // before (moby container/state.go, SetRunning).
        return listed_code.map(|code| Exit {
            finished_at: inspected.finished_at,
            restart_count: inspected.restart_count,
            ..Exit::from_code(code)
        });
    }
    let code = inspected.code.or(listed_code)?;
    let never_ran = inspected.state == Some(State::Created)
        || (inspected.started_at.is_none() && listed_code.is_none());
    if never_ran && code == 0 && inspected.error.is_empty() {
        return None;
    }
    let start_failed = never_ran || !inspected.error.is_empty();
    // After a start that failed, the times are those of the run before.
    let finished_at = inspected.finished_at.filter(|_| !start_failed);
    let duration = finished_at
        .zip(inspected.started_at)
        .map(|(finished, started)| finished.duration_since(started).max(SignedDuration::ZERO));
    Some(Exit {
        code,
        reason: Reason::of(code, start_failed, inspected.oom_killed),
        finished_at,
        duration,
        restart_count: inspected.restart_count,
        error: inspected.error.clone(),
    })
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
    /// How its last run ended.
    pub exit: &'a Exit,
}

/// All containers of one host.
#[derive(Debug)]
pub struct Ledger {
    containers: BTreeMap<Box<str>, Container>,
    /// How many containers are in each state, in the order of [`State::ALL`].
    states: [u64; State::ALL.len()],
    layout: Layout,
    filter: Filter,
    retention: Duration,
    listings: u64,
}

#[derive(Debug, Default)]
struct Container {
    name: Box<str>,
    image: Box<str>,
    cgroup_parent: Box<str>,
    /// The labels of its series, rendered once; empty until they are needed.
    labels: Box<str>,
    /// What the labels were rendered from still holds.
    labelled: bool,
    /// What the last listing says of a run that is over.
    sighting: Option<Sighting>,
    exit: Option<Exit>,
    /// The exit was given out by [`Ledger::new_exits`].
    announced: bool,
    /// It was inspected once, so that its image is that of its configuration.
    configured: bool,
    /// How often it was inspected in vain since its exit was first seen.
    failed_inspects: u32,
    /// The number of the listing that had it last.
    listed: u64,
    /// The uptime at which a listing first lacked it.
    gone: Option<Duration>,
}

/// What a listing says of a run that is over.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    /// Absent in the states `dead` and `removing`.
    code: Option<i64>,
    restarting: bool,
    /// Between which times it ended, by the clock of this host.
    ended: Option<(Timestamp, Timestamp)>,
    /// No inspect is needed any more.
    settled: bool,
}

impl Sighting {
    fn new(status: Status, taken: Taken) -> Self {
        let ended = status.age.and_then(|age| {
            let earliest = taken.asked.checked_sub(age.max).ok()?;
            Some((earliest, taken.answered.checked_sub(age.min).ok()?))
        });
        Self {
            code: status.code,
            restarting: status.state == Some(State::Restarting),
            ended,
            settled: false,
        }
    }

    /// This sighting as one more of the same run, or `None` if it must be of another: the code
    /// differs, or there is no moment at which both can have ended.
    fn after(self, before: &Self) -> Option<Self> {
        let codes = before.code.zip(self.code);
        if codes.is_some_and(|(one, two)| one != two) {
            return None;
        }
        let ended = match (before.ended, self.ended) {
            (Some(one), Some(two)) => Some((one.0.max(two.0), one.1.min(two.1))),
            (one, two) => one.or(two),
        };
        if ended.is_some_and(|(earliest, latest)| earliest > latest) {
            return None;
        }
        Some(Self {
            code: self.code.or(before.code),
            ended,
            // A container that waited for its restart and now does not has most likely ended again.
            settled: before.settled && before.restarting == self.restarting,
            ..self
        })
    }

    /// Takes in that the run ended at this moment, by the clock of the Engine. If that is another
    /// clock than this host's, it is of no use here.
    fn narrow(&mut self, finished: Timestamp) {
        if let Some((earliest, latest)) = &mut self.ended {
            if *earliest <= finished && finished <= *latest {
                (*earliest, *latest) = (finished, finished);
            }
        }
    }
}

impl Container {
    /// Takes in what a listing says; returns whether it is to be inspected.
    fn see(&mut self, listed: &Listed<'_>, taken: Taken) -> bool {
        if !listed.name.is_empty() && *listed.name != *self.name {
            self.name = Box::from(&*listed.name);
            self.labelled = false;
        }
        if !self.configured && *listed.image != *self.image {
            self.image = Box::from(&*listed.image);
            self.labelled = false;
        }
        let status = listed.status;
        match status.state {
            Some(State::Created) => self.has_its_turn(),
            Some(state) if state.is_over() => {
                let now = Sighting::new(status, taken);
                let again = self.sighting.and_then(|before| now.after(&before));
                if again.is_none() {
                    self.failed_inspects = 0;
                    self.announced = false;
                }
                let sighting = *self.sighting.insert(again.unwrap_or(now));
                !sighting.settled && self.has_its_turn()
            }
            Some(_) => {
                self.sighting = None;
                self.exit = None;
                self.announced = false;
                false
            }
            None => false,
        }
    }

    fn inspected(&mut self, inspected: &Inspected) {
        if let Some(image) = &inspected.image {
            if **image != *self.image {
                self.image = image.as_str().into();
                self.labelled = false;
            }
            self.configured = true;
        }
        if inspected.cgroup_parent != *self.cgroup_parent {
            self.cgroup_parent = inspected.cgroup_parent.as_str().into();
            self.labelled = false;
        }
        self.failed_inspects = 0;
        let exit = exit_of(self.sighting.and_then(|sighting| sighting.code), inspected);
        match (&self.exit, &exit) {
            (Some(before), Some(now)) if before.is_same_run(now) => self.announced = true,
            // Of a failed start no listing tells, so this is how a new one shows.
            _ if self.sighting.is_none() => self.announced = false,
            _ => {}
        }
        if let Some(sighting) = &mut self.sighting {
            // While it runs, not all is known of the run that the listing showed.
            sighting.settled = !inspected.runs();
            if let Some(finished) = exit.as_ref().and_then(|exit| exit.finished_at) {
                sighting.narrow(finished);
            }
        }
        self.exit = exit;
    }

    /// Renders its labels if they are needed and not what they should be.
    fn label(
        &mut self,
        id: &str,
        labels: impl FnOnce() -> Labels,
        layout: Layout,
        filter: &Filter,
    ) {
        if !self.labelled && (self.exit.is_some() || self.sighting.is_some()) {
            let path = layout.path(&self.cgroup_parent, id);
            let block = labels::block(&path, &self.image, &self.name, &labels(), filter);
            self.labels = block.into();
            self.labelled = true;
        }
    }

    /// Whether it is its turn in this listing: after each inspect in vain, half as often, since one
    /// that hangs holds up the others.
    fn has_its_turn(&self) -> bool {
        let every = 1 << self.failed_inspects.min(LONGEST_PAUSE);
        self.listed % every == 0
    }
}

impl Ledger {
    /// An empty ledger. An exit stays for `retention` after its container was removed.
    #[must_use]
    pub fn new(filter: Filter, retention: Duration) -> Self {
        Self {
            containers: BTreeMap::new(),
            states: [0; State::ALL.len()],
            layout: Layout::default(),
            filter,
            retention,
            listings: 0,
        }
    }

    /// Says how the Engine lays out cgroups, which the label `id` shows.
    pub fn set_layout(&mut self, layout: Layout) {
        if self.layout != layout {
            self.layout = layout;
            for container in self.containers.values_mut() {
                container.labelled = false;
            }
        }
    }

    /// Takes in a listing and returns the ids of the containers that are to be inspected: those
    /// whose exit is new, and `created` ones, of whose failed start no listing tells. Those that
    /// were inspected in vain before come last.
    pub fn listed(&mut self, containers: &[Listed<'_>], taken: Taken) -> Vec<String> {
        self.listings += 1;
        self.states = [0; State::ALL.len()];
        let mut pending = Vec::new();
        for listed in containers {
            let id = Box::from(&*listed.id);
            let container = self.containers.entry(id).or_default();
            if container.listed == self.listings {
                continue; // An id that stands twice in one listing.
            }
            container.listed = self.listings;
            container.gone = None;
            if let Some(state) = listed.status.state {
                self.states[state as usize] += 1;
            }
            if container.see(listed, taken) {
                pending.push((container.failed_inspects, listed.id.to_string()));
            }
            container.label(&listed.id, || listed.labels(), self.layout, &self.filter);
        }
        self.expire(taken.uptime);
        pending.sort_unstable();
        pending.into_iter().map(|(_, id)| id).collect()
    }

    /// Takes in what an inspect says of a container that the last listing had.
    pub fn inspected(&mut self, id: &str, inspected: &Inspected) {
        if let Some(container) = self.containers.get_mut(id) {
            container.inspected(inspected);
            let labels = || inspected.labels.clone();
            container.label(id, labels, self.layout, &self.filter);
        }
    }

    /// Takes in that a container could not be inspected: what the listing tells must do.
    pub fn not_inspected(&mut self, id: &str, why: NotInspected) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        container.failed_inspects += u32::from(why == NotInspected::Failed);
        if let Some(sighting) = &mut container.sighting {
            sighting.settled = why == NotInspected::Gone;
            container.exit = sighting.code.map(Exit::from_code);
        }
    }

    /// Drops what has been gone for longer than the retention; returns whether there was any.
    pub fn expire(&mut self, uptime: Duration) -> bool {
        let before = self.containers.len();
        let (listings, retention) = (self.listings, self.retention);
        self.containers.retain(|_, container| {
            if container.listed == listings {
                return true;
            }
            let gone = *container.gone.get_or_insert(uptime);
            container.exit.is_some() && uptime.saturating_sub(gone) < retention
        });
        self.containers.len() != before
    }

    /// The uptime at which [`Ledger::expire`] will next have something to drop.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        let gone = self.containers.values().filter_map(|it| it.gone);
        gone.min().map(|gone| gone + self.retention)
    }

    /// The exits that were not given out before, in the order of the containers' ids.
    pub fn new_exits(&mut self) -> impl Iterator<Item = Entry<'_>> {
        let news = self.containers.iter_mut().filter(|(_, it)| !it.announced);
        news.filter_map(|(id, container)| {
            container.announced = container.exit.is_some();
            entry(id, container)
        })
    }

    /// All exits, in the order of the containers' ids.
    pub fn exits(&self) -> impl Iterator<Item = Entry<'_>> {
        let all = self.containers.iter();
        all.filter_map(|(id, container)| entry(id, container))
    }

    /// How many containers the last listing had in each state.
    pub fn states(&self) -> impl Iterator<Item = (State, u64)> {
        State::ALL.into_iter().zip(self.states)
    }
}

fn entry<'a>(id: &'a str, container: &'a Container) -> Option<Entry<'a>> {
    let exit = container.exit.as_ref()?;
    Some(Entry {
        id,
        name: &container.name,
        image: &container.image,
        labels: &container.labels,
        exit,
    })
}
