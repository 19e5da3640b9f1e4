//! What a listing says of a run that is over.

use jiff::{SignedDuration, Timestamp};

use crate::engine::{State, Status};

use super::Taken;
use super::exit::{Exit, later};

/// How long after a run's end its `die` event may be made: the Engine first unmounts and
/// disconnects the container. Measured were 0.3 s on Docker and 1.3 s on Podman.
const EVENT_AFTER_END: SignedDuration = SignedDuration::from_secs(10);

/// What a listing says of a run that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sighting {
    /// Absent in the states `dead` and `removing`.
    pub(super) code: Option<i64>,
    restarting: bool,
    /// When the listing was asked for.
    pub(super) asked: Timestamp,
    /// Between which times it ended, by the clock of this host.
    pub(super) ended: Option<(Timestamp, Timestamp)>,
    /// The exit that is known of the container is that of this run.
    pub(super) known: bool,
    /// No inspect is needed any more.
    pub(super) settled: bool,
}

impl Sighting {
    pub(super) fn new(status: Status, taken: Taken) -> Self {
        let ended = status.age.and_then(|age| {
            let earliest = taken.asked.checked_sub(age.max).ok()?;
            Some((earliest, taken.answered.checked_sub(age.min).ok()?))
        });
        Self {
            code: status.code,
            restarting: status.state == Some(State::Restarting),
            asked: taken.asked,
            ended,
            known: false,
            settled: false,
        }
    }

    /// This sighting as one more of the same run, or `None` if it must be of another: the code
    /// differs, or there is no moment at which both can have ended.
    pub(super) fn after(self, before: &Self) -> Option<Self> {
        let codes = before.code.zip(self.code);
        if codes.is_some_and(|(one, two)| one != two) {
            return None;
        }
        let ended = match (before.ended, self.ended) {
            (Some(one), Some(two)) => Some((one.0.max(two.0), one.1.min(two.1))),
            (one, two) => one.or(two),
        };
        if ended.is_some_and(|(earliest, latest)| earliest > latest) {
            return None;
        }
        Some(Self {
            code: self.code.or(before.code),
            ended,
            known: before.known,
            // A container that waited for its restart and now does not has most likely ended again.
            settled: before.settled && before.restarting == self.restarting,
            ..self
        })
    }

    /// This sighting as the first of a run whose end is known from its event, or `None` if it is
    /// of another.
    pub(super) fn of(self, exit: &Exit) -> Option<Self> {
        let died_at = exit.died_at?;
        if self.code.is_some_and(|code| code != exit.code) && !exit.code_in_doubt {
            return None;
        }
        if let Some((earliest, latest)) = self.ended {
            if died_at < earliest || died_at > later(latest, EVENT_AFTER_END) {
                return None;
            }
        }
        Some(Self {
            known: true,
            settled: exit.inspected,
            ..self
        })
    }

    /// Takes in that the run ended at this moment, by the clock of the Engine. If that is another
    /// clock than this host's, it is of no use here.
    pub(super) fn narrow(&mut self, finished: Timestamp) {
        if let Some((earliest, latest)) = &mut self.ended {
            if *earliest <= finished && finished <= *latest {
                (*earliest, *latest) = (finished, finished);
            }
        }
    }
}
