//! Reports and counts each exit once.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Labels;

use super::container::Container;
use super::run::{ReportState, Runs, UNKNOWN_ORDER};
use super::tolerance::{
    DIE_EVENT_TIMEOUT, FINAL_INSPECT_TIMEOUT, INSPECT_TIMEOUT, PODMAN_INSPECT_TIMEOUT,
    REPLAY_TIMEOUT, UNSEEN_RUN_TIMEOUT,
};
use super::{Exit, Failure, Ledger, Now};

/// A reported exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// Container id.
    pub id: String,
    /// Container name.
    pub name: String,
    /// Image name.
    pub image: String,
    /// The exit.
    pub exit: Exit,
    /// Whether it ended before the exporter's start. Such an exit is not counted.
    pub is_before_start: bool,
}

/// State of the event stream: whether events may still explain what is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFeed {
    /// Switched off or refused.
    Off,
    /// About to be opened, or replaying missed events.
    CatchingUp,
    /// Up to date.
    Live,
}

impl EventFeed {
    /// How long to wait for a `die` event.
    fn die_timeout(self) -> Duration {
        match self {
            Self::Off => Duration::ZERO,
            Self::CatchingUp => REPLAY_TIMEOUT,
            Self::Live => DIE_EVENT_TIMEOUT,
        }
    }

    /// How long to wait for the event of a run whose exit was not seen.
    fn unseen_run_timeout(self) -> Duration {
        match self {
            Self::CatchingUp => UNSEEN_RUN_TIMEOUT,
            _ => self.die_timeout(),
        }
    }
}

impl Ledger {
    /// Reports an exit that is no longer the last of its container.
    pub(super) fn report_previous(&mut self, id: &str, exit: Exit, now: Now) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let is_before_start = is_before_start(&exit, container, self.started);
        let report = self.count(id, exit, is_before_start, now);
        self.unreported_exits.extend(report);
    }

    /// Counts an exit and returns its report. An exit with a doubtful code is lost instead.
    fn count(
        &mut self,
        id: &str,
        exit: Exit,
        is_before_start: bool,
        now: Now,
    ) -> Option<ExitReport> {
        let container = self.containers.get_mut(id).filter(|it| !it.is_ignored())?;
        if !is_before_start {
            // No better image name will be known.
            container.join_workload(&mut self.workloads, &Labels::default(), true);
        }
        if exit.is_doubtful() {
            self.lost += u64::from(!is_before_start);
            return None;
        }
        let reason = container.reason_of(&exit);
        if let Some(workload) = container.workload().filter(|_| !is_before_start) {
            self.workloads.count(workload, reason);
            let at = exit
                .finished_at
                .or(exit.over_by)
                .or(container.runs.last_event_at());
            if let Some(at) = at.filter(|_| container.is_failure(&exit)) {
                let failure = Failure {
                    name: Arc::clone(&container.name),
                    code: exit.code,
                    reason,
                    at,
                    duration: exit.duration,
                };
                let texts = [&container.service, container.image()];
                self.failing.record(workload, texts, failure, now);
            }
        }
        Some(ExitReport {
            id: id.to_owned(),
            name: container.name.to_string(),
            image: container.image().to_string(),
            exit: Exit { reason, ..exit },
            is_before_start,
        })
    }

    /// Counts and returns the exits that are due, each once. Others wait a while for an inspect or
    /// an event that may show the reason.
    pub fn report(&mut self, now: Now, events: EventFeed) -> Vec<ExitReport> {
        let mut all = std::mem::take(&mut self.unreported_exits);
        let podman = self.may_be_podman();
        let unseen_timeout = events.unseen_run_timeout();
        self.report_at = Duration::MAX;
        for id in std::mem::take(&mut self.unreported) {
            let Some(container) = self.containers.get_mut(&id) else {
                continue;
            };
            let at = due_at(&container.runs, events, podman);
            let is_due = at.is_some_and(|at| at <= now.uptime);
            let due = container.runs.exit().filter(|_| is_due);
            let due = due.map(|it| (it.clone(), is_before_start(it, container, self.started)));
            let runs = &mut container.runs;
            if due.is_some() {
                runs.reported();
            }
            let is_over = |since: Duration| since + unseen_timeout <= now.uptime;
            // A run without a seen exit does not replace an exit that waits.
            let is_another =
                !runs.has_unreported_exit() && runs.give_up_unseen(self.started, is_over);
            let waits = due.is_none() && runs.lost == 0 && runs.has_unreported();
            let at = at.or_else(|| Some(runs.unseen_end_since()? + unseen_timeout));
            if is_another {
                self.touch(&id);
            }
            if waits {
                self.report_at = self.report_at.min(at.unwrap_or_default());
                self.unreported.insert(id);
                continue;
            }
            self.update_indexes(&id);
            if let Some((exit, is_before_start)) = due {
                all.extend(self.count(&id, exit, is_before_start, now));
            }
        }
        all
    }

    /// Uptime at which [`Ledger::report`] next has something to report, unless something changes
    /// before. `None` if nothing waits.
    #[must_use]
    pub fn report_at(&self) -> Option<Duration> {
        (!self.unreported.is_empty()).then_some(self.report_at)
    }
}

/// Uptime at which the last exit is to be reported. `None` if it is not waiting.
fn due_at(runs: &Runs, events: EventFeed, podman: bool) -> Option<Duration> {
    use ReportState::{AwaitsEvent, AwaitsInspect, AwaitsReplay, Due};
    let exit = runs.exit()?;
    let needs_inspect = runs.needs_inspect(podman);
    let (since, timeout) = match runs.report {
        ReportState::None | ReportState::Reported => return None,
        Due => (Duration::ZERO, Duration::ZERO),
        AwaitsReplay(since, _) if events == EventFeed::CatchingUp => (since, REPLAY_TIMEOUT),
        AwaitsReplay(since, _) => (since, Duration::ZERO),
        AwaitsInspect(since) if needs_inspect => (since, FINAL_INSPECT_TIMEOUT),
        AwaitsInspect(since) if !exit.is_reason_open() => (since, Duration::ZERO),
        AwaitsInspect(since) if podman => (since, PODMAN_INSPECT_TIMEOUT),
        AwaitsInspect(since) => (since, INSPECT_TIMEOUT),
        AwaitsEvent(since) if podman && needs_inspect && !runs.is_running() => {
            (since, events.die_timeout().max(FINAL_INSPECT_TIMEOUT))
        }
        AwaitsEvent(since) => (since, events.die_timeout()),
    };
    Some(since + timeout)
}

/// Whether an exit is from before the exporter's start. Without a known time, it is if the
/// container is older than that and nothing was known of it.
fn is_before_start(exit: &Exit, container: &Container, started: Timestamp) -> bool {
    let failed = exit.over_by.filter(|_| exit.code.is_none());
    let died = exit.died_at.filter(|_| exit.died_at != UNKNOWN_ORDER);
    let end = died.or(exit.finished_at).or(failed);
    let span = end.map(|end| (end, end)).or(exit.span);
    let (earliest, latest) = span.unwrap_or((Timestamp::MIN, Timestamp::MAX));
    latest < started
        || (earliest < started && exit.is_first_evidence && container.creation.is_before(started))
}
