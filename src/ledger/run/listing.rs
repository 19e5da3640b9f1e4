//! What listings tell of runs, and what to make of it where no inspect explains it.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::{State, Status};

use super::super::exit::{Exit, FAILED_START, later};
use super::super::sighting::{Seen, Sighting, Stage};
use super::super::tolerance::{DIE_AFTER_END, LISTING_BEHIND, START_AFTER_LISTING};
use super::super::{Asking, NotInspected};
use super::awaited::{Ended, before};
use super::{Began, Life, OVER, Report, Runs, Tried};

/// A created container is inspected so often, since no event tells of a start that failed; and one that
/// listings never have.
pub(in crate::ledger) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What a listing leaves to do for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ledger) enum Want {
    Nothing,
    /// To inspect it, since what the listing shows is new.
    Inspect,
    /// The same, but it was tried, or is about to be.
    InspectAgain,
    /// To inspect it now and then, since no listing tells of a start that failed.
    LookForFailedStart,
}

impl Runs {
    /// Whether its events say better what a listing says of it that was asked for at this uptime.
    pub(in crate::ledger) fn is_ahead_of(&self, times: &Asking) -> bool {
        self.newest.is_some_and(|at| {
            self.newest_came >= times.asked.uptime
                || at > later(times.asked.engine, -LISTING_BEHIND)
        })
    }

    /// It is listed again, after it seemed to be removed. What is not known for sure is asked again.
    pub(in crate::ledger) fn reappear(&mut self) {
        self.sighting = None;
    }

    /// Takes in what a listing says of it.
    pub(in crate::ledger) fn apply_listing(&mut self, status: Status, times: &Asking) -> Want {
        if status.state == Some(State::Created) {
            if self.life == Life::Unknown {
                self.life = Life::Created(Tried::No, Timestamp::MIN);
            }
            return if matches!(self.life, Life::Created(..)) && self.look(times) {
                Want::LookForFailedStart
            } else {
                Want::Nothing
            };
        }
        let Some(now) = Sighting::new(status, times) else {
            return Want::Nothing;
        };
        self.read |= now.state == Seen::Running;
        let ahead = self.is_ahead_of(times);
        // A restart that is called off changes the time of the end, to a little earlier.
        let called_off = matches!(
            (self.life, now.state),
            (Life::Over { waits: true }, Seen::Over(_))
        );
        if !called_off && self.exit.as_ref().is_some_and(|exit| now.is_before(exit)) {
            return Want::Nothing; // The listing is behind.
        }
        match (now.state, self.life) {
            (Seen::Running, Life::Unknown | Life::Created(..)) => {
                if !ahead {
                    self.life = Life::Running(began(&now));
                }
                Want::Nothing
            }
            (Seen::Running, Life::Running(began)) if explains(&began, &now) => {
                self.sighting = None;
                Want::Nothing
            }
            (Seen::Running, _) if ahead || !self.look(times) => Want::Nothing,
            (Seen::Running, _) => {
                self.sighting = Some(now);
                Want::Inspect
            }
            (Seen::Restarting(_) | Seen::Over(_), _) => {
                self.apply_end(now, times, ahead, called_off)
            }
        }
    }

    /// Takes in that a listing shows the last run to be over.
    fn apply_end(&mut self, now: Sighting, times: &Asking, ahead: bool, called_off: bool) -> Want {
        if now.asked <= self.newest_came {
            return Want::Nothing;
        }
        // No listing is so far behind that it shows what was before a run that has gone on for long.
        let soon = later(times.asked.engine, -LISTING_BEHIND);
        let goes_on = matches!(self.life, Life::Running(began) if began.latest < soon);
        let exit = self.exit.as_ref().filter(|_| !goes_on);
        let mut again = self.explain(now, exit, called_off);
        let is_behind = self.is_running() && exit.is_some_and(|exit| now.of(exit).is_some());
        let earliest = now.span.map(|(earliest, _)| earliest);
        let by_event = exit.is_some_and(|exit| exit.died_at.is_some());
        if ahead && by_event && again.is_none() && earliest <= self.newest {
            // Events say otherwise, so it is not taken at its word.
            return Want::InspectAgain;
        }
        if let Some(again) = &mut again {
            if is_behind {
                again.stage = Stage::Known;
            } else if called_off {
                again.stage = again.stage.min(Stage::Known);
            }
            self.learn_code(again.code());
        }
        let sighting = *self.sighting.insert(again.unwrap_or(now));
        match sighting.stage {
            Stage::New => Want::Inspect,
            Stage::Known => Want::InspectAgain,
            Stage::Settled => Want::Nothing,
        }
    }

    /// What a listing shows as one more sighting of the last, or as that of a known exit.
    fn explain(&self, now: Sighting, exit: Option<&Exit>, called_off: bool) -> Option<Sighting> {
        let again = self.sighting.and_then(|before| now.after(&before));
        let again = again.or_else(|| exit.and_then(|exit| now.of(exit)));
        let same = exit.filter(|exit| called_off && exit.code == now.code());
        again.or(same.map(|_| Sighting {
            stage: Stage::Known,
            ..now
        }))
    }

    /// Takes in the code that a listing tells of the last exit, if its event could not.
    fn learn_code(&mut self, code: Option<i64>) {
        let (awaits_inspect, stop_signal) = (self.awaits_inspect(), self.stop_signal());
        // A start that failed has changed the code, but not the time.
        let certain = |code: &i64| !awaits_inspect || !FAILED_START.contains(code);
        let code = code.filter(certain);
        let doubtful = self.exit.as_mut().filter(|exit| exit.is_doubtful());
        if let Some(exit) = doubtful.filter(|_| code.is_some()) {
            exit.learn_code(code, stop_signal);
        }
    }

    /// Whether a container may be looked at, for what is seldom worth it; if so, that is noted.
    fn look(&mut self, times: &Asking) -> bool {
        let uptime = times.answered.uptime;
        let is_due = self.looked.is_none_or(|at| uptime >= at + LOOK_EVERY);
        if is_due {
            self.looked = Some(uptime);
        }
        is_due
    }

    /// Takes in that it could not be inspected: what its event or the listing tells must do.
    /// Returns an exit that is to be reported and is no longer the last.
    pub(in crate::ledger) fn inspect_failed(
        &mut self,
        why: NotInspected,
        uptime: Duration,
        podman: bool,
    ) -> Option<Exit> {
        let doubtful = self.exit.as_ref().is_some_and(Exit::is_doubtful);
        let is_due = match why {
            NotInspected::Gone => true,
            NotInspected::Failed => !self.needs_inspect(podman),
            // The next listing may tell the code.
            NotInspected::Refused => !doubtful,
        };
        if self.awaits_inspect() && is_due {
            self.report = Report::Due;
        }
        let sighting = self.sighting.as_mut()?;
        if sighting.asked <= self.newest_came {
            self.sighting = None; // An event has come since.
            return None;
        }
        let stage = sighting.stage;
        sighting.stage = match why {
            NotInspected::Gone => Stage::Settled,
            NotInspected::Failed | NotInspected::Refused => Stage::Known,
        };
        let sighting = *sighting;
        if stage != Stage::New {
            return None;
        }
        if sighting.state == Seen::Running {
            let began = began(&sighting);
            self.end_unseen(began.latest, None, uptime);
            self.supersede(began);
            return None;
        }
        let code = sighting.code()?;
        let last = self.exit.as_ref();
        let mut exit =
            if FAILED_START.contains(&code) && last.is_some_and(|it| sighting.is_of_time(it)) {
                // It has the time of the run before.
                Exit::failed_start(Some(code), "")
            } else {
                Exit::from_code(code)
            };
        let from = sighting
            .span
            .map_or(Timestamp::MIN, |(earliest, _)| before(earliest));
        let latest = sighting.span.map(|(_, latest)| latest);
        let is_its = |began: Began| latest.is_none_or(|latest| began.floor() <= latest);
        if matches!(self.life, Life::Running(began) if is_its(began)) {
            exit.course.merge(self.course);
            exit.classify(self.stop_signal());
        }
        let taken_for = match self.life {
            Life::Running(began) => began.event,
            _ => None,
        };
        // The time of a start that failed is that of the run before.
        exit.span = sighting.span.filter(|_| !exit.start_failed());
        let latest_end = exit.span.map(|(_, latest)| latest);
        exit.over_by = latest_end.or(Some(sighting.answered));
        self.life = OVER;
        let report = match why {
            NotInspected::Failed => Report::AwaitsInspect(uptime),
            NotInspected::Gone | NotInspected::Refused => Report::AwaitsEvent(uptime),
        };
        let last = self.end(exit, report);
        self.expect_event(from, later(sighting.answered, DIE_AFTER_END), Ended::Last);
        if let Some(awaited) = self.awaited.last_mut() {
            let started = latest.map(|latest| later(latest, START_AFTER_LISTING));
            awaited.seen = started.map_or(sighting.answered, |at| at.min(sighting.answered));
            awaited.taken_for = taken_for;
            awaited.began = Timestamp::MIN;
        }
        last
    }
}

/// When a run began that a listing shows, perhaps before its `start` event is made.
fn began(sighting: &Sighting) -> Began {
    let answered = sighting.answered;
    let (earliest, latest) = sighting.span.unwrap_or((Timestamp::MIN, answered));
    let seen = answered.max(later(latest, START_AFTER_LISTING));
    Began {
        earliest,
        latest,
        event: None,
        seen,
    }
}

/// Whether a run is the one that a listing shows: it can have begun when the listing says.
fn explains(began: &Began, sighting: &Sighting) -> bool {
    let Some((earliest, latest)) = sighting.span else {
        return true;
    };
    began.earliest <= latest && earliest <= began.latest
}
