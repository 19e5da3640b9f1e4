//! The loop that owns the ledger: asks the Engine, keeps what it says, publishes the text.

mod events;
mod publish;
mod said;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::cgroup::Layout;
use crate::config::Config;
use crate::engine::{self, Complaint, Engine, EngineInfo};
use crate::exposition::Renderer;
use crate::ledger::{Ledger, NotInspected, Taken};
use crate::publication::Publication;
use crate::queue::Queue;
use crate::telemetry::Telemetry;
use crate::watcher::Message;

use events::{Events, REPEATS_COME};
use publish::Rendered;
use said::{Line, Said};

/// Inspecting may take so long in one collection; what is left waits for the next, shown as far
/// as the listing tells. At the start on a host with 20,000 stopped containers this is what lets
/// the first text out.
const INSPECTING: Duration = Duration::from_secs(10);

/// After so many inspects in a row that got no good answer, the rest waits for the next collection:
/// it is the Engine, or a proxy that refuses them all.
const FAILED_INSPECTS: u32 = 3;

/// Known containers are shown for so many intervals without a listing that works, and at least for
/// [`STALE_AFTER_AT_LEAST`].
const STALE_AFTER_INTERVALS: u32 = 3;
const STALE_AFTER_AT_LEAST: Duration = Duration::from_secs(45);

/// After a listing that failed, the next may have to wait for so long beyond its interval.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What events bring is published at once, but not more often than this, so that a storm of them
/// is gathered.
const GATHER: Duration = Duration::from_millis(50);

/// Between two publications passes at least so many times as long as the last one took: rendering
/// for events takes no more than a fifth of a core, however many containers there are.
const RENDERING_SHARE: u32 = 4;

/// Inspecting what events tell of may put a publication off for so long.
const INSPECTING_FRESH: Duration = Duration::from_millis(50);

/// A daemon whose `/info` hangs is asked for it again after so long: it costs 10 s each time.
const INFO_AGAIN: Duration = Duration::from_secs(300);

/// What is kept back, since its event may come, is looked at again after so long.
const TELL_AGAIN: Duration = Duration::from_millis(250);

/// One of these inspects may take so long; the next listing has it tried again.
const INSPECT_FRESH: Duration = Duration::from_millis(250);

/// What the listing at the beginning of a stream leaves to events is listed once more after so
/// long.
const LIST_AGAIN: Duration = Duration::from_secs(4);

/// Collects from one Engine and publishes.
#[derive(Debug)]
pub struct Collector {
    engine: Engine,
    ledger: Ledger,
    known: EngineInfo,
    /// When `/info` is to be asked for: at the start, after a failure, or when another daemon may
    /// answer; `None` while it is known.
    info_due: Option<Instant>,
    /// What was said already, and is not said again.
    said: Vec<Said>,
    interval: Duration,
    publication: Arc<Publication>,
    telemetry: Telemetry,
    started: Instant,
    last_success: Option<Instant>,
    outage: Option<Outage>,
    events: Events,
    /// Containers whose end was told by an event, to be inspected.
    fresh: Vec<String>,
    /// What the ledger has told to be lost, of which the metric knows.
    lost: u64,
    /// Something is known that is not published.
    dirty: bool,
    renderer: Renderer,
    /// What the published text was rendered from.
    rendered: Option<Rendered>,
    /// The published text has containers in it.
    shows_containers: bool,
    /// Not before then is anything published for events.
    publish_at: Instant,
}

/// A time without a listing that worked.
#[derive(Debug)]
struct Outage {
    since: Instant,
    /// What the last listing failed by.
    why: String,
    /// What was said of it, so that nothing is said twice.
    said: Vec<Complaint>,
}

impl Collector {
    /// A collector that has not asked for anything yet.
    #[must_use]
    pub fn new(config: &Config, publication: Arc<Publication>, telemetry: Telemetry) -> Self {
        let requests = telemetry.engine_requests.clone();
        let mut collector = Self {
            engine: Engine::new(config.docker_host.clone(), requests),
            ledger: Ledger::new(
                config.container_labels.clone(),
                config.retention,
                Timestamp::now(),
            ),
            known: EngineInfo::default(),
            info_due: Some(Instant::now()),
            said: Vec::new(),
            interval: config.interval,
            publication,
            telemetry,
            started: Instant::now(),
            last_success: None,
            outage: None,
            events: Events::new(config.events),
            fresh: Vec::new(),
            lost: 0,
            dirty: false,
            renderer: Renderer::default(),
            rendered: None,
            shows_containers: false,
            publish_at: Instant::now(),
        };
        collector.publish();
        collector
    }

    /// Collects at every interval and takes in what the watcher sends, for as long as the process
    /// lives.
    pub fn run(mut self, messages: &Queue<Message>) -> ! {
        let mut next = Instant::now();
        let mut stream_is_new = false;
        loop {
            if Instant::now() >= next {
                let start = Instant::now();
                // Its error is in the log, once.
                let worked = self.collect().is_ok();
                // A slow Engine gets as long a pause as it took, and events their turn. One that
                // was stuck may have come back.
                let most = if worked { Duration::MAX } else { AFTER_FAILURE };
                let pause = start.elapsed().min(most);
                next = (next + self.interval).max(Instant::now() + pause);
                let is_left = self.ledger.leaves_something_to_events();
                if std::mem::take(&mut stream_is_new) && is_left {
                    // The events of what happened before it may never come.
                    next = next.min(Instant::now() + LIST_AGAIN);
                }
            }
            if self.take_messages(messages, self.wake_at(next)) {
                next = Instant::now();
                stream_is_new = true;
            }
            self.inspect_fresh();
            self.dirty |= self.ledger.expire(self.started.elapsed());
            if self.dirty || self.ledger.keeps_something_back() {
                self.tell();
            }
            let stale = self.shows_containers && !self.is_fresh();
            if stale || (self.dirty && Instant::now() >= self.publish_at) {
                self.publish();
            }
        }
    }

    /// When there is something to do although no message comes.
    fn wake_at(&self, next: Instant) -> Instant {
        let expiry = self
            .ledger
            .next_expiry()
            .map(|uptime| self.started + uptime);
        let stale = self.stale_at().filter(|_| self.shows_containers);
        let publish = self.dirty.then_some(self.publish_at);
        let keeps_back = self.ledger.keeps_something_back();
        let tell = keeps_back.then(|| Instant::now() + TELL_AGAIN);
        let all = [expiry, stale, publish, tell].into_iter().flatten();
        all.fold(next, Instant::min)
    }

    /// Inspects what events told of, as far as that does not put their publication off for long.
    fn inspect_fresh(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.fresh);
        self.inspect(pending, INSPECTING_FRESH, INSPECT_FRESH);
    }

    /// Whether this is to be said, since it was not said yet.
    fn is_news(&mut self, topic: Said) -> bool {
        let is_news = !self.said.contains(&topic);
        if is_news {
            self.said.push(topic);
        }
        is_news
    }

    /// Whether something that was said is over now.
    fn is_over(&mut self, topic: Said) -> bool {
        let before = self.said.len();
        self.said.retain(|it| *it != topic);
        self.said.len() != before
    }

    /// Counts the new exits and says them in the log.
    fn tell(&mut self) {
        let uptime = self.started.elapsed();
        for news in self.ledger.tell(uptime, self.events.come()) {
            self.dirty = true;
            if news.before_the_start {
                log::debug!("{}", Line(&news));
            } else {
                log::info!("{}", Line(&news));
            }
        }
        let workloads = self.ledger.workloads();
        let count = i64::try_from(workloads.len()).unwrap_or(i64::MAX);
        self.telemetry.workloads.set(count);
        let dropped = &self.telemetry.workloads_dropped;
        dropped.inc_by(workloads.dropped() - dropped.get());
        if self.events.wanted {
            self.tell_lost();
        }
    }

    /// When the known containers are too old to be shown, unless a listing works before.
    fn stale_at(&self) -> Option<Instant> {
        let last = self.last_success?;
        Some(last + stale_after(self.interval))
    }

    fn is_fresh(&self) -> bool {
        self.stale_at().is_some_and(|at| Instant::now() < at)
    }

    /// Lists once, inspects what is new, publishes, and says in the log what there is to say.
    ///
    /// # Errors
    /// The Engine's, if there was no listing. What was known stays published until it is stale.
    pub fn collect(&mut self) -> Result<(), engine::Error> {
        let start = Instant::now();
        let result = self.list();
        self.telemetry.collected(result.is_ok());
        if result.is_ok() {
            self.last_success = Some(Instant::now());
            let now = Timestamp::now().as_duration().as_secs_f64();
            self.telemetry.last_collection.set(now);
        } else {
            self.info_due = Some(Instant::now());
        }
        let took = start.elapsed().as_secs_f64();
        self.telemetry.collection_duration.set(took);
        self.report(result.as_ref().err());
        self.tell();
        self.publish();
        result
    }

    fn list(&mut self) -> Result<(), engine::Error> {
        if self.info_due.is_some_and(|due| due <= Instant::now()) {
            self.ask_info()?;
        }
        let asked = self.engine.now();
        let listing = self.engine.list()?;
        let taken = Taken {
            asked,
            answered: listing.answered,
            uptime: self.started.elapsed(),
            events_followed: self.events.followed,
        };
        if self.known.identity != listing.identity {
            // Another daemon than the one whose /info is known answers.
            if self.last_success.is_some() {
                self.info_due = Some(Instant::now());
            }
            self.known.identity = listing.identity;
        }
        if self.last_success.is_none() {
            let ran = SignedDuration::try_from(self.started.elapsed()).unwrap_or_default();
            let started = taken.answered.checked_sub(ran).unwrap_or(taken.answered);
            self.ledger.set_started(started);
        }
        let pending = self.ledger.listed(&listing.containers, taken);
        self.inspect(pending, INSPECTING, engine::limits::INSPECT);
        if self
            .events
            .gap
            .is_some_and(|open| open.elapsed() > REPEATS_COME)
        {
            self.lose_events();
        }
        Ok(())
    }

    /// Asks for `/info`, which is of use but not needed.
    ///
    /// # Errors
    /// If there is no Engine to talk to at all.
    fn ask_info(&mut self) -> Result<(), engine::Error> {
        match self.engine.info() {
            Ok(info) => {
                self.ledger.set_layout(Layout::of(&info));
                self.known.info = Some(info);
                if self.is_over(Said::NoInfo) {
                    log::info!("/info is answered again");
                }
                self.info_due = None;
            }
            Err(error) if error.is_unreachable() => return Err(error),
            // It stays due, and what is known holds.
            Err(error) if self.outage.is_some() && error.is_transport() => log::debug!("{error}"),
            Err(error) => {
                if self.is_news(Said::NoInfo) {
                    log::warn!("the label id is taken to be /docker/<id>, since {error}");
                }
                self.known.info = None;
                // A proxy's word is final; a daemon that was too busy is asked again.
                let again = error.is_transport().then(|| Instant::now() + INFO_AGAIN);
                self.info_due = again;
            }
        }
        Ok(())
    }

    /// Inspects one after the other for as long as `for_all` lasts, each within `for_each`.
    fn inspect(&mut self, pending: Vec<String>, for_all: Duration, for_each: Duration) {
        let deadline = Instant::now() + for_all;
        let mut failed_in_a_row = 0;
        let mut left = pending.into_iter();
        for id in left.by_ref() {
            let asked = self.engine.now();
            match self.engine.inspect(&id, for_each) {
                Ok(inspected) => {
                    let followed = self.events.followed;
                    self.ledger.inspected(&id, &inspected, asked, followed);
                    failed_in_a_row = 0;
                }
                // It went between listing and inspect: no error, and there is nothing more to know.
                Err(error) if error.is_not_found() => {
                    self.ledger.not_inspected(&id, NotInspected::Gone);
                }
                Err(error) => {
                    self.ledger.not_inspected(&id, NotInspected::Failed);
                    // That the Engine does not answer is said already.
                    let is_said = self.outage.is_some() && error.is_transport();
                    if !is_said && self.is_news(Said::NoInspect) {
                        log::warn!("an exit is shown without time and details, since {error}");
                    }
                    failed_in_a_row += 1;
                    if failed_in_a_row == FAILED_INSPECTS || error.is_transport() {
                        break;
                    }
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        for id in left {
            self.ledger.not_inspected(&id, NotInspected::Postponed);
        }
    }

    /// Says what an operator wants to know of a collection, and nothing twice.
    fn report(&mut self, error: Option<&engine::Error>) {
        let now = Instant::now();
        if let Some(error) = error {
            self.events.engine_was_down |= error.is_unreachable();
            let outage = self.outage.get_or_insert(Outage {
                since: now,
                why: String::new(),
                said: Vec::new(),
            });
            outage.why = error.to_string();
            let complaint = error.complaint();
            if outage.said.contains(&complaint) {
                log::debug!("{error}");
            } else {
                outage.said.push(complaint);
                let seconds = self.interval.as_secs();
                log::warn!("{error}; trying again every {seconds} s");
            }
            return;
        }
        if let Some(outage) = self.outage.take() {
            let seconds = now.duration_since(outage.since).as_secs();
            log::info!("Docker answers, after {seconds} s without it");
            self.said.clear();
        }
        if self.telemetry.successes() == 1 {
            self.report_first();
        }
    }

    /// The exits from before the start are told in one line.
    fn report_first(&mut self) {
        let total: u64 = self.ledger.states().map(|(_, count)| count).sum();
        let exits = self.ledger.exits().count();
        let failed = self.ledger.exits().filter(|it| it.exit.code != 0).count();
        log::info!(
            "Docker {} (API {}) has {total} containers; the last run of {exits} is over, \
             of {failed} with a code other than 0",
            self.known.version(),
            self.known.identity.api_version
        );
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
