//! Makes texts from an Engine or a proxy safe for errors and log lines: short, on one line, and
//! without invisible characters.

use std::fmt::{self, Display, Write};

/// The longest text in an error or log line, in characters.
pub const MAX_TEXT_CHARS: usize = 300;

/// The longest log line, in characters. It has room for several texts of [`MAX_TEXT_CHARS`].
pub const MAX_RECORD_CHARS: usize = 4 * 1024;

/// Displays a text on one line. Invisible characters are escaped. A text over the limit is cut and
/// ends in `…`.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<'a> {
    text: &'a str,
    max_chars: usize,
}

impl<'a> OneLine<'a> {
    /// A text inside an error or log line, cut at [`MAX_TEXT_CHARS`].
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self::truncated(text, MAX_TEXT_CHARS)
    }

    /// A whole log line, cut at [`MAX_RECORD_CHARS`].
    #[must_use]
    pub fn record(text: &'a str) -> Self {
        Self::truncated(text, MAX_RECORD_CHARS)
    }

    /// A text cut at `max_chars` characters.
    #[must_use]
    pub fn truncated(text: &'a str, max_chars: usize) -> Self {
        Self { text, max_chars }
    }
}

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars_left = self.max_chars;
        for char in self.text.chars() {
            let escaped = is_invisible(char).then(|| char.escape_default());
            let length = escaped.as_ref().map_or(1, ExactSizeIterator::len);
            if length > chars_left {
                return f.write_char('…');
            }
            chars_left -= length;
            match escaped {
                Some(escaped) => write!(f, "{escaped}")?,
                None => f.write_char(char)?,
            }
        }
        Ok(())
    }
}

/// Whether a character is invisible: control characters, line breaks, zero-width characters and
/// marks that change the direction of text.
#[must_use]
pub fn is_invisible(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_on_one_line() {
        let letters = |count| "é".repeat(count);
        for (text, want) in [
            (String::new(), String::new()),
            (r#"web "1" \ é 🐳"#.into(), r#"web "1" \ é 🐳"#.into()),
            ("a\r\n\tb".into(), r"a\r\n\tb".into()),
            (
                "\0\u{1b}[31m\u{7f}\u{85}".into(),
                r"\u{0}\u{1b}[31m\u{7f}\u{85}".into(),
            ),
            ("\u{2028}\u{2029}".into(), r"\u{2028}\u{2029}".into()),
            (
                "\u{200e}\u{200f}\u{61c}".into(),
                r"\u{200e}\u{200f}\u{61c}".into(),
            ),
            ("\u{202a}\u{202e}".into(), r"\u{202a}\u{202e}".into()),
            ("\u{2066}\u{2069}".into(), r"\u{2066}\u{2069}".into()),
            (letters(300), letters(300)),
            (letters(301), letters(300) + "…"),
            // An escape counts with its full length and is never cut.
            (letters(298) + "\n", letters(298) + r"\n"),
            (letters(299) + "\n", letters(299) + "…"),
            ("\u{202e}".repeat(100), r"\u{202e}".repeat(37) + "…"),
        ] {
            assert_eq!(OneLine::new(&text).to_string(), want, "{text:?}");
        }
    }

    #[test]
    fn a_line_of_the_log_may_be_longer() {
        let line = OneLine::record(&"x".repeat(10_000)).to_string();
        assert_eq!(line.chars().count(), MAX_RECORD_CHARS + 1);
        assert_eq!(OneLine::record("a\nb").to_string(), r"a\nb");
    }
}
