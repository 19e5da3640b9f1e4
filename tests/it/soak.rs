//! Hours of work in a minute: collections and events without end, and no memory that grows.
//!
//! An eighth of it by default; all of it (20,000 collections, 100,000 events) by
//!
//! ```text
//! SOAK=full cargo test --release --test it soak:: -- --nocapture
//! ```

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use docker_exit_exporter::config;
use test_support::container::Container;
use test_support::fake_engine::FakeEngine;

use crate::support::exporter::{Exporter, Scraped, free_port, is_up};
use crate::support::metrics::Metrics;

/// Between two collections, instead of a second or more.
const INTERVAL: Duration = Duration::from_millis(2);

/// Makes this program the exporter, with these flags, instead of a test.
const FLAGS: &str = "SOAK_EXPORTER_FLAGS";

/// Each container makes so many events.
const EVENTS: u64 = 4;

/// Containers that are there at a time.
const POPULATION: u64 = 100;

#[test]
fn this_is_the_exporter_if_it_is_told_so() {
    let Ok(flags) = env::var(FLAGS) else { return };
    let flags = flags.split(' ').map(OsString::from);
    let command = config::Command::parse(flags, |_| None).expect("good flags");
    let config::Command::Serve(mut config) = command else {
        panic!("it only serves");
    };
    config.interval = INTERVAL;
    let listener = TcpListener::bind(config.listen).expect("the port");
    docker_exit_exporter::exporter::start(&config, listener).expect("its threads");
    loop {
        thread::park();
    }
}

fn start(docker_host: &str) -> Exporter {
    let port = free_port();
    // Removed containers leave at once: how many there were in the last second differs from second to second.
    let flags =
        format!("--address 127.0.0.1 --port {port} --retention 0 --docker-host {docker_host}");
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args([
            "--exact",
            "soak::this_is_the_exporter_if_it_is_told_so",
            "--nocapture",
        ])
        .env(FLAGS, flags);
    Exporter::spawn_on(command, port)
}

/// The median of some looks: while a text is made it is there twice.
fn resident_kb(exporter: &Exporter) -> u64 {
    let mut looks: Vec<_> = (0..21)
        .map(|_| {
            thread::sleep(Duration::from_millis(10));
            resident_kb_now(exporter)
        })
        .collect();
    looks.sort_unstable();
    looks[looks.len() / 2]
}

fn resident_kb_now(exporter: &Exporter) -> u64 {
    let path = format!("/proc/{}/status", exporter.pid());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number of kB")
}

fn sum(metrics: &Metrics, name: &str) -> f64 {
    metrics.named(name).map(|sample| sample.value).sum()
}

/// A check for [`Scraped::until`]: so much was done.
fn has_done(collections: f64, exits: f64) -> impl Fn(&Metrics) -> Result<(), String> {
    move |metrics| {
        is_up(metrics)?;
        let collected = sum(metrics, "docker_exit_exporter_collections_total");
        let counted = sum(metrics, "container_exits_total");
        if collected >= collections && counted >= exits {
            Ok(())
        } else {
            Err(format!("{collected} collections, {counted} exits"))
        }
    }
}

#[test]
fn memory_does_not_grow() {
    let full = env::var("SOAK").is_ok_and(|value| value == "full");
    let (collections, events) = if full {
        (20_000, 100_000)
    } else {
        (2500, 12_000)
    };
    let engine = FakeEngine::start();
    let exporter = start(&engine.address());
    exporter.until("a listing", is_up);
    let begun = Instant::now();
    let containers = events / EVENTS;
    let mut alive = std::collections::VecDeque::new();
    let mut early = 0;
    // By then everything that is bounded by a count (the events that are remembered, the containers
    // that are known to be gone) has reached it.
    let warm = if full {
        containers / 10
    } else {
        containers / 2
    };
    for number in 1..=containers {
        let name = format!("job-{number}");
        let mut container = Container::running(number, &name).label("team", "shop");
        container.image = format!("image-{}", number % 20);
        engine.run(&container);
        engine.end(&container, i64::try_from(number % 3).expect("a code"));
        alive.push_back(container);
        if alive.len() as u64 > POPULATION {
            engine.destroy(&alive.pop_front().expect("the oldest"));
        }
        if number % 50 == 0 {
            engine.take_requests();
            // As fast as the collections are to be, no faster than the exporter.
            let part =
                |all: u64| f64::from(u32::try_from(all * number / containers).expect("a count"));
            exporter.until(
                "its part",
                has_done(part(collections), part(containers) - 50.0),
            );
        }
        if number == warm {
            early = resident_kb(&exporter);
        }
    }
    let done = |all: u64| f64::from(u32::try_from(all).expect("a count"));
    let metrics = exporter.until("all of it", |metrics| {
        has_done(done(collections), done(containers))(metrics)?;
        Ok(metrics.clone())
    });
    let late = resident_kb(&exporter);
    println!(
        "{} collections, {} events in {:.0?}: {early} kB resident after {warm} containers, {late} kB at the end",
        sum(&metrics, "docker_exit_exporter_collections_total"),
        sum(&metrics, "docker_exit_exporter_events_total"),
        begun.elapsed()
    );
    assert_eq!(
        sum(&metrics, "container_exits_total").total_cmp(&done(containers)),
        std::cmp::Ordering::Equal
    );
    assert_eq!(
        sum(&metrics, "docker_exit_exporter_events_lost_total").total_cmp(&0.0),
        std::cmp::Ordering::Equal
    );
    assert!(
        late * 10 <= early * 11,
        "{early} kB after {warm} containers, {late} kB at the end"
    );
}
