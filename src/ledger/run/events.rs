//! Applies events to the runs of a container.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::Signals;

use super::super::InspectFailure;
use super::super::exit::{Exit, FAILED_START_CODES, RunEvents, Source, shift};
use super::super::listed_run::{ListedRun, Stage};
use super::pending_die::{KnownEnd, PendingDie};
use super::{ReportState, RunStart, RunState, Runs, StartAttempt, UNKNOWN_ORDER};

impl Runs {
    /// Records that an event after the exporter's start has shown the container. `attempt` marks a
    /// network event, which may belong to a failed start.
    pub(crate) fn mark_known(&mut self, at: Timestamp, attempt: bool) {
        self.is_known_since_start = true;
        let may_be_its = attempt && self.has_unreported_exit();
        if let Some(exit) = self.exit.as_mut().filter(|_| may_be_its) {
            exit.is_first_evidence &= !exit.start_failed() || exit.over_by < Some(at);
        }
    }

    /// Records the time of an event after it was applied.
    pub(crate) fn note_event(&mut self, at: Timestamp, uptime: Duration) {
        if self.is_late(at) {
            self.classify();
        }
        self.last_event_at = self.last_event_at.max(Some(at));
        self.last_event_uptime = uptime;
    }

    /// Forgets the order of earlier evidence if the Engine's clock was set back before it.
    pub(crate) fn forget_order_if_clock_went_back(&mut self, now: Timestamp) {
        if self.last_event_at.is_none_or(|newest| newest <= now) {
            return;
        }
        (self.last_event_at, self.previous_end) = (None, None);
        self.pending_dies.clear();
        if let Some(exit) = &mut self.exit {
            exit.died_at = UNKNOWN_ORDER;
        }
        if let RunState::Running(start) = &mut self.state {
            start.earliest = Timestamp::MIN;
            start.start_event = start.start_event.map(|_| Timestamp::MIN);
        }
    }

    /// Whether an event belongs to an older run than the present one.
    fn is_late(&self, at: Timestamp) -> bool {
        let started_at = match self.state {
            RunState::Running(start) => Some(start.earliest),
            RunState::Over | RunState::Restarting => {
                self.exit.as_ref().and_then(|exit| exit.started_at)
            }
            RunState::Unknown | RunState::Created(..) => None,
        };
        self.last_event_at > Some(at) || started_at > Some(at)
    }

    /// Whether an event belongs to an older run than the one a listing shows, because the events
    /// are behind.
    fn is_of_older_run(&self, at: Timestamp) -> bool {
        let late_start = self.late_events.as_ref().and_then(|late| late.start_event);
        self.running().zip(late_start).is_some_and(|(start, late)| {
            start.start_event.is_none() && at <= start.latest && !start.is_own_start(late)
        })
    }

    /// The record of the run that an event belongs to.
    pub(crate) fn events_at(&mut self, at: Timestamp) -> &mut RunEvents {
        let is_late = self.is_late(at) || self.is_of_older_run(at);
        let of_exit = is_late && self.exit_events_at(at).is_some();
        match self.exit.as_mut().filter(|_| of_exit) {
            Some(exit) => &mut exit.events,
            None if is_late => self.late_events.get_or_insert_default(),
            None => &mut self.events,
        }
    }

    /// The record of the last exit's run, if an event belongs to it.
    fn exit_events_at(&mut self, at: Timestamp) -> Option<&mut RunEvents> {
        let exit = self.exit.as_mut().filter(|exit| exit.died_at >= Some(at))?;
        let start = exit.events.start_event.or(exit.started_at);
        let start = start.or(self.previous_end)?;
        (start <= at).then_some(&mut exit.events)
    }

    /// Applies `create`. The container is about to be inspected.
    pub(crate) fn apply_create(&mut self, uptime: Duration) {
        if self.state == RunState::Unknown {
            self.checked_at = Some(uptime);
        }
    }

    /// Applies `attach` or a network's `connect`: a container that never ran is being started.
    pub(crate) fn apply_start_attempt(&mut self, at: Timestamp) {
        if matches!(self.state, RunState::Unknown | RunState::Created(..)) {
            self.state = RunState::Created(StartAttempt::Begun, at);
        }
    }

    /// Records that events were missed: any before now or, if a new daemon came at `daemon_came`, the last of
    /// the previous daemon. A container whose start was attempted may have run in between.
    pub(crate) fn note_gap(&mut self, daemon_came: Option<Timestamp>) {
        let attempted_at = self.exit.as_ref().and_then(|exit| exit.over_by);
        if let ReportState::AwaitsReplay(_, attempt) = self.report {
            let is_known = daemon_came.is_some() && attempt == StartAttempt::Undone;
            let is_before = |at| daemon_came.is_none_or(|came| at < came);
            if !is_known && attempted_at.is_some_and(is_before) {
                (self.exit, self.report) = (None, ReportState::None);
            }
        }
    }

    /// Applies a network's `disconnect`. Returns whether a start may have failed.
    pub(crate) fn apply_disconnect(&mut self, at: Timestamp) -> bool {
        match &mut self.state {
            state @ RunState::Created(StartAttempt::Begun | StartAttempt::Undone, _) => {
                *state = RunState::Created(StartAttempt::Undone, at);
                true
            }
            // After a run, `die` comes before `disconnect`.
            RunState::Over | RunState::Restarting => self.report == ReportState::Reported,
            RunState::Created(..) | RunState::Unknown | RunState::Running(_) => false,
        }
    }

    /// A failed start that only events show, because the container is gone or running since.
    fn inferred_failed_start(&self, at_least: StartAttempt) -> Option<Exit> {
        match self.state {
            RunState::Created(attempt, at) if attempt >= at_least && self.exit.is_none() => {
                Some(Exit {
                    over_by: Some(at),
                    ..Exit::failed_start(None, "")
                })
            }
            _ => None,
        }
    }

    /// Applies `start`. Returns an earlier failed start that nothing else has shown.
    pub(crate) fn apply_start(&mut self, at: Timestamp, uptime: Duration) -> Option<Exit> {
        if self.is_late(at) {
            if let Some(events) = self.exit_events_at(at) {
                events.start_event.get_or_insert(at);
            } else {
                self.late_events = Some(Box::new(RunEvents::since(at)));
                self.split_unseen_run(at, uptime);
            }
            return None;
        }
        let failed = self.inferred_failed_start(StartAttempt::Undone);
        self.events = RunEvents::since(at);
        if let RunState::Running(start) = &mut self.state {
            if start.is_own_start(at) {
                start.latest = start.latest.min(at);
                return None;
            }
        }
        // The first `start` event after an inspect's StartedAt belongs to its run.
        let is_over = self.is_over();
        let mut all = self.pending_dies.iter_mut().filter(|_| is_over);
        if let Some(pending) =
            all.find(|it| !it.has_start_event && it.started_by <= at && at <= it.over_at)
        {
            pending.has_start_event = true;
            if let Some(start) = pending.assumed_start.take() {
                // The other run had ended before.
                self.expect_die(start, at, KnownEnd::Unseen(None, uptime));
            }
            return None;
        }
        self.mark_unseen_end(at, None, uptime);
        for pending in &mut self.pending_dies {
            pending.latest = pending.latest.min(at);
        }
        let mut earliest = None;
        if let Some(exit) = &mut self.exit {
            exit.over_by = exit.over_by.min(Some(at));
            earliest = exit.died_at.or(exit.finished_at);
        }
        if let Some(before) = self.running() {
            let after = shift(before.floor(), SignedDuration::from_nanos(1));
            earliest = earliest.max(Some(after));
        }
        self.state = RunState::Running(RunStart {
            earliest: earliest.unwrap_or(Timestamp::MIN),
            latest: at,
            start_event: Some(at),
            running_at: at,
        });
        failed
    }

    /// Applies `die`. `doubtful` means that the code may come from a Docker label. `duration` is
    /// used if the start is unknown. Returns an exit to report that is no longer the last.
    pub(crate) fn apply_die(
        &mut self,
        at: Timestamp,
        code: Option<i64>,
        doubtful: bool,
        duration: Option<SignedDuration>,
        uptime: Duration,
    ) -> Option<Exit> {
        let is_late = self.is_late(at) || self.is_of_older_run(at);
        let events = if is_late {
            self.late_events
                .take()
                .map_or_else(RunEvents::default, |it| *it)
        } else {
            std::mem::take(&mut self.events)
        };
        let certain = code.filter(|_| !doubtful);
        let known = self.take_pending_die(at, certain);
        match known {
            Some(KnownEnd::Counted) => return None,
            Some(KnownEnd::LastExit) => {
                self.merge_die(at, certain, events, uptime);
                return None;
            }
            Some(KnownEnd::Unseen(..)) | None => {}
        }
        let since_start = events.start_event.map(|start| at.duration_since(start));
        let duration = since_start.or(duration);
        let mut exit = Exit::from_event(code.unwrap_or_default(), at, duration);
        if doubtful || code.is_none() {
            exit.source = Source::DoubtfulEvent;
        }
        exit.events = events;
        exit.classify(self.stop_signal());
        if self.exit.as_ref().is_some_and(|last| last.end() > Some(at)) {
            return Some(exit);
        }
        if !self.is_running() || (known.is_none() && !is_late) {
            self.state = RunState::Over;
        }
        let is_other = |it: &ListedRun| it.stage != Stage::New || it.match_exit(&exit).is_none();
        self.listed = self.listed.filter(is_other);
        self.set_exit(exit, ReportState::AwaitsInspect(uptime))
    }

    /// Takes the run that a `die` event ends. `code` is `None` if it is doubtful.
    fn take_pending_die(&mut self, at: Timestamp, code: Option<i64>) -> Option<KnownEnd> {
        let last = self.exit.as_ref();
        let listed = last.filter(|exit| exit.source == Source::Listing);
        let codes = listed.and_then(|exit| exit.code).zip(code);
        // A listing shows the code of the event, or of a later failed start.
        let differs = codes
            .is_some_and(|(listed, code)| listed != code && !FAILED_START_CODES.contains(&listed));
        let is_other = |it: &PendingDie| it.end == KnownEnd::LastExit && differs;
        let mut all = self.pending_dies.iter();
        let index = all.position(|it| it.matches(at) && !is_other(it));
        let known = index.map(|index| self.pending_dies.remove(index).end);
        for pending in &mut self.pending_dies {
            // The run that the later one was mistaken for has ended.
            pending.assumed_start = pending.assumed_start.filter(|start| *start > at);
            if pending.started_by <= at && (at < pending.earliest || is_other(pending)) {
                // Its `start` event belonged to the run that ends now.
                pending.has_start_event = false;
            }
        }
        known
    }

    /// Applies the `die` event of the last exit. `code` is `None` if it is doubtful.
    fn merge_die(&mut self, at: Timestamp, code: Option<i64>, events: RunEvents, uptime: Duration) {
        let stop_signal = self.stop_signal();
        let Some(exit) = self.exit.as_mut().filter(|exit| !exit.start_failed()) else {
            return;
        };
        if exit.source == Source::Listing && code.is_some() {
            // A later failed start changes the code in the listing.
            (exit.code, exit.source) = (code, Source::Event);
        }
        exit.died_at = Some(at);
        exit.events.merge(events);
        exit.classify(stop_signal);
        if matches!(self.report, ReportState::AwaitsEvent(_)) {
            self.report = match exit.source {
                Source::Inspect => ReportState::Due,
                _ => ReportState::AwaitsInspect(uptime),
            };
        }
    }

    /// A Docker label turned out to hide the code of `die` events.
    pub(crate) fn distrust_code(&mut self) {
        let by_event = |exit: &&mut Exit| exit.source == Source::Event;
        if let Some(exit) = self.exit.as_mut().filter(by_event) {
            exit.source = Source::DoubtfulEvent;
        }
    }

    /// A Docker label turned out to hide the signals of `kill` events.
    pub(crate) fn distrust_signals(&mut self) {
        let exit = self.exit.as_mut().map(|exit| &mut exit.events);
        for events in exit.into_iter().chain([&mut self.events]) {
            events.has_hidden_signal |= events.signals != Signals::default();
            events.signals = Signals::default();
        }
        self.classify();
    }

    /// Applies `stop`. It comes after `die` if a running container was stopped, and alone if the
    /// container was waiting for its restart. If a Docker label hides the signal, it shows that the
    /// stop signal was sent.
    pub(crate) fn apply_stop(&mut self, at: Timestamp) {
        self.restart_cancelled |= self.is_over() && !self.is_late(at);
        if self.state != RunState::Over {
            return;
        }
        let stop_signal = self.stop_signal();
        let exit = self.exit.as_mut().filter(|it| it.died_at <= Some(at));
        if let Some(exit) = exit.filter(|it| it.events.has_hidden_signal) {
            exit.events.kill(Some(stop_signal));
            exit.classify(stop_signal);
        }
    }

    /// Applies a removal, by a `destroy` event or because the container is gone. Returns an exit to
    /// report that is no longer the last.
    pub(crate) fn apply_removal(
        &mut self,
        at: Timestamp,
        uptime: Duration,
        event: bool,
    ) -> Option<Exit> {
        let last = match self.listed {
            Some(listed) if listed.stage == Stage::New => {
                self.inspect_failed(InspectFailure::Gone, uptime, false)
            }
            _ => None,
        };
        self.mark_unseen_end(at, None, uptime);
        // Without a `destroy` event it may have run.
        let at_least = if event {
            StartAttempt::Begun
        } else {
            StartAttempt::Undone
        };
        match (self.state, self.inferred_failed_start(at_least)) {
            (RunState::Created(attempt, _), Some(failed)) => {
                self.state = RunState::Over;
                self.set_exit(failed, ReportState::AwaitsReplay(uptime, attempt))
            }
            (RunState::Running(_), _) => {
                self.state = RunState::Over;
                last
            }
            _ => last,
        }
    }
}
