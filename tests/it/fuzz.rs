//! What must hold of everything that reads what a peer sends, tried on what real Engines wrote, on
//! the cases that fuzzing found worth keeping, and on what becomes of both by chance. The chance is
//! the same each time; `FUZZ_ITERATIONS` says how long it goes on. `fuzz/` searches for new cases.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use test_support::fuzz_targets::{self, Dice};

type Target = fn(&[u8]);

/// How many changed cases of each kind are tried, unless the environment says otherwise.
const ITERATIONS: u32 = 1000;

/// What is put into a case now and then.
const PARTS: [&str; 34] = [
    "\r\n",
    "\r\n\r\n",
    "\n",
    "0\r\n",
    "5;a=b\r\nhello\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Expect: 100-continue\r\n",
    "GET / HTTP/1.1\r\n",
    "ffffffffffffffff",
    "18446744073709551616",
    "-1",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud83d\\ude00",
    "null",
    "{\"Id\":\"1\"},",
    "\"Status\":\"Exited (3) 5 minutes ago\",",
    "\"State\":{\"ExitCode\":1},",
    "\"Labels\":{\"a\":\"b\"},",
    "Exited (",
    ") ",
    " hours ago",
    "\u{a0}",
    "\0",
    "x",
];

/// The files of a folder in `fixtures`.
fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(folder);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.is_file()).collect();
    // Folders have no order, and chance goes by it.
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

/// The recordings whose names begin so, with their heads.
fn recordings(start: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for engine in ["docker-20.10", "docker-28.5", "podman-5.8"] {
        for (path, bytes) in files(engine) {
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(start)) {
                all.push(bytes);
            }
        }
    }
    assert!(!all.is_empty(), "there are no recordings of {start}");
    all
}

/// The two parts of an answer.
fn parts(answer: &[u8]) -> (&[u8], &[u8]) {
    let at = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    answer.split_at(at + 4)
}

/// The body of an answer, whose chunks begin and end at lines.
fn text(answer: &[u8]) -> Vec<u8> {
    let (head, mut rest) = parts(answer);
    if !String::from_utf8_lossy(head).contains("chunked") {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 2 + size + 2..];
    }
    body
}

/// The other recordings whose names end so: bodies alone.
fn extra(end: &str) -> impl Iterator<Item = Vec<u8>> {
    let all = files("extra").into_iter();
    let all = all.filter(move |(path, _)| path.to_str().unwrap().ends_with(end));
    all.map(|(_, bytes)| bytes)
}

/// Tries a target on these, on the cases that were kept for it, and on what becomes of them.
fn holds(name: &str, target: Target, recorded: impl IntoIterator<Item = Vec<u8>>) {
    let kept = files(&format!("fuzz/{name}"));
    assert!(!kept.is_empty());
    let mut cases: Vec<_> = kept.into_iter().map(|(_, bytes)| bytes).collect();
    cases.extend(recorded);
    for case in &cases {
        holds_for(name, target, case);
    }

    // What is large takes long, and is not more likely to be wrong.
    cases.retain(|case| case.len() <= 8 * 1024);
    let iterations = std::env::var("FUZZ_ITERATIONS");
    let iterations = iterations.map_or(ITERATIONS, |it| it.parse().expect("a number"));
    let mut dice = Dice::new(name.as_bytes());
    for _ in 0..iterations {
        holds_for(name, target, &changed(&cases, &mut dice));
    }
}

fn holds_for(name: &str, target: Target, case: &[u8]) {
    if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| target(case))) {
        eprintln!("{name} does not hold for b\"{}\"", case.escape_ascii());
        panic::resume_unwind(panic);
    }
}

/// One of the cases, changed in a few places.
fn changed(cases: &[Vec<u8>], dice: &mut Dice<'_>) -> Vec<u8> {
    let mut case = any(cases, dice).clone();
    for _ in 0..=any(&[0, 1, 2, 7], dice).to_owned() {
        let (one, other) = (place(&case, dice), place(&case, dice));
        let (start, end) = (one.min(other), one.max(other));
        match dice.number() % 8 {
            0 => case.truncate(end),
            1 => drop(case.drain(start..end.min(start + 16))),
            2 => {
                let again = case[start..end.min(start + 64)].to_vec();
                case.splice(end..end, again);
            }
            3 => {
                let other = any(cases, dice);
                let from = place(other, dice);
                let to = place(other, dice).clamp(from, from + 64).min(other.len());
                case.splice(start..start, other[from..to].iter().copied());
            }
            4 | 5 => {
                case.splice(start..start, any(&PARTS, dice).bytes());
            }
            _ => {
                if let Some(byte) = case.get_mut(start) {
                    *byte ^= 1 << (dice.number() % 8);
                }
            }
        }
    }
    case
}

fn any<'t, T>(all: &'t [T], dice: &mut Dice<'_>) -> &'t T {
    let at = dice.number() % all.len() as u64;
    &all[usize::try_from(at).unwrap()]
}

fn place(case: &[u8], dice: &mut Dice<'_>) -> usize {
    usize::try_from(dice.number() % (case.len() as u64 + 1)).unwrap()
}

#[test]
fn heads_mean_the_same_however_they_arrive() {
    let heads = recordings("").into_iter();
    let heads = heads.map(|answer| [b"\0\0", parts(&answer).0].concat());
    holds("head", fuzz_targets::head, heads);
}

#[test]
fn requests_mean_the_same_however_they_arrive() {
    let requests = [
        // Prometheus, a browser, curl.
        "GET /metrics HTTP/1.1\r\nHost: exporter:9090\r\nUser-Agent: Prometheus/3.5.0\r\n\
         Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1\r\n\
         Accept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n",
        "GET /?failures HTTP/1.1\r\nHost: localhost:9090\r\nConnection: keep-alive\r\n\
         Upgrade-Insecure-Requests: 1\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9\r\nCookie: a=b; c=\"d\"\r\n\r\n",
        "GET /?q=%22a+b%22&service=shop%2Fweb&reason=error&failures&down=1&page=2&refresh=off&open=5af3 HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        "GET / HTTP/1.0\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\n\n\r\nGET /-/ready HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET /-/healthy HTTP/1.1\r\n\r\n",
    ];
    let requests = requests.map(|it| [b"\0\0", it.as_bytes()].concat());
    holds("request", fuzz_targets::request, requests);
}

#[test]
fn bodies_are_what_their_framing_says() {
    let bodies = recordings("").into_iter().map(|answer| {
        let (head, body) = parts(&answer);
        let chunked = String::from_utf8_lossy(head).contains("chunked");
        let start = if chunked { b"\0\0" } else { b"\x04\0" };
        [start, body].concat()
    });
    holds("body", fuzz_targets::body, bodies);
}

#[test]
fn events_are_told_whatever_is_between_them() {
    let streams = recordings("events").into_iter().map(|it| text(&it));
    let streams = streams.chain(extra(".ndjson"));
    let streams = streams.map(|stream| [b"\0\0", &stream[..]].concat());
    holds("events", fuzz_targets::events, streams);
}

#[test]
fn listings_say_what_their_json_says() {
    let listings = recordings("list").into_iter().map(|it| text(&it));
    holds(
        "listing",
        fuzz_targets::listing,
        listings.chain(extra(".list.json")),
    );
}

#[test]
fn inspects_say_what_their_json_says() {
    let inspects = recordings("inspect").into_iter().map(|it| text(&it));
    holds(
        "inspect",
        fuzz_targets::inspect,
        inspects.chain(extra(".inspect.json")),
    );
}

#[test]
fn states_and_codes_are_those_of_their_texts() {
    let texts = [
        "exited\nExited (3) 5 minutes ago",
        "restarting\nRestarting (7) Less than a second ago",
        "frobbed\nUp 3 seconds (Paused)",
        "removing\nRemoval In Progress",
    ];
    holds(
        "status",
        fuzz_targets::status,
        texts.map(|it| it.as_bytes().to_vec()),
    );
}
