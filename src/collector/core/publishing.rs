//! When exits are reported, and when what is known is published.

use std::sync::Arc;
use std::time::Duration;

use log::Level;

use crate::engine::{Error, limits};
use crate::exposition::{Renderer, SharedText};
use crate::labels;
use crate::ledger::{DroppedLabels, EventFeed, Now};
use crate::one_line::OneLine;
use crate::page::{ContainerSnapshot, Docker, Host, RowCache};

use super::super::log_line::Topic;
use super::{Core, Count, Effect, InfoState, Outage};

/// Known containers are shown for so many intervals without a listing that works, and at least for
/// [`STALE_AFTER_AT_LEAST`].
const STALE_AFTER_INTERVALS: u32 = 3;
const STALE_AFTER_AT_LEAST: Duration = Duration::from_secs(45);

/// What is new is published after so long, so that the inspect of an exit is published with it.
pub(super) const GATHER: Duration = Duration::from_millis(10);

/// Nothing is published more often than this, so that a storm of events is gathered.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// Between two publications passes at least so many times as long as the last one took: rendering
/// for events takes no more than a fifth of a core, however many containers there are.
const RENDERING_SHARE: u32 = 4;

/// What waits to be reported is looked at again after so long at the earliest.
const REPORT_AGAIN: Duration = Duration::from_millis(100);

/// The first text waits for the inspects of the first listing, but for no longer than this: those of
/// 100,000 containers take 16 s.
const FIRST_TEXT: Duration = Duration::from_secs(20);

/// Nor longer than this without an answer: an inspect hangs.
const STUCK: Duration = Duration::from_millis(100);

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
        if now.uptime < self.quiet_until {
            // What came meanwhile is read first.
            self.report_at = Some(self.quiet_until);
        } else {
            self.report_exits(now);
        }
        if publishes {
            if !self.complete && self.last_success.is_some() {
                self.complete = true;
                self.report_first();
            }
            self.publish_at = None;
            // What the text lacks is counted before anyone can take it.
            self.report_left_out();
            self.effects.push(Effect::Publish);
        }
    }

    fn report_exits(&mut self, now: Now) {
        let events = self.stream.events_come(now);
        for report in self.ledger.report(now, events) {
            self.publish_soon(now);
            // Its event ought to have come.
            let finished = report.exit.ended_without_event();
            if events == EventFeed::Live && finished.is_some_and(|at| self.stream.is_dead(at, now))
            {
                self.revive(now);
            }
            self.effects.push(Effect::Report(Box::new(report)));
        }
        // While that may change, when they are due is not known.
        let changes = events == EventFeed::CatchingUp;
        let at = self.ledger.report_at();
        let at = at.map(|at| if changes { Duration::ZERO } else { at });
        self.report_at = at.map(|at| at.max(now.uptime + REPORT_AGAIN));
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

    /// Says once that labels are left out: many containers may have the same.
    fn report_left_out(&mut self) {
        let DroppedLabels {
            count,
            first_container,
        } = self.ledger.dropped_labels();
        let new = count - self.left_out;
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
        self.left_out = *count;
        self.count(Count::LabelsLeftOut(new));
        if self.topics.first_time(Topic::LabelsLeftOut) {
            self.log(Level::Warn, line);
        }
    }

    /// The first text with containers in it waits until they are explained.
    fn may_publish(&mut self, now: Now) -> bool {
        let Some(listed) = self.last_success.filter(|_| !self.complete) else {
            return true;
        };
        // Counted from here, since taking in a long listing takes longer than `STUCK` alone.
        let progress = *self.progress.get_or_insert(now.uptime);
        let waits = (self.inspects.is_busy() && now.uptime < progress + STUCK)
            || self.info == InfoState::Asked
            || self
                .listing
                .is_some_and(|asked| asked.uptime <= listed.uptime);
        if waits && now.uptime < listed.uptime + FIRST_TEXT {
            self.publish_at = Some(now.uptime + GATHER);
            return false;
        }
        true
    }

    pub(super) fn publish_soon(&mut self, now: Now) {
        self.publish_after(now, GATHER);
    }

    /// Publishes after this pause, or before if something else is due sooner.
    pub(super) fn publish_after(&mut self, now: Now, pause: Duration) {
        let at = (now.uptime + pause).max(self.rest_until);
        self.publish_at = Some(self.publish_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn shows_containers(&self) -> bool {
        matches!(self.rendered, Some((_, true, ..)))
    }

    /// When the known containers are too old to be shown, unless a listing works before.
    pub(super) fn stale_at(&self) -> Option<Duration> {
        let last = self.last_success?;
        Some(last.uptime + stale_after(self.interval))
    }

    fn is_fresh(&self, now: Now) -> bool {
        self.stale_at().is_some_and(|at| now.uptime < at)
    }

    pub(super) fn report_outage(&mut self, now: Now, error: &Error) {
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

    pub(super) fn report_recovery(&mut self, now: Now) {
        self.up_since.get_or_insert(now.engine);
        if let Some(outage) = self.outage.take() {
            self.up_since = Some(now.engine);
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
            OneLine::new(self.engine.version()),
            OneLine::new(&self.engine.identity.api_version),
            failed.count()
        );
        self.log(Level::Info, line);
    }

    /// Has what is known rendered: the text, and what the page shows of the containers unless that is
    /// as it was.
    pub fn render(
        &mut self,
        now: Now,
        renderer: &mut Renderer,
        rows: &mut RowCache,
    ) -> (Arc<SharedText>, Option<ContainerSnapshot>) {
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
                rows.update(&self.ledger)
            } else {
                ContainerSnapshot::default()
            }
        };
        (text, (!same).then(containers))
    }

    /// Takes note that publishing took so long, until now. The first text with containers in it follows
    /// at once.
    pub fn published(&mut self, now: Now, took: Duration) {
        if self.complete {
            self.rest_until = now.uptime + (took * RENDERING_SHARE).max(PUBLISH_EVERY);
        }
    }

    /// What the page at `/` is to show of the host.
    #[must_use]
    pub fn host(&self) -> Host {
        let docker = match (&self.outage, self.up_since) {
            (Some(outage), _) => Docker::Down {
                since: outage.since.engine,
                why: OneLine::new(&outage.why).to_string(),
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
            listed_at: self.last_success.map(|at| at.engine),
            started: self.ledger.started(),
        }
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
