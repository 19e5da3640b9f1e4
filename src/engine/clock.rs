//! The Engine's clock, estimated from the `Date` of its responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

use super::Address;
use crate::http::Head;

/// Two clocks that differ by no more than this are treated as one: `Date` has whole seconds, and the
/// response takes time to arrive.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(3);

/// The time of day by the Engine's clock. All times in its responses are of that clock. Clones share
/// their state.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// The offset from this host's clock; positive if the Engine's is ahead.
    offset_millis: Arc<AtomicI64>,
    is_same_host: bool,
}

impl Clock {
    /// The clock of the Engine at this address.
    #[must_use]
    pub fn of(address: &Address) -> Self {
        Self {
            offset_millis: Arc::default(),
            is_same_host: matches!(address, Address::Unix(_)),
        }
    }

    /// A clock that is ahead of this host's, for tests.
    #[cfg(test)]
    pub(crate) fn ahead_by(millis: i64) -> Self {
        Self {
            offset_millis: Arc::new(millis.into()),
            is_same_host: false,
        }
    }

    /// The time by the Engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.offset()).unwrap_or(now)
    }

    /// The offset from this host's clock by the last response; zero if the clocks are treated as one.
    #[must_use]
    pub fn offset(&self) -> SignedDuration {
        SignedDuration::from_millis(self.offset_millis.load(Ordering::Relaxed))
    }

    /// The maximum error of [`Clock::now`]; zero if it is this host's clock.
    #[must_use]
    pub fn error(&self) -> SignedDuration {
        if self.is_same_host && self.offset().is_zero() {
            SignedDuration::ZERO
        } else {
            CLOCK_TOLERANCE
        }
    }

    /// Sets the clock by the head of a response. `sent` is when this host sent the request.
    pub(super) fn sync(&self, head: &Head, sent: Timestamp) {
        if let Some(date) = head.header("date").and_then(date) {
            let offset = offset(date, sent, Timestamp::now(), self.offset()).as_millis();
            let offset = i64::try_from(offset).unwrap_or_default();
            self.offset_millis.store(offset, Ordering::Relaxed);
        }
    }
}

/// Parses an HTTP date (RFC 9110, 5.6.7).
fn date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

/// The offset of a clock that showed `date` between two times of this host's clock. Zero and the
/// `known` offset are preferred, because a response may have waited in a suspended process.
fn offset(
    date: Timestamp,
    sent: Timestamp,
    answered: Timestamp,
    known: SignedDuration,
) -> SignedDuration {
    let fits = |offset: SignedDuration| {
        let date = date.as_duration() - offset;
        sent.as_duration() - CLOCK_TOLERANCE <= date
            && date <= answered.as_duration() + CLOCK_TOLERANCE
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
            // The response waited for 20 seconds.
            ("Sun, 22 Nov 2026 08:41:00 GMT", 20, 0, 0),
            ("Sun, 22 Nov 2026 09:41:00 GMT", 20, 3600, 3600),
            ("Sun, 22 Nov 2026 09:41:10 GMT", 0, 3602, 3602),
            ("Sun, 22 Nov 2026 08:41:10 GMT", 0, 3600, 0),
        ] {
            let date = date(text).unwrap();
            let known = SignedDuration::from_secs(known);
            let offset = offset(date, at(-took), at(0), known);
            assert_eq!(offset.as_secs(), want, "{text} {took} {known}");
        }
        assert_eq!(date("yesterday"), None);
        assert_eq!(date(""), None);
    }
}
