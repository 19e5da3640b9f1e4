//! A request that the Engine does not answer delays nothing but itself.

use std::time::Duration;

use super::workloads::{counted, follows, lost_are, run_service, service, until_listed_again};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped};
use crate::support::metrics::Metrics;
use crate::support::proxy::Proxy;

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// A fraction of a second is promised. This leaves room for a busy machine, and is shorter than any hang here.
const SEEN: Duration = Duration::from_secs(4);

/// The containers that end meanwhile, and how: one that is gone at once, one that stays, and one that ran before.
const ENDS: [(&str, f64, &str); 3] = [
    ("gone", 4.0, "error"),
    ("stays", 5.0, "error"),
    ("killed", 137.0, "stopped"),
];

fn end_them(engine: &Engine) {
    run_service(engine, "gone", &["--rm"], &["sh", "-c", "exit 4"]);
    run_service(engine, "stays", &[], &["sh", "-c", "exit 5"]);
    engine.docker(&["kill", &engine.name("killed")]);
}

/// Whether each of them is counted and shown.
fn ended(engine: &Engine, metrics: &Metrics) -> Result<(), String> {
    for (short, wanted, reason) in ENDS {
        counted(metrics, &service(short), &[(reason, 1)])?;
        let name = engine.name(short);
        let code = metrics.value("container_exit_code", &[("name", &name)]);
        if code != Some(wanted) {
            return Err(format!("{short} ended with {wanted}, shown is {code:?}"));
        }
    }
    lost_are(metrics, 0)
}

fn is_listing(path: &str) -> bool {
    path.ends_with("/containers/json")
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn an_inspect_that_hangs_delays_no_exit() {
    let engine = Engine::private();
    let proxy = Proxy::open(&engine);
    let exporter = Exporter::start(&proxy.url());
    exporter.until("the start", follows);
    run_service(&engine, "killed", &[], &SLEEP);
    exporter.until("it runs", |metrics| {
        counted(metrics, &service("killed"), &[])
    });
    // As where a volume or a runtime is slow: the container cannot be inspected until it has started.
    proxy.hold(|path| path.ends_with("/json") && !is_listing(path));
    let slow = engine.name("slow");
    engine.docker(&["create", "--network=none", "--name", &slow, IMAGE, "true"]);
    let held = proxy.until_it_holds();
    proxy.hold(move |path| path == held);
    end_them(&engine);
    exporter.within(SEEN, "what ends meanwhile", |metrics| {
        ended(&engine, metrics)
    });
    proxy.release();
    until_listed_again(&exporter);
    exporter.within(SEEN, "what ended meanwhile, still", |metrics| {
        ended(&engine, metrics)
    });
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_listing_that_hangs_delays_no_exit_and_takes_none_back() {
    let engine = Engine::private();
    let proxy = Proxy::open(&engine);
    let exporter = Exporter::start(&proxy.url());
    exporter.until("the start", follows);
    run_service(&engine, "killed", &[], &SLEEP);
    exporter.until("it runs", |metrics| {
        counted(metrics, &service("killed"), &[])
    });
    proxy.hold(is_listing);
    proxy.until_it_holds();
    end_them(&engine);
    exporter.within(SEEN, "what ends meanwhile", |metrics| {
        ended(&engine, metrics)
    });
    // Its answer is older than the exits.
    proxy.release();
    until_listed_again(&exporter);
    exporter.within(SEEN, "what ended meanwhile, still", |metrics| {
        ended(&engine, metrics)
    });
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn an_inspect_of_what_ended_that_hangs_delays_neither_its_exit_nor_another() {
    let engine = Engine::private();
    let proxy = Proxy::open(&engine);
    let exporter = Exporter::start(&proxy.url());
    exporter.until("the start", follows);
    run_service(&engine, "slow", &[], &SLEEP);
    exporter.until("it runs", |metrics| counted(metrics, &service("slow"), &[]));
    let id = engine.inspect("slow")["Id"].take();
    let path = format!("/containers/{}/json", id.as_str().unwrap());
    proxy.hold(move |asked| asked == path);
    engine.docker(&["kill", &engine.name("slow")]);
    // Its event says what is needed.
    let shown = |metrics: &Metrics| {
        counted(metrics, &service("slow"), &[("stopped", 1)])?;
        let name = engine.name("slow");
        match metrics.value("container_exit_code", &[("name", &name)]) {
            Some(137.0) => Ok(()),
            code => Err(format!("the code of what was killed is {code:?}")),
        }
    };
    exporter.within(SEEN, "what cannot be inspected", shown);
    proxy.until_it_holds();
    // This takes several listings, and each may try the inspect again.
    for short in ["other-0", "other-1", "other-2", "other-3"] {
        run_service(&engine, short, &["--rm"], &["sh", "-c", "exit 4"]);
        exporter.within(SEEN, "what ends meanwhile", |metrics| {
            counted(metrics, &service(short), &[("error", 1)])?;
            shown(metrics)
        });
    }
    proxy.release();
    until_listed_again(&exporter);
    exporter.within(SEEN, "what ended meanwhile, still", |metrics| {
        shown(metrics)?;
        lost_are(metrics, 0)
    });
}
