//! The fields `State` and `Status` of a listing.
//!
//! Only the text `Status` has the exit code (moby `container/state.go`, `State.String`) and the age of
//! the exit (`units.HumanDuration`).

use std::time::Duration;

/// The seven states of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Created, and never started successfully.
    Created,
    /// Running.
    Running,
    /// Paused.
    Paused,
    /// Exited, and about to be restarted by its restart policy.
    Restarting,
    /// Being removed.
    Removing,
    /// Exited.
    Exited,
    /// Partly removed: its removal failed.
    Dead,
}

impl State {
    /// All states, in the order of their metric.
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Running,
        Self::Paused,
        Self::Restarting,
        Self::Removing,
        Self::Exited,
        Self::Dead,
    ];

    /// The Engine's name for the state.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }

    /// Parses the Engine's name, or Podman's own (podman `libpod/define/containerstate.go`).
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "stopping" => Self::Running,
            "stopped" => Self::Exited,
            "configured" | "initialized" => Self::Created,
            word => return Self::ALL.into_iter().find(|state| state.name() == word),
        })
    }

    /// Whether the last run is over, if there was one.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Restarting | Self::Removing | Self::Exited | Self::Dead
        )
    }
}

/// How long ago something happened: at least `min` and less than `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age {
    /// The lower bound, inclusive.
    pub min: Duration,
    /// The upper bound, exclusive.
    pub max: Duration,
}

/// A container's state, with the exit code and age of a run that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// `None` if neither field has a known state.
    pub state: Option<State>,
    /// The exit code. Windows and Podman have codes outside 0–255.
    pub code: Option<i64>,
    /// How long ago the last run ended, or began if it still runs.
    pub age: Option<Age>,
}

impl Status {
    /// Parses `State` and `Status`. Either may be missing or unknown.
    #[must_use]
    pub fn parse(state: Option<&str>, text: &str) -> Self {
        let ended = ended(text);
        let state = state.and_then(State::parse).or_else(|| guess_state(text));
        match ended.filter(|_| state.is_none_or(State::is_over)) {
            Some((code, age)) => Self {
                state,
                code: Some(code),
                age: age.strip_suffix(" ago").and_then(parse_age),
            },
            None => Self {
                state,
                code: None,
                age: up(text).filter(|_| matches!(state, Some(State::Running | State::Paused))),
            },
        }
    }
}

/// The exit code of `Exited (N) …` or `Restarting (N) …`, and the rest.
fn ended(text: &str) -> Option<(i64, &str)> {
    let rest = text
        .strip_prefix("Exited (")
        .or_else(|| text.strip_prefix("Restarting ("))?;
    let (code, rest) = rest.split_once(')')?;
    Some((code.parse().ok()?, rest.trim_start()))
}

/// The age in `Up 5 minutes`, which ` (healthy)` or another remark may follow.
fn up(text: &str) -> Option<Age> {
    let age = text.strip_prefix("Up ")?;
    parse_age(age.split(" (").next()?)
}

/// The state by the first word of `Status`, if `State` is unknown.
fn guess_state(text: &str) -> Option<State> {
    Some(match text.split([' ', '(']).next()? {
        "Up" if text.ends_with("(Paused)") => State::Paused,
        "Up" => State::Running,
        "Exited" => State::Exited,
        "Restarting" => State::Restarting,
        "Created" => State::Created,
        "Dead" => State::Dead,
        "Removal" => State::Removing,
        _ => return None,
    })
}

/// Parses the text of docker/go-units' `HumanDuration`. Old versions truncate hours and new ones round
/// them, so an age of hours or more may be half an hour less.
fn parse_age(text: &str) -> Option<Age> {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const HALF_HOUR: u64 = 30 * MINUTE;
    let span = |min, max| {
        Some(Age {
            min: Duration::from_secs(min),
            max: Duration::from_secs(max),
        })
    };
    match text {
        "Less than a second" => return span(0, 1),
        "About a minute" => return span(MINUTE, 2 * MINUTE),
        "About an hour" => return span(HOUR, 2 * HOUR),
        _ => {}
    }
    let (number, unit) = text.split_once(' ')?;
    let number: u64 = number.parse().ok()?;
    let (length, error) = match unit {
        "second" | "seconds" => (1, 0),
        "minutes" => (MINUTE, 0),
        "hours" => (HOUR, HALF_HOUR),
        "days" => (24 * HOUR, HALF_HOUR),
        "weeks" => (7 * 24 * HOUR, HALF_HOUR),
        "months" => (30 * 24 * HOUR, HALF_HOUR),
        "years" => (365 * 24 * HOUR, HALF_HOUR),
        _ => return None,
    };
    let min = number.checked_mul(length)?;
    span(min.saturating_sub(error), min.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_texts() {
        use State::{Created, Dead, Exited, Paused, Removing, Restarting, Running};
        for (state, text, want_state, want_code) in [
            ("exited", "Exited (0) 5 minutes ago", Some(Exited), Some(0)),
            (
                "exited",
                "Exited (137) About an hour ago",
                Some(Exited),
                Some(137),
            ),
            ("exited", "Exited (-1) 2 days ago", Some(Exited), Some(-1)),
            (
                "exited",
                "Exited (3221225786) 2 days ago",
                Some(Exited),
                Some(3_221_225_786),
            ),
            ("exited", "", Some(Exited), None),
            ("exited", "Exited", Some(Exited), None),
            ("exited", "Exited (", Some(Exited), None),
            ("exited", "Exited ()", Some(Exited), None),
            ("exited", "Exited (x) 1 second ago", Some(Exited), None),
            (
                "exited",
                "Exited (99999999999999999999) 1 second ago",
                Some(Exited),
                None,
            ),
            ("exited", "Exited (7)", Some(Exited), Some(7)),
            (
                "restarting",
                "Restarting (7) 2 seconds ago",
                Some(Restarting),
                Some(7),
            ),
            (
                "stopped",
                "Exited (7) Less than a second ago",
                Some(Exited),
                Some(7),
            ),
            ("stopping", "Up 2 minutes", Some(Running), None),
            ("running", "Up 5 minutes", Some(Running), None),
            ("running", "Up 5 minutes (healthy)", Some(Running), None),
            ("running", "Exited (1) 5 minutes ago", Some(Running), None),
            ("paused", "Up 5 minutes (Paused)", Some(Paused), None),
            ("created", "Created", Some(Created), None),
            ("initialized", "Created", Some(Created), None),
            ("dead", "Dead", Some(Dead), None),
            ("removing", "Removal In Progress", Some(Removing), None),
            ("frobbed", "Exited (4) 1 second ago", Some(Exited), Some(4)),
            ("frobbed", "Up 3 seconds (Paused)", Some(Paused), None),
            ("frobbed", "Frobbing", None, None),
            ("", "", None, None),
        ] {
            let status = Status::parse(Some(state), text);
            assert_eq!(
                (status.state, status.code),
                (want_state, want_code),
                "{state} {text}"
            );
        }
        assert_eq!(
            Status::parse(None, "Restarting (1) 1 second ago").code,
            Some(1)
        );
        for text in [
            "Up 5 minutes",
            "Up 5 minutes (healthy)",
            "Up 5 minutes (Paused)",
        ] {
            let age = Status::parse(None, text).age.unwrap();
            assert_eq!((age.min.as_secs(), age.max.as_secs()), (300, 360), "{text}");
        }
        assert_eq!(Status::parse(Some("exited"), "Up 5 minutes").age, None);
    }

    #[test]
    fn ages() {
        let hour = 3600;
        for (text, want) in [
            ("Less than a second", Some((0, 1))),
            ("1 second", Some((1, 2))),
            ("59 seconds", Some((59, 60))),
            ("About a minute", Some((60, 120))),
            ("59 minutes", Some((59 * 60, 60 * 60))),
            ("About an hour", Some((hour, 2 * hour))),
            ("2 hours", Some((hour + 1800, 3 * hour))),
            ("2 days", Some((47 * hour + 1800, 72 * hour))),
            ("2 weeks", Some((14 * 24 * hour - 1800, 21 * 24 * hour))),
            ("2 months", Some((60 * 24 * hour - 1800, 90 * 24 * hour))),
            (
                "2 years",
                Some((730 * 24 * hour - 1800, 3 * 365 * 24 * hour)),
            ),
            ("2 fortnights", None),
            ("soon", None),
            ("", None),
            ("-1 seconds", None),
            ("18446744073709551615 years", None),
        ] {
            let got = parse_age(text).map(|age| (age.min.as_secs(), age.max.as_secs()));
            assert_eq!(got, want, "{text}");
        }
    }
}
