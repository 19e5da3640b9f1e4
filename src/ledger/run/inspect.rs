//! What inspects tell of runs, and of which run.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Inspected, State};

use super::super::Asking;
use super::super::exit::{Course, Exit, Source, later, refused_start};
use super::super::sighting::{Sighting, Stage};
use super::super::tolerance::{DIE_AFTER_END, OUT_OF_ORDER};
use super::awaited::{Awaited, Ended, before};
use super::{Began, Life, Report, Runs};

/// Of which run an inspect is that shows the end of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// One that ended before the last exit.
    Older,
    /// That of the last exit.
    Last,
    /// The one that runs, as far as is known.
    Current,
    /// One that is not known yet.
    Newer,
}

impl Runs {
    /// Takes in an inspect; returns an exit that is to be reported and is not, or no longer, the
    /// last.
    pub(in crate::ledger) fn apply_inspect(
        &mut self,
        inspected: &Inspected,
        times: &Asking,
        podman: bool,
    ) -> Option<Exit> {
        self.stop_signal = inspected.stop_signal.or(self.stop_signal);
        // One that was under way may show the run as if it had not ended.
        let died = self.exit.as_ref().and_then(|exit| exit.died_at);
        let is_behind = inspected.runs() && inspected.started_at <= died;
        if self.awaits_inspect() && !is_behind {
            // What only a listing has told of has an event to come, perhaps.
            let listed = self
                .exit
                .as_ref()
                .is_some_and(|it| it.source == Source::Listing);
            self.report = if listed {
                Report::AwaitsEvent(times.answered.uptime)
            } else {
                Report::Due
            };
        }
        let sighting = self.sighting;
        if let Some(sighting) = &mut self.sighting {
            sighting.stage = Stage::Settled;
            if let (Some(finished), false) = (inspected.finished_at, inspected.runs()) {
                sighting.narrow(finished);
            }
        }
        // Podman makes its events without the container's lock.
        let lag = if podman {
            DIE_AFTER_END
        } else {
            SignedDuration::ZERO
        };
        let seen = later(times.answered.engine, times.answered.error + lag);
        let open = self.apply_state(inspected, sighting, times, seen);
        self.read = true;
        open
    }

    fn apply_state(
        &mut self,
        inspected: &Inspected,
        sighting: Option<Sighting>,
        times: &Asking,
        seen: Timestamp,
    ) -> Option<Exit> {
        let uptime = times.answered.uptime;
        if inspected.runs() {
            return self.run_on(inspected, sighting, seen, uptime);
        }
        let answered = later(times.answered.engine, times.answered.error);
        if inspected.state == Some(State::Created) || inspected.started_at.is_none() {
            return self.fail_to_start(inspected, answered);
        }
        let exit = Exit {
            over_by: Some(answered),
            ..Exit::from_inspect(inspected)
        };
        self.over(exit, inspected, times, seen)
    }

    /// It never ran; with a code or an error its start failed.
    fn fail_to_start(&mut self, inspected: &Inspected, answered: Timestamp) -> Option<Exit> {
        if inspected.code == 0 && inspected.error.is_empty() {
            return None;
        }
        let exit = Exit {
            over_by: Some(answered),
            restart_count: inspected.restart_count,
            ..Exit::failed_start(Some(inspected.code), &inspected.error)
        };
        let known = self.exit.as_ref();
        if known.is_some_and(|it| it.start_failed() && it.is_the_same_failure(&exit)) {
            return None;
        }
        if !matches!(self.life, Life::Unknown | Life::Created(..)) {
            return None; // It was started since.
        }
        self.end(exit, Report::Due)
    }

    /// An inspect shows that it runs.
    fn run_on(
        &mut self,
        inspected: &Inspected,
        sighting: Option<Sighting>,
        seen: Timestamp,
        uptime: Duration,
    ) -> Option<Exit> {
        let began = inspected.started_at?;
        match &mut self.life {
            Life::Running(known) => match known.cmp(began) {
                Ordering::Less => return None,
                Ordering::Equal => {
                    (known.earliest, known.latest) = (began, began);
                    known.seen = known.seen.max(seen);
                }
                Ordering::Greater => {
                    self.end_unseen(began, inspected.finished_at, uptime);
                    self.supersede(Began::exactly(began, seen));
                }
            },
            _ if self.exit.as_ref().is_some_and(|it| !is_before(it, began)) => return None,
            _ => self.life = Life::Running(Began::exactly(began, seen)),
        }
        self.learn_end_before(began, inspected, sighting, uptime)
    }

    /// Takes in what an inspect of a run that began then tells of the one before: when it ended, and
    /// nothing else. Starting zeroed the rest (moby `container/state.go`, `SetRunning`).
    fn learn_end_before(
        &mut self,
        began: Timestamp,
        inspected: &Inspected,
        sighting: Option<Sighting>,
        uptime: Duration,
    ) -> Option<Exit> {
        let finished = inspected.finished_at?;
        if let Some(exit) = &mut self.exit {
            let end = exit.end().map(|end| later(end, OUT_OF_ORDER));
            if end >= Some(finished) {
                return None;
            }
        }
        let unseen = |it: &&mut Awaited| matches!(it.what, Ended::Unseen(..));
        let unseen = self.awaited.iter_mut().rev().find(unseen);
        let listed = sighting.filter(|sighting| sighting.spans(finished));
        match (unseen, listed.and_then(|sighting| sighting.code())) {
            (Some(awaited), _) => {
                awaited.from = awaited.from.max(before(finished));
                awaited.what = Ended::Unseen(Some(finished), uptime);
            }
            // The listing had its code.
            (None, Some(code)) => {
                let exit = Exit {
                    finished_at: Some(finished),
                    restart_count: inspected.restart_count,
                    ..Exit::from_code(code)
                };
                let last = self.end(exit, Report::AwaitsEvent(uptime));
                self.expect_event(before(finished), began, Ended::Last);
                return last;
            }
            (None, None) => {
                self.expect_event(
                    before(finished),
                    began,
                    Ended::Unseen(Some(finished), uptime),
                );
            }
        }
        None
    }

    /// An inspect shows that the last run is over. Its `die` event is made `until` then.
    fn over(
        &mut self,
        exit: Exit,
        inspected: &Inspected,
        times: &Asking,
        until: Timestamp,
    ) -> Option<Exit> {
        let (uptime, answered) = (times.answered.uptime, times.answered.engine);
        // What is after its end by so much, by a clock that is not well known, is of another run.
        let end = inspected.finished_at.map(|at| later(at, DIE_AFTER_END));
        let until = end.map_or(until, |end| until.min(end.max(answered)));
        let relation = self.relation(&exit);
        let stop_signal = self.stop_signal();
        let mut exit = exit;
        if let (Life::Over { waits }, false) = (&mut self.life, relation == Relation::Older) {
            let waited = std::mem::replace(waits, inspected.state == Some(State::Restarting));
            // Someone has killed it meanwhile: that makes no event.
            let is_over = inspected.state == Some(State::Exited) && !refused_start(inspected);
            self.called_off |= waited && is_over && relation == Relation::Last;
        }
        match relation {
            Relation::Older => return None,
            Relation::Last => return self.merge_last(exit),
            Relation::Current => exit.course.merge(self.course),
            Relation::Newer => {}
        }
        let from = exit.began.unwrap_or(Timestamp::MIN);
        let started = match self.life {
            Life::Running(began) => relation == Relation::Current && began.event.is_some(),
            _ => false,
        };
        if relation == Relation::Newer {
            self.end_unseen(from, None, uptime);
            if self.is_running() {
                self.late = Some(Box::new(std::mem::take(&mut self.course)));
            }
        }
        self.life = Life::Over {
            waits: inspected.state == Some(State::Restarting),
        };
        exit.classify(stop_signal);
        if refused_start(inspected) {
            // Its own end is hidden by the start that failed.
            self.expect_event(from, until, Ended::Unseen(inspected.finished_at, uptime));
            return self.end(exit, Report::Due);
        }
        let last = self.end(exit, Report::AwaitsEvent(uptime));
        self.expect_event(from, until, Ended::Last);
        if let Some(awaited) = self.awaited.last_mut() {
            awaited.started = started;
            awaited.seen = until.min(later(answered, times.answered.error));
        }
        last
    }

    /// Takes in what an inspect tells of the last exit, or of a start after it that failed.
    fn merge_last(&mut self, mut exit: Exit) -> Option<Exit> {
        let stop_signal = self.stop_signal();
        let last = self.exit.as_mut()?;
        match (last.start_failed(), exit.start_failed()) {
            (false, false) => {
                // What events told of this run after its end.
                let own = |late: &mut Box<Course>| late.started >= exit.began;
                if let Some(late) = self.late.take_if(own) {
                    last.course.merge(*late);
                }
                last.merge_inspect(&exit, stop_signal);
                None
            }
            // It is from before that start.
            (true, false) => None,
            (true, true) if last.is_the_same_failure(&exit) => {
                last.error = exit.error;
                None
            }
            // A listing has told of it. If a run before it has died, a label hides how.
            (false, true) if last.source == Source::Listing && last.code == exit.code => {
                let hidden = last.died_at.map(|at| Exit {
                    source: Source::DoubtfulEvent,
                    ..Exit::from_event(0, at, None)
                });
                exit.old = last.old;
                *last = exit;
                hidden
            }
            (_, true) => self.end(exit, Report::Due),
        }
    }

    /// Of which run an inspect is that shows this end of one.
    fn relation(&self, ended: &Exit) -> Relation {
        let Some(began) = ended.began else {
            return Relation::Newer;
        };
        let last = self
            .exit
            .as_ref()
            .map(|last| self.relation_to_last(last, ended, began));
        if let Life::Running(current) = self.life {
            return match (current.cmp(began), last) {
                (Ordering::Equal, _) => Relation::Current,
                (Ordering::Greater, _) => Relation::Newer,
                (Ordering::Less, Some(Relation::Last)) => Relation::Last,
                (Ordering::Less, _) => Relation::Older,
            };
        }
        last.unwrap_or(Relation::Newer)
    }

    fn relation_to_last(&self, last: &Exit, ended: &Exit, began: Timestamp) -> Relation {
        match (last.began, last.died_at) {
            (Some(known), _) => match began.cmp(&known) {
                Ordering::Less => Relation::Older,
                Ordering::Equal => Relation::Last,
                Ordering::Greater => Relation::Newer,
            },
            (None, Some(died)) if began > died => Relation::Newer,
            (None, Some(_)) if self.before >= Some(began) => Relation::Older,
            (None, Some(_)) => Relation::Last,
            // A listing tells of it no time of its own.
            (None, None) if last.start_failed() && last.is_the_same_failure(ended) => {
                Relation::Last
            }
            // Only a listing, or the next run's inspect, has told of it.
            (None, None) => {
                let span = self.sighting.and_then(|sighting| sighting.span);
                let latest = last.finished_at.or(span.map(|(_, latest)| latest));
                let known = ended.finished_at.or(ended.began.map(before));
                let after = latest.is_some_and(|latest| known > Some(latest));
                let other = last.code.is_some() && last.code != ended.code;
                if after || (other && !ended.start_failed()) {
                    Relation::Newer
                } else {
                    Relation::Last
                }
            }
        }
    }
}

/// Whether an exit is of a run that ended before this time.
pub(super) fn is_before(exit: &Exit, at: Timestamp) -> bool {
    exit.end().is_none_or(|end| end < at)
}
