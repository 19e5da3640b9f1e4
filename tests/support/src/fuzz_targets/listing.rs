//! The listing of all containers.

use docker_exit_exporter::engine::{self, Labels, Listed, Status};
use serde_json::Value;

use super::dice::Dice;
use super::json::{cut_off, object, texts_agree, unambiguous, written_again};

/// What may stand among the containers and is none.
const ODD: [&str; 9] = [
    "null",
    "5",
    "-1e9",
    "true",
    "\"Id\"",
    "{}",
    "{\"Id\":null}",
    "{\"Id\":\"\",\"Names\":[\"/no\"]}",
    "[{\"Id\":\"no\"}]",
];

/// What a made-up container is made of.
const MEMBERS: [(&str, &[&str]); 7] = [
    (
        "Id",
        &[r#""9f3c""#, r#""\u0039f3c""#, r#""""#, r#""\ud83d\ude00""#],
    ),
    (
        "Names",
        &[
            r#"["/web"]"#,
            r#"["/db/web","/web"]"#,
            r#"["/web","/web/db"]"#,
            r#"["\/w\u00e9b"]"#,
            r#"["/a/b"]"#,
            r#"[null,5,["/no"],"web","/x"]"#,
            r#"["//"]"#,
            r#"["/"]"#,
            "[]",
        ],
    ),
    ("Image", &[r#""busybox""#, r#""sha256:\"1\"""#, r#""""#]),
    (
        "State",
        &[
            r#""exited""#,
            r#""running""#,
            r#""restarting""#,
            r#""stopped""#,
            r#""Exited""#,
            r#""""#,
        ],
    ),
    (
        "Status",
        &[
            r#""Exited (3) 5 minutes ago""#,
            r#""Exited (-1) About an hour ago""#,
            r#""Restarting (137) Less than a second ago""#,
            r#""Up 2 hours (Paused)""#,
            r#""Exited \u00287) 2 weeks ago""#,
            r#""Exited (3""#,
        ],
    ),
    (
        "Labels",
        &[
            "{}",
            r#"{"a":"1","b.c/d":"\"2\"\n"}"#,
            r#"{"a":"1","n":null,"x":5,"o":{"a":"2"},"":""}"#,
            r#"{"a":"\u0000\ud83d\ude00"}"#,
            r#"["a"]"#,
        ],
    ),
    (
        "Created",
        &["1795336842", r#"{"Id":"no"}"#, r#"[{"Labels":{}}]"#],
    ),
];

type Told = (String, String, String, Status, Labels);

fn told(listed: &Listed<'_>) -> Told {
    (
        listed.id.to_string(),
        listed.name.to_string(),
        listed.image.to_string(),
        listed.status,
        listed.labels(),
    )
}

fn read(text: &str) -> Option<Vec<Told>> {
    let all = engine::listing(text).ok()?;
    Some(all.iter().map(told).collect())
}

/// The text of an answer to `/containers/json`; and the dice for one that is made up.
pub fn listing(data: &[u8]) {
    let mut dice = Dice::new(data);
    holds(&String::from_utf8_lossy(data), &mut dice.clone());
    let all = (0..dice.below(4)).map(|_| object(&mut dice, &MEMBERS));
    let all: Vec<_> = all.collect();
    holds(&format!("[{}]", all.join(", ")), &mut dice);
}

fn holds(text: &str, dice: &mut Dice<'_>) {
    let all = read(text);
    if let Some(all) = &all {
        is_of_the_text(all, text);
        if text.contains('[') {
            let cut_off = cut_off(text, dice);
            assert_eq!(read(cut_off), None, "{cut_off}");
        }
        if let Some(longer) = with_odd(text, dice.one_of(&ODD)) {
            assert_eq!(read(&longer).as_ref(), Some(all), "{longer}");
        }
    }
    if let Ok(Value::Array(elements)) = serde_json::from_str(text) {
        let all = all
            .as_ref()
            .expect("whatever is in an array, it is a listing");
        assert!(all.len() <= elements.len());
    }
    if let Some(value) = unambiguous(text) {
        match &value {
            Value::Array(elements) => agrees(all.as_ref().expect("a listing"), elements),
            Value::Null => assert_eq!(all, Some(Vec::new())),
            _ => assert_eq!(all, None),
        }
        for text in written_again(&value) {
            assert_eq!(read(&text), all, "{text}");
        }
    }
}

/// Nothing is there that is not in the text.
fn is_of_the_text(all: &[Told], text: &str) {
    assert!(all.len() <= text.matches('{').count());
    let escapes = text.contains('\\');
    for (id, name, image, status, labels) in all {
        assert!(!id.is_empty() && !name.contains('/'));
        let labels = labels.iter().flat_map(|(key, value)| [key, value]);
        for part in [id, name, image].into_iter().chain(labels) {
            assert!(escapes || text.contains(part.as_str()), "{part:?}");
        }
        if status.code.is_some() {
            assert!(escapes || text.contains("Exited (") || text.contains("Restarting ("));
        }
    }
}

fn agrees(all: &[Told], elements: &[Value]) {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let containers = elements.iter().filter_map(|element| {
        let id = text(element.get("Id")).filter(|id| !id.is_empty())?;
        Some((id, element))
    });
    let containers: Vec<_> = containers.collect();
    assert_eq!(all.len(), containers.len());
    for ((got_id, name, image, status, labels), (id, element)) in all.iter().zip(containers) {
        assert_eq!(*got_id, id);
        assert_eq!(*image, text(element.get("Image")).unwrap_or_default());
        let names = element.get("Names").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        let mut names = names.map(|name| name.strip_prefix('/').unwrap_or(name));
        let own = names.find(|name| !name.contains('/'));
        assert_eq!(*name, own.unwrap_or_default());
        let state = text(element.get("State"));
        let want = text(element.get("Status")).unwrap_or_default();
        assert_eq!(*status, Status::parse(state.as_deref(), &want));
        texts_agree(labels, element.get("Labels"));
    }
}

/// The listing with one element more in front of all.
fn with_odd(text: &str, odd: &str) -> Option<String> {
    let rest = text.split_once('[')?.1;
    let empty = rest
        .trim_start_matches([' ', '\t', '\r', '\n'])
        .starts_with(']');
    let comma = if empty { "" } else { "," };
    Some(format!("[{odd}{comma}{rest}"))
}
