//! `/metrics` of each recorded Engine, letter by letter.
//!
//! `UPDATE_GOLDEN=1 cargo test --test it golden::` renews the files; read the difference before you
//! commit it.

use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use docker_exit_exporter::collector::Collector;
use docker_exit_exporter::config::Config;
use docker_exit_exporter::publication::Publication;
use docker_exit_exporter::telemetry::Telemetry;
use test_support::fake_engine::FakeEngine;

use crate::support::metrics::Metrics;

#[test]
fn docker_20_10() {
    check("docker-20.10");
}

#[test]
fn docker_28_5() {
    check("docker-28.5");
}

#[test]
fn podman_5_8() {
    check("podman-5.8");
}

fn check(recorded: &str) {
    let engine = FakeEngine::play(recorded);
    let publication = Arc::new(Publication::default());
    let config = Config {
        docker_host: engine.address().parse().unwrap(),
        ..Config::default()
    };
    let mut collector = Collector::new(&config, Arc::clone(&publication), Telemetry::new());
    collector.collect().unwrap();
    let first = publication.latest().text;
    let first = &first.plain();
    // What was seen does not change by being seen again.
    collector.collect().unwrap();
    assert_eq!(&publication.latest().text.plain(), first);
    Metrics::parse(first);

    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/golden")
        .join(format!("{recorded}.txt"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, first.as_bytes()).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let differs = golden
        .lines()
        .zip(first.lines())
        .find(|(old, new)| old != new);
    assert!(
        golden == *first,
        "{} differs, first here: {differs:#?}",
        path.display()
    );
}
