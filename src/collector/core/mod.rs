//! What decides: a pure step from a message to what is to be done about it. No clock, no socket.
//!
//! Messages are what the Engine says, each with the time at which it came, and the mere passing of
//! time. Effects are what is to be asked, published, logged and counted. When to ask again, when to
//! publish, and when what is known is too old, is decided here.

mod answers;
mod publishing;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use log::Level;

use crate::config::Config;
use crate::engine::{
    Action, Complaint, EngineInfo, Error, Info, Inspect, Line, Listing, Remembered,
};
use crate::ledger::{ExitReport, Ledger, Now};

use super::inspects::Inspects;
use super::log_line::Topics;
pub use super::stream::ENGINE_QUEUE;
use super::stream::{Ask, Stream};

/// A process that was stopped for a while reports nothing for so long: what it missed comes first.
const AWAKE: Duration = Duration::from_secs(5);

/// One inspect may take so long; it is tried again.
const INSPECT_WITHIN: Duration = Duration::from_secs(3);

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
    Inspected(Box<str>, Now, Result<Inspect, Error>),
    /// `/info` was answered; with the user that owns the Engine's socket.
    Info(Result<Info, Error>, Option<u32>),
    /// The Engine has told what it remembers.
    Remembered(Result<Remembered, Error>),
    /// A scrape has taken the text of this revision of the counters.
    Shown(u64),
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
    /// Docker labels that series lack.
    LabelsLeftOut(u64),
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
    /// How long the last listing was.
    listing_bytes: usize,
    last_success: Option<Now>,
    outage: Option<Outage>,
    /// When the first listing worked, since the start or the last outage.
    up_since: Option<Timestamp>,
    /// The ledger's lost runs that are counted.
    lost: u64,
    /// The ledger's labels left out that are counted.
    left_out: u64,
    publish_at: Option<Duration>,
    /// The next text is not published before then.
    rest_until: Duration,
    report_at: Option<Duration>,
    quiet_until: Duration,
    /// When the last inspect was answered, or was first waited for.
    progress: Option<Duration>,
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
            listing_bytes: 0,
            last_success: None,
            outage: None,
            up_since: None,
            lost: 0,
            left_out: 0,
            publish_at: None,
            rest_until: Duration::ZERO,
            report_at: None,
            quiet_until: Duration::ZERO,
            progress: None,
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
            Message::Shown(revision) => {
                self.ledger.mark_scraped(revision);
                self.publish_soon(now);
            }
        }
        self.ask(now);
        self.report(now);
        std::mem::take(&mut self.effects)
    }

    /// The uptime at which a [`Message::Tick`] is wanted, if nothing else comes before.
    #[must_use]
    pub fn wake_at(&self) -> Duration {
        let list = if self.listing.is_some() || self.is_explaining() {
            Duration::MAX
        } else {
            self.list_at
        };
        let info = match self.info {
            InfoState::Due(at) => Some(at),
            InfoState::DueWhenUp | InfoState::Asked | InfoState::Settled => None,
        };
        // Once a text is due, that is what is waited for.
        let shows = self.shows_containers() && self.publish_at.is_none();
        let stale = self.stale_at().filter(|_| shows);
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

    /// When the exporter started, by the Engine's clock. Where that is known by the whole second
    /// alone, it may have been a second later.
    fn started(now: Now) -> Timestamp {
        let ran = SignedDuration::try_from(now.uptime).unwrap_or_default();
        let ran = ran - now.error.min(SignedDuration::from_secs(1));
        now.engine.checked_sub(ran).unwrap_or(now.engine)
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
        if self.listing.is_none() && !self.is_explaining() && now.uptime >= self.list_at {
            self.list_at = now.uptime;
            self.listing = Some(now);
            let mut buffer = std::mem::take(&mut self.buffer);
            buffer.clear();
            // A listing is about as long as the one before: it is not copied while it grows.
            buffer.reserve(self.listing_bytes + self.listing_bytes / 8);
            self.effects.push(Effect::List(buffer));
        }
        for id in self.inspects.next_in_vain(now.uptime) {
            self.inspect_in_vain(now, &id, self.outage.is_none());
        }
        while let Some(id) = self.inspects.next(now.uptime, !self.complete) {
            self.effects.push(Effect::Inspect(id, INSPECT_WITHIN));
        }
    }

    /// Whether the containers of the first listing are being inspected. The next one would show them all
    /// again.
    fn is_explaining(&self) -> bool {
        self.last_success.is_some() && !self.complete && self.inspects.is_busy()
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

#[cfg(test)]
mod tests;
