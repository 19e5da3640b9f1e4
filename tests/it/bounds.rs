//! The built program before an Engine that says too much: labels, texts and exits take no more memory,
//! lines and requests than they should, and nothing that counts is lost.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use test_support::container::Container;
use test_support::fake_engine::{Answer, FakeEngine};

use crate::support::exporter::{Exporter, Scraped, is_down, is_up, once};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually};

const CONTAINERS: u64 = 300;

const DROPPED: &str = "docker_exit_exporter_labels_dropped_total";

/// A line of `/proc/PID/status`, in kB.
fn memory(exporter: &Exporter, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.pid())).unwrap();
    let value = status.lines().find_map(|it| it.strip_prefix(line));
    let value = value.and_then(|it| it.split_whitespace().next());
    value.and_then(|it| it.parse().ok()).expect("kB")
}

/// The least that is resident during some listings, in kB: what is kept between them.
fn kept(exporter: &Exporter) -> u64 {
    let end = Instant::now() + Duration::from_millis(2500);
    let mut least = u64::MAX;
    while Instant::now() < end {
        least = least.min(memory(exporter, "VmRSS:"));
        thread::sleep(Duration::from_millis(20));
    }
    least
}

/// What a scrape brings, of any length.
fn scrape(exporter: &Exporter, coding: &str) -> Vec<u8> {
    let url = format!("http://127.0.0.1:{}/metrics", exporter.port());
    let answer = ureq::get(&url).header("Accept-Encoding", coding).call();
    answer.map_or_else(
        |_| Vec::new(),
        |mut answer| {
            let body = answer.body_mut().with_config().limit(u64::MAX);
            body.read_to_vec().unwrap()
        },
    )
}

/// What one of the containers is made of.
fn exited(number: u64, labels: &[(String, String)]) -> Container {
    let mut container = Container::exited(number, &format!("c{number}"), 1);
    // Spread as real ids are.
    container.id = format!("{:02x}{number:062x}", number % 256);
    container.labels = labels.to_vec();
    container.restart_policy = "on-failure";
    container
}

/// Text that cannot be compressed, the same each time.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(letters[usize::try_from(state >> 58).unwrap()])
    };
    (0..bytes).map(letter).collect()
}

/// What the containers have, their labels by their number, and how many of each are left out.
type Case<'a> = (&'a str, &'a dyn Fn(u64) -> Vec<(String, String)>, u64);

#[test]
fn huge_labels_of_300_containers_stay_under_32_mib() {
    let label = |key: &str, value: String| (key.to_owned(), value);
    let swarm = label("com.docker.swarm.service.name", "web".to_owned());
    let plain = |_| vec![swarm.clone()];
    let one = |_| vec![label("big", "x".repeat(60_000)), swarm.clone()];
    let many = |_| {
        let all = (0..1000).map(|it| label(&format!("a{it:03}"), "x".repeat(100)));
        all.chain([swarm.clone()]).collect()
    };
    let keys = |_| vec![label(&"k".repeat(60_000), "x".to_owned()), swarm.clone()];
    // As much as fits, another text in each, that no compression makes shorter.
    let fits = |number: u64| {
        let all = [1900, 1900, 1900, 300].into_iter().zip(0..);
        let all = all.map(|(bytes, it)| label(&format!("a{it}"), noise(number * 4 + it, bytes)));
        all.chain([swarm.clone()]).collect()
    };
    let cases: [Case; 5] = [
        ("none", &plain, 0),
        ("one of 60 kB", &one, 1),
        ("1,000 of 100 bytes", &many, 951),
        ("a key of 60 kB", &keys, 1),
        ("noise that fits", &fits, 0),
    ];
    let mut usual = 0;
    for (what, labels, left_out) in cases {
        let engine = FakeEngine::start();
        for number in 1..=CONTAINERS {
            engine.put(exited(number, &labels(number)));
        }
        let exporter = Exporter::start(&engine.address());
        let swarm = "container_label_com_docker_swarm_service_name=\"web\"";
        let all_shown = || {
            let text = scrape(&exporter, "identity");
            let text = String::from_utf8(text).unwrap();
            let is_shown = |it: &&str| it.starts_with("container_exit_code{") && it.contains(swarm);
            match text.lines().filter(is_shown).count() {
                300 => Ok(text),
                count => Err(format!("{count} are shown")),
            }
        };
        let text = eventually(PATIENCE, all_shown).unwrap_or_else(|why| panic!("{what}: {why}"));
        let dropped = text.lines().find_map(|line| line.strip_prefix(DROPPED));
        let dropped = dropped.map(|value| value.trim().parse().unwrap());
        let bytes = text.len();
        drop(text);
        scrape(&exporter, "gzip");
        let kept = kept(&exporter);
        let peak = memory(&exporter, "VmHWM:");
        println!(
            "{what}: {kept} kB kept, {peak} kB at most, text of {bytes} bytes, dropped {dropped:?}"
        );
        if what == "none" {
            usual = kept;
        }
        assert!(
            kept < usual + 32 * 1024,
            "{what}: {kept} kB, {usual} kB without"
        );
        assert_eq!(dropped, Some(left_out * CONTAINERS), "{what}");
        let said = exporter.said();
        let lines = said.lines().filter(|line| line.contains("left out"));
        assert_eq!(lines.count(), usize::from(left_out != 0), "{said}");
    }
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

#[test]
fn a_storm_of_exits_is_counted_and_doubled_neither_in_the_log_nor_at_docker() {
    const STORM: u64 = 3000;
    let engine = FakeEngine::start();
    for number in 1..=STORM {
        engine.put(Container::running(number, &format!("c{number}")));
    }
    let exporter = Exporter::start(&engine.address());
    exporter.until("all containers", |metrics| {
        match metrics.value("docker_containers", &[("state", "running")]) {
            Some(3000.0) => Ok(()),
            count => Err(format!("{count:?} run")),
        }
    });
    engine.take_requests();
    let start = Instant::now();
    for number in 1..=STORM {
        engine.end(&Container::running(number, &format!("c{number}")), 1);
        let due = Duration::from_millis(2000 * number / STORM);
        // The pace of the storm.
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    let all =
        |metrics: &Metrics| match metrics.value("container_exits_total", &[("reason", "error")]) {
            Some(3000.0) => Ok(()),
            count => Err(format!("{count:?} are counted")),
        };
    exporter.until("all exits", all);
    let took = start.elapsed().as_secs() + 1;
    let requests = engine.take_requests();
    let inspects = requests.iter().filter(|it| it.ends_with("/json")).count() as u64;
    let said = exporter.said();
    let lines = said
        .lines()
        .filter(|line| line.contains(" exited with code "))
        .count() as u64;
    println!("{inspects} inspects, {lines} lines in {took} s");
    assert!(
        lines <= 50 * (took + 1),
        "{lines} lines in {took} s:\n{said}"
    );
    assert!(
        inspects <= 500 + 100 * took,
        "{inspects} inspects in {took} s"
    );
    let counted = || {
        let said = exporter.said();
        let more = said.lines().filter_map(|line| {
            let (_, rest) = line.split_once("] ")?;
            rest.split_once(" more exits ")?.0.parse::<u64>().ok()
        });
        let lines = said
            .lines()
            .filter(|line| line.contains(" exited with code "))
            .count() as u64;
        match more.sum::<u64>() + lines {
            STORM => Ok(()),
            count => Err(format!("{count} exits are in the log:\n{said}")),
        }
    };
    eventually(PATIENCE, counted).unwrap();
    let lost = |metrics: &Metrics| metrics.value("docker_exit_exporter_events_lost_total", &[]);
    exporter.until("no loss", |metrics| match lost(metrics) {
        Some(0.0) => Ok(()),
        count => Err(format!("{count:?} are lost")),
    });
}
