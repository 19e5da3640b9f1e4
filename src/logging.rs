//! The log and its filter, `RUST_LOG`. The filter is checked here because `env_logger` takes every
//! unknown word for the name of a module.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::str::FromStr;

use log::LevelFilter;

use crate::one_line::OneLine;

/// The crates whose modules a filter can name.
const CRATES: [&str; 2] = ["docker_exit_exporter", "tiny_http"];

/// A filter in `env_logger`'s syntax: levels and `module=level`, separated by commas. `/text` at
/// the end limits the log to messages that contain the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a text is not a [`LogFilter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogFilterError {
    /// It has more than one `/`.
    Slashes,
    /// It has neither a level nor a module.
    Empty,
    /// This word is neither a level nor a module.
    UnknownWord(String),
}

impl fmt::Display for LogFilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slashes => f.write_str("it has more than one /"),
            Self::Empty => f.write_str("it has no level"),
            Self::UnknownWord(word) => {
                write!(
                    f,
                    "{word:?} is neither a level nor a module of this program"
                )
            }
        }
    }
}

impl Error for LogFilterError {}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    fn from_str(filter: &str) -> Result<Self, Self::Err> {
        let (words, text) = filter.split_once('/').unwrap_or((filter, ""));
        if text.contains('/') {
            return Err(LogFilterError::Slashes);
        }
        let words = words.split(',').map(str::trim);
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        if words.is_empty() {
            return Err(LogFilterError::Empty);
        }
        match words.into_iter().find(|word| !is_directive(word)) {
            None => Ok(Self(filter.to_owned())),
            Some(word) => Err(LogFilterError::UnknownWord(word.to_owned())),
        }
    }
}

/// Whether a word is a level, a module, or `module=level`.
fn is_directive(word: &str) -> bool {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    match word.split_once('=') {
        None => is_level(word) || is_module(word),
        Some((module, level)) => is_module(module) && is_level(level.trim()),
    }
}

fn is_module(name: &str) -> bool {
    let root = name.split_once("::").map_or(name, |(root, _)| root);
    CRATES.contains(&root)
}

/// Starts logging to standard error. Without a filter, `default` is the level.
pub fn init(filter: Option<&LogFilter>, default: LevelFilter) {
    builder(filter, default).init();
}

fn builder(filter: Option<&LogFilter>, default: LevelFilter) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    // tiny_http logs errors that are normal here. A filter that names it shows them.
    builder.filter_module("tiny_http", LevelFilter::Off);
    builder.format(|line, record| {
        // One record is always one line.
        let (time, level, target) = (line.timestamp(), record.level(), record.target());
        let text = record.args().to_string();
        let text = OneLine::record(&text);
        writeln!(line, "[{time} {level:<5} {target}] {text}")
    });
    match filter {
        Some(LogFilter(filter)) => builder.parse_filters(filter),
        None => builder.filter_level(default),
    };
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_level_or_a_module() {
        for good in [
            "info",
            "DEBUG",
            "off",
            " warn , docker_exit_exporter=trace,",
            "docker_exit_exporter",
            "docker_exit_exporter::collector=debug",
            "tiny_http= error",
            "info/socket",
            "info/",
        ] {
            assert_eq!(good.parse(), Ok(LogFilter(good.into())));
        }
        for (bad, want) in [
            ("verbose", "\"verbose\" is neither a level nor a module"),
            ("info,verbose", "\"verbose\" is"),
            (
                "docker_exit_exporter=debgu",
                "\"docker_exit_exporter=debgu\" is",
            ),
            ("docker_exit_exporter=", "\"docker_exit_exporter=\" is"),
            ("docker_exit_exporter=info=debug", "=info=debug\" is"),
            (
                "docker-exit-exporter=debug",
                "\"docker-exit-exporter=debug\" is",
            ),
            ("docker_exit_exporters", "\"docker_exit_exporters\" is"),
            ("info=debug", "\"info=debug\" is"),
            ("hyper=warn", "\"hyper=warn\" is"),
            ("3", "\"3\" is"),
            ("=info", "\"=info\" is"),
            ("line\nbreak", r#""line\nbreak" is"#),
            (" ", "it has no level"),
            (",", "it has no level"),
            ("/socket", "it has no level"),
            ("info/a/b", "it has more than one /"),
        ] {
            let why = LogFilter::from_str(bad).unwrap_err().to_string();
            assert!(why.contains(want), "{bad:?}: {why}");
        }
    }

    #[test]
    fn tiny_http_is_logged_only_if_it_is_named() {
        for (filter, target, want) in [
            (None, "docker_exit_exporter", true),
            (None, "tiny_http", false),
            (Some("debug"), "docker_exit_exporter::server", true),
            (Some("debug"), "tiny_http", false),
            (Some("debug,tiny_http=error"), "tiny_http", true),
            (Some("tiny_http"), "tiny_http", true),
            (Some("tiny_http"), "docker_exit_exporter", false),
        ] {
            let parsed = filter.map(|filter| filter.parse().unwrap());
            let logger = builder(parsed.as_ref(), LevelFilter::Info).build();
            let record = log::Record::builder()
                .target(target)
                .level(log::Level::Error)
                .build();
            assert_eq!(logger.matches(&record), want, "{filter:?} {target}");
        }
    }
}
