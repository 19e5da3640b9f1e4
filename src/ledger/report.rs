//! What is reported of exits: each once, counted in the same breath.

use std::time::Duration;

use jiff::Timestamp;

use crate::engine::Labels;

use super::container::Container;
use super::run::{FORGOTTEN, Report};
use super::tolerance::{
    DIE_EVENT_COMES, INSPECT_COMES, LAST_INSPECT_COMES, LOST_STREAM_COMES, PODMAN_INSPECT_COMES,
    STREAM_COMES,
};
use super::{Exit, Ledger, Now};

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
    pub(super) fn report_overtaken(&mut self, id: &str, exit: Exit) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        let before_the_start = is_before(&exit, container, self.started);
        let report = self.count(id, exit, before_the_start);
        self.overtaken.extend(report);
    }

    /// Counts an exit. Returns its report, unless its code is a label's: then it is lost.
    fn count(&mut self, id: &str, exit: Exit, before_the_start: bool) -> Option<ExitReport> {
        let container = self.containers.get_mut(id)?;
        if !before_the_start {
            // Nobody knows a better name of its image.
            container.join(&mut self.workloads, &Labels::new(), true);
        }
        if exit.is_doubtful() {
            self.lost += u64::from(!before_the_start);
            return None;
        }
        if let Some(workload) = container.workload().filter(|_| !before_the_start) {
            self.workloads.count(workload, exit.reason);
        }
        Some(ExitReport {
            id: id.to_owned(),
            name: container.name().to_owned(),
            image: container.image().to_owned(),
            exit,
            before_the_start,
        })
    }

    /// Counts the exits that are new and of which all is known that is to be had, and gives them
    /// out, once. Those that wait for an inspect, or for an event that may tell the reason, stay for
    /// a while.
    pub fn report(&mut self, now: Now, events: EventsCome) -> Vec<ExitReport> {
        let mut all = std::mem::take(&mut self.overtaken);
        let podman = self.podman == Some(true);
        let inspect_comes = if podman {
            PODMAN_INSPECT_COMES
        } else {
            INSPECT_COMES
        };
        let is_over = |since: Duration, patience| now.uptime.saturating_sub(since) >= patience;
        for id in std::mem::take(&mut self.open) {
            let Some(container) = self.containers.get_mut(&id) else {
                continue;
            };
            let mut due = None;
            let runs = &container.runs;
            if let Some(exit) = runs.exit() {
                let is_due = match runs.report {
                    Report::Nothing | Report::Reported => false,
                    Report::Due => true,
                    Report::AwaitsProof(since, _) => {
                        events != EventsCome::Soon || is_over(since, STREAM_COMES)
                    }
                    Report::AwaitsInspect(since) => {
                        let comes = if runs.needs_inspect(podman) {
                            LAST_INSPECT_COMES
                        } else if exit.reason_is_open() {
                            inspect_comes
                        } else {
                            Duration::ZERO
                        };
                        is_over(since, comes)
                    }
                    Report::AwaitsEvent(since) => {
                        let inspect = podman && runs.needs_inspect(podman) && !runs.is_running();
                        let comes = if inspect {
                            LAST_INSPECT_COMES
                        } else {
                            Duration::ZERO
                        };
                        is_over(since, events.patience().max(comes))
                    }
                };
                if is_due {
                    let before = is_before(exit, container, self.started);
                    due = Some((exit.clone(), before));
                    container.runs.reported();
                }
            }
            let runs = &mut container.runs;
            if !runs.waits() {
                let patience = events.patience_with_unseen();
                runs.settle(self.started, |since| is_over(since, patience));
            }
            if due.is_none() && runs.lost == 0 && runs.is_open() {
                self.open.insert(id);
                continue;
            }
            self.changed(&id, None);
            if let Some((exit, before)) = due {
                all.extend(self.count(&id, exit, before));
            }
        }
        all
    }

    /// Whether something waits to be reported, so that [`Ledger::report`] is to be called again.
    #[must_use]
    pub fn has_open_reports(&self) -> bool {
        !self.open.is_empty()
    }
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
