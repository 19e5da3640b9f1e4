//! What counts as a failure, and what is kept of each.

use serde_json::{Value, json};

use super::support::{TestHost, at, event, inspect, with};
use crate::ledger::{EventFeed, FailingWorkload};

/// A container of a service with these labels and this restart policy.
struct Service {
    host: TestHost,
    labels: Value,
    policy: &'static str,
}

impl Service {
    fn new(labels: Value, policy: &'static str) -> Self {
        Self {
            host: TestHost::new(),
            labels,
            policy,
        }
    }

    fn event(&mut self, action: &str, more: &Value) {
        let attributes = json!({"name": "c1-name", "image": "shop:2"});
        let attributes = with(&with(&self.labels, &attributes), more);
        let event = event("c1", action, at(self.host.now), &attributes);
        let now = self.host.time();
        self.host.ledger.apply_event(&event, now);
    }

    /// A run of two seconds with these events, which ends with this code and is inspected.
    fn run(&mut self, events: &[(&str, Value)], code: i64) {
        self.event("start", &json!({}));
        let began = self.host.now;
        for (action, more) in events {
            self.event(action, more);
        }
        self.host.now += 2;
        self.event("die", &json!({"exitCode": code.to_string()}));
        self.inspect(&inspect("exited", code, began, self.host.now)["State"]);
        self.report();
    }

    fn inspect(&mut self, state: &Value) {
        let inspect = json!({
            "State": state,
            "Config": {"Image": "shop:2", "Labels": self.labels},
            "HostConfig": {"RestartPolicy": {"Name": self.policy}},
        });
        self.host.inspect("c1", &inspect);
    }

    fn report(&mut self) {
        self.host.report_codes(EventFeed::Off);
    }

    /// Each failing workload as `service image: failures`.
    fn failing(&self) -> Vec<String> {
        let show = |it: &FailingWorkload| {
            let last = it.last.iter().map(|failure| {
                let at = failure.at.duration_since(at(0)).as_secs();
                let reason = failure.reason.name();
                let ran = failure.duration.map_or(-1, |ran| ran.as_secs());
                format!("{} {:?} {reason} {at} {ran}", failure.name, failure.code)
            });
            let last = last.collect::<Vec<_>>().join(", ");
            format!("{} {}: {last}", it.service, it.image)
        };
        self.host.ledger.failing().map(|it| show(it)).collect()
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
        // Exits with code 0 that are restarted every time.
        (none(), "no", quiet(), 0, None),
        (none(), "on-failure", quiet(), 0, None),
        (none(), "always", quiet(), 0, Some("completed")),
        (none(), "unless-stopped", quiet(), 0, Some("completed")),
        (compose(), "always", quiet(), 0, Some("completed")),
        (swarm(), "always", quiet(), 0, None),
        (swarm(), "no", quiet(), 1, Some("error")),
        // Label options.
        (expected("0"), "always", quiet(), 0, None),
        (expected("3, 0"), "always", quiet(), 0, None),
        (expected("10"), "always", quiet(), 0, Some("completed")),
        (expected("3"), "always", quiet(), 3, None),
        (expected("3"), "no", quiet(), 4, Some("error")),
        (ignored(), "always", quiet(), 1, None),
    ] {
        let case = format!("{labels} {policy} {events:?} {code}");
        let mut service = Service::new(labels, policy);
        service.run(&events, code);
        let failing = service.host.ledger.failing().next();
        let reason = failing.map(|it| it.last[0].reason.name());
        assert_eq!(reason, want, "{case}");
    }
}

#[test]
fn each_run_of_a_service_counts_once() {
    let labels = json!({"com.docker.compose.project": "shop", "com.docker.compose.service": "web"});
    let mut service = Service::new(labels, "always");
    service.run(&[], 7);
    let held: Vec<_> = service.host.ledger.failing().cloned().collect();
    let revision = service.host.ledger.failing_revision();
    service.run(&[], 0);
    assert!(service.host.ledger.failing_revision() > revision);
    service.run(&[("kill", json!({"signal": "9"}))], 137);
    // Nothing new is reported.
    let revision = service.host.ledger.failing_revision();
    service.host.now += 1;
    service.report();
    assert_eq!(service.host.ledger.failing_revision(), revision);
    let want = "shop/web shop:2: c1-name Some(0) completed 14 2, c1-name Some(7) error 12 2";
    assert_eq!(service.failing(), [want]);
    assert_eq!(held[0].last.len(), 1, "a page that is being sent");
    let now = at(service.host.now);
    let failing = service.host.ledger.failing();
    let counts = failing.map(|it| it.failures_in_last_hour(now));
    assert_eq!(counts.collect::<Vec<_>>(), [2]);
}

#[test]
fn a_failed_start_has_the_time_of_its_inspect() {
    let mut service = Service::new(json!({}), "no");
    service.event("create", &json!({}));
    service.host.now = 12;
    let never = "0001-01-01T00:00:00Z";
    service.inspect(
        &json!({"Status": "created", "ExitCode": 127, "Error": "no such file",
                          "StartedAt": never, "FinishedAt": never}),
    );
    service.report();
    let want = " shop:2: c1-name Some(127) start_failed 12 -1";
    assert_eq!(service.failing(), [want]);
}

#[test]
fn failures_before_the_start_do_not_count() {
    let mut service = Service::new(json!({}), "no");
    service.host.now = -5;
    service.run(&[], 1);
    assert_eq!(service.failing(), [""; 0]);
    service.host.now = 5;
    service.run(&[], 1);
    assert_eq!(service.failing(), [" shop:2: c1-name Some(1) error 7 2"]);
}
