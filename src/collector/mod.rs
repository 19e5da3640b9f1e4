//! Asks one Engine and publishes what it says.
//!
//! The [`core`] decides. Around it is a thin shell: one thread owns the core, hands it what comes
//! and carries out what it wants done, and never waits for the Engine. Other threads do that: one
//! follows the events, some wait for answers.

mod askers;
pub mod core;
mod inbox;
mod inspects;
mod log_line;
mod stream;

use std::collections::VecDeque;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use log::Level;

use crate::config::Config;
use crate::engine::{Clock, Hangup};
use crate::exposition::Renderer;
use crate::ledger::{ExitReport, Now};
use crate::page::{RowCache, Snapshot};
use crate::publication::{Publication, Published};
use crate::telemetry::Telemetry;

use askers::{Access, Askers, Request};
use core::{Core, Count, ENGINE_QUEUE, Effect, Message};
use inbox::Inbox;
use log_line::{ExitLine, ExitLines};

/// Bytes of messages that may wait for the core: some 10,000 usual events. More wait in the Engine,
/// which drops what is too much for it.
const INBOX_BYTES: usize = 16 * 1024 * 1024;

/// A single collection waits for inspects for no longer than this.
const ONCE_WITHIN: Duration = Duration::from_secs(60);

/// Messages that are taken from the inbox at once.
const BATCH: usize = 1000;

/// Collects from one Engine and publishes.
#[derive(Debug)]
pub struct Collector {
    core: Core,
    access: Access,
    /// Events are wanted.
    events: bool,
    started: Instant,
    /// Time that has been passed over, since nobody waits for it.
    skipped: Duration,
    renderer: Renderer,
    rows: RowCache,
    exit_lines: ExitLines,
    publication: Arc<Publication>,
    telemetry: Telemetry,
}

impl Collector {
    /// A collector that has not asked for anything yet.
    #[must_use]
    pub fn new(config: &Config, publication: Arc<Publication>, telemetry: Telemetry) -> Self {
        let access = Access {
            address: config.docker_host.clone(),
            requests: telemetry.engine_requests.clone(),
            clock: Clock::of(&config.docker_host),
        };
        let mut collector = Self {
            core: Core::new(config, ENGINE_QUEUE, access.clock.now()),
            access,
            events: config.events,
            started: Instant::now(),
            skipped: Duration::ZERO,
            renderer: Renderer::default(),
            rows: RowCache::default(),
            exit_lines: ExitLines::default(),
            publication,
            telemetry,
        };
        collector.publish();
        collector
    }

    /// Collects for as long as the process lives. `spawn` starts the thread that follows events.
    ///
    /// # Errors
    /// If that cannot be started.
    pub fn run<E>(
        mut self,
        spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<(), E>,
    ) -> Result<(), E> {
        let inbox = Arc::new(Inbox::new(INBOX_BYTES));
        let askers = Askers::new(self.access.clone(), Arc::clone(&inbox));
        let hangup = Hangup::default();
        let (follow, since) = mpsc::channel();
        let shown = Arc::clone(&inbox);
        // It weighs nothing: no client waits because others have filled the inbox.
        self.publication
            .on_scraped(move |revision| shown.push(Message::Shown(revision), 0));
        if self.events {
            let (access, inbox) = (self.access.clone(), Arc::clone(&inbox));
            let hangup = hangup.clone();
            spawn(Box::new(move || {
                askers::follow(&access, &hangup, &since, &inbox);
            }))?;
        }
        loop {
            let until = Instant::now() + self.rest();
            let until = askers.relieve().map_or(until, |at| at.min(until));
            let messages = inbox.take(BATCH, until);
            self.log_other_exits();
            let messages = messages.into_iter().chain([Message::Tick]);
            for message in messages {
                let now = self.now();
                for effect in self.core.step(now, message) {
                    match effect {
                        // The thread that follows lives as long as this one.
                        Effect::Follow(since) => drop(follow.send(since)),
                        Effect::HangUp => hangup.hang_up(),
                        effect => {
                            if let Some(request) = self.carry_out(effect) {
                                askers.ask(request, now);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lists once, inspects what is new, and publishes, on this thread.
    ///
    /// # Errors
    /// Why there was no listing.
    pub fn collect(&mut self) -> Result<(), String> {
        self.core.ignore_events();
        let mut engine = self.access.engine();
        let mut messages = VecDeque::from([Message::Tick]);
        let mut listed = false;
        loop {
            let message = messages.pop_front().unwrap_or_else(|| {
                // Nobody answers any more, so it is time that is waited for.
                let wake_at = self.core.wake_at();
                self.skipped += wake_at.saturating_sub(self.now().uptime);
                Message::Tick
            });
            listed |= matches!(message, Message::Listed(..));
            for effect in self.core.step(self.now(), message) {
                let published = matches!(effect, Effect::Publish);
                if let Some(request) = self.carry_out(effect) {
                    let is_listing = matches!(request, Request::List(_));
                    messages.push_back(request.send(&mut engine, &self.access, self.now()));
                    if is_listing && self.events {
                        let all = Request::Remembered(jiff::Timestamp::UNIX_EPOCH);
                        messages.push_back(all.send(&mut engine, &self.access, self.now()));
                    }
                }
                // What was asked for is answered, and may tell more.
                let waits = !messages.is_empty() && self.started.elapsed() < ONCE_WITHIN;
                if published && listed && !waits {
                    return self.core.outage().map_or(Ok(()), |why| Err(why.to_owned()));
                }
            }
        }
    }

    /// Does what is to be done; a request to the Engine is for others to send.
    fn carry_out(&mut self, effect: Effect) -> Option<Request> {
        match effect {
            Effect::List(buffer) => return Some(Request::List(buffer)),
            Effect::Inspect(id, within) => return Some(Request::Inspect(id, within)),
            Effect::Info => return Some(Request::Info),
            Effect::Remembered(since) => return Some(Request::Remembered(since)),
            Effect::Follow(_) | Effect::HangUp => {}
            Effect::Publish => self.publish(),
            Effect::Report(report) => self.log_exit(&report),
            Effect::Log(level, line) => log::log!(level, "{line}"),
            Effect::Count(count) => self.count(count),
        }
        None
    }

    fn log_exit(&mut self, report: &ExitReport) {
        // Those from before the start are told in one line.
        let level = if report.is_before_start {
            Level::Debug
        } else {
            Level::Info
        };
        self.log_other_exits();
        let now = self.now().uptime;
        if log::log_enabled!(level) && self.exit_lines.take(now) {
            log::log!(level, "{}", ExitLine(report));
        }
    }

    /// Says how many exits had no line, once their second is over.
    fn log_other_exits(&mut self) {
        if let Some(count) = self.exit_lines.take_rest(self.now().uptime) {
            log::info!("{count} more exits in that second have no line here; they are counted");
        }
    }

    fn count(&self, count: Count) {
        let telemetry = &self.telemetry;
        match count {
            Count::Collection(worked, took) => {
                telemetry.count_collection(worked);
                telemetry.collection_duration.set(took.as_secs_f64());
            }
            Count::LastCollection(at) => {
                let at = at.as_duration().as_secs_f64();
                telemetry.last_collection.set(at);
            }
            Count::Event(action) => telemetry.count_event(action),
            Count::Lost(count) => telemetry.events_lost.inc_by(count),
            Count::StreamUp(up) => {
                telemetry.event_stream_up.set(up.into());
                telemetry.event_stream_connects.inc_by(up.into());
            }
            Count::LabelsLeftOut(count) => telemetry.labels_dropped.inc_by(count),
            Count::Workloads(count, dropped) => {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                telemetry.workloads.set(count);
                let counter = &telemetry.workloads_dropped;
                counter.inc_by(dropped.saturating_sub(counter.get()));
            }
        }
    }

    /// Publishes what is known; renders only what has changed.
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
                clock: self.access.clock.clone(),
            }),
            ready: self.core.is_ready(),
            unscraped_revision: self.core.ledger().workloads().unscraped_revision(),
        });
        self.core.published(self.now(), start.elapsed());
    }

    /// How long nothing is to be done, if nothing comes.
    fn rest(&self) -> Duration {
        let wake_at = self.core.wake_at();
        let wake_at = self
            .exit_lines
            .wake_at()
            .map_or(wake_at, |at| at.min(wake_at));
        let rest = wake_at.saturating_sub(self.now().uptime);
        rest.min(Duration::from_secs(3600))
    }

    fn now(&self) -> Now {
        Now {
            uptime: self.started.elapsed() + self.skipped,
            engine: self.access.clock.now(),
            error: self.access.clock.error(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exporter_that_has_run_for_hours_rests_as_one_that_has_just_started() {
        let config = Config::default();
        let mut collector = Collector::new(&config, Arc::default(), Telemetry::new());
        for hours in [0, 1, 2, 24 * 365] {
            collector.skipped = Duration::from_secs(3600 * hours);
            let now = collector.now();
            collector.core.step(now, Message::Tick);
            let unreachable = || crate::engine::Error {
                path: String::new(),
                kind: crate::engine::Kind::Unreachable {
                    why: String::new(),
                    denied: false,
                },
            };
            collector.core.step(now, Message::Closed(unreachable()));
            collector
                .core
                .step(now, Message::Listed(now, Err(unreachable())));
            collector
                .core
                .step(now, Message::Info(Err(unreachable()), None));
            let rest = collector.rest();
            assert!(!rest.is_zero(), "after {hours} hours");
        }
    }
}
