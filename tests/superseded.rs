//! Which exits are superseded, by what listings, inspects and events tell: no socket, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use docker_exit_exporter::engine::{Event, Inspected, listing};
use docker_exit_exporter::exposition::{EngineInfo, render};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{Ledger, NotInspected, Taken};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

#[allow(dead_code)] // Shared with other tests, which use other parts of it.
#[path = "support/metrics.rs"]
mod metrics;

use metrics::Metrics;

/// A moment, in milliseconds since the exporter's start.
type Millis = i64;

fn at(millis: Millis) -> Timestamp {
    let start = Timestamp::from_second(1_795_336_800).unwrap();
    start + SignedDuration::from_millis(millis)
}

/// The labels of a task of a Swarm service, in this slot or on this node.
fn task(service: &str, slot: &str, task: &str) -> Value {
    json!({
        "com.docker.swarm.node.id": "t7tw",
        "com.docker.swarm.service.id": format!("id-of-{service}"),
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": task,
        "com.docker.swarm.task.name": format!("{service}.{slot}.{task}"),
    })
}

/// The labels of a container of a Compose service.
fn compose(project: &str, service: &str, number: &str, oneoff: &str) -> Value {
    json!({
        "com.docker.compose.project": project,
        "com.docker.compose.service": service,
        "com.docker.compose.container-number": number,
        "com.docker.compose.oneoff": oneoff,
    })
}

/// A container, and when what became of it.
#[derive(Debug, Clone)]
struct Made {
    id: String,
    labels: Value,
    created: Millis,
    /// It ran from its creation to then.
    died: Option<Millis>,
    removed: Option<Millis>,
}

impl Made {
    fn new(id: &str, labels: &Value, created: Millis) -> Self {
        Self {
            id: id.to_owned(),
            labels: labels.clone(),
            created,
            died: None,
            removed: None,
        }
    }

    fn died(mut self, at: Millis) -> Self {
        self.died = Some(at);
        self
    }

    fn stands(&self, now: Millis) -> bool {
        self.created <= now && self.removed.is_none_or(|removed| now < removed)
    }

    fn ended(&self, now: Millis) -> bool {
        self.died.is_some_and(|died| died <= now)
    }

    fn listed(&self, now: Millis) -> Value {
        let (state, status) = if self.ended(now) {
            ("exited", "Exited (3) 2 minutes ago")
        } else {
            ("running", "Up 2 minutes")
        };
        json!({"Id": self.id, "Names": [format!("/{}", self.id)], "Image": "i", "Labels": self.labels,
               "Created": at(self.created).as_second(), "State": state, "Status": status})
    }

    fn inspect(&self, now: Millis) -> Inspected {
        let state = if self.ended(now) { "exited" } else { "running" };
        let ended = at(self.died.unwrap_or_default()).to_string();
        let text = json!({
            "Created": at(self.created).to_string(),
            "State": {"Status": state, "ExitCode": 3, "StartedAt": at(self.created).to_string(), "FinishedAt": ended},
            "Config": {"Image": "i", "Labels": self.labels},
        });
        Inspected::parse(&text.to_string()).unwrap()
    }

    fn event(&self, action: &str, time: Millis) -> Event {
        let mut attributes = self.labels.clone();
        attributes["name"] = self.id.as_str().into();
        attributes["image"] = "i".into();
        if action == "die" {
            attributes["exitCode"] = "3".into();
        }
        let line = json!({
            "Type": "container", "Action": action,
            "timeNano": i64::try_from(at(time).as_nanosecond()).unwrap(),
            "Actor": {"ID": self.id, "Attributes": attributes},
        });
        Event::parse(&line.to_string()).unwrap().unwrap()
    }

    /// Its events, the `create` event a little after its creation.
    fn events(&self) -> Vec<(Millis, Event)> {
        let all = [
            ("create", Some(self.created + 2)),
            ("start", Some(self.created + 3)),
            ("die", self.died),
            ("destroy", self.removed),
        ];
        let made = all
            .into_iter()
            .filter_map(|(action, time)| Some((action, time?)));
        made.map(|(action, time)| (time, self.event(action, time)))
            .collect()
    }
}

/// A ledger with a clock of its own.
struct Host {
    ledger: Ledger,
    now: Millis,
    /// A proxy lets no inspect through.
    no_inspects: bool,
}

impl Host {
    fn new() -> Self {
        Self::with_filter("*")
    }

    fn with_filter(filter: &str) -> Self {
        let retention = Duration::from_secs(3600);
        Self {
            ledger: Ledger::new(filter.parse::<Filter>().unwrap(), retention, at(0)),
            now: 600_000,
            no_inspects: false,
        }
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.now.unsigned_abs())
    }

    /// Lists those that stand, the newest first as Docker does, and inspects what is to be.
    fn list(&mut self, all: &[Made]) {
        let mut standing: Vec<_> = all.iter().filter(|it| it.stands(self.now)).collect();
        standing.sort_by_key(|it| -it.created);
        self.list_in_order(&standing);
    }

    fn list_in_order(&mut self, all: &[&Made]) {
        let listed: Vec<_> = all.iter().map(|it| it.listed(self.now)).collect();
        let taken = Taken {
            asked: at(self.now),
            answered: at(self.now),
            uptime: self.uptime(),
            events_followed: false,
        };
        let text = Value::Array(listed).to_string();
        for id in self.ledger.listed(&listing(&text).unwrap(), taken) {
            let made = all.iter().find(|it| it.id == id).unwrap();
            if self.no_inspects {
                self.ledger.not_inspected(&id, NotInspected::Failed);
            } else {
                self.ledger
                    .inspected(&id, &made.inspect(self.now), at(self.now), false);
            }
        }
    }

    /// Takes in an event; nobody can be inspected.
    fn happened(&mut self, event: &Event) {
        if self.ledger.happened(event, self.uptime()) {
            self.ledger.not_inspected(&event.id, NotInspected::Gone);
        }
    }

    /// The exits as `id` or, of what is superseded, `(id)`.
    fn exits(&self) -> String {
        let exits = self.ledger.exits_superseded();
        let ids = exits.map(|(entry, superseded)| match superseded {
            true => format!("({})", entry.id),
            false => entry.id.to_owned(),
        });
        ids.collect::<Vec<_>>().join(" ")
    }
}

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
        let text = json!([listed, old.listed(host.now)]).to_string();
        let taken = Taken {
            asked: at(host.now),
            answered: at(host.now),
            uptime: host.uptime(),
            events_followed: false,
        };
        for id in host.ledger.listed(&listing(&text).unwrap(), taken) {
            let mut inspected = old.inspect(host.now);
            if id == "new" {
                let code = if status == "Created" { 0 } else { 127 };
                let text = json!({"State": {"Status": state, "ExitCode": code}, "Created": at(60_000).to_string()});
                inspected = Inspected::parse(&text.to_string()).unwrap();
            }
            host.ledger.inspected(&id, &inspected, at(host.now), false);
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
fn what_is_removed_supersedes_nobody_and_can_be_superseded() {
    let labels = task("web", "1", "t");
    let mut a = Made::new("a", &labels, 0).died(1_000);
    let mut b = Made::new("b", &labels, 60_000).died(61_000);
    let mut host = Host::new();
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "(a) b");
    // The newer one is removed: nobody is after either of them.
    host.now += 15_000;
    b.removed = Some(host.now);
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "a b");
    // The slot is gone: both are shown for the retention.
    host.now += 15_000;
    a.removed = Some(host.now);
    host.list(&[a.clone(), b.clone()]);
    assert_eq!(host.exits(), "a b");
    // It comes back.
    host.now += 15_000;
    let c = Made::new("c", &labels, host.now - 2_000);
    host.list(&[a, b, c]);
    assert_eq!(host.exits(), "(a) (b)");
    host.ledger.tell(host.uptime(), false);
    assert!(host.ledger.expire(Duration::from_secs(86_400)));
    assert_eq!(host.exits(), "");
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
    assert_eq!(host.exits(), "a b");
    // Of one that is known from its end alone nobody can say whether it was made after them, but
    // that it was made before the next.
    let c = Made::new("c", &labels, -60_000);
    host.happened(&c.event("die", 60_700));
    assert_eq!(host.exits(), "a b c");
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
    // Events.
    let mut host = Host::new();
    for made in &all {
        made.events()
            .iter()
            .for_each(|(_, event)| host.happened(event));
    }
    assert_eq!(host.exits(), "x (y) (z)");
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
        let taken = Taken {
            asked: at(host.now),
            answered: at(host.now),
            uptime: host.uptime(),
            events_followed: false,
        };
        let text = json!([listed[1], listed[0]]).to_string();
        for id in host.ledger.listed(&listing(&text).unwrap(), taken) {
            host.ledger.not_inspected(&id, NotInspected::Failed);
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
        let text = render(true, true, &EngineInfo::default(), &host.ledger, 0);
        let metrics = Metrics::parse(&text);
        for (name, want) in [("a", 1.0), ("b", 0.0)] {
            let of_it = [("name", name)];
            let labels = &metrics.find("container_exit_code", &of_it).unwrap().labels;
            let sample = metrics.find("container_exit_superseded", &of_it).unwrap();
            assert_eq!((&sample.labels, sample.value), (labels, want), "{filter}");
        }
    }
}

prop_compose! {
    /// Containers of three places and of none, one after the other in each, with ids that tell
    /// nothing of their age.
    fn histories()(
        parts in prop::collection::vec(
            (0..4_usize, 5..1_500_i64, 1..3_000_i64, any::<u32>(), prop::option::of(1..5_000_i64)),
            1..14,
        ),
        stays in any::<[bool; 4]>(),
    ) -> Vec<Made> {
        let places = [task("web", "1", "t"), task("web", "2", "t"), compose("shop", "web", "1", "False"), json!({})];
        let mut free_at = [0; 4];
        let mut all: BTreeMap<String, Made> = BTreeMap::new();
        for (place, pause, length, number, removed) in parts {
            let created = free_at[place] + pause;
            let died = created + 5 + length;
            free_at[place] = died;
            let mut made = Made::new(&format!("{number:08x}"), &places[place], created).died(died);
            made.removed = removed.map(|after| died + after);
            all.insert(made.id.clone(), made);
        }
        let mut all: Vec<Made> = all.into_values().collect();
        for (labels, stays) in places.iter().zip(stays) {
            let of_it = all.iter_mut().filter(|it| it.labels == *labels);
            if let Some(last) = of_it.max_by_key(|it| it.created).filter(|_| stays) {
                (last.died, last.removed) = (None, None);
            }
        }
        all
    }
}

/// Of each exit that is shown, whether it should be superseded when all is over.
fn truth(all: &[Made], shown: &str) -> String {
    let end = Millis::MAX;
    let one = |id: &str| {
        let it = all.iter().find(|it| it.id == id).unwrap();
        let has_place = it.labels != json!({});
        let newer = |other: &&Made| other.labels == it.labels && other.created > it.created;
        let is_superseded = has_place && all.iter().filter(newer).any(|it| it.stands(end));
        if is_superseded {
            format!("({id})")
        } else {
            id.to_owned()
        }
    };
    let ids = shown
        .split_whitespace()
        .map(|id| one(id.trim_matches(['(', ')'])));
    ids.collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_seen(
        all in histories(),
        listings in prop::collection::vec(0..40_000_i64, 0..8),
        events in any::<bool>(),
        delay in 0..2_000_i64,
        cut in prop::option::of((0..20_000_i64, 0..20_000_i64)),
        no_inspects in any::<bool>(),
    ) {
        // Without inspects, what is known by its listing and its event in turn is in no exact order.
        let no_inspects = no_inspects && !events;
        let mut host = Host::new();
        host.no_inspects = no_inspects;
        let mut steps: Vec<(Millis, Option<Event>)> = Vec::new();
        for made in all.iter().filter(|_| events) {
            let seen = made.events().into_iter().filter(|(time, _)| {
                !cut.is_some_and(|(from, length)| (from..from + length).contains(time))
            });
            steps.extend(seen.map(|(time, event)| (time + delay, Some(event))));
        }
        steps.extend(listings.iter().map(|time| (*time, None)));
        steps.sort_by_key(|(time, _)| *time);
        for (now, event) in steps {
            host.now = now;
            match event {
                Some(event) => host.happened(&event),
                None => host.list(&all),
            }
        }
        host.now = 600_000;
        host.list(&all);
        let shown = host.exits();
        prop_assert_eq!(&shown, &truth(&all, &shown));
        for made in all.iter().filter(|it| it.stands(host.now) && it.ended(host.now)) {
            prop_assert!(shown.contains(&made.id), "{shown} lacks {}", made.id);
        }
    }
}
