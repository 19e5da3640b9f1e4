//! What is known of containers, listing after listing: no socket, no clock.

use std::fs;
use std::path::Path;
use std::time::Duration;

use docker_exit_exporter::cgroup::Layout;
use docker_exit_exporter::engine::{Event, Info, Inspected, listing};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{Entry, Ledger, NotInspected, Taken};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A ledger with a clock of its own, told what Docker would say.
struct Host {
    ledger: Ledger,
    /// Seconds since the start of the test.
    now: i64,
}

impl Host {
    fn new() -> Self {
        Self::with_retention(300)
    }

    fn with_retention(seconds: u64) -> Self {
        Self {
            ledger: Ledger::new(Filter::default(), Duration::from_secs(seconds), at(0)),
            now: 0,
        }
    }

    /// Lists these containers and returns which are to be inspected.
    fn list(&mut self, containers: &[Value]) -> Vec<String> {
        let text = Value::Array(containers.to_vec()).to_string();
        let at = at(self.now);
        let taken = Taken {
            asked: at,
            answered: at,
            uptime: Duration::from_secs(self.now.unsigned_abs()),
            events_followed: false,
        };
        self.ledger.listed(&listing(&text).unwrap(), taken)
    }

    /// Lists one container, inspects it if it is to be, and returns whether it was.
    fn collect(&mut self, listed: &Value, inspect: &Value) -> bool {
        let pending = self.list(std::slice::from_ref(listed));
        for id in &pending {
            let inspected = Inspected::parse(&inspect.to_string()).unwrap();
            self.ledger.inspected(id, &inspected, at(self.now), false);
        }
        !pending.is_empty()
    }

    /// Each exit as `name code reason [time] [duration]`.
    fn exits(&self) -> Vec<String> {
        Self::show(self.ledger.exits())
    }

    /// The same of the runs before of those that run again.
    fn last_exits(&self) -> Vec<String> {
        Self::show(self.ledger.last_exits())
    }

    fn show<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<String> {
        entries
            .map(|entry| {
                let exit = entry.exit;
                let mut text = format!("{} {} {}", entry.name, exit.code, exit.reason.name());
                if let Some(time) = exit.finished_at {
                    text += &format!(" at {}", time.duration_since(at(0)).as_secs());
                }
                if let Some(time) = exit.duration {
                    text += &format!(" after {}", time.as_secs());
                }
                text
            })
            .collect()
    }

    /// Each exit as `name code reason`.
    fn exits_without_times(&self) -> Vec<String> {
        let cut = |text: &String| text.split(" at ").next().unwrap().to_owned();
        self.exits().iter().map(cut).collect()
    }

    /// The codes of what is told for the first time.
    fn news(&mut self) -> Vec<i64> {
        let uptime = Duration::from_secs(self.now.unsigned_abs());
        let news = self.ledger.tell(uptime, false).into_iter();
        news.map(|news| news.exit.code).collect()
    }

    fn labels(&self) -> Vec<&str> {
        self.ledger.exits().map(|entry| entry.labels).collect()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_336_800).unwrap() + SignedDuration::from_secs(seconds)
}

fn listed(state: &str, status: &str) -> Value {
    json!({"Id": "c1", "Names": ["/web"], "Image": "nginx", "State": state, "Status": status})
}

/// An inspect of a run from second `started` to second `finished`.
fn inspect(state: &str, code: i64, started: i64, finished: i64) -> Value {
    json!({
        "State": {
            "Status": state,
            "ExitCode": code,
            "StartedAt": at(started).to_string(),
            "FinishedAt": at(finished).to_string(),
        },
        "Config": {"Image": "nginx"},
    })
}

#[test]
fn an_exit_is_inspected_once() {
    let mut host = Host::new();
    host.now = 10;
    let run = inspect("exited", 3, 2, 5);
    assert!(host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run));
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
    assert_eq!(host.news(), [3]);
    for (now, age) in [
        (25, "20 seconds"),
        (70, "About a minute"),
        (200, "3 minutes"),
        (3605, "About an hour"),
        (3600 * 30, "30 hours"),
        (3600 * 24 * 10, "9 days"),
        (3600 * 24 * 400, "13 months"),
    ] {
        host.now = now;
        let listed = listed("exited", &format!("Exited (3) {age} ago"));
        assert!(!host.collect(&listed, &json!({})), "inspected after {age}");
        assert_eq!(host.news(), [0; 0]);
    }
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
}

#[test]
fn another_code_or_a_younger_age_is_a_new_run() {
    let mut host = Host::new();
    host.now = 10;
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.news(), [3]);
    // Started and ended again between two listings, with the same code.
    host.now = 25;
    assert!(host.collect(
        &listed("exited", "Exited (3) 2 seconds ago"),
        &inspect("exited", 3, 20, 23)
    ));
    assert_eq!(host.exits(), ["web 3 error at 23 after 3"]);
    assert_eq!(host.news(), [3]);
    // And with another one.
    host.now = 40;
    assert!(host.collect(
        &listed("exited", "Exited (4) 17 seconds ago"),
        &inspect("exited", 4, 22, 23)
    ));
    assert_eq!(host.news(), [4]);
}

#[test]
fn a_false_alarm_is_no_news() {
    let mut host = Host::new();
    host.now = 100;
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) About a minute ago"), &run);
    assert_eq!(host.news(), [3]);
    // The clock jumped back, and with it what Docker takes for the age.
    host.now = 150;
    assert!(host.collect(&listed("exited", "Exited (3) 2 seconds ago"), &run));
    assert_eq!(host.news(), [0; 0]);
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
}

#[test]
fn a_container_that_runs_again_has_no_exit() {
    let mut host = Host::new();
    host.now = 10;
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
    host.news();
    for state in ["running", "paused"] {
        assert!(!host.collect(&listed(state, "Up 1 second"), &json!({})));
        assert_eq!(host.exits(), [""; 0]);
        assert_eq!(host.last_exits(), ["web 3 error at 5 after 3"]);
    }
    host.now = 30;
    let again = inspect("exited", 3, 12, 28);
    assert!(host.collect(&listed("exited", "Exited (3) 2 seconds ago"), &again));
    assert_eq!(host.news(), [3]);
}

#[test]
fn a_crash_loop_is_one_exit_per_round_that_is_seen() {
    let mut host = Host::new();
    for round in 1..=5 {
        host.now = round * 15;
        let listed = listed("restarting", "Restarting (7) 1 second ago");
        let run = inspect("restarting", 7, host.now - 3, host.now - 1);
        assert!(host.collect(&listed, &run));
        assert_eq!(host.news(), [7], "round {round}");
    }
}

#[test]
fn listed_as_restarting_and_inspected_as_running() {
    let mut host = Host::new();
    host.now = 10;
    // Starting zeroed the code, and kept the time at which the run before ended.
    let inspect = inspect("running", 0, 10, 8);
    host.collect(
        &listed("restarting", "Restarting (7) 2 seconds ago"),
        &inspect,
    );
    assert_eq!(host.last_exits(), ["web 7 error at 8"]);
}

#[test]
fn a_run_that_was_inspected_as_running_is_inspected_again() {
    let mut host = Host::new();
    host.now = 10;
    let running = inspect("running", 0, 10, 8);
    host.collect(
        &listed("restarting", "Restarting (6) 1 second ago"),
        &running,
    );
    // It ended again within the same second, for good, with the same code.
    host.now = 11;
    let ended = inspect("exited", 6, 10, 10);
    assert!(host.collect(&listed("exited", "Exited (6) 1 second ago"), &ended));
    assert_eq!(host.exits(), ["web 6 error at 10 after 0"]);
}

#[test]
fn two_ends_within_a_second_are_told_apart_by_the_first_ones_exact_time() {
    let mut host = Host::new();
    host.now = 10;
    let just_now = listed("exited", "Exited (6) Less than a second ago");
    assert!(host.collect(&just_now, &inspect("exited", 6, 9, 9)));
    assert_eq!(host.news(), [6]);
    host.now = 11;
    assert!(host.collect(&just_now, &inspect("exited", 6, 10, 11)));
    assert_eq!(host.news(), [6]);
    assert_eq!(host.exits(), ["web 6 error at 11 after 1"]);
}

#[test]
fn a_container_that_no_longer_waits_for_its_restart_is_inspected_again() {
    let mut host = Host::new();
    host.now = 10;
    let run = inspect("restarting", 6, 9, 9);
    host.collect(&listed("restarting", "Restarting (6) 1 second ago"), &run);
    let run = inspect("exited", 6, 9, 9);
    assert!(host.collect(&listed("exited", "Exited (6) 1 second ago"), &run));
    assert!(!host.collect(&listed("exited", "Exited (6) 1 second ago"), &run));
}

#[test]
fn an_engine_whose_clock_differs_costs_no_inspect_more() {
    let mut host = Host::new();
    let hour = 3600;
    let run = inspect("exited", 3, hour + 2, hour + 5);
    host.now = 10;
    assert!(host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run));
    for (now, age) in [
        (25, "20 seconds"),
        (70, "About a minute"),
        (300, "4 minutes"),
    ] {
        host.now = now;
        let listed = listed("exited", &format!("Exited (3) {age} ago"));
        assert!(!host.collect(&listed, &run), "inspected after {age}");
    }
    host.now = 315;
    let again = inspect("exited", 3, hour + 303, hour + 305);
    assert!(host.collect(&listed("exited", "Exited (3) 10 seconds ago"), &again));
}

#[test]
fn failed_starts() {
    let never = "0001-01-01T00:00:00Z";
    let created = |code: i64, error: &str| {
        json!({"State": {"Status": "created", "ExitCode": code, "Error": error,
                         "StartedAt": never, "FinishedAt": never}})
    };
    let mut host = Host::new();
    let listed = listed("created", "Created");
    assert!(host.collect(&listed, &created(0, "")));
    assert_eq!(host.exits(), [""; 0]);
    // No listing tells of it, so it is inspected each time.
    assert!(host.collect(&listed, &created(127, "no such file")));
    assert_eq!(host.exits(), ["web 127 start_failed"]);
    assert_eq!(host.news(), [127]);
    assert!(host.collect(&listed, &created(127, "no such file")));
    assert_eq!(host.news(), [0; 0]);
    assert!(host.collect(&listed, &created(126, "permission denied")));
    assert_eq!(host.news(), [126]);
    assert!(host.collect(&listed, &created(0, "refused early")));
    assert_eq!(host.exits(), ["web 0 start_failed"]);
}

#[test]
fn a_restart_that_the_runtime_refused_has_no_time_of_its_own() {
    let mut host = Host::new();
    host.now = 20;
    host.collect(
        &listed("exited", "Exited (3) 15 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.news(), [3]);
    host.now = 35;
    let mut refused = inspect("exited", 127, 2, 5);
    refused["State"]["Error"] = "not a directory".into();
    assert!(host.collect(&listed("exited", "Exited (127) 30 seconds ago"), &refused));
    assert_eq!(host.exits(), ["web 127 start_failed"]);
    assert_eq!(host.news(), [127]);
}

#[test]
fn dead_and_removing_containers_keep_what_is_known_or_are_inspected() {
    for (state, status) in [("dead", "Dead"), ("removing", "Removal In Progress")] {
        let mut host = Host::new();
        host.now = 10;
        let run = inspect(state, 3, 2, 5);
        assert!(host.collect(&listed(state, status), &run));
        assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
        assert!(!host.collect(&listed(state, status), &run));

        let mut host = Host::new();
        host.now = 10;
        host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
        assert!(!host.collect(&listed(state, status), &json!({})));
        assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
        assert_eq!(host.news(), [3]);
    }
    // What its error tells is why it could not be removed.
    let mut host = Host::new();
    host.now = 10;
    let mut stuck = inspect("dead", 3, 2, 5);
    stuck["State"]["Error"] = "unable to remove filesystem".into();
    host.collect(&listed("dead", "Dead"), &stuck);
    assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
    // One that is removed before it ever ran.
    let mut host = Host::new();
    let unborn = json!({"State": {"Status": "removing", "ExitCode": 0}});
    host.collect(&listed("removing", "Removal In Progress"), &unborn);
    assert_eq!(host.exits(), [""; 0]);
}

#[test]
fn what_cannot_be_inspected_is_shown_as_far_as_the_listing_tells() {
    let mut host = Host::new();
    let stopped = listed("exited", "Exited (143) 5 seconds ago");
    assert_eq!(host.list(std::slice::from_ref(&stopped)), ["c1"]);
    host.ledger.not_inspected("c1", NotInspected::Failed);
    assert_eq!(host.exits(), ["web 143 signaled"]);
    assert_eq!(host.news(), [143]);
    assert!(host.labels()[0].contains(r#"image="nginx",name="web""#));
    // It is tried again, ever more rarely, and found out later: that is no news.
    let mut tried = 0;
    for _ in 0..64 {
        if !host.list(std::slice::from_ref(&stopped)).is_empty() {
            host.ledger.not_inspected("c1", NotInspected::Failed);
            tried += 1;
        }
    }
    assert_eq!(tried, 6);
    assert_eq!(host.news(), [0; 0]);
    for _ in 0..64 {
        host.collect(&stopped, &inspect("exited", 143, 2, 5));
    }
    assert_eq!(host.exits(), ["web 143 signaled at 5 after 3"]);
    assert_eq!(host.news(), [0; 0]);
}

#[test]
fn what_is_gone_before_its_inspect_is_not_asked_for_again() {
    let mut host = Host::new();
    let stopped = listed("exited", "Exited (5) 1 second ago");
    host.list(std::slice::from_ref(&stopped));
    host.ledger.not_inspected("c1", NotInspected::Gone);
    assert_eq!(host.exits(), ["web 5 error"]);
    assert_eq!(host.list(&[stopped]), [""; 0]);
}

#[test]
fn containers_that_failed_to_be_inspected_come_last_and_postponed_ones_do_not() {
    let mut host = Host::new();
    let all = ["a", "b", "c"]
        .map(|id| json!({"Id": id, "State": "exited", "Status": "Exited (1) 2 minutes ago"}));
    assert_eq!(host.list(&all), ["a", "b", "c"]);
    host.ledger.not_inspected("a", NotInspected::Failed);
    host.ledger.not_inspected("b", NotInspected::Postponed);
    host.ledger.not_inspected("c", NotInspected::Postponed);
    assert_eq!(host.exits().len(), 3);
    assert_eq!(host.list(&all), ["b", "c", "a"]);
}

#[test]
fn a_removed_containers_exit_stays_for_the_retention() {
    let mut host = Host::with_retention(60);
    host.now = 10;
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    host.news();
    host.now = 25;
    host.list(&[]);
    assert_eq!(host.exits().len(), 1);
    assert_eq!(host.ledger.next_expiry(), Some(Duration::from_secs(85)));
    assert!(!host.ledger.expire(Duration::from_secs(84)));
    assert!(host.ledger.expire(Duration::from_secs(85)));
    assert_eq!(host.exits(), [""; 0]);
    assert_eq!(host.ledger.next_expiry(), None);
}

#[test]
fn without_retention_it_leaves_at_once() {
    let mut host = Host::with_retention(0);
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    host.news();
    host.list(&[]);
    assert_eq!(host.exits(), [""; 0]);
}

#[test]
fn a_container_that_is_listed_again_is_not_gone() {
    let mut host = Host::with_retention(60);
    host.now = 10;
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
    host.list(&[]);
    host.now = 20;
    assert!(!host.collect(&listed("exited", "Exited (3) 15 seconds ago"), &run));
    assert!(!host.ledger.expire(Duration::from_secs(1000)));
}

#[test]
fn labels_follow_the_name_the_configured_image_and_the_cgroup() {
    let mut host = Host::new();
    host.now = 10;
    let mut run = inspect("exited", 3, 2, 5);
    run["Config"] = json!({"Image": "nginx:1.27", "Labels": {"a": "1"}});
    run["HostConfig"] = json!({"CgroupParent": "/custom"});
    let mut listed = listed("exited", "Exited (3) 5 seconds ago");
    listed["Labels"] = json!({"a": "1"});
    // The tag has moved on, so the listing has the image's id.
    listed["Image"] = "sha256:315aa9d82e21".into();
    host.collect(&listed, &run);
    let labels = r#"container_label_a="1",id="/custom/c1",image="nginx:1.27",name="web""#;
    assert_eq!(host.labels(), [labels]);
    host.collect(&listed, &run);
    assert_eq!(host.labels(), [labels]);

    listed["Names"] = json!(["/renamed"]);
    host.collect(&listed, &run);
    assert_eq!(host.labels(), [labels.replace("web", "renamed")]);

    let systemd = Info {
        cgroup_driver: "systemd".into(),
        ..Info::default()
    };
    host.ledger.set_layout(Layout::of(&systemd));
    host.list(&[listed]);
    let labels =
        r#"container_label_a="1",id="/custom/docker-c1.scope",image="nginx:1.27",name="renamed""#;
    assert_eq!(host.labels(), [labels]);
}

#[test]
fn a_new_layout_leaves_no_exit_without_labels() {
    let mut host = Host::new();
    host.now = 10;
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    host.list(&[]);
    let systemd = Info {
        cgroup_driver: "systemd".into(),
        ..Info::default()
    };
    host.ledger.set_layout(Layout::of(&systemd));
    host.list(&[]);
    assert_eq!(
        host.labels(),
        [r#"id="/docker/c1",image="nginx",name="web""#]
    );
}

#[test]
fn an_id_that_stands_twice_counts_once() {
    let mut host = Host::new();
    let stopped = listed("exited", "Exited (3) 5 seconds ago");
    assert_eq!(host.list(&[stopped.clone(), stopped]), ["c1"]);
    let states: Vec<_> = host
        .ledger
        .states()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(states.len(), 1);
    assert_eq!(states[0].1, 1);
}

#[test]
fn recorded_oddities() {
    for (name, want) in [
        ("exit255-after-crash", &["rb-a 255 error"][..]),
        ("start-failed-network", &["rb-netfail 128 start_failed"]),
        ("removing", &["rb-big 0 completed"]),
        (
            "swarm-task",
            &["rb-svc.1.f73pimw6fqbm59vr7n2r0c180 42 error"],
        ),
        // Its child was killed for want of memory; it runs on.
        ("oom-child-still-running", &[]),
    ] {
        let read = |kind: &str| -> Value {
            let file = format!("fixtures/extra/{name}.{kind}.json");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            match value {
                Value::Array(elements) => elements[0].clone(),
                value => value,
            }
        };
        let mut host = Host::new();
        let inspected = host.collect(&read("list"), &read("inspect"));
        assert_eq!(inspected, !want.is_empty(), "{name}");
        assert_eq!(host.exits_without_times(), want, "{name}");
    }
}

#[test]
fn what_ended_before_the_start_is_not_counted_however_late_it_is_told() {
    let mut host = Host::new();
    host.now = 10;
    // It ended five seconds before the exporter's start.
    let run = inspect("exited", 3, -8, -5);
    host.collect(&listed("exited", "Exited (3) 15 seconds ago"), &run);
    let uptime = Duration::from_secs(10);
    let news = host.ledger.tell(uptime, true);
    assert_eq!(news.len(), 1);
    assert!(news[0].before_the_start);
    assert!(!host.ledger.keeps_something_back());
    let counted: u64 = host.ledger.workloads().iter().flat_map(|(_, it)| it).sum();
    assert_eq!(counted, 0);
}

#[test]
fn what_a_listing_found_is_kept_back_while_its_event_may_come() {
    let mut host = Host::new();
    host.list(&[]);
    host.now = 10;
    host.collect(
        &listed("exited", "Exited (137) 5 seconds ago"),
        &inspect("exited", 137, 2, 5),
    );
    assert_eq!(host.exits(), ["web 137 signaled at 5 after 3"]);
    let tell = |host: &mut Host, seconds, events_come| {
        host.ledger
            .tell(Duration::from_secs(seconds), events_come)
            .len()
    };
    assert_eq!(tell(&mut host, 10, true), 0);
    assert!(host.ledger.keeps_something_back());
    assert_eq!(tell(&mut host, 19, true), 0);
    assert_eq!(tell(&mut host, 20, true), 1);
    assert_eq!(tell(&mut host, 21, true), 0);
}

#[test]
fn the_last_moment_that_there_is_ends_nothing() {
    let mut host = Host::new();
    let mut run = inspect("exited", 3, 2, 5);
    run["State"]["StartedAt"] = "9999-12-30T22:00:00.999999999Z".into();
    run["State"]["FinishedAt"] = "9999-12-30T22:00:00.999999999Z".into();
    let text = run.to_string();
    for followed in [false, true] {
        host.list(&[listed("exited", "Exited (3) 5 seconds ago")]);
        let inspected = Inspected::parse(&text).unwrap();
        host.ledger.inspected("c1", &inspected, at(0), followed);
        host.news();
    }
    assert_eq!(host.exits_without_times(), ["web 3 error"]);
}

/// Events of one container, at seconds of the test.
fn event(action: &str, second: i64, more: &Value) -> Event {
    let nanos = i64::try_from(at(second).as_nanosecond()).unwrap();
    let mut attributes = json!({"name": "web", "image": "nginx"});
    for (key, value) in more.as_object().unwrap() {
        attributes[key] = value.clone();
    }
    let line = json!({"Type": "container", "Action": action, "timeNano": nanos,
                      "Actor": {"ID": "c1", "Attributes": attributes}});
    Event::parse(&line.to_string()).unwrap().unwrap()
}

impl Host {
    /// Takes in an event of a container that nobody can inspect.
    fn happen(&mut self, action: &str, second: i64, more: &Value) {
        let uptime = Duration::from_secs(self.now.unsigned_abs());
        if self.ledger.happened(&event(action, second, more), uptime) {
            self.ledger.not_inspected("c1", NotInspected::Gone);
        }
    }
}

#[test]
fn an_exit_that_is_kept_back_keeps_nobody_awake() {
    let mut host = Host::with_retention(0);
    host.list(&[]);
    host.now = 10;
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.ledger.tell(Duration::from_secs(10), true).len(), 0);
    host.list(&[]);
    assert!(!host.ledger.expire(Duration::from_secs(11)));
    assert_eq!(host.ledger.next_expiry(), None);
}

#[test]
fn a_repeated_event_from_before_the_start_is_not_counted() {
    let mut host = Host::new();
    host.happen("start", -20, &json!({}));
    host.happen("die", -10, &json!({"exitCode": "3"}));
    host.happen("start", 5, &json!({}));
    host.happen("die", 6, &json!({"exitCode": "4"}));
    let news = host.ledger.tell(Duration::ZERO, false);
    let before: Vec<_> = news
        .iter()
        .map(|news| (news.exit.code, news.before_the_start))
        .collect();
    assert_eq!(before, [(3, true), (4, false)]);
    let counted: u64 = host.ledger.workloads().iter().flat_map(|(_, it)| it).sum();
    assert_eq!(counted, 1);
}

#[test]
fn a_start_that_comes_after_its_end_starts_nothing() {
    let mut host = Host::new();
    host.happen("create", 1, &json!({}));
    host.happen("die", 6, &json!({"exitCode": "4"}));
    host.happen("start", 5, &json!({}));
    assert_eq!(host.exits_without_times(), ["web 4 error"]);
}

#[test]
fn an_exit_that_is_not_told_yet_survives_the_loss_of_the_next() {
    let mut host = Host::new();
    host.happen("start", 1, &json!({}));
    host.happen("die", 2, &json!({"exitCode": "4"}));
    host.happen("start", 3, &json!({}));
    host.happen("destroy", 4, &json!({}));
    assert_eq!(host.news(), [4]);
    assert_eq!(host.ledger.lost(), 1);
}

#[test]
fn of_very_many_removed_containers_the_oldest_exits_leave_first() {
    let mut host = Host::new();
    for number in 0..5_010_u64 {
        let mut die = event("die", 1, &json!({"exitCode": "4"}));
        let mut destroy = event("destroy", 1, &json!({}));
        die.id = format!("c{number:05}");
        destroy.id.clone_from(&die.id);
        let uptime = Duration::from_millis(number);
        host.ledger.happened(&die, uptime);
        host.ledger.not_inspected(&die.id, NotInspected::Gone);
        host.ledger.happened(&destroy, uptime);
        host.ledger.tell(uptime, false);
    }
    assert!(host.ledger.expire(Duration::from_secs(6)));
    let ids: Vec<_> = host.ledger.exits().map(|entry| entry.id).collect();
    assert_eq!((ids.len(), ids[0]), (5_000, "c00010"));
    let counted: u64 = host.ledger.workloads().iter().flat_map(|(_, it)| it).sum();
    assert_eq!(counted, 5_010);
}

#[test]
fn an_exit_that_is_kept_back_survives_the_disappearance_of_its_container() {
    let mut host = Host::new();
    host.list(&[]);
    host.now = 10;
    host.collect(
        &listed("exited", "Exited (4) 5 seconds ago"),
        &inspect("exited", 4, 2, 5),
    );
    assert_eq!(host.ledger.tell(Duration::from_secs(10), true).len(), 0);
    host.now = 12;
    host.list(&[listed("running", "Up 1 second")]);
    // It is gone, and its events do not come.
    for now in [15, 19] {
        host.now = now;
        let taken = Taken {
            asked: at(now),
            answered: at(now),
            uptime: Duration::from_secs(now.unsigned_abs()),
            events_followed: true,
        };
        host.ledger.listed(&[], taken);
    }
    assert_eq!(host.news(), [4]);
    assert_eq!(host.ledger.lost(), 1);
}

#[test]
fn events_that_are_repeated_are_counted_once() {
    let mut host = Host::new();
    for _ in 0..3 {
        for (second, code) in [(10, "3"), (20, "4"), (30, "5")] {
            host.happen("start", second - 5, &json!({}));
            host.happen("kill", second - 1, &json!({"signal": "15"}));
            host.happen("die", second, &json!({"exitCode": code}));
        }
        host.ledger.tell(Duration::ZERO, false);
    }
    let counted: u64 = host.ledger.workloads().iter().flat_map(|(_, it)| it).sum();
    assert_eq!(counted, 3);
    assert_eq!(host.exits(), ["web 5 stopped at 30 after 5"]);
}

#[test]
fn containers_that_only_events_tell_of_have_an_end() {
    let mut host = Host::new();
    let nobody = |number: i64, action: &str| {
        let mut event = event(action, 1, &json!({"exitCode": "3"}));
        event.id = format!("{number:064x}");
        event
    };
    // Those that are removed do not count.
    for number in 0..30_000 {
        for action in ["die", "destroy"] {
            let event = nobody(number, action);
            host.ledger.happened(&event, Duration::ZERO);
        }
    }
    assert_eq!(host.ledger.lost(), 0);
    for number in 100_000..125_000 {
        let event = nobody(number, "die");
        host.ledger.happened(&event, Duration::ZERO);
    }
    assert_eq!(host.ledger.lost(), 5000);
    // No listing has them, so there is room for others.
    host.now = 60;
    host.list(&[]);
    let event = nobody(200_000, "die");
    host.ledger.happened(&event, Duration::from_secs(60));
    assert_eq!(host.ledger.lost(), 5000);
}

#[test]
fn a_clock_that_goes_back_hides_no_exit_and_counts_none_twice() {
    let mut host = Host::new();
    host.now = 5000;
    host.happen("start", 4990, &json!({}));
    host.happen("die", 5000, &json!({"exitCode": "3"}));
    host.ledger.tell(Duration::ZERO, false);
    // An hour back: to Docker the end is still to come, and so it says of its age.
    host.now = 1400;
    for _ in 0..3 {
        host.now += 15;
        host.list(&[listed("exited", "Exited (3) Less than a second ago")]);
        host.ledger.tell(Duration::ZERO, false);
    }
    let counted = |host: &Host| -> u64 {
        let workloads = host.ledger.workloads();
        workloads.iter().flat_map(|(_, exits)| exits).sum()
    };
    assert_eq!(counted(&host), 1);
    host.happen("start", 1450, &json!({}));
    host.happen("die", 1460, &json!({"exitCode": "4"}));
    host.ledger.tell(Duration::ZERO, false);
    assert_eq!(counted(&host), 2);
}
