//! Texts from an Engine, or a proxy before it, as they may stand in an error and in the log: short, on one
//! line, and with nothing in them that cannot be seen or that turns the line around.

use std::fmt::{self, Display, Write};

/// So many letters of one text stand in an error or a line of the log.
pub const TEXT_LETTERS: usize = 300;

/// So many letters has a line of the log. The longest that are meant have a few texts of
/// [`TEXT_LETTERS`].
pub const RECORD_LETTERS: usize = 4 * 1024;

/// A text on one line. What cannot be seen is spelled out, and what is longer than that ends in `…`.
#[derive(Debug, Clone, Copy)]
pub struct OneLine<'a> {
    text: &'a str,
    most: usize,
}

impl<'a> OneLine<'a> {
    /// A text for an error or a line of the log, cut at [`TEXT_LETTERS`].
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let most = TEXT_LETTERS;
        Self { text, most }
    }

    /// A text of so many letters at most.
    #[must_use]
    pub fn within(text: &'a str, most: usize) -> Self {
        Self { text, most }
    }

    /// A line of the log as a whole, cut at [`RECORD_LETTERS`].
    #[must_use]
    pub fn record(text: &'a str) -> Self {
        let most = RECORD_LETTERS;
        Self { text, most }
    }
}

impl Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = self.most;
        for letter in self.text.chars() {
            let spelled = is_unseen(letter).then(|| letter.escape_default());
            let length = spelled.as_ref().map_or(1, ExactSizeIterator::len);
            if length > room {
                return f.write_char('…');
            }
            room -= length;
            match spelled {
                Some(spelled) => write!(f, "{spelled}")?,
                None => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Whether a letter is not seen itself: controls, line breaks with them, and what sets the direction.
#[must_use]
pub fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
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
            // What is spelled out counts as it is written, and is not cut in its middle.
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
        assert_eq!(line.chars().count(), RECORD_LETTERS + 1);
        assert_eq!(OneLine::record("a\nb").to_string(), r"a\nb");
    }
}
