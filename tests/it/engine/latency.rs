//! How long it takes from the Engine's word that a container ended until a scrape shows it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::event_log::EventLog;
use super::workloads::{NO_LISTINGS, follows, run_short_lived};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped, scrape_during};

/// How many exits are measured.
const COUNT: usize = 200;
/// How many containers are started at a time: they share the machine's cores with everything that is measured.
const AT_ONCE: usize = 2;
/// Between two scrapes.
const PAUSE: Duration = Duration::from_millis(5);
/// What no machine takes, however busy it is: the figures are for reading, not for failing.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn an_exit_is_shown_soon() {
    let engine = Engine::new();
    let exporter = Exporter::start_with(&engine.url(), &NO_LISTINGS);
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    let mut shown = HashMap::new();
    let read = |text: &str| {
        let now = SystemTime::now();
        for id in ids_shown(text) {
            shown.entry(id.to_owned()).or_insert(now);
        }
    };
    scrape_during(&exporter, PAUSE, read, || {
        run_short_lived(&engine, COUNT, AT_ONCE);
        exporter.until("all of them", |metrics| {
            match metrics.named("container_exit_code").count() {
                COUNT => Ok(()),
                shown => Err(format!("{shown} are shown")),
            }
        });
    });

    let deaths = events.until_deaths("image", IMAGE, COUNT);
    let mut took: Vec<Duration> = deaths
        .iter()
        .map(|death| {
            let died = SystemTime::UNIX_EPOCH + Duration::from_nanos(death.nanos);
            let shown = shown.get(&death.id);
            let shown = shown.unwrap_or_else(|| panic!("never scraped: {death:?}"));
            shown.duration_since(died).unwrap_or_default()
        })
        .collect();
    took.sort();
    let (median, high) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "from a container's end to the first scrape that shows it, {} exits: median {median:.1?}, 99th percentile {high:.1?}, most {:.1?}",
        took.len(),
        took[took.len() - 1]
    );
    assert!(
        median < LIMIT,
        "{took:?}\nThe exporter said:\n{}",
        exporter.said()
    );
}

/// The ids of the containers whose exit is shown, found without reading all the rest: the scraper is in a hurry.
fn ids_shown(text: &str) -> impl Iterator<Item = &str> {
    let codes = text
        .lines()
        .filter_map(|line| line.strip_prefix("container_exit_code{"));
    codes.filter_map(|labels| {
        let (_, rest) = labels.split_once("id=\"")?;
        rest.split_once('"')?.0.rsplit('/').next()
    })
}
