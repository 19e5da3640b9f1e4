//! One container, inspected.

use docker_exit_exporter::engine::{Inspected, State};
use jiff::Timestamp;
use serde_json::Value;

use super::dice::Dice;
use super::json::{cut_off, object, signal_agrees, texts_agree, unambiguous, written_again};
use super::status;

/// What may stand beside that which is read.
const BESIDE: [&str; 4] = [
    "\"Mounts\":[{\"Id\":5,\"State\":{\"ExitCode\":1}}]",
    "\"id\":\"no\"",
    "\"\":null",
    "\"NetworkSettings\":{\"Id\":\"no\",\"State\":{\"Status\":\"dead\"}}",
];

/// What a made-up container is made of.
const TIMES: &[&str] = &[
    r#""0001-01-01T00:00:00Z""#,
    r#""1970-01-01T00:00:00Z""#,
    r#""1970-01-01T00:00:00.000000001Z""#,
    r#""2026-11-22T08:41:03.5Z""#,
    r#""2024-02-29T23:59:59.123456789-11:30""#,
    r#""2023-02-29T00:00:00Z""#,
    r#""9998-12-31T00:00:00+23:59""#,
    r#""2026-11-22T08:41:60Z""#,
    r#""2026-11-22T08:41:03""#,
    r#""2026-11-22 08:41:03Z""#,
];
const STATE: [(&str, &[&str]); 7] = [
    (
        "Status",
        &[
            r#""exited""#,
            r#""running""#,
            r#""paused""#,
            r#""stopping""#,
            r#""new""#,
        ],
    ),
    (
        "ExitCode",
        &["0", "137", "-1", "9223372036854775807", r#""1""#],
    ),
    ("Error", &[r#""""#, r#""no \"such\" file\n""#]),
    ("OOMKilled", &["true", "false", r#""true""#, "1"]),
    (
        "Health",
        &[
            r#"{"Status":"unhealthy","FailingStreak":3}"#,
            r#"{"Status":"unhealthy","FailingStreak":0}"#,
            r#"{"FailingStreak":5}"#,
            r#"{"FailingStreak":"3"}"#,
            r#"{"FailingStreak":-1}"#,
            r#"{"Status":null}"#,
            r#""unhealthy""#,
            "null",
        ],
    ),
    ("StartedAt", TIMES),
    ("FinishedAt", TIMES),
];
const CONFIG: [(&str, &[&str]); 4] = [
    ("Image", &[r#""busybox""#, r#""\u0062""#, r#""""#]),
    (
        "Labels",
        &[
            "{}",
            r#"{"a":"1","b.c/d":"\"2\"\n"}"#,
            r#"{"a":"1","n":null,"x":5,"o":{"a":"2"},"":""}"#,
        ],
    ),
    (
        "Healthcheck",
        &[r#"{"Retries":5}"#, r#"{"Retries":0}"#, "{}", "null"],
    ),
    (
        "StopSignal",
        &[
            r#""SIGTERM""#,
            r#""QUIT""#,
            r#""15""#,
            r#""0""#,
            r#""65""#,
            r#""256""#,
            r#""SIGRTMIN+3""#,
            r#""SIGRTMIN+30""#,
            r#""SIGRTMIN+31""#,
            r#""RTMAX-2""#,
            r#""SIGRTMAX-64""#,
            r#""SIGNOSUCH""#,
        ],
    ),
];
const HOST_CONFIG: [(&str, &[&str]); 1] =
    [("CgroupParent", &[r#""""#, r#""/docker""#, r#""a.slice""#])];

fn made_up(dice: &mut Dice<'_>) -> String {
    let state = object(dice, &STATE);
    let config = object(dice, &CONFIG);
    let host_config = object(dice, &HOST_CONFIG);
    let restarts = ["0", "3", "-1", "1.0", "18446744073709551615"];
    let members: [(&str, &[&str]); 6] = [
        ("Id", &[r#""9f3c""#, r#""\u0039f3c""#, r#""""#]),
        ("Created", TIMES),
        ("State", &[&state]),
        ("Config", &[&config]),
        ("HostConfig", &[&host_config]),
        ("RestartCount", &restarts),
    ];
    object(dice, &members)
}

/// The text of an answer to `/containers/{id}/json`; and the dice for one that is made up.
pub fn inspect(data: &[u8]) {
    let mut dice = Dice::new(data);
    holds(&String::from_utf8_lossy(data), &mut dice.clone());
    holds(&made_up(&mut dice), &mut dice);
    let seconds = dice.signed() % 250_000_000_000;
    if let Ok(time) = Timestamp::new(seconds, 1) {
        let text = time.to_string();
        let state = r#""Status":"exited","ExitCode":3"#;
        let text = format!(r#"{{"State":{{{state},"StartedAt":"{text}"}}}}"#);
        holds(&text, &mut dice);
    }
}

fn holds(text: &str, dice: &mut Dice<'_>) {
    let inspected = Inspected::parse(text).ok();
    if let Some(inspected) = &inspected {
        is_sensible(inspected);
        let cut_off = cut_off(text, dice);
        assert!(Inspected::parse(cut_off).is_err(), "{cut_off}");
    }
    let Some(value) = unambiguous(text) else {
        return;
    };
    let Value::Object(object) = &value else {
        assert_eq!(inspected, None);
        return;
    };
    let told = |key: &str| value.get("State").and_then(|state| state.get(key));
    let tells_state = told("Status").is_some_and(Value::is_string)
        && told("ExitCode").and_then(Value::as_i64).is_some();
    if !tells_state {
        assert_eq!(inspected, None);
        return;
    }
    let inspected = inspected.expect("an object with a state is a container");
    agrees(&inspected, &value);
    for text in written_again(&value) {
        assert_eq!(Inspected::parse(&text).unwrap(), inspected, "{text}");
    }
    let beside = dice.one_of(&BESIDE);
    let key = beside.split('"').nth(1).unwrap_or_default();
    if !object.contains_key(key) {
        let comma = if object.is_empty() { "" } else { "," };
        let longer = value
            .to_string()
            .replacen('{', &format!("{{{beside}{comma}"), 1);
        assert_eq!(Inspected::parse(&longer).unwrap(), inspected, "{longer}");
    }
}

fn is_sensible(inspected: &Inspected) {
    for time in [
        inspected.created,
        inspected.started_at,
        inspected.finished_at,
    ] {
        assert!(time.is_none_or(|time| time > Timestamp::UNIX_EPOCH));
    }
    let signal = inspected.stop_signal;
    assert!(signal.is_none_or(|signal| (1..=64).contains(&signal)));
    let running = matches!(inspected.state, Some(State::Running | State::Paused));
    assert_eq!(inspected.is_running(), running);
}

fn agrees(inspected: &Inspected, value: &Value) {
    let of = |outer: &str, inner: &str| value.get(outer).and_then(|it| it.get(inner));
    let text = |outer: &str, inner: &str| of(outer, inner).and_then(Value::as_str);
    let id = value.get("Id").and_then(Value::as_str);
    assert_eq!(inspected.id.as_deref(), id);
    let state = text("State", "Status").and_then(status::state);
    assert_eq!(inspected.state, state);
    let code = of("State", "ExitCode").and_then(Value::as_i64);
    assert_eq!(Some(inspected.code), code);
    assert_eq!(inspected.error, text("State", "Error").unwrap_or_default());
    let oom_killed = of("State", "OOMKilled") == Some(&Value::Bool(true));
    assert_eq!(inspected.oom_killed, oom_killed);
    let number = |outer, inner, name| {
        let value = of(outer, inner).and_then(|it| it.get(name));
        value.and_then(Value::as_u64)
    };
    let failed_checks = number("State", "Health", "FailingStreak");
    let retries = match number("Config", "Healthcheck", "Retries") {
        Some(retries) if retries > 0 => retries,
        _ => 3,
    };
    let unhealthy = failed_checks.is_some_and(|failed| failed >= retries);
    assert_eq!(inspected.unhealthy, unhealthy);
    let restarts = value.get("RestartCount").and_then(Value::as_u64);
    assert_eq!(inspected.restart_count, restarts);
    assert_eq!(inspected.image.as_deref(), text("Config", "Image"));
    texts_agree(&inspected.labels, of("Config", "Labels"));
    let parent = text("HostConfig", "CgroupParent");
    assert_eq!(inspected.cgroup_parent, parent.unwrap_or_default());

    match text("Config", "StopSignal") {
        None => assert_eq!(inspected.stop_signal, None),
        Some(text) => {
            signal_agrees(inspected.stop_signal, text);
        }
    }
    let created = value.get("Created").and_then(Value::as_str);
    for (time, told) in [
        (inspected.created, created),
        (inspected.started_at, text("State", "StartedAt")),
        (inspected.finished_at, text("State", "FinishedAt")),
    ] {
        match told {
            None => assert_eq!(time, None),
            Some(text) => {
                if let Some(want) = nanoseconds(text) {
                    let got = time.map(Timestamp::as_nanosecond);
                    assert_eq!(got, Some(want).filter(|it| *it > 0), "{text:?}");
                }
            }
        }
    }
}

/// A time as RFC 3339 has it, in nanoseconds since 1970; `None` if it is written otherwise, or at the
/// ends of what can be told.
fn nanoseconds(text: &str) -> Option<i128> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        super::integer::<i64>(digits).filter(|_| all)
    };
    let is = |at: usize, byte: u8| text.as_bytes().get(at) == Some(&byte);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':');
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let in_range = (1..=9998).contains(&year)
        && (1..=days).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !marks || !in_range {
        return None;
    }
    let (fraction, zone) = match text[19..].strip_prefix('.') {
        None => (0, 19),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            let scale = 10_i64.pow(9 - u32::try_from(digits).ok()?);
            (number(20, 20 + digits)? * scale, 20 + digits)
        }
    };
    let east = match &text[zone..] {
        "Z" => 0,
        rest if rest.len() == 6 && is(zone + 3, b':') => {
            let (hours, minutes) = (number(zone + 1, zone + 3)?, number(zone + 4, zone + 6)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = hours * 3600 + minutes * 60;
            match rest.as_bytes()[0] {
                b'+' => east,
                b'-' => -east,
                _ => return None,
            }
        }
        _ => return None,
    };
    // Days since 1970, with years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leaps + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - east;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(fraction))
}
