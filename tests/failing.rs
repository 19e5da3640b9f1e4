//! What counts as a failure that may come again and again, and what is known of each.

use std::time::Duration;

use docker_exit_exporter::engine::{Event, Inspected};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{Asking, EventsCome, Failing, Ledger, Next, NotInspected, Now};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_336_800 + second).unwrap()
}

/// A ledger that was started at second 0, and what an inspect would show.
struct Host {
    ledger: Ledger,
    now: i64,
    labels: Value,
    policy: &'static str,
}

impl Host {
    fn new(labels: Value, policy: &'static str) -> Self {
        Self {
            ledger: Ledger::new(Filter::default(), Duration::from_secs(300), at(0)),
            now: 10,
            labels,
            policy,
        }
    }

    fn time(&self) -> Now {
        Now {
            uptime: Duration::from_secs(self.now.unsigned_abs()),
            engine: at(self.now),
            error: SignedDuration::ZERO,
        }
    }

    /// An event of the container with this id, which tells more than its names and labels.
    fn happen(&mut self, id: &str, image: &str, action: &str, more: &Value) -> Next {
        let mut attributes = self.labels.clone();
        attributes["name"] = format!("{id}-name").into();
        attributes["image"] = image.into();
        for (key, value) in more.as_object().into_iter().flatten() {
            attributes[key] = value.clone();
        }
        let nanos = i64::try_from(at(self.now).as_nanosecond()).unwrap();
        let line = json!({"Type": "container", "Action": action, "timeNano": nanos,
                          "Actor": {"ID": id, "Attributes": attributes}});
        let event = Event::parse(&line.to_string()).unwrap().unwrap();
        self.ledger.apply_event(&event, self.time())
    }

    /// A run of two seconds, with what happens in it, that ends with this code, and is inspected.
    fn run(&mut self, events: &[(&str, Value)], code: i64) {
        self.happen("c1", "shop:2", "start", &json!({}));
        let began = self.now;
        for (action, more) in events {
            self.happen("c1", "shop:2", action, more);
        }
        self.now += 2;
        let exit = json!({"exitCode": code.to_string()});
        self.happen("c1", "shop:2", "die", &exit);
        self.inspect(
            &json!({"Status": "exited", "ExitCode": code, "StartedAt": at(began).to_string(),
                             "FinishedAt": at(self.now).to_string()}),
        );
        self.report();
    }

    fn inspect(&mut self, state: &Value) {
        let inspected = json!({
            "State": state,
            "Config": {"Image": "shop:2", "Labels": self.labels},
            "HostConfig": {"RestartPolicy": {"Name": self.policy}},
        });
        let inspected = Inspected::parse(&inspected.to_string()).unwrap();
        let (asked, answered) = (self.time(), self.time());
        let times = Asking { asked, answered };
        self.ledger.apply_inspect("c1", &inspected, &times);
    }

    fn report(&mut self) {
        self.ledger.report(self.time(), EventsCome::Never);
    }

    /// All that fails, each as `service image: failures`.
    fn failing(&self) -> Vec<String> {
        let show = |it: &Failing| {
            let last = it.last.iter().map(|failure| {
                let at = failure.at.duration_since(at(0)).as_secs();
                let reason = failure.reason.name();
                let ran = failure.duration.map_or(-1, |ran| ran.as_secs());
                format!("{} {:?} {reason} {at} {ran}", failure.name, failure.code)
            });
            let last = last.collect::<Vec<_>>().join(", ");
            format!("{} {}: {last}", it.service, it.image)
        };
        self.ledger.failing().map(|it| show(it)).collect()
    }
}

#[test]
fn what_counts_as_a_failure() {
    let none = || json!({});
    let expected = |codes: &str| json!({"docker-exit-exporter.expected-codes": codes});
    let swarm = || json!({"com.docker.swarm.service.name": "shop_web"});
    let compose =
        || json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "web"});
    let ignored = || json!({"docker-exit-exporter.ignore": "true"});
    let quiet: fn() -> Vec<(&'static str, Value)> = Vec::new;
    let stopped = || vec![("kill", json!({"signal": "15"}))];
    let sick = || vec![("health_status: unhealthy", json!({})), stopped().remove(0)];
    let oom = || vec![("oom", json!({}))];
    for (labels, policy, events, code, want) in [
        (none(), "no", quiet(), 1, Some("error")),
        (none(), "no", quiet(), 139, Some("signaled")),
        (none(), "no", oom(), 137, Some("oom_killed")),
        (none(), "no", stopped(), 143, None),
        (none(), "always", stopped(), 0, None),
        (none(), "no", sick(), 0, Some("unhealthy")),
        (swarm(), "no", sick(), 143, Some("unhealthy")),
        // What ends well, but is started again and again.
        (none(), "no", quiet(), 0, None),
        (none(), "on-failure", quiet(), 0, None),
        (none(), "always", quiet(), 0, Some("completed")),
        (none(), "unless-stopped", quiet(), 0, Some("completed")),
        (compose(), "always", quiet(), 0, Some("completed")),
        (swarm(), "always", quiet(), 0, None),
        (swarm(), "no", quiet(), 1, Some("error")),
        // What the labels say.
        (expected("0"), "always", quiet(), 0, None),
        (expected("3, 0"), "always", quiet(), 0, None),
        (expected("10"), "always", quiet(), 0, Some("completed")),
        (expected("3"), "always", quiet(), 3, None),
        (expected("3"), "no", quiet(), 4, Some("error")),
        (ignored(), "always", quiet(), 1, None),
    ] {
        let case = format!("{labels} {policy} {events:?} {code}");
        let mut host = Host::new(labels, policy);
        host.run(&events, code);
        let failing = host.ledger.failing().next();
        let reason = failing.map(|it| it.last[0].reason.name());
        assert_eq!(reason, want, "{case}");
    }
}

#[test]
fn each_run_of_a_service_counts_once() {
    let labels = json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "web"});
    let mut host = Host::new(labels, "always");
    host.run(&[], 7);
    let held: Vec<_> = host.ledger.failing().cloned().collect();
    let revision = host.ledger.failing_revision();
    host.run(&[], 0);
    assert!(host.ledger.failing_revision() > revision);
    host.run(&[("kill", json!({"signal": "9"}))], 137);
    // Nothing is new.
    let revision = host.ledger.failing_revision();
    host.now += 1;
    host.report();
    assert_eq!(host.ledger.failing_revision(), revision);
    let want = "shop/web shop:2: c1-name Some(0) completed 14 2, c1-name Some(7) error 12 2";
    assert_eq!(host.failing(), [want]);
    assert_eq!(held[0].last.len(), 1, "a page that is being sent");
    let now = at(host.now);
    let counts = host.ledger.failing().map(|it| it.within_the_hour(now));
    assert_eq!(counts.collect::<Vec<_>>(), [2]);
}

#[test]
fn a_start_that_failed_has_the_time_by_which_it_had() {
    let mut host = Host::new(json!({}), "no");
    host.happen("c1", "shop:2", "create", &json!({}));
    host.now = 12;
    let never = "0001-01-01T00:00:00Z";
    host.inspect(
        &json!({"Status": "created", "ExitCode": 127, "Error": "no such file",
                          "StartedAt": never, "FinishedAt": never}),
    );
    host.report();
    let want = " shop:2: c1-name Some(127) start_failed 12 -1";
    assert_eq!(host.failing(), [want]);
}

#[test]
fn what_was_before_the_start_is_not_seen_to_fail() {
    let mut host = Host::new(json!({}), "no");
    host.now = -5;
    host.run(&[], 1);
    assert_eq!(host.failing(), [""; 0]);
    host.now = 5;
    host.run(&[], 1);
    assert_eq!(host.failing(), [" shop:2: c1-name Some(1) error 7 2"]);
}

#[test]
fn of_a_storm_only_so_many_workloads_are_remembered() {
    let mut host = Host::new(json!({}), "no");
    // One more than are counted at all.
    for number in 0..=10_000 {
        let (id, image) = (format!("{number:05}"), format!("image-{number}"));
        let exit = json!({"exitCode": "1"});
        if host.happen(&id, &image, "die", &exit) == Next::Inspect {
            let now = host.time();
            host.ledger.inspect_failed(&id, NotInspected::Gone, now);
        }
        if number % 100 == 0 {
            host.report();
        }
    }
    host.report();
    assert_eq!(host.ledger.workloads().dropped(), 1);
    let images: Vec<_> = host.ledger.failing().map(|it| it.image.clone()).collect();
    assert_eq!(images.len(), 1_000);
    assert!(images.contains(&"image-9999".into()));
    assert!(!images.contains(&"image-10000".into()));
}
