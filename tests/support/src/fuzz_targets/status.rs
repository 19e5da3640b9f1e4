//! The listing's texts of a container's state.

use std::time::Duration;

use docker_exit_exporter::engine::{Age, State, Status};

use super::dice::Dice;
use super::integer;

/// Every word for a state.
const WORDS: [(&str, State); 11] = [
    ("created", State::Created),
    ("configured", State::Created),
    ("initialized", State::Created),
    ("running", State::Running),
    ("stopping", State::Running),
    ("paused", State::Paused),
    ("restarting", State::Restarting),
    ("removing", State::Removing),
    ("exited", State::Exited),
    ("stopped", State::Exited),
    ("dead", State::Dead),
];

/// The state that a word is for.
pub(super) fn state(word: &str) -> Option<State> {
    let known = WORDS.iter().find(|(it, _)| *it == word)?;
    Some(known.1)
}

/// The first line is the `State`, the others are the `Status`; without a line end there is no `State`.
pub fn status(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let (state, text) = match text.split_once('\n') {
            Some((state, text)) => (Some(state), text),
            None => (None, text),
        };
        agrees(state, text);
    }
    let mut dice = Dice::new(data);
    is_read_back(&mut dice.clone());
    let word = dice.one_of(&["exited", "restarting", "running", "frobbed", ""]);
    agrees(Some(word), &made_up(&mut dice));
}

/// A text that is almost right.
fn made_up(dice: &mut Dice<'_>) -> String {
    const STARTS: [&str; 8] = [
        "Exited (",
        "Exited (",
        "Restarting (",
        "Exited(",
        "Up ",
        "exited (",
        "Dead (",
        " Exited (",
    ];
    const CODES: [&str; 9] = [
        "0",
        "137",
        "-1",
        "+5",
        " 3",
        "",
        "--1",
        "9223372036854775807",
        "9223372036854775808",
    ];
    const NUMBERS: [&str; 10] = [
        "Less than a second",
        "About a minute",
        "About an hour",
        "0 ",
        "1 ",
        "2 ",
        "+3 ",
        "-4 ",
        "584942417354 ",
        "18446744073709551615 ",
    ];
    const UNITS: [&str; 10] = [
        "", "second", "seconds", "minutes", "hours", "days", "weeks", "months", "years", "year",
    ];
    let (start, code, number) = (
        dice.one_of(&STARTS),
        dice.one_of(&CODES),
        dice.one_of(&NUMBERS),
    );
    let close = dice.one_of(&[") ", ")", ")  ", "", ")\u{a0}"]);
    let unit = dice.one_of(&UNITS);
    let end = dice.one_of(&[" ago", " ago", " ago ", "", " (Paused)", " (healthy)"]);
    if start == "Up " {
        return format!("{start}{number}{unit}{end}");
    }
    format!("{start}{code}{close}{number}{unit}{end}")
}

fn agrees(word: Option<&str>, text: &str) {
    let status = Status::parse(word, text);
    let state = word.and_then(state).or_else(|| by_text(text));
    assert_eq!(status.state, state, "{word:?} {text:?}");

    let over = matches!(
        state,
        None | Some(State::Restarting | State::Removing | State::Exited | State::Dead)
    );
    let ended = ended(text).filter(|_| over);
    assert_eq!(status.code, ended.map(|it| it.0), "{word:?} {text:?}");
    let runs = matches!(state, Some(State::Running | State::Paused));
    let age = match ended {
        Some((_, rest)) => rest.trim_start().strip_suffix(" ago").and_then(age),
        None => up(text).filter(|_| runs).and_then(age),
    };
    let seconds = |age: Age| {
        assert!(age.min < age.max, "{text:?}");
        assert_eq!(age.min.subsec_nanos() + age.max.subsec_nanos(), 0);
        (age.min.as_secs(), age.max.as_secs())
    };
    assert_eq!(status.age.map(seconds), age, "{word:?} {text:?}");

    // Each on its own: what is no code is none, with any state.
    if !text.contains("Exited (") && !text.contains("Restarting (") {
        assert_eq!(status.code, None);
    }
    assert!(status.age.is_none() || status.code.is_some() || runs);
}

fn by_text(text: &str) -> Option<State> {
    let end = text.find([' ', '(']).unwrap_or(text.len());
    match &text[..end] {
        "Up" if text.ends_with("(Paused)") => Some(State::Paused),
        "Up" => Some(State::Running),
        "Removal" => Some(State::Removing),
        "Created" => Some(State::Created),
        "Restarting" => Some(State::Restarting),
        "Exited" => Some(State::Exited),
        "Dead" => Some(State::Dead),
        _ => None,
    }
}

/// The code, and what is behind it.
fn ended(text: &str) -> Option<(i64, &str)> {
    let open = text.find('(')?;
    let close = text.find(')').filter(|close| *close > open)?;
    if !matches!(&text[..open], "Exited " | "Restarting ") {
        return None;
    }
    Some((integer(&text[open + 1..close])?, &text[close + 1..]))
}

/// What is between `Up ` and a remark in brackets.
fn up(text: &str) -> Option<&str> {
    let words = text.strip_prefix("Up ")?;
    Some(words.find(" (").map_or(words, |end| &words[..end]))
}

fn age(text: &str) -> Option<(u64, u64)> {
    let words: Vec<&str> = text.split(' ').collect();
    let (number, length, early) = match words[..] {
        ["Less", "than", "a", "second"] => (0, 1, 0),
        ["About", "a", "minute"] => (1, 60, 0),
        ["About", "an", "hour"] => (1, 3600, 0),
        [number, unit] if !number.starts_with('-') => {
            let (length, early) = match unit {
                "second" | "seconds" => (1, 0),
                "minutes" => (60, 0),
                "hours" => (3600, 1800),
                "days" => (86_400, 1800),
                "weeks" => (604_800, 1800),
                "months" => (2_592_000, 1800),
                "years" => (31_536_000, 1800),
                _ => return None,
            };
            (u128::from(integer::<u64>(number)?), length, early)
        }
        _ => return None,
    };
    let min = u64::try_from((number * length).saturating_sub(early)).ok()?;
    // Both ends must be times that can be told.
    u64::try_from(number * length).ok()?;
    let max = u64::try_from((number + 1) * length).ok()?;
    Some((min, max))
}

/// What an Engine writes of any code and any time is understood, and the time is in its bounds.
fn is_read_back(dice: &mut Dice) {
    let code = dice.signed();
    // Not far from where another word begins.
    let unit = dice.one_of(&[1, 60, 3600, 86_400, 604_800, 2_592_000, 31_536_000]);
    let seconds = dice.number() % 64 * unit + dice.number() % 8192;
    let seconds = seconds.saturating_sub(4096);
    let passed = Duration::from_millis(seconds * 1000 + dice.number() % 1000);
    for hours in [hours_cut_off(passed), hours_rounded(passed)] {
        let text = format!("Exited ({code}) {} ago", human(passed, hours));
        let status = Status::parse(Some("exited"), &text);
        assert_eq!(
            (status.state, status.code),
            (Some(State::Exited), Some(code))
        );
        let age = status.age.unwrap_or_else(|| panic!("{text}"));
        assert!(age.min <= passed && passed < age.max, "{text}: {passed:?}");
        let remark = dice.one_of(&["", " (healthy)", " (health: starting)", " (Paused)"]);
        let text = format!("Up {}{remark}", human(passed, hours));
        let word = dice.one_of(&["running", "paused", "stopping", "frobbed"]);
        assert_eq!(Status::parse(Some(word), &text).age, Some(age), "{text}");
    }
}

/// By docker/go-units before 0.4.
fn hours_cut_off(passed: Duration) -> u64 {
    passed.as_secs() / 3600
}

/// By docker/go-units since 0.4.
fn hours_rounded(passed: Duration) -> u64 {
    (passed.as_secs() + 1800) / 3600
}

/// docker/go-units' `HumanDuration`.
fn human(passed: Duration, hours: u64) -> String {
    let seconds = passed.as_secs();
    match (seconds, seconds / 60, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, minutes @ 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17_520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}
