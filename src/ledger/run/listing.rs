//! Applies listings to the runs of a container, and falls back on them where an inspect fails.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::{State, Status};

use super::super::exit::{Exit, FAILED_START_CODES, Source, shift};
use super::super::listed_run::{ListedRun, ListedState, Stage};
use super::super::tolerance::{DIE_EVENT_DELAY, LISTING_DELAY, START_EVENT_DELAY};
use super::super::{InspectFailure, RequestTimes};
use super::pending_die::{KnownEnd, earliest_die};
use super::{ReportState, RunStart, RunState, Runs, StartAttempt};

/// How often to inspect a created container, since a failed start makes no event, and a container
/// that is missing from listings.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Whether a container has to be inspected after a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InspectNeed {
    None,
    /// The listing shows something new.
    New,
    /// It was due before.
    Retry,
    /// From time to time: a listing does not show a failed start.
    Created,
}

impl Runs {
    /// Whether events are newer than a listing.
    pub(crate) fn has_newer_events_than(&self, times: &RequestTimes) -> bool {
        self.last_event_at.is_some_and(|at| {
            self.last_event_uptime >= times.asked.uptime
                || at > shift(times.asked.engine, -LISTING_DELAY)
        })
    }

    /// The container is listed again after it seemed to be removed.
    pub(crate) fn reappear(&mut self) {
        self.listed = None;
    }

    /// Applies one element of a listing.
    pub(crate) fn apply_listing(&mut self, status: Status, times: &RequestTimes) -> InspectNeed {
        if status.state == Some(State::Created) {
            if self.state == RunState::Unknown {
                self.state = RunState::Created(StartAttempt::None, Timestamp::MIN);
            }
            return if matches!(self.state, RunState::Created(..)) && self.is_check_due(times) {
                InspectNeed::Created
            } else {
                InspectNeed::None
            };
        }
        let Some(listed) = ListedRun::new(status, times) else {
            return InspectNeed::None;
        };
        self.is_known_since_start |= listed.state == ListedState::Running;
        let has_newer_events = self.has_newer_events_than(times);
        // Cancelling a restart moves the end to slightly earlier.
        let restart_cancelled =
            self.state == RunState::Restarting && matches!(listed.state, ListedState::Over(_));
        if !restart_cancelled && self.exit.as_ref().is_some_and(|exit| listed.predates(exit)) {
            return InspectNeed::None; // The listing is behind.
        }
        match (listed.state, self.state) {
            (ListedState::Running, RunState::Unknown | RunState::Created(..)) => {
                if !has_newer_events {
                    self.state = RunState::Running(run_start(&listed));
                }
                InspectNeed::None
            }
            (ListedState::Running, RunState::Running(start))
                if can_be_same_run(&start, &listed) =>
            {
                self.listed = None;
                InspectNeed::None
            }
            (ListedState::Running, _) if has_newer_events || !self.is_check_due(times) => {
                InspectNeed::None
            }
            (ListedState::Running, _) => {
                self.listed = Some(listed);
                InspectNeed::New
            }
            (ListedState::Restarting(_) | ListedState::Over(_), _) => {
                self.apply_end(listed, times, has_newer_events, restart_cancelled)
            }
        }
    }

    /// Applies a listing that shows the last run as finished.
    fn apply_end(
        &mut self,
        listed: ListedRun,
        times: &RequestTimes,
        has_newer_events: bool,
        restart_cancelled: bool,
    ) -> InspectNeed {
        if listed.asked <= self.last_event_uptime {
            return InspectNeed::None;
        }
        // A listing is at most this old. So it shows the end of a run that began before, not of an earlier run.
        let oldest = shift(times.asked.engine, -LISTING_DELAY);
        let is_long_running =
            matches!(self.state, RunState::Running(start) if start.latest < oldest);
        let exit = self.exit.as_ref().filter(|_| !is_long_running);
        let continued = self.listed.and_then(|previous| listed.continues(&previous));
        let by_exit = exit.and_then(|exit| listed.match_exit(exit));
        let is_behind = self.is_running() && by_exit.is_some();
        let cancelled = exit.filter(|exit| restart_cancelled && exit.code == listed.code());
        let cancelled = cancelled.map(|_| ListedRun {
            stage: Stage::Matched,
            ..listed
        });
        let mut matched = continued.or(by_exit).or(cancelled);
        let earliest = listed.span.map(|(earliest, _)| earliest);
        let by_event = exit.is_some_and(|exit| exit.died_at.is_some());
        if has_newer_events && by_event && matched.is_none() && earliest <= self.last_event_at {
            // Events contradict the listing.
            return InspectNeed::Retry;
        }
        if let Some(matched) = &mut matched {
            if is_behind {
                matched.stage = Stage::Matched;
            } else if restart_cancelled {
                matched.stage = matched.stage.min(Stage::Matched);
            }
            self.set_code(matched.code());
        }
        let listed = *self.listed.insert(matched.unwrap_or(listed));
        match listed.stage {
            Stage::New => InspectNeed::New,
            Stage::Matched => InspectNeed::Retry,
            Stage::Settled => InspectNeed::None,
        }
    }

    /// Sets the code of a doubtful exit from a listing.
    fn set_code(&mut self, code: Option<i64>) {
        let (awaits_inspect, stop_signal) = (self.awaits_inspect(), self.stop_signal());
        // A failed start changes the code but not the time.
        let code = code.filter(|code| !awaits_inspect || !FAILED_START_CODES.contains(code));
        let doubtful = self.exit.as_mut().filter(|exit| exit.is_doubtful());
        if let Some(exit) = doubtful.filter(|_| code.is_some()) {
            (exit.code, exit.source) = (code, Source::Event);
            exit.classify(stop_signal);
        }
    }

    /// Whether a periodic inspect is due. If so, starts the next interval.
    fn is_check_due(&mut self, times: &RequestTimes) -> bool {
        let uptime = times.answered.uptime;
        let last = self.checked_at;
        let is_due = last.is_none_or(|at| uptime >= at + CHECK_INTERVAL);
        if is_due {
            self.checked_at = Some(uptime);
        }
        is_due
    }

    /// Records that an inspect failed, so that the event or the listing has to do. Returns an exit
    /// to report that is no longer the last.
    pub(crate) fn inspect_failed(
        &mut self,
        why: InspectFailure,
        uptime: Duration,
        podman: bool,
    ) -> Option<Exit> {
        let doubtful = self.exit.as_ref().is_some_and(Exit::is_doubtful);
        let is_due = match why {
            InspectFailure::Gone => true,
            InspectFailure::Failed => !self.needs_inspect(podman),
            // The next listing may show the code.
            InspectFailure::Refused => !doubtful,
        };
        if self.awaits_inspect() && is_due {
            self.report = ReportState::Due;
        }
        let listed = self.listed.as_mut()?;
        if listed.asked <= self.last_event_uptime {
            self.listed = None; // An event has come since.
            return None;
        }
        let after = match why {
            InspectFailure::Gone => Stage::Settled,
            InspectFailure::Failed | InspectFailure::Refused => Stage::Matched,
        };
        let stage = std::mem::replace(&mut listed.stage, after);
        let listed = *listed;
        if stage != Stage::New {
            return None;
        }
        if listed.state == ListedState::Running {
            let start = run_start(&listed);
            self.mark_unseen_end(start.latest, None, uptime);
            self.begin_next_run(start);
            return None;
        }
        let code = listed.code()?;
        let last = self.exit.as_ref();
        let mut exit = match last {
            // The listed time of a failed start is that of the run before.
            Some(last) if FAILED_START_CODES.contains(&code) && listed.matches_time_of(last) => {
                Exit::failed_start(Some(code), "")
            }
            _ => Exit::from_code(code),
        };
        let (earliest, latest) = listed.span.unzip();
        let may_be_its = |start: RunStart| latest.is_none_or(|latest| start.floor() <= latest);
        if self.running().is_some_and(may_be_its) {
            exit.events.merge(self.events);
            exit.classify(self.stop_signal());
        }
        let assumed_start = self.running().and_then(|start| start.start_event);
        exit.span = listed.span.filter(|_| !exit.start_failed());
        exit.over_by = exit
            .span
            .map(|(_, latest)| latest)
            .or(Some(listed.answered));
        self.state = RunState::Over;
        let report = match why {
            InspectFailure::Failed => ReportState::AwaitsInspect(uptime),
            InspectFailure::Gone | InspectFailure::Refused => ReportState::AwaitsEvent(uptime),
        };
        let last = self.set_exit(exit, report);
        let earliest = earliest.map_or(Timestamp::MIN, earliest_die);
        let until = shift(listed.answered, DIE_EVENT_DELAY);
        let pending = self.expect_die(earliest, until, KnownEnd::LastExit);
        let over_at = latest.map(|latest| shift(latest, START_EVENT_DELAY));
        pending.over_at = over_at.map_or(listed.answered, |at| at.min(listed.answered));
        pending.assumed_start = assumed_start;
        pending.started_by = Timestamp::MIN;
        last
    }
}

/// Start of a listed running container. Its `start` event may come later.
fn run_start(listed: &ListedRun) -> RunStart {
    let answered = listed.answered;
    let (earliest, latest) = listed.span.unwrap_or((Timestamp::MIN, answered));
    RunStart {
        earliest,
        latest,
        start_event: None,
        running_at: answered.max(shift(latest, START_EVENT_DELAY)),
    }
}

/// Whether a run may be the listed one, by its start.
fn can_be_same_run(start: &RunStart, listed: &ListedRun) -> bool {
    let overlaps = |(earliest, latest)| start.earliest <= latest && earliest <= start.latest;
    listed.span.is_none_or(overlaps)
}
