//! The event stream: bytes, lines, events.

use docker_exit_exporter::engine::{Action, Event, LineReader, StreamItem, limits};
use docker_exit_exporter::http::HttpError;
use jiff::Timestamp;
use serde_json::Value;

use super::body::chunked;
use super::dice::Dice;
use super::json::{cut_off, object, signal_agrees, texts_agree, unambiguous, written_again};
use super::wire::{End, Pieces, connection};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What made-up attributes are made of.
const ATTRIBUTES: [(&str, &[&str]); 11] = [
    ("name", &[r#""/web""#, r#""web""#, r#""//""#, r#""""#]),
    ("image", &[r#""busybox""#, r#""\ud83d\ude00""#]),
    ("podId", &[r#""""#]),
    ("exitCode", &[r#""0""#, r#""-1""#, r#""+7""#, r#""x""#, "5"]),
    ("containerExitCode", &[r#""5""#, r#""137""#, r#""""#]),
    (
        "execDuration",
        &[r#""7""#, r#""-1""#, r#""-0""#, r#""18446744073709551615""#],
    ),
    (
        "signal",
        &[r#""15""#, r#""SIGHUP""#, r#""RTMAX-2""#, r#""0""#],
    ),
    ("oldName", &[r#""/old""#]),
    (
        "health_status",
        &[
            r#""healthy""#,
            r#""unhealthy""#,
            r#""unhealthy""#,
            r#""starting""#,
            r#""""#,
        ],
    ),
    ("container", &[r#""9f3c""#, r#""9""#, r#""""#, "5"]),
    ("job", &[r#""nightly\n""#, r#""""#]),
];

/// A byte that says which line grows and one that says how far, then the bytes of a stream; and the
/// dice for one that is made up.
pub fn events(data: &[u8]) {
    let [line, how, stream @ ..] = data else {
        return;
    };
    let mut dice = Dice::new(data);
    holds(&grow(stream, *line, *how), &mut dice.clone());
    let mut stream = String::new();
    for _ in 0..dice.below(4) {
        stream += &made_up(&mut dice);
        stream += dice.one_of(&["\n", "\n", "\n", "\n", "\r\n", " \n\n", ""]);
    }
    holds(stream.as_bytes(), &mut dice);
}

/// An event, most likely.
fn made_up(dice: &mut Dice<'_>) -> String {
    let attributes = object(dice, &ATTRIBUTES);
    let ids: &[&str] = &[r#""9f3c""#, r#""\u0039""#, r#""""#];
    let actor = object(dice, &[("ID", ids), ("Attributes", &[&attributes])]);
    let actions: &[&str] = &[
        r#""die""#,
        r#""die""#,
        r#""died""#,
        r#""kill""#,
        r#""create""#,
        r#""start""#,
        r#""oom""#,
        r#""destroy""#,
        r#""remove""#,
        r#""rename""#,
        r#""pause""#,
        r#""unpause""#,
        r#""exec_die""#,
        r#""attach""#,
        r#""connect""#,
        r#""connect""#,
        r#""disconnect""#,
        r#""stop""#,
        r#""health_status: healthy""#,
        r#""health_status: unhealthy""#,
        r#""health_status: starting""#,
        r#""health_status""#,
    ];
    let members: [(&str, &[&str]); 4] = [
        (
            "Type",
            &[r#""container""#, r#""\u0063ontainer""#, r#""network""#],
        ),
        ("Action", actions),
        ("Actor", &[&actor]),
        (
            "timeNano",
            &["1795336842315241720", "1", "9223372036854775807", "0"],
        ),
    ];
    // A line ends where the object does.
    object(dice, &members).replace(['\n', '\r'], " ")
}

fn holds(stream: &[u8], dice: &mut Dice<'_>) {
    let whole = lines([stream]);
    agrees(stream, &whole);
    let size = 1 + dice.below(40) + stream.len() / 1000;
    for size in [1 + stream.len() / 1000, size] {
        assert_eq!(lines(stream.chunks(size)), whole, "by {size}");
    }
    if stream.len() > limits::EVENT_LINE_BYTES / 2 {
        return;
    }
    assert_eq!(through_http(stream, dice), whole);
    let texts = stream.split(|byte| *byte == b'\n');
    for text in texts.filter_map(|line| std::str::from_utf8(line).ok()) {
        event(text, dice);
    }
}

/// What these pieces of a stream bring.
fn lines<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<StreamItem> {
    let mut all = Vec::new();
    let mut lines = LineReader::default();
    for piece in pieces {
        lines.push(piece, &mut |line| all.push(line));
        // A vector that grows takes up to twice of what it needs.
        assert!(lines.capacity() <= 2 * limits::EVENT_LINE_BYTES);
    }
    all
}

/// The same out of an answer's chunks, as they come.
fn through_http(stream: &[u8], dice: &mut Dice<'_>) -> Vec<StreamItem> {
    let wire = [HEAD.as_bytes(), &chunked(stream, dice)].concat();
    // An Engine that stops sends no last chunk.
    let pieces = Pieces::ByChance(dice.clone());
    let mut connection = connection(&wire[..wire.len() - 2], &pieces, End::Closed);
    let (_, mut body) = connection.get("docker", "/events", None).unwrap();
    let mut all = Vec::new();
    let mut lines = LineReader::default();
    loop {
        let count = match body.fill() {
            Ok(bytes) => {
                assert!(!bytes.is_empty(), "the stream has no end");
                lines.push(bytes, &mut |line| all.push(line));
                bytes.len()
            }
            Err(error) => {
                let closed = matches!(error, HttpError::Closed { in_response: true });
                assert!(closed, "{error}");
                return all;
            }
        };
        body.consume(count);
    }
}

/// Each whole line is told of once, if it is anything at all.
fn agrees(stream: &[u8], got: &[StreamItem]) {
    let mut got = got.iter();
    let end = stream.iter().rposition(|byte| *byte == b'\n');
    let whole = end.map_or(&[][..], |end| &stream[..end]);
    for line in whole.split(|byte| *byte == b'\n') {
        if line.len() > limits::EVENT_LINE_BYTES {
            let told = got.next();
            let too_long = |why: &String| why.contains("longer than the limit");
            assert!(
                matches!(told, Some(StreamItem::Invalid(why)) if too_long(why)),
                "{told:?}"
            );
            continue;
        }
        let want = match std::str::from_utf8(line) {
            Ok(text) if text.trim_ascii().is_empty() => Ok(None),
            Ok(text) => Event::parse(text.trim_ascii()).map_err(drop),
            Err(_) => Err(()),
        };
        match want {
            Ok(None) => {}
            Ok(Some(want)) => assert_eq!(got.next(), Some(&StreamItem::Event(Box::new(want)))),
            Err(()) => {
                let told = got.next();
                assert!(matches!(told, Some(StreamItem::Invalid(_))), "{told:?}");
            }
        }
    }
    assert_eq!(got.next(), None);
}

/// One line.
fn event(text: &str, dice: &mut Dice<'_>) {
    let event = Event::parse(text);
    if let Ok(Some(event)) = &event {
        is_sensible(event);
    }
    if event.is_ok() {
        let cut_off = cut_off(text, dice);
        assert!(Event::parse(cut_off).is_err(), "{cut_off}");
    }
    let Some(value) = unambiguous(text) else {
        return;
    };
    let member = |value: &Value, key: &str| value.get(key).cloned();
    let text = |value: Option<Value>| Some(value?.as_str()?.to_owned());
    let (kind, action) = (text(member(&value, "Type")), text(member(&value, "Action")));
    let actor = member(&value, "Actor").unwrap_or_default();
    let attributes = member(&actor, "Attributes").unwrap_or_default();
    let time = member(&value, "timeNano").and_then(|it| it.as_i64());
    let time = time.filter(|time| *time > 0);
    let (Some(kind), Some(word)) = (kind, action) else {
        assert!(event.is_err());
        return;
    };
    let health = text(member(&attributes, "health_status"));
    let action = action_of(&kind, &word, health.as_deref());
    let id = match action {
        Some(Action::Connect | Action::Disconnect) => member(&attributes, "container"),
        _ => member(&actor, "ID"),
    };
    match (action, text(id).filter(|id| !id.is_empty()), time) {
        (None, ..) => assert_eq!(event, Ok(None)),
        (Some(action), Some(id), Some(time)) => {
            let event = event.as_ref().unwrap().as_ref().expect("an event");
            assert_eq!((&event.id, event.action), (&id, action));
            assert_eq!(event.time.as_nanosecond(), i128::from(time));
            if kind == "network" {
                // Those are not the container's.
                assert!(event.attributes.is_empty(), "{event:?}");
            } else {
                texts_agree(&event.attributes, Some(&attributes));
            }
        }
        _ => assert!(event.is_err()),
    }
    for text in written_again(&value) {
        // The reason may tell where in the text it is.
        assert_eq!(Event::parse(&text).ok(), event.clone().ok(), "{text}");
    }
}

/// What a word means of a container or of a network, with the health that Podman has beside it.
fn action_of(kind: &str, word: &str, health: Option<&str>) -> Option<Action> {
    Some(match (kind, word) {
        ("network", "connect") => Action::Connect,
        ("network", "disconnect") => Action::Disconnect,
        ("container", "create") => Action::Create,
        ("container", "attach") => Action::Attach,
        ("container", "start") => Action::Start,
        ("container", "die" | "died") => Action::Die,
        ("container", "stop") => Action::Stop,
        ("container", "oom") => Action::Oom,
        ("container", "kill") => Action::Kill,
        ("container", "destroy" | "remove") => Action::Destroy,
        ("container", "rename") => Action::Rename,
        ("container", "pause") => Action::Pause,
        ("container", "unpause") => Action::Unpause,
        ("container", "health_status: healthy") => Action::Healthy,
        ("container", "health_status: unhealthy") => Action::Unhealthy,
        ("container", "health_status") => match health? {
            "healthy" => Action::Healthy,
            "unhealthy" => Action::Unhealthy,
            _ => return None,
        },
        _ => return None,
    })
}

fn is_sensible(event: &Event) {
    assert!(!event.id.is_empty());
    assert!(event.time > Timestamp::UNIX_EPOCH);
    let attribute = |key: &str| event.attributes.get(key).map(String::as_str);
    let code = |key: &str| attribute(key).and_then(super::integer::<i64>);
    let want = match code("containerExitCode") {
        Some(code) => (Some(code), true),
        None => (code("exitCode"), false),
    };
    assert_eq!(event.exit_code(), want);
    let seconds = attribute("execDuration").filter(|text| !text.starts_with('-'));
    let seconds = seconds.and_then(super::integer::<u64>);
    assert_eq!(event.exec_duration().map(|it| it.as_secs()), seconds);
    match attribute("signal") {
        None => assert_eq!(event.signal(), None),
        Some(text) => signal_agrees(event.signal(), text),
    }
    assert!(event.signal().is_none_or(|it| (1..=64).contains(&it)));
    assert_eq!(event.image(), attribute("image").unwrap_or_default());
    let name = attribute("name").unwrap_or_default();
    assert!(name == event.name() || name[1..] == *event.name());

    // A label is an attribute, and only what the Engine itself adds is none.
    let labels = event.labels();
    for (key, value) in labels.iter() {
        assert_eq!(attribute(key), Some(value.as_str()));
    }
    let keys = event.attributes.keys();
    for key in keys.filter(|key| !labels.contains_key(*key)) {
        let of_all = matches!(key.as_str(), "name" | "image" | "podId");
        let own = match event.action {
            Action::Die => ["exitCode", "containerExitCode", "execDuration"].contains(&&**key),
            Action::Destroy => key == "containerExitCode",
            Action::Healthy | Action::Unhealthy => key == "health_status",
            Action::Kill => key == "signal",
            Action::Rename => key == "oldName",
            _ => false,
        };
        assert!(of_all || own, "{key:?}");
    }
}

/// The same with a line that blanks make as long as the limit lets through, or longer.
fn grow(stream: &[u8], line: u8, how: u8) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = stream
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if !(250..=252).contains(&how) || lines.is_empty() {
        return stream.to_vec();
    }
    let at = usize::from(line) % lines.len();
    let line = &mut lines[at];
    let end = line.len() - usize::from(line.ends_with(b"\n"));
    let missing = (limits::EVENT_LINE_BYTES + usize::from(how) - 251).saturating_sub(end);
    // Before the first byte as well as behind the last.
    let start = if how == 251 { 0 } else { end };
    line.splice(start..start, std::iter::repeat_n(b' ', missing));
    lines.concat()
}
