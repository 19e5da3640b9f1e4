//! What events tell of runs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::Signals;

use super::super::NotInspected;
use super::super::exit::{Course, Exit, FAILED_START, Source, later};
use super::super::sighting::{Sighting, Stage};
use super::awaited::{Awaited, Ended};
use super::{Began, FORGOTTEN, Life, OVER, Report, Runs, Tried};

impl Runs {
    /// Takes note of an event that was made then, after the exporter's start; it may be of an attempt to
    /// start the container.
    pub(in crate::ledger) fn note_told(&mut self, at: Timestamp, attempt: bool) {
        self.read = true;
        let waits = self.waits();
        if let Some(exit) = self.exit.as_mut().filter(|_| waits && attempt) {
            if exit.start_failed() && exit.over_by >= Some(at) {
                exit.old = false;
            }
        }
    }

    /// Takes note of an event, after it was taken in. If the Engine's clock went back, no order is
    /// known any more between what was before and what comes.
    pub(in crate::ledger) fn note_event(&mut self, at: Timestamp, came: Duration) {
        if self.is_late(at) {
            self.classify();
        }
        self.newest = self.newest.max(Some(at));
        self.newest_came = came;
    }

    /// Forgets the order of what was, since the Engine's clock went back behind it.
    pub(in crate::ledger) fn forget_order_after(&mut self, now: Timestamp) {
        if self.newest.is_none_or(|newest| newest <= now) {
            return;
        }
        (self.newest, self.before) = (None, None);
        self.awaited.clear();
        if let Some(exit) = &mut self.exit {
            exit.died_at = FORGOTTEN;
        }
        if let Life::Running(began) = &mut self.life {
            began.earliest = Timestamp::MIN;
            began.event = began.event.map(|_| Timestamp::MIN);
        }
    }

    /// Whether an event of this time is of an older run than the present one.
    fn is_late(&self, at: Timestamp) -> bool {
        let began = match self.life {
            Life::Running(began) => Some(began.earliest),
            Life::Over { .. } => self.exit.as_ref().and_then(|exit| exit.began),
            Life::Unknown | Life::Created(..) => None,
        };
        self.newest > Some(at) || began > Some(at)
    }

    /// Whether an event of this time is of an older run than the one that a listing shows, since events
    /// have not come to its end.
    fn follows_older(&self, at: Timestamp) -> bool {
        let Life::Running(began) = self.life else {
            return false;
        };
        let started = self.late.as_ref().and_then(|late| late.started);
        let is_older = began.event.is_none() && at <= began.latest;
        is_older && started.is_some_and(|started| !began.takes_start(started))
    }

    /// The course of the run that an event of this time belongs to.
    pub(in crate::ledger) fn course_at(&mut self, at: Timestamp) -> &mut Course {
        let is_late = self.is_late(at) || self.follows_older(at);
        let of_exit = is_late && self.course_of_exit(at).is_some();
        match self.exit.as_mut().filter(|_| of_exit) {
            Some(exit) => &mut exit.course,
            None if is_late => self.late.get_or_insert_default(),
            None => &mut self.course,
        }
    }

    /// The course of the last exit's run, if an event of this time belongs to it.
    fn course_of_exit(&mut self, at: Timestamp) -> Option<&mut Course> {
        let exit = self.exit.as_mut().filter(|exit| exit.died_at >= Some(at))?;
        let began = exit.course.started.or(exit.began).or(self.before);
        began
            .is_some_and(|began| began <= at)
            .then_some(&mut exit.course)
    }

    /// It was created, and is about to be inspected.
    pub(in crate::ledger) fn create(&mut self, uptime: Duration) {
        if self.life == Life::Unknown {
            self.looked = Some(uptime);
        }
    }

    /// Its output was attached, or it was connected to a network: someone tries to start it, if it
    /// was never started.
    pub(in crate::ledger) fn try_start(&mut self, at: Timestamp) {
        match self.life {
            Life::Unknown | Life::Created(..) => self.life = Life::Created(Tried::Yes, at),
            Life::Running(_) | Life::Over { .. } => {}
        }
    }

    /// Events went missing: all that came before, or, of a daemon that is gone, what it told last. If
    /// someone tried to start it, it may have run since.
    pub(in crate::ledger) fn note_gap(&mut self, daemon_came: Option<Timestamp>) {
        let before = |at: Timestamp| daemon_came.is_none_or(|came| at < came);
        let tried_at = self.exit.as_ref().and_then(|exit| exit.over_by);
        if let Report::AwaitsProof(_, tried) = self.report {
            let is_known = daemon_came.is_some() && tried == Tried::InVain;
            if !is_known && tried_at.is_some_and(before) {
                (self.exit, self.report) = (None, Report::Nothing);
            }
        }
    }

    /// It was disconnected from a network; returns whether it may have failed to start.
    pub(in crate::ledger) fn disconnect(&mut self, at: Timestamp) -> bool {
        match &mut self.life {
            Life::Created(tried, tried_at) => {
                let failed = *tried >= Tried::Yes;
                if failed {
                    (*tried, *tried_at) = (Tried::InVain, at);
                }
                failed
            }
            // After an end, `die` comes before.
            Life::Over { .. } => self.report == Report::Reported,
            Life::Unknown | Life::Running(_) => false,
        }
    }

    /// A start that failed, if events alone tell of one: the container is gone, or runs.
    fn failed_unseen(&self, at_least: Tried) -> Option<Exit> {
        let Life::Created(tried, at) = self.life else {
            return None;
        };
        let failed = tried >= at_least && self.exit.is_none();
        failed.then(|| Exit {
            over_by: Some(at),
            ..Exit::failed_start(None, "")
        })
    }

    /// A `start` event. Returns a start before that failed, if nothing else has told of it.
    pub(in crate::ledger) fn start(&mut self, at: Timestamp, uptime: Duration) -> Option<Exit> {
        if self.is_late(at) {
            if let Some(course) = self.course_of_exit(at) {
                course.started.get_or_insert(at);
            } else {
                self.late = Some(Box::new(Course::since(at)));
                self.split_unseen(at, uptime);
            }
            return None;
        }
        let failed = self.failed_unseen(Tried::InVain);
        self.course = Course::since(at);
        if let Life::Running(began) = &mut self.life {
            if began.takes_start(at) {
                began.latest = began.latest.min(at);
                return None;
            }
        }
        // The first `start` event after an inspect's StartedAt is that of its run.
        let own = |it: &&mut Awaited| !it.started && it.began <= at && at <= it.seen;
        if let (Life::Over { .. }, Some(own)) = (self.life, self.awaited.iter_mut().find(own)) {
            own.started = true;
            if let Some(began) = own.taken_for.take() {
                // So that one had ended before.
                self.expect_event(began, at, Ended::Unseen(None, uptime));
            }
            return None;
        }
        self.end_unseen(at, None, uptime);
        for awaited in &mut self.awaited {
            awaited.until = awaited.until.min(at);
        }
        let mut earliest = None;
        if let Some(exit) = &mut self.exit {
            exit.over_by = exit.over_by.min(Some(at));
            earliest = exit.died_at.or(exit.finished_at);
        }
        if let Life::Running(before) = self.life {
            let after = later(before.floor(), SignedDuration::from_nanos(1));
            earliest = earliest.max(Some(after));
        }
        self.life = Life::Running(Began {
            earliest: earliest.unwrap_or(Timestamp::MIN),
            latest: at,
            event: Some(at),
            seen: at,
        });
        failed
    }

    /// A `die` event with this code, which may be `doubtful`, of a run that took so long unless its
    /// start is known. Returns an exit that is to be reported and is not, or no longer, the last.
    pub(in crate::ledger) fn die(
        &mut self,
        at: Timestamp,
        code: Option<i64>,
        doubtful: bool,
        ran: Option<SignedDuration>,
        uptime: Duration,
    ) -> Option<Exit> {
        let is_late = self.is_late(at) || self.follows_older(at);
        let course = if is_late {
            self.late.take().map(|late| *late).unwrap_or_default()
        } else {
            std::mem::take(&mut self.course)
        };
        let certain = code.filter(|_| !doubtful);
        let known = self.take_awaited(at, certain);
        match known {
            Some(Ended::Counted) => return None,
            Some(Ended::Last) => {
                self.merge_end(at, certain, course, uptime);
                return None;
            }
            Some(Ended::Unseen(..)) | None => {}
        }
        let stop_signal = self.stop_signal();
        let ran = (course.started)
            .map(|started| at.duration_since(started))
            .or(ran);
        let mut exit = Exit::from_event(code.unwrap_or_default(), at, ran);
        if doubtful || code.is_none() {
            exit.source = Source::DoubtfulEvent;
        }
        exit.course = course;
        exit.classify(stop_signal);
        if self.exit.as_ref().is_some_and(|last| last.end() > Some(at)) {
            return Some(exit);
        }
        if !self.is_running() || (known.is_none() && !is_late) {
            self.life = OVER;
        }
        let is_other = |it: &Sighting| it.stage != Stage::New || it.of(&exit).is_none();
        self.sighting = self.sighting.filter(is_other);
        self.end(exit, Report::AwaitsInspect(uptime))
    }

    /// The awaited run that ended with this `die` event, and this code if that is certain.
    fn take_awaited(&mut self, at: Timestamp, code: Option<i64>) -> Option<Ended> {
        let last = self.exit.as_ref();
        let listed = last.filter(|exit| exit.source == Source::Listing);
        let shown = listed.and_then(|exit| exit.code);
        // What a listing shows has the code of the event, or of a start that failed afterwards.
        let differs = shown
            .zip(code)
            .is_some_and(|(shown, code)| shown != code && !FAILED_START.contains(&shown));
        let is_other = |it: &Awaited| it.what == Ended::Last && differs;
        let place = (self.awaited.iter()).position(|it| it.takes(at) && !is_other(it));
        let known = place.map(|place| self.awaited.remove(place).what);
        for awaited in &mut self.awaited {
            // The end of the run that a later one was taken for.
            awaited.taken_for = awaited.taken_for.filter(|began| *began > at);
            if awaited.began <= at && (at < awaited.from || is_other(awaited)) {
                // The `start` event that was taken for its own was that of this run.
                awaited.started = false;
            }
        }
        known
    }

    /// Takes in the `die` event of the last exit, with its code if that is certain.
    fn merge_end(&mut self, at: Timestamp, code: Option<i64>, course: Course, uptime: Duration) {
        let stop_signal = self.stop_signal();
        let Some(exit) = self.exit.as_mut().filter(|exit| !exit.start_failed()) else {
            return;
        };
        if exit.source == Source::Listing && code.is_some() {
            // A start that failed afterwards changes the code of a listing.
            (exit.code, exit.source) = (code, Source::Event);
        }
        exit.merge_event(at, course, stop_signal);
        if matches!(self.report, Report::AwaitsEvent(_)) {
            self.report = match exit.source {
                Source::Inspect => Report::Due,
                _ => Report::AwaitsInspect(uptime),
            };
        }
    }

    /// A Docker label turns out to hide the code of `die` events.
    pub(in crate::ledger) fn distrust_code(&mut self) {
        let by_event = |exit: &&mut Exit| exit.source == Source::Event;
        if let Some(exit) = self.exit.as_mut().filter(by_event) {
            exit.source = Source::DoubtfulEvent;
        }
    }

    /// A Docker label turns out to hide what signals were sent.
    pub(in crate::ledger) fn distrust_signals(&mut self) {
        let exit = self.exit.as_mut().map(|exit| &mut exit.course);
        for course in exit.into_iter().chain([&mut self.course]) {
            course.hidden_signal |= course.signals != Signals::default();
            course.signals = Signals::default();
        }
        self.classify();
    }

    /// A `stop` event, which comes after the `die` event of a container that was stopped on request, or
    /// alone if that waited for its restart. Of how it ended it tells more only where a Docker label
    /// hides the signal.
    pub(in crate::ledger) fn stop(&mut self, at: Timestamp) {
        let is_over = matches!(self.life, Life::Over { .. });
        self.called_off |= is_over && !self.is_late(at);
        if self.life != OVER {
            return;
        }
        let stop_signal = self.stop_signal();
        let exit = self.exit.as_mut().filter(|it| it.died_at <= Some(at));
        if let Some(exit) = exit.filter(|it| it.course.hidden_signal) {
            exit.course.kill(Some(stop_signal));
            exit.classify(stop_signal);
        }
    }

    /// It was removed at this time, as an event tells, or it is gone. Returns an exit that is to be
    /// reported and is no longer the last.
    pub(in crate::ledger) fn remove(
        &mut self,
        at: Timestamp,
        uptime: Duration,
        event: bool,
    ) -> Option<Exit> {
        let is_new = |it: Sighting| it.stage == Stage::New;
        let last = if self.sighting.is_some_and(is_new) {
            self.inspect_failed(NotInspected::Gone, uptime, false)
        } else {
            None
        };
        self.end_unseen(at, None, uptime);
        let tried = match self.life {
            Life::Created(tried, _) => tried,
            _ => Tried::No,
        };
        // Without its event it may have run.
        let failed = self.failed_unseen(if event { Tried::Yes } else { Tried::InVain });
        if failed.is_some() || self.is_running() {
            self.life = OVER;
        }
        if let Some(failed) = failed {
            return self.end(failed, Report::AwaitsProof(uptime, tried));
        }
        last
    }
}
