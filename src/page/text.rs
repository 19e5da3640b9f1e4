//! Texts and times as the page shows them.

use std::borrow::Cow;
use std::fmt::{self, Display};

use jiff::{SignedDuration, Timestamp};

use crate::one_line::{OneLine, is_invisible};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Characters of a name that are shown.
const MAX_NAME_CHARS: usize = 160;

/// Untrusted text as HTML, between tags or within a quoted attribute. Markup is escaped. Characters that
/// are invisible or reverse the direction of text are spelled out.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, letter)) = rest.char_indices().find(|(_, letter)| is_special(*letter)) {
            f.write_str(&rest[..at])?;
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter => write!(f, "{}", letter.escape_default())?,
            }
            rest = &rest[at + letter.len_utf8()..];
        }
        f.write_str(rest)
    }
}

/// Whether a character has a meaning in HTML or is invisible.
fn is_special(letter: char) -> bool {
    matches!(letter, '&' | '<' | '>' | '"' | '\'') || is_invisible(letter)
}

/// An untrusted name as HTML, shortened like [`shown`].
pub(super) struct EscapedName<'a>(pub(super) &'a str);

impl Display for EscapedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        // Right-to-left letters in a name do not affect the text around it.
        write!(f, "<bdi>{}</bdi>", Escaped(&shown(self.0)))
    }
}

/// A name as the page shows it, and as a reader can search for it: invisible characters are spelled out,
/// long names are cut.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    if text.len() <= MAX_NAME_CHARS && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(OneLine::truncated(text, MAX_NAME_CHARS).to_string())
}

/// How long ago, and the time itself.
pub(super) fn time(at: Timestamp, now: Timestamp) -> String {
    time_element(&ago(at, now), "", at, now)
}

/// For how long, and the time since when.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    let duration = match now.duration_since(at).as_secs() {
        ..5 => "just now".to_owned(),
        _ => format!("for {}", age(at, now)),
    };
    time_element(&duration, "since ", at, now)
}

/// A `time` element and the absolute time, with the date unless it is today's.
fn time_element(relative: &str, prefix: &str, at: Timestamp, now: Timestamp) -> String {
    let mut absolute = clock(at);
    if day(at) != day(now) {
        absolute = format!("{} {absolute}", date(at));
    }
    format!("<time datetime=\"{at:.0}\">{relative}</time> <span>{prefix}{absolute}</span>")
}

/// Date and time to the second: `2026-11-22 09:57:55 UTC`.
pub(super) fn utc(at: Timestamp) -> String {
    format!("{} {} UTC", date(at), clock(at))
}

/// The date: `2026-11-22`.
fn date(at: Timestamp) -> String {
    let text = format!("{at:.0}");
    text.split('T').next().unwrap_or_default().to_owned()
}

/// The time of day: `09:57:55`.
pub(super) fn clock(at: Timestamp) -> String {
    let text = format!("{at:.0}");
    let (_, clock) = text.split_once('T').unwrap_or_default();
    clock.trim_end_matches('Z').to_owned()
}

/// Days since 1970.
pub(super) fn day(at: Timestamp) -> i64 {
    at.as_second().div_euclid(DAY)
}

/// A day: `2026-11-22, yesterday`.
pub(super) fn day_name(at: Timestamp, now: Timestamp) -> String {
    let date = date(at);
    match day(now) - day(at) {
        0 => format!("{date}, today"),
        1 => format!("{date}, yesterday"),
        days @ 2.. => format!("{date}, {days} days ago"),
        ..0 => date,
    }
}

/// A number of things: `1 restart`, `2 restarts`.
pub(super) fn count(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

/// How long ago: `3 minutes ago`.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_secs() {
        ..-5 => "in the future".to_owned(),
        // Clocks differ a little.
        -5..5 => "just now".to_owned(),
        _ => format!("{} ago", age(at, now)),
    }
}

/// The time since then in its largest unit.
fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    let (number, unit) = match seconds {
        ..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        _ if seconds < 2 * DAY => (seconds / HOUR, "hour"),
        _ => (seconds / DAY, "day"),
    };
    count(number.unsigned_abs(), unit)
}

/// A duration in its two largest units.
pub(super) fn span(took: SignedDuration) -> String {
    let seconds = took.as_secs();
    match seconds {
        ..1 => format!("{} ms", took.as_millis()),
        1..10 => format!("{seconds}.{} s", took.subsec_millis() / 100),
        10..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min {} s", seconds / MINUTE, seconds % MINUTE),
        HOUR..DAY => format!("{} h {} min", seconds / HOUR, seconds % HOUR / MINUTE),
        DAY.. => format!("{} d {} h", seconds / DAY, seconds % DAY / HOUR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping() {
        for (text, want) in [
            ("", ""),
            ("web-1", "web-1"),
            (
                "<script>alert(1)</script>",
                "&lt;script&gt;alert(1)&lt;/script&gt;",
            ),
            ("\" onload='x'&amp;", "&quot; onload=&#39;x&#39;&amp;amp;"),
            ("a\r\n\r\nb\tc\0", "a\\r\\n\\r\\nb\\tc\\u{0}"),
            (
                "a\u{202e}b\u{2066}c\u{200b}d",
                "a\\u{202e}b\\u{2066}c\\u{200b}d",
            ),
            ("\u{85}\u{feff}\u{e0041}", "\\u{85}\\u{feff}\\u{e0041}"),
            ("grün שלום 🐳 \\", "grün שלום 🐳 \\"),
        ] {
            assert_eq!(Escaped(text).to_string(), want, "{text:?}");
        }
    }

    #[test]
    fn how_long_ago() {
        let now = Timestamp::from_second(1_795_336_855).unwrap();
        for (seconds, want) in [
            (-86_400, "in the future"),
            (-6, "in the future"),
            (-5, "just now"),
            (0, "just now"),
            (4, "just now"),
            (5, "5 seconds ago"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (3599, "59 minutes ago"),
            (3600, "1 hour ago"),
            (47 * 3600, "47 hours ago"),
            (48 * 3600, "2 days ago"),
            (1_795_336_855, "20779 days ago"),
        ] {
            let at = now - SignedDuration::from_secs(seconds);
            assert_eq!(ago(at, now), want, "{seconds}");
        }
        ago(Timestamp::MIN, Timestamp::MAX);
        ago(Timestamp::MAX, Timestamp::MIN);
    }

    #[test]
    fn times_are_in_utc() {
        let now = Timestamp::from_second(1_795_341_655).unwrap();
        for (seconds, want) in [
            (
                0,
                "2026-11-22T10:00:55Z\">just now</time> <span>10:00:55</span>",
            ),
            (
                11 * 3600,
                "2026-11-21T23:00:55Z\">11 hours ago</time> <span>2026-11-21 23:00:55</span>",
            ),
            (
                400 * 86_400,
                "2025-10-18T10:00:55Z\">400 days ago</time> <span>2025-10-18 10:00:55</span>",
            ),
        ] {
            let at = now - SignedDuration::from_secs(seconds);
            assert_eq!(time(at, now), format!("<time datetime=\"{want}"));
        }
    }

    #[test]
    fn how_long_it_took() {
        for (millis, want) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (1312, "1.3 s"),
            (9999, "9.9 s"),
            (10_000, "10 s"),
            (59_999, "59 s"),
            (60_000, "1 min 0 s"),
            (3_599_000, "59 min 59 s"),
            (3_600_000, "1 h 0 min"),
            (86_399_000, "23 h 59 min"),
            (1_047_600_000, "12 d 3 h"),
        ] {
            let took = SignedDuration::from_millis(millis);
            assert_eq!(span(took), want, "{millis}");
        }
        span(SignedDuration::MIN);
        span(SignedDuration::MAX);
    }
}
