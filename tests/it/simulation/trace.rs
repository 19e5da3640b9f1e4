//! Messages and requests on one short line each, for whoever looks into a failure.

use super::subject::{Answer, Failure, Message};

/// The texts that stand behind this key, shortened to so many characters.
fn values<'a>(text: &'a str, key: &str, longest: usize) -> Vec<&'a str> {
    let key = format!("\"{key}\":");
    let all = text.match_indices(&key).map(|(at, key)| {
        let rest = text[at + key.len()..].trim_start_matches('"');
        let end = rest.find(['"', ',', '}']).unwrap_or(rest.len());
        &rest[..end.min(longest)]
    });
    all.collect()
}

fn line(text: &str) -> String {
    let first = |key, longest| values(text, key, longest).first().copied().unwrap_or("");
    let id = match first("id", 6) {
        "" => first("container", 6),
        id => id,
    };
    let mut said = format!(
        "{} {id} made at {}",
        first("Action", 40),
        first("timeNano", 19)
    );
    for key in ["exitCode", "signal"] {
        let value = first(key, 10);
        if !value.is_empty() {
            said += &format!(", {key} {value}");
        }
    }
    said
}

fn answer<T>(answer: &Answer<T>, text: impl Fn(&T) -> String) -> String {
    let asked = answer.asked.uptime.as_secs_f64();
    let said = match &answer.result {
        Ok(good) => text(good),
        Err(Failure::Refused(status, why)) => format!("{status} {why}"),
        Err(failure) => format!("{failure:?}"),
    };
    format!("(asked at {asked:.4}) {said}")
}

fn listing(text: &str) -> String {
    let ids = values(text, "Id", 6);
    let all = ids.iter().zip(values(text, "Status", 60));
    let all: Vec<_> = all.map(|(id, status)| format!("{id} {status}")).collect();
    all.join(", ")
}

fn inspect(text: &str) -> String {
    let keys = ["Status", "ExitCode", "OOMKilled", "StartedAt", "FinishedAt"];
    let all = keys.map(|key| {
        let value = values(text, key, 35).first().copied().unwrap_or("");
        format!("{key} {value}")
    });
    all.join(", ")
}

pub(crate) fn message(message: &Message) -> String {
    match message {
        Message::Tick => "tick".to_owned(),
        Message::Opened => "the stream is open".to_owned(),
        Message::Line(bytes) => line(&String::from_utf8_lossy(bytes)),
        Message::Closed(failure) => format!("the stream is closed: {failure:?}"),
        Message::Listed(it) => format!("listing {}", answer(it, |text| listing(text))),
        Message::Inspected(id, it) => format!(
            "inspect of {} {}",
            &id[..6],
            answer(it, |text| inspect(text))
        ),
        Message::Info(it) => format!("info {}", answer(it, |_| String::new())),
        Message::Remembered(it) => {
            let lines = |bytes: &Vec<u8>| {
                let text = String::from_utf8_lossy(bytes);
                let all: Vec<_> = text.lines().map(line).collect();
                format!("{} lines, first {:?}", all.len(), all.first())
            };
            format!("remembered {}", answer(it, lines))
        }
    }
}
