//! The built program against an Engine that is not there: what it serves, says, asks for and ends
//! with.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::json;
use test_support::container::Container;
use test_support::fake_engine::{Answer, FakeEngine};

use crate::support::exporter::{BINARY, Exporter, Scraped, free_port, is_down, is_up, once};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually, quickest};

/// One request, byte by byte as given; the whole answer.
fn ask(port: u16, request: &str) -> String {
    String::from_utf8(ask_for_bytes(port, request)).unwrap()
}

fn ask_for_bytes(port: u16, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn get(port: u16, path: &str) -> String {
    ask(
        port,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

/// A check for [`Scraped::until`]: that container's exit has this code.
fn has_exit(name: &str, code: f64) -> impl FnMut(&Metrics) -> Result<(), String> {
    move |metrics| match metrics.value("container_exit_code", &[("name", name)]) {
        Some(value) if value.total_cmp(&code).is_eq() => Ok(()),
        other => Err(format!("{name} has code {other:?}")),
    }
}

/// How many collections ended so.
fn collections(metrics: &Metrics, result: &str) -> f64 {
    let name = "docker_exit_exporter_collections_total";
    let count = metrics.value(name, &[("result", result)]);
    count.unwrap_or_default()
}

fn has_no_exit(name: &str) -> impl FnMut(&Metrics) -> Result<(), String> {
    move |metrics| match metrics.value("container_exit_code", &[("name", name)]) {
        None => Ok(()),
        other => Err(format!("{name} has code {other:?}")),
    }
}

#[test]
fn endpoints() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 3));
    let exporter = Exporter::start(&engine.address());
    exporter.until("the first collection", has_exit("web", 3.0));
    let port = exporter.port();

    let metrics = get(port, "/metrics");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("Content-Length: "), "{metrics}");
    let index = get(port, "/");
    assert!(index.starts_with("HTTP/1.1 200 "), "{index}");
    assert!(index.contains("href=\"./metrics\""), "{index}");
    for (path, status) in [
        ("/-/healthy", "200"),
        ("/-/ready", "200"),
        ("/metrics?x=y", "200"),
        ("/nothing", "404"),
        ("/metrics/../etc/passwd", "404"),
    ] {
        let answer = get(port, path);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
    }

    let close = "Host: x\r\nConnection: close\r\n\r\n";
    let head = ask(port, &format!("HEAD /metrics HTTP/1.1\r\n{close}"));
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    let posted = ask(
        port,
        "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
    );
    assert!(posted.starts_with("HTTP/1.1 405 "), "{posted}");
    assert!(posted.contains("Allow: GET, HEAD\r\n"), "{posted}");

    exporter.until("answers by code", |metrics| {
        let count = |code| {
            metrics.value(
                "docker_exit_exporter_http_requests_total",
                &[("code", code)],
            )
        };
        match (count("404"), count("405")) {
            (Some(2.0), Some(1.0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn gzip_for_those_who_take_it() {
    let engine = FakeEngine::start();
    for number in 1..=500 {
        engine.put(Container::exited(number, &format!("web-{number}"), 3));
    }
    let exporter = Exporter::start(&engine.address());
    exporter.until("the first collection", has_exit("web-500", 3.0));
    let ask = |method: &str, encoding: &str| {
        let request = format!(
            "{method} /metrics HTTP/1.1\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n\r\n"
        );
        let answer = ask_for_bytes(exporter.port(), &request);
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        assert!(head.contains("Vary: Accept-Encoding\r\n"), "{head}");
        (head, answer[end..].to_vec())
    };
    let length = |bytes: &[u8]| format!("Content-Length: {}\r\n", bytes.len());
    let (head, plain) = ask("GET", "gzip;q=0");
    assert!(head.contains(&length(&plain)), "{head}");
    assert!(!head.contains("Content-Encoding"), "{head}");
    Metrics::parse(&String::from_utf8(plain.clone()).unwrap());

    // Twice, since the second answer has what was compressed for the first.
    for _ in 0..2 {
        let (head, compressed) = ask("GET", "gzip");
        assert!(head.contains(&length(&compressed)), "{head}");
        assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
        assert!(compressed.len() < plain.len() / 4);
        let mut text = String::new();
        let mut reader = GzDecoder::new(&compressed[..]);
        reader.read_to_string(&mut text).unwrap();
        let metrics = Metrics::parse(&text);
        assert_eq!(
            metrics.value("container_exit_code", &[("name", "web-1")]),
            Some(3.0)
        );
        let http = metrics.value(
            "docker_exit_exporter_http_requests_total",
            &[("code", "200")],
        );
        assert!(http > Some(0.0), "its own metrics are behind");
    }
    let (head, body) = ask("HEAD", "gzip");
    assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
    assert_eq!(body, b"");
}

#[test]
fn it_is_ready_after_the_first_listing_and_healthy_before() {
    let engine = FakeEngine::start();
    engine.answer_listing(Answer::forbidden());
    let exporter = Exporter::start(&engine.address());
    exporter.until("an answer", is_down);
    assert!(get(exporter.port(), "/-/healthy").starts_with("HTTP/1.1 200 "));
    assert!(get(exporter.port(), "/-/ready").starts_with("HTTP/1.1 503 "));
    engine.answer_listing(engine.listing());
    exporter.until("a listing", is_up);
    assert!(get(exporter.port(), "/-/ready").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_collection_where_nothing_changed_is_one_request_on_one_connection() {
    let engine = FakeEngine::start();
    for number in 1..=20 {
        engine.put(Container::exited(number, &format!("c{number}"), 1));
    }
    engine.put(Container::created(21, "created"));
    engine.put(Container::running(22, "running"));
    let exporter = Exporter::start(&engine.address());
    let created = format!("/containers/{:064x}/json", 21);
    // /info, the listing, an inspect of each exit and of the created one.
    exporter.until("all inspects", |metrics| {
        let times = metrics.named("container_exit_timestamp_seconds").count();
        match (times, engine.asked_for(&created).len()) {
            (20, 1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // The stream of events has a connection of its own, and a listing when it opens.
    exporter.until("events", |metrics| {
        let up = metrics.value("docker_exit_exporter_event_stream_up", &[]);
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    });
    eventually(PATIENCE, || {
        let requests = engine.requests();
        let asked = |path: &str| requests.iter().rposition(|it| it == path);
        let listed = asked("/containers/json?all=1") > asked("/events");
        listed.then_some(()).ok_or(format!("{requests:?}"))
    })
    .unwrap();
    engine.take_requests();
    let connections = engine.connections();
    let requests = eventually(PATIENCE, || match engine.requests() {
        requests if requests.len() >= 6 => Ok(requests),
        requests => Err(format!("{requests:?}")),
    })
    .unwrap();
    // The created one is looked at once a minute.
    let others = requests.iter().filter(|it| *it != "/containers/json?all=1");
    let others: Vec<_> = others.collect();
    assert!(others.is_empty() || others == [&created], "{requests:?}");
    assert_eq!(engine.connections(), connections);
}

#[test]
fn exits_come_and_go_with_their_containers() {
    let engine = FakeEngine::start();
    let flags = ["--retention", "1", "--events", "off"];
    let exporter = Exporter::start_with(&engine.address(), &flags);
    exporter.until("the first collection", is_up);
    let web = Container::running(1, "web");
    engine.put(web.clone());
    engine.put(web.clone().exit(3));
    exporter.until("an exit", has_exit("web", 3.0));
    let again = web.clone().start();
    engine.put(again.clone());
    exporter.until("a restart", has_no_exit("web"));
    engine.put(again.exit(4));
    exporter.until("another exit", has_exit("web", 4.0));
    engine.remove(&web.id);
    exporter.until("its removal", has_no_exit("web"));
    let said = exporter.said();
    for code in [3, 4] {
        let line = format!("web (busybox, 000000000000) exited with code {code}: error");
        assert_eq!(said.matches(&line).count(), 1, "{said}");
    }
}

#[test]
fn an_exit_from_before_the_start_is_counted_in_one_line() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "old", 3));
    engine.put(Container::exited(2, "fine", 0));
    engine.put(Container::running(3, "running"));
    let exporter = Exporter::start(&engine.address());
    exporter.until("the first collection", has_exit("old", 3.0));
    let want =
        "Docker 28.5.2 (API 1.51) has 3 containers. 2 exits are shown, 1 with a code other than 0";
    eventually(PATIENCE, || {
        let said = exporter.said();
        said.contains(want).then_some(()).ok_or(said)
    })
    .unwrap();
    assert!(!exporter.said().contains("old ("), "{}", exporter.said());
}

#[test]
fn an_outage_is_one_line_and_its_end_another() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 3));
    let exporter = Exporter::start(&engine.address());
    exporter.until("the first collection", is_up);
    engine.go_down();
    exporter.until("the outage", is_down);
    exporter.until("three collections in vain", |metrics| {
        // What is known stays for now.
        has_exit("web", 3.0)(metrics)?;
        let errors = collections(metrics, "error");
        let enough = errors >= 3.0;
        enough.then_some(()).ok_or(format!("{errors} errors"))
    });
    engine.listen();
    exporter.until("its end", is_up);
    let said = exporter.said();
    assert_eq!(said.matches("no Docker socket at").count(), 1, "{said}");
    assert_eq!(said.matches("Docker answers, after").count(), 1, "{said}");
    // With the line of the first collection.
    assert_eq!(said.matches("::collector]").count(), 3, "{said}");
}

#[test]
fn a_connection_that_was_closed_while_idle_is_no_outage() {
    let engine = FakeEngine::start();
    // The stream of events would connect again as well.
    let exporter = Exporter::start_with(&engine.address(), &["--events", "off"]);
    let before = exporter.until("the first collection", |metrics| {
        is_up(metrics)?;
        Ok(collections(metrics, "success"))
    });
    // The listing and `/info` are asked for at once.
    let connections = engine.connections();
    engine.hang_up();
    exporter.until("more collections", |metrics| {
        is_up(metrics)?;
        let worked = collections(metrics, "success") - before;
        let errors = collections(metrics, "error");
        let more = engine.connections() - connections;
        match (worked, errors, more) {
            // One of them may have been over before.
            (2.0.., 0.0, 1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn answers_that_are_no_listing_are_told_and_survived() {
    for (answer, want) in [
        (
            Answer::json("500 Internal Server Error", &json!({"message": "oh no"})),
            "was answered with 500: oh no",
        ),
        (Answer::forbidden(), "was answered with 403: a page of HTML"),
        (
            Answer::BytesThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{".to_vec()),
            "closed in the middle of the answer",
        ),
        (
            Answer::BytesThenClose(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[{".to_vec()),
            "the answer's JSON is bad",
        ),
        (
            Answer::BytesThenClose(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
            "not a valid HTTP answer",
        ),
        (
            Answer::BytesThenClose(
                b"HTTP/1.1 200 OK\r\nContent-Length: 300000000\r\n\r\n".to_vec(),
            ),
            "larger than the limit of 268435456 bytes",
        ),
    ] {
        let engine = FakeEngine::start();
        engine.answer_listing(answer);
        engine.put(Container::exited(1, "web", 3));
        let exporter = Exporter::start_with(&engine.address(), &["--events", "off"]);
        exporter.until("the bad answer", |metrics| {
            is_down(metrics)?;
            let said = exporter.said();
            said.contains(want)
                .then_some(())
                .ok_or(format!("it does not say {want}"))
        });
        engine.answer_listing(engine.listing());
        exporter.until("a good answer", has_exit("web", 3.0));
    }
}

#[test]
fn a_proxy_that_refuses_info_and_inspects_leaves_the_codes() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 137));
    engine.answer("/info", Answer::forbidden());
    engine.answer(&format!("/containers/{:064x}/json", 1), Answer::forbidden());
    let exporter = Exporter::start(&engine.address());
    exporter.until("the code", has_exit("web", 137.0));
    exporter.until("three collections", |metrics| {
        let worked = collections(metrics, "success");
        let enough = worked >= 3.0;
        enough.then_some(()).ok_or(format!("{worked} collections"))
    });
    let said = exporter.said();
    assert_eq!(
        said.matches("the label id is taken to be /docker/<id>")
            .count(),
        1,
        "{said}"
    );
    assert_eq!(
        said.matches("shown without time and details").count(),
        1,
        "{said}"
    );
}

#[test]
fn labels_are_those_that_are_let_through() {
    let engine = FakeEngine::start();
    let container = Container::exited(1, "web", 3)
        .label("team", "core")
        .label("secret.token", "hunter2");
    engine.put(container);
    let flags = ["--container-labels", "*,!secret.*"];
    let output = once(&engine.address(), &flags);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#"container_label_team="core""#), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn once_prints_metrics_for_the_textfile_collector() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 3));
    let output = once(&engine.address(), &[]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let metrics = Metrics::parse(&text);
    assert_eq!(metrics.value("docker_up", &[]), Some(1.0));
    has_exit("web", 3.0)(&metrics).unwrap();
    // node_exporter, whose collector reads this, has its own.
    assert!(!text.contains("process_"), "{text}");
}

#[test]
fn once_waits_for_all_that_it_has_asked() {
    let engine = FakeEngine::start();
    // They are inspected one after the other.
    for number in 1..=3 {
        let mut refused = Container::created(number, &format!("refused-{number}"));
        (refused.code, refused.error) = (127, "no such file".to_owned());
        if number == 2 {
            engine.answer(&format!("/containers/{}/json", refused.id), Answer::Silence);
        }
        engine.put(refused);
    }
    let output = once(&engine.address(), &[]);
    let metrics = Metrics::parse(&String::from_utf8(output.stdout).unwrap());
    for name in ["refused-1", "refused-3"] {
        has_exit(name, 127.0)(&metrics).unwrap();
    }
}

#[test]
fn once_fails_in_one_line() {
    let output = once("unix:///nowhere/docker.sock", &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    let want = "docker-exit-exporter: no Docker socket at /nowhere/docker.sock: \
                is Docker running, and is its socket mounted?\n";
    assert_eq!(said, want);
}

#[test]
fn signals_end_it_at_once_with_status_0() {
    for name in ["TERM", "INT"] {
        let engine = FakeEngine::start();
        // In the middle of a collection, too.
        engine.answer_listing(Answer::Silence);
        let at_once = Duration::from_secs(1);
        let took = quickest(at_once, || {
            engine.take_requests();
            let mut exporter = Exporter::start(&engine.address());
            exporter.until("a collection", |metrics| {
                is_down(metrics)?;
                let listings = engine.asked_for("/containers/json?all=1").len();
                (listings > 0).then_some(()).ok_or("no listing".into())
            });
            let (status, took) = exporter.end_by(name);
            assert_eq!(status.code(), Some(0), "{}", exporter.said());
            took
        });
        assert!(took <= at_once, "{name} took {took:?}");
    }
}

#[test]
fn a_port_that_is_taken_ends_the_start() {
    let engine = FakeEngine::start();
    let first = Exporter::start(&engine.address());
    first.until("the first collection", is_up);
    let port = first.port().to_string();
    let output = Command::new(BINARY)
        .env_clear()
        .args([
            "--docker-host",
            &engine.address(),
            "--address",
            "127.0.0.1",
            "--port",
            &port,
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!(
            "cannot listen on 127.0.0.1:{port}: Address already in use"
        )),
        "{said}"
    );
}

#[test]
fn bad_settings_end_the_start_with_status_2_and_one_line() {
    for (variable, value) in [
        ("EXPORTER_PORT", "eighty"),
        ("DOCKER_HOST", "https://docker:2376"),
        ("RUST_LOG", "verbose"),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", "/certs"),
    ] {
        // All commands read them in the same way, and this one ends.
        let output = Command::new(BINARY)
            .env_clear()
            .env(variable, value)
            .arg("--once")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [variable, value, "it takes "] {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn help_and_version() {
    let run = |flag| {
        let output = Command::new(BINARY).env_clear().arg(flag).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let help = run("--help");
    assert!(help.contains("--docker-host URL"), "{help}");
    let version = format!("docker-exit-exporter {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run("--version"), version);
}

#[test]
fn healthcheck() {
    // It may be late on a busy machine, but not each time.
    let check = |port: u16, variables: &[(&str, &str)], want: i32| {
        let mut last = None;
        let in_time = Duration::from_secs(3);
        let took = quickest(in_time, || {
            let start = Instant::now();
            let output = Command::new(BINARY)
                .env_clear()
                .envs(variables.iter().copied())
                .args(["healthcheck", "--port", &port.to_string()])
                .output()
                .unwrap();
            let took = start.elapsed();
            let code = output.status.code();
            // Nothing makes a bad one look good, or Docker a bad one more than bad.
            assert!(code == Some(want) || code == Some(1), "{output:?}");
            last = Some(output);
            if code == Some(want) {
                took
            } else {
                Duration::MAX
            }
        });
        assert!(took <= in_time, "{took:?}, not {want}: {last:?}");
    };
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    exporter.until("the first collection", is_up);
    check(exporter.port(), &[], 0);
    // Never through a proxy.
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"].map(|it| (it, &*nobody));
    check(exporter.port(), &proxies, 0);
    check(free_port(), &[], 1);
    // Docker keeps status 2 for itself.
    check(exporter.port(), &[("EVENTS", "bad")], 1);
    check(exporter.port(), &[("DOCKER_TLS_VERIFY", "1")], 1);
    // One that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    check(silent.local_addr().unwrap().port(), &[], 1);
}
