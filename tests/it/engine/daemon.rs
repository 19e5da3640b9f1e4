//! The Engine gone and back, `--once`, and signals.

use std::time::Duration;

use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped, is_down, is_up, once};
use crate::support::metrics::{Metrics, Sample};

/// How long an end may take.
const AT_ONCE: Duration = Duration::from_secs(1);

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_restart_of_the_daemon_is_told_once_and_loses_nothing() {
    let mut engine = Engine::private();
    for code in ["0", "3", "143"] {
        engine.run(
            code,
            &[
                "--network",
                "none",
                IMAGE,
                "sh",
                "-c",
                &format!("exit {code}"),
            ],
        );
    }
    engine.run(
        "running",
        &[
            "--detach",
            "--network",
            "none",
            "--stop-signal",
            "KILL",
            IMAGE,
            "sleep",
            "1000",
        ],
    );
    let exporter = Exporter::start(&engine.url());
    let before = exporter.until("three exits", |metrics| exits(metrics, 3));

    let lines_before = exporter.said().lines().count();
    engine.stop();
    exporter.until("the daemon was stopped", is_down);
    exporter.until("some collections in vain", |metrics| {
        match metrics.value(
            "docker_exit_exporter_collections_total",
            &[("result", "error")],
        ) {
            Some(failed) if failed >= 4.0 => is_down(metrics),
            failed => Err(format!("so far {failed:?}")),
        }
    });
    let said = exporter.said();
    let new: Vec<&str> = said.lines().skip(lines_before).collect();
    // The daemon's end ends the fourth container too, and the exporter may or may not get to see that.
    let complaints: Vec<&&str> = new
        .iter()
        .filter(|line| !line.contains(&engine.name("running")))
        .collect();
    assert_eq!(
        complaints.len(),
        1,
        "one line should tell that the daemon is gone:\n{said}"
    );

    let lines_before = said.lines().count();
    engine.start();
    exporter.until("the daemon was started again", is_up);
    let after = exporter.until(
        "the exits from before, and the one that the stop caused",
        |metrics| exits(metrics, 4),
    );
    for sample in &before {
        assert!(
            after.contains(sample),
            "{sample:?} is gone or different: {after:?}"
        );
    }
    let killed = engine.name("running");
    let killed = after
        .iter()
        .find(|sample| sample.labels["name"] == killed && sample.name == "container_exit_code");
    assert_eq!(killed.map(|sample| sample.value), Some(137.0), "{after:?}");
    let said = exporter.said();
    let news: Vec<&str> = said
        .lines()
        .skip(lines_before)
        .filter(|line| !line.contains("dee-"))
        .collect();
    assert_eq!(
        news.len(),
        1,
        "one line should tell that the daemon is back:\n{said}"
    );
}

/// Codes, times and reasons, once there are those of so many containers.
fn exits(metrics: &Metrics, wanted: usize) -> Result<Vec<Sample>, String> {
    is_up(metrics)?;
    let shown = metrics.named("container_exit_code").count();
    if shown != wanted {
        return Err(format!("{shown} exits are shown"));
    }
    let of_exit = metrics
        .samples
        .iter()
        .filter(|sample| sample.name.starts_with("container_exit_"));
    Ok(of_exit.cloned().collect())
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn once_prints_the_metrics_or_one_line_of_why_not() {
    let engine = Engine::new();
    engine.run("three", &["--network", "none", IMAGE, "sh", "-c", "exit 3"]);
    let output = once(&engine.url(), &[]);
    assert!(output.status.success(), "{output:?}");
    let metrics = Metrics::parse(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(metrics.value("docker_up", &[]), Some(1.0));
    assert_eq!(
        metrics.value("container_exit_code", &[("name", &engine.name("three"))]),
        Some(3.0)
    );

    let output = once("unix:///nonexistent/docker.sock", &[]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert!(
        complaint.contains("/nonexistent/docker.sock"),
        "{complaint}"
    );
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_signal_ends_it_at_once() {
    let engine = Engine::new();
    for name in ["TERM", "INT"] {
        let mut exporter = Exporter::start(&engine.url());
        exporter.until("the start", is_up);
        let (status, took) = exporter.end_by(name);
        assert!(
            status.success() && took < AT_ONCE,
            "SIG{name}: {status} after {took:?}:\n{}",
            exporter.said()
        );
    }
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_signal_ends_it_at_once_without_an_engine_too() {
    let mut exporter = Exporter::start("unix:///nonexistent/docker.sock");
    exporter.until("the start", is_down);
    let (status, took) = exporter.end_by("TERM");
    assert!(
        status.success() && took < AT_ONCE,
        "{status} after {took:?}:\n{}",
        exporter.said()
    );
    let left = std::net::TcpStream::connect(("127.0.0.1", exporter.port()));
    assert!(left.is_err(), "a part of it still serves");
}
