//! Texts and times as the page shows them.

use std::borrow::Cow;
use std::fmt::{self, Display};

use jiff::{SignedDuration, Timestamp};

use crate::one_line::{OneLine, is_invisible};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// So many letters of a name are shown.
const LETTERS: usize = 160;

/// A text from somewhere else as HTML, between tags or in quotes within one: no markup in it works, and
/// what cannot be seen, or would turn the text around, is spelled out.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
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

/// Whether a letter means something in HTML, or cannot be seen.
fn is_special(letter: char) -> bool {
    matches!(letter, '&' | '<' | '>' | '"' | '\'') || is_invisible(letter)
}

/// A name from somewhere else as HTML, as it is [`shown`].
pub(super) struct Name<'a>(pub(super) &'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        // What is around a name is not turned around by the letters in it.
        write!(f, "<bdi>{}</bdi>", Text(&shown(self.0)))
    }
}

/// A name as a reader sees it, and can search for it: what cannot be seen is spelled out, and what is
/// long is cut.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    if text.len() <= LETTERS && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(OneLine::truncated(text, LETTERS).to_string())
}

/// How long ago something was, and when, with the date if it was not today.
pub(super) fn time(at: Timestamp, now: Timestamp) -> String {
    format!(
        "<time datetime=\"{at:.0}\">{}</time> <span>{}</span>",
        ago(at, now),
        moment(at, now),
    )
}

/// For how long something is so, and since when.
pub(super) fn since(at: Timestamp, now: Timestamp) -> String {
    let so_long = match now.duration_since(at).as_secs() {
        ..5 => "just now".to_owned(),
        _ => format!("for {}", age(at, now)),
    };
    format!(
        "<time datetime=\"{at:.0}\">{so_long}</time> <span>since {}</span>",
        moment(at, now),
    )
}

/// The time of day, with the date if it is not today's.
fn moment(at: Timestamp, now: Timestamp) -> String {
    if day(at) == day(now) {
        clock(at)
    } else {
        format!("{} {}", date(at), clock(at))
    }
}

/// A time to the second, with its date.
pub(super) fn utc(at: Timestamp) -> String {
    format!("{} {} UTC", date(at), clock(at))
}

/// The date: `2026-11-22`.
pub(super) fn date(at: Timestamp) -> String {
    let text = format!("{at:.0}");
    text.split('T').next().unwrap_or_default().to_owned()
}

/// The time of day: `09:57:55`.
pub(super) fn clock(at: Timestamp) -> String {
    let text = format!("{at:.0}");
    let (_, clock) = text.split_once('T').unwrap_or_default();
    clock.trim_end_matches('Z').to_owned()
}

/// The number of a day since 1970.
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

/// So many things: `1 restart`, `2 restarts`.
pub(super) fn count(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

/// How long ago something was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_secs() {
        ..-5 => "in the future".to_owned(),
        // Clocks differ a little.
        -5..5 => "just now".to_owned(),
        _ => format!("{} ago", age(at, now)),
    }
}

/// The time since then, by its largest unit.
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

/// How long something took, by its two largest units.
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
    fn texts() {
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
            assert_eq!(Text(text).to_string(), want, "{text:?}");
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
    fn times_are_of_utc() {
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
