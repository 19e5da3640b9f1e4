//! When to report exits, and when to publish.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::engine::{EngineError, limits};
use crate::exposition::{Renderer, SharedText};
use crate::labels;
use crate::ledger::{DroppedLabels, EventFeed, Now};
use crate::one_line::OneLine;
use crate::page::{ContainerSnapshot, Docker, Host, RowCache};

use super::super::log_line::LogTopic;
use super::{Core, Effect, InfoState, MetricUpdate, Outage};

/// Without a successful listing, containers are shown for this many intervals, and for at least
/// [`MIN_STALE_DELAY`].
const STALE_INTERVALS: u32 = 3;
const MIN_STALE_DELAY: Duration = Duration::from_secs(45);

/// Changes are published after this time, so that the inspect of an exit is published with it.
pub(super) const GATHER_DELAY: Duration = Duration::from_millis(10);

/// The minimum time between two publications, which gathers a storm of events.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(50);

/// The pause after a publication, as a multiple of the time it took. Rendering takes at most a fifth
/// of a core, however many containers there are.
const RENDER_PAUSE_FACTOR: u32 = 4;

/// Unreported exits are looked at again after this time at the earliest.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// The first text waits this long for the inspects of the first listing. On a slow machine 100,000
/// containers take 16 s.
const FIRST_PUBLISH_TIMEOUT: Duration = Duration::from_secs(20);

/// The first text waits no longer than this after the last response: an inspect hangs.
const INSPECT_STALL_TIMEOUT: Duration = Duration::from_millis(100);

impl Core {
    /// Reports and publishes what is due.
    pub(super) fn report(&mut self, now: Now) {
        if self.ledger.expire(now.uptime) {
            self.publish_soon(now);
        }
        if self.shows_containers() && !self.is_fresh(now) {
            self.publish_soon(now);
        }
        let is_due = |at: Option<Duration>| at.is_some_and(|at| now.uptime >= at);
        let publishes = is_due(self.publish_at) && self.may_publish(now);
        if !publishes && !is_due(self.report_at) {
            return;
        }
        if now.uptime < self.reports_paused_until {
            self.report_at = Some(self.reports_paused_until);
        } else {
            self.report_exits(now);
        }
        if publishes {
            if !self.is_complete && self.last_listing_at.is_some() {
                self.is_complete = true;
                self.log_first_listing();
            }
            self.publish_at = None;
            // Before a scrape can take the text that lacks them.
            self.report_left_out();
            self.effects.push(Effect::Publish);
        }
    }

    fn report_exits(&mut self, now: Now) {
        let events = self.stream.event_feed(now);
        for report in self.ledger.report(now, events) {
            self.publish_soon(now);
            let finished = report.exit.ended_without_event();
            if events == EventFeed::Live && finished.is_some_and(|at| self.stream.is_dead(at, now))
            {
                self.reopen_stream(now);
            }
            self.effects.push(Effect::Report(Box::new(report)));
        }
        let at = self.ledger.report_at().map(|at| match events {
            // The time is not final before the stream has settled.
            EventFeed::CatchingUp => Duration::ZERO,
            EventFeed::Live | EventFeed::Off => at,
        });
        self.report_at = at.map(|at| at.max(now.uptime + REPORT_INTERVAL));
        let lost = self.ledger.lost() - self.reported_lost;
        self.reported_lost += lost;
        if lost > 0 {
            self.measure(MetricUpdate::Lost(lost));
            self.publish_soon(now);
            let line = format!("{lost} runs of containers ended unseen, so they are not counted");
            self.warn_once(LogTopic::LostRuns, line);
        }
        let workloads = self.ledger.workloads();
        let update = MetricUpdate::Workloads(workloads.len(), workloads.dropped());
        self.measure(update);
    }

    fn report_left_out(&mut self) {
        let DroppedLabels {
            count,
            first_container,
        } = self.ledger.dropped_labels();
        let new = count - self.reported_left_out;
        if new == 0 {
            return;
        }
        let line = format!(
            "labels are left out: {new}, the first of container {}. A value may have {} bytes, and all \
             labels of a container {} in each series, of those that CONTAINER_LABELS lets through",
            OneLine::new(first_container),
            limits::LABEL_BYTES,
            labels::MAX_BYTES,
        );
        self.reported_left_out = *count;
        self.measure(MetricUpdate::LabelsLeftOut(new));
        self.warn_once(LogTopic::LabelsLeftOut, line);
    }

    /// Whether a text may be published now. The first one with containers waits for their inspects.
    fn may_publish(&mut self, now: Now) -> bool {
        let Some(listed) = self.last_listing_at.filter(|_| !self.is_complete) else {
            return true;
        };
        // Starts here, because applying a long listing alone takes longer than the timeout.
        let last_inspect_at = *self.last_inspect_at.get_or_insert(now.uptime);
        let waits = (self.inspects.is_busy()
            && now.uptime < last_inspect_at + INSPECT_STALL_TIMEOUT)
            || self.info == InfoState::InFlight
            || self
                .listing_sent_at
                .is_some_and(|sent| sent.uptime <= listed.uptime);
        if waits && now.uptime < listed.uptime + FIRST_PUBLISH_TIMEOUT {
            self.publish_at = Some(now.uptime + GATHER_DELAY);
            return false;
        }
        true
    }

    pub(super) fn publish_soon(&mut self, now: Now) {
        self.publish_after(now, GATHER_DELAY);
    }

    /// Publishes after this delay, or earlier if a publication is already due.
    pub(super) fn publish_after(&mut self, now: Now, delay: Duration) {
        let at = (now.uptime + delay).max(self.earliest_publish_at);
        self.publish_at = Some(self.publish_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn shows_containers(&self) -> bool {
        matches!(self.rendered, Some((_, true, ..)))
    }

    /// The uptime at which the known containers become stale, unless a listing succeeds before.
    pub(super) fn stale_at(&self) -> Option<Duration> {
        let last = self.last_listing_at?;
        Some(last.uptime + stale_after(self.interval))
    }

    fn is_fresh(&self, now: Now) -> bool {
        self.stale_at().is_some_and(|at| now.uptime < at)
    }

    /// Records that a listing failed. Logs the first error of each class.
    pub(super) fn report_outage(&mut self, now: Now, error: EngineError) {
        let error = Arc::new(error);
        let outage = self.outage.get_or_insert_with(|| Outage {
            since: now,
            error: Arc::clone(&error),
            logged: Vec::new(),
        });
        outage.error = Arc::clone(&error);
        let class = error.class();
        if outage.logged.contains(&class) {
            self.log(Level::Debug, error.to_string());
        } else {
            outage.logged.push(class);
            let seconds = self.interval.as_secs();
            let line = format!("{error}; trying again every {seconds} s");
            self.log(Level::Warn, line);
        }
        if self.info == InfoState::Settled {
            self.info = InfoState::DueWhenUp;
        }
    }

    /// Records that a listing succeeded.
    pub(super) fn report_recovery(&mut self, now: Now) {
        self.up_since.get_or_insert(now.engine);
        if let Some(outage) = self.outage.take() {
            self.up_since = Some(now.engine);
            let seconds = now.uptime.saturating_sub(outage.since.uptime).as_secs();
            let line = format!("Docker answers, after {seconds} s without it");
            self.log(Level::Info, line);
            self.logged.clear();
        }
    }

    /// Logs one line that sums up the exits from before the start.
    fn log_first_listing(&mut self) {
        let total: u64 = self.ledger.states().map(|(_, count)| count).sum();
        let exits = self.ledger.exits().count();
        let failed = self.ledger.exits().filter(|it| it.exit.code != Some(0));
        let line = format!(
            "Docker {} (API {}) has {total} containers. {exits} exits are shown, \
             {} with a code other than 0",
            OneLine::new(self.engine.version()),
            OneLine::new(&self.engine.identity.api_version),
            failed.count()
        );
        self.log(Level::Info, line);
    }

    /// Renders the text, and the page's containers if they have changed.
    pub fn render(
        &mut self,
        now: Now,
        renderer: &mut Renderer,
        rows: &mut RowCache,
    ) -> (Arc<SharedText>, Option<ContainerSnapshot>) {
        let up = self.last_listing_at.is_some() && self.outage.is_none();
        let fresh = self.is_complete && self.is_fresh(now);
        if fresh {
            self.ledger.find_superseded();
        }
        let inputs = (up, fresh, self.engine.clone(), self.ledger.revision());
        let is_unchanged = self.rendered.as_ref() == Some(&inputs);
        let text = renderer.render(up, fresh, &self.engine, &self.ledger);
        self.rendered = Some(inputs);
        let containers = match fresh {
            _ if is_unchanged => None,
            true => Some(rows.update(&self.ledger)),
            false => Some(ContainerSnapshot::default()),
        };
        (text, containers)
    }

    /// Records that a publication is done, and how long it took. The first text with containers may
    /// follow at once.
    pub fn published(&mut self, now: Now, took: Duration) {
        if self.is_complete {
            let pause = (took * RENDER_PAUSE_FACTOR).max(PUBLISH_INTERVAL);
            self.earliest_publish_at = now.uptime + pause;
        }
    }

    /// The host, for the page at `/`.
    #[must_use]
    pub fn host(&self) -> Host {
        let docker = match (&self.outage, self.up_since) {
            (Some(outage), _) => Docker::Down {
                since: outage.since.engine,
                why: OneLine::new(&outage.error.to_string()).to_string(),
            },
            (None, Some(since)) => Docker::Up { since },
            (None, None) => Docker::NotAsked,
        };
        let info = self.engine.info.as_ref();
        Host {
            name: info.map(|info| info.name.clone()).unwrap_or_default(),
            engine: self.engine.kind(),
            version: self.engine.version().to_owned(),
            docker,
            listed_at: self.last_listing_at.map(|at| at.engine),
            started: self.ledger.started(),
        }
    }
}

fn stale_after(interval: Duration) -> Duration {
    (interval * STALE_INTERVALS).max(MIN_STALE_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_stay_for_three_intervals_and_at_least_45_seconds() {
        for (interval, want) in [(1, 45), (15, 45), (16, 48), (60, 180), (86400, 259_200)] {
            let after = stale_after(Duration::from_secs(interval));
            assert_eq!(after.as_secs(), want, "{interval}");
        }
    }
}
