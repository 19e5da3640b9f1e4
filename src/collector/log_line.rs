//! What the collector says in the log, and what it has said already.

use std::fmt;

use crate::ledger::ExitReport;
use crate::one_line::OneLine;
use crate::reason::Reason;

/// What is said once, until it is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    NoInfo,
    NoLayout,
    NoInspect,
    NoEvents,
    BadEvent,
    LostEvents,
    LostRuns,
    LabelsLeftOut,
}

/// What was said already, and is not said again.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<Topic>);

impl Topics {
    /// Whether this is to be said, since it was not said yet.
    pub(super) fn first_time(&mut self, topic: Topic) -> bool {
        let is_new = !self.0.contains(&topic);
        if is_new {
            self.0.push(topic);
        }
        is_new
    }

    /// Whether something that was said is resolved now.
    pub(super) fn resolved(&mut self, topic: Topic) -> bool {
        let before = self.0.len();
        self.0.retain(|it| *it != topic);
        self.0.len() != before
    }

    /// Forgets what was said.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// An exit as a line of the log.
pub(super) struct ExitLine<'a>(pub(super) &'a ExitReport);

impl fmt::Display for ExitLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ExitReport {
            id,
            name,
            image,
            exit,
            ..
        } = self.0;
        let verb = if exit.reason == Reason::StartFailed {
            "could not be started"
        } else {
            "exited"
        };
        let id: String = id.chars().take(12).collect();
        let [name, image, id] = [name, image, &id].map(|text| OneLine::new(text));
        write!(f, "{name} ({image}, {id}) {verb}")?;
        match (exit.code, exit.reason) {
            (Some(code), Reason::StartFailed) => write!(f, ", code {code}")?,
            (Some(code), _) => write!(f, " with code {code}")?,
            (None, _) => {}
        }
        write!(f, ": {}", exit.reason.name())?;
        if let Some(duration) = exit.duration {
            write!(f, ", after {:.1} s", duration.as_secs_f64())?;
        }
        if !exit.error.is_empty() {
            write!(f, ", {}", OneLine::new(&exit.error))?;
        }
        Ok(())
    }
}
