//! One container: which of its runs are known to have ended, and how.
//!
//! A run is known from its `die` event, from a listing, or from an inspect, in any order, and more
//! than once; it is counted once. What makes that possible is that the Engine makes its events,
//! and answers inspects, under the container's lock: an inspect contains everything that was told
//! by events up to the moment at which it was asked for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cgroup::Layout;
use crate::engine::{Event, Inspected, Labels, Listed, Signals, State};
use crate::labels::{self, Filter};

use super::exit::{Exit, OUT_OF_ORDER, later};
use super::sighting::Sighting;
use super::succession::{Birth, Known, Place};
use super::workloads::Key;
use super::{NotInspected, Taken};

/// A container that cannot be inspected is tried again after at most 2 to the power of so many
/// listings: 16 minutes, if they are taken every 15 seconds.
const LONGEST_PAUSE: u32 = 6;

/// How far a listing may be behind: Docker 20.10 lists a container as running for up to 0.175 s
/// after its `die` event.
const LISTING_LAG: SignedDuration = SignedDuration::from_millis(200);

/// A listing says nothing of a container for so long after its last event, to be on the safe side.
const LISTING_IS_SURE: SignedDuration = SignedDuration::from_secs(1);

/// How far the Engine's clock may be ahead of this host's.
const LATEST_CLOCK: SignedDuration = SignedDuration::from_secs(60);

/// While events are followed, what ended less than this ago is left to its event.
const EVENT_COMES: SignedDuration = SignedDuration::from_secs(3);

/// So many ends are remembered whose event has not come: where events are not followed none ever
/// does, and where they are it is the last one or two.
const WITHOUT_EVENT: usize = 8;

/// SIGTERM, which stops a container that does not name another signal.
const SIGTERM: u8 = 15;

/// What a listing leaves to do for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// All is known.
    Nothing,
    /// What it shows is so young that events know better.
    Event,
    /// To inspect it.
    Inspect,
}

#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) name: Box<str>,
    pub(super) image: Box<str>,
    /// Its Swarm service, or its Compose project and service.
    pub(super) service: Box<str>,
    cgroup_parent: Box<str>,
    /// The labels of its series, rendered once; empty until they are needed.
    pub(super) labels: Box<str>,
    /// What the labels were rendered from still holds.
    labelled: bool,
    /// Its image is known to be that of its configuration.
    configured: bool,
    /// The workload that its exits are counted for; `None` if there are too many.
    pub(super) workload: Option<Key>,
    /// What it holds of a service; `None` if it is of none.
    pub(super) place: Option<Place>,
    /// When it was made.
    pub(super) birth: Birth,
    /// Its labels were seen.
    pub(super) introduced: bool,
    /// It has a Docker label with the name of the attribute that has the code in a `die` event.
    label_hides_code: bool,
    stop_signal: Option<u8>,

    /// Its process is there.
    pub(super) runs: bool,
    /// When its present or last run began, by its event.
    started: Option<Timestamp>,
    /// What was sent to it in its present run, and whether the OOM killer came, by events.
    signals: Signals,
    oom_killed: bool,
    /// How its last run ended.
    pub(super) exit: Option<Exit>,
    /// That was counted and told.
    pub(super) told: bool,
    /// Since which uptime it is kept back, since its event may come and tell more.
    pub(super) kept_back: Option<Duration>,
    /// The last run is inspected next, since its event was seen.
    pub(super) awaits_inspect: bool,
    /// When runs ended that are known, but whose `die` event has not come; and when it was known
    /// to run again, before which that event must have been made.
    without_event: Vec<(Timestamp, Option<Timestamp>)>,
    /// What is known contains all events up to then.
    known_until: Option<Timestamp>,
    pub(super) last_event: Option<Timestamp>,
    /// The last `die` event.
    last_die: Option<Timestamp>,
    /// Since when an exit is left to its event, which has not come.
    left_to_event: Option<Timestamp>,

    sighting: Option<Sighting>,
    /// How often it was inspected in vain since its exit was first seen.
    pub(super) failed_inspects: u32,
    /// The number of the listing that had it last.
    pub(super) listed: u64,
    /// The uptime at which it was first known to be removed.
    pub(super) gone: Option<Duration>,
    /// It is shown no more, and only kept for late events.
    pub(super) buried: bool,
}

impl Container {
    /// Takes in a name, if there is one.
    pub(super) fn rename(&mut self, name: &str) {
        if !name.is_empty() && *name != *self.name {
            self.name = name.into();
            self.labelled = false;
        }
    }

    /// Takes in an image's name: `configured` is the one that it was created from, which no other
    /// replaces.
    pub(super) fn take_image(&mut self, image: &str, configured: bool) {
        if (configured || !self.configured) && !image.is_empty() {
            if *image != *self.image {
                self.image = image.into();
                self.labelled = false;
            }
            self.configured = configured;
        }
    }

    /// Takes in its Docker labels, once.
    pub(super) fn take_labels(&mut self, labels: &Labels) {
        self.label_hides_code = labels.contains_key("exitCode");
    }

    /// Has its series' labels made anew, from the next labels that are seen.
    pub(super) fn forget_labels(&mut self) {
        self.labelled = false;
    }

    /// Renders its labels if they are needed and not what they should be. Those of an event are not
    /// `certain`: what else it tells can hide some. Returns whether they were rendered.
    pub(super) fn label(
        &mut self,
        id: &str,
        labels: impl FnOnce() -> Labels,
        certain: bool,
        layout: Layout,
        filter: &Filter,
    ) -> bool {
        let is_due = !self.labelled && (self.exit.is_some() || self.sighting.is_some());
        if is_due {
            let path = layout.path(&self.cgroup_parent, id);
            let block = labels::block(&path, &self.image, &self.name, &labels(), filter);
            self.labels = block.into();
            self.labelled = certain;
        }
        is_due
    }

    /// What a listing can change of what is shown, but for its labels.
    pub(super) fn outline(&self) -> impl PartialEq + use<> {
        (self.runs, self.workload.is_some(), self.place, self.birth)
    }

    /// Its exit is shown, as one that is the last.
    pub(super) fn is_shown(&self) -> bool {
        self.exit.is_some() && !self.runs
    }

    /// Whether the last event is so young that a listing may not know of it. One from the future is
    /// not: a clock was wrong.
    pub(super) fn is_ahead_of(&self, taken: Taken) -> bool {
        let ago = self
            .last_event
            .map(|event| taken.asked.duration_since(event));
        ago.is_some_and(|ago| -LATEST_CLOCK < ago && ago < LISTING_IS_SURE)
    }

    /// Takes in an event's time.
    pub(super) fn touch(&mut self, at: Timestamp) {
        self.last_event = self.last_event.max(Some(at));
        self.left_to_event = None;
    }

    /// Forgets what is needed only to show it.
    pub(super) fn bury(&mut self) {
        self.buried = true;
        self.labels = Box::default();
        self.labelled = false;
    }

    /// Takes in the Engine's time of day. If it went back, an older event is no repeated one.
    pub(super) fn notice_time(&mut self, now: Timestamp) {
        self.last_die = self.last_die.filter(|at| *at <= later(now, LATEST_CLOCK));
    }

    /// A `start` event.
    pub(super) fn start(&mut self, at: Timestamp) {
        if self.exit.as_ref().and_then(|exit| exit.died_at) > Some(at) {
            return; // It comes out of order: that run is over.
        }
        self.signals = Signals::default();
        self.oom_killed = false;
        if self.known_until >= Some(at) {
            if self.runs {
                self.started.get_or_insert(at);
            }
            return;
        }
        self.runs = true;
        self.started = Some(at);
        self.sighting = None;
        // Their events would have come before this one.
        self.without_event.clear();
    }

    /// A `kill` event.
    pub(super) fn kill(&mut self, signal: u8) {
        self.signals.add(signal);
    }

    /// An `oom` event.
    pub(super) fn oom(&mut self) {
        self.oom_killed = true;
    }

    /// A `die` event. Returns an exit that it puts out of sight before it was told.
    pub(super) fn die(&mut self, event: &Event) -> Option<Exit> {
        let at = event.time;
        let signals = std::mem::take(&mut self.signals);
        let oom_killed = std::mem::take(&mut self.oom_killed);
        if self.last_die >= Some(at) {
            return None; // It is repeated: those of one container come in order.
        }
        self.last_die = Some(at);
        self.without_event
            .retain(|(_, again)| again.is_none_or(|again| at <= again));
        let mut known = self.without_event.iter();
        if let Some(place) = known.position(|(end, _)| *end <= later(at, OUT_OF_ORDER)) {
            let (end, _) = self.without_event.remove(place);
            if let Some(exit) = self.exit.as_mut().filter(|it| it.finished_at == Some(end)) {
                exit.died_at = Some(at);
                exit.signals = signals;
                exit.oom_killed |= oom_killed;
                exit.judge(self.stop_signal.unwrap_or(SIGTERM));
            }
            return None;
        }
        let started = self.started.filter(|started| *started <= at);
        let ran = started.map(|started| at.duration_since(started));
        let ran = ran.or_else(|| event.exec_duration()?.try_into().ok());
        let (code, certain) = event.exit_code();
        let mut exit = Exit::from_event(code.unwrap_or_default(), at, ran);
        exit.code_in_doubt = code.is_none() || (self.label_hides_code && !certain);
        exit.signals = signals;
        exit.oom_killed = oom_killed;
        exit.judge(self.stop_signal.unwrap_or(SIGTERM));
        if self.known_until >= Some(at) {
            // A run before the one that is known.
            let newer = self.exit.as_ref().and_then(|exit| exit.finished_at);
            if !self.runs || newer > Some(at) {
                return Some(exit);
            }
            let runs = self.runs;
            let untold = self.end(exit);
            self.runs = runs;
            return untold;
        }
        self.end(exit)
    }

    /// Makes this its last exit; returns the one before if that was not told yet.
    fn end(&mut self, exit: Exit) -> Option<Exit> {
        let before = self.exit.replace(exit);
        let untold = before.filter(|_| !self.told);
        self.told = false;
        self.runs = false;
        self.awaits_inspect = true;
        self.left_to_event = None;
        self.kept_back = None;
        self.failed_inspects = 0;
        self.sighting = None;
        untold
    }

    /// Forgets how its last run ended, since another has ended that nobody saw; returns it if it was
    /// not told yet.
    pub(super) fn forget_exit(&mut self) -> Option<Exit> {
        self.exit.take().filter(|_| !self.told)
    }

    /// Takes in what a listing says; returns what is to be done next.
    pub(super) fn see(&mut self, listed: &Listed<'_>, taken: Taken) -> Next {
        let status = listed.status;
        if self.is_ahead_of(taken) {
            return Next::Event;
        }
        match status.state {
            Some(State::Created) => {
                self.sighting = None;
                self.inspect_if(true)
            }
            Some(state) if state.is_over() => {
                let now = Sighting::new(status, taken);
                let again = self.sighting.and_then(|before| now.after(&before));
                let again = again.or_else(|| {
                    let exit = self.exit.as_ref().filter(|_| !self.runs);
                    exit.and_then(|exit| now.of(exit))
                });
                if again.is_none() {
                    let young = now
                        .ended
                        .is_some_and(|(_, latest)| taken.asked < later(latest, EVENT_COMES));
                    if taken.events_followed && young && self.leave_to_event(taken.asked) {
                        return Next::Event;
                    }
                    self.failed_inspects = 0;
                } else {
                    self.left_to_event = None;
                }
                let sighting = *self.sighting.insert(again.unwrap_or(now));
                self.inspect_if(!sighting.settled)
            }
            Some(_) => {
                if !self.runs {
                    self.runs = true;
                    self.started = None;
                    self.know_from(taken.asked);
                    for (_, again) in &mut self.without_event {
                        again.get_or_insert(taken.asked);
                    }
                }
                self.sighting = None;
                self.left_to_event = None;
                Next::Nothing
            }
            None => Next::Nothing,
        }
    }

    /// A listing that tells something new contains the events up to a moment before it.
    fn know_from(&mut self, asked: Timestamp) {
        let known = asked.checked_sub(LISTING_LAG).ok();
        self.known_until = self.known_until.max(known);
    }

    /// Leaves an exit to its event, but not for long: a stream can be dead without a sign.
    pub(super) fn leave_to_event(&mut self, now: Timestamp) -> bool {
        now < later(*self.left_to_event.get_or_insert(now), EVENT_COMES)
    }

    /// Takes in an inspect that was asked for at this time; returns an exit that it puts out of
    /// sight before it was told.
    pub(super) fn inspected(
        &mut self,
        inspected: &Inspected,
        asked: Timestamp,
        events_followed: bool,
    ) -> Option<Exit> {
        if let Some(image) = &inspected.image {
            self.take_image(image, true);
        }
        if inspected.cgroup_parent != *self.cgroup_parent {
            self.cgroup_parent = inspected.cgroup_parent.as_str().into();
            self.labelled = false;
        }
        self.birth.learn(inspected.created, Known::Exactly);
        self.stop_signal = inspected.stop_signal.or(self.stop_signal);
        self.failed_inspects = 0;
        self.awaits_inspect = false;
        if inspected.runs() && self.sighting.is_none() {
            // It runs again since its event; the end of the run before is all that is left of it.
            let ended = self.exit.as_mut().filter(|exit| !exit.inspected);
            if let Some(exit) = ended.filter(|exit| exit.died_at >= inspected.finished_at) {
                exit.finished_at = inspected.finished_at.or(exit.finished_at);
                exit.restart_count = inspected.restart_count;
                exit.judge(self.stop_signal.unwrap_or(SIGTERM));
            }
            return None;
        }
        let listed_code = self.sighting.and_then(|sighting| sighting.code);
        let Some(exit) = Exit::from_inspect(listed_code, inspected) else {
            if inspected.state == Some(State::Created) {
                self.exit = None;
            }
            return None;
        };
        if !inspected.runs() && self.last_event <= Some(asked) {
            self.runs = false;
        }
        let was_known = self.sighting.is_none_or(|sighting| sighting.known);
        if let Some(sighting) = &mut self.sighting {
            // While it runs, not all is known of the run that the listing showed.
            sighting.settled = !inspected.runs();
            sighting.known = true;
            if let Some(finished) = exit.finished_at {
                sighting.narrow(finished);
            }
        }
        let began = inspected.started_at.filter(|_| !inspected.runs());
        if let Some(known) = &mut self.exit {
            // An exit of which only the code is known is told apart by what was seen of it.
            let has_times = known.inspected || known.finished_at.is_some();
            let may_be_it = has_times || (was_known && !self.runs);
            if may_be_it && known.is_of_the_run(&exit, began) {
                known.learn(exit);
                known.judge(self.stop_signal.unwrap_or(SIGTERM));
                return None;
            }
        }
        let young = exit
            .finished_at
            .is_some_and(|finished| asked < later(finished, EVENT_COMES));
        let ahead = self.last_event > Some(asked);
        if (ahead || (events_followed && young)) && self.leave_to_event(asked) {
            // Its event comes. If it does not, the next listing shows it again.
            self.sighting = None;
            return None;
        }
        let sighting = self.sighting;
        self.expect_event(exit.finished_at);
        let untold = self.end(exit);
        self.sighting = sighting;
        self.awaits_inspect = false;
        self.runs = inspected.runs();
        self.known_until = self.known_until.max(Some(asked));
        untold
    }

    /// Takes in that it could not be inspected: what its event or the listing tells must do.
    /// Returns an exit that this puts out of sight before it was told.
    pub(super) fn not_inspected(&mut self, why: NotInspected) -> Option<Exit> {
        let failed_inspects = self.failed_inspects + u32::from(why == NotInspected::Failed);
        self.failed_inspects = failed_inspects;
        self.awaits_inspect = false;
        let sighting = self.sighting.as_mut()?;
        sighting.settled = why == NotInspected::Gone;
        if std::mem::replace(&mut sighting.known, true) {
            return None;
        }
        let sighting = *sighting;
        let exit = Exit::from_code(sighting.code?);
        self.know_from(sighting.asked);
        // A run that may have ended then began before.
        self.known_until = self.known_until.max(sighting.ended.map(|ended| ended.1));
        self.expect_event(sighting.ended.map(|ended| ended.0));
        let untold = self.end(exit);
        self.sighting = Some(sighting);
        self.failed_inspects = failed_inspects;
        self.awaits_inspect = false;
        untold
    }

    /// Remembers that a run ended whose event may come yet.
    fn expect_event(&mut self, end: Option<Timestamp>) {
        if self.without_event.len() == WITHOUT_EVENT {
            self.without_event.remove(0);
        }
        self.without_event.extend(end.map(|end| (end, None)));
    }

    /// An inspect if one is needed and it is its turn in this listing: after each inspect in vain,
    /// half as often, since one that hangs holds up the others.
    fn inspect_if(&self, needed: bool) -> Next {
        let every = 1 << self.failed_inspects.min(LONGEST_PAUSE);
        if needed && self.listed % every == 0 {
            Next::Inspect
        } else {
            Next::Nothing
        }
    }
}
