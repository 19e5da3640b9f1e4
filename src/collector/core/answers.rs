//! What the Engine says, and what is done about it.

use std::time::Duration;

use jiff::SignedDuration;
use log::Level;

use crate::cgroup::Layout;
use crate::engine::{
    Action, Complaint, Error, Event, Info, Inspect, Kind, Line, Listing, Remembered,
};
use crate::ledger::{InspectFailure, InspectPlan, Now, RequestTimes};

use super::super::log_line::Topic;
use super::super::stream::Missed;
use super::publishing::GATHER;
use super::{Core, Count, InfoState};

/// After a listing that failed, the next may have to wait for so long beyond its interval.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A created container is inspected so long after its `create` event, unless it was started.
const START_FAILS: Duration = Duration::from_millis(1500);

/// A daemon whose `/info` is late is asked for it again after so long.
const INFO_AGAIN: Duration = Duration::from_secs(5);

/// The memory of a listing that is kept for the next one, in bytes: for each container as much as usual
/// ones take, and this in any case. What is given back is soon in pieces, and the next listing would take
/// fresh memory.
const KEPT_BUFFER: usize = 4 * 1024 * 1024;
const KEPT_OF_EACH: usize = 2 * 1024;

impl Core {
    pub(super) fn take_line(&mut self, now: Now, line: Line) {
        match line {
            Line::Open => {
                let started = Self::started(now);
                if self.last_success.is_none() {
                    self.ledger.set_started(started);
                }
                self.inspects.hope(false);
                let reopened = self.stream.opened(now, started);
                if self.topics.resolved(Topic::NoEvents) {
                    self.log(Level::Info, "events are followed again".to_owned());
                }
                self.count(Count::StreamUp(true));
                if reopened {
                    // It may be another daemon, with other settings.
                    self.info_due(now.uptime);
                }
                self.list_soon(now);
            }
            Line::Event(event) => self.take_event(now, &event),
            Line::Bad(why) => {
                self.lose(1);
                if self.topics.first_time(Topic::BadEvent) {
                    let line = format!("a line of the event stream is of no use: {why}");
                    self.log(Level::Warn, line);
                }
            }
        }
    }

    fn take_event(&mut self, now: Now, event: &Event) {
        if !self.stream.take(event, now) {
            return;
        }
        self.count(Count::Event(event.action));
        let id = &event.id;
        let next = self.ledger.apply_event(event, now);
        if event.action == Action::Start
            && self.stream.is_repeated(event, self.ledger.started(), now)
        {
            // A run may have ended before it that no event tells of.
            self.inspects.want(id);
        }
        match next {
            InspectPlan::Unchanged => {}
            InspectPlan::Now => self.inspects.want(id),
            InspectPlan::Soon => {
                let ago = now.engine.duration_since(event.time).unsigned_abs();
                let at = now.uptime + START_FAILS.saturating_sub(ago);
                self.inspects.look_for_failed_start(id, at);
            }
            InspectPlan::Cancel => {
                let is_gone = event.action == Action::Destroy;
                if self.inspects.cancel(id, is_gone) {
                    self.ledger.inspect_failed(id, InspectFailure::Gone, now);
                }
            }
        }
        self.publish_soon(now);
    }

    pub(super) fn take_end_of_stream(&mut self, now: Now, error: &Error) {
        let refused = error.is_refusal();
        self.stream.closed(now, refused);
        self.count(Count::StreamUp(false));
        if refused && self.topics.first_time(Topic::NoEvents) {
            let line = format!("exits are found by listing alone, since {error}");
            self.log(Level::Warn, line);
        } else {
            self.log(Level::Debug, format!("no events: {error}"));
        }
        if error.complaint() == Complaint::Down && self.outage.is_none() {
            // A daemon that goes down is to be noticed now, not at the next interval.
            self.list_soon(now);
        }
    }

    pub(super) fn take_remembered(&mut self, now: Now, result: Result<Remembered, Error>) {
        if let Err(error) = &result {
            self.log(Level::Debug, format!("{error}"));
        }
        let podman = self.engine.identity.is_podman();
        let remembered = result.ok();
        let missed = self.stream.prove(remembered.as_ref(), podman, now);
        if missed == Missed::LastOfOldDaemon {
            let oldest = remembered.as_ref().and_then(|all| all.oldest);
            self.ledger.note_gap(Some(oldest.unwrap_or(now.engine)));
        }
        if missed == Missed::Events {
            self.lose(1);
            self.ledger.note_gap(None);
            if self.topics.first_time(Topic::LostEvents) {
                let line = "exits may be lost: the Engine no longer remembers all its events since \
                            the stream broke";
                self.log(Level::Warn, line.to_owned());
            }
        }
        for event in remembered.iter().flat_map(|it| &it.events) {
            self.take_event(now, event);
        }
        self.publish_soon(now);
    }

    pub(super) fn take_listing(&mut self, now: Now, asked: Now, result: Result<Listing, Error>) {
        let took = now.uptime.saturating_sub(asked.uptime);
        self.listing = None;
        let result = result.and_then(|listing| {
            let listed = self.apply_listing(now, asked, &listing);
            self.listing_bytes = listing.body.len();
            // Huge labels make a huge listing.
            let kept = KEPT_BUFFER.max(KEPT_OF_EACH * self.ledger.len());
            if listing.body.capacity() <= kept {
                self.buffer = listing.body;
            }
            listed
        });
        self.count(Count::Collection(result.is_ok(), took));
        if result.is_ok() {
            self.count(Count::LastCollection(now.engine));
        }
        // A slow Engine gets as long a pause as it took. One that was stuck may have come back.
        let most = if result.is_ok() {
            Duration::MAX
        } else {
            AFTER_FAILURE
        };
        self.list_at = (self.list_at + self.interval).max(now.uptime + took.min(most));
        if std::mem::take(&mut self.list_again) {
            self.list_at = now.uptime;
        }
        match result {
            Ok(()) => self.report_recovery(now),
            Err(error) => self.report_outage(now, &error),
        }
        // If nothing is to be inspected, nothing more comes.
        let pause = if self.inspects.is_busy() {
            GATHER
        } else {
            Duration::ZERO
        };
        self.publish_after(now, pause);
    }

    fn apply_listing(&mut self, now: Now, asked: Now, listing: &Listing) -> Result<(), Error> {
        let containers = listing.containers()?;
        if self.engine.identity != listing.identity {
            // Another daemon than the one whose /info is known answers.
            if self.last_success.is_some() {
                self.info_due(now.uptime);
            }
            self.engine.identity.clone_from(&listing.identity);
            self.ledger.set_podman(listing.identity.is_podman());
        }
        if self.last_success.is_none() {
            self.ledger.set_started(Self::started(now));
            self.progress = None;
        }
        self.last_success = Some(now);
        if self.info == InfoState::DueWhenUp {
            self.info_due(now.uptime);
        }
        let times = asking(asked, now);
        let pending = self.ledger.apply_listing(&containers, &times);
        self.inspects.hope(self.outage.is_some());
        for id in &pending.new {
            self.inspects.want_new(id);
        }
        for id in &pending.retry {
            self.inspects.want_listed(id);
        }
        for id in &pending.created {
            self.inspects.look_for_failed_start(id, now.uptime);
        }
        Ok(())
    }

    pub(super) fn take_inspect(
        &mut self,
        now: Now,
        id: &str,
        asked: Now,
        result: Result<Inspect, Error>,
    ) {
        self.progress = Some(now.uptime);
        match result.and_then(|inspect| inspect.of(id)) {
            Ok(inspected) => {
                self.inspects.answered(id);
                let times = asking(asked, now);
                self.ledger.apply_inspect(id, &inspected, &times);
            }
            // It went between listing and inspect: no error, and there is nothing more to know.
            Err(error) if error.is_not_found() => {
                self.inspects.answered(id);
                self.ledger.inspect_failed(id, InspectFailure::Gone, now);
            }
            Err(error) => {
                if error.is_refusal() || error.is_unreachable() {
                    self.inspects.refused();
                }
                self.inspect_in_vain(now, id, error.is_refusal());
                // That the Engine does not answer is said already.
                let is_said = self.outage.is_some() && error.is_transport();
                if !is_said && self.topics.first_time(Topic::NoInspect) {
                    let line = format!("an exit is shown without time and details, since {error}");
                    self.log(Level::Warn, line);
                }
            }
        }
        self.publish_soon(now);
    }

    pub(super) fn inspect_in_vain(&mut self, now: Now, id: &str, refused: bool) {
        self.inspects.failed(id, now.uptime);
        let why = if refused {
            InspectFailure::Refused
        } else {
            InspectFailure::Failed
        };
        if !self.ledger.inspect_failed(id, why, now) {
            self.inspects.forget(id);
        }
        self.publish_soon(now);
    }

    pub(super) fn take_info(&mut self, now: Now, result: Result<Info, Error>, owner: Option<u32>) {
        match result {
            Ok(info) => {
                if self.last_success.is_none() {
                    self.ledger.set_podman(info.podman);
                }
                let layout = Layout::of(&info, owner);
                self.ledger.set_layout(layout);
                if layout.is_none() && self.topics.first_time(Topic::NoLayout) {
                    let line = "the label id is left out: where this Engine puts the cgroups of its \
                                containers is not known";
                    self.log(Level::Warn, line.to_owned());
                }
                self.engine.info = Some(info);
                self.info = InfoState::Settled;
                if self.topics.resolved(Topic::NoInfo) {
                    self.log(Level::Info, "/info is answered again".to_owned());
                }
            }
            Err(error) if error.is_unreachable() => self.info = InfoState::DueWhenUp,
            // What is known holds, and nothing is guessed.
            Err(error) if !(error.is_refusal() || matches!(error.kind, Kind::Json(_))) => {
                self.info = InfoState::Due(now.uptime + INFO_AGAIN);
                self.log(Level::Debug, format!("{error}"));
            }
            Err(error) => {
                if self.topics.first_time(Topic::NoInfo) {
                    let line = format!("the label id is taken to be /docker/<id>, since {error}");
                    self.log(Level::Warn, line);
                }
                self.ledger.set_layout(Some(Layout::default()));
                self.engine.info = None;
                self.info = InfoState::Settled;
            }
        }
        // The labels of known containers come with the next listing.
        if self.last_success.is_some() {
            self.list_soon(now);
        }
        self.publish_soon(now);
    }
}

/// When something was asked that is answered now. The Engine's clock may not have been known before.
fn asking(asked: Now, answered: Now) -> RequestTimes {
    let took = answered.uptime.saturating_sub(asked.uptime);
    let took = SignedDuration::try_from(took).unwrap_or_default();
    let engine = answered.engine.checked_sub(took);
    RequestTimes {
        asked: Now {
            engine: engine.unwrap_or(answered.engine),
            ..asked
        },
        answered,
    }
}
