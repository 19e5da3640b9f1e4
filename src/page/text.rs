//! Texts and times as the page shows them.

use std::fmt::{self, Display, Write};

use jiff::{SignedDuration, Timestamp};

use crate::one_line::is_unseen;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// A text from somewhere else as HTML: no markup in it works, and what cannot be seen, or would
/// turn the text around, is spelled out. For between tags, not for within them.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter if is_unseen(letter) => write!(f, "{}", letter.escape_default())?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// How long ago something was, and at which time of day, in UTC; with the date if it was not today.
pub(super) fn time(at: Timestamp, now: Timestamp) -> String {
    let date = at.strftime("%Y-%m-%d").to_string();
    let year = at.strftime("%Y").to_string();
    let format = if date == now.strftime("%Y-%m-%d").to_string() {
        "%H:%M:%S"
    } else if year == now.strftime("%Y").to_string() {
        "%b %d, %H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    format!(
        "<time datetime=\"{}\">{}</time> <span>{}</span>",
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        ago(at, now),
        at.strftime(format),
    )
}

/// How long ago something was.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    let (number, unit) = match now.duration_since(at).as_secs() {
        ..-5 => return "in the future".to_owned(),
        // Clocks differ a little.
        -5..5 => return "just now".to_owned(),
        seconds @ ..MINUTE => (seconds, "second"),
        seconds @ ..HOUR => (seconds / MINUTE, "minute"),
        seconds if seconds < 2 * DAY => (seconds / HOUR, "hour"),
        seconds => (seconds / DAY, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
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
                "2026-11-21T23:00:55Z\">11 hours ago</time> <span>Nov 21, 23:00:55</span>",
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
