//! Handles the Engine's responses and events.

use std::time::Duration;

use jiff::SignedDuration;
use log::Level;

use crate::cgroup::Layout;
use crate::engine::{
    Action, EngineError, EngineErrorKind, EngineResult, ErrorClass, Event, Info, Inspect, Listing,
    PastEvents, StreamItem,
};
use crate::ledger::{InspectFailure, InspectPlan, Now, RequestTimes};

use super::super::log_line::LogTopic;
use super::super::stream::Missed;
use super::publishing::GATHER_DELAY;
use super::{Core, InfoState, MetricUpdate};

/// The longest pause after a listing that failed slowly.
const MAX_FAILURE_DELAY: Duration = Duration::from_secs(5);

/// A created container is inspected this long after its `create` event, unless it has started.
const FAILED_START_DELAY: Duration = Duration::from_millis(1500);

/// The pause before `/info` is requested again after a timeout.
const INFO_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The listing buffer is kept if it is not larger than this, or than the second figure for each
/// container. Freeing a usual buffer would fragment the heap, and the next listing would take fresh
/// memory.
const MIN_KEPT_BYTES: usize = 4 * 1024 * 1024;
const KEPT_CONTAINER_BYTES: usize = 2 * 1024;

impl Core {
    pub(super) fn handle_stream_item(&mut self, now: Now, item: StreamItem) {
        match item {
            StreamItem::Opened => {
                let started = Self::started(now);
                if self.last_listing_at.is_none() {
                    self.ledger.set_started(started);
                }
                self.inspects.allow_retries(false);
                let reopened = self.stream.opened(now, started);
                if self.logged.remove(&LogTopic::NoEvents) {
                    self.log(Level::Info, "events are followed again");
                }
                self.measure(MetricUpdate::StreamUp(true));
                if reopened {
                    // It may be another daemon with other settings.
                    self.schedule_info(now.uptime);
                }
                self.list_now(now);
            }
            StreamItem::Event(event) => self.handle_event(now, &event),
            StreamItem::Invalid(why) => {
                self.measure(MetricUpdate::Lost(1));
                let line = format!("a line of the event stream is of no use: {why}");
                self.warn_once(LogTopic::BadEvent, line);
            }
        }
    }

    fn handle_event(&mut self, now: Now, event: &Event) {
        if !self.stream.apply_event(event, now) {
            return;
        }
        self.measure(MetricUpdate::Event(event.action));
        let id = &event.id;
        let next = self.ledger.apply_event(event, now);
        if event.action == Action::Start
            && self.stream.is_replayed(event, self.ledger.started(), now)
        {
            // An earlier run may have ended without an event.
            self.inspects.request(id);
        }
        match next {
            InspectPlan::Unchanged => {}
            InspectPlan::Now => self.inspects.request(id),
            InspectPlan::Soon => {
                let ago = now.engine.duration_since(event.time).unsigned_abs();
                let at = now.uptime + FAILED_START_DELAY.saturating_sub(ago);
                self.inspects.schedule_created(id, at);
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

    pub(super) fn handle_stream_closed(&mut self, now: Now, error: &EngineError) {
        let refused = error.is_refusal();
        self.stream.closed(now, refused);
        self.measure(MetricUpdate::StreamUp(false));
        if refused && self.logged.insert(LogTopic::NoEvents) {
            let line = format!("exits are found by listing alone, since {error}");
            self.log(Level::Warn, line);
        } else {
            self.log(Level::Debug, format!("no events: {error}"));
        }
        if error.class() == ErrorClass::Down && self.outage.is_none() {
            // Notice that a daemon goes down before the next interval.
            self.list_now(now);
        }
    }

    pub(super) fn handle_past_events(&mut self, now: Now, result: EngineResult<PastEvents>) {
        if let Err(error) = &result {
            self.log(Level::Debug, error.to_string());
        }
        let podman = self.engine.identity.is_podman();
        let past_events = result.ok();
        match self.stream.check_gap(past_events.as_ref(), podman, now) {
            Missed::Nothing => {}
            Missed::LastOfOldDaemon => {
                let oldest = past_events.as_ref().and_then(|all| all.oldest);
                self.ledger.note_gap(Some(oldest.unwrap_or(now.engine)));
            }
            Missed::Events => {
                self.measure(MetricUpdate::Lost(1));
                self.ledger.note_gap(None);
                let line = "exits may be lost: the Engine no longer remembers all its events \
                                since the stream broke";
                self.warn_once(LogTopic::LostEvents, line);
            }
        }
        for event in past_events.iter().flat_map(|all| &all.events) {
            self.handle_event(now, event);
        }
        self.publish_soon(now);
    }

    pub(super) fn handle_listing(&mut self, now: Now, sent: Now, result: EngineResult<Listing>) {
        let took = now.uptime.saturating_sub(sent.uptime);
        self.listing_sent_at = None;
        let result = result.and_then(|listing| {
            let applied = self.apply_listing(now, sent, &listing);
            self.listing_bytes = listing.body.len();
            let kept = MIN_KEPT_BYTES.max(KEPT_CONTAINER_BYTES * self.ledger.len());
            if listing.body.capacity() <= kept {
                self.listing_buffer = listing.body;
            }
            applied
        });
        self.measure(MetricUpdate::Collection(result.is_ok(), took));
        // A slow Engine gets a pause as long as its response took. One that hung may be back.
        let pause = match result {
            Ok(()) => took,
            Err(_) => took.min(MAX_FAILURE_DELAY),
        };
        self.next_listing_at = (self.next_listing_at + self.interval).max(now.uptime + pause);
        if std::mem::take(&mut self.is_relisting_wanted) {
            self.next_listing_at = now.uptime;
        }
        match result {
            Ok(()) => {
                self.measure(MetricUpdate::LastCollection(now.engine));
                self.report_recovery(now);
            }
            Err(error) => self.report_outage(now, error),
        }
        // Without inspects nothing else comes that the text could wait for.
        let delay = if self.inspects.is_busy() {
            GATHER_DELAY
        } else {
            Duration::ZERO
        };
        self.publish_after(now, delay);
    }

    fn apply_listing(&mut self, now: Now, sent: Now, listing: &Listing) -> EngineResult<()> {
        let containers = listing.containers()?;
        if self.engine.identity != listing.identity {
            // It is another daemon than the one that answered `/info`.
            if self.last_listing_at.is_some() {
                self.schedule_info(now.uptime);
            }
            self.engine.identity.clone_from(&listing.identity);
            self.ledger.set_podman(listing.identity.is_podman());
        }
        if self.last_listing_at.is_none() {
            self.ledger.set_started(Self::started(now));
            self.last_inspect_at = None;
        }
        self.last_listing_at = Some(now);
        if self.info == InfoState::DueWhenUp {
            self.schedule_info(now.uptime);
        }
        let pending = self
            .ledger
            .apply_listing(&containers, &request_times(sent, now));
        self.inspects.allow_retries(self.outage.is_some());
        for id in &pending.new {
            self.inspects.request_unless_in_flight(id);
        }
        for id in &pending.retry {
            self.inspects.request_unless_pending(id);
        }
        for id in &pending.created {
            self.inspects.schedule_created(id, now.uptime);
        }
        Ok(())
    }

    pub(super) fn handle_inspect(
        &mut self,
        now: Now,
        id: &str,
        sent: Now,
        result: EngineResult<Inspect>,
    ) {
        self.last_inspect_at = Some(now.uptime);
        match result.and_then(|inspect| inspect.parse(id)) {
            Ok(inspected) => {
                self.inspects.answered(id);
                let times = request_times(sent, now);
                self.ledger.apply_inspect(id, &inspected, &times);
            }
            // Removed between listing and inspect, which is no error.
            Err(error) if error.is_not_found() => {
                self.inspects.answered(id);
                self.ledger.inspect_failed(id, InspectFailure::Gone, now);
            }
            Err(error) => {
                if error.is_refusal() || error.is_unreachable() {
                    self.inspects.count_refusal();
                }
                self.inspect_failed(now, id, error.is_refusal());
                // The outage itself is logged already.
                let is_logged = self.outage.is_some() && error.is_unanswered();
                if !is_logged {
                    let line = format!("an exit is shown without time and details, since {error}");
                    self.warn_once(LogTopic::NoInspect, line);
                }
            }
        }
        self.publish_soon(now);
    }

    pub(super) fn inspect_failed(&mut self, now: Now, id: &str, refused: bool) {
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

    pub(super) fn handle_info(&mut self, now: Now, result: EngineResult<Info>, owner: Option<u32>) {
        match result {
            Ok(info) => {
                if self.last_listing_at.is_none() {
                    self.ledger.set_podman(info.podman);
                }
                let layout = Layout::of(&info, owner);
                self.ledger.set_layout(layout);
                if layout.is_none() {
                    let line = "the label id is left out: where this Engine puts the cgroups of its \
                                containers is not known";
                    self.warn_once(LogTopic::NoLayout, line);
                }
                self.engine.info = Some(info);
                self.info = InfoState::Settled;
                if self.logged.remove(&LogTopic::NoInfo) {
                    self.log(Level::Info, "/info is answered again");
                }
            }
            Err(error) if error.is_unreachable() => self.info = InfoState::DueWhenUp,
            Err(error) if error.is_refusal() || matches!(error.kind, EngineErrorKind::Json(_)) => {
                let line = format!("the label id is taken to be /docker/<id>, since {error}");
                self.warn_once(LogTopic::NoInfo, line);
                self.ledger.set_layout(Some(Layout::default()));
                self.engine.info = None;
                self.info = InfoState::Settled;
            }
            // Keep what is known, and guess nothing.
            Err(error) => {
                self.info = InfoState::Due(now.uptime + INFO_RETRY_DELAY);
                self.log(Level::Debug, error.to_string());
            }
        }
        // The next listing relabels the known containers.
        if self.last_listing_at.is_some() {
            self.list_now(now);
        }
        self.publish_soon(now);
    }
}

/// The times of a request and its response, both by the Engine's clock as it is known now.
fn request_times(sent: Now, answered: Now) -> RequestTimes {
    let took = answered.uptime.saturating_sub(sent.uptime);
    let took = SignedDuration::try_from(took).unwrap_or_default();
    let engine = answered.engine.checked_sub(took);
    RequestTimes {
        asked: Now {
            engine: engine.unwrap_or(answered.engine),
            ..sent
        },
        answered,
    }
}
