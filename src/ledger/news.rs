//! What is told of exits: once, counted in the same breath.

use std::time::Duration;

use jiff::Timestamp;

use super::{Exit, Ledger};

/// For so long at most is an exit kept back: longer than the pause before a stream is opened again.
const KEPT_BACK: Duration = Duration::from_secs(10);

/// An exit that is told for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
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

impl Ledger {
    /// Keeps an exit that a newer one of the same container puts out of sight, until it is told.
    pub(super) fn keep(&mut self, id: &str, exit: Exit) {
        let Some(container) = self.containers.get(id) else {
            return;
        };
        if exit.code_in_doubt {
            self.lost += 1;
            return;
        }
        let before_the_start = is_before(&exit, self.started, false);
        if let Some(workload) = container.workload.as_ref().filter(|_| !before_the_start) {
            self.workloads.count(workload, exit.reason);
        }
        self.overtaken.push(News {
            id: id.to_owned(),
            name: container.name.to_string(),
            image: container.image.to_string(),
            exit,
            before_the_start,
        });
    }

    /// Counts the exits that are new and of which all is known that is to be had, and gives them
    /// out, once. With `events_come`, those that a listing found are kept back for a while, since
    /// an event may tell the reason: a stream was opened a moment ago, or is about to be.
    pub fn tell(&mut self, uptime: Duration, events_come: bool) -> Vec<News> {
        let mut all = std::mem::take(&mut self.overtaken);
        self.keeps_back = false;
        let first = self.listings <= 1;
        for id in std::mem::take(&mut self.untold) {
            let Some(container) = self.containers.get_mut(&id) else {
                continue;
            };
            let Some(exit) = container.exit.as_ref().filter(|_| !container.told) else {
                continue;
            };
            if container.awaits_inspect {
                self.untold.insert(id);
                continue;
            }
            let before_the_start = is_before(exit, self.started, first);
            if events_come && !before_the_start && exit.may_have_an_event() {
                let since = *container.kept_back.get_or_insert(uptime);
                if uptime.saturating_sub(since) < KEPT_BACK {
                    self.keeps_back = true;
                    self.untold.insert(id);
                    continue;
                }
            }
            container.told = true;
            if exit.code_in_doubt {
                // The number is that of a label, and the container is gone.
                self.lost += 1;
                container.exit = None;
                self.removals.note(&id, container);
                self.touch(&id);
                continue;
            }
            if let Some(workload) = container.workload.as_ref().filter(|_| !before_the_start) {
                self.workloads.count(workload, exit.reason);
            }
            all.push(News {
                id: id.to_string(),
                name: container.name.to_string(),
                image: container.image.to_string(),
                exit: exit.clone(),
                before_the_start,
            });
        }
        all
    }

    /// Whether [`Ledger::tell`] kept something back, so that it is to be asked again.
    #[must_use]
    pub fn keeps_something_back(&self) -> bool {
        self.keeps_back
    }
}

/// Whether an exit is from before the exporter's start. An event, which can be a repeated one, says
/// so by its time; what a listing shows can only be that old in the first one.
fn is_before(exit: &Exit, started: Timestamp, first_listing: bool) -> bool {
    match exit.died_at {
        Some(died) => died < started,
        None => first_listing && exit.finished_at.is_none_or(|end| end < started),
    }
}
