//! The daemon gone and back while containers run and end: each exit that it still knows of counts, and counts once.

use std::fs::{self, File};

use super::event_log::EventLog;
use super::inspect::compare_with_inspect;
use super::workloads::{counted, counts, follows, run_service, service, until_listed_again};
use crate::support::dockerd::{Engine, until_gone};
use crate::support::exporter::{Exporter, Scraped, is_down};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually};

const SLEEP: [&str; 2] = ["sleep", "1000"];
/// A second is enough for the grace before they are killed.
const GRACE: &str = "--stop-timeout=1";

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_killed_daemon_loses_no_exit_and_counts_none_twice() {
    let mut engine = Engine::private();
    // Nothing of what was removed stays, so that what is shown is what inspect tells.
    let exporter = Exporter::start_with(&engine.url(), &["--retention", "0"]);
    exporter.until("the start", follows);
    let before = EventLog::follow(&engine);
    let shared = engine.folder.join("shared");
    fs::create_dir(&shared).unwrap();
    run_service(&engine, "done", &[], &["sh", "-c", "exit 3"]);
    let volume = format!("--volume={}:/shared", shared.display());
    let waits = "while [ ! -e /shared/end ]; do sleep 0.05; done; exit 5";
    run_service(&engine, "alone", &[&volume], &["sh", "-c", waits]);
    run_service(&engine, "deaf", &[GRACE], &SLEEP);
    run_service(&engine, "gone", &["--rm", GRACE], &SLEEP);
    let looping = engine.name("loop");
    run_service(
        &engine,
        "loop",
        &["--restart=always"],
        &["sh", "-c", "sleep 0.2; exit 7"],
    );
    let rounds = before.until_deaths("name", &looping, 3).len();
    exporter.until("what ended before", |metrics| {
        counted(metrics, &service("done"), &[("error", 1)])?;
        at_least(metrics, "loop", rounds)
    });

    let pid = engine.inspect("alone")["State"]["Pid"].to_string();
    assert_ne!(pid, "0");
    engine.kill();
    before.until_end();
    let rounds_before = before.deaths("name", &looping).len();
    exporter.until("the daemon was killed", is_down);
    File::create(shared.join("end")).unwrap();
    until_gone(&pid);

    engine.start();
    let after = EventLog::follow(&engine);
    exporter.until("the daemon is back", follows);
    after.until_deaths("name", &looping, 2);
    engine.docker(&["update", "--restart=no", &looping]);
    let ended = eventually(
        PATIENCE,
        || match engine.inspect("loop")["State"]["Status"].as_str() {
            Some("exited") => Ok(()),
            status => Err(format!("the loop is {status:?}")),
        },
    );
    ended.unwrap();
    let mut rounds = 0;
    let mut check = |metrics: &Metrics| {
        counted(metrics, &service("done"), &[("error", 1)])?;
        counted(metrics, &service("alone"), &[("error", 1)])?;
        // The new daemon ends what it finds running, before it answers anybody.
        counted(metrics, &service("deaf"), &[("stopped", 1)])?;
        counted(metrics, &service("gone"), &[("stopped", 1)])?;
        rounds = rounds_before + after.deaths("name", &looping).len();
        at_least(metrics, "loop", rounds)?;
        compare_with_inspect(&engine, metrics)
    };
    exporter.until("what ended", &mut check);
    until_listed_again(&exporter);
    exporter.until("what ended, still", &mut check);
    // One round may have ended while there was no daemon, and the next daemon says nothing of it.
    exporter.until("no round counted twice", |metrics| {
        match at_least(metrics, "loop", rounds + 2) {
            Err(_) => Ok(()),
            Ok(()) => Err(format!("there were {rounds} rounds")),
        }
    });
}

/// Whether at least that many exits of a Compose service were counted, all of them as errors.
fn at_least(metrics: &Metrics, short: &str, wanted: usize) -> Result<(), String> {
    let counts = counts(metrics, &service(short))?;
    if counts["error"] >= wanted && counts["error"] == counts.values().sum::<usize>() {
        Ok(())
    } else {
        Err(format!(
            "{short} should have {wanted} errors, counted are {counts:?}"
        ))
    }
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_stopped_daemon_loses_no_exit_and_counts_none_twice() {
    let mut engine = Engine::private();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    run_service(&engine, "done", &[], &["sh", "-c", "exit 3"]);
    run_service(&engine, "deaf", &[GRACE], &SLEEP);
    run_service(&engine, "gone", &["--rm", GRACE], &SLEEP);
    run_service(&engine, "again", &["--restart=always", GRACE], &SLEEP);
    exporter.until("what ended before", |metrics| {
        counted(metrics, &service("done"), &[("error", 1)])
    });

    engine.stop();
    events.until_end();
    for short in ["done", "deaf", "gone", "again"] {
        assert_eq!(
            events.deaths("name", &engine.name(short)).len(),
            1,
            "{short}"
        );
    }
    let check = |metrics: &Metrics| {
        counted(metrics, &service("done"), &[("error", 1)])?;
        for stopped in ["deaf", "gone", "again"] {
            counted(metrics, &service(stopped), &[("stopped", 1)])?;
        }
        Ok(())
    };
    exporter.until("what ended", |metrics| {
        is_down(metrics).and_then(|()| check(metrics))
    });

    engine.start();
    let back = |metrics: &Metrics| {
        follows(metrics)?;
        check(metrics)?;
        let (deaf, again) = (engine.name("deaf"), engine.name("again"));
        let shown = metrics.value("container_exit_code", &[("name", &deaf)]);
        let last = metrics.value("container_last_exit_code", &[("name", &again)]);
        if (shown, last) == (Some(137.0), Some(137.0)) {
            Ok(())
        } else {
            Err(format!("the codes are {shown:?} and {last:?}"))
        }
    };
    exporter.until("the daemon is back", back);
    until_listed_again(&exporter);
    exporter.until("what ended, still", |metrics| {
        back(metrics)?;
        let own = |name: &str| metrics.value(&format!("docker_exit_exporter_{name}"), &[]);
        match (own("event_stream_connects_total"), own("events_lost_total")) {
            (Some(connects), Some(0.0)) if connects >= 2.0 => Ok(()),
            other => Err(format!("connects and lost events: {other:?}")),
        }
    });
}
