//! The Engine's clock, as far as its answers tell of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::Address;
use crate::http::Head;

/// Up to here two clocks are taken for one: the `Date` of an answer has whole seconds, and takes its
/// time to come.
pub const SAME_CLOCK: SignedDuration = SignedDuration::from_secs(3);

/// The time of day by the Engine's clock, to which all that it says refers. Clones are set together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// How many milliseconds it is ahead of this host's.
    ahead: Arc<AtomicI64>,
    same_host: bool,
}

impl Clock {
    /// The clock of the Engine at this address.
    #[must_use]
    pub fn of(address: &Address) -> Self {
        Self {
            ahead: Arc::default(),
            same_host: matches!(address, Address::Unix(_)),
        }
    }

    /// A clock that is so far ahead, for tests.
    #[cfg(test)]
    pub(crate) fn that_is_ahead(milliseconds: i64) -> Self {
        Self {
            ahead: Arc::new(milliseconds.into()),
            same_host: false,
        }
    }

    /// What the Engine's clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.ahead()).unwrap_or(now)
    }

    /// How far it is ahead of this host's, by the last answer; zero where it is the same one.
    #[must_use]
    pub fn ahead(&self) -> SignedDuration {
        SignedDuration::from_millis(self.ahead.load(Ordering::Relaxed))
    }

    /// How far [`Clock::now`] may be off: not at all where both are one host's.
    #[must_use]
    pub fn error(&self) -> SignedDuration {
        if self.same_host && self.ahead().is_zero() {
            SignedDuration::ZERO
        } else {
            SAME_CLOCK
        }
    }

    /// Sets it by the head of an answer that was asked for at this time of this host's clock. The
    /// answer may have waited for a reader that was stopped, so what is known holds as long as it can.
    pub(super) fn set_by(&self, head: &Head, asked: Timestamp) {
        let date = head.header("date").and_then(date);
        if let Some(date) = date {
            let ahead = ahead(date, asked, Timestamp::now(), self.ahead()).as_millis();
            let ahead = i64::try_from(ahead).unwrap_or_default();
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

/// A date as HTTP has it (RFC 9110, 5.6.7).
fn date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

/// How far a clock is ahead that showed this date between two times of this host's: as far as was
/// `known`, or not at all, if that can be.
fn ahead(
    date: Timestamp,
    asked: Timestamp,
    answered: Timestamp,
    known: SignedDuration,
) -> SignedDuration {
    let fits = |ahead: SignedDuration| {
        let date = date.as_duration() - ahead;
        asked.as_duration() - SAME_CLOCK <= date && date <= answered.as_duration() + SAME_CLOCK
    };
    if fits(SignedDuration::ZERO) {
        SignedDuration::ZERO
    } else if fits(known) {
        known
    } else {
        date.duration_since(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks() {
        let at = |second: i64| Timestamp::from_second(1_795_336_870 + second).unwrap();
        for (text, took, known, want) in [
            ("Sun, 22 Nov 2026 08:41:10 GMT", 0, 0, 0),
            ("Sun, 22 Nov 2026 08:41:08 GMT", 0, 0, 0),
            ("Sun, 22 Nov 2026 09:41:10 GMT", 0, 0, 3600),
            ("Sun, 22 Nov 2026 08:41:00 GMT", 0, 0, -10),
            // The answer waited for 20 seconds.
            ("Sun, 22 Nov 2026 08:41:00 GMT", 20, 0, 0),
            ("Sun, 22 Nov 2026 09:41:00 GMT", 20, 3600, 3600),
            ("Sun, 22 Nov 2026 09:41:10 GMT", 0, 3602, 3602),
            ("Sun, 22 Nov 2026 08:41:10 GMT", 0, 3600, 0),
        ] {
            let date = date(text).unwrap();
            let known = SignedDuration::from_secs(known);
            let ahead = ahead(date, at(-took), at(0), known);
            assert_eq!(ahead.as_secs(), want, "{text} {took} {known}");
        }
        assert_eq!(date("yesterday"), None);
        assert_eq!(date(""), None);
    }
}
