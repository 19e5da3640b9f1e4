//! Which exits are superseded.

use std::time::Duration;

use serde_json::json;

use super::replicas::{Replica, ServiceHost, compose, task};
use super::support::at_millis;
use crate::engine::{EngineInfo, Inspected};
use crate::exposition::Renderer;
use crate::ledger::{EventFeed, InspectFailure};

/// What one listing of these containers shows.
fn of_a_listing(all: &[Replica]) -> String {
    let mut host = ServiceHost::new();
    host.list(all);
    host.exits()
}

#[test]
fn which_containers_supersede_which() {
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
        let (one, two) = (Replica::new("a", &one, 0), Replica::new("b", &two, 60_000));
        assert_eq!(
            of_a_listing(&[one.died(50_000), two.died(70_000)]),
            want,
            "{what}"
        );
    }
}

#[test]
fn the_newest_supersedes_in_any_state() {
    let labels = task("web", "1", "t");
    let old = Replica::new("old", &labels, 0).died(1_000);
    let new = Replica::new("new", &labels, 60_000);
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
        let mut host = ServiceHost::new();
        let mut listed = new.listed(host.now);
        (listed["State"], listed["Status"]) = (state.into(), status.into());
        let listing = vec![listed, old.listed(host.now)];
        for id in host.apply_listing(listing) {
            let mut inspected = old.inspect(host.now);
            if *id == *"new" {
                let code = if status == "Created" { 0 } else { 127 };
                let text = json!({"State": {"Status": state, "ExitCode": code}, "Created": at_millis(60_000).to_string()});
                inspected = Inspected::parse(&text.to_string()).unwrap();
            }
            host.apply_inspect(&id, &inspected);
        }
        assert_eq!(host.exits(), exits, "{status}");
    }
}

#[test]
fn a_superseded_container_stays_so_whatever_is_removed() {
    let labels = task("web", "1", "t");
    let mut a = Replica::new("a", &labels, 0).died(1_000);
    let mut b = Replica::new("b", &labels, 60_000).died(61_000);
    let mut host = ServiceHost::new();
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // The newer container is removed.
    host.now += 15_000;
    b.removed = Some(host.now);
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // The older one is removed too. Both are shown for the retention.
    host.now += 15_000;
    a.removed = Some(host.now);
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // A new container takes the slot.
    host.now += 15_000;
    let c = Replica::new("c", &labels, host.now - 2_000);
    host.list(&[a, b, c]);
    assert_eq!(host.exits(), "(a) (b)");
    let now = host.time();
    host.ledger.report(now, EventFeed::Off);
    assert!(host.ledger.expire(Duration::from_secs(86_400)));
    assert_eq!(host.exits(), "");
}

#[test]
fn a_container_that_no_listing_shows_supersedes_too() {
    let labels = task("web", "1", "t");
    let a = Replica::new("a", &labels, 0).died(1_000);
    let b = Replica::new("b", &labels, 60_000);
    let mut host = ServiceHost::new();
    host.list(std::slice::from_ref(&a));
    assert_eq!(host.exits(), "a");
    // It never exited, and was removed before any listing.
    host.apply_event(&b.event("create", 60_002));
    host.apply_event(&b.event("destroy", 60_010));
    let now = host.time();
    host.ledger.expire(now.uptime);
    assert_eq!(host.exits(), "(a)");
}

#[test]
fn a_late_event_does_not_make_a_container_newer() {
    let labels = task("web", "1", "t");
    let a = Replica::new("a", &labels, 138).died(144);
    let b = Replica::new("b", &labels, 149);
    let mut host = ServiceHost::new();
    host.now = 149;
    host.list(std::slice::from_ref(&b));
    // Both were created in the same second, and the listing has seconds only.
    host.now = 160;
    for (_, event) in a.events().iter().chain(&b.clone().died(155).events()) {
        host.apply_event(event);
        host.exits();
    }
    assert_eq!(host.exits(), "(a) b");
}

#[test]
fn by_events_alone() {
    let labels = task("web", "1", "t");
    let a = Replica::new("a", &labels, 0);
    let b = Replica::new("b", &labels, 60_000);
    let mut host = ServiceHost::new();
    host.now = 61_000;
    for event in [
        a.event("create", 0),
        a.event("start", 1),
        a.event("die", 59_000),
    ] {
        host.apply_event(&event);
    }
    assert_eq!(host.exits(), "a");
    host.apply_event(&b.event("create", 60_002));
    assert_eq!(host.exits(), "(a)");
    host.apply_event(&b.event("start", 60_003));
    host.apply_event(&b.event("die", 60_500));
    assert_eq!(host.exits(), "(a) b");
    host.apply_event(&b.event("destroy", 60_600));
    assert_eq!(host.exits(), "(a) b");
    // A container known from its exit alone supersedes nothing, but the next one supersedes it.
    let c = Replica::new("c", &labels, -60_000);
    host.apply_event(&c.event("die", 60_700));
    assert_eq!(host.exits(), "(a) b c");
    host.apply_event(&Replica::new("d", &labels, 61_000).event("create", 61_002));
    assert_eq!(host.exits(), "(a) (b) (c)");
}

#[test]
fn within_one_second_the_most_exact_time_decides() {
    let labels = task("web", "1", "t");
    // The order of ids is the reverse of the order of creation.
    let z = Replica::new("z", &labels, 100);
    let y = Replica::new("y", &labels, 500);
    let x = Replica::new("x", &labels, 900);
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
    // Only the order of the listing is known.
    let mut host = ServiceHost::new();
    host.no_inspects = true;
    host.list(&all);
    assert_eq!(host.exits(), "x (y) (z)");
    // Podman lists the newest last.
    let old = Replica::new("old", &json!({}), -5_000);
    let mut host = ServiceHost::new();
    host.no_inspects = true;
    host.list_in_order(&[&old, &all[0], &all[1], &all[2]]);
    assert_eq!(host.exits(), "x (y) (z)");
    // A container in a later listing is newer.
    let mut host = ServiceHost::new();
    host.no_inspects = true;
    for count in 1..=3 {
        host.list(&all[..count]);
    }
    assert_eq!(host.exits(), "x (y) (z)");
    // Also if the listing before was longer.
    let others = ["o", "p"].map(|id| Replica::new(id, &json!({}), -5_000));
    let mut host = ServiceHost::new();
    host.no_inspects = true;
    host.list_in_order(&[&all[0], &others[0], &others[1]]);
    host.list_in_order(&[&all[1], &all[0]]);
    assert_eq!(host.exits(), "y (z)");
}

#[test]
fn within_one_second_events_decide() {
    let labels = task("web", "1", "t");
    let z = Replica::new("z", &labels, 100).died(200);
    let y = Replica::new("y", &labels, 500).died(600);
    let tell = |host: &mut ServiceHost, replica: &Replica| {
        for (_, event) in replica.events() {
            host.apply_event(&event);
        }
    };
    let mut host = ServiceHost::new();
    tell(&mut host, &z);
    tell(&mut host, &y);
    assert_eq!(host.exits(), "y (z)");
    // Events of some Engines have seconds only.
    let mut host = ServiceHost::new();
    for replica in [&z, &y] {
        host.apply_event(&replica.event("create", 0));
        host.apply_event(&replica.event("die", 600));
    }
    assert_eq!(host.exits(), "y (z)");
    // The older one was inspected.
    let mut host = ServiceHost::new();
    host.list(std::slice::from_ref(&z));
    tell(&mut host, &y);
    assert_eq!(host.exits(), "y (z)");
}

#[test]
fn invalid_times_are_ignored() {
    let labels = task("web", "1", "t");
    for created in [
        json!(null),
        json!("soon"),
        json!(-5),
        json!(i64::MAX),
        json!({}),
    ] {
        let mut listed = [
            Replica::new("a", &labels, 0),
            Replica::new("b", &labels, 9_000),
        ]
        .map(|replica| replica.died(10_000).listed(600_000));
        listed[0]["Created"] = created.clone();
        let mut host = ServiceHost::new();
        let [one, two] = listed;
        for id in host.apply_listing(vec![two, one]) {
            let now = host.time();
            host.ledger
                .inspect_failed(&id, InspectFailure::Refused, now);
        }
        assert_eq!(host.exits(), "(a) b", "{created}");
    }
}

#[test]
fn the_label_filter_and_colliding_labels_have_no_effect() {
    let mut one = task("web", "1", "t1");
    let mut two = task("web", "1", "t2");
    // They collide with the real labels and win, since they come first in byte order.
    one["com-docker-swarm-service-id"] = "one".into();
    two["com-docker-swarm-service-id"] = "two".into();
    two["com.docker.swarm.task-name"] = "api.7.t2".into();
    let all = [
        Replica::new("a", &one, 0).died(1_000),
        Replica::new("b", &two, 60_000).died(61_000),
    ];
    for filter in ["*", "", "!com.docker.*", "com-docker-swarm-service-id"] {
        let mut host = ServiceHost::with_filter(filter);
        host.list(&all);
        assert_eq!(host.exits(), "(a) b", "{filter}");
        let engine = EngineInfo::default();
        let text = Renderer::default().render(true, true, &engine, &host.ledger);
        let text = text.plain();
        for (name, want) in [("a", 1), ("b", 0)] {
            let code = format!("name=\"{name}\"}} 3");
            let code = text.lines().find(|line| line.ends_with(&code)).unwrap();
            let labels = code.strip_prefix("container_exit_code{").unwrap();
            let labels = labels.strip_suffix(" 3").unwrap();
            let superseded = format!("container_exit_superseded{{{labels} {want}");
            assert!(text.lines().any(|line| line == superseded), "{filter}");
        }
    }
}
