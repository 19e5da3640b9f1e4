//! The built program before an Engine that says too much: texts take no more memory and no
//! more lines of the log than they should.

#[allow(dead_code)] // Shared with other tests, which use other parts of it.
#[path = "support/container.rs"]
mod container;
#[allow(dead_code)]
#[path = "support/exporter.rs"]
mod exporter;
#[allow(dead_code)]
#[path = "support/fake_engine.rs"]
mod fake_engine;
#[allow(dead_code)]
#[path = "support/metrics.rs"]
mod metrics;
#[allow(dead_code)]
#[path = "support/waiting.rs"]
mod waiting;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use container::Container;
use exporter::{Exporter, Scraped, is_down, is_up, once};
use fake_engine::{Answer, FakeEngine};
use waiting::{PATIENCE, eventually};

/// A line of `/proc/PID/status`, in kB.
fn memory(exporter: &Exporter, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid())).unwrap();
    let value = status.lines().find_map(|it| it.strip_prefix(line));
    let value = value.and_then(|it| it.split_whitespace().next());
    value.and_then(|it| it.parse().ok()).expect("kB")
}

/// The least that is resident during some listings, in kB: what is kept between them.
fn kept(exporter: &Exporter) -> u64 {
    let end = Instant::now() + Duration::from_secs(4);
    let mut least = u64::MAX;
    while Instant::now() < end {
        least = least.min(memory(exporter, "VmRSS:"));
        thread::sleep(Duration::from_millis(20));
    }
    least
}

#[test]
fn a_listing_that_is_one_long_string_makes_one_short_line() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "web", 3));
    let exporter = Exporter::start(&engine.address());
    exporter.until("the Engine", is_up);
    let before = memory(&exporter, "VmRSS:");
    engine.answer_listing(Answer::text(
        "200 OK",
        &format!("\"{}\"", "x".repeat(50_000_000)),
    ));
    exporter.until("the long string", is_down);
    let kept = kept(&exporter);
    let peak = memory(&exporter, "VmHWM:");
    let said = exporter.said();
    let longest = said.lines().map(str::len).max();
    println!("{before} kB before, {kept} kB kept, {peak} kB at most, a line of {longest:?} bytes");
    assert!(longest < Some(600), "a line of {longest:?} bytes");
    assert!(kept < before + 8 * 1024, "{kept} kB, {before} kB before");
    assert!(peak < 80 * 1024, "{peak} kB");
    let output = once(&engine.address(), &[]);
    assert!(output.stderr.len() < 600, "{} bytes", output.stderr.len());
}

#[test]
fn what_an_engine_says_forges_no_line_of_the_log() {
    let evil = "1\n[2026-11-26T00:00:00Z ERROR forged] \u{202e}\u{2066}\u{2028}\u{1b}[31m\u{85}";
    let engine = FakeEngine::start();
    engine.answer(
        "/info",
        Answer::json("200 OK", &json!({"ServerVersion": evil})),
    );
    let mut container = Container::running(1, &format!("web{evil}"));
    container.image = evil.to_owned();
    engine.put(container.clone());
    let exporter = Exporter::start(&engine.address());
    exporter.until("the Engine", is_up);
    engine.end(&container, 3);
    let mut failed = Container::created(2, evil);
    (failed.code, failed.error) = (127, format!("exec: {evil}{}", "é".repeat(10_000)));
    engine.put(failed.clone());
    engine.happen("create", &failed, &[]);
    exporter.until("both exits", |metrics| {
        match metrics.named("container_exit_code").count() {
            2 => Ok(()),
            count => Err(format!("{count} exits")),
        }
    });
    engine.say(evil.as_bytes());
    let message = json!({"message": format!("{evil}{}", "é".repeat(10_000))});
    engine.answer_listing(Answer::json("500 Internal Server Error", &message));
    exporter.until("the refusal", is_down);
    let complete = || {
        let said = exporter.said();
        let wanted = ["has 1 containers", "exited", "could not be started", "500"];
        match wanted.iter().find(|it| !said.contains(**it)) {
            None => Ok(said),
            Some(missing) => Err(format!("no {missing:?} in:\n{said}")),
        }
    };
    let said = eventually(PATIENCE, complete).unwrap();
    println!("{said}");
    for line in said.lines() {
        assert!(
            line.starts_with('[') && !line.starts_with("[2026-11-26T00:00:00Z ERROR forged"),
            "{line}"
        );
        assert!(
            !line.contains(['\u{202e}', '\u{2066}', '\u{2028}', '\u{1b}', '\u{85}']),
            "{line:?}"
        );
        assert!(line.chars().count() < 1200, "{line}");
    }
    let output = once(&engine.address(), &[]);
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(
        complaint.chars().count() < 600 && !complaint.contains('\u{202e}'),
        "{complaint}"
    );
}
