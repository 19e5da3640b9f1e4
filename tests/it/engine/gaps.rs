//! Times in which the exporter hears nothing of the Engine. What the Engine still remembers is counted. What it has
//! forgotten is reported lost. Where nothing can have been lost, nothing is reported.

use std::thread;
use std::time::{Duration, Instant};

use super::event_log::EventLog;
use super::workloads::{
    counted, follows, lost, lost_are, not_counted, run_service, service, until_listed_again,
};
use crate::support::dockerd::Engine;
use crate::support::exporter::{Exporter, Scraped, is_down};
use crate::support::metrics::Metrics;
use crate::support::proxy::Proxy;
use crate::support::waiting::signal;

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// The containers that end in a gap.
const UNHEARD: [&str; 5] = ["gone-0", "gone-1", "gone-2", "gone-3", "gone-4"];

/// How long it may take until all is known, once the Engine is heard again.
const LIMIT: Duration = Duration::from_secs(15);

/// Runs containers that are removed at their end, until they are.
fn run_to_the_end(engine: &Engine, events: &EventLog, services: &[&str]) {
    for short in services {
        run_service(engine, short, &["--rm"], &["sh", "-c", "exit 4"]);
    }
    for short in services {
        events.until_removed(&engine.name(short));
    }
}

/// Whether each of them was counted.
fn all_counted(metrics: &Metrics, services: &[&str]) -> Result<(), String> {
    let mut all = services.iter();
    all.try_for_each(|short| counted(metrics, &service(short), &[("error", 1)]))
}

/// Whether none of them was.
fn none_counted(metrics: &Metrics, services: &[&str]) -> Result<(), String> {
    let mut all = services.iter();
    all.try_for_each(|short| not_counted(metrics, &service(short)))
}

/// Ends containers while a proxy is away. The events of `first` come before. With `forgets`, the Engine remembers only the
/// last of those in the gap.
fn end_while_a_proxy_is_away(first: &[&str], forgets: bool) {
    let engine = Engine::private();
    let events = EventLog::follow(&engine);
    let mut proxy = Proxy::open(&engine);
    let exporter = Exporter::start(&proxy.url());
    exporter.until("the start", follows);
    run_to_the_end(&engine, &events, first);
    exporter.until("what ended before", |metrics| all_counted(metrics, first));

    proxy.go_away();
    exporter.until("the proxy is away", is_down);
    run_to_the_end(&engine, &events, &UNHEARD);
    if forgets {
        engine.forget_events();
    }
    run_to_the_end(&engine, &events, &["last"]);
    proxy.come_back();

    let mut reported = None;
    let mut check = |metrics: &Metrics| {
        follows(metrics)?;
        all_counted(metrics, first)?;
        all_counted(metrics, &["last"])?;
        if !forgets {
            all_counted(metrics, &UNHEARD)?;
            return lost_are(metrics, 0);
        }
        none_counted(metrics, &UNHEARD)?;
        let now = lost(metrics);
        if (1..=UNHEARD.len()).contains(&now) && *reported.get_or_insert(now) == now {
            return Ok(());
        }
        Err(format!("{} were forgotten, lost: {now}", UNHEARD.len()))
    };
    until_listed_again(&exporter);
    exporter.within(LIMIT, "the proxy is back", &mut check);
    until_listed_again(&exporter);
    exporter.within(LIMIT, "the proxy is back, still", check);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_ends_while_a_proxy_is_away_is_counted() {
    end_while_a_proxy_is_away(&["first"], false);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_is_forgotten_while_a_proxy_is_away_is_reported_lost() {
    end_while_a_proxy_is_away(&["first"], true);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_ends_while_a_proxy_is_away_before_the_first_event_is_counted() {
    end_while_a_proxy_is_away(&[], false);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_is_forgotten_before_the_first_event_is_reported_lost() {
    end_while_a_proxy_is_away(&[], true);
}

/// Sends a container a signal that does nothing, again and again, until the Engine drops the events for a slow reader.
fn until_it_drops(engine: &Engine, short: &str) {
    /// The Engine waits 0.1 s for such a reader.
    const DROPS: Duration = Duration::from_millis(95);
    let signal_it = format!("/containers/{}/kill?signal=CONT", engine.name(short));
    let (mut sent, mut dropped) = (0, 0);
    while dropped < 5 {
        assert!(sent < 5000, "the Engine drops nothing");
        let begun = Instant::now();
        engine.post(&signal_it);
        let is_dropped = begun.elapsed() >= DROPS;
        dropped = if is_dropped { dropped + 1 } else { 0 };
        sent += 1;
    }
}

/// Ends containers while the exporter is stopped and the Engine drops its events. With `forgets`, the Engine remembers
/// none of them later.
fn end_while_the_exporter_is_stopped(forgets: bool) {
    /// Signals to several containers take less time than as many to one.
    const RUNS: [&str; 4] = ["runs-0", "runs-1", "runs-2", "runs-3"];
    const UNHEARD: [&str; 2] = ["gone-0", "gone-1"];
    let engine = Engine::private();
    let events = EventLog::follow(&engine);
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    // Large events, so that the few that fit into the socket are not many more.
    let label = format!("--label=large={}", "x".repeat(8 * 1024));
    for short in RUNS {
        run_service(&engine, short, &[&label], &SLEEP);
    }
    let run = |metrics: &Metrics| {
        let mut all = RUNS.iter();
        all.try_for_each(|short| counted(metrics, &service(short), &[]))
    };
    exporter.until("they run", run);

    signal(exporter.pid(), "STOP");
    thread::scope(|scope| {
        for short in RUNS {
            scope.spawn(|| until_it_drops(&engine, short));
        }
    });
    run_to_the_end(&engine, &events, &UNHEARD);
    if forgets {
        engine.forget_events();
    }
    signal(exporter.pid(), "CONT");
    // Later events come as ever.
    run_to_the_end(&engine, &events, &["last"]);

    let check = |metrics: &Metrics| {
        follows(metrics)?;
        all_counted(metrics, &["last"])?;
        run(metrics)?;
        if !forgets {
            all_counted(metrics, &UNHEARD)?;
            return lost_are(metrics, 0);
        }
        none_counted(metrics, &UNHEARD)?;
        match lost(metrics) {
            lost if (1..=UNHEARD.len()).contains(&lost) => Ok(()),
            lost => Err(format!("{} were forgotten, lost: {lost}", UNHEARD.len())),
        }
    };
    until_listed_again(&exporter);
    exporter.within(LIMIT, "it goes on", check);
    until_listed_again(&exporter);
    exporter.within(LIMIT, "it goes on, still", check);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_the_engine_dropped_for_a_stopped_exporter_is_asked_for_again() {
    end_while_the_exporter_is_stopped(false);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_the_engine_dropped_for_a_stopped_exporter_and_forgot_is_reported_lost() {
    end_while_the_exporter_is_stopped(true);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn an_ordinary_restart_of_the_daemon_loses_nothing() {
    /// A second is enough for the grace before they are killed.
    const GRACE: &str = "--stop-timeout=1";
    let mut engine = Engine::private();
    // One sees that the socket is gone. The other can always connect, as where systemd holds the socket.
    let proxy = Proxy::open(&engine);
    let exporters = [
        Exporter::start(&engine.url()),
        Exporter::start(&proxy.url()),
    ];
    for exporter in &exporters {
        exporter.until("the start", follows);
    }
    run_service(&engine, "done", &[], &["sh", "-c", "exit 3"]);
    run_service(&engine, "runs", &[GRACE], &SLEEP);
    run_service(&engine, "gone", &["--rm", GRACE], &SLEEP);
    run_service(&engine, "again", &["--restart=always", GRACE], &SLEEP);
    for exporter in &exporters {
        exporter.until("what ended before", |metrics| {
            counted(metrics, &service("done"), &[("error", 1)])?;
            counted(metrics, &service("again"), &[])
        });
    }

    engine.stop();
    for exporter in &exporters {
        exporter.until("the daemon is away", is_down);
    }
    engine.start();
    let check = |metrics: &Metrics| {
        follows(metrics)?;
        counted(metrics, &service("done"), &[("error", 1)])?;
        for short in ["runs", "gone", "again"] {
            counted(metrics, &service(short), &[("stopped", 1)])?;
        }
        lost_are(metrics, 0)
    };
    for exporter in &exporters {
        exporter.within(LIMIT, "the daemon is back", check);
        until_listed_again(exporter);
        until_listed_again(exporter);
        exporter.within(LIMIT, "the daemon is back, still", check);
    }
}

/// Health checks push what the exporter has heard out of the Engine's memory, and a proxy cuts its stream.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_stream_that_is_cut_beside_health_checks_loses_nothing() {
    let engine = Engine::private();
    let events = EventLog::follow(&engine);
    let proxy = Proxy::open(&engine);
    let exporter = Exporter::start(&proxy.url());
    exporter.until("the start", follows);
    let healthy = ["--health-cmd=true", "--health-interval=1s"];
    run_service(&engine, "healthy", &healthy, &SLEEP);
    run_to_the_end(&engine, &events, &["first"]);
    exporter.until("what ended before", |metrics| {
        all_counted(metrics, &["first"])
    });
    // As many minutes of health checks would. What came a moment before a cut may be under way.
    engine.forget_events();
    let forgotten = Instant::now();
    while forgotten.elapsed() < Duration::from_secs(2) {
        until_listed_again(&exporter);
    }
    for streams in 2..=4 {
        proxy.cut();
        exporter.until("another stream", |metrics| {
            follows(metrics)?;
            let connects = metrics.value("docker_exit_exporter_event_stream_connects_total", &[]);
            match connects {
                Some(connects) if connects >= f64::from(streams) => Ok(()),
                connects => Err(format!("connects: {connects:?}")),
            }
        });
        until_listed_again(&exporter);
        until_listed_again(&exporter);
    }
    run_to_the_end(&engine, &events, &["last"]);
    exporter.within(LIMIT, "all, and nothing lost", |metrics| {
        all_counted(metrics, &["first", "last"])?;
        counted(metrics, &service("healthy"), &[])?;
        lost_are(metrics, 0)
    });
}
