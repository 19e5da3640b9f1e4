//! The series that tell alerts what an exit means: whether the container is removed, what restarts it, what took its
//! place, and what its labels want. Pure: a ledger and its text.

use std::time::Duration;

use docker_exit_exporter::engine::{EngineInfo, Event, Inspected, listing};
use docker_exit_exporter::exposition::Renderer;
use docker_exit_exporter::ledger::{Asking, EventsCome, Ledger, Now};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// When the exporter started, in seconds since 1970.
const START: i64 = 1_795_336_800;

const SERVICE: &str = "container_label_com_docker_swarm_service_name";

/// The same as a Docker label.
const SWARM: &str = "com.docker.swarm.service.name";

struct Host {
    ledger: Ledger,
    renderer: Renderer,
    /// Seconds since the start.
    now: i64,
    listed: Vec<Value>,
}

impl Host {
    fn new() -> Self {
        let started = Timestamp::from_second(START).unwrap();
        let mut ledger = Ledger::new("*".parse().unwrap(), Duration::from_secs(300), started);
        ledger.set_layout(Some(docker_exit_exporter::cgroup::Layout::default()));
        ledger.set_podman(false);
        Self {
            ledger,
            renderer: Renderer::default(),
            now: 10,
            listed: Vec::new(),
        }
    }

    fn time(&self) -> Now {
        let started = Timestamp::from_second(START).unwrap();
        Now {
            uptime: Duration::from_secs(self.now.unsigned_abs()),
            engine: started + SignedDuration::from_secs(self.now),
            error: SignedDuration::ZERO,
        }
    }

    fn asking(&self) -> Asking {
        Asking {
            asked: self.time(),
            answered: self.time(),
        }
    }

    /// A container that the next listing has.
    fn container(&mut self, id: &str, created: i64, labels: &Value, state: &str, status: &str) {
        self.listed.retain(|listed| listed["Id"] != id);
        self.listed.push(json!({
            "Id": id, "Names": [format!("/{id}")], "Image": "tools:1", "Created": START + created,
            "State": state, "Status": status, "Labels": labels,
        }));
    }

    /// Lists all, and returns which are to be inspected.
    fn list(&mut self) -> Vec<Box<str>> {
        self.listed
            .sort_by_key(|it| -it["Created"].as_i64().unwrap());
        let text = Value::Array(self.listed.clone()).to_string();
        let times = self.asking();
        let pending = self.ledger.apply_listing(&listing(&text).unwrap(), &times);
        [pending.new, pending.unexplained, pending.created].concat()
    }

    /// Lists all, and inspects those that are to be, which ended with code 3.
    fn collect(&mut self) {
        for id in self.list() {
            let finished = self.now - 2;
            self.inspect(&id, &inspect("exited", 3, 1, finished, &json!({})));
        }
    }

    fn inspect(&mut self, id: &str, inspect: &Value) {
        let inspected = Inspected::parse(&inspect.to_string()).unwrap();
        let times = self.asking();
        self.ledger.apply_inspect(id, &inspected, &times);
    }

    fn event(&mut self, id: &str, action: &str, attributes: &Value) {
        let line = json!({
            "Type": "container", "Action": action, "Actor": {"ID": id, "Attributes": attributes},
            "timeNano": (START + self.now) * 1_000_000_000,
        });
        let event = Event::parse(&line.to_string()).unwrap().unwrap();
        let now = self.time();
        self.ledger.apply_event(&event, now);
    }

    /// Reports all that waits, and has a scrape take all workloads.
    fn settle(&mut self) -> Vec<String> {
        self.now += 300;
        let now = self.time();
        let reports = self.ledger.report(now, EventsCome::Never);
        self.now -= 300;
        self.ledger.shown(u64::MAX);
        let reports = reports.into_iter();
        reports
            .map(|it| format!("{} {}", it.name, it.exit.reason.name()))
            .collect()
    }

    /// The samples of this family, without its name.
    fn samples(&mut self, family: &str) -> Vec<String> {
        self.ledger.find_superseded();
        let engine = EngineInfo::default();
        let text = self.renderer.render(true, true, &engine, &self.ledger);
        let text = text.plain();
        let lines = text.lines().filter_map(|line| line.strip_prefix(family));
        let samples = lines.filter(|rest| rest.starts_with([' ', '{']));
        samples.map(str::to_owned).collect()
    }

    /// The values of this family by the containers' names.
    fn by_name(&mut self, family: &str) -> Vec<(String, String)> {
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

fn at(second: i64) -> String {
    Timestamp::from_second(START + second).unwrap().to_string()
}

fn inspect(state: &str, code: i64, started: i64, finished: i64, more: &Value) -> Value {
    let mut inspect = json!({
        "State": {"Status": state, "ExitCode": code, "StartedAt": at(started), "FinishedAt": at(finished)},
        "Config": {"Image": "tools:1"},
    });
    for (key, value) in more.as_object().unwrap() {
        inspect[key] = value.clone();
    }
    inspect
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn a_container_that_is_removed_says_so_for_the_retention() {
    let mut host = Host::new();
    for id in ["c1", "c2"] {
        host.container(id, 1, &json!({}), "exited", "Exited (3) 5 seconds ago");
        host.list();
        host.inspect(id, &inspect("exited", 3, 2, 5, &json!({})));
    }
    host.settle();
    let removed = "container_exit_removed";
    assert_eq!(host.by_name(removed), pairs(&[("c1", "0"), ("c2", "0")]));
    host.now = 20;
    host.event("c1", "destroy", &json!({"name": "c1", "image": "tools:1"}));
    assert_eq!(host.by_name(removed), pairs(&[("c1", "1"), ("c2", "0")]));
    // One whose `destroy` event was missed is found by the next listing.
    host.listed.clear();
    host.list();
    assert_eq!(host.by_name(removed), pairs(&[("c1", "1"), ("c2", "1")]));
    host.ledger.expire(Duration::from_secs(320));
    assert_eq!(host.by_name(removed), []);
}

#[test]
fn a_restart_policy_is_shown_of_what_is_over_and_of_what_runs_again() {
    let mut host = Host::new();
    for (id, policy) in [
        ("c1", "always"),
        ("c2", "unless-stopped"),
        ("c3", "on-failure"),
        ("c4", "no"),
        ("c5", ""),
    ] {
        host.container(id, 1, &json!({}), "exited", "Exited (3) 5 seconds ago");
        host.list();
        let config =
            json!({"HostConfig": {"RestartPolicy": {"Name": policy, "MaximumRetryCount": 0}}});
        host.inspect(id, &inspect("exited", 3, 2, 5, &config));
    }
    let want = pairs(&[
        ("c1", "policy=\"always\" 1"),
        ("c2", "policy=\"unless-stopped\" 1"),
        ("c3", "policy=\"on-failure\" 1"),
    ]);
    assert_eq!(host.by_name("container_restart_policy"), want);
    host.now = 20;
    host.event("c1", "start", &json!({"name": "c1", "image": "tools:1"}));
    assert_eq!(host.by_name("container_restart_policy"), want);
    let codes = host.by_name("container_exit_code");
    assert!(codes.iter().all(|(name, _)| name != "c1"), "{codes:?}");
}

#[test]
fn oom_kills_are_counted_also_of_a_container_that_runs_on() {
    let mut host = Host::new();
    host.container("c1", 1, &json!({}), "running", "Up 5 seconds");
    host.list();
    host.ledger.shown(u64::MAX);
    let kills = "container_oom_kills_total";
    assert_eq!(host.samples(kills), [r#"{image="tools:1"} 0"#]);
    let attributes = json!({"name": "c1", "image": "tools:1"});
    host.event("c1", "oom", &attributes);
    host.now = 12;
    host.event("c1", "oom", &attributes);
    assert_eq!(host.samples(kills), [r#"{image="tools:1"} 2"#]);
    // Those from before the start are not counted.
    host.now = -5;
    host.event("c1", "oom", &attributes);
    assert_eq!(host.samples(kills), [r#"{image="tools:1"} 2"#]);
    assert_eq!(host.samples("container_exit_code"), [""; 0]);
}

fn task(service: &str, service_id: &str, slot: &str, task: &str) -> Value {
    json!({
        "com.docker.swarm.service.name": service,
        "com.docker.swarm.service.id": service_id,
        "com.docker.swarm.task.name": format!("{service}.{slot}.{task}"),
        "com.docker.stack.namespace": if service.contains('_') { "shop" } else { "" },
    })
}

#[test]
fn a_slot_tells_when_its_newest_container_was_made_whatever_its_state() {
    let mut host = Host::new();
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
    host.list();
    assert_eq!(host.samples(created), [slot("1", 4), slot("2", 2)]);
    // Another service that has had the same name, and one of a stack.
    host.container("b1", 7, &task("web", "s2", "1", "t4"), "created", "Created");
    host.container(
        "b2",
        8,
        &task("shop_db", "s3", "node", "t5"),
        "running",
        "Up 1 second",
    );
    host.list();
    let stack = "container_label_com_docker_stack_namespace=\"shop\"";
    let db = format!(
        "{{{stack},{SERVICE}=\"shop_db\",slot=\"node\"}} {}",
        START + 8
    );
    assert_eq!(
        host.samples(created),
        [db.clone(), slot("1", 7), slot("2", 2)]
    );
    // An event tells it more exactly.
    host.now = 11;
    let mut attributes = task("web", "s1", "2", "t6");
    attributes["name"] = json!("web.2.t6");
    host.event("a4", "create", &attributes);
    assert_eq!(host.samples(created), [db, slot("1", 7), slot("2", 11)]);
    // What is gone and has no exit to show has no slot.
    host.now = 40;
    host.listed.retain(|it| it["Id"] == "a1");
    for id in ["a2", "a3", "a4", "b1", "b2"] {
        host.event(id, "destroy", &json!({}));
    }
    host.list();
    host.settle();
    host.ledger.expire(Duration::from_secs(400));
    // The newest of the other is gone, and has replaced what is left all the same.
    assert_eq!(host.samples(created), [slot("1", 7)]);
}

#[test]
fn what_was_superseded_stays_so_when_its_successor_is_removed() {
    let mut host = Host::new();
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
        "exited",
        "Exited (3) 2 seconds ago",
    );
    host.collect();
    let superseded = "container_exit_superseded";
    assert_eq!(host.by_name(superseded), pairs(&[("a1", "1"), ("a2", "0")]));
    host.settle();
    host.now = 20;
    host.event("a2", "destroy", &json!({}));
    host.listed.retain(|it| it["Id"] == "a1");
    host.list();
    assert_eq!(host.by_name(superseded), pairs(&[("a1", "1"), ("a2", "0")]));
    host.ledger.expire(Duration::from_secs(600));
    assert_eq!(host.by_name(superseded), pairs(&[("a1", "1")]));
}

#[test]
fn an_ignored_container_is_neither_shown_nor_counted_nor_inspected() {
    let mut host = Host::new();
    let ignored = json!({"docker-exit-exporter.ignore": "true"});
    host.container("c1", 1, &ignored, "exited", "Exited (3) 5 seconds ago");
    let mut of_service = task("web", "s1", "1", "t1");
    of_service["docker-exit-exporter.ignore"] = json!("True");
    host.container("c2", 1, &of_service, "running", "Up 5 seconds");
    assert_eq!(host.list(), [""; 0].map(Box::from));
    host.now = 12;
    let mut job = ignored.clone();
    job["name"] = json!("job");
    job["image"] = json!("tools:1");
    for action in ["create", "start", "oom", "die", "destroy"] {
        let mut attributes = job.clone();
        attributes["exitCode"] = json!("137");
        host.event("c3", action, &attributes);
    }
    assert_eq!(host.settle(), [""; 0]);
    for family in [
        "container_exit_code",
        "container_exit_reason",
        "container_exits_total",
        "container_oom_kills_total",
        "container_slot_created_timestamp_seconds",
    ] {
        assert_eq!(host.samples(family), [""; 0], "{family}");
    }
    assert_eq!((host.ledger.exits().count(), host.ledger.lost()), (0, 0));
    let listed = host.samples("docker_containers");
    assert!(
        listed.contains(&r#"{state="exited"} 1"#.to_owned()),
        "{listed:?}"
    );
    // Nothing is kept of one that is removed, and one that only its network's events and an inspect told of is ignored too.
    let labels = json!({"Config": {"Image": "tools:1", "Labels": ignored}});
    let line = json!({
        "Type": "network", "Action": "disconnect", "timeNano": (START + host.now) * 1_000_000_000,
        "Actor": {"ID": "n", "Attributes": {"container": "c5", "name": "bridge"}},
    });
    let now = host.time();
    let event = Event::parse(&line.to_string()).unwrap().unwrap();
    host.ledger.apply_event(&event, now);
    host.inspect("c5", &inspect("exited", 3, 1, 2, &labels));
    assert_eq!(host.settle(), [""; 0]);
    assert_eq!(host.samples("container_exits_total"), [""; 0]);
    assert_eq!(host.samples("container_exit_code"), [""; 0]);
    // Anything else is not what the label takes.
    host.container(
        "c4",
        1,
        &json!({"docker-exit-exporter.ignore": "1"}),
        "exited",
        "Exited (3) 5 seconds ago",
    );
    host.collect();
    assert_eq!(host.by_name("container_exit_code"), pairs(&[("c4", "3")]));
}

#[test]
fn an_exit_with_an_expected_code_is_completed_unless_someone_asked_for_it() {
    let mut host = Host::new();
    let labels = json!({"docker-exit-exporter.expected-codes": "0, 3,143,x"});
    for (id, code) in [("c1", 3), ("c2", 143), ("c3", 4), ("c4", 143), ("c5", 127)] {
        let mut attributes = labels.clone();
        attributes["name"] = json!(id);
        attributes["image"] = json!("tools:1");
        host.event(id, "create", &attributes);
        host.event(id, "start", &attributes);
        if id == "c4" {
            attributes["signal"] = json!("15");
            host.event(id, "kill", &attributes);
        }
        attributes["exitCode"] = json!(code.to_string());
        host.event(id, "die", &attributes);
    }
    let reports = host.settle();
    assert_eq!(
        reports,
        [
            "c1 completed",
            "c2 completed",
            "c3 error",
            "c4 stopped",
            "c5 error"
        ]
    );
    let reasons = host.by_name("container_exit_reason");
    let want = [
        ("c1", "reason=\"completed\" 1"),
        ("c2", "reason=\"completed\" 1"),
        ("c3", "reason=\"error\" 1"),
        ("c4", "reason=\"stopped\" 1"),
        ("c5", "reason=\"error\" 1"),
    ];
    assert_eq!(reasons, pairs(&want));
    let codes = host.by_name("container_exit_code");
    assert_eq!(codes[0], ("c1".into(), "3".into()), "it is shown as it is");
    let counted = host.samples("container_exits_total");
    let completed = r#"{image="tools:1",reason="completed"} 2"#;
    assert!(counted.contains(&completed.to_owned()), "{counted:?}");
}

#[test]
fn the_first_exits_of_a_workload_are_added_once_its_zeros_were_taken() {
    let mut host = Host::new();
    host.list();
    let mut attributes = json!({"name": "job", "image": "tools:1"});
    for action in ["create", "start"] {
        host.event("c1", action, &attributes);
    }
    attributes["exitCode"] = json!("3");
    host.event("c1", "die", &attributes);
    host.now += 300;
    let now = host.time();
    assert_eq!(host.ledger.report(now, EventsCome::Never).len(), 1);
    host.now -= 300;
    let error = |count: u64| format!(r#"{{image="tools:1",reason="error"}} {count}"#);
    let has = |samples: Vec<String>, count| samples.contains(&error(count));
    assert!(has(host.samples("container_exits_total"), 0));
    let revision = host.ledger.workloads().unshown().unwrap();
    host.ledger.shown(revision);
    assert!(has(host.samples("container_exits_total"), 1));
}

#[test]
fn a_container_whose_restart_is_called_off_is_stopped_until_it_runs_again() {
    // `docker stop` makes an event, `docker kill` makes none.
    for by_event in [true, false] {
        let mut host = Host::new();
        let attributes = json!({"name": "c1", "image": "tools:1"});
        let policy = json!({"HostConfig": {"RestartPolicy": {"Name": "on-failure"}}});
        let reason = |host: &mut Host| host.by_name("container_exit_reason");
        let is = |reason: &str| pairs(&[("c1", &format!("reason=\"{reason}\" 1"))]);
        let died = |host: &mut Host| {
            let mut attributes = attributes.clone();
            attributes["exitCode"] = json!("3");
            host.event("c1", "start", &attributes);
            let began = host.now;
            host.now += 1;
            host.event("c1", "die", &attributes);
            host.now += 1;
            host.inspect("c1", &inspect("restarting", 3, began, began + 1, &policy));
            began
        };
        let began = died(&mut host);
        assert_eq!(reason(&mut host), is("error"));
        assert_eq!(host.settle(), ["c1 error"]);
        host.now += 5;
        if by_event {
            host.event("c1", "stop", &attributes);
        } else {
            host.inspect("c1", &inspect("exited", 3, began, began + 1, &policy));
        }
        assert_eq!(reason(&mut host), is("stopped"), "{by_event}");
        let counted = host.samples("container_exits_total");
        let error = r#"{image="tools:1",reason="error"} 1"#;
        assert!(counted.contains(&error.to_owned()), "{counted:?}");
        // It is started again, and its next end is of its own.
        host.now += 5;
        died(&mut host);
        assert_eq!(reason(&mut host), is("error"), "{by_event}");
        assert_eq!(host.settle(), ["c1 error"]);
    }
}

#[test]
fn labels_that_are_left_out_are_counted_once_of_each_container() {
    let mut host = Host::new();
    let labels = json!({
        "a": "x".repeat(3000), "b": "x".repeat(60_000), SWARM: "web", "k": "v",
    });
    let only_event = "e1";
    let mut started = labels.clone();
    started["name"] = "job".into();
    host.event(only_event, "start", &started);
    let mut died = labels.clone();
    died["exitCode"] = "3".into();
    host.event(only_event, "die", &died);
    host.event(only_event, "destroy", &labels);
    assert_eq!(host.ledger.left_out().count, 2);
    for id in ["c1", "c2"] {
        host.container(id, 1, &labels, "exited", "Exited (3) 2 seconds ago");
    }
    for _ in 0..3 {
        host.collect();
        host.now += 15;
        assert_eq!(host.ledger.left_out().count, 6);
        // The cgroup of a daemon that is another one: nothing is read anew.
        host.ledger.set_layout(None);
        host.ledger
            .set_layout(Some(docker_exit_exporter::cgroup::Layout::default()));
    }
    assert_eq!(host.ledger.left_out().first, "job");
    let samples = host.samples("container_exit_code");
    assert_eq!(samples.len(), 3, "{samples:?}");
    for sample in samples {
        let rest = format!("{{{SERVICE}=\"web\",container_label_k=\"v\",id=\"/docker/");
        assert!(sample.starts_with(&rest), "{sample}");
    }
    let exits = host.samples("container_exits_total");
    assert!(exits.iter().all(|it| it.contains("=\"web\"")), "{exits:?}");
}

#[test]
fn labels_that_are_too_many_hide_neither_the_service_nor_what_is_asked_of_the_exporter() {
    let mut host = Host::new();
    let mut many: serde_json::Map<String, Value> = (0..2000)
        .map(|number| (format!("a{number:04}"), "x".repeat(100).into()))
        .collect();
    many.insert(SWARM.into(), "web".into());
    many.insert("docker-exit-exporter.expected-codes".into(), "3".into());
    host.container(
        "c1",
        1,
        &many.clone().into(),
        "exited",
        "Exited (3) 2 seconds ago",
    );
    many.insert("docker-exit-exporter.ignore".into(), "true".into());
    host.container("c2", 1, &many.into(), "exited", "Exited (3) 2 seconds ago");
    host.collect();
    let samples = host.samples("container_exit_reason");
    assert_eq!(samples.len(), 1, "{samples:?}");
    assert!(samples[0].contains(&format!("{SERVICE}=\"web\"")));
    assert!(samples[0].contains("reason=\"completed\""));
    assert!(samples[0].len() < 8 * 1024, "{}", samples[0].len());
    assert_eq!(
        host.ledger.left_out().count,
        2002 - samples[0].matches("container_label_").count() as u64
    );
}
