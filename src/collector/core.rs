//! What decides: a pure step from a message to what is to be done about it. No clock, no socket.
//!
//! Messages are what the Engine says, each with the time at which it came, and the mere passing of
//! time. Effects are what is to be asked, published, logged and counted. When to ask again, when to
//! publish, and when what is known is too old, is decided here.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use log::Level;

use crate::cgroup::Layout;
use crate::config::Config;
use crate::engine::{
    Action, Complaint, EngineInfo, Error, Event, Info, Inspected, Kind, Line, Listing, Remembered,
};
use crate::exposition::{Renderer, Text};
use crate::ledger::{Asking, EventsCome, ExitReport, Ledger, Next, NotInspected, Now};
use crate::page::{Containers, Docker, Host};

use super::inspects::Inspects;
use super::log_line::{Topic, Topics};
pub use super::stream::ENGINE_QUEUE;
use super::stream::{Ask, Missed, Stream};

/// Known containers are shown for so many intervals without a listing that works, and at least for
/// [`STALE_AFTER_AT_LEAST`].
const STALE_AFTER_INTERVALS: u32 = 3;
const STALE_AFTER_AT_LEAST: Duration = Duration::from_secs(45);

/// After a listing that failed, the next may have to wait for so long beyond its interval.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What is new is published after so long, so that the inspect of an exit is published with it.
const GATHER: Duration = Duration::from_millis(10);

/// Nothing is published more often than this, so that a storm of events is gathered.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// Between two publications passes at least so many times as long as the last one took: rendering
/// for events takes no more than a fifth of a core, however many containers there are.
const RENDERING_SHARE: u32 = 4;

/// A process that was stopped for a while reports nothing for so long: what it missed comes first.
const AWAKE: Duration = Duration::from_secs(5);

/// What waits to be reported is looked at again after so long.
const REPORT_AGAIN: Duration = Duration::from_millis(100);

/// The first text waits for the inspects of the first listing, but for no longer than this.
const FIRST_TEXT: Duration = Duration::from_secs(10);

/// Nor longer than this without an answer: an inspect hangs.
const STUCK: Duration = Duration::from_millis(100);

/// One inspect may take so long; it is tried again.
const INSPECT_WITHIN: Duration = Duration::from_secs(3);

/// A created container is inspected so long after its `create` event, unless it was started.
const START_FAILS: Duration = Duration::from_millis(1500);

/// A daemon whose `/info` is late is asked for it again after so long.
const INFO_AGAIN: Duration = Duration::from_secs(5);

/// What comes to the core.
#[derive(Debug)]
pub enum Message {
    /// Time has passed.
    Tick,
    /// The stream of events brings this.
    Stream(Line),
    /// The stream of events is gone.
    Closed(Error),
    /// A listing that was asked for then was answered.
    Listed(Now, Result<Listing, Error>),
    /// An inspect of this container that was asked for then was answered.
    Inspected(Box<str>, Now, Result<Inspected, Error>),
    /// `/info` was answered; with the user that owns the Engine's socket.
    Info(Result<Info, Error>, Option<u32>),
    /// The Engine has told what it remembers.
    Remembered(Result<Remembered, Error>),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// To list the containers, into this buffer.
    List(Vec<u8>),
    /// To inspect a container within so long.
    Inspect(Box<str>, Duration),
    /// To ask for `/info`.
    Info,
    /// To ask for what the Engine remembers of its events since then, of all types.
    Remembered(Timestamp),
    /// To open a stream of events that begins with what was remembered since then.
    Follow(Timestamp),
    /// To end the stream of events.
    HangUp,
    /// To publish what is known.
    Publish,
    /// To log an exit, which is counted now.
    Report(Box<ExitReport>),
    /// To log a line.
    Log(Level, String),
    /// To count or measure something.
    Count(Count),
}

/// What the exporter counts and measures of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Count {
    /// A collection that worked, or did not, and took so long.
    Collection(bool, Duration),
    /// When the last one that worked was answered.
    LastCollection(Timestamp),
    /// An event.
    Event(Action),
    /// Runs that ended unseen, or a gap that may have hidden some.
    Lost(u64),
    /// Whether events come in.
    StreamUp(bool),
    /// How many workloads there are, and how many containers were not counted in all.
    Workloads(usize, u64),
}

/// The state of the collector.
#[derive(Debug)]
pub struct Core {
    ledger: Ledger,
    engine: EngineInfo,
    info: InfoState,
    stream: Stream,
    inspects: Inspects,
    topics: Topics,
    interval: Duration,
    /// When the next listing is due.
    list_at: Duration,
    /// When the listing that is under way was asked for.
    listing: Option<Now>,
    /// Another is due as soon as that is answered.
    list_again: bool,
    buffer: Vec<u8>,
    last_success: Option<Now>,
    outage: Option<Outage>,
    /// The ledger's lost runs that are counted.
    lost: u64,
    publish_at: Option<Duration>,
    published_at: Duration,
    /// The next text is not published before then.
    rest_until: Duration,
    report_at: Option<Duration>,
    quiet_until: Duration,
    /// When the last inspect was answered.
    progress: Duration,
    /// The first text has been published that has containers in it.
    complete: bool,
    rendered: Option<(bool, bool, EngineInfo, u64)>,
    effects: Vec<Effect>,
}

/// Whether `/info` is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InfoState {
    /// It is to be asked for at this uptime.
    Due(Duration),
    /// It is to be asked for as soon as the Engine answers.
    DueWhenUp,
    Asked,
    /// It is known, or refused for good.
    Settled,
}

/// A time without a listing that worked.
#[derive(Debug)]
struct Outage {
    since: Now,
    /// What the last listing failed by.
    why: String,
    /// What was said of it, so that nothing is said twice.
    said: Vec<Complaint>,
}

impl Core {
    /// A core that has not asked for anything yet, of an exporter that started then. The Engine keeps
    /// `queue` events for a reader that is slow: [`ENGINE_QUEUE`].
    #[must_use]
    pub fn new(config: &Config, queue: usize, started: Timestamp) -> Self {
        let filter = config.container_labels.clone();
        Self {
            ledger: Ledger::new(filter, config.retention, started),
            engine: EngineInfo::default(),
            info: InfoState::Due(Duration::ZERO),
            stream: Stream::new(config.events, queue, started),
            inspects: Inspects::default(),
            topics: Topics::default(),
            interval: config.interval,
            list_at: Duration::ZERO,
            listing: None,
            list_again: false,
            buffer: Vec::new(),
            last_success: None,
            outage: None,
            lost: 0,
            publish_at: None,
            published_at: Duration::ZERO,
            rest_until: Duration::ZERO,
            report_at: None,
            quiet_until: Duration::ZERO,
            progress: Duration::ZERO,
            complete: false,
            rendered: None,
            effects: Vec::new(),
        }
    }

    /// Takes in a message at this moment; returns what is to be done, in order.
    pub fn step(&mut self, now: Now, message: Message) -> Vec<Effect> {
        if self.stream.note_alive(now) {
            self.quiet_until = now.uptime + AWAKE;
        }
        match message {
            Message::Tick => {}
            Message::Stream(line) => self.take_line(now, line),
            Message::Closed(error) => self.take_end_of_stream(now, &error),
            Message::Listed(asked, result) => self.take_listing(now, asked, result),
            Message::Inspected(id, asked, result) => self.take_inspect(now, &id, asked, result),
            Message::Info(result, owner) => self.take_info(now, result, owner),
            Message::Remembered(result) => self.take_remembered(now, result),
        }
        self.ask(now);
        self.report(now);
        std::mem::take(&mut self.effects)
    }

    /// The uptime at which a [`Message::Tick`] is wanted, if nothing else comes before.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        let list = if self.listing.is_some() {
            Duration::MAX
        } else {
            self.list_at
        };
        let info = match self.info {
            InfoState::Due(at) => Some(at),
            InfoState::DueWhenUp | InfoState::Asked | InfoState::Settled => None,
        };
        let stale = self.stale_at().filter(|_| self.shows_containers());
        let all = [
            Some(list),
            info,
            self.stream.wake_at(),
            self.inspects.wake_at(),
            self.ledger.next_expiry(),
            stale,
            self.publish_at,
            self.report_at,
        ];
        all.into_iter().flatten().min().unwrap_or(list)
    }

    /// Says that no events will come, whatever was configured.
    pub fn ignore_events(&mut self) {
        self.stream = Stream::new(false, ENGINE_QUEUE, Timestamp::UNIX_EPOCH);
    }

    /// What is known of containers.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether the first collection is over: the containers are listed, and those inspected and
    /// explained that were to be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether a listing has worked.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.last_success.is_some() && self.complete
    }

    /// Why the Engine cannot be read.
    #[must_use]
    pub fn outage(&self) -> Option<&str> {
        self.outage.as_ref().map(|outage| outage.why.as_str())
    }

    /// Has what is known rendered: the text, and what the page shows of the containers unless that is
    /// as it was.
    pub fn render(&mut self, now: Now, renderer: &mut Renderer) -> (Arc<Text>, Option<Containers>) {
        let up = self.last_success.is_some() && self.outage.is_none();
        let fresh = self.complete && self.is_fresh(now);
        if fresh {
            self.ledger.find_superseded();
        }
        let from = (up, fresh, self.engine.clone(), self.ledger.revision());
        let same = self.rendered.as_ref() == Some(&from);
        let text = renderer.render(up, fresh, &self.engine, &self.ledger);
        self.rendered = Some(from);
        let containers = || {
            if fresh {
                Containers::take(&self.ledger)
            } else {
                Containers::default()
            }
        };
        (text, (!same).then(containers))
    }

    /// Takes note that publishing took so long, until now.
    pub fn published(&mut self, now: Now, took: Duration) {
        self.published_at = now.uptime;
        self.rest_until = now.uptime + (took * RENDERING_SHARE).max(PUBLISH_EVERY);
    }

    /// What the page at `/` is to show of the host.
    #[must_use]
    pub fn host(&self) -> Host {
        let docker = match (&self.outage, self.last_success) {
            (Some(outage), _) => Docker::Down {
                since: outage.since.engine,
                why: outage.why.clone(),
            },
            (None, Some(_)) => Docker::Up,
            (None, None) => Docker::NotAsked,
        };
        Host {
            docker,
            version: self.engine.version().to_owned(),
            listed_at: self.last_success.map(|at| at.engine),
        }
    }

    /// When the exporter started, by the Engine's clock. Where that is known by the whole second
    /// alone, it may have been a second later.
    fn started(now: Now) -> Timestamp {
        let ran = SignedDuration::try_from(now.uptime).unwrap_or_default();
        let ran = ran - now.error.min(SignedDuration::from_secs(1));
        now.engine.checked_sub(ran).unwrap_or(now.engine)
    }

    fn take_line(&mut self, now: Now, line: Line) {
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
            Next::Nothing => {}
            Next::Inspect => self.inspects.want(id),
            Next::InspectSoon => {
                let ago = now.engine.duration_since(event.time).unsigned_abs();
                let at = now.uptime + START_FAILS.saturating_sub(ago);
                self.inspects.look_for_failed_start(id, at);
            }
            Next::DoNotInspect => {
                let is_gone = event.action == Action::Destroy;
                if self.inspects.cancel(id, is_gone) {
                    self.ledger.inspect_failed(id, NotInspected::Gone, now);
                }
            }
        }
        self.publish_soon(now);
    }

    fn take_end_of_stream(&mut self, now: Now, error: &Error) {
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

    fn take_remembered(&mut self, now: Now, result: Result<Remembered, Error>) {
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

    fn take_listing(&mut self, now: Now, asked: Now, result: Result<Listing, Error>) {
        let took = now.uptime.saturating_sub(asked.uptime);
        self.listing = None;
        let result = result.and_then(|listing| {
            let listed = self.apply_listing(now, asked, &listing);
            self.buffer = listing.body;
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
        self.publish_soon(now);
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
        }
        self.last_success = Some(now);
        if self.info == InfoState::DueWhenUp {
            self.info_due(now.uptime);
        }
        let times = asking(asked, now);
        let pending = self.ledger.apply_listing(&containers, &times);
        self.inspects.hope(self.outage.is_some());
        for id in &pending.unexplained {
            self.inspects.want_listed(id);
        }
        for id in &pending.created {
            self.inspects.look_for_failed_start(id, now.uptime);
        }
        Ok(())
    }

    fn take_inspect(&mut self, now: Now, id: &str, asked: Now, result: Result<Inspected, Error>) {
        self.progress = now.uptime;
        match result {
            Ok(inspected) => {
                self.inspects.answered(id);
                let times = asking(asked, now);
                self.ledger.apply_inspect(id, &inspected, &times);
            }
            // It went between listing and inspect: no error, and there is nothing more to know.
            Err(error) if error.is_not_found() => {
                self.inspects.answered(id);
                self.ledger.inspect_failed(id, NotInspected::Gone, now);
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

    fn inspect_in_vain(&mut self, now: Now, id: &str, refused: bool) {
        self.inspects.failed(id, now.uptime);
        let why = if refused {
            NotInspected::Refused
        } else {
            NotInspected::Failed
        };
        if !self.ledger.inspect_failed(id, why, now) {
            self.inspects.forget(id);
        }
    }

    fn take_info(&mut self, now: Now, result: Result<Info, Error>, owner: Option<u32>) {
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

    /// Asks for what is due.
    fn ask(&mut self, now: Now) {
        if self.stream.has_caught_up(now) {
            self.revive(now);
        }
        while let Some(ask) = self.stream.ask(now) {
            self.effects.push(match ask {
                Ask::Follow(since) => Effect::Follow(since),
                Ask::Remembered => Effect::Remembered(self.remembered_since(now)),
            });
        }
        if matches!(self.info, InfoState::Due(at) if now.uptime >= at) {
            self.info = InfoState::Asked;
            self.effects.push(Effect::Info);
        }
        if self.listing.is_none() && now.uptime >= self.list_at {
            self.list_at = now.uptime;
            self.listing = Some(now);
            let buffer = std::mem::take(&mut self.buffer);
            self.effects.push(Effect::List(buffer));
        }
        for id in self.inspects.next_in_vain(now.uptime) {
            self.inspect_in_vain(now, &id, self.outage.is_none());
        }
        while let Some(id) = self.inspects.next(now.uptime) {
            self.effects.push(Effect::Inspect(id, INSPECT_WITHIN));
        }
    }

    /// Podman remembers all that ever happened, of which the last hour will do.
    fn remembered_since(&self, now: Now) -> Timestamp {
        let hour = SignedDuration::from_hours(1);
        let podman = self.engine.identity.is_podman();
        let since = now.engine.checked_sub(hour).ok().filter(|_| podman);
        since.unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn revive(&mut self, now: Now) {
        self.stream.ending(now);
        self.effects.push(Effect::HangUp);
    }

    /// Reports and publishes what is due.
    fn report(&mut self, now: Now) {
        if self.ledger.expire(now.uptime) {
            self.publish_soon(now);
        }
        if self.shows_containers() && !self.is_fresh(now) {
            self.publish_soon(now);
        }
        let is_due = |at: Option<Duration>| at.is_some_and(|at| now.uptime >= at);
        if !is_due(self.publish_at) && !is_due(self.report_at) {
            return;
        }
        if now.uptime < self.quiet_until {
            // What came meanwhile is read first.
            self.report_at = Some(self.quiet_until);
        } else if self.stream.is_proving_first() {
            // What the Engine remembers may tell the reason of what has ended since.
            self.report_at = Some(now.uptime + GATHER);
        } else {
            self.report_exits(now);
        }
        if is_due(self.publish_at) && self.may_publish(now) {
            if !self.complete && self.last_success.is_some() {
                self.complete = true;
                self.report_first();
            }
            self.publish_at = None;
            self.effects.push(Effect::Publish);
        }
    }

    fn report_exits(&mut self, now: Now) {
        let events = self.stream.events_come(now);
        for report in self.ledger.report(now, events) {
            self.publish_soon(now);
            // Its event ought to have come.
            let finished = report.exit.ended_without_event();
            if events == EventsCome::Now && finished.is_some_and(|at| self.stream.is_dead(at, now))
            {
                self.revive(now);
            }
            self.effects.push(Effect::Report(Box::new(report)));
        }
        let waits = self.ledger.has_open_reports();
        self.report_at = waits.then(|| now.uptime + REPORT_AGAIN);
        let lost = self.ledger.lost() - self.lost;
        self.lost += lost;
        if lost > 0 {
            self.lose(lost);
            self.publish_soon(now);
            if self.topics.first_time(Topic::LostRuns) {
                let line =
                    format!("{lost} runs of containers ended unseen, so they are not counted");
                self.log(Level::Warn, line);
            }
        }
        let workloads = self.ledger.workloads();
        let count = Count::Workloads(workloads.len(), workloads.dropped());
        self.count(count);
    }

    /// The first text with containers in it waits until they are explained.
    fn may_publish(&mut self, now: Now) -> bool {
        let Some(listed) = self.last_success.filter(|_| !self.complete) else {
            return true;
        };
        let progress = self.progress.max(listed.uptime) + STUCK;
        let waits = (self.inspects.is_busy() && now.uptime < progress)
            || self.info == InfoState::Asked
            || self
                .listing
                .is_some_and(|asked| asked.uptime <= listed.uptime);
        if waits && now.uptime < FIRST_TEXT.max(listed.uptime) {
            self.publish_at = Some(now.uptime + GATHER);
            return false;
        }
        true
    }

    fn publish_soon(&mut self, now: Now) {
        let at = (now.uptime + GATHER).max(self.rest_until);
        self.publish_at.get_or_insert(at);
    }

    fn list_soon(&mut self, now: Now) {
        if self.listing.is_some() {
            self.list_again = true;
        } else {
            self.list_at = self.list_at.min(now.uptime);
        }
    }

    fn info_due(&mut self, at: Duration) {
        if self.info != InfoState::Asked {
            self.info = InfoState::Due(at);
        }
    }

    fn shows_containers(&self) -> bool {
        matches!(self.rendered, Some((_, true, ..)))
    }

    /// When the known containers are too old to be shown, unless a listing works before.
    fn stale_at(&self) -> Option<Duration> {
        let last = self.last_success?;
        Some(last.uptime + stale_after(self.interval))
    }

    fn is_fresh(&self, now: Now) -> bool {
        self.stale_at().is_some_and(|at| now.uptime < at)
    }

    fn report_outage(&mut self, now: Now, error: &Error) {
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            why: String::new(),
            said: Vec::new(),
        });
        outage.why = error.to_string();
        let complaint = error.complaint();
        let (level, line) = if outage.said.contains(&complaint) {
            (Level::Debug, error.to_string())
        } else {
            outage.said.push(complaint);
            let seconds = self.interval.as_secs();
            (
                Level::Warn,
                format!("{error}; trying again every {seconds} s"),
            )
        };
        if self.info == InfoState::Settled {
            self.info = InfoState::DueWhenUp;
        }
        self.log(level, line);
    }

    fn report_recovery(&mut self, now: Now) {
        if let Some(outage) = self.outage.take() {
            let seconds = now.uptime.saturating_sub(outage.since.uptime).as_secs();
            let line = format!("Docker answers, after {seconds} s without it");
            self.log(Level::Info, line);
            self.topics.forget();
        }
    }

    /// The exits from before the start are told in one line.
    fn report_first(&mut self) {
        let total: u64 = self.ledger.states().map(|(_, count)| count).sum();
        let exits = self.ledger.exits().count();
        let failed = self.ledger.exits().filter(|it| it.exit.code != Some(0));
        let line = format!(
            "Docker {} (API {}) has {total} containers; the last run of {exits} is over, \
             of {} with a code other than 0",
            self.engine.version(),
            self.engine.identity.api_version,
            failed.count()
        );
        self.log(Level::Info, line);
    }

    fn lose(&mut self, count: u64) {
        self.count(Count::Lost(count));
    }

    fn count(&mut self, count: Count) {
        self.effects.push(Effect::Count(count));
    }

    fn log(&mut self, level: Level, line: String) {
        self.effects.push(Effect::Log(level, line));
    }
}

/// When something was asked that is answered now. The Engine's clock may not have been known before.
fn asking(asked: Now, answered: Now) -> Asking {
    let took = answered.uptime.saturating_sub(asked.uptime);
    let took = SignedDuration::try_from(took).unwrap_or_default();
    let engine = answered.engine.checked_sub(took);
    Asking {
        asked: Now {
            engine: engine.unwrap_or(answered.engine),
            ..asked
        },
        answered,
    }
}

fn stale_after(interval: Duration) -> Duration {
    (interval * STALE_AFTER_INTERVALS).max(STALE_AFTER_AT_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_containers_stay_for_three_intervals_and_at_least_45_seconds() {
        for (interval, want) in [(1, 45), (15, 45), (16, 48), (60, 180), (86400, 259_200)] {
            let after = stale_after(Duration::from_secs(interval));
            assert_eq!(after.as_secs(), want, "{interval}");
        }
    }
}
