//! Collects from one Engine and publishes the result.
//!
//! The [`core`] decides. One thread owns it, passes it messages, performs the effects it returns, and
//! never waits for the Engine. Other threads do: one follows the events, the workers wait for
//! responses.

pub mod core;
mod inbox;
mod inspects;
mod log_line;
mod stream;
mod workers;

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use log::Level;

use crate::config::Config;
use crate::engine::{Clock, Endpoint, Engine, EngineError, Hangup};
use crate::exposition::Renderer;
use crate::ledger::{ExitReport, Now};
use crate::page::{RowCache, Snapshot};
use crate::publication::{Publication, Published};
use crate::telemetry::Telemetry;

use core::{Core, ENGINE_QUEUE, Effect, EngineRequest, Message, MetricUpdate};
use inbox::Inbox;
use log_line::{ExitLine, ExitLogLimit};
use workers::Workers;

/// The size of the inbox: some 10,000 ordinary events. More wait in the Engine, which drops what it
/// cannot keep.
const MAX_INBOX_BYTES: usize = 16 * 1024 * 1024;

/// A single collection does not wait longer than this for inspects.
const ONCE_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum number of messages taken from the inbox at once.
const MAX_BATCH: usize = 1000;

/// The collector sleeps no longer than this, even if nothing is due.
const MAX_SLEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Collects from one Engine and publishes.
#[derive(Debug)]
pub struct Collector {
    core: Core,
    endpoint: Endpoint,
    follows_events: bool,
    started: Instant,
    /// Time that a single collection has skipped instead of sleeping.
    skipped: Duration,
    renderer: Renderer,
    rows: RowCache,
    exit_log_limit: ExitLogLimit,
    publication: Arc<Publication>,
    telemetry: Telemetry,
}

impl Collector {
    /// A collector that has not sent a request yet.
    #[must_use]
    pub fn new(config: &Config, publication: Arc<Publication>, telemetry: Telemetry) -> Self {
        let endpoint = Endpoint {
            address: config.docker_host.clone(),
            requests: telemetry.engine_requests.clone(),
            clock: Clock::of(&config.docker_host),
        };
        let mut collector = Self {
            core: Core::new(config, ENGINE_QUEUE, endpoint.clock.now()),
            endpoint,
            follows_events: config.events,
            started: Instant::now(),
            skipped: Duration::ZERO,
            renderer: Renderer::default(),
            rows: RowCache::default(),
            exit_log_limit: ExitLogLimit::default(),
            publication,
            telemetry,
        };
        collector.publish();
        collector
    }

    /// Collects for as long as the process lives. `spawn` starts the thread that follows events.
    ///
    /// # Errors
    /// If that thread cannot be started.
    pub fn run<E>(
        mut self,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<(), E>,
    ) -> Result<(), E> {
        let inbox = Arc::new(Inbox::new(MAX_INBOX_BYTES));
        let workers = Workers::new(self.endpoint.clone(), Arc::clone(&inbox));
        let hangup = Hangup::default();
        let (open_stream, since) = mpsc::channel();
        let scraped = Arc::clone(&inbox);
        // Its size is 0, so that a full inbox never blocks an HTTP client.
        self.publication
            .on_scraped(move |revision| scraped.push(Message::Scraped(revision), 0));
        if self.follows_events {
            let (endpoint, inbox) = (self.endpoint.clone(), Arc::clone(&inbox));
            let hangup = hangup.clone();
            spawn(Box::new(move || {
                workers::follow_events(&endpoint, &hangup, &since, &inbox);
            }))?;
        }
        loop {
            let wake_at = Instant::now() + self.time_to_wake();
            let wake_at = workers
                .spawn_if_stuck()
                .map_or(wake_at, |at| at.min(wake_at));
            let messages = inbox.take(MAX_BATCH, wake_at);
            self.log_suppressed_exits();
            for message in messages.into_iter().chain([Message::Tick]) {
                let now = self.now();
                for effect in self.core.step(now, message) {
                    match effect {
                        // The receiver lives as long as this thread.
                        Effect::OpenStream(since) => drop(open_stream.send(since)),
                        Effect::CloseStream => hangup.hang_up(),
                        effect => {
                            if let Some(request) = self.perform(effect) {
                                workers.submit(request, now);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lists once, inspects what is new, and publishes, all on this thread.
    ///
    /// # Errors
    /// If the listing failed.
    pub fn collect(&mut self) -> Result<(), Arc<EngineError>> {
        self.core.disable_events();
        let mut engine = Engine::new(self.endpoint.clone());
        let mut messages = VecDeque::from([Message::Tick]);
        let mut has_listed = false;
        loop {
            let message = messages.pop_front().unwrap_or_else(|| {
                // No response is outstanding, so the core waits for a time: skip to it.
                let wake_at = self.core.wake_at();
                self.skipped += wake_at.saturating_sub(self.now().uptime);
                Message::Tick
            });
            has_listed |= matches!(message, Message::Listed(..));
            for effect in self.core.step(self.now(), message) {
                let is_published = matches!(effect, Effect::Publish);
                if let Some(request) = self.perform(effect) {
                    let is_listing = matches!(request, EngineRequest::List(_));
                    messages.push_back(request.send(&mut engine, &self.endpoint, self.now()));
                    if is_listing && self.follows_events {
                        let all = EngineRequest::PastEvents(jiff::Timestamp::UNIX_EPOCH);
                        messages.push_back(all.send(&mut engine, &self.endpoint, self.now()));
                    }
                }
                // Responses that have come may add to the text.
                let has_more = !messages.is_empty() && self.started.elapsed() < ONCE_TIMEOUT;
                if is_published && has_listed && !has_more {
                    return self.core.outage().cloned().map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Performs an effect, or returns the request that it asks for.
    fn perform(&mut self, effect: Effect) -> Option<EngineRequest> {
        match effect {
            Effect::Request(request) => return Some(request),
            Effect::OpenStream(_) | Effect::CloseStream => {}
            Effect::Publish => self.publish(),
            Effect::Report(report) => self.log_exit(&report),
            Effect::Log(level, line) => log::log!(level, "{line}"),
            Effect::Measure(update) => self.measure(update),
        }
        None
    }

    fn log_exit(&mut self, report: &ExitReport) {
        // One line sums up the exits from before the start.
        let level = if report.is_before_start {
            Level::Debug
        } else {
            Level::Info
        };
        self.log_suppressed_exits();
        let now = self.now().uptime;
        if log::log_enabled!(level) && self.exit_log_limit.allow(now) {
            log::log!(level, "{}", ExitLine(report));
        }
    }

    fn log_suppressed_exits(&mut self) {
        let now = self.now().uptime;
        if let Some(count) = self.exit_log_limit.take_suppressed(now) {
            log::info!("{count} more exits in that second have no line here; they are counted");
        }
    }

    fn measure(&self, update: MetricUpdate) {
        let telemetry = &self.telemetry;
        match update {
            MetricUpdate::Collection(worked, took) => {
                telemetry.count_collection(worked);
                telemetry.collection_duration.set(took.as_secs_f64());
            }
            MetricUpdate::LastCollection(at) => {
                let at = at.as_duration().as_secs_f64();
                telemetry.last_collection.set(at);
            }
            MetricUpdate::Event(action) => telemetry.count_event(action),
            MetricUpdate::Lost(count) => telemetry.events_lost.inc_by(count),
            MetricUpdate::StreamUp(up) => {
                telemetry.event_stream_up.set(up.into());
                telemetry.event_stream_connects.inc_by(up.into());
            }
            MetricUpdate::LabelsLeftOut(count) => telemetry.labels_dropped.inc_by(count),
            MetricUpdate::Workloads(count, dropped) => {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                telemetry.workloads.set(count);
                let counter = &telemetry.workloads_dropped;
                counter.inc_by(dropped.saturating_sub(counter.get()));
            }
        }
    }

    /// Renders what has changed, and publishes.
    fn publish(&mut self) {
        let start = Instant::now();
        let (text, containers) = self
            .core
            .render(self.now(), &mut self.renderer, &mut self.rows);
        let containers = match containers {
            Some(containers) => Arc::new(containers),
            None => Arc::clone(&self.publication.latest().page.containers),
        };
        self.publication.publish(Published {
            text,
            page: Arc::new(Snapshot {
                host: self.core.host(),
                containers,
                clock: self.endpoint.clock.clone(),
            }),
            ready: self.core.is_ready(),
            unscraped_revision: self.core.ledger().workloads().unscraped_revision(),
        });
        self.core.published(self.now(), start.elapsed());
    }

    /// How long to sleep if no message comes.
    fn time_to_wake(&self) -> Duration {
        let wake_at = self.core.wake_at();
        let log_at = self.exit_log_limit.wake_at().unwrap_or(wake_at);
        let rest = wake_at.min(log_at).saturating_sub(self.now().uptime);
        rest.min(MAX_SLEEP_INTERVAL)
    }

    fn now(&self) -> Now {
        Now {
            uptime: self.started.elapsed() + self.skipped,
            engine: self.endpoint.clock.now(),
            error: self.endpoint.clock.error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineErrorKind;

    #[test]
    fn an_exporter_that_has_run_for_hours_does_not_spin() {
        let config = Config::default();
        let mut collector = Collector::new(&config, Arc::default(), Telemetry::new());
        for hours in [0, 1, 2, 24 * 365] {
            collector.skipped = Duration::from_secs(3600 * hours);
            let now = collector.now();
            let unreachable = || EngineError {
                path: String::new(),
                kind: EngineErrorKind::Unreachable {
                    message: String::new(),
                    cause: std::io::ErrorKind::ConnectionRefused.into(),
                },
            };
            for message in [
                Message::Tick,
                Message::StreamClosed(unreachable()),
                Message::Listed(now, Err(unreachable())),
                Message::Info(Err(unreachable()), None),
            ] {
                collector.core.step(now, message);
            }
            let sleep = collector.time_to_wake();
            assert!(!sleep.is_zero(), "after {hours} hours");
        }
    }
}
