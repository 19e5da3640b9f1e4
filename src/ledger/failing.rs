//! Workloads that fail again and again.
//!
//! Events may come out of order, and the Engine's clock may be set back and forth. So a workload is
//! forgotten by uptime, and failures noted by a clock that was ahead are the first to make room.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::reason::Reason;

use super::Now;
use super::workloads::WorkloadKey;

/// A workload with recent failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailingWorkload {
    /// Swarm service, or Compose project and service. Empty without a service.
    pub service: Arc<str>,
    /// Image of the container that failed last.
    pub image: Arc<str>,
    /// Number of failures by minute since 1970, oldest first. At most one hour.
    pub minutes: VecDeque<(i64, u32)>,
    /// Last failures, newest first.
    pub last: VecDeque<Failure>,
}

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Container name.
    pub name: Arc<str>,
    /// Exit code. `None` if a failed start left none.
    pub code: Option<i64>,
    /// Reason of the exit.
    pub reason: Reason,
    /// Time of the exit, but not after it was counted.
    pub at: Timestamp,
    /// How long the container ran.
    pub duration: Option<SignedDuration>,
}

/// Maximum number of workloads.
const MAX_FAILING_WORKLOADS: usize = 1_000;

/// How long a workload is kept after its last failure.
const QUIET_TIMEOUT: Duration = Duration::from_secs(3600);

/// Maximum number of minutes per workload.
const MAX_MINUTES: usize = 60;

/// Maximum number of failures per workload.
const MAX_FAILURES: usize = 10;

/// How many minutes after the caller's `now` a failure may be and still count: clocks differ.
const MAX_MINUTES_AHEAD: i64 = 5;

impl FailingWorkload {
    /// Number of failures within the hour before `now`.
    #[must_use]
    pub fn failures_in_last_hour(&self, now: Timestamp) -> u64 {
        let now = minute(now);
        let hour = now - 59..=now + MAX_MINUTES_AHEAD;
        let minutes = self.minutes.iter();
        let recent = minutes.filter(|(minute, _)| hour.contains(minute));
        recent.map(|(_, count)| u64::from(*count)).sum()
    }

    /// Adds a failure. `now` is the Engine's time.
    fn add(&mut self, failure: Failure, now: Timestamp) {
        let failed = minute(failure.at);
        match self.minutes.binary_search_by_key(&failed, |(at, _)| *at) {
            Ok(at) => self.minutes[at].1 = self.minutes[at].1.saturating_add(1),
            Err(at) => self.minutes.insert(at, (failed, 1)),
        }
        if self.minutes.len() > MAX_MINUTES {
            match self.minutes.back() {
                Some((last, _)) if *last > minute(now) => self.minutes.pop_back(),
                _ => self.minutes.pop_front(),
            };
        }
        let newer = self.last.partition_point(|it| it.at > failure.at);
        self.last.insert(newer, failure);
        if self.last.len() > MAX_FAILURES {
            match self.last.front() {
                Some(newest) if newest.at > now => self.last.pop_front(),
                _ => self.last.pop_back(),
            };
        }
    }
}

fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

/// All workloads with recent failures.
#[derive(Debug, Default)]
pub(super) struct FailingWorkloads {
    workloads: HashMap<WorkloadKey, TrackedWorkload>,
    /// Workloads by the revision of their last failure.
    order: BTreeMap<u64, WorkloadKey>,
    revision: u64,
}

#[derive(Debug, Default)]
struct TrackedWorkload {
    failing: Arc<FailingWorkload>,
    /// Revision and uptime of the last failure.
    revision: u64,
    uptime: Duration,
}

impl FailingWorkloads {
    /// Adds a failure of a workload, with its service and image.
    pub(super) fn record(
        &mut self,
        workload: &WorkloadKey,
        [service, image]: [&Arc<str>; 2],
        failure: Failure,
        now: Now,
    ) {
        self.revision += 1;
        let tracked = self.workloads.entry(Arc::clone(workload)).or_default();
        self.order.remove(&tracked.revision);
        self.order.insert(self.revision, Arc::clone(workload));
        (tracked.revision, tracked.uptime) = (self.revision, now.uptime);
        let failing = Arc::make_mut(&mut tracked.failing);
        failing.service = Arc::clone(service);
        failing.image = Arc::clone(image);
        let latest = now.latest();
        let at = failure.at.min(latest);
        failing.add(Failure { at, ..failure }, latest);
        while let Some(oldest) = self.order.first_entry() {
            let uptime = self.workloads.get(oldest.get()).map(|it| it.uptime);
            let is_silent = uptime.is_none_or(|at| at + QUIET_TIMEOUT <= now.uptime);
            if !is_silent && self.workloads.len() <= MAX_FAILING_WORKLOADS {
                break;
            }
            self.workloads.remove(&oldest.remove());
        }
    }

    /// All workloads, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<FailingWorkload>> {
        self.workloads.values().map(|tracked| &tracked.failing)
    }

    /// Changes whenever any workload changes.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_795_336_800 + 60 * minute).unwrap()
    }

    /// At this uptime in minutes, while the Engine's clock shows that minute.
    fn now(uptime: u64, engine: i64) -> Now {
        Now {
            uptime: Duration::from_secs(60 * uptime),
            engine: at(engine),
            error: SignedDuration::ZERO,
        }
    }

    fn note(all: &mut FailingWorkloads, workload: &str, ended: i64, now: Now) {
        let failure = Failure {
            name: workload.into(),
            code: Some(1),
            reason: Reason::Error,
            at: at(ended),
            duration: None,
        };
        let texts = ["shop/web".into(), "shop".into()];
        all.record(&workload.into(), texts.each_ref(), failure, now);
    }

    /// The minutes in which failures are known, and those in which the last ones were.
    fn known(all: &FailingWorkloads, workload: &str) -> (Vec<(i64, u32)>, Vec<i64>) {
        let failing = &all.workloads[workload].failing;
        let minutes = failing.minutes.iter();
        let minutes = minutes.map(|(minute_at, count)| (minute_at - minute(at(0)), *count));
        let last = failing.last.iter();
        let last = last.map(|it| minute(it.at) - minute(at(0)));
        (minutes.collect(), last.collect())
    }

    #[test]
    fn failures_are_counted_by_minute_in_any_order() {
        const YEAR: i64 = 365 * 24 * 60;
        let many =
            |from: i64, to: i64| -> Vec<(i64, i64)> { (from..to).map(|at| (at, at)).collect() };
        let ones =
            |from: i64, to: i64| -> Vec<(i64, u32)> { (from..to).map(|at| (at, 1)).collect() };
        // The time of each failure, and the Engine's time when it was counted.
        for (what, failures, minutes, last, within) in [
            (
                "in order",
                vec![(0, 0), (0, 0), (1, 1), (3, 3)],
                vec![(0, 2), (1, 1), (3, 1)],
                vec![3, 1, 0, 0],
                4,
            ),
            (
                "out of order",
                vec![(3, 3), (1, 3), (2, 3), (1, 3), (3, 3)],
                vec![(1, 2), (2, 1), (3, 2)],
                vec![3, 3, 2, 1, 1],
                5,
            ),
            (
                "more than an hour",
                many(0, 70),
                ones(10, 70),
                (60..70).rev().collect(),
                60,
            ),
            (
                "one that comes very late",
                [many(0, 60), vec![(-100, 59)]].concat(),
                ones(0, 60),
                (50..60).rev().collect(),
                60,
            ),
            (
                "an end in the future is counted as one of now",
                vec![(0, 0), (YEAR, 1), (2, 2)],
                vec![(0, 1), (1, 1), (2, 1)],
                vec![2, 1, 0],
                3,
            ),
            (
                "a clock that is ahead for a moment",
                vec![(0, 0), (YEAR, YEAR), (1, 1), (2, 2)],
                vec![(0, 1), (1, 1), (2, 1), (YEAR, 1)],
                vec![YEAR, 2, 1, 0],
                3,
            ),
            (
                "a clock that is ahead for so long that nothing else is left",
                [many(YEAR, YEAR + 60), many(0, 3)].concat(),
                [ones(0, 3), ones(YEAR, YEAR + 57)].concat(),
                [(YEAR + 50..YEAR + 57).rev().collect(), vec![2, 1, 0]].concat(),
                3,
            ),
            (
                "and back for an hour",
                [many(YEAR, YEAR + 60), many(0, 60)].concat(),
                ones(0, 60),
                (50..60).rev().collect(),
                60,
            ),
            (
                "a clock that is behind for a moment",
                [many(0, 60), vec![(-YEAR, -YEAR)], many(60, 61)].concat(),
                [ones(0, 59), ones(60, 61)].concat(),
                [vec![60], (50..59).rev().collect()].concat(),
                59,
            ),
        ] {
            let mut all = FailingWorkloads::default();
            let mut end = 0;
            for (ended, engine) in failures {
                note(&mut all, "web", ended, now(1, engine));
                end = engine;
                let (minutes, last) = known(&all, "web");
                assert!(
                    minutes.is_sorted() && minutes.len() <= MAX_MINUTES,
                    "{what}"
                );
                assert!(
                    last.is_sorted_by(|a, b| a >= b) && last.len() <= MAX_FAILURES,
                    "{what}"
                );
            }
            assert_eq!(known(&all, "web"), (minutes, last), "{what}");
            let count = all.workloads["web"].failing.failures_in_last_hour(at(end));
            assert_eq!(count, within, "{what}");
        }
    }

    #[test]
    fn failures_count_for_an_hour() {
        let mut all = FailingWorkloads::default();
        for minute in [0, 0, 7, 59] {
            note(&mut all, "web", minute, now(1, minute));
        }
        for (minute, want) in [
            (-6, 0),
            (-5, 2),
            (0, 2),
            (2, 3),
            (54, 4),
            (59, 4),
            (60, 2),
            (66, 2),
            (67, 1),
            (118, 1),
            (119, 0),
        ] {
            let count = all.workloads["web"]
                .failing
                .failures_in_last_hour(at(minute));
            assert_eq!(count, want, "{minute}");
        }
        let _ = all.workloads["web"]
            .failing
            .failures_in_last_hour(Timestamp::MIN);
        let _ = all.workloads["web"]
            .failing
            .failures_in_last_hour(Timestamp::MAX);
    }

    #[test]
    fn a_workload_leaves_after_an_hour_of_uptime_whatever_the_clock() {
        let mut all = FailingWorkloads::default();
        let names = |all: &FailingWorkloads| {
            let mut names: Vec<_> = all.workloads.keys().map(ToString::to_string).collect();
            names.sort();
            names.concat()
        };
        for (uptime, engine, workload, want) in [
            (0, 0, "a", "a"),
            (10, 10, "b", "ab"),
            (20, 9_999_999, "c", "abc"),
            (30, 30, "a", "abc"),
            (69, -9_999_999, "d", "abcd"),
            (70, 70, "d", "acd"),
            (80, 80, "d", "ad"),
            (90, 90, "b", "bd"),
        ] {
            let before = all.revision();
            note(&mut all, workload, engine, now(uptime, engine));
            assert_eq!(names(&all), want, "{uptime}");
            assert_eq!(all.order.len(), all.workloads.len());
            assert!(all.revision() > before);
        }
    }

    #[test]
    fn past_the_limit_the_least_recent_workload_leaves() {
        let mut all = FailingWorkloads::default();
        for number in 0..MAX_FAILING_WORKLOADS {
            note(&mut all, &number.to_string(), 0, now(0, 0));
        }
        note(&mut all, "0", 0, now(0, 0));
        note(&mut all, "one more", 0, now(0, 0));
        assert_eq!(
            (all.workloads.len(), all.order.len()),
            (MAX_FAILING_WORKLOADS, MAX_FAILING_WORKLOADS)
        );
        assert!(all.workloads.contains_key("0"));
        assert!(!all.workloads.contains_key("1"));
        assert!(all.workloads.contains_key("one more"));
    }

    #[test]
    fn a_held_workload_does_not_change() {
        let mut all = FailingWorkloads::default();
        note(&mut all, "web", 0, now(0, 0));
        note(&mut all, "job", 0, now(0, 0));
        let held: Vec<_> = all.iter().cloned().collect();
        note(&mut all, "web", 1, now(1, 1));
        assert!(held.iter().all(|it| it.last.len() == 1));
        let same = all
            .iter()
            .filter(|it| held.iter().any(|held| Arc::ptr_eq(it, held)));
        assert_eq!(same.count(), 1, "that of the job");
    }
}
