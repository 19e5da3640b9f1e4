//! Applies inspects to the runs of a container.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::{Inspected, State};

use super::super::RequestTimes;
use super::super::exit::{Exit, RunEvents, Source, is_failed_start, shift};
use super::super::listed_run::{ListedRun, Stage};
use super::super::tolerance::{DIE_EVENT_DELAY, FINISHED_AT_WINDOW};
use super::pending_die::{KnownEnd, earliest_die};
use super::{ReportState, RunStart, RunState, Runs};

/// Which run an inspect of a finished run shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// One that ended before the last exit.
    Older,
    /// The run of the last exit.
    Last,
    /// The run that is running, as far as known.
    Current,
    /// A run that is not known yet.
    Newer,
}

impl Runs {
    /// Applies an inspect. Returns an exit to report that is no longer the last.
    pub(crate) fn apply_inspect(
        &mut self,
        inspected: &Inspected,
        times: &RequestTimes,
        podman: bool,
    ) -> Option<Exit> {
        self.stop_signal = inspected.stop_signal.or(self.stop_signal);
        // An inspect sent before the `die` event may still show the run as running.
        let died = self.exit.as_ref().and_then(|exit| exit.died_at);
        let is_behind = inspected.is_running() && inspected.started_at <= died;
        if self.awaits_inspect() && !is_behind {
            // The `die` event of an exit from a listing may still come.
            self.report = match &self.exit {
                Some(exit) if exit.source == Source::Listing => {
                    ReportState::AwaitsEvent(times.answered.uptime)
                }
                _ => ReportState::Due,
            };
        }
        let listed = self.listed;
        if let Some(listed) = &mut self.listed {
            listed.stage = Stage::Settled;
            if let (Some(finished), false) = (inspected.finished_at, inspected.is_running()) {
                listed.narrow_to(finished);
            }
        }
        // Podman makes events without the container's lock.
        let answered = times.answered.latest();
        let latest_event = if podman {
            shift(answered, DIE_EVENT_DELAY)
        } else {
            answered
        };
        let unreported = if inspected.is_running() {
            self.apply_running(inspected, listed, latest_event, times.answered.uptime)
        } else if inspected.state == Some(State::Created) || inspected.started_at.is_none() {
            self.apply_failed_start(inspected, answered)
        } else {
            let exit = Exit {
                over_by: Some(answered),
                ..Exit::from_inspect(inspected)
            };
            self.apply_over(exit, inspected, times, latest_event)
        };
        self.is_known_since_start = true;
        unreported
    }

    /// Applies an inspect of a container that never ran. With a code or an error its start failed.
    fn apply_failed_start(&mut self, inspected: &Inspected, answered: Timestamp) -> Option<Exit> {
        if inspected.code == 0 && inspected.error.is_empty() {
            return None;
        }
        let exit = Exit {
            over_by: Some(answered),
            restart_count: inspected.restart_count,
            ..Exit::failed_start(Some(inspected.code), &inspected.error)
        };
        let known = self.exit.as_ref();
        let is_known = known.is_some_and(|it| it.start_failed() && it.is_same_failure(&exit));
        if is_known || self.is_over() || self.is_running() {
            return None;
        }
        self.set_exit(exit, ReportState::Due)
    }

    /// Applies an inspect of a running container.
    fn apply_running(
        &mut self,
        inspected: &Inspected,
        listed: Option<ListedRun>,
        latest_event: Timestamp,
        uptime: Duration,
    ) -> Option<Exit> {
        let started_at = inspected.started_at?;
        match &mut self.state {
            RunState::Running(known) => match known.cmp(started_at) {
                Ordering::Less => return None,
                Ordering::Equal => {
                    (known.earliest, known.latest) = (started_at, started_at);
                    known.running_at = known.running_at.max(latest_event);
                }
                Ordering::Greater => {
                    self.mark_unseen_end(started_at, inspected.finished_at, uptime);
                    self.begin_next_run(RunStart::exactly(started_at, latest_event));
                }
            },
            state => match &self.exit {
                Some(exit) if !ended_before(exit, started_at) => return None,
                _ => *state = RunState::Running(RunStart::exactly(started_at, latest_event)),
            },
        }
        self.apply_previous_end(started_at, inspected, listed, uptime)
    }

    /// Applies what an inspect of a running container shows of the run before: only its end. A
    /// start resets everything else (moby `container/state.go`, `SetRunning`).
    fn apply_previous_end(
        &mut self,
        started_at: Timestamp,
        inspected: &Inspected,
        listed: Option<ListedRun>,
        uptime: Duration,
    ) -> Option<Exit> {
        let finished = inspected.finished_at?;
        let end = self.exit.as_ref().and_then(Exit::end);
        if end.map(|end| shift(end, FINISHED_AT_WINDOW)) >= Some(finished) {
            return None;
        }
        let earliest = earliest_die(finished);
        let end = KnownEnd::Unseen(Some(finished), uptime);
        let mut pending = self.pending_dies.iter_mut().rev();
        if let Some(pending) = pending.find(|it| it.is_unseen()) {
            pending.earliest = pending.earliest.max(earliest);
            pending.end = end;
            return None;
        }
        let listed = listed.filter(|listed| listed.includes(finished));
        let Some(code) = listed.and_then(|listed| listed.code()) else {
            self.expect_die(earliest, started_at, end);
            return None;
        };
        let exit = Exit {
            finished_at: Some(finished),
            restart_count: inspected.restart_count,
            ..Exit::from_code(code)
        };
        let last = self.set_exit(exit, ReportState::AwaitsEvent(uptime));
        self.expect_die(earliest, started_at, KnownEnd::LastExit);
        last
    }

    /// Applies an inspect of a finished run. Its `die` event is made by `until`.
    fn apply_over(
        &mut self,
        mut exit: Exit,
        inspected: &Inspected,
        times: &RequestTimes,
        until: Timestamp,
    ) -> Option<Exit> {
        let (uptime, answered) = (times.answered.uptime, times.answered.engine);
        // An event much later than the end belongs to another run.
        let end = inspected.finished_at.map(|at| shift(at, DIE_EVENT_DELAY));
        let until = end.map_or(until, |end| until.min(end.max(answered)));
        let relation = self.relation(&exit);
        let state = match inspected.state {
            Some(State::Restarting) => RunState::Restarting,
            _ => RunState::Over,
        };
        if self.is_over() && relation != Relation::Older {
            // Someone killed it while it waited for its restart. That makes no event.
            self.restart_cancelled |= self.state == RunState::Restarting
                && relation == Relation::Last
                && inspected.state == Some(State::Exited)
                && !is_failed_start(inspected);
            self.state = state;
        }
        match relation {
            Relation::Older => return None,
            Relation::Last => return self.merge_into_last(exit),
            Relation::Current => exit.events.merge(self.events),
            Relation::Newer => {}
        }
        let from = exit.started_at.unwrap_or(Timestamp::MIN);
        let is_current = |_: &RunStart| relation == Relation::Current;
        let start_event = self
            .running()
            .filter(is_current)
            .and_then(|it| it.start_event);
        if relation == Relation::Newer {
            self.mark_unseen_end(from, None, uptime);
            if self.is_running() {
                self.late_events = Some(Box::new(std::mem::take(&mut self.events)));
            }
        }
        self.state = state;
        exit.classify(self.stop_signal());
        if is_failed_start(inspected) {
            // The failed start hides the exit of this run.
            self.expect_die(from, until, KnownEnd::Unseen(inspected.finished_at, uptime));
            return self.set_exit(exit, ReportState::Due);
        }
        let last = self.set_exit(exit, ReportState::AwaitsEvent(uptime));
        let pending = self.expect_die(from, until, KnownEnd::LastExit);
        pending.has_start_event = start_event.is_some();
        pending.over_at = until.min(times.answered.latest());
        last
    }

    /// Merges an inspect into the last exit, which may be a failed start after that run.
    fn merge_into_last(&mut self, mut exit: Exit) -> Option<Exit> {
        let stop_signal = self.stop_signal();
        let last = self.exit.as_mut()?;
        match (last.start_failed(), exit.start_failed()) {
            (false, false) => {
                // Events of this run that came after its exit.
                let own = |late: &mut Box<RunEvents>| late.start_event >= exit.started_at;
                if let Some(late) = self.late_events.take_if(own) {
                    last.events.merge(*late);
                }
                last.merge_inspect(&exit, stop_signal);
                None
            }
            // The inspect is older than that start.
            (true, false) => None,
            (true, true) if last.is_same_failure(&exit) => {
                last.error = exit.error;
                None
            }
            // A listing showed this failed start. If the run before it died, its code is unknown.
            (false, true) if last.source == Source::Listing && last.code == exit.code => {
                let hidden = last.died_at.map(|at| Exit {
                    source: Source::DoubtfulEvent,
                    ..Exit::from_event(0, at, None)
                });
                exit.is_first_evidence = last.is_first_evidence;
                *last = exit;
                hidden
            }
            (_, true) => self.set_exit(exit, ReportState::Due),
        }
    }

    /// Which run an inspect of a finished run shows.
    fn relation(&self, inspected: &Exit) -> Relation {
        let Some(started_at) = inspected.started_at else {
            return Relation::Newer;
        };
        let last = self.exit.as_ref();
        let last = last.map(|last| self.relation_to_last(last, inspected, started_at));
        match (self.running().map(|running| running.cmp(started_at)), last) {
            (Some(Ordering::Equal), _) => Relation::Current,
            (Some(Ordering::Greater), _) | (None, None) => Relation::Newer,
            (Some(Ordering::Less), Some(Relation::Last)) => Relation::Last,
            (Some(Ordering::Less), _) => Relation::Older,
            (None, Some(last)) => last,
        }
    }

    fn relation_to_last(&self, last: &Exit, inspected: &Exit, started_at: Timestamp) -> Relation {
        match (last.started_at, last.died_at) {
            (Some(known), _) => match started_at.cmp(&known) {
                Ordering::Less => Relation::Older,
                Ordering::Equal => Relation::Last,
                Ordering::Greater => Relation::Newer,
            },
            (None, Some(died)) if started_at > died => Relation::Newer,
            (None, Some(_)) if self.previous_end >= Some(started_at) => Relation::Older,
            (None, Some(_)) => Relation::Last,
            // Only a listing, or an inspect of the next run, has shown the last exit.
            (None, None) => {
                let span = self.listed.and_then(|listed| listed.span);
                let latest = last.finished_at.or(span.map(|(_, latest)| latest));
                let end = inspected
                    .finished_at
                    .unwrap_or_else(|| earliest_die(started_at));
                let is_after = latest.is_some_and(|latest| end > latest);
                let differs = last.code.is_some() && last.code != inspected.code;
                // A failed start in a listing has no time of its own.
                if last.start_failed() && last.is_same_failure(inspected) {
                    Relation::Last
                } else if is_after || (differs && !inspected.start_failed()) {
                    Relation::Newer
                } else {
                    Relation::Last
                }
            }
        }
    }
}

/// Whether an exit is of a run that ended before this time.
pub(super) fn ended_before(exit: &Exit, at: Timestamp) -> bool {
    exit.end().is_none_or(|end| end < at)
}
