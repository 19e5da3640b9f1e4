//! The built program before an Engine that is broken in one way after the other: each time it says
//! so, keeps what it knew, and shows everything again as soon as the Engine is well.

use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use docker_exit_exporter::engine::{self, Address, Clock, Endpoint, Engine, Inspected};
use prometheus::IntCounter;
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use test_support::container::Container;
use test_support::fake_engine::{Answer, FakeEngine};

use crate::support::exporter::{Exporter, Scraped, is_down, is_up};
use crate::support::metrics::Metrics;
use crate::support::waiting::PATIENCE;

/// What the exporter may have in memory whatever an Engine does, but for a body of the largest size.
const RESIDENT_KB: u64 = 64 * 1024;

/// The same while it reads a body of the largest size.
const RESIDENT_KB_WITH_BODY: u64 = RESIDENT_KB + 256 * 1024;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";

fn good(body: &str) -> String {
    format!("{OK}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn bytes(text: impl Into<Vec<u8>>) -> Answer {
    Answer::BytesThenClose(text.into())
}

fn chunked(body: &str) -> Answer {
    bytes(format!("{OK}Transfer-Encoding: chunked\r\n\r\n{body}"))
}

/// The most that was ever resident, in kB.
fn peak(exporter: &Exporter) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let kb = number.expect("a number of kB");
    println!("{kb} kB resident at most");
    kb
}

/// How many collections ended so.
fn collections(metrics: &Metrics, result: &str) -> f64 {
    let name = "docker_exit_exporter_collections_total";
    let count = metrics.value(name, &[("result", result)]);
    count.unwrap_or_default()
}

/// A check for [`Scraped::until`]: these containers, and no others, have ended, with these codes.
fn shows<'a>(want: &'a [(&'a str, f64)]) -> impl Fn(&Metrics) -> Result<(), String> + 'a {
    move |metrics| {
        let mut codes: Vec<_> = metrics
            .named("container_exit_code")
            .map(|sample| (sample.labels["name"].as_str(), sample.value))
            .collect();
        codes.sort_by(|one, other| one.0.cmp(other.0));
        if codes == want {
            Ok(())
        } else {
            Err(format!("{codes:?} instead of {want:?}"))
        }
    }
}

/// A listing that is answered so is told by `want`, and `web` stays; then a good one shows `web` and
/// a container that is new.
fn survives(engine: &FakeEngine, exporter: &Exporter, number: u64, answer: Answer, want: &str) {
    let lines = exporter.said().lines().count();
    let known = format!("new-{}", number - 1);
    engine.answer_listing(answer);
    // What is known is not shown for ever: it needs not be there any more when the line is said.
    let mut stays = false;
    exporter.until(want, |metrics| {
        is_down(metrics)?;
        if !stays {
            shows(&[(&known, 1.0), ("web", 3.0)])(metrics)?;
            stays = true;
        }
        let said = exporter.said();
        let new: Vec<_> = said.lines().skip(lines).collect();
        match new.iter().filter(|line| line.contains(want)).count() {
            1 => Ok(()),
            count => Err(format!("it says {want:?} {count} times: {new:#?}")),
        }
    });
    engine.remove(&format!("{:064x}", 100 + number - 1));
    let name = format!("new-{number}");
    engine.put(Container::exited(100 + number, &name, 1));
    engine.answer_normally(LIST);
    exporter.until("all is well", |metrics| {
        is_up(metrics)?;
        shows(&[(&name, 1.0), ("web", 3.0)])(metrics)
    });
}

const LIST: &str = "/containers/json?all=1";

fn start() -> (FakeEngine, Exporter) {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 3));
    engine.put(Container::exited(100, "new-0", 1));
    // Removed containers leave at once, and there are no events that would tell what a listing hides.
    let flags = ["--retention", "0", "--events", "off"];
    let exporter = Exporter::start_with(&engine.address(), &flags);
    exporter.until("two exits", shows(&[("new-0", 1.0), ("web", 3.0)]));
    (engine, exporter)
}

#[test]
#[allow(clippy::too_many_lines)] // It is a table.
fn listings_that_are_none() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let html = "<html><body>502</body></html>";
    let faults = vec![
        // What is said before HTTP.
        (bytes(""), "the connection was closed without an answer"),
        (bytes("SSH-2.0-OpenSSH_9.2\r\n"), "not a valid HTTP answer"),
        (bytes([0; 5000]), "closed in the middle of the answer"),
        (bytes("HTTP/1.1 "), "closed in the middle of the answer"),
        // Heads.
        (
            Answer::Write(endless_line),
            "larger than the limit of 32768 bytes",
        ),
        (
            Answer::Write(endless_headers),
            "larger than the limit of 100 headers",
        ),
        (
            bytes("HTTP/1.1 200 OK\r\nno header\r\n\r\n"),
            "not a valid HTTP answer",
        ),
        (
            bytes("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n[]"),
            "bad Content-Length",
        ),
        (
            bytes("HTTP/1.1 101 Switching\r\n\r\n"),
            "switches protocols",
        ),
        (
            Answer::Write(endless_interim),
            "larger than the limit of 10 interim answers",
        ),
        // Lengths that lie.
        (
            bytes(format!("{OK}Content-Length: 100\r\n\r\n[]")),
            "closed in the middle of the answer",
        ),
        (
            bytes(format!("{OK}Content-Length: 1\r\n\r\n[]")),
            "the answer's JSON is bad",
        ),
        (
            bytes(format!("{OK}Content-Length: 300000000\r\n\r\n[")),
            "larger than the limit of 268435456 bytes",
        ),
        (
            bytes(format!("{OK}Content-Length: 18446744073709551615\r\n\r\n[")),
            "larger than the limit of 268435456 bytes",
        ),
        // Chunks that lie.
        (
            chunked("ffffffffffffffffffff\r\n"),
            "not a valid HTTP answer",
        ),
        (
            chunked("ffffffffffffffff\r\n["),
            "closed in the middle of the answer",
        ),
        (chunked("-2\r\n[]\r\n0\r\n\r\n"), "not a valid HTTP answer"),
        (chunked("2\r\n[]xx0\r\n\r\n"), "not a valid HTTP answer"),
        (chunked("5\r\n[]\r\n0\r\n\r\n"), "bad chunk size"),
        (chunked("2\r\n[]\r\n"), "closed in the middle of the answer"),
        (chunked("1\r\n[\r\n0\r\n\r\n"), "the answer's JSON is bad"),
        (
            Answer::Write(endless_size_line),
            "larger than the limit of 4096 bytes",
        ),
        // Errors.
        (
            bytes(format!(
                "HTTP/1.1 500 Oh\r\nContent-Length: {}\r\n\r\n{html}",
                html.len()
            )),
            "was answered with 500",
        ),
        (
            Answer::json("503 Starting", &json!({"message": "not yet"})),
            "was answered with 503: not yet",
        ),
        (Answer::Write(endless_error), "was answered with 500"),
        (Answer::forbidden(), "was answered with 403: a page of HTML"),
        (
            bytes("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
            "was answered with 302",
        ),
        (bytes("HTTP/1.1 204 None\r\n\r\n"), "was answered with 204"),
        // Bodies that are no listing.
        (bytes(good("")), "the answer's JSON is bad"),
        (bytes(good(html)), "the answer's JSON is bad"),
        (
            bytes(good("{\"message\":\"x\"}")),
            "the answer's JSON is bad",
        ),
        (bytes(good("[{},")), "the answer's JSON is bad"),
        (bytes(good("[{}]]")), "the answer's JSON is bad"),
        (bytes(good(&deep[1..])), "the answer's JSON is bad"),
        (
            bytes(
                [
                    good("[{\"Id\":\"xx\"}]").replace("xx", "").as_bytes(),
                    &[0xff; 2][..],
                ]
                .concat(),
            ),
            "the answer's JSON is bad",
        ),
        (
            bytes(b"HTTP/1.1 200 OK\r\n\r\n[{\"Id\":\"\xff\xfe\"}]"),
            "the answer's JSON is bad: invalid utf-8",
        ),
    ];
    // One after the other, in four rows at a time.
    thread::scope(|scope| {
        for row in faults.chunks(faults.len().div_ceil(4)) {
            scope.spawn(move || {
                let (engine, exporter) = start();
                for (number, (answer, want)) in (1..).zip(row) {
                    survives(&engine, &exporter, number, answer.clone(), want);
                }
                let peak = peak(&exporter);
                assert!(peak <= RESIDENT_KB, "{peak} kB were resident");
                let said = exporter.said();
                assert!(!said.contains("panicked"), "{said}");
            });
        }
    });
}

fn forever(stream: &mut dyn Write, start: &str, piece: &str) -> io::Result<()> {
    stream.write_all(start.as_bytes())?;
    let piece = piece.repeat(100);
    loop {
        stream.write_all(piece.as_bytes())?;
    }
}

fn endless_line(stream: &mut dyn Write) -> io::Result<()> {
    forever(stream, "HTTP/1.1 200 OK\r\nX: ", "x")
}

fn endless_headers(stream: &mut dyn Write) -> io::Result<()> {
    forever(stream, "HTTP/1.1 200 OK\r\n", "a: b\r\n")
}

fn endless_interim(stream: &mut dyn Write) -> io::Result<()> {
    forever(stream, "", "HTTP/1.1 102 Wait\r\n\r\n")
}

fn endless_size_line(stream: &mut dyn Write) -> io::Result<()> {
    let start = format!("{OK}Transfer-Encoding: chunked\r\n\r\n2;");
    forever(stream, &start, "x")
}

fn endless_error(stream: &mut dyn Write) -> io::Result<()> {
    forever(stream, "HTTP/1.1 500 Oh\r\n\r\n", "oh ")
}

fn endless_chunks(stream: &mut dyn Write) -> io::Result<()> {
    let chunk = format!("10000\r\n{}\r\n", "[{},".repeat(0x10000 / 4));
    let start = format!("{OK}Transfer-Encoding: chunked\r\n\r\n");
    stream.write_all(start.as_bytes())?;
    loop {
        stream.write_all(chunk.as_bytes())?;
    }
}

/// 250 MiB of elements that are none. Two million are empty, and the others long: a program that is
/// not optimised takes too long for 80 million.
fn empty_elements(stream: &mut dyn Write) -> io::Result<()> {
    write!(stream, "{OK}Connection: close\r\n\r\n[")?;
    let long = format!("{{\"Other\":\"{}\"}},", "x".repeat(255_000));
    let piece = "{},".repeat(2000) + &long;
    for _ in 0..1000 {
        stream.write_all(piece.as_bytes())?;
    }
    stream.write_all(b"{}]")
}

fn drip(stream: &mut dyn Write) -> io::Result<()> {
    write!(stream, "{OK}Content-Length: 1000000\r\n\r\n")?;
    loop {
        stream.write_all(b" ")?;
        thread::sleep(Duration::from_millis(100));
    }
}

fn drip_of_head(stream: &mut dyn Write) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nX: ")?;
    loop {
        stream.write_all(b"x")?;
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn listings_of_300_megabytes() {
    let (engine, exporter) = start();
    let want = "larger than the limit of 268435456 bytes";
    survives(&engine, &exporter, 1, Answer::Write(endless_chunks), want);
    // It is a listing, of nothing.
    engine.answer_listing(Answer::Write(empty_elements));
    exporter.until("a listing of nothing", |metrics| {
        is_up(metrics)?;
        shows(&[])(metrics)
    });
    engine.answer_normally(LIST);
    exporter.until("all is well", shows(&[("new-1", 1.0), ("web", 3.0)]));
    let peak = peak(&exporter);
    assert!(peak <= RESIDENT_KB_WITH_BODY, "{peak} kB were resident");
    exporter.until("the memory is given back", |metrics| {
        match metrics.value("process_resident_memory_bytes", &[]) {
            Some(bytes) if bytes <= 32e6 => Ok(()),
            bytes => Err(format!("{bytes:?}")),
        }
    });
}

#[test]
fn silence_and_drips_end_at_the_deadline() {
    thread::scope(|scope| {
        scope.spawn(an_engine_that_accepts_nobody);
        for answer in [
            Answer::Silence,
            Answer::Write(drip),
            Answer::Write(drip_of_head),
        ] {
            scope.spawn(|| {
                let (engine, exporter) = start();
                let want = "no complete answer within the deadline";
                let begun = Instant::now();
                survives(&engine, &exporter, 1, answer, want);
                let took = begun.elapsed();
                assert!(took >= engine::limits::LISTING_TIMEOUT, "it took {took:?}");
                // From the first request that hangs to the one after it.
                let asked = engine.asked_for(LIST);
                let pauses = asked.windows(2).map(|two| two[1] - two[0]);
                let longest = pauses.max().expect("some listings");
                let soon = engine::limits::LISTING_TIMEOUT + Duration::from_secs(15);
                assert!(longest < soon, "it was asked again after {longest:?}");
            });
        }
    });
}

#[test]
fn answers_that_nobody_asked_for_are_not_taken_for_others() {
    let (engine, exporter) = start();
    let answer = good("{\"x\":1}");
    let mut said = 0;
    for _ in 0..3 {
        let worked = exporter.until("a text", |metrics| Ok(collections(metrics, "success")));
        exporter.until("a listing", |metrics| {
            let more = collections(metrics, "success") > worked;
            more.then_some(()).ok_or("none yet".to_owned())
        });
        said += engine.blurt(answer.as_bytes());
    }
    let worked = exporter.until("a text", |metrics| Ok(collections(metrics, "success")));
    let failed = exporter.until("three good listings", |metrics| {
        is_up(metrics)?;
        match collections(metrics, "success") - worked {
            3.0.. => Ok(collections(metrics, "error")),
            more => Err(format!("{more} listings")),
        }
    });
    // One may come in the middle of a listing.
    assert!(said >= 3 && failed <= 1.0, "{said}: {}", exporter.said());
}

#[test]
fn what_info_told_holds_while_nothing_is_answered() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 3));
    let systemd = json!({"ServerVersion": "28.5.2", "CgroupDriver": "systemd"});
    let info = Answer::json("200 OK", &systemd);
    engine.answer("/info", info.clone());
    let exporter = Exporter::start_with(&engine.address(), &["--events", "off"]);
    let id = format!("/system.slice/docker-{:064x}.scope", 1);
    let has_id = |metrics: &Metrics| {
        is_up(metrics)?;
        match metrics.find("container_exit_code", &[("id", &id)]) {
            Some(_) => Ok(()),
            None => Err("its id is another".to_owned()),
        }
    };
    exporter.until("an exit", has_id);
    let lines = exporter.said().lines().count();
    engine.answer_listing(bytes(""));
    engine.answer("/info", Answer::Silence);
    exporter.until("/info was asked for in vain", |metrics| {
        is_down(metrics)?;
        match collections(metrics, "error") {
            3.0.. => Ok(()),
            failed => Err(format!("{failed} collections failed")),
        }
    });
    engine.answer_normally(LIST);
    // It is said before it is shown. Later it would say that there is no /info.
    let said = exporter.until("a listing", |metrics| {
        let said = exporter.said();
        has_id(metrics)?;
        Ok(said)
    });
    engine.answer("/info", info);
    let new: Vec<_> = said.lines().skip(lines).collect();
    assert_eq!(new.len(), 2, "{new:#?}");
}

/// It listens, and never accepts.
fn an_engine_that_accepts_nobody() {
    let folder = std::env::temp_dir().join(format!("nobody-{}", std::process::id()));
    fs::create_dir(&folder).expect("a folder");
    let socket = folder.join("docker.sock");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let exporter = Exporter::start(&format!("unix://{}", socket.display()));
    exporter.until("nobody answers", |metrics| {
        is_down(metrics)?;
        let said = exporter.said();
        let told = said.contains("no complete answer within the deadline");
        told.then_some(()).ok_or("it does not say so".to_owned())
    });
    drop(listener);
    fs::remove_dir_all(&folder).expect("the folder");
}

#[test]
fn resets_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    thread::spawn(move || {
        for (number, stream) in (0..).zip(listener.incoming().flatten()) {
            reset(stream, number);
        }
    });
    let flags = ["--events", "off"];
    let exporter = Exporter::start_with(&format!("tcp://127.0.0.1:{port}"), &flags);
    exporter.until("resets", |metrics| {
        is_down(metrics)?;
        match collections(metrics, "error") {
            4.0.. => Ok(()),
            failed => Err(format!("{failed} collections failed")),
        }
    });
    // When a reset comes decides whether it breaks the connecting, the request or the answer.
    let said = exporter.said();
    let told = ["the connection was closed", "cannot connect to "];
    let told = told.iter().any(|words| said.contains(words));
    assert!(told && !said.contains("panicked"), "{said}");
}

/// Resets a connection at once, or after a part of an answer.
fn reset(mut stream: TcpStream, number: usize) {
    let part = [
        &b""[..],
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\n\r\n[{\"Id\"",
    ][number % 3];
    let _ = stream.write_all(part);
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
}

#[test]
fn one_odd_container_among_good_ones() {
    let long = "x".repeat(10_000_000);
    let deep: Value = (0..100).fold(json!([]), |inner, _| json!([inner]));
    let odd = [
        json!({"Id": "0".repeat(63) + "9", "Names": null, "Labels": null, "State": null, "Status": null, "Image": null}),
        json!({"Id": "a".repeat(64), "Names": ["/odd"], "Labels": {"a": &long}, "State": "exited", "Status": "Exited (4) 2 days ago"}),
        json!({"Id": "b".repeat(64), "Names": [&long], "Image": &long, "State": &long, "Status": &long}),
        json!({"Id": &long, "Names": ["/no-id"], "State": "exited", "Status": "Exited (5) 2 days ago"}),
        json!({"Id": "c".repeat(64), "Names": deep, "Labels": deep, "State": deep, "Status": deep}),
        json!({"Id": "d".repeat(64), "Names": ["/range"], "State": "exited", "Status": "Exited (99999) 2 days ago"}),
        json!({"Id": "e".repeat(64), "Names": ["/huge"], "State": "exited", "Status": "Exited (99999999999999999999) 2 days ago"}),
        json!({"Id": "f".repeat(64), "Names": ["/minus"], "State": "exited", "Status": "Exited (-1) 2 days ago"}),
        json!({"Id": "../../info", "Names": ["/path"], "State": "exited", "Status": "Exited (6) 2 days ago"}),
        json!({"Id": "x y\r\nHost: z", "Names": ["/smuggler"], "State": "exited", "Status": "Exited (7) 2 days ago"}),
        json!({"Id": "g", "Names": ["/state"], "State": "evaporated", "Status": "Evaporated (8) 2 days ago"}),
        json!(null),
        json!([]),
        json!(5),
        json!({}),
    ];
    let good = |number| Container::exited(number, &format!("good-{number}"), 3).listed();
    let all: Vec<Value> = odd
        .into_iter()
        .flat_map(|odd| [odd, good(1)])
        .chain([good(2)])
        .collect();
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "good-1", 3));
    engine.put(Container::exited(2, "good-2", 3));
    engine.answer_listing(Answer::json("200 OK", &Value::Array(all)));
    let exporter = Exporter::start(&engine.address());
    for round in 0..2 {
        exporter.until("what is known", |metrics| {
            is_up(metrics)?;
            // `Metrics::parse` refuses a series that occurs twice: good-1 is listed many times.
            shows(&[
                ("good-1", 3.0),
                ("good-2", 3.0),
                ("minus", -1.0),
                ("odd", 4.0),
                ("path", 6.0),
                ("range", 99999.0),
                ("smuggler", 7.0),
            ])(metrics)
            .map_err(|why| format!("round {round}: {why}"))
        });
        engine.hang_up();
    }
    let peak = peak(&exporter);
    assert!(peak <= 4 * RESIDENT_KB, "{peak} kB were resident");
    for path in engine.requests() {
        let known = path == LIST
            || path == "/info"
            || path == "/events"
            || path == "/events?until"
            || (path.starts_with("/containers/") && path.ends_with("/json"));
        assert!(known && !path.contains(".."), "{path}");
    }
}

#[test]
fn inspects_that_are_none_leave_the_code() {
    let engine = FakeEngine::start();
    let answers = [
        bytes(""),
        bytes(good("[]")),
        bytes(good("null")),
        bytes(good("{")),
        bytes(good("{}")),
        bytes(good(
            r#"{"Id":"another","State":{"Status":"exited","ExitCode":9}}"#,
        )),
        bytes(good("{\"State\":null,\"Config\":null,\"HostConfig\":null}")),
        bytes(good("{\"State\":[],\"Config\":7,\"HostConfig\":\"x\"}")),
        bytes(format!("{OK}Content-Length: 20000000\r\n\r\n")),
        Answer::Write(endless_line),
        Answer::forbidden(),
        Answer::json("500 Oh", &json!({"message": "no"})),
        Answer::json("404 Gone", &json!({"message": "No such container"})),
    ];
    let mut want = Vec::new();
    for (number, answer) in (1..).zip(answers) {
        let name = format!("web-{number:02}");
        engine.put(Container::exited(number, &name, 3));
        engine.answer(&format!("/containers/{number:064x}/json"), answer);
        want.push((name, 3.0));
    }
    engine.put(Container::exited(99, "whole", 4));
    let exporter = Exporter::start_with(&engine.address(), &["--events", "off"]);
    let mut want: Vec<_> = want
        .iter()
        .map(|(name, code)| (name.as_str(), *code))
        .collect();
    want.push(("whole", 4.0));
    exporter.until("all codes, and the time of the good one", |metrics| {
        shows(&want)(metrics)?;
        let time = metrics.value("container_exit_timestamp_seconds", &[("name", "whole")]);
        time.map(drop).ok_or("no time yet".to_owned())
    });
    let said = exporter.said();
    assert_eq!(
        said.matches("shown without time and details").count(),
        1,
        "{said}"
    );
}

#[test]
fn an_inspect_of_another_container_is_not_believed() {
    let engine = FakeEngine::start();
    let [asked, other] = [1, 2].map(|number| Container::exited(number, "web", 3));
    engine.put(asked.clone());
    let path = format!("/containers/{}/json", asked.id);
    engine.answer(&path, Answer::json("200 OK", &other.inspect()));
    let address: Address = engine.address().parse().unwrap();
    let clock = Clock::of(&address);
    let requests = IntCounter::new("requests", "requests").unwrap();
    let mut client = Engine::new(Endpoint {
        address,
        requests,
        clock,
    });
    let mut ask = || {
        let inspect = client.inspect(&asked.id, PATIENCE).unwrap();
        (inspect.parse(&asked.id).is_ok(), engine.connections())
    };
    assert_eq!([ask(), ask()], [(false, 1), (false, 1)]);
    engine.answer_normally(&path);
    assert_eq!(ask(), (true, 1));
    // What comes between two answers is not the next one.
    engine.blurt(good("{}").as_bytes());
    assert_eq!([ask(), ask()], [(true, 2), (true, 2)]);
}

fn endless_event(stream: &mut dyn Write) -> io::Result<()> {
    forever(stream, "HTTP/1.1 200 OK\r\n\r\n", "x")
}

fn events_in_bad_chunks(stream: &mut dyn Write) -> io::Result<()> {
    let start = format!("{OK}Transfer-Encoding: chunked\r\n\r\n");
    forever(stream, &start, "{\"Type\":\"container\"}\n")
}

fn lines_that_are_none(stream: &mut dyn Write) -> io::Result<()> {
    forever(
        stream,
        "HTTP/1.1 200 OK\r\n\r\n",
        "\n\0\u{ff}\nnull\n{}\n[]\n",
    )
}

/// How many bytes of large events were taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Events of 100 kB, as fast as they are taken.
fn large_events(stream: &mut dyn Write) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let labels: Vec<_> = (0..1000)
        .map(|number| format!("\"label-{number}\":\"{}\"", "x".repeat(90)))
        .collect();
    let labels = labels.join(",");
    for nanos in 1_795_336_842_315_241_720_u64.. {
        let line = format!(
            "{{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{{\"ID\":\"{nanos:064x}\",\
             \"Attributes\":{{{labels}}}}},\"timeNano\":{nanos}}}\n"
        );
        stream.write_all(line.as_bytes())?;
        TAKEN.fetch_add(line.len(), Ordering::Relaxed);
    }
    Ok(())
}

#[test]
fn streams_of_events_that_are_none_leave_the_listing() {
    let answers = [
        bytes(""),
        Answer::Silence,
        Answer::Write(endless_line),
        Answer::Write(endless_interim),
        Answer::Write(events_in_bad_chunks),
        Answer::Write(endless_event),
        Answer::Write(lines_that_are_none),
        bytes("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bytes("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"),
    ];
    thread::scope(|scope| {
        for answer in answers {
            scope.spawn(move || {
                let engine = FakeEngine::start();
                engine.answer("/events", answer);
                engine.put(Container::exited(1, "web", 3));
                let exporter = Exporter::start(&engine.address());
                exporter.until("five listings", |metrics| {
                    is_up(metrics)?;
                    shows(&[("web", 3.0)])(metrics)?;
                    match collections(metrics, "success") {
                        5.0.. => Ok(()),
                        worked => Err(format!("{worked} listings")),
                    }
                });
                let peak = peak(&exporter);
                assert!(peak <= RESIDENT_KB, "{peak} kB were resident");
                let said = exporter.said();
                assert!(said.lines().count() < 10, "{said}");
                engine.answer_normally("/events");
                engine.hang_up();
                exporter.until("events", |metrics| {
                    match metrics.value("docker_exit_exporter_event_stream_up", &[]) {
                        Some(1.0) => Ok(()),
                        up => Err(format!("{up:?}")),
                    }
                });
                let container = Container::running(2, "job");
                engine.run(&container);
                engine.end(&container, 5);
                exporter.until("an exit", shows(&[("job", 5.0), ("web", 3.0)]));
            });
        }
    });
}

#[test]
fn large_events_wait_in_bounded_memory() {
    let (engine, exporter) = {
        let engine = FakeEngine::start();
        engine.answer("/events", Answer::Write(large_events));
        engine.answer_listing(Answer::Silence);
        let exporter = Exporter::start(&engine.address());
        (engine, exporter)
    };
    // Until no more are taken for a while, many times what may wait was, or it takes too long.
    let begun = Instant::now();
    let (mut last, mut looks) = (0, 0);
    exporter.until("all that may wait", |metrics| {
        is_down(metrics)?;
        let taken = TAKEN.load(Ordering::Relaxed);
        looks = if taken > last { 0 } else { looks + 1 };
        last = taken;
        let full = taken > 200_000_000 || (taken > 0 && looks > 100);
        let enough = full || begun.elapsed() > PATIENCE / 2;
        enough.then_some(()).ok_or(format!("{taken} bytes"))
    });
    let peak = peak(&exporter);
    assert!(peak <= RESIDENT_KB, "{peak} kB were resident");
    drop(engine);
}

fn recordings(name: &str) -> Vec<(PathBuf, Value)> {
    let mut recordings = Vec::new();
    for folder in ["docker-20.10", "docker-28.5", "podman-5.8"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(folder);
        for entry in fs::read_dir(folder).expect("recordings") {
            let path = entry.expect("a recording").path();
            if !path
                .file_name()
                .is_some_and(|it| it.to_string_lossy().starts_with(name))
            {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a recording");
            let (Some(start), Some(end)) = (text.find(['[', '{']), text.rfind([']', '}'])) else {
                continue;
            };
            if let Ok(value) = serde_json::from_str(&text[start..=end]) {
                recordings.push((path, value));
            }
        }
    }
    recordings
}

#[test]
fn a_recording_that_is_cut_anywhere_is_no_listing_and_no_inspect() {
    let listings = recordings("list");
    let inspects = recordings("inspect-err");
    assert!(listings.len() >= 2 && inspects.len() >= 2);
    for (path, listing) in listings {
        let text = listing.to_string();
        assert!(engine::listing(&text).expect("a listing").len() > 3);
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            assert!(
                engine::listing(&text[..cut]).is_err(),
                "{path:?} cut at {cut}"
            );
        }
    }
    for (path, inspect) in inspects {
        let text = inspect.to_string();
        assert!(Inspected::parse(&text).is_ok(), "{text}");
        for cut in (0..text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            assert!(
                Inspected::parse(&text[..cut]).is_err(),
                "{path:?} cut at {cut}"
            );
        }
    }
}

/// The same value with `null` in each of its places in turn.
fn with_nulls(value: &Value) -> Vec<Value> {
    let mut all = vec![Value::Null];
    match value {
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                for changed in with_nulls(item) {
                    let mut items = items.clone();
                    items[at] = changed;
                    all.push(Value::Array(items));
                }
            }
        }
        Value::Object(fields) => {
            for (key, field) in fields {
                for changed in with_nulls(field) {
                    let mut fields = fields.clone();
                    fields.insert(key.clone(), changed);
                    all.push(Value::Object(fields));
                }
            }
        }
        _ => {}
    }
    all
}

#[test]
fn null_wherever_it_can_be_touches_nothing_else() {
    for (path, listing) in recordings("list") {
        let Value::Array(containers) = listing else {
            panic!("{path:?} is no listing");
        };
        let last = containers.last().expect("a container").to_string();
        for container in &containers {
            for changed in with_nulls(container) {
                let text = format!("[{changed},{last}]");
                let listed = engine::listing(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
                let alone = format!("[{last}]");
                let want = engine::listing(&alone).expect("a listing");
                let other = listed.last().expect("the other container");
                assert_eq!((&other.id, &other.name), (&want[0].id, &want[0].name));
                assert_eq!(other.status, want[0].status);
                assert_eq!(other.labels(), want[0].labels());
            }
        }
    }
    for (path, inspect) in recordings("inspect-") {
        for changed in with_nulls(&inspect).into_iter().skip(1) {
            let text = changed.to_string();
            let state = &changed["State"];
            let whole = state["Status"].is_string() && state["ExitCode"].is_i64();
            let is_read = Inspected::parse(&text).is_ok();
            assert_eq!(is_read, whole, "{path:?}: {text}");
        }
    }
}
