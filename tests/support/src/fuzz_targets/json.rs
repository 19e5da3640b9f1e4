//! What the Engine's JSON means, read a second time by way of `serde_json::Value`.

use std::collections::BTreeMap;

use docker_exit_exporter::engine::limits;
use serde_json::Value;

use super::dice::Dice;

/// The value of a text in which no object has a key twice, of which either may count, and no string is too long, which
/// may be taken for absent.
pub(super) fn unambiguous(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(text).ok()?;
    let (colons, longest) = colons_and_strings(text);
    (members(&value) == colons && longest <= limits::TEXT_BYTES).then_some(value)
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(array) => array.iter().map(members).sum(),
        _ => 0,
    }
}

/// How many colons there are outside of strings, and how long the longest string is, with its quotes.
fn colons_and_strings(text: &str) -> (usize, usize) {
    let (mut colons, mut longest) = (0, 0);
    let (mut start, mut escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (byte, start) {
            _ if escaped => escaped = false,
            (b'\\', _) => escaped = true,
            (b'"', None) => start = Some(at),
            (b'"', Some(from)) => {
                longest = longest.max(at + 1 - from);
                start = None;
            }
            (b':', None) => colons += 1,
            _ => {}
        }
    }
    (colons, longest)
}

/// The same value in other texts.
pub(super) fn written_again(value: &Value) -> [String; 2] {
    let pretty = serde_json::to_string_pretty(value).unwrap();
    [value.to_string(), pretty]
}

/// The text of an array or object without its end, which is none any more.
pub(super) fn cut_off<'t>(text: &'t str, dice: &mut Dice<'_>) -> &'t str {
    let text = text.trim_end_matches([' ', '\t', '\r', '\n']);
    let mut end = usize::try_from(dice.number() % text.len().max(1) as u64).unwrap_or_default();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// All labels are there that are texts, and no others; of very many or very long ones some may be
/// missing.
pub(super) fn texts_agree(got: &BTreeMap<String, String>, value: Option<&Value>) {
    let empty = serde_json::Map::new();
    let want = value.and_then(Value::as_object).unwrap_or(&empty);
    let text = |key: &str| want.get(key).and_then(Value::as_str);
    for (key, value) in got {
        // A few are only known to be there.
        let is_long = value.is_empty() && text(key).is_some_and(|text| text.len() > 128);
        assert!(is_long || Some(value.as_str()) == text(key), "{key:?}");
    }
    let texts = want.iter().filter(|(_, value)| value.is_string()).count();
    let longest = want
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .max();
    if texts <= 32 && longest.unwrap_or_default() <= 512 {
        assert_eq!(got.len(), texts, "{value:?}");
    }
}

/// It is the signal of the text, if that is written as it should be.
pub(super) fn signal_agrees(got: Option<u8>, text: &str) {
    let in_range = |number: i64| u8::try_from(number).ok().filter(|it| (1..=64).contains(it));
    if let Some(number) = signal(text) {
        assert_eq!(got, in_range(number), "{text:?}");
    }
}

fn signal(text: &str) -> Option<i64> {
    const NAMES: &str = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM \
        STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS";
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let digits = |text: &str| {
        let all = text.bytes().all(|byte| byte.is_ascii_digit());
        super::integer::<i64>(text).filter(|_| all)
    };
    if let Some(number) = digits(name) {
        Some(number)
    } else if let Some(offset) = name.strip_prefix("RTMIN+") {
        Some(34 + digits(offset).filter(|it| *it < 200)?)
    } else if let Some(offset) = name.strip_prefix("RTMAX-") {
        Some(64 - digits(offset).filter(|it| *it < 200)?)
    } else {
        let at = NAMES.split_ascii_whitespace().position(|it| it == name)?;
        i64::try_from(at + 1).ok()
    }
}

/// What stands where something else belongs.
const ODD: [&str; 18] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "7",
    "1.5",
    "1e3",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    r#""""#,
    r#""text""#,
    "[]",
    r#"[{"Id":"no"},[null]]"#,
    "{}",
    r#"{"Id":"no","ID":"no","Status":{"a":["b"]}}"#,
];

/// A made-up object: each of the keys with one of its values, unless the dice say otherwise.
pub(super) fn object(dice: &mut Dice<'_>, members: &[(&str, &[&str])]) -> String {
    let mut written = Vec::new();
    let first = dice.below(members.len());
    for (key, values) in members.iter().cycle().skip(first).take(members.len()) {
        let blank = dice.one_of(&["", "", "", " ", "\r\n\t"]);
        match dice.below(16) {
            0 | 1 => {}
            2 | 3 => written.push(format!(r#""{key}":{}"#, dice.one_of(&ODD))),
            4 => {
                // The same key, if in other letters.
                let escaped = key.chars().map(|it| format!("\\u{:04x}", u32::from(it)));
                let escaped: String = escaped.collect();
                written.push(format!(r#""{escaped}":{blank}{}"#, dice.one_of(values)));
            }
            5 => {
                let (one, other) = (dice.one_of(values), dice.one_of(values));
                written.push(format!(r#""{key}":{one},"{key}":{other}"#));
            }
            _ => written.push(format!(r#""{key}"{blank}:{}"#, dice.one_of(values))),
        }
    }
    format!("{{{}}}", written.join(","))
}
