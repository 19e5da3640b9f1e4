//! Which containers are to be inspected, and when.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// So many inspects are asked for at once, so that a few that hang do not hold up the others.
const MAX_IN_FLIGHT: usize = 4;

/// The same of containers that were created: the runtime may hang while it starts one, and with it
/// its inspect.
const MAX_CREATED_IN_FLIGHT: usize = 1;

/// An inspect that failed or was late is tried again after these, and then ever more rarely.
const AGAIN: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
const RARELY: Duration = Duration::from_secs(60);
const MOST_RARELY: Duration = Duration::from_secs(16 * 60);

/// Once the containers of the first listing are inspected, so many more are at once. Whoever ends all
/// containers of a usual host has them all explained at once.
const BURST: u32 = 500;

/// And then one in this time, so that a storm of exits is not doubled by inspects: a daemon that has
/// 1,000 containers takes 0.4 ms for one, so it is kept busy for 4 % of a core. The others wait for their
/// turn. Meanwhile their exits are counted and shown, with what the event or the listing tells; what they
/// lack is the restart count, the exact times and what only an inspect knows of the OOM killer.
const EVERY: Duration = Duration::from_millis(10);

/// After so many refusals in a row it is a proxy that refuses them all; the next listing has it
/// tried again.
const REFUSALS: u32 = 3;

/// Room for so many is kept.
const USUAL: usize = 64;

/// The inspects that are to be made.
#[derive(Debug, Default)]
pub(super) struct Inspects {
    jobs: HashMap<Box<str>, Job>,
    queue: VecDeque<Box<str>>,
    created: VecDeque<Box<str>>,
    later: BTreeSet<(Duration, Box<str>)>,
    in_flight: usize,
    created_in_flight: usize,
    refusals: u32,
    allowance: Allowance,
}

/// How many inspects may be asked for now: [`BURST`] at once, and one more in [`EVERY`].
#[derive(Debug, Default)]
struct Allowance {
    /// The uptime at which it is full.
    full_at: Duration,
    /// So many more may be asked for at any time: those of the first listing.
    free: usize,
}

impl Allowance {
    /// The uptime at which there is one.
    fn next_at(&self) -> Duration {
        if self.free > 0 {
            return Duration::ZERO;
        }
        self.full_at.saturating_sub(EVERY * (BURST - 1))
    }

    fn take(&mut self, now: Duration) {
        if self.free > 0 {
            self.free -= 1;
        } else {
            self.full_at = self.full_at.max(now) + EVERY;
        }
    }
}

#[derive(Debug)]
struct Job {
    state: State,
    created: bool,
    /// How often it was asked for in vain.
    tries: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    InFlight {
        /// It is to be asked for once more, since something has happened meanwhile.
        again: bool,
    },
    Later(Duration),
}

impl Inspects {
    /// Wants a container inspected now.
    pub(super) fn want(&mut self, id: &str) {
        match self.jobs.get_mut(id) {
            Some(job) => match &mut job.state {
                State::InFlight { again } => *again = true,
                State::Queued if !job.created => {}
                State::Queued => self.enqueue(id),
                State::Later(at) => {
                    let key = (*at, Box::from(id));
                    self.later.remove(&key);
                    self.enqueue(id);
                }
            },
            None => self.enqueue(id),
        }
    }

    fn enqueue(&mut self, id: &str) {
        self.queue.push_back(id.into());
        let job = Job {
            state: State::Queued,
            created: false,
            tries: 0,
        };
        self.jobs.insert(id.into(), job);
    }

    /// Wants a container inspected now of which a listing shows something new, unless that is under way.
    pub(super) fn want_new(&mut self, id: &str) {
        let job = self.jobs.get(id);
        if job.is_none_or(|job| !matches!(job.state, State::InFlight { .. })) {
            self.want(id);
        }
    }

    /// Wants a container inspected now that a listing shows, unless that is under way, or was in vain
    /// a moment ago.
    pub(super) fn want_listed(&mut self, id: &str) {
        if !self.jobs.contains_key(id) {
            self.enqueue(id);
        }
    }

    /// Wants a created container inspected at this uptime, to see whether its start has failed.
    pub(super) fn look_for_failed_start(&mut self, id: &str, at: Duration) {
        if !self.jobs.contains_key(id) {
            let job = Job {
                state: State::Later(at),
                created: true,
                tries: 0,
            };
            self.jobs.insert(id.into(), job);
            self.later.insert((at, id.into()));
        }
    }

    /// Wants a container not inspected that was started; or, if it is gone, whatever it did. Returns
    /// whether it was to be.
    pub(super) fn cancel(&mut self, id: &str, is_gone: bool) -> bool {
        let Some(job) = self.jobs.get(id).filter(|job| is_gone || job.created) else {
            return false;
        };
        match job.state {
            State::InFlight { .. } => return false,
            State::Queued => {} // It is passed over when its turn comes.
            State::Later(at) => {
                self.later.remove(&(at, Box::from(id)));
            }
        }
        self.jobs.remove(id).is_some_and(|job| !job.created)
    }

    /// The next container to inspect, if there is one and the Engine is not busy with others. Those of
    /// the `first` listing, which wait while it is explained, are not held back.
    pub(super) fn next(&mut self, now: Duration, first: bool) -> Option<Box<str>> {
        self.wake(now);
        if first || self.queue.is_empty() {
            self.allowance.free = self.queue.len();
        }
        let may = self.allowance.next_at() <= now && self.in_flight < MAX_IN_FLIGHT;
        let id = may.then(|| self.pop(false)).flatten();
        if id.is_some() {
            self.in_flight += 1;
            self.allowance.take(now);
        }
        let id = id.or_else(|| {
            let room = self.created_in_flight < MAX_CREATED_IN_FLIGHT;
            let id = room.then(|| self.pop(true)).flatten();
            self.created_in_flight += usize::from(id.is_some());
            id
        })?;
        let job = self.jobs.get_mut(&id)?;
        job.state = State::InFlight { again: false };
        Some(id)
    }

    /// The next that is queued. Those that were cancelled, or queued anew, are passed over.
    fn pop(&mut self, created: bool) -> Option<Box<str>> {
        loop {
            let queue = if created {
                &mut self.created
            } else {
                &mut self.queue
            };
            let id = queue.pop_front()?;
            let job = self.jobs.get(&id);
            if job.is_some_and(|job| job.state == State::Queued && job.created == created) {
                return Some(id);
            }
        }
    }

    /// All that wait to be asked for, if there is no use in asking.
    pub(super) fn next_in_vain(&mut self, now: Duration) -> Vec<Box<str>> {
        if self.refusals < REFUSALS {
            return Vec::new();
        }
        self.wake(now);
        let mut all = Vec::new();
        for created in [false, true] {
            all.extend(std::iter::from_fn(|| self.pop(created)));
        }
        all
    }

    fn wake(&mut self, now: Duration) {
        while self.later.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.later.pop_first() else {
                return;
            };
            if let Some(job) = self.jobs.get_mut(&id) {
                job.state = State::Queued;
                let queue = if job.created {
                    &mut self.created
                } else {
                    &mut self.queue
                };
                queue.push_back(id);
            }
        }
    }

    /// One that was asked for was answered, by an inspect or by the word that it is gone.
    pub(super) fn answered(&mut self, id: &str) {
        self.refusals = 0;
        self.forget(id);
    }

    /// One need not be asked for, unless something has happened meanwhile.
    pub(super) fn forget(&mut self, id: &str) {
        self.land(id);
        let job = self.jobs.remove(id);
        match job.map(|job| job.state) {
            Some(State::InFlight { again: true }) => self.enqueue(id),
            Some(State::Later(at)) => {
                self.later.remove(&(at, Box::from(id)));
            }
            _ => {}
        }
        if self.jobs.is_empty() {
            // The first listing may have had many.
            self.jobs.shrink_to(USUAL);
            self.queue.shrink_to(USUAL);
        }
    }

    /// One was asked for in vain, or there was no use in asking. It will be tried again.
    pub(super) fn failed(&mut self, id: &str, now: Duration) {
        self.land(id);
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if job.state == (State::InFlight { again: true }) {
            return self.enqueue(id);
        }
        let pause = AGAIN.get(job.tries).copied().unwrap_or_else(|| {
            let doubled = u32::try_from(job.tries - AGAIN.len()).unwrap_or(u32::MAX);
            (RARELY * 2_u32.saturating_pow(doubled.min(8))).min(MOST_RARELY)
        });
        job.tries += 1;
        job.state = State::Later(now + pause);
        self.later.insert((now + pause, id.into()));
    }

    /// One was refused, or there is nobody to ask.
    pub(super) fn refused(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// A listing worked, or a stream was opened, so another attempt may work. After an outage all are tried
    /// again at once.
    pub(super) fn hope(&mut self, was_down: bool) {
        self.refusals = self.refusals.min(REFUSALS - 1);
        if was_down {
            self.refusals = 0;
            for (_, id) in std::mem::take(&mut self.later) {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.state = State::Later(Duration::ZERO);
                    job.tries = 0;
                    self.later.insert((Duration::ZERO, id));
                }
            }
        }
    }

    /// Whether an exit is being inspected, or is about to be.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.queue.is_empty()
    }

    /// The uptime at which [`Inspects::next`] has something, unless it is there already.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let later = self.later.first().map(|(at, _)| *at);
        let waits = !self.queue.is_empty() && self.in_flight < MAX_IN_FLIGHT;
        let allowed = waits.then(|| self.allowance.next_at());
        later.into_iter().chain(allowed).min()
    }

    fn land(&mut self, id: &str) {
        let job = self.jobs.get(id);
        if let Some(job) = job.filter(|job| matches!(job.state, State::InFlight { .. })) {
            let in_flight = if job.created {
                &mut self.created_in_flight
            } else {
                &mut self.in_flight
            };
            *in_flight = in_flight.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests;
