//! What the collector says in the log.

use std::fmt;

use crate::ledger::News;
use crate::reason::Reason;

/// What is said once, until it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    NoInfo,
    NoInspect,
    NoEvents,
    BadEvent,
    LostEvents,
}

/// An exit as a line of the log.
pub(super) struct Line<'a>(pub(super) &'a News);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let News {
            id,
            name,
            image,
            exit,
            ..
        } = self.0;
        let verb = if exit.reason == Reason::StartFailed {
            "could not be started, code"
        } else {
            "exited with code"
        };
        // What an Engine says must not look like a line of this log.
        let id: String = id.chars().take(12).flat_map(char::escape_debug).collect();
        let name = name.escape_debug();
        let image = image.escape_debug();
        write!(f, "{name} ({image}, {id}) {verb} {}: ", exit.code)?;
        write!(f, "{}", exit.reason.name())?;
        if let Some(duration) = exit.duration {
            write!(f, ", after {:.1} s", duration.as_secs_f64())?;
        }
        if !exit.error.is_empty() {
            write!(f, ", {}", exit.error.escape_debug())?;
        }
        Ok(())
    }
}
