//! The pure step from a message to its effects. No clock, no socket.
//!
//! Messages are the Engine's responses and events with their time of arrival, and the passing of
//! time. Effects are what to request, publish, log and measure.

mod messages;
mod publishing;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use log::Level;

use crate::config::Config;
use crate::engine::{
    Action, EngineError, EngineInfo, EngineResult, ErrorClass, Info, Inspect, Listing, PastEvents,
    StreamItem,
};
use crate::ledger::{ExitReport, Ledger, Now};

use super::inspects::InspectQueue;
use super::log_line::LogTopic;
pub use super::stream::ENGINE_QUEUE;
use super::stream::{EventStream, StreamRequest};

/// After its process was suspended the core reports no exits for this time: it first reads what it
/// missed.
const RESUME_DELAY: Duration = Duration::from_secs(5);

/// The timeout of one inspect. It is retried.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How far back Podman is asked for past events. It keeps them for ever.
const PODMAN_PAST_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// An input of the core.
#[derive(Debug)]
pub enum Message {
    /// Time has passed.
    Tick,
    /// An item of the event stream.
    StreamItem(StreamItem),
    /// The event stream is closed.
    StreamClosed(EngineError),
    /// The response to a listing that was requested at this time.
    Listed(Now, EngineResult<Listing>),
    /// The response to an inspect of this container that was requested at this time.
    Inspected(Box<str>, Now, EngineResult<Inspect>),
    /// The response to `/info`, and the user id that owns the Engine's socket.
    Info(EngineResult<Info>, Option<u32>),
    /// The Engine's past events.
    PastEvents(EngineResult<PastEvents>),
    /// A scrape was served the text with this revision of the counters.
    Scraped(u64),
}

/// An output of the core.
#[derive(Debug)]
pub enum Effect {
    /// Send a request.
    Request(EngineRequest),
    /// Open an event stream that starts with the past events since this time.
    OpenStream(Timestamp),
    /// Close the event stream.
    CloseStream,
    /// Publish a new text.
    Publish,
    /// Log an exit, which is counted now.
    Report(Box<ExitReport>),
    /// Log a line.
    Log(Level, String),
    /// Update a metric of the exporter itself.
    Measure(MetricUpdate),
}

/// A request to the Engine.
#[derive(Debug)]
pub enum EngineRequest {
    /// List the containers. The response goes into this buffer.
    List(Vec<u8>),
    /// Inspect a container, with this timeout.
    Inspect(Box<str>, Duration),
    /// Get `/info`.
    Info,
    /// Get the past events of all types since this time.
    PastEvents(Timestamp),
}

/// A change of the exporter's own metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricUpdate {
    /// A collection: whether it succeeded, and how long it took.
    Collection(bool, Duration),
    /// The time of the last successful collection.
    LastCollection(Timestamp),
    /// An event.
    Event(Action),
    /// Runs that ended unseen, or one for a gap that may have hidden some.
    Lost(u64),
    /// Whether the event stream is open.
    StreamUp(bool),
    /// The number of workloads, and the total of containers that were not counted.
    Workloads(usize, u64),
    /// Docker labels that were left out of series.
    LabelsLeftOut(u64),
}

/// The state of the collector. All times of type [`Duration`] are uptimes.
#[derive(Debug)]
pub struct Core {
    ledger: Ledger,
    engine: EngineInfo,
    info: InfoState,
    stream: EventStream,
    inspects: InspectQueue,
    /// The problems that have been logged.
    logged: HashSet<LogTopic>,
    interval: Duration,
    next_listing_at: Duration,
    /// When the listing in flight was requested.
    listing_sent_at: Option<Now>,
    /// List again as soon as the listing in flight is answered.
    is_relisting_wanted: bool,
    listing_buffer: Vec<u8>,
    /// The size of the last listing.
    listing_bytes: usize,
    /// The time of the last successful listing.
    last_listing_at: Option<Now>,
    outage: Option<Outage>,
    /// The time of the first successful listing since the start or the last outage.
    up_since: Option<Timestamp>,
    /// How many of the ledger's lost runs (and, in the next field, left-out labels) the metrics include already.
    reported_lost: u64,
    reported_left_out: u64,
    publish_at: Option<Duration>,
    earliest_publish_at: Duration,
    report_at: Option<Duration>,
    reports_paused_until: Duration,
    /// When the last inspect was answered, or when the first text began to wait for one.
    last_inspect_at: Option<Duration>,
    /// A text with containers has been published.
    is_complete: bool,
    /// What the last text was rendered from: up, fresh, the Engine, and the ledger's revision.
    rendered: Option<(bool, bool, EngineInfo, u64)>,
    effects: Vec<Effect>,
}

/// The state of the request for `/info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InfoState {
    /// Due at this uptime.
    Due(Duration),
    /// Due after the next successful listing.
    DueWhenUp,
    InFlight,
    /// Answered, or refused for good.
    Settled,
}

/// A period without a successful listing.
#[derive(Debug)]
struct Outage {
    since: Now,
    /// The error of the last listing.
    error: Arc<EngineError>,
    /// The errors that have been logged. Each class is logged once.
    logged: Vec<ErrorClass>,
}

impl Core {
    /// The core of an exporter that started at this time. `engine_queue` is the number of events that
    /// the Engine keeps for a slow reader: [`ENGINE_QUEUE`].
    #[must_use]
    pub fn new(config: &Config, engine_queue: usize, started: Timestamp) -> Self {
        let filter = config.container_labels.clone();
        Self {
            ledger: Ledger::new(filter, config.retention, started),
            engine: EngineInfo::default(),
            info: InfoState::Due(Duration::ZERO),
            stream: EventStream::new(config.events, engine_queue, started),
            inspects: InspectQueue::default(),
            logged: HashSet::new(),
            interval: config.interval,
            next_listing_at: Duration::ZERO,
            listing_sent_at: None,
            is_relisting_wanted: false,
            listing_buffer: Vec::new(),
            listing_bytes: 0,
            last_listing_at: None,
            outage: None,
            up_since: None,
            reported_lost: 0,
            reported_left_out: 0,
            publish_at: None,
            earliest_publish_at: Duration::ZERO,
            report_at: None,
            reports_paused_until: Duration::ZERO,
            last_inspect_at: None,
            is_complete: false,
            rendered: None,
            effects: Vec::new(),
        }
    }

    /// Handles a message. Returns its effects, in order.
    pub fn step(&mut self, now: Now, message: Message) -> Vec<Effect> {
        if self.stream.note_alive(now) {
            self.reports_paused_until = now.uptime + RESUME_DELAY;
        }
        match message {
            Message::Tick => {}
            Message::StreamItem(item) => self.handle_stream_item(now, item),
            Message::StreamClosed(error) => self.handle_stream_closed(now, &error),
            Message::Listed(sent, result) => self.handle_listing(now, sent, result),
            Message::Inspected(id, sent, result) => self.handle_inspect(now, &id, sent, result),
            Message::Info(result, owner) => self.handle_info(now, result, owner),
            Message::PastEvents(result) => self.handle_past_events(now, result),
            Message::Scraped(revision) => {
                self.ledger.mark_scraped(revision);
                self.publish_soon(now);
            }
        }
        self.send_due_requests(now);
        self.report(now);
        std::mem::take(&mut self.effects)
    }

    /// The uptime at which the core needs a [`Message::Tick`], if no other message comes before.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        let listing_at = if self.listing_sent_at.is_some() || self.is_inspecting_first_listing() {
            Duration::MAX
        } else {
            self.next_listing_at
        };
        let info_at = match self.info {
            InfoState::Due(at) => Some(at),
            InfoState::DueWhenUp | InfoState::InFlight | InfoState::Settled => None,
        };
        // A text that is due will leave stale containers out.
        let shows_containers = self.shows_containers() && self.publish_at.is_none();
        let stale_at = self.stale_at().filter(|_| shows_containers);
        let all = [
            info_at,
            self.stream.wake_at(),
            self.inspects.wake_at(),
            self.ledger.next_expiry(),
            stale_at,
            self.publish_at,
            self.report_at,
        ];
        all.into_iter().flatten().fold(listing_at, Duration::min)
    }

    /// Switches events off, whatever the configuration says.
    pub fn disable_events(&mut self) {
        self.stream = EventStream::new(false, ENGINE_QUEUE, Timestamp::UNIX_EPOCH);
    }

    /// The known containers and exits.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether the first collection is over: a listing has succeeded, and its containers are inspected
    /// and published.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.last_listing_at.is_some() && self.is_complete
    }

    /// Why the Engine cannot be read, if it cannot.
    #[must_use]
    pub fn outage(&self) -> Option<&Arc<EngineError>> {
        self.outage.as_ref().map(|outage| &outage.error)
    }

    /// When the exporter started, by the Engine's clock. If that clock is only known to the second,
    /// the start may have been up to a second later.
    fn started(now: Now) -> Timestamp {
        let uptime = SignedDuration::try_from(now.uptime).unwrap_or_default();
        let uptime = uptime - now.error.min(SignedDuration::from_secs(1));
        now.engine.checked_sub(uptime).unwrap_or(now.engine)
    }

    fn send_due_requests(&mut self, now: Now) {
        if self.stream.has_caught_up(now) {
            self.reopen_stream(now);
        }
        while let Some(request) = self.stream.next_request(now) {
            match request {
                StreamRequest::Open(since) => self.effects.push(Effect::OpenStream(since)),
                StreamRequest::PastEvents => {
                    self.request(EngineRequest::PastEvents(self.past_events_since(now)));
                }
            }
        }
        if matches!(self.info, InfoState::Due(at) if now.uptime >= at) {
            self.info = InfoState::InFlight;
            self.request(EngineRequest::Info);
        }
        if self.listing_sent_at.is_none()
            && !self.is_inspecting_first_listing()
            && now.uptime >= self.next_listing_at
        {
            self.next_listing_at = now.uptime;
            self.listing_sent_at = Some(now);
            let mut buffer = std::mem::take(&mut self.listing_buffer);
            buffer.clear();
            // A listing is about as long as the last one. This saves copies while it grows.
            buffer.reserve(self.listing_bytes + self.listing_bytes / 8);
            self.request(EngineRequest::List(buffer));
        }
        for id in self.inspects.take_refused(now.uptime) {
            self.inspect_failed(now, &id, self.outage.is_none());
        }
        while let Some(id) = self.inspects.next(now.uptime, !self.is_complete) {
            self.request(EngineRequest::Inspect(id, INSPECT_TIMEOUT));
        }
    }

    /// Whether containers of the first listing wait for their inspects. Another listing would only
    /// show them again.
    fn is_inspecting_first_listing(&self) -> bool {
        self.last_listing_at.is_some() && !self.is_complete && self.inspects.is_busy()
    }

    fn past_events_since(&self, now: Now) -> Timestamp {
        let since = now.engine.checked_sub(PODMAN_PAST_WINDOW);
        let is_podman = self.engine.identity.is_podman();
        let since = since.ok().filter(|_| is_podman);
        since.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn reopen_stream(&mut self, now: Now) {
        self.stream.closing(now);
        self.effects.push(Effect::CloseStream);
    }

    fn list_now(&mut self, now: Now) {
        if self.listing_sent_at.is_some() {
            self.is_relisting_wanted = true;
        } else {
            self.next_listing_at = self.next_listing_at.min(now.uptime);
        }
    }

    fn schedule_info(&mut self, at: Duration) {
        if self.info != InfoState::InFlight {
            self.info = InfoState::Due(at);
        }
    }

    fn request(&mut self, request: EngineRequest) {
        self.effects.push(Effect::Request(request));
    }

    fn measure(&mut self, update: MetricUpdate) {
        self.effects.push(Effect::Measure(update));
    }

    /// Logs a problem, unless it has been logged and is not resolved since.
    fn warn_once(&mut self, topic: LogTopic, line: impl Into<String>) {
        if self.logged.insert(topic) {
            self.log(Level::Warn, line);
        }
    }

    fn log(&mut self, level: Level, line: impl Into<String>) {
        self.effects.push(Effect::Log(level, line.into()));
    }
}

#[cfg(test)]
mod tests;
