//! Exits that no listing shows, since the container is gone or runs again.

use std::collections::HashSet;
use std::time::Duration;

use super::event_log::EventLog;
use super::workloads::{
    NO_LISTINGS, counted, follows, run_service, run_short_lived, service, until_listed_again,
};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped, is_up, scrape_during};
use crate::support::metrics::{Labels, Metrics};
use crate::support::waiting::{PATIENCE, eventually};

/// Name and code of every exit that is shown.
fn codes(metrics: &Metrics) -> impl Iterator<Item = (String, String)> {
    let samples = metrics.named("container_exit_code");
    samples.map(|sample| (sample.labels["name"].clone(), sample.value.to_string()))
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn bursts_of_containers_that_are_gone_at_once_are_all_counted_and_shown() {
    const COUNT: usize = 200;
    let engine = Engine::new();
    let exporter = Exporter::start_with(&engine.url(), &NO_LISTINGS);
    // This one shows what ended for a few seconds only, and lists every second.
    let brief = Exporter::start_with(&engine.url(), &["--retention", "5"]);
    for exporter in [&exporter, &brief] {
        exporter.until("the start", follows);
    }

    let mut seen = HashSet::new();
    let read = |text: &str| seen.extend(codes(&Metrics::parse(text)));
    scrape_during(&brief, Duration::from_secs(1), read, || {
        run_short_lived(&engine, COUNT, 4);
        brief.until("what ended is shown no more", |metrics| {
            counted_of(metrics, COUNT)?;
            match codes(metrics).count() {
                0 => Ok(()),
                left => Err(format!("{left} are shown")),
            }
        });
    });
    let missed: Vec<_> = expected(&engine, COUNT)
        .difference(&seen)
        .cloned()
        .collect();
    assert!(
        missed.is_empty() && seen.len() == COUNT,
        "a scrape a second missed {missed:?}, seen were {seen:?}\nThe exporter said:\n{}",
        brief.said()
    );

    exporter.until("all of them", |metrics| {
        counted_of(metrics, COUNT)?;
        let shown: HashSet<_> = codes(metrics).collect();
        let missing: Vec<_> = expected(&engine, COUNT)
            .difference(&shown)
            .cloned()
            .collect();
        if !missing.is_empty() || shown.len() != COUNT {
            return Err(format!(
                "{} are shown, missing are {missing:?}",
                shown.len()
            ));
        }
        match metrics.value("docker_exit_exporter_events_lost_total", &[]) {
            Some(0.0) => Ok(()),
            lost => Err(format!("lost events: {lost:?}")),
        }
    });
}

/// Name and code of that many short-lived containers.
fn expected(engine: &Engine, count: usize) -> HashSet<(String, String)> {
    let all = 0..count;
    all.map(|number| {
        (
            engine.name(&format!("short-{number}")),
            (number % 10).to_string(),
        )
    })
    .collect()
}

/// Whether that many short-lived containers were counted.
fn counted_of(metrics: &Metrics, count: usize) -> Result<(), String> {
    let image = Labels::from([("image".to_owned(), IMAGE.to_owned())]);
    counted(
        metrics,
        &image,
        &[("completed", count / 10), ("error", count / 10 * 9)],
    )
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn every_round_of_a_crash_loop_is_counted() {
    let engine = Engine::new();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    let always = ["--restart=always"];
    run_service(&engine, "loop", &always, &["sh", "-c", "sleep 0.2; exit 7"]);
    // Crashes five times, then stays.
    let script = "n=$(cat /n 2>/dev/null || echo 0); [ $n -ge 5 ] && exec sleep 1000; echo $((n + 1)) >/n; exit 7";
    run_service(&engine, "settles", &always, &["sh", "-c", script]);

    let settles = engine.name("settles");
    let of_settles = [("name", settles.as_str())];
    events.until_deaths("name", &settles, 5);
    exporter.until("it runs after five crashes", |metrics| {
        counted(metrics, &service("settles"), &[("error", 5)])?;
        let last = metrics.value("container_last_exit_code", &of_settles);
        let reason = metrics.find("container_last_exit_reason", &of_settles);
        let reason = reason.map(|sample| sample.labels["reason"].as_str());
        let now = metrics.value("container_exit_code", &of_settles);
        match (last, reason, now) {
            (Some(7.0), Some("error"), None) => Ok(()),
            other => Err(format!("last code and reason, code now: {other:?}")),
        }
    });
    engine.docker(&["kill", &settles]);
    exporter.until("it was killed", |metrics| {
        counted(
            metrics,
            &service("settles"),
            &[("error", 5), ("stopped", 1)],
        )?;
        let last = metrics.value("container_last_exit_code", &of_settles);
        match (metrics.value("container_exit_code", &of_settles), last) {
            (Some(137.0), None) => Ok(()),
            other => Err(format!("code now, last code: {other:?}")),
        }
    });

    let looping = engine.name("loop");
    events.until_deaths("name", &looping, 6);
    engine.docker(&["update", "--restart=no", &looping]);
    let restarts = eventually(PATIENCE, || {
        let inspected = engine.inspect("loop");
        match inspected["State"]["Status"].as_str() {
            Some("exited") => {
                Ok(usize::try_from(inspected["RestartCount"].as_u64().unwrap()).unwrap())
            }
            status => Err(format!("the loop is {status:?}")),
        }
    });
    let rounds = restarts.unwrap() + 1;
    assert_eq!(events.until_deaths("name", &looping, rounds).len(), rounds);
    exporter.until("all rounds", |metrics| {
        counted(metrics, &service("loop"), &[("error", rounds)])
    });
    until_listed_again(&exporter);
    exporter.until("still all rounds", |metrics| {
        counted(metrics, &service("loop"), &[("error", rounds)])?;
        counted(
            metrics,
            &service("settles"),
            &[("error", 5), ("stopped", 1)],
        )
    });
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn without_events_a_listing_finds_what_is_left() {
    let engine = Engine::new();
    let exporter = Exporter::start_with(&engine.url(), &["--events", "off"]);
    exporter.until("the start", is_up);
    run_service(&engine, "three", &[], &["sh", "-c", "exit 3"]);
    exporter.until("the exit", |metrics| {
        let name = engine.name("three");
        let code = metrics.value("container_exit_code", &[("name", &name)]);
        if code != Some(3.0) {
            return Err(format!("the code is {code:?}"));
        }
        counted(metrics, &service("three"), &[("error", 1)])?;
        for family in ["event_stream_up", "event_stream_connects_total"] {
            let value = metrics.value(&format!("docker_exit_exporter_{family}"), &[]);
            assert!(
                value.is_none_or(|value| value == 0.0),
                "{family} is {value:?}"
            );
        }
        Ok(())
    });
}
