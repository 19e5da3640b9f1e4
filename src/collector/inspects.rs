//! Which containers to inspect, and when.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// The maximum number of inspects in flight, so that a few that hang do not delay the others.
const MAX_IN_FLIGHT: usize = 4;

/// The same for created containers. The runtime may hang while it starts one, and its inspect with it.
const MAX_CREATED_IN_FLIGHT: usize = 1;

/// The pauses before a failed inspect is retried. After these the pause doubles, up to the maximum.
const RETRY_DELAYS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
const LATE_RETRY_DELAY: Duration = Duration::from_secs(60);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(16 * 60);

/// The number of inspects allowed at once after the first listing. It covers all containers of an
/// ordinary host.
const MAX_BURST: u32 = 500;

/// After a burst one inspect is allowed per interval, so that a storm of exits is not followed by one of inspects.
/// A daemon with 1,000 containers takes 0.4 ms for one: 4 % of a core. Until their inspect, exits are counted
/// and shown from their events or the listing, without restart count, exact times, and the OOM flag
/// that only an inspect has.
const INSPECT_INTERVAL: Duration = Duration::from_millis(10);

/// After this many refusals in a row a proxy refuses all inspects. The next listing allows another try.
const MAX_REFUSALS: u32 = 3;

/// The capacity that empty collections keep.
const KEPT_CAPACITY: usize = 64;

/// The queue of inspects.
#[derive(Debug, Default)]
pub(super) struct InspectQueue {
    jobs: HashMap<Box<str>, Job>,
    /// Ids of queued jobs, and of jobs that were cancelled or queued again since.
    queue: VecDeque<Box<str>>,
    /// The same for created containers.
    created: VecDeque<Box<str>>,
    delayed: BTreeSet<(Duration, Box<str>)>,
    in_flight: usize,
    created_in_flight: usize,
    refusals: u32,
    rate_limit: RateLimit,
}

/// Allows [`MAX_BURST`] inspects at once, and then one per [`INSPECT_INTERVAL`].
#[derive(Debug, Default)]
struct RateLimit {
    /// The uptime at which a whole burst is allowed again.
    full_at: Duration,
    /// The number of inspects of the first listing left, which are not limited.
    unlimited: usize,
}

impl RateLimit {
    /// The uptime at which the next inspect is allowed.
    fn next_at(&self) -> Duration {
        if self.unlimited > 0 {
            return Duration::ZERO;
        }
        self.full_at
            .saturating_sub(INSPECT_INTERVAL * (MAX_BURST - 1))
    }

    fn take(&mut self, now: Duration) {
        if self.unlimited > 0 {
            self.unlimited -= 1;
        } else {
            self.full_at = self.full_at.max(now) + INSPECT_INTERVAL;
        }
    }
}

#[derive(Debug)]
struct Job {
    state: JobState,
    /// The container was created and has not exited: its start may have failed.
    is_created: bool,
    failures: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobState {
    Queued,
    InFlight {
        /// Inspect again after this one, because an event came meanwhile.
        again: bool,
    },
    Delayed(Duration),
}

impl InspectQueue {
    /// Requests an inspect now. If one is in flight, another follows it.
    pub(super) fn request(&mut self, id: &str) {
        match self
            .jobs
            .get_mut(id)
            .map(|job| (&mut job.state, job.is_created))
        {
            Some((JobState::InFlight { again }, _)) => *again = true,
            Some((JobState::Queued, false)) => {}
            Some((JobState::Queued, true)) | None => self.enqueue(id),
            Some((JobState::Delayed(at), _)) => {
                let key = (*at, Box::from(id));
                self.delayed.remove(&key);
                self.enqueue(id);
            }
        }
    }

    fn enqueue(&mut self, id: &str) {
        self.queue.push_back(id.into());
        let job = Job {
            state: JobState::Queued,
            is_created: false,
            failures: 0,
        };
        self.jobs.insert(id.into(), job);
    }

    /// Requests an inspect now, unless one is in flight.
    pub(super) fn request_unless_in_flight(&mut self, id: &str) {
        let job = self.jobs.get(id);
        if job.is_none_or(|job| !matches!(job.state, JobState::InFlight { .. })) {
            self.request(id);
        }
    }

    /// Requests an inspect now, unless one is queued, delayed or in flight.
    pub(super) fn request_unless_pending(&mut self, id: &str) {
        if !self.jobs.contains_key(id) {
            self.enqueue(id);
        }
    }

    /// Schedules an inspect of a created container at this uptime, to see whether its start failed.
    pub(super) fn schedule_created(&mut self, id: &str, at: Duration) {
        if !self.jobs.contains_key(id) {
            let job = Job {
                state: JobState::Delayed(at),
                is_created: true,
                failures: 0,
            };
            self.jobs.insert(id.into(), job);
            self.delayed.insert((at, id.into()));
        }
    }

    /// Cancels the inspect of a created container that has started, or of any container that is gone.
    /// Returns whether the inspect of an exit was cancelled. One in flight cannot be.
    pub(super) fn cancel(&mut self, id: &str, is_gone: bool) -> bool {
        let Some(job) = self.jobs.get(id).filter(|job| is_gone || job.is_created) else {
            return false;
        };
        match job.state {
            JobState::InFlight { .. } => return false,
            JobState::Queued => {} // `pop` skips its id.
            JobState::Delayed(at) => {
                self.delayed.remove(&(at, Box::from(id)));
            }
        }
        self.jobs.remove(id).is_some_and(|job| !job.is_created)
    }

    /// The next container to inspect, if one is due and allowed. Inspects of the `first` listing are
    /// not rate limited.
    pub(super) fn next(&mut self, now: Duration, first: bool) -> Option<Box<str>> {
        self.queue_due(now);
        if first || self.queue.is_empty() {
            self.rate_limit.unlimited = self.queue.len();
        }
        let mut id = None;
        if self.in_flight < MAX_IN_FLIGHT && self.rate_limit.next_at() <= now {
            id = self.pop(false);
            if id.is_some() {
                self.in_flight += 1;
                self.rate_limit.take(now);
            }
        }
        if id.is_none() && self.created_in_flight < MAX_CREATED_IN_FLIGHT {
            id = self.pop(true);
            self.created_in_flight += usize::from(id.is_some());
        }
        let job = self.jobs.get_mut(id.as_ref()?)?;
        job.state = JobState::InFlight { again: false };
        id
    }

    /// The next queued job. Ids of jobs that were cancelled or queued again are skipped.
    fn pop(&mut self, created: bool) -> Option<Box<str>> {
        loop {
            let id = self.queue_of(created).pop_front()?;
            let job = self.jobs.get(&id);
            if job.is_some_and(|job| job.state == JobState::Queued && job.is_created == created) {
                return Some(id);
            }
        }
    }

    fn queue_of(&mut self, created: bool) -> &mut VecDeque<Box<str>> {
        if created {
            &mut self.created
        } else {
            &mut self.queue
        }
    }

    /// Takes all queued jobs if a proxy refuses inspects. The caller reports them as failed.
    pub(super) fn take_refused(&mut self, now: Duration) -> Vec<Box<str>> {
        if self.refusals < MAX_REFUSALS {
            return Vec::new();
        }
        self.queue_due(now);
        let mut all = Vec::new();
        for created in [false, true] {
            all.extend(std::iter::from_fn(|| self.pop(created)));
        }
        all
    }

    fn queue_due(&mut self, now: Duration) {
        while self.delayed.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.delayed.pop_first() else {
                return;
            };
            if let Some(job) = self.jobs.get_mut(&id) {
                job.state = JobState::Queued;
                let created = job.is_created;
                self.queue_of(created).push_back(id);
            }
        }
    }

    /// An inspect succeeded, or its container is gone.
    pub(super) fn answered(&mut self, id: &str) {
        self.refusals = 0;
        self.forget(id);
    }

    /// Removes a job, unless an event came while it was in flight.
    pub(super) fn forget(&mut self, id: &str) {
        self.end_flight(id);
        let job = self.jobs.remove(id);
        match job.map(|job| job.state) {
            Some(JobState::InFlight { again: true }) => self.enqueue(id),
            Some(JobState::Delayed(at)) => {
                self.delayed.remove(&(at, Box::from(id)));
            }
            _ => {}
        }
        if self.jobs.is_empty() {
            // Give back the memory of the first listing.
            self.jobs.shrink_to(KEPT_CAPACITY);
            self.queue.shrink_to(KEPT_CAPACITY);
        }
    }

    /// An inspect failed or was refused. Schedules a retry.
    pub(super) fn failed(&mut self, id: &str, now: Duration) {
        self.end_flight(id);
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if job.state == (JobState::InFlight { again: true }) {
            return self.enqueue(id);
        }
        let delay = RETRY_DELAYS.get(job.failures).copied().unwrap_or_else(|| {
            let doubled = u32::try_from(job.failures - RETRY_DELAYS.len()).unwrap_or(u32::MAX);
            (LATE_RETRY_DELAY * 2_u32.saturating_pow(doubled.min(8))).min(MAX_RETRY_DELAY)
        });
        job.failures += 1;
        job.state = JobState::Delayed(now + delay);
        self.delayed.insert((now + delay, id.into()));
    }

    /// An inspect was refused, or the Engine was unreachable.
    pub(super) fn count_refusal(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// A listing succeeded or a stream opened, so another try may work. After an outage all delayed
    /// inspects are due at once.
    pub(super) fn allow_retries(&mut self, after_outage: bool) {
        self.refusals = self.refusals.min(MAX_REFUSALS - 1);
        if after_outage {
            self.refusals = 0;
            for (_, id) in std::mem::take(&mut self.delayed) {
                if let Some(job) = self.jobs.get_mut(&id) {
                    job.state = JobState::Delayed(Duration::ZERO);
                    job.failures = 0;
                    self.delayed.insert((Duration::ZERO, id));
                }
            }
        }
    }

    /// Whether the inspect of an exit is in flight or queued.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight > 0 || !self.queue.is_empty()
    }

    /// The uptime at which [`InspectQueue::next`] next returns something.
    pub(super) fn wake_at(&self) -> Option<Duration> {
        let delayed = self.delayed.first().map(|(at, _)| *at);
        let is_limited = !self.queue.is_empty() && self.in_flight < MAX_IN_FLIGHT;
        let allowed = is_limited.then(|| self.rate_limit.next_at());
        delayed.into_iter().chain(allowed).min()
    }

    fn end_flight(&mut self, id: &str) {
        let job = self.jobs.get(id);
        if let Some(job) = job.filter(|job| matches!(job.state, JobState::InFlight { .. })) {
            let in_flight = if job.is_created {
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
