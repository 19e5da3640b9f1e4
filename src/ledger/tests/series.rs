//! The series that tell alerts what an exit means: whether the container is removed, what restarts
//! it, which container replaced it, and what its labels ask for.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{START, TestHost, at, event, ids, inspect, with};
use crate::cgroup::Layout;
use crate::engine::{EngineInfo, listing};
use crate::exposition::Renderer;
use crate::ledger::EventFeed;

pub(super) const SERVICE: &str = "container_label_com_docker_swarm_service_name";

pub(super) fn host() -> TestHost {
    let mut host = TestHost::new();
    host.ledger.set_layout(Some(Layout::default()));
    host.ledger.set_podman(false);
    host
}

/// An inspect of a container with the image of these tests.
pub(super) fn tools_inspect(
    state: &str,
    code: i64,
    started: i64,
    finished: i64,
    more: &Value,
) -> Value {
    let image = json!({"Config": {"Image": "tools:1"}});
    with(
        &with(&inspect(state, code, started, finished), &image),
        more,
    )
}

impl TestHost {
    /// Adds a container to the listing.
    pub(super) fn container(
        &mut self,
        id: &str,
        created: i64,
        labels: &Value,
        state: &str,
        status: &str,
    ) {
        self.listed.retain(|listed| listed["Id"] != id);
        self.listed.push(json!({
            "Id": id, "Names": [format!("/{id}")], "Image": "tools:1", "Created": START + created,
            "State": state, "Status": status, "Labels": labels,
        }));
    }

    /// Lists all containers and returns which are to be inspected. No scrape takes new workloads.
    pub(super) fn list_all(&mut self) -> Vec<Box<str>> {
        self.listed
            .sort_by_key(|it| -it["Created"].as_i64().unwrap());
        let text = Value::Array(self.listed.clone()).to_string();
        let times = self.times();
        ids(self.ledger.apply_listing(&listing(&text).unwrap(), &times))
    }

    /// Lists all containers, and inspects those that are due, which ended with code 3.
    pub(super) fn collect_all(&mut self) {
        for id in self.list_all() {
            let finished = self.now - 2;
            self.inspect(&id, &tools_inspect("exited", 3, 1, finished, &json!({})));
        }
    }

    pub(super) fn event_now(&mut self, id: &str, action: &str, attributes: &Value) {
        let event = event(id, action, at(self.now), attributes);
        let now = self.time();
        self.ledger.apply_event(&event, now);
    }

    /// Reports everything that waits, and has a scrape take all workloads.
    pub(super) fn settle(&mut self) -> Vec<String> {
        self.now += 300;
        let now = self.time();
        let reports = self.ledger.report(now, EventFeed::Off).into_iter();
        self.now -= 300;
        self.ledger.mark_scraped(u64::MAX);
        reports
            .map(|it| format!("{} {}", it.name, it.exit.reason.name()))
            .collect()
    }

    /// The samples of a family, without its name.
    pub(super) fn samples(&mut self, family: &str) -> Vec<String> {
        self.ledger.find_superseded();
        let engine = EngineInfo::default();
        let text = Renderer::default().render(true, true, &engine, &self.ledger);
        let text = text.plain();
        let lines = text.lines().filter_map(|line| line.strip_prefix(family));
        let samples = lines.filter(|rest| rest.starts_with([' ', '{']));
        samples.map(str::to_owned).collect()
    }

    /// The values of this family by the containers' names.
    pub(super) fn by_name(&mut self, family: &str) -> Vec<(String, String)> {
        let samples = self.samples(family).into_iter();
        let mut named: Vec<_> = samples
            .map(|sample| {
                let (_, name) = sample.rsplit_once(",name=\"").unwrap();
                let (name, rest) = name.split_once('"').unwrap();
                let value = rest.trim_start_matches(',').replace("} ", " ");
                (
                    name.to_owned(),
                    value.trim().trim_start_matches("} ").to_owned(),
                )
            })
            .collect();
        named.sort();
        named
    }
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// Labels of a task of a Swarm service.
pub(super) fn task(service: &str, service_id: &str, slot: &str, task: &str) -> Value {
    json!({
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.service.id": service_id,
        "com.docker.swarm.task.name": format!("{service}.{slot}.{task}"),
        "com.docker.stack.namespace": if service.contains('_') { "shop" } else { "" },
    })
}

#[test]
fn a_container_that_is_removed_says_so_for_the_retention() {
    let mut host = host();
    for id in ["c1", "c2"] {
        host.container(id, 1, &json!({}), "exited", "Exited (3) 5 seconds ago");
        host.list_all();
        host.inspect(id, &tools_inspect("exited", 3, 2, 5, &json!({})));
    }
    host.settle();
    let removed = "container_exit_removed";
    assert_eq!(host.by_name(removed), pairs(&[("c1", "0"), ("c2", "0")]));
    host.now = 20;
    host.event_now("c1", "destroy", &json!({"name": "c1", "image": "tools:1"}));
    assert_eq!(host.by_name(removed), pairs(&[("c1", "1"), ("c2", "0")]));
    // The next listing shows a removal whose `destroy` event was missed.
    host.listed.clear();
    host.list_all();
    assert_eq!(host.by_name(removed), pairs(&[("c1", "1"), ("c2", "1")]));
    host.ledger.expire(Duration::from_secs(320));
    assert_eq!(host.by_name(removed), []);
}

#[test]
fn the_restart_policy_is_shown_for_stopped_and_running_containers() {
    let mut host = host();
    for (id, policy) in [
        ("c1", "always"),
        ("c2", "unless-stopped"),
        ("c3", "on-failure"),
        ("c4", "no"),
        ("c5", ""),
    ] {
        host.container(id, 1, &json!({}), "exited", "Exited (3) 5 seconds ago");
        host.list_all();
        let config =
            json!({"HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}}});
        host.inspect(id, &tools_inspect("exited", 3, 2, 5, &config));
    }
    let want = pairs(&[
        ("c1", "policy=\"always\" 1"),
        ("c2", "policy=\"unless-stopped\" 1"),
        ("c3", "policy=\"on-failure\" 1"),
    ]);
    assert_eq!(host.by_name("container_restart_policy"), want);
    host.now = 20;
    host.event_now("c1", "start", &json!({"name": "c1", "image": "tools:1"}));
    assert_eq!(host.by_name("container_restart_policy"), want);
    let codes = host.by_name("container_exit_code");
    assert!(codes.iter().all(|(name, _)| name != "c1"), "{codes:?}");
}

#[test]
fn oom_kills_of_a_running_container_are_counted() {
    let mut host = host();
    host.container("c1", 1, &json!({}), "running", "Up 5 seconds");
    host.list_all();
    host.ledger.mark_scraped(u64::MAX);
    let kills = "container_oom_kills_total";
    assert_eq!(host.samples(kills), [r#"{image="tools:1"} 0"#]);
    let attributes = json!({"name": "c1", "image": "tools:1"});
    host.event_now("c1", "oom", &attributes);
    host.now = 12;
    host.event_now("c1", "oom", &attributes);
    assert_eq!(host.samples(kills), [r#"{image="tools:1"} 2"#]);
    // OOM kills before the start are not counted.
    host.now = -5;
    host.event_now("c1", "oom", &attributes);
    assert_eq!(host.samples(kills), [r#"{image="tools:1"} 2"#]);
    assert_eq!(host.samples("container_exit_code"), [""; 0]);
}

#[test]
fn a_slot_shows_when_its_newest_container_was_created() {
    let mut host = host();
    let created = "container_slot_created_timestamp_seconds";
    let slot = |slot: &str, second: i64| {
        format!("{{{SERVICE}=\"web\",slot=\"{slot}\"}} {}", START + second)
    };
    host.container(
        "a1",
        1,
        &task("web", "s1", "1", "t1"),
        "exited",
        "Exited (3) 5 seconds ago",
    );
    host.container(
        "a2",
        4,
        &task("web", "s1", "1", "t2"),
        "running",
        "Up 2 seconds",
    );
    host.container(
        "a3",
        2,
        &task("web", "s1", "2", "t3"),
        "running",
        "Up 2 seconds",
    );
    host.list_all();
    assert_eq!(host.samples(created), [slot("1", 4), slot("2", 2)]);
    // A recreated service with the same name, and a service of a stack.
    host.container("b1", 7, &task("web", "s2", "1", "t4"), "created", "Created");
    host.container(
        "b2",
        8,
        &task("shop_db", "s3", "node", "t5"),
        "running",
        "Up 1 second",
    );
    host.list_all();
    let stack = "container_label_com_docker_stack_namespace=\"shop\"";
    let db = format!(
        "{{{stack},{SERVICE}=\"shop_db\",slot=\"node\"}} {}",
        START + 8
    );
    assert_eq!(
        host.samples(created),
        [db.clone(), slot("1", 7), slot("2", 2)]
    );
    // An event has the more exact time.
    host.now = 11;
    let mut attributes = task("web", "s1", "2", "t6");
    attributes["name"] = json!("web.2.t6");
    host.event_now("a4", "create", &attributes);
    assert_eq!(host.samples(created), [db, slot("1", 7), slot("2", 11)]);
    // A slot leaves with its last container or exit.
    host.now = 40;
    host.listed.retain(|it| it["Id"] == "a1");
    for id in ["a2", "a3", "a4", "b1", "b2"] {
        host.event_now(id, "destroy", &json!({}));
    }
    host.list_all();
    host.settle();
    host.ledger.expire(Duration::from_secs(400));
    // The newest container of slot 1 is gone, but it has replaced the one that is left.
    assert_eq!(host.samples(created), [slot("1", 7)]);
}

#[test]
fn the_first_exits_of_a_workload_are_added_after_a_scrape_of_its_zeros() {
    let mut host = host();
    host.list_all();
    let mut attributes = json!({"name": "job", "image": "tools:1"});
    for action in ["create", "start"] {
        host.event_now("c1", action, &attributes);
    }
    attributes["exitCode"] = json!("3");
    host.event_now("c1", "die", &attributes);
    host.now += 300;
    let now = host.time();
    assert_eq!(host.ledger.report(now, EventFeed::Off).len(), 1);
    host.now -= 300;
    let error = |count: u64| format!(r#"{{image="tools:1",reason="error"}} {count}"#);
    let has = |samples: Vec<String>, count| samples.contains(&error(count));
    assert!(has(host.samples("container_exits_total"), 0));
    let revision = host.ledger.workloads().unscraped_revision().unwrap();
    host.ledger.mark_scraped(revision);
    assert!(has(host.samples("container_exits_total"), 1));
}

#[test]
fn a_container_whose_restart_is_cancelled_is_stopped_until_it_runs_again() {
    // `docker stop` makes an event, `docker kill` makes none.
    for by_event in [true, false] {
        let mut host = host();
        let attributes = json!({"name": "c1", "image": "tools:1"});
        let policy = json!({"HostConfig": {"RestartPolicy": {"Name": "on-failure"}}});
        let reason = |host: &mut TestHost| host.by_name("container_exit_reason");
        let is = |reason: &str| pairs(&[("c1", &format!("reason=\"{reason}\" 1"))]);
        let died = |host: &mut TestHost| {
            let mut attributes = attributes.clone();
            attributes["exitCode"] = json!("3");
            host.event_now("c1", "start", &attributes);
            let began = host.now;
            host.now += 1;
            host.event_now("c1", "die", &attributes);
            host.now += 1;
            host.inspect(
                "c1",
                &tools_inspect("restarting", 3, began, began + 1, &policy),
            );
            began
        };
        let began = died(&mut host);
        assert_eq!(reason(&mut host), is("error"));
        assert_eq!(host.settle(), ["c1 error"]);
        host.now += 5;
        if by_event {
            host.event_now("c1", "stop", &attributes);
        } else {
            host.inspect("c1", &tools_inspect("exited", 3, began, began + 1, &policy));
        }
        assert_eq!(reason(&mut host), is("stopped"), "{by_event}");
        let counted = host.samples("container_exits_total");
        let error = r#"{image="tools:1",reason="error"} 1"#;
        assert!(counted.contains(&error.to_owned()), "{counted:?}");
        // It starts again, and its next exit has a reason of its own.
        host.now += 5;
        died(&mut host);
        assert_eq!(reason(&mut host), is("error"), "{by_event}");
        assert_eq!(host.settle(), ["c1 error"]);
    }
}
