//! What is reported of exits: each once, counted in the same breath.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Labels;

use super::container::Container;
use super::run::{FORGOTTEN, Report, Runs};
use super::tolerance::{
    DIE_EVENT_COMES, INSPECT_COMES, LAST_INSPECT_COMES, LOST_STREAM_COMES, PODMAN_INSPECT_COMES,
    STREAM_COMES,
};
use super::{Exit, Failure, Ledger, Now};

/// An exit that is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitReport {
    /// The container's id.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// The name of its image.
    pub image: String,
    /// How its run ended.
    pub exit: Exit,
    /// It is from before the exporter's start, and so it is not counted.
    pub before_the_start: bool,
}

/// Whether events may come that tell more of what is known already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsCome {
    /// They are switched off, or refused.
    Never,
    /// The stream is about to be opened, or repeats what was missed.
    Soon,
    /// They come in as they are made.
    Now,
}

impl EventsCome {
    /// How long a `die` event is waited for.
    fn patience(self) -> Duration {
        match self {
            Self::Never => Duration::ZERO,
            Self::Soon => STREAM_COMES,
            Self::Now => DIE_EVENT_COMES,
        }
    }

    /// The same for a run of which nothing else is known.
    fn patience_with_unseen(self) -> Duration {
        match self {
            Self::Soon => LOST_STREAM_COMES,
            _ => self.patience(),
        }
    }
}

impl Ledger {
    /// Counts and keeps an exit that is not, or no longer, the last of its container.
    pub(super) fn report_overtaken(&mut self, id: &str, exit: Exit, now: Now) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let before_the_start = is_before(&exit, container, self.started);
        let report = self.count(id, exit, before_the_start, now);
        self.overtaken.extend(report);
    }

    /// Counts an exit. Returns its report, unless its code is a label's: then it is lost.
    fn count(
        &mut self,
        id: &str,
        exit: Exit,
        before_the_start: bool,
        now: Now,
    ) -> Option<ExitReport> {
        let container = self.containers.get_mut(id).filter(|it| !it.is_ignored())?;
        if !before_the_start {
            // Nobody knows a better name of its image.
            container.join(&mut self.workloads, &Labels::default(), true);
        }
        if exit.is_doubtful() {
            self.lost += u64::from(!before_the_start);
            return None;
        }
        let reason = container.reason_of(&exit);
        if let Some(workload) = container.workload().filter(|_| !before_the_start) {
            self.workloads.count(workload, reason);
            let at = exit.finished_at.or(exit.over_by);
            let at = at.or(container.runs.newest());
            if let Some(at) = at.filter(|_| container.has_failed_by(&exit)) {
                let failure = Failure {
                    name: Arc::clone(container.name()),
                    code: exit.code,
                    reason,
                    at,
                    duration: exit.duration,
                };
                let texts = [container.service(), container.image()];
                self.failing.note(workload, texts, failure, now);
            }
        }
        Some(ExitReport {
            id: id.to_owned(),
            name: container.name().to_string(),
            image: container.image().to_string(),
            exit: Exit { reason, ..exit },
            before_the_start,
        })
    }

    /// Counts the exits that are new and of which all is known that is to be had, and gives them
    /// out, once. Those that wait for an inspect, or for an event that may tell the reason, stay for
    /// a while.
    pub fn report(&mut self, now: Now, events: EventsCome) -> Vec<ExitReport> {
        let mut all = std::mem::take(&mut self.overtaken);
        let podman = self.may_be_podman();
        let patience = events.patience_with_unseen();
        self.report_at = Duration::MAX;
        for id in std::mem::take(&mut self.open) {
            let Some(container) = self.containers.get_mut(&id) else {
                continue;
            };
            let at = due_at(&container.runs, events, podman);
            let exit = container.runs.exit();
            let exit = exit.filter(|_| at.is_some_and(|at| at <= now.uptime));
            let due = exit.map(|exit| (exit.clone(), is_before(exit, container, self.started)));
            let runs = &mut container.runs;
            if due.is_some() {
                runs.reported();
            }
            let is_over = |since: Duration| since + patience <= now.uptime;
            // An exit that waits is not replaced by one that ended unseen.
            let is_another = !runs.waits() && runs.settle(self.started, is_over);
            let waits = due.is_none() && runs.lost == 0 && runs.is_open();
            let at = at.or_else(|| Some(runs.unseen_since()? + patience));
            if is_another {
                self.touch(&id);
            }
            if waits {
                self.report_at = self.report_at.min(at.unwrap_or_default());
                self.open.insert(id);
                continue;
            }
            self.take_note(&id);
            if let Some((exit, before_the_start)) = due {
                all.extend(self.count(&id, exit, before_the_start, now));
            }
        }
        all
    }

    /// The uptime at which [`Ledger::report`] has something more to report, if nothing has happened since
    /// it was called; `None` if nothing waits.
    #[must_use]
    pub fn report_at(&self) -> Option<Duration> {
        (!self.open.is_empty()).then_some(self.report_at)
    }
}

/// The uptime at which the last exit is to be reported, if it waits for that.
fn due_at(runs: &Runs, events: EventsCome, podman: bool) -> Option<Duration> {
    let exit = runs.exit()?;
    let (since, comes) = match runs.report {
        Report::Nothing | Report::Reported => return None,
        Report::Due => (Duration::ZERO, Duration::ZERO),
        Report::AwaitsProof(since, _) if events == EventsCome::Soon => (since, STREAM_COMES),
        Report::AwaitsProof(since, _) => (since, Duration::ZERO),
        Report::AwaitsInspect(since) if runs.needs_inspect(podman) => (since, LAST_INSPECT_COMES),
        Report::AwaitsInspect(since) if !exit.reason_is_open() => (since, Duration::ZERO),
        Report::AwaitsInspect(since) if podman => (since, PODMAN_INSPECT_COMES),
        Report::AwaitsInspect(since) => (since, INSPECT_COMES),
        Report::AwaitsEvent(since)
            if podman && runs.needs_inspect(podman) && !runs.is_running() =>
        {
            (since, events.patience().max(LAST_INSPECT_COMES))
        }
        Report::AwaitsEvent(since) => (since, events.patience()),
    };
    Some(since + comes)
}

/// Whether a container's exit is from before the exporter's start. One of which no time tells is, if
/// the container is as old, and nothing had told of it before.
fn is_before(exit: &Exit, container: &Container, started: Timestamp) -> bool {
    let failed = exit.over_by.filter(|_| exit.code.is_none());
    let died = exit.died_at.filter(|_| exit.died_at != FORGOTTEN);
    let end = died.or(exit.finished_at).or(failed);
    let span = end.map(|end| (end, end)).or(exit.span);
    let (earliest, latest) = span.unwrap_or((Timestamp::MIN, Timestamp::MAX));
    latest < started || (earliest < started && exit.old && container.is_older_than(started))
}
