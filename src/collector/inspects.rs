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

/// After so many refusals in a row it is a proxy that refuses them all; the next listing has it
/// tried again.
const REFUSALS: u32 = 3;

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

    /// The next container to inspect, if there is one and the Engine is not busy with others.
    pub(super) fn next(&mut self, now: Duration) -> Option<Box<str>> {
        self.wake(now);
        let id = if self.in_flight < MAX_IN_FLIGHT {
            let id = self.pop(false);
            self.in_flight += usize::from(id.is_some());
            id
        } else {
            None
        };
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
        self.later.first().map(|(at, _)| *at)
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
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// All that is to be asked for at this uptime, in its order.
    fn next(inspects: &mut Inspects, uptime: Duration) -> String {
        let ids = std::iter::from_fn(|| inspects.next(uptime));
        ids.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_few_are_asked_for_at_once_and_the_others_in_turn() {
        let mut inspects = Inspects::default();
        for id in ["a", "b", "c", "d", "a", "e", "f"] {
            inspects.want(id);
        }
        inspects.want_listed("b");
        assert_eq!(next(&mut inspects, seconds(1)), "a b c d");
        inspects.answered("c");
        assert_eq!(next(&mut inspects, seconds(1)), "e");
        inspects.failed("a", seconds(1));
        assert_eq!(next(&mut inspects, seconds(1)), "f");
        for id in ["b", "d", "e", "f"] {
            assert!(inspects.is_busy(), "{id}");
            inspects.answered(id);
        }
        assert!(!inspects.is_busy());
        assert_eq!(next(&mut inspects, seconds(1)), "");
        assert_eq!(next(&mut inspects, seconds(2)), "a");
    }

    #[test]
    fn what_happens_while_one_is_asked_for_has_it_asked_for_again() {
        let finish: [fn(&mut Inspects); 2] = [|it| it.answered("a"), |it| it.forget("a")];
        for finish in finish {
            let mut inspects = Inspects::default();
            inspects.want("a");
            assert_eq!(next(&mut inspects, seconds(1)), "a");
            // That a listing shows it is nothing that happens.
            inspects.want_listed("a");
            finish(&mut inspects);
            assert_eq!(next(&mut inspects, seconds(1)), "");
            inspects.want("a");
            assert_eq!(next(&mut inspects, seconds(1)), "a");
            inspects.want("a");
            inspects.want("a");
            assert_eq!(next(&mut inspects, seconds(1)), "");
            finish(&mut inspects);
            assert_eq!(next(&mut inspects, seconds(1)), "a");
            finish(&mut inspects);
            assert_eq!(next(&mut inspects, seconds(1)), "");
            assert!(!inspects.is_busy());
        }
    }

    #[test]
    fn one_that_fails_is_tried_again_ever_more_rarely() {
        let mut inspects = Inspects::default();
        let mut now = seconds(7);
        inspects.want("a");
        for (pause, soon) in [
            (1, true),
            (5, true),
            (15, true),
            (60, false),
            (120, false),
            (240, false),
            (480, false),
            (960, false),
            (960, false),
        ] {
            assert_eq!(next(&mut inspects, now), "a", "{now:?}");
            assert_eq!(inspects.failed("a", now), soon, "{pause}");
            // A listing shows it all the time.
            inspects.want_listed("a");
            now += seconds(pause);
            assert_eq!(inspects.wake_at(), Some(now));
            assert_eq!(
                next(&mut inspects, now.saturating_sub(Duration::from_nanos(1))),
                ""
            );
        }
        // Something happens to it.
        inspects.want("a");
        assert_eq!(next(&mut inspects, now.saturating_sub(seconds(1))), "a");
        assert!(inspects.failed("a", now), "the pauses start anew");
        assert_eq!(inspects.wake_at(), Some(now + seconds(1)));
        inspects.forget("a");
        assert_eq!((inspects.wake_at(), inspects.jobs.len()), (None, 0));
    }

    #[test]
    fn what_happens_while_one_is_asked_for_in_vain_does_not_wait_for_its_pause() {
        let mut inspects = Inspects::default();
        inspects.want("a");
        for now in [1, 2, 7] {
            assert_eq!(next(&mut inspects, seconds(now)), "a");
            inspects.failed("a", seconds(now));
        }
        assert_eq!(next(&mut inspects, seconds(22)), "a");
        inspects.want("a");
        // The next pause would be of a minute.
        inspects.failed("a", seconds(22));
        assert_eq!(next(&mut inspects, seconds(23)), "a");
    }

    #[test]
    fn a_proxy_that_refuses_all_is_not_asked_before_a_listing_works() {
        let mut inspects = Inspects::default();
        for id in ["a", "b", "c", "d", "e"] {
            inspects.want(id);
        }
        inspects.look_for_failed_start("x", seconds(1));
        assert_eq!(next(&mut inspects, seconds(1)), "a b c d x");
        for id in ["a", "b"] {
            inspects.refused();
            inspects.failed(id, seconds(1));
            assert!(inspects.next_in_vain(seconds(1)).is_empty(), "{id}");
        }
        inspects.refused();
        inspects.failed("c", seconds(1));
        inspects.look_for_failed_start("y", seconds(1));
        assert_eq!(inspects.next_in_vain(seconds(1)).join(" "), "e y");
        for id in ["e", "y"] {
            inspects.failed(id, seconds(1));
        }
        assert!(inspects.next_in_vain(seconds(1)).is_empty());
        assert_eq!(next(&mut inspects, seconds(1)), "");
        // One that was in vain is not asked for, but said to be in vain again.
        assert_eq!(inspects.next_in_vain(seconds(2)).join(" "), "a b c e y");
        for id in ["a", "b", "c", "e", "y"] {
            inspects.failed(id, seconds(2));
        }
        inspects.hope(false);
        inspects.want("f");
        assert!(inspects.next_in_vain(seconds(3)).is_empty());
        assert_eq!(next(&mut inspects, seconds(3)), "f");
        inspects.refused();
        inspects.failed("f", seconds(3));
        inspects.want("g");
        assert_eq!(inspects.next_in_vain(seconds(3)).join(" "), "g");
        // An answer shows that others may be answered too.
        inspects.failed("g", seconds(3));
        inspects.answered("d");
        assert!(inspects.next_in_vain(seconds(9)).is_empty());
    }

    #[test]
    fn after_an_outage_all_are_tried_again_at_once() {
        let mut inspects = Inspects::default();
        for id in ["a", "b"] {
            inspects.want(id);
        }
        for now in [1, 2, 7] {
            assert_eq!(next(&mut inspects, seconds(now)), "a b");
            for id in ["a", "b"] {
                assert!(inspects.failed(id, seconds(now)));
            }
        }
        assert_eq!(next(&mut inspects, seconds(22)), "a b");
        for id in ["a", "b"] {
            (0..REFUSALS).for_each(|_| inspects.refused());
            assert!(!inspects.failed(id, seconds(22)));
        }
        inspects.hope(false);
        assert_eq!(next(&mut inspects, seconds(23)), "");
        inspects.hope(true);
        assert!(inspects.next_in_vain(seconds(23)).is_empty());
        assert_eq!(next(&mut inspects, seconds(23)), "a b");
        assert!(inspects.failed("a", seconds(23)), "the pauses start anew");
    }

    #[test]
    fn created_ones_are_asked_for_one_at_a_time_beside_the_others() {
        let mut inspects = Inspects::default();
        for id in ["x", "y"] {
            inspects.look_for_failed_start(id, seconds(2));
        }
        // Once is enough.
        inspects.look_for_failed_start("x", seconds(1));
        assert_eq!(next(&mut inspects, seconds(1)), "");
        assert_eq!(next(&mut inspects, seconds(2)), "x");
        // Its inspect may hang, and those of the others must not.
        assert!(!inspects.is_busy());
        for id in ["a", "b", "c", "d", "e"] {
            inspects.want(id);
        }
        assert_eq!(next(&mut inspects, seconds(2)), "a b c d");
        inspects.answered("x");
        assert_eq!(next(&mut inspects, seconds(2)), "y");
        inspects.failed("y", seconds(2));
        assert_eq!(next(&mut inspects, seconds(2)), "");
        assert_eq!(next(&mut inspects, seconds(3)), "y");
    }

    #[test]
    fn a_created_one_that_something_happens_to_is_asked_for_now() {
        // It waits for its time.
        let mut inspects = Inspects::default();
        inspects.look_for_failed_start("x", seconds(2));
        inspects.want("x");
        assert_eq!(next(&mut inspects, seconds(1)), "x");
        inspects.answered("x");
        assert_eq!(next(&mut inspects, seconds(9)), "");
        // It waits for its turn.
        let mut inspects = Inspects::default();
        for id in ["w", "x"] {
            inspects.look_for_failed_start(id, seconds(1));
        }
        assert_eq!(next(&mut inspects, seconds(1)), "w");
        inspects.want("x");
        assert_eq!(next(&mut inspects, seconds(1)), "x");
        for id in ["w", "x"] {
            inspects.answered(id);
        }
        assert_eq!(next(&mut inspects, seconds(9)), "");
        // It is asked for already.
        let mut inspects = Inspects::default();
        inspects.look_for_failed_start("x", seconds(1));
        assert_eq!(next(&mut inspects, seconds(1)), "x");
        inspects.want("x");
        assert_eq!(next(&mut inspects, seconds(1)), "");
        inspects.answered("x");
        assert_eq!(next(&mut inspects, seconds(1)), "x");
        assert!(inspects.is_busy());
        inspects.answered("x");
        assert_eq!((inspects.in_flight, inspects.created_in_flight), (0, 0));
        assert!(inspects.jobs.is_empty());
    }

    #[test]
    fn what_is_cancelled_is_not_asked_for() {
        // Whether it was created alone, and is gone; whether it was to be inspected for its exit, and
        // what is inspected after.
        for (created, is_gone, was_wanted, after) in [
            (false, false, false, "a"),
            (false, true, true, ""),
            (true, false, false, ""),
            (true, true, false, ""),
        ] {
            for fails in [false, true] {
                let mut inspects = Inspects::default();
                if created {
                    inspects.look_for_failed_start("a", seconds(1));
                } else {
                    inspects.want("a");
                }
                if fails {
                    assert_eq!(next(&mut inspects, seconds(1)), "a");
                    inspects.failed("a", seconds(1));
                }
                let case = format!("{created} {is_gone} {fails}");
                assert_eq!(inspects.cancel("a", is_gone), was_wanted, "{case}");
                assert_eq!(next(&mut inspects, seconds(9)), after, "{case}");
                assert_eq!(inspects.wake_at(), None, "{case}");
            }
        }
        // What is asked for already is answered.
        let mut inspects = Inspects::default();
        inspects.want("a");
        inspects.look_for_failed_start("x", seconds(1));
        assert_eq!(next(&mut inspects, seconds(1)), "a x");
        assert!(!inspects.cancel("a", true) && !inspects.cancel("x", false));
        assert!(!inspects.cancel("nobody", true));
        inspects.answered("a");
        inspects.answered("x");
        assert_eq!((inspects.in_flight, inspects.created_in_flight), (0, 0));
        // It is wanted again before its turn has come.
        inspects.want("a");
        assert!(inspects.cancel("a", true));
        inspects.want("b");
        inspects.want("a");
        assert_eq!(next(&mut inspects, seconds(1)).len(), "a b".len());
    }
}
