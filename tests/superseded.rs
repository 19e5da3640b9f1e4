//! Which exits are superseded, by what listings, inspects and events tell: no socket, no clock.

use std::time::Duration;

use docker_exit_exporter::engine::Inspected;
use docker_exit_exporter::exposition::Renderer;
use docker_exit_exporter::ledger::{EventsCome, NotInspected};
use serde_json::json;

#[allow(dead_code)] // Shared with other tests, which use other parts of it.
#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/succession.rs"]
mod succession;

use metrics::Metrics;
use succession::{Host, Made, Millis, at, compose, task};

/// What one listing of these containers shows.
fn of_a_listing(all: &[Made]) -> String {
    let mut host = Host::new();
    host.list(all);
    host.exits()
}

#[test]
fn who_is_superseded_by_whom() {
    let web = |slot, number| task("web", slot, number);
    let shop = |service, number| compose("shop", service, number, "False");
    let run = compose("shop", "web", "1", "True");
    let plain = json!({});
    for (what, one, two, want) in [
        ("a slot", web("1", "t1"), web("1", "t2"), "(a) b"),
        ("two slots", web("1", "t1"), web("2", "t2"), "a b"),
        ("a node", web("t7tw", "t1"), web("t7tw", "t2"), "(a) b"),
        ("two nodes", web("t7tw", "t1"), web("zzzz", "t2"), "a b"),
        (
            "two services",
            web("1", "t1"),
            task("api", "1", "t2"),
            "a b",
        ),
        ("a number", shop("web", "1"), shop("web", "1"), "(a) b"),
        ("two numbers", shop("web", "1"), shop("web", "2"), "a b"),
        (
            "two Compose services",
            shop("web", "1"),
            shop("api", "1"),
            "a b",
        ),
        (
            "two projects",
            shop("web", "1"),
            compose("blog", "web", "1", "False"),
            "a b",
        ),
        ("a later run by hand", shop("web", "1"), run.clone(), "a b"),
        (
            "an earlier run by hand",
            run.clone(),
            shop("web", "1"),
            "a b",
        ),
        ("two runs by hand", run.clone(), run, "a b"),
        ("no service", plain.clone(), plain, "a b"),
        ("Swarm and Compose", web("1", "t1"), shop("web", "1"), "a b"),
    ] {
        let (one, two) = (Made::new("a", &one, 0), Made::new("b", &two, 60_000));
        assert_eq!(
            of_a_listing(&[one.died(50_000), two.died(70_000)]),
            want,
            "{what}"
        );
    }
}

#[test]
fn the_newest_stands_in_whatever_state() {
    let labels = task("web", "1", "t");
    let old = Made::new("old", &labels, 0).died(1_000);
    let new = Made::new("new", &labels, 60_000);
    assert_eq!(of_a_listing(std::slice::from_ref(&old)), "old");
    assert_eq!(of_a_listing(&[old.clone(), new.clone()]), "(old)");
    for (state, status, exits) in [
        ("created", "Created", "(old)"),
        ("created", "Failed to start", "new (old)"),
        ("running", "Up 1 second", "(old)"),
        ("paused", "Up 1 second (Paused)", "(old)"),
        ("restarting", "Restarting (3) 1 second ago", "new (old)"),
        ("exited", "Exited (0) 1 second ago", "new (old)"),
        ("removing", "Removal In Progress", "new (old)"),
        ("dead", "Dead", "new (old)"),
    ] {
        let mut host = Host::new();
        let mut listed = new.listed(host.now);
        (listed["State"], listed["Status"]) = (state.into(), status.into());
        let listing = vec![listed, old.listed(host.now)];
        for id in host.take_listing(listing) {
            let mut inspected = old.inspect(host.now);
            if *id == *"new" {
                let code = if status == "Created" { 0 } else { 127 };
                let text = json!({"State": {"Status": state, "ExitCode": code}, "Created": at(60_000).to_string()});
                inspected = Inspected::parse(&text.to_string()).unwrap();
            }
            host.take_inspect(&id, &inspected);
        }
        assert_eq!(host.exits(), exits, "{status}");
    }
}

#[test]
fn a_crash_loop_alerts_by_its_newest_task() {
    let task = |number: Millis| {
        let id = format!("t{number}");
        let labels = task("web", "1", &id);
        Made::new(&id, &labels, number * 5_000).died(number * 5_000 + 1_000)
    };
    let tasks: Vec<_> = (1..=5).map(task).collect();
    assert_eq!(of_a_listing(&tasks), "(t1) (t2) (t3) (t4) t5");
}

#[test]
fn what_is_superseded_stays_so_whatever_is_removed() {
    let labels = task("web", "1", "t");
    let mut a = Made::new("a", &labels, 0).died(1_000);
    let mut b = Made::new("b", &labels, 60_000).died(61_000);
    let mut host = Host::new();
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // The newer one is removed.
    host.now += 15_000;
    b.removed = Some(host.now);
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // The slot is gone: both are shown for the retention.
    host.now += 15_000;
    a.removed = Some(host.now);
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // It comes back.
    host.now += 15_000;
    let c = Made::new("c", &labels, host.now - 2_000);
    host.list(&[a, b, c]);
    assert_eq!(host.exits(), "(a) (b)");
    let now = host.time();
    host.ledger.report(now, EventsCome::Never);
    assert!(host.ledger.expire(Duration::from_secs(86_400)));
    assert_eq!(host.exits(), "");
}

#[test]
fn one_that_stood_between_two_looks_supersedes_too() {
    let labels = task("web", "1", "t");
    let a = Made::new("a", &labels, 0).died(1_000);
    let b = Made::new("b", &labels, 60_000);
    let mut host = Host::new();
    host.list(std::slice::from_ref(&a));
    assert_eq!(host.exits(), "a");
    // It never ended, and nobody asked before it was removed.
    host.happened(&b.event("create", 60_002));
    host.happened(&b.event("destroy", 60_010));
    let now = host.time();
    host.ledger.expire(now.uptime);
    assert_eq!(host.exits(), "(a)");
}

#[test]
fn a_late_event_of_an_older_one_does_not_make_it_the_newer_one() {
    let labels = task("web", "1", "t");
    let a = Made::new("a", &labels, 138).died(144);
    let b = Made::new("b", &labels, 149);
    let mut host = Host::new();
    host.now = 149;
    host.list(std::slice::from_ref(&b));
    // Both were made in one second, of which the listing tells no more.
    host.now = 160;
    for (_, event) in a.events().iter().chain(&b.clone().died(155).events()) {
        host.happened(event);
        host.exits();
    }
    assert_eq!(host.exits(), "(a) b");
}

#[test]
fn by_events_alone() {
    let labels = task("web", "1", "t");
    let a = Made::new("a", &labels, 0);
    let b = Made::new("b", &labels, 60_000);
    let mut host = Host::new();
    host.now = 61_000;
    for event in [
        a.event("create", 0),
        a.event("start", 1),
        a.event("die", 59_000),
    ] {
        host.happened(&event);
    }
    assert_eq!(host.exits(), "a");
    host.happened(&b.event("create", 60_002));
    assert_eq!(host.exits(), "(a)");
    host.happened(&b.event("start", 60_003));
    host.happened(&b.event("die", 60_500));
    assert_eq!(host.exits(), "(a) b");
    host.happened(&b.event("destroy", 60_600));
    assert_eq!(host.exits(), "(a) b");
    // Of one that is known from its end alone nobody can say whether it was made after them, but
    // that it was made before the next.
    let c = Made::new("c", &labels, -60_000);
    host.happened(&c.event("die", 60_700));
    assert_eq!(host.exits(), "(a) b c");
    host.happened(&Made::new("d", &labels, 61_000).event("create", 61_002));
    assert_eq!(host.exits(), "(a) (b) (c)");
}

#[test]
fn within_one_second_the_finest_that_is_known_decides() {
    let labels = task("web", "1", "t");
    // The ids are against the order in which they were made.
    let z = Made::new("z", &labels, 100);
    let y = Made::new("y", &labels, 500);
    let x = Made::new("x", &labels, 900);
    let all = [
        z.clone().died(200),
        y.clone().died(600),
        x.clone().died(950),
    ];
    assert_eq!(of_a_listing(&all), "x (y) (z)", "inspected");
    assert_eq!(
        of_a_listing(&[all[0].clone(), all[1].clone(), x]),
        "(y) (z)",
        "the newest runs"
    );
    // The order of the listing is all that is known.
    let mut host = Host::new();
    host.no_inspects = true;
    host.list(&all);
    assert_eq!(host.exits(), "x (y) (z)");
    // Podman has the newest last.
    let old = Made::new("old", &json!({}), -5_000);
    let mut host = Host::new();
    host.no_inspects = true;
    host.list_in_order(&[&old, &all[0], &all[1], &all[2]]);
    assert_eq!(host.exits(), "x (y) (z)");
    // A later listing has what is newer.
    let mut host = Host::new();
    host.no_inspects = true;
    for count in 1..=3 {
        host.list(&all[..count]);
    }
    assert_eq!(host.exits(), "x (y) (z)");
    // Also if the one before was longer.
    let others = ["o", "p"].map(|id| Made::new(id, &json!({}), -5_000));
    let mut host = Host::new();
    host.no_inspects = true;
    host.list_in_order(&[&all[0], &others[0], &others[1]]);
    host.list_in_order(&[&all[1], &all[0]]);
    assert_eq!(host.exits(), "y (z)");
}

#[test]
fn within_one_second_events_decide() {
    let labels = task("web", "1", "t");
    let z = Made::new("z", &labels, 100).died(200);
    let y = Made::new("y", &labels, 500).died(600);
    let tell = |host: &mut Host, made: &Made| {
        for (_, event) in made.events() {
            host.happened(&event);
        }
    };
    let mut host = Host::new();
    tell(&mut host, &z);
    tell(&mut host, &y);
    assert_eq!(host.exits(), "y (z)");
    // Those of some Engines tell the second alone.
    let mut host = Host::new();
    for made in [&z, &y] {
        host.happened(&made.event("create", 0));
        host.happened(&made.event("die", 600));
    }
    assert_eq!(host.exits(), "y (z)");
    // The one before was inspected.
    let mut host = Host::new();
    host.list(std::slice::from_ref(&z));
    tell(&mut host, &y);
    assert_eq!(host.exits(), "y (z)");
}

#[test]
fn times_that_are_none_spoil_nothing() {
    let labels = task("web", "1", "t");
    for created in [
        json!(null),
        json!("soon"),
        json!(-5),
        json!(i64::MAX),
        json!({}),
    ] {
        let mut listed = [Made::new("a", &labels, 0), Made::new("b", &labels, 9_000)]
            .map(|made| made.died(10_000).listed(600_000));
        listed[0]["Created"] = created.clone();
        let mut host = Host::new();
        let [one, two] = listed;
        for id in host.take_listing(vec![two, one]) {
            let now = host.time();
            host.ledger.inspect_failed(&id, NotInspected::Refused, now);
        }
        assert_eq!(host.exits(), "(a) b", "{created}");
    }
}

#[test]
fn the_labels_that_are_exported_and_those_that_collide_decide_nothing() {
    let mut one = task("web", "1", "t1");
    let mut two = task("web", "1", "t2");
    // They hide the real ones in the series, being first in the order of their bytes.
    one["com-docker-swarm-service-id"] = "one".into();
    two["com-docker-swarm-service-id"] = "two".into();
    two["com.docker.swarm.task-name"] = "api.7.t2".into();
    let all = [
        Made::new("a", &one, 0).died(1_000),
        Made::new("b", &two, 60_000).died(61_000),
    ];
    for filter in ["*", "", "!com.docker.*", "com-docker-swarm-service-id"] {
        let mut host = Host::with_filter(filter);
        host.list(&all);
        assert_eq!(host.exits(), "(a) b", "{filter}");
        let engine = docker_exit_exporter::engine::EngineInfo::default();
        let text = Renderer::default().render(true, true, &engine, &host.ledger);
        let text = text.plain();
        let metrics = Metrics::parse(&text);
        for (name, want) in [("a", 1.0), ("b", 0.0)] {
            let of_it = [("name", name)];
            let labels = &metrics.find("container_exit_code", &of_it).unwrap().labels;
            let sample = metrics.find("container_exit_superseded", &of_it).unwrap();
            assert_eq!((&sample.labels, sample.value), (labels, want), "{filter}");
        }
    }
}
