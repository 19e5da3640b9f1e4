//! What fails again and again, as the exporter has seen it.
//!
//! Events are repeated out of order, and clocks are set back and forth. So how long a workload has been
//! silent is measured by the exporter's uptime, and of what was noted by a clock that was ahead nothing
//! takes the room of what comes after.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::reason::Reason;

use super::Now;
use super::exit::later;
use super::workloads::Key;

/// A workload that fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failing {
    /// Its Swarm service, or its Compose project and service; empty if it is of none.
    pub service: Arc<str>,
    /// The name of the image of the container that failed last.
    pub image: Arc<str>,
    /// How many failures there were in each minute since 1970, the oldest first: those of an hour.
    pub minutes: VecDeque<(i64, u32)>,
    /// The last failures, the newest first.
    pub last: VecDeque<Failure>,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The container's name.
    pub name: Arc<str>,
    /// The exit code; absent if a start failed and nothing is left that tells it.
    pub code: Option<i64>,
    /// Why it ended.
    pub reason: Reason,
    /// When it ended, or was counted if that was before.
    pub at: Timestamp,
    /// How long it had run.
    pub duration: Option<SignedDuration>,
}

/// More workloads than this are not remembered.
const MAX_FAILING: usize = 1_000;

/// One that has not failed for so long is forgotten.
const KEPT: Duration = Duration::from_secs(3600);

/// Minutes that are remembered of each.
const MINUTES: usize = 60;

/// Failures that are remembered of each.
const LAST: usize = 10;

/// The Engine's clock may be ahead of the one by which the page is read, by so many minutes.
const AHEAD: i64 = 5;

impl Failing {
    /// How many failures there were within the hour before this time.
    #[must_use]
    pub fn within_the_hour(&self, now: Timestamp) -> u64 {
        let now = minute(now);
        let hour = now - 59..=now + AHEAD;
        let minutes = self.minutes.iter();
        let recent = minutes.filter(|(minute, _)| hour.contains(minute));
        recent.map(|(_, count)| u64::from(*count)).sum()
    }

    /// Takes in a failure, at this time of the Engine.
    fn add(&mut self, failure: Failure, now: Timestamp) {
        let failed = minute(failure.at);
        match self.minutes.binary_search_by_key(&failed, |(at, _)| *at) {
            Ok(at) => self.minutes[at].1 = self.minutes[at].1.saturating_add(1),
            Err(at) => self.minutes.insert(at, (failed, 1)),
        }
        if self.minutes.len() > MINUTES {
            match self.minutes.back() {
                Some((last, _)) if *last > minute(now) => self.minutes.pop_back(),
                _ => self.minutes.pop_front(),
            };
        }
        let newer = self.last.partition_point(|it| it.at > failure.at);
        self.last.insert(newer, failure);
        if self.last.len() > LAST {
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

/// The workloads that have failed within the last hour of the exporter.
#[derive(Debug, Default)]
pub(super) struct AllFailing {
    workloads: HashMap<Key, Noted>,
    /// The same in the order in which they failed last, by the revision of that.
    order: BTreeMap<u64, Key>,
    revision: u64,
}

#[derive(Debug, Default)]
struct Noted {
    failing: Arc<Failing>,
    /// The last failure made this revision, at this uptime.
    revision: u64,
    uptime: Duration,
}

impl AllFailing {
    /// Takes in a failure of a workload, with its service and the name of its image.
    pub(super) fn note(
        &mut self,
        workload: &Key,
        [service, image]: [&Arc<str>; 2],
        failure: Failure,
        now: Now,
    ) {
        self.revision += 1;
        let noted = self.workloads.entry(Arc::clone(workload)).or_default();
        self.order.remove(&noted.revision);
        self.order.insert(self.revision, Arc::clone(workload));
        (noted.revision, noted.uptime) = (self.revision, now.uptime);
        let failing = Arc::make_mut(&mut noted.failing);
        failing.service = Arc::clone(service);
        failing.image = Arc::clone(image);
        let latest = later(now.engine, now.error);
        let at = failure.at.min(latest);
        failing.add(Failure { at, ..failure }, latest);
        while let Some(oldest) = self.order.first_entry() {
            let uptime = self.workloads.get(oldest.get()).map(|it| it.uptime);
            let is_silent = uptime.is_none_or(|at| at + KEPT <= now.uptime);
            if !is_silent && self.workloads.len() <= MAX_FAILING {
                break;
            }
            self.workloads.remove(&oldest.remove());
        }
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Failing>> {
        self.workloads.values().map(|noted| &noted.failing)
    }

    /// A number that is another one whenever any of them has changed.
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

    fn note(all: &mut AllFailing, workload: &str, ended: i64, now: Now) {
        let failure = Failure {
            name: workload.into(),
            code: Some(1),
            reason: Reason::Error,
            at: at(ended),
            duration: None,
        };
        let texts = ["shop/web".into(), "shop".into()];
        all.note(&workload.into(), texts.each_ref(), failure, now);
    }

    /// The minutes in which failures are known, and those in which the last ones were.
    fn known(all: &AllFailing, workload: &str) -> (Vec<(i64, u32)>, Vec<i64>) {
        let failing = &all.workloads[workload].failing;
        let minutes = failing.minutes.iter();
        let minutes = minutes.map(|(minute_at, count)| (minute_at - minute(at(0)), *count));
        let last = failing.last.iter();
        let last = last.map(|it| minute(it.at) - minute(at(0)));
        (minutes.collect(), last.collect())
    }

    #[test]
    fn failures_by_the_minute_however_they_come() {
        const YEAR: i64 = 365 * 24 * 60;
        let many =
            |from: i64, to: i64| -> Vec<(i64, i64)> { (from..to).map(|at| (at, at)).collect() };
        let ones =
            |from: i64, to: i64| -> Vec<(i64, u32)> { (from..to).map(|at| (at, 1)).collect() };
        // When they ended, and when by the Engine's clock that was counted.
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
            let mut all = AllFailing::default();
            let mut end = 0;
            for (ended, engine) in failures {
                note(&mut all, "web", ended, now(1, engine));
                end = engine;
                let (minutes, last) = known(&all, "web");
                assert!(minutes.is_sorted() && minutes.len() <= MINUTES, "{what}");
                assert!(
                    last.is_sorted_by(|a, b| a >= b) && last.len() <= LAST,
                    "{what}"
                );
            }
            assert_eq!(known(&all, "web"), (minutes, last), "{what}");
            let count = all.workloads["web"].failing.within_the_hour(at(end));
            assert_eq!(count, within, "{what}");
        }
    }

    #[test]
    fn an_hour_later_none_of_them_counts() {
        let mut all = AllFailing::default();
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
            let count = all.workloads["web"].failing.within_the_hour(at(minute));
            assert_eq!(count, want, "{minute}");
        }
        let _ = all.workloads["web"].failing.within_the_hour(Timestamp::MIN);
        let _ = all.workloads["web"].failing.within_the_hour(Timestamp::MAX);
    }

    #[test]
    fn what_was_silent_for_an_hour_leaves_whatever_the_clock_shows() {
        let mut all = AllFailing::default();
        let names = |all: &AllFailing| {
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
    fn of_too_many_the_one_leaves_that_was_silent_for_longest() {
        let mut all = AllFailing::default();
        for number in 0..MAX_FAILING {
            note(&mut all, &number.to_string(), 0, now(0, 0));
        }
        note(&mut all, "0", 0, now(0, 0));
        note(&mut all, "one more", 0, now(0, 0));
        assert_eq!(
            (all.workloads.len(), all.order.len()),
            (MAX_FAILING, MAX_FAILING)
        );
        assert!(all.workloads.contains_key("0"));
        assert!(!all.workloads.contains_key("1"));
        assert!(all.workloads.contains_key("one more"));
    }

    #[test]
    fn what_a_reader_holds_stays_as_it_is() {
        let mut all = AllFailing::default();
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
