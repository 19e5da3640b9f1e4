use serde_json::json;

use super::*;

fn one(element: &str) -> Listed<'_> {
    let mut all = listing(element).unwrap();
    assert_eq!(all.len(), 1, "{element}");
    all.remove(0)
}

#[test]
fn names() {
    for (names, want) in [
        (r#"["/web"]"#, "web"),
        (r#"["/db/alias","/web"]"#, "web"),
        (r#"["/web","/db/alias"]"#, "web"),
        (r#"["web"]"#, "web"),
        (r#"["/w\u00e9b"]"#, "wéb"),
        (r#"["/db/alias"]"#, ""),
        (r#"[null, 5, "/web"]"#, "web"),
        ("[]", ""),
        ("null", ""),
        (r#""/web""#, ""),
    ] {
        let text = format!(r#"[{{"Id":"1","Names":{names}}}]"#);
        assert_eq!(one(&text).name, want, "{names}");
    }
}

#[test]
fn an_odd_container_does_not_affect_the_others() {
    let good =
        r#"{"Id":"good","Names":["/ok"],"State":"exited","Status":"Exited (3) 1 second ago"}"#;
    for odd in [
        "null",
        "5",
        "-5",
        "1.5",
        "true",
        r#""text""#,
        "[]",
        r#"[{"Id":"no"}]"#,
        "{}",
        r#"{"Id":null}"#,
        r#"{"Id":""}"#,
        r#"{"Id":{"a":[1]}}"#,
    ] {
        let text = format!("[{odd},{good},{odd}]");
        let all = listing(&text).unwrap();
        assert_eq!(all.len(), 1, "{odd}");
        assert_eq!(all[0].status.code, Some(3));
    }
}

#[test]
fn odd_fields_are_absent_and_the_others_are_read() {
    for value in ["null", "7", "[]", "{}", "true", "[{\"a\":[]}]"] {
        for key in ["Names", "Image", "State", "Labels", "Created", "Ports"] {
            let text =
                format!(r#"[{{"Id":"1","Status":"Exited (3) 1 second ago","{key}":{value}}}]"#);
            let all = listing(&text).unwrap();
            assert_eq!(all[0].status.code, Some(3), "{key} {value}");
            assert!(all[0].labels().is_empty());
        }
    }
}

#[test]
fn long_values_are_absent_and_the_others_are_read() {
    let long = "x".repeat(10_000_000);
    let rest = r#""Status":"Exited (3) 1 second ago""#;
    for (more, name, labels) in [
        (format!(r#""Names":["/{long}"]"#), "", 0),
        (format!(r#""Names":["/{long}","/web"]"#), "", 0),
        (format!(r#""Names":["/web"],"Image":"{long}""#), "web", 0),
        (
            format!(r#""Names":["/web"],"Labels":{{"a":"{long}","b":"c"}}"#),
            "web",
            1,
        ),
        (
            format!(r#""Names":["/web"],"Labels":{{"{long}":"a","b":"c"}}"#),
            "web",
            1,
        ),
        (format!(r#""Names":["/web"],"Other":"{long}""#), "web", 0),
    ] {
        let text = format!(r#"[{{"Id":"1",{rest},{more}}}]"#);
        let it = one(&text);
        assert_eq!((&*it.name, &*it.image), (name, ""));
        assert_eq!((it.status.code, it.labels().len()), (Some(3), labels));
    }
    let text = format!(r#"[{{"Id":"{long}"}},{{"Id":"1"}}]"#);
    assert_eq!(one(&text).id, "1");
}

#[test]
fn labels_beyond_the_limit_are_left_out() {
    let all: Vec<_> = (0..1000)
        .map(|number| format!(r#""k{number:04}":"{}""#, "x".repeat(93)))
        .collect();
    let text = format!(r#"[{{"Id":"1","Labels":{{{}}}}}]"#, all.join(","));
    // Each one has 98 bytes with its key.
    let labels = one(&text).labels();
    assert_eq!(
        labels.len(),
        limits::LABELS_BYTES / (98 + limits::LABEL_OVERHEAD_BYTES)
    );
    assert_eq!(labels.len() + labels.left_out(), 1000);
}

#[test]
fn needed_labels_are_read_beyond_the_limit() {
    let long = "x".repeat(limits::LABEL_BYTES + 1);
    let fits = r"\n".repeat(limits::LABEL_BYTES);
    for (value, taken) in [
        ("web", "web"),
        (&fits, &*fits.replace(r"\n", "\n")),
        (&long, ""),
    ] {
        let key = "com.docker.swarm.service.name";
        let all: Vec<_> = (0..1000)
            .map(|it| format!(r#""a{it}":"{}""#, "x".repeat(93)))
            .collect();
        let labels = format!(
            r#""signal":"{long}","exitCode":"1",{},"{key}":"{value}""#,
            all.join(",")
        );
        let text = format!(r#"[{{"Id":"1","Labels":{{{labels}}}}}]"#);
        let labels = one(&text).labels();
        assert_eq!(labels.get(key).map_or("", String::as_str), taken);
        assert_eq!(
            (labels["signal"].as_str(), labels["exitCode"].as_str()),
            ("", "1")
        );
    }
}

#[test]
fn unused_values_may_have_any_depth() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let text = format!(r#"[{{"Id":"1","Mounts":{deep},"State":{deep},"Labels":{{"a":{deep}}}}}]"#);
    assert!(one(&text).labels().is_empty());
    let state = format!(r#"{{"Status":"exited","ExitCode":3,"Health":{deep}}}"#);
    let text = format!(r#"{{"Mounts":{deep},"State":{state}}}"#);
    assert_eq!(Inspected::parse(&text).unwrap().code, 3);
}

#[test]
fn the_number_of_containers_is_limited() {
    let text = |count| {
        let all: Vec<_> = (0..count).map(|it| format!(r#"{{"Id":"{it}"}}"#)).collect();
        format!("[{}]", all.join(","))
    };
    assert_eq!(
        listing(&text(limits::MAX_CONTAINERS)).unwrap().len(),
        limits::MAX_CONTAINERS
    );
    let error = listing(&text(limits::MAX_CONTAINERS + 1)).unwrap_err();
    assert!(error.to_string().contains("more than 200000 containers"));
    // Other elements do not count.
    let none = format!("[{}{{}}]", "{},".repeat(300_000));
    assert!(listing(&none).unwrap().is_empty());
}

#[test]
fn only_strings_are_labels() {
    let text = r#"[{"Id":"1","Labels":{"b":"2","a":"1","n":null,"x":5,"q":"\"\n"}}]"#;
    let labels = one(text).labels();
    let pairs: Vec<_> = labels
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(pairs, [("a", "1"), ("b", "2"), ("q", "\"\n")]);
}

#[test]
fn an_invalid_listing_fails() {
    assert_eq!(listing("null").unwrap().len(), 0);
    assert_eq!(listing("[]").unwrap().len(), 0);
    for text in [
        "",
        "{}",
        "[",
        "[{}",
        "{\"message\":\"no\"}",
        "[]x",
        "<html>",
    ] {
        assert!(listing(text).is_err(), "{text}");
    }
}

#[test]
fn an_inspect_without_a_state_fails() {
    let state = r#"{"Status":"exited","ExitCode":3,"Error":"no such file"}"#;
    let text = format!(r#"{{"State":{state},"Config":5,"HostConfig":[],"RestartCount":-1}}"#);
    let want = Inspected {
        state: Some(State::Exited),
        code: 3,
        error: "no such file".to_owned(),
        ..Inspected::default()
    };
    assert_eq!(Inspected::parse(&text).unwrap(), want);
    for state in [
        "null",
        "[]",
        "{}",
        r#"{"Status":"exited"}"#,
        r#"{"Status":null,"ExitCode":3}"#,
        r#"{"Status":"exited","ExitCode":"3"}"#,
    ] {
        let text = format!(r#"{{"State":{state}}}"#);
        assert!(Inspected::parse(&text).is_err(), "{state}");
    }
    assert!(Inspected::parse("{}").is_err());
    assert!(Inspected::parse("[]").is_err());
}

#[test]
fn times() {
    for (text, want) in [
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", None),
        ("2026-11-22T08:41:03Z", Some(1_795_336_863)),
        ("2026-11-22T09:41:03.5+01:00", Some(1_795_336_863)),
        ("2026-11-22", None),
        ("", None),
    ] {
        assert_eq!(timestamp(text).map(Timestamp::as_second), want, "{text}");
    }
}

#[test]
fn failed_health_checks_make_a_container_unhealthy() {
    for (failed_checks, retries, want) in [
        // Docker ended the checks of a healthy container.
        (Some(0), Some(3), false),
        (Some(2), None, false),
        (Some(3), None, true),
        (Some(3), Some(0), true),
        (Some(1), Some(1), true),
        (Some(4), Some(5), false),
        (None, None, false),
    ] {
        let health = json!({"Status": "unhealthy", "FailingStreak": failed_checks});
        let text = json!({
            "State": {"Status": "exited", "ExitCode": 137, "Health": health},
            "Config": {"Healthcheck": {"Retries": retries}},
        });
        let inspected = Inspected::parse(&text.to_string()).unwrap();
        assert_eq!(inspected.unhealthy, want, "{text}");
    }
}
