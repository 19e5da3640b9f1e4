//! The runs of one container: which are known, and which of them a piece of evidence is of.
//!
//! A run is named by its `StartedAt`: the same in every inspect of one run, another in the next. The
//! Engine sets it, and makes its events, under the container's lock (moby `daemon/start.go`,
//! `daemon/monitor.go`), so that for each run
//!
//! ```text
//! StartedAt ≤ `start` event ≤ `die` event < StartedAt of the next run
//! ```
//!
//! and an inspect contains all that was told by events up to the moment at which it was answered. By
//! that order evidence is of a known run, of a newer one, or of an older one. Evidence that a run is
//! over may come before its `die` event; such runs are [`Awaited`], so that the event counts nothing
//! twice, and its absence is noticed.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Inspected, Signals, State, Status};

use super::exit::{Course, Exit, FAILED_START, SIGTERM, Source, later, refused_start};
use super::sighting::{Seen, Sighting, Stage};
use super::tolerance::{DIE_AFTER_END, LISTING_BEHIND, OUT_OF_ORDER, START_AFTER_LISTING};
use super::{Asking, NotInspected};

/// So many runs are remembered whose `die` event has not come: where events are not followed none
/// ever does, and where they are it is the last one or two.
const MAX_AWAITED: usize = 8;

/// A created container is inspected so often, since no event tells of a start that failed.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The `die` event of a run whose order to others is forgotten, since the Engine's clock went back.
pub(super) const FORGOTTEN: Option<Timestamp> = Some(Timestamp::MIN);

/// What is known of one container's runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    life: Life,
    /// How the last run ended that is known to have ended.
    exit: Option<Exit>,
    pub(super) report: Report,
    awaited: Vec<Awaited>,
    /// What events tell of the present run.
    course: Course,
    /// The same of an older run, whose events come late and out of order.
    late: Option<Box<Course>>,
    /// When the run before the last exit's ended.
    before: Option<Timestamp>,
    /// The newest event.
    newest: Option<Timestamp>,
    /// The uptime at which that came.
    newest_came: Duration,
    sighting: Option<Sighting>,
    stop_signal: Option<u8>,
    /// When it was last to be inspected for a start that failed.
    looked: Option<Duration>,
    /// When an inspect was asked for that has shown it running last.
    inspected: Option<Duration>,
    /// When it seemed to be removed.
    gone: Option<Timestamp>,
    /// Something has told of it since the exporter's start.
    pub(super) read: bool,
    /// Runs that ended unseen, of which the ledger was not told yet.
    pub(super) lost: u32,
}

/// What the container does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    #[default]
    Unknown,
    Created(Tried, Timestamp),
    Running(Began),
    Over {
        /// It waits to be restarted, says an inspect.
        waits: bool,
    },
}

/// Whether someone tried to start a container that never ran.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tried {
    #[default]
    No,
    /// Its output was attached, or it was connected to a network.
    Yes,
    /// It was disconnected from the network again.
    InVain,
}

const OVER: Life = Life::Over { waits: false };

/// When a run began, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Began {
    /// Its `StartedAt` lies between these.
    earliest: Timestamp,
    latest: Timestamp,
    /// Its `start` event, if that was seen.
    event: Option<Timestamp>,
    /// It was seen to run then, so its `start` event was made before.
    seen: Timestamp,
}

/// How far the last exit is reported: counted, and said in the log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// There is none to report.
    #[default]
    Nothing,
    /// Its inspect may tell the reason; since this uptime.
    AwaitsInspect(Duration),
    /// Its `die` event may tell the reason; since this uptime.
    AwaitsEvent(Duration),
    /// Missed events may tell otherwise; since this uptime.
    AwaitsProof(Duration, Tried),
    /// It is to be reported now.
    Due,
    /// It was.
    Reported,
}

/// A run that is over, and whose `die` event has not come.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    /// It had begun by then.
    began: Timestamp,
    /// Its `die` event is made between these.
    from: Timestamp,
    until: Timestamp,
    /// It was over by then, so its `start` event was made before.
    seen: Timestamp,
    /// Its `start` event has come.
    started: bool,
    /// The `start` event of the run that it was taken for, by a listing.
    taken_for: Option<Timestamp>,
    what: Ended,
}

/// What is known of an awaited run's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is the last exit.
    Last,
    /// It is counted, and another has ended since.
    Counted,
    /// Nothing but, perhaps, when; since this uptime.
    Unseen(Option<Timestamp>, Duration),
}

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

/// What a listing leaves to do for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Nothing,
    /// To inspect it, since what the listing shows is not explained.
    Inspect,
    /// To inspect it now and then, since no listing tells of a start that failed.
    LookForFailedStart,
}

impl Began {
    fn exactly(started_at: Timestamp, seen: Timestamp) -> Self {
        Self {
            earliest: started_at,
            latest: started_at,
            event: None,
            seen,
        }
    }

    /// Where a run with this `StartedAt` stands to this one.
    fn cmp(&self, started_at: Timestamp) -> Ordering {
        if started_at < self.earliest {
            Ordering::Less
        } else if started_at > self.latest {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// The last moment that is known to be before its end.
    fn floor(&self) -> Timestamp {
        self.event.unwrap_or(self.earliest)
    }

    /// Whether a `start` event that was made then is this run's.
    fn takes_start(&self, at: Timestamp) -> bool {
        self.event.is_none() && self.earliest <= at && at <= self.seen
    }
}

impl Awaited {
    fn takes(&self, died: Timestamp) -> bool {
        self.from <= died && died <= self.until
    }
}

impl Runs {
    /// Its process is there.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// How the last run ended that is known to have ended.
    pub(super) fn exit(&self) -> Option<&Exit> {
        self.exit.as_ref()
    }

    /// Whether its series' labels are needed.
    pub(super) fn has_something_to_show(&self) -> bool {
        self.exit.is_some() || self.sighting.is_some()
    }

    /// When its newest event was made.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Whether something of it is not reported yet.
    pub(super) fn is_open(&self) -> bool {
        self.waits()
            || self
                .awaited
                .iter()
                .any(|it| matches!(it.what, Ended::Unseen(..)))
    }

    /// Whether its last exit is not reported yet.
    pub(super) fn waits(&self) -> bool {
        !matches!(self.report, Report::Nothing | Report::Reported)
    }

    /// Whether only an inspect can tell the last exit's code, whether it ran at all, what the signal
    /// meant that came before, or, on Podman, that it was the OOM killer.
    pub(super) fn needs_inspect(&self, podman: bool) -> bool {
        self.exit.as_ref().is_some_and(|exit| {
            let signal = self.stop_signal.is_none() && exit.course.signals != Signals::default();
            let killed = podman && exit.code != Some(0) && exit.source != Source::Inspect;
            let listed = exit.source == Source::Listing && !self.is_running();
            exit.is_doubtful() || listed || ((signal || killed) && !exit.was_asked_for())
        })
    }

    /// Whether its last exit is to be inspected.
    pub(super) fn awaits_inspect(&self) -> bool {
        matches!(self.report, Report::AwaitsInspect(_))
    }

    /// Takes note that its last exit was reported.
    pub(super) fn reported(&mut self) {
        if matches!(self.report, Report::AwaitsProof(..)) {
            self.exit = None; // There is nothing that it could be shown with.
        }
        self.report = Report::Reported;
    }

    fn stop_signal(&self) -> u8 {
        self.stop_signal.unwrap_or(SIGTERM)
    }

    /// Whether its events say better what a listing says of it that was asked for at this uptime.
    pub(super) fn is_ahead_of(&self, times: &Asking) -> bool {
        let after = later(times.asked.engine, -LISTING_BEHIND);
        self.newest
            .is_some_and(|at| at > after || self.newest_came >= times.asked.uptime)
    }

    /// Takes note of an event that was made then, after the exporter's start; it may be of an attempt to
    /// start the container.
    pub(super) fn note_told(&mut self, at: Timestamp, attempt: bool) {
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
    pub(super) fn note_event(&mut self, at: Timestamp, came: Duration) {
        if self.is_late(at) {
            self.classify();
        }
        self.newest = self.newest.max(Some(at));
        self.newest_came = came;
    }

    /// Forgets the order of what was, since the Engine's clock went back behind it.
    pub(super) fn forget_order_after(&mut self, now: Timestamp) {
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
    pub(super) fn course_at(&mut self, at: Timestamp) -> &mut Course {
        let is_late = self.is_late(at) || self.follows_older(at);
        let of_exit = is_late && self.late.is_none() && self.course_of_exit(at).is_some();
        let course = match self.exit.as_mut().filter(|_| of_exit) {
            Some(exit) => &mut exit.course,
            None if is_late => self.late.get_or_insert_default(),
            None => &mut self.course,
        };
        course.latest = course.latest.max(Some(at));
        course
    }

    /// The course of the last exit's run, if an event of this time belongs to it.
    fn course_of_exit(&mut self, at: Timestamp) -> Option<&mut Course> {
        let exit = self.exit.as_mut().filter(|exit| exit.died_at >= Some(at))?;
        let began = exit.course.started.or(exit.began).or(self.before);
        began
            .is_some_and(|began| began <= at)
            .then_some(&mut exit.course)
    }

    /// What events told of a run before a late `die` event of this time. What was taken to be of the
    /// last exit's run, and came before, was of this one.
    fn take_late_course(&mut self, at: Timestamp) -> Course {
        if let Some(late) = self.late.take() {
            return *late;
        }
        let of_exit = self
            .course_of_exit(at)
            .filter(|course| course.latest <= Some(at));
        let course = of_exit.map(std::mem::take);
        self.classify();
        course.unwrap_or_default()
    }

    /// Finds the reason of the last exit again, after an event.
    fn classify(&mut self) {
        let stop_signal = self.stop_signal();
        if let Some(exit) = &mut self.exit {
            exit.classify(stop_signal);
        }
    }

    /// It was created, and is about to be inspected.
    pub(super) fn create(&mut self, at: Timestamp, uptime: Duration) {
        if self.life == Life::Unknown && !self.is_late(at) {
            self.life = Life::Created(Tried::No, Timestamp::MIN);
            self.looked = Some(uptime);
        }
    }

    /// Its output was attached, or it was connected to a network: someone tries to start it, if it
    /// was never started.
    pub(super) fn try_start(&mut self, at: Timestamp) {
        match self.life {
            // An event that was made later has come: it had run by then.
            Life::Unknown if self.is_late(at) => {}
            Life::Unknown | Life::Created(..) => self.life = Life::Created(Tried::Yes, at),
            Life::Running(_) | Life::Over { .. } => {}
        }
    }

    /// Events went missing: all that came before, or, of a daemon that is gone, what it told last. If
    /// someone tried to start it, it may have run since.
    pub(super) fn note_gap(&mut self, daemon_came: Option<Timestamp>) {
        let before = |at: Timestamp| daemon_came.is_none_or(|came| at < came);
        if let Life::Created(tried @ Tried::Yes, at) = &mut self.life {
            if before(*at) {
                *tried = Tried::No;
            }
        }
        let tried_at = self.exit.as_ref().and_then(|exit| exit.over_by);
        if let Report::AwaitsProof(_, tried) = self.report {
            let is_known = daemon_came.is_some() && tried == Tried::InVain;
            if !is_known && tried_at.is_some_and(before) {
                (self.exit, self.report) = (None, Report::Nothing);
                self.lost += 1;
            }
        }
    }

    /// It was disconnected from a network; returns whether it may have failed to start.
    pub(super) fn disconnect(&mut self, at: Timestamp) -> bool {
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
    pub(super) fn start(&mut self, at: Timestamp, uptime: Duration) -> Option<Exit> {
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
        self.give_up_code();
        self.course = Course::since(at);
        self.sighting = None;
        if let Life::Running(began) = &mut self.life {
            if began.takes_start(at) {
                began.event = Some(at);
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
        let after = |began| later(began, SignedDuration::from_nanos(1));
        if let Some(exit) = &mut self.exit {
            exit.over_by = exit.over_by.min(Some(at));
            earliest = exit.died_at.or(exit.finished_at).or(exit.began.map(after));
        }
        if let Life::Running(before) = self.life {
            earliest = earliest.max(Some(after(before.floor())));
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
    pub(super) fn die(
        &mut self,
        at: Timestamp,
        code: Option<i64>,
        doubtful: bool,
        ran: Option<SignedDuration>,
        uptime: Duration,
    ) -> Option<Exit> {
        let is_late = self.is_late(at) || self.follows_older(at);
        let course = if is_late {
            self.take_late_course(at)
        } else {
            std::mem::take(&mut self.course)
        };
        // What a listing shows has the code of a start that failed afterwards, or that of the event.
        let shown = self
            .exit
            .as_ref()
            .filter(|exit| exit.source == Source::Listing);
        let shown = shown.and_then(|exit| exit.code);
        let is_other = |it: &Awaited| {
            let differs = |shown| code != Some(shown) && !FAILED_START.contains(&shown);
            it.what == Ended::Last && !doubtful && shown.is_some_and(differs)
        };
        let known = (self.awaited.iter()).position(|it| it.takes(at) && !is_other(it));
        let known = known.map(|place| self.awaited.remove(place).what);
        let stop_signal = self.stop_signal();
        match known {
            Some(Ended::Counted) => return None,
            Some(Ended::Last) => {
                let exit = self.exit.as_mut().filter(|exit| !exit.start_failed());
                if let Some(exit) = exit {
                    if exit.source == Source::Listing && code.is_some() && !doubtful {
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
                return None;
            }
            Some(Ended::Unseen(..)) | None => {}
        }
        for awaited in &mut self.awaited {
            // The end of the run that a later one was taken for.
            awaited.taken_for = awaited.taken_for.filter(|began| *began > at);
            if awaited.began <= at && (at < awaited.from || is_other(awaited)) {
                // The `start` event that was taken for its own was that of this run.
                awaited.started = false;
            }
        }
        let began = match self.life {
            Life::Running(began) if known.is_none() => began.event,
            _ => None,
        };
        let started = course.started.or(began).filter(|started| *started <= at);
        let ran = started.map(|started| at.duration_since(started)).or(ran);
        let mut exit = Exit::from_event(code.unwrap_or_default(), at, ran);
        if doubtful || code.is_none() {
            exit.source = Source::DoubtfulEvent;
        }
        exit.course = course;
        exit.classify(stop_signal);
        if self.exit.as_ref().is_some_and(|last| last.end() > Some(at)) {
            return Some(exit);
        }
        if let Life::Running(began) = self.life {
            if known.is_none() && began.floor() <= at && !is_late {
                self.life = OVER;
            }
        } else {
            self.life = OVER;
        }
        // What a listing has shown was this.
        let is_other = |it: &Sighting| it.stage != Stage::New || it.of(&exit).is_none();
        self.sighting = self.sighting.filter(is_other);
        let last = self.end(exit, Report::AwaitsInspect(uptime));
        if self.is_running() {
            self.give_up_code();
        }
        last
    }

    /// No inspect tells the code of a run after which another has begun.
    fn give_up_code(&mut self) {
        if self.exit.as_ref().is_some_and(Exit::is_doubtful) && self.waits() {
            self.report = Report::Due;
        }
    }

    /// A Docker label turns out to hide the code of `die` events.
    pub(super) fn distrust_code(&mut self) {
        let by_event = |exit: &&mut Exit| exit.source == Source::Event;
        if let Some(exit) = self.exit.as_mut().filter(by_event) {
            exit.source = Source::DoubtfulEvent;
        }
    }

    /// A Docker label turns out to hide what signals were sent.
    pub(super) fn distrust_signals(&mut self) {
        let exit = self.exit.as_mut().map(|exit| &mut exit.course);
        for course in exit.into_iter().chain([&mut self.course]) {
            course.hidden_signal |= course.signals != Signals::default();
            course.signals = Signals::default();
        }
        self.classify();
    }

    /// A `stop` event, which comes after the `die` event of a container that was stopped on request.
    /// It tells more only where a Docker label hides the signal.
    pub(super) fn stop(&mut self, at: Timestamp) {
        if self.life != OVER {
            return; // It was its restart that was called off.
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
    pub(super) fn remove(&mut self, at: Timestamp, uptime: Duration, event: bool) -> Option<Exit> {
        let is_new = |it: Sighting| it.stage == Stage::New;
        let last = if self.sighting.is_some_and(is_new) {
            self.inspect_failed(NotInspected::Gone, uptime, false)
        } else {
            None
        };
        self.end_unseen(at, None, uptime);
        self.gone = Some(at);
        self.sighting = None;
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

    /// It is there all the same.
    pub(super) fn stand(&mut self) {
        if let Some(gone) = self.gone.take() {
            let by_that = |it: &Awaited| matches!(it.what, Ended::Unseen(..)) && it.until == gone;
            self.awaited.retain(|it| !by_that(it));
        }
    }

    /// Whether it was there a moment before a listing was asked for, says an inspect.
    pub(super) fn stood(&self, times: &Asking) -> bool {
        let behind = LISTING_BEHIND.unsigned_abs();
        let inspected = self
            .inspected
            .is_some_and(|at| at + behind > times.asked.uptime);
        inspected && self.is_running()
    }

    /// Takes in what a listing says of it.
    pub(super) fn apply_listing(&mut self, status: Status, times: &Asking) -> Want {
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
        let stop_signal = self.stop_signal();
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
            (Seen::Restarting(_) | Seen::Over(_), life) => {
                let again = self.sighting.and_then(|before| now.after(&before));
                let exit = self.exit.as_ref();
                // Of one without a code a listing shows the end only if nothing runs since.
                let known = exit.filter(|it| !(it.is_doubtful() && self.is_running()));
                let again = again.or_else(|| known.and_then(|exit| now.of(exit)));
                let same = |exit: &&Exit| called_off && exit.code == now.code();
                let known = Sighting {
                    stage: Stage::Known,
                    ..now
                };
                let mut again = again.or_else(|| exit.filter(same).map(|_| known));
                // It shows the exit before the present run.
                let is_behind = matches!(life, Life::Running(_))
                    && exit.is_some_and(|exit| now.of(exit).is_some());
                if now.asked <= self.newest_came || (ahead && is_behind) {
                    return Want::Nothing;
                }
                let by_event = exit.is_some_and(|exit| exit.died_at.is_some());
                let earliest = now.span.map(|(earliest, _)| earliest);
                if ahead && by_event && again.is_none() && earliest <= self.newest {
                    // Events say otherwise, so it is not taken at its word.
                    return Want::Inspect;
                }
                if let Some(again) = &mut again {
                    if is_behind {
                        again.stage = Stage::Known;
                    } else if called_off {
                        again.stage = again.stage.min(Stage::Known);
                    }
                }
                let awaits_inspect = self.awaits_inspect();
                if let (Some(again), Some(exit)) = (again, &mut self.exit) {
                    // A start that failed has changed the code, but not the time.
                    let certain = |code: &i64| !awaits_inspect || !FAILED_START.contains(code);
                    let code = again.code().filter(certain);
                    if exit.is_doubtful() && code.is_some() {
                        exit.learn_code(code, stop_signal);
                        if awaits_inspect && !self.needs_inspect(false) {
                            self.report = Report::Due;
                        }
                    }
                }
                let sighting = *self.sighting.insert(again.unwrap_or(now));
                if sighting.stage == Stage::Settled {
                    Want::Nothing
                } else {
                    Want::Inspect
                }
            }
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

    /// Takes in an inspect; returns an exit that is to be reported and is not, or no longer, the
    /// last.
    pub(super) fn apply_inspect(
        &mut self,
        inspected: &Inspected,
        times: &Asking,
        podman: bool,
    ) -> Option<Exit> {
        self.stop_signal = inspected.stop_signal.or(self.stop_signal);
        if inspected.runs() {
            self.inspected = Some(times.asked.uptime);
        }
        if self.gone < Some(times.asked.engine) {
            self.stand();
        }
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
            // While it runs, not all is known of the run that the listing showed.
            sighting.stage = match (inspected.runs(), sighting.state) {
                (true, Seen::Restarting(_) | Seen::Over(_)) => Stage::Known,
                _ => Stage::Settled,
            };
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
        let listed_code = sighting.and_then(|sighting| sighting.code());
        let never_ran = inspected.state == Some(State::Created)
            || (inspected.started_at.is_none() && listed_code.is_none());
        if never_ran {
            return self.fail_to_start(inspected, answered);
        }
        let mut exit = Exit::from_inspect(listed_code, inspected)?;
        exit.over_by = Some(answered);
        self.over(exit, inspected, times, seen)
    }

    /// It never ran; with a code or an error its start failed.
    fn fail_to_start(&mut self, inspected: &Inspected, answered: Timestamp) -> Option<Exit> {
        let code = inspected.code.unwrap_or_default();
        if code == 0 && inspected.error.is_empty() {
            return None;
        }
        let mut exit = Exit::failed_start(Some(code), &inspected.error);
        exit.over_by = Some(answered);
        exit.restart_count = inspected.restart_count;
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
                if exit.source != Source::Inspect && !exit.start_failed() {
                    exit.finished_at = Some(finished);
                    exit.restart_count = inspected.restart_count;
                }
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
                if let Some(awaited) = self.awaited.last_mut() {
                    awaited.began = Timestamp::MIN;
                }
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
            *waits = inspected.state == Some(State::Restarting);
        }
        match relation {
            Relation::Older => return None,
            Relation::Last => {
                let last = self.exit.as_mut()?;
                match (last.start_failed(), exit.start_failed()) {
                    (false, false) => {
                        // What events told of this run after its end.
                        let own = |late: &mut Box<Course>| late.latest >= exit.began;
                        if let Some(late) = self.late.take_if(own) {
                            last.course.merge(*late);
                        }
                        last.merge_inspect(&exit, stop_signal);
                        self.narrow(exit.began, uptime);
                        return None;
                    }
                    // It is from before that start.
                    (true, false) => return None,
                    // A listing has told of it.
                    (false, true) if last.source == Source::Listing && last.code == exit.code => {
                        exit.old = last.old;
                        *last = exit;
                        return None;
                    }
                    (true, true) if last.is_the_same_failure(&exit) => {
                        last.error = exit.error;
                        return None;
                    }
                    (_, true) => {}
                }
                return self.end(exit, Report::Due);
            }
            Relation::Current => exit.course.merge(self.course),
            // Events have told of its course, and of its start too late or not at all.
            Relation::Newer if self.life == Life::Unknown && self.course.latest >= exit.began => {
                exit.course.merge(self.course);
            }
            Relation::Newer => {}
        }
        let from = exit.began.or(exit.finished_at.map(before));
        let from = from.unwrap_or(Timestamp::MIN);
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

    /// The last exit's run began then, as an inspect tells.
    fn narrow(&mut self, began: Option<Timestamp>, uptime: Duration) {
        let last = self.awaited.iter_mut().find(|it| it.what == Ended::Last);
        let (Some(last), Some(began)) = (last, began) else {
            return;
        };
        last.began = last.began.max(began);
        last.from = last.from.max(began);
        if let Some(before) = last.taken_for.take_if(|started| *started < began) {
            // It was taken for another run, which had ended before.
            self.expect_event(before, began, Ended::Unseen(None, uptime));
        }
    }

    /// Of which run an inspect is that shows this end of one.
    fn relation(&self, ended: &Exit) -> Relation {
        let Some(began) = ended.began else {
            // An Engine that does not tell StartedAt: the same code is the same run.
            let same = self
                .exit
                .as_ref()
                .is_some_and(|last| last.code == ended.code);
            return match self.life {
                Life::Running(_) => Relation::Current,
                _ if same => Relation::Last,
                _ => Relation::Newer,
            };
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
                Ordering::Less if last.died_at == FORGOTTEN => Relation::Newer,
                Ordering::Less => Relation::Older,
                Ordering::Equal => Relation::Last,
                Ordering::Greater => Relation::Newer,
            },
            (None, died) if died == FORGOTTEN => {
                let end = last.finished_at.zip(ended.finished_at);
                let same = end.is_some_and(|(died, end)| {
                    end <= later(died, OUT_OF_ORDER) && died <= later(end, DIE_AFTER_END)
                });
                if same {
                    Relation::Last
                } else {
                    Relation::Newer
                }
            }
            (None, Some(died)) if began > died => Relation::Newer,
            (None, Some(_)) if self.before >= Some(began) => Relation::Older,
            (None, Some(_)) => Relation::Last,
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

    /// Takes in that it could not be inspected: what its event or the listing tells must do.
    /// Returns an exit that is to be reported and is no longer the last.
    pub(super) fn inspect_failed(
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
        if sighting.asked <= self.newest_came && self.newest.is_some() {
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
            self.sighting = None;
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
        let mut taken_for = None;
        if let Life::Running(began) = self.life {
            taken_for = began.event;
            if sighting
                .span
                .is_none_or(|(_, latest)| began.floor() <= latest)
            {
                exit.course.merge(self.course);
                exit.classify(self.stop_signal());
            }
        }
        let latest = sighting.span.map(|(_, latest)| latest);
        exit.over_by = Some(sighting.answered);
        if !exit.start_failed() {
            exit.span = sighting.span;
            exit.over_by = latest.or(exit.over_by);
        }
        self.life = OVER;
        let report = match why {
            NotInspected::Failed => Report::AwaitsInspect(uptime),
            NotInspected::Gone | NotInspected::Refused => Report::AwaitsEvent(uptime),
        };
        let last = self.end(exit, report);
        self.read = true;
        self.expect_event(from, later(sighting.answered, DIE_AFTER_END), Ended::Last);
        if let Some(awaited) = self.awaited.last_mut() {
            let started = latest.map(|latest| later(latest, START_AFTER_LISTING));
            awaited.seen = started.map_or(sighting.answered, |at| at.min(sighting.answered));
            awaited.taken_for = taken_for;
            awaited.began = Timestamp::MIN;
        }
        last
    }

    /// Gives up on runs that ended unseen since `STREAM` or so: each is lost, if it ended after the
    /// exporter's `start`.
    pub(super) fn settle(&mut self, start: Timestamp, is_over: impl Fn(Duration) -> bool) {
        let (mut count, mut last) = (0, None);
        self.awaited.retain(|it| match it.what {
            Ended::Unseen(finished, since) if is_over(since) => {
                count += u32::from(finished.unwrap_or(it.until) >= start);
                last = last.max(Some((finished.unwrap_or(it.until), finished)));
                false
            }
            _ => true,
        });
        self.lost += count;
        let Some((at, finished)) = last else { return };
        if self.exit.as_ref().is_none_or(|exit| is_before(exit, at)) {
            self.exit = Some(Exit::unseen(finished, at));
            self.report = Report::Reported;
        }
    }

    /// Whether a run ended unseen, about which an inspect may tell when.
    pub(super) fn ended_unseen(&self) -> bool {
        let unseen = |it: &Awaited| matches!(it.what, Ended::Unseen(None, _));
        self.is_running() && self.awaited.iter().any(unseen)
    }

    /// Makes this the last exit; returns the one before if that was not reported yet.
    fn end(&mut self, mut exit: Exit, report: Report) -> Option<Exit> {
        exit.old = !self.read;
        for awaited in &mut self.awaited {
            if awaited.what == Ended::Last {
                awaited.what = Ended::Counted;
            }
        }
        let last = self.exit.replace(exit);
        let ended = |last: &Exit| last.died_at.or(last.finished_at);
        self.before = last.as_ref().and_then(ended).or(self.before);
        let open = self.waits();
        self.report = report;
        last.filter(|_| open)
    }

    /// Takes note that a run that was known to run has ended before this time, unseen.
    fn end_unseen(&mut self, until: Timestamp, finished: Option<Timestamp>, uptime: Duration) {
        if let Life::Running(began) = self.life {
            self.expect_event(began.floor(), until, Ended::Unseen(finished, uptime));
            if let Some(awaited) = self.awaited.last_mut() {
                awaited.started = began.event.is_some();
            }
        }
    }

    /// Another run has begun. What events told of the one before is kept for its `die` event.
    fn supersede(&mut self, began: Began) {
        self.late = Some(Box::new(std::mem::take(&mut self.course)));
        self.life = Life::Running(began);
    }

    /// A late `start` event among runs that ended unseen: what began before it has ended before it.
    fn split_unseen(&mut self, at: Timestamp, uptime: Duration) {
        let last = self.exit.as_ref().and_then(Exit::end);
        let ends = [self.before, last].into_iter().flatten();
        let ended = ends.filter(|end| *end < at).max();
        let awaited = self
            .awaited
            .iter_mut()
            .find(|it| matches!(it.what, Ended::Unseen(..)) && it.began < at && at <= it.until);
        if let Some(awaited) = awaited {
            let began = std::mem::replace(&mut awaited.began, at);
            awaited.from = awaited.from.max(at);
            // The first `start` event is its own.
            if std::mem::replace(&mut awaited.started, true)
                && began > Timestamp::MIN
                && ended.is_none_or(|ended| ended <= began)
            {
                self.expect_event(began, at, Ended::Unseen(None, uptime));
            }
        }
    }

    fn expect_event(&mut self, from: Timestamp, until: Timestamp, what: Ended) {
        if self.awaited.len() == MAX_AWAITED {
            let oldest = self.awaited.remove(0);
            self.lost += u32::from(matches!(oldest.what, Ended::Unseen(..)));
        }
        self.awaited.push(Awaited {
            began: from,
            from,
            until,
            seen: until,
            started: false,
            taken_for: None,
            what,
        });
    }
}

/// The first moment at which the `die` event of a run can be made that ended then.
fn before(finished: Timestamp) -> Timestamp {
    later(finished, -OUT_OF_ORDER)
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

/// Whether an exit is of a run that ended before this time.
fn is_before(exit: &Exit, at: Timestamp) -> bool {
    exit.end().is_none_or(|end| end < at)
}
