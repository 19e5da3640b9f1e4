//! What is known of containers, listing after listing: no socket, no clock.

use std::fs;
use std::path::Path;
use std::time::Duration;

use docker_exit_exporter::cgroup::Layout;
use docker_exit_exporter::engine::{Event, Info, Inspected, listing};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{
    Asking, Entry, EventsCome, Exit, Ledger, Next, NotInspected, Now,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A ledger with a clock of its own, told what Docker would say.
struct Host {
    ledger: Ledger,
    /// Seconds since the start of the test.
    now: i64,
    /// How many seconds the Engine's clock is ahead of where it was at the start.
    ahead: i64,
}

impl Host {
    fn new() -> Self {
        Self::with_retention(300)
    }

    fn with_retention(seconds: u64) -> Self {
        Self {
            ledger: Ledger::new(Filter::default(), Duration::from_secs(seconds), at(0)),
            now: 10,
            ahead: 0,
        }
    }

    fn time(&self) -> Now {
        Now {
            uptime: Duration::from_secs(self.now.unsigned_abs()),
            engine: at(self.now + self.ahead),
            error: SignedDuration::ZERO,
        }
    }

    fn asking(&self) -> Asking {
        Asking {
            asked: self.time(),
            answered: self.time(),
        }
    }

    /// Lists these containers and returns which are to be inspected.
    fn list(&mut self, containers: &[Value]) -> Vec<Box<str>> {
        let text = Value::Array(containers.to_vec()).to_string();
        let times = self.asking();
        let pending = self.ledger.apply_listing(&listing(&text).unwrap(), &times);
        // A scrape takes new workloads at once.
        self.ledger.shown(u64::MAX);
        [pending.new, pending.unexplained, pending.created].concat()
    }

    /// Takes in an inspect of the container with this id.
    fn inspect(&mut self, id: &str, inspect: &Value) {
        let inspected = Inspected::parse(&inspect.to_string()).unwrap();
        let times = self.asking();
        self.ledger.apply_inspect(id, &inspected, &times);
    }

    /// Takes in that the container with this id could not be inspected.
    fn fail(&mut self, id: &str, why: NotInspected) -> bool {
        let now = self.time();
        self.ledger.inspect_failed(id, why, now)
    }

    /// Lists one container, inspects it if it is to be, and returns whether it was.
    fn collect(&mut self, listed: &Value, inspect: &Value) -> bool {
        let pending = self.list(std::slice::from_ref(listed));
        for id in &pending {
            self.inspect(id, inspect);
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
                let mut text = match exit.code {
                    Some(code) => format!("{} {code} {}", entry.name, exit.reason.name()),
                    None => format!("{} ?", entry.name),
                };
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

    /// The codes of what is reported now, where no events come.
    fn news(&mut self) -> Vec<i64> {
        self.report(EventsCome::Never)
    }

    fn report(&mut self, events: EventsCome) -> Vec<i64> {
        let now = self.time();
        let news = self.ledger.report(now, events).into_iter();
        news.map(|news| news.exit.code.unwrap()).collect()
    }

    /// How many exits are counted, of all workloads and reasons.
    fn counted(&self) -> u64 {
        let workloads = self.ledger.workloads();
        workloads.iter().flat_map(|(_, counts)| counts.exits).sum()
    }

    fn labels(&self) -> Vec<&str> {
        self.ledger.exits().map(|entry| &**entry.labels).collect()
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
    let run = inspect("exited", 3, 2, 5);
    host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
    host.news();
    let runs = inspect("running", 0, 9, 5);
    for (state, is_inspected) in [("running", true), ("paused", false)] {
        assert_eq!(
            host.collect(&listed(state, "Up 1 second"), &runs),
            is_inspected
        );
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
    // No listing tells of it, so it is inspected now and then.
    host.now += 59;
    assert!(!host.collect(&listed, &created(127, "no such file")));
    host.now += 1;
    assert!(host.collect(&listed, &created(127, "no such file")));
    assert_eq!(host.exits(), ["web 127 start_failed"]);
    assert_eq!(host.news(), [127]);
    host.now += 60;
    assert!(host.collect(&listed, &created(127, "no such file")));
    assert_eq!(host.news(), [0; 0]);
    host.now += 60;
    assert!(host.collect(&listed, &created(126, "permission denied")));
    assert_eq!(host.news(), [126]);
    host.now += 60;
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
        let run = inspect(state, 3, 2, 5);
        assert!(host.collect(&listed(state, status), &run));
        assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
        assert!(!host.collect(&listed(state, status), &run));

        let mut host = Host::new();
        host.collect(&listed("exited", "Exited (3) 5 seconds ago"), &run);
        assert!(!host.collect(&listed(state, status), &json!({})));
        assert_eq!(host.exits(), ["web 3 error at 5 after 3"]);
        assert_eq!(host.news(), [3]);
    }
    // What its error tells is why it could not be removed.
    let mut host = Host::new();
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
    assert_eq!(host.list(std::slice::from_ref(&stopped)), ["c1".into()]);
    assert_eq!(host.exits(), [""; 0]);
    assert!(host.fail("c1", NotInspected::Failed));
    assert_eq!(host.exits(), ["web 143 signaled"]);
    // An inspect would tell more, and is asked for again.
    assert_eq!(host.news(), [0; 0]);
    assert!(host.labels()[0].contains(r#"image="nginx",name="web""#));
    assert_eq!(host.list(std::slice::from_ref(&stopped)), ["c1".into()]);
    assert!(host.fail("c1", NotInspected::Refused));
    assert_eq!(host.news(), [143]);
    // It may be found out later: that is no news.
    assert!(host.collect(&stopped, &inspect("exited", 143, -10, -5)));
    assert_eq!(host.exits(), ["web 143 signaled at -5 after 5"]);
    assert_eq!(host.news(), [0; 0]);
    assert!(!host.collect(&stopped, &json!({})));
}

#[test]
fn what_is_gone_before_its_inspect_is_not_asked_for_again() {
    let mut host = Host::new();
    let stopped = listed("exited", "Exited (5) 1 second ago");
    host.list(std::slice::from_ref(&stopped));
    assert!(!host.fail("c1", NotInspected::Gone));
    assert_eq!(host.exits(), ["web 5 error"]);
    assert!(host.list(&[stopped]).is_empty());
}

#[test]
fn a_removed_containers_exit_stays_for_the_retention() {
    let mut host = Host::with_retention(60);
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
    host.ledger.set_layout(Some(Layout::default()));
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
    host.ledger.set_layout(Layout::of(&systemd, None));
    host.list(&[listed]);
    let labels =
        r#"container_label_a="1",id="/custom/docker-c1.scope",image="nginx:1.27",name="renamed""#;
    assert_eq!(host.labels(), [labels]);
}

#[test]
fn an_id_is_left_out_until_it_is_known_and_shown_of_what_is_gone_by_then() {
    let mut host = Host::new();
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.labels(), [r#"image="nginx",name="web""#]);
    host.list(&[]);
    host.ledger.set_layout(Some(Layout::default()));
    assert_eq!(
        host.labels(),
        [r#"id="/docker/c1",image="nginx",name="web""#]
    );
}

#[test]
fn one_of_which_nothing_but_its_id_is_known_is_shown_once_its_cgroup_is() {
    let mut host = Host::new();
    let mut listed = listed("exited", "Exited (3) 5 seconds ago");
    let mut run = inspect("exited", 3, 2, 5);
    (listed["Names"], listed["Image"]) = (Value::Null, Value::Null);
    run["Config"] = Value::Null;
    host.collect(&listed, &run);
    host.ledger.set_layout(Some(Layout::default()));
    assert_eq!(host.labels(), [r#"id="/docker/c1""#]);
}

#[test]
fn a_new_layout_leaves_no_exit_without_labels() {
    let mut host = Host::new();
    host.ledger.set_layout(Some(Layout::default()));
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    host.list(&[]);
    let systemd = Info {
        cgroup_driver: "systemd".into(),
        ..Info::default()
    };
    host.ledger.set_layout(Layout::of(&systemd, None));
    host.list(&[]);
    assert_eq!(
        host.labels(),
        [r#"id="/system.slice/docker-c1.scope",image="nginx",name="web""#]
    );
}

#[test]
fn an_id_that_stands_twice_counts_once() {
    let mut host = Host::new();
    let stopped = listed("exited", "Exited (3) 5 seconds ago");
    assert_eq!(host.list(&[stopped.clone(), stopped]), ["c1".into()]);
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
    // It ended five seconds before the exporter's start.
    let run = inspect("exited", 3, -8, -5);
    host.collect(&listed("exited", "Exited (3) 15 seconds ago"), &run);
    let now = host.time();
    let news = host.ledger.report(now, EventsCome::Never);
    assert_eq!(news.len(), 1);
    assert!(news[0].before_the_start);
    assert!(host.ledger.report_at().is_none());
    assert_eq!(host.counted(), 0);
}

#[test]
fn what_a_listing_found_is_kept_back_while_its_event_may_come() {
    let mut host = Host::new();
    host.list(&[]);
    host.collect(
        &listed("exited", "Exited (137) 5 seconds ago"),
        &inspect("exited", 137, 2, 5),
    );
    assert_eq!(host.exits(), ["web 137 signaled at 5 after 3"]);
    for (now, events, want) in [
        (10, EventsCome::Now, 0),
        (12, EventsCome::Now, 0),
        (19, EventsCome::Soon, 0),
        (19, EventsCome::Now, 1),
        (20, EventsCome::Now, 0),
    ] {
        assert_eq!(host.ledger.report_at().is_some(), now < 20);
        host.now = now;
        assert_eq!(host.report(events).len(), want, "{now} {events:?}");
    }
}

#[test]
fn the_last_moment_that_there_is_ends_nothing() {
    let mut host = Host::new();
    let mut run = inspect("exited", 3, 2, 5);
    run["State"]["StartedAt"] = "9999-12-30T22:00:00.999999999Z".into();
    run["State"]["FinishedAt"] = "9999-12-30T22:00:00.999999999Z".into();
    for events in [EventsCome::Never, EventsCome::Now] {
        host.list(&[listed("exited", "Exited (3) 5 seconds ago")]);
        host.inspect("c1", &run);
        host.report(events);
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
    let mut line = json!({"Type": "container", "Action": action, "timeNano": nanos,
                          "Actor": {"ID": "c1", "Attributes": attributes}});
    if matches!(action, "connect" | "disconnect") {
        line["Type"] = "network".into();
        line["Actor"] = json!({"ID": "n1", "Attributes": {"container": "c1", "name": "bridge"}});
    }
    Event::parse(&line.to_string()).unwrap().unwrap()
}

impl Host {
    /// Takes in an event of a container that nobody can inspect.
    fn happen(&mut self, action: &str, second: i64, more: &Value) {
        self.happen_to(&event(action, second, more));
    }

    fn happen_to(&mut self, event: &Event) {
        let now = self.time();
        if self.ledger.apply_event(event, now) == Next::Inspect {
            self.fail(&event.id, NotInspected::Gone);
        }
    }
}

#[test]
fn an_exit_that_is_kept_back_keeps_nobody_awake() {
    let mut host = Host::with_retention(0);
    host.list(&[]);
    host.collect(
        &listed("exited", "Exited (3) 5 seconds ago"),
        &inspect("exited", 3, 2, 5),
    );
    assert_eq!(host.report(EventsCome::Now), [0; 0]);
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
    let now = host.time();
    let news = host.ledger.report(now, EventsCome::Never);
    let before: Vec<_> = news
        .iter()
        .map(|news| (news.exit.code, news.before_the_start))
        .collect();
    assert_eq!(before, [(Some(3), true), (Some(4), false)]);
    assert_eq!(host.counted(), 1);
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
        host.happen_to(&die);
        host.happen_to(&destroy);
        host.news();
    }
    assert!(host.ledger.expire(Duration::from_secs(6)));
    let ids: Vec<_> = host.ledger.exits().map(|entry| entry.id).collect();
    assert_eq!((ids.len(), &**ids[0]), (5_000, "c00010"));
    assert_eq!(host.counted(), 5_010);
}

#[test]
fn an_exit_that_is_kept_back_survives_the_disappearance_of_its_container() {
    let mut host = Host::new();
    host.list(&[]);
    host.collect(
        &listed("exited", "Exited (4) 5 seconds ago"),
        &inspect("exited", 4, 2, 5),
    );
    assert_eq!(host.report(EventsCome::Now), [0; 0]);
    host.now = 12;
    host.list(&[listed("running", "Up 1 second")]);
    // It is gone, and its events do not come.
    for now in [15, 19] {
        host.now = now;
        host.list(&[]);
        host.fail("c1", NotInspected::Gone);
    }
    assert_eq!(host.news(), [4]);
    assert_eq!(host.ledger.lost(), 1);
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
            host.happen_to(&event);
        }
    }
    assert_eq!(host.ledger.lost(), 0);
    for number in 100_000..125_000 {
        let event = nobody(number, "die");
        host.happen_to(&event);
    }
    assert_eq!(host.ledger.lost(), 5000);
    // No listing has them, but their inspects may.
    host.now = 60;
    let missing = host.list(&[]);
    host.now = 75;
    assert!(host.list(&[]).is_empty());
    host.happen_to(&nobody(200_000, "die"));
    assert_eq!(host.ledger.lost(), 5001);
    for id in missing {
        host.fail(&id, NotInspected::Gone);
    }
    // Now there is room for others.
    host.happen_to(&nobody(200_001, "die"));
    assert_eq!(host.ledger.lost(), 5001);
}

#[test]
fn a_clock_that_goes_back_hides_no_exit_and_counts_none_twice() {
    let mut host = Host::new();
    host.now = 5000;
    host.happen("start", 4990, &json!({}));
    host.happen("die", 5000, &json!({"exitCode": "3"}));
    host.news();
    // An hour back: to Docker the end is still to come, and so it says of its age.
    host.ahead = -3600;
    for _ in 0..3 {
        host.now += 15;
        host.list(&[listed("exited", "Exited (3) Less than a second ago")]);
        host.news();
    }
    assert_eq!(host.counted(), 1);
    host.now += 15;
    host.happen("start", 1450, &json!({}));
    host.happen("die", 1460, &json!({"exitCode": "4"}));
    host.news();
    assert_eq!(host.counted(), 2);
}

/// A piece of evidence.
#[derive(Debug, Clone, Copy)]
enum Told {
    /// An event that was made at this second; of a `die` event with this code.
    Event(&'static str, i64, i64),
    /// A listing with this state and status.
    Listed(&'static str, &'static str),
    /// A listing without the container.
    Missing,
    /// An inspect with this state and code, of a run between these seconds.
    Inspect(&'static str, i64, i64, i64),
    /// The same of a start that was refused.
    Refused(&'static str, i64, i64, i64),
    /// There was no inspect.
    No(NotInspected),
}

/// The code of a `die` event that a Docker label hides.
const NO_CODE: i64 = -1;

impl Host {
    fn tell(&mut self, told: Told) {
        match told {
            Told::Event(action, second, code) => {
                let more = match action {
                    "die" if code == NO_CODE => json!({"exitCode": "a label's"}),
                    "die" => json!({"exitCode": code.to_string()}),
                    "kill" => json!({"signal": code.to_string()}),
                    _ => json!({}),
                };
                let now = self.time();
                self.ledger.apply_event(&event(action, second, &more), now);
            }
            Told::Listed(state, status) => {
                self.list(&[listed(state, status)]);
            }
            Told::Missing => {
                self.list(&[]);
            }
            Told::Inspect(state, code, started, finished) => {
                self.inspect("c1", &inspect(state, code, started, finished));
            }
            Told::Refused(state, code, started, finished) => {
                let mut inspect = inspect(state, code, started, finished);
                inspect["State"]["Error"] = "not a directory".into();
                self.inspect("c1", &inspect);
            }
            Told::No(why) => {
                self.fail("c1", why);
            }
        }
    }

    /// All that is reported, each as `code reason`, by order of their codes.
    fn reports(&mut self, events: EventsCome) -> Vec<String> {
        let now = self.time();
        let reports = self.ledger.report(now, events).into_iter();
        let text = |exit: Exit| {
            let code = exit.code.map_or("?".to_owned(), |code| code.to_string());
            format!("{code} {}", exit.reason.name())
        };
        let mut all: Vec<_> = reports.map(|report| text(report.exit)).collect();
        all.sort();
        all
    }
}

/// Each case: what it is; what is told, with the second at which it comes; what is reported in the
/// end; how many runs are lost; and what is shown.
type Case = (
    &'static str,
    &'static [(i64, Told)],
    &'static [&'static str],
    u64,
    &'static str,
);

/// Every run is counted or lost, and no run is both, or twice.
fn each_run_counts_once(cases: &[Case]) {
    for (what, told, reported, lost, shown) in cases {
        let mut host = Host::new();
        host.now = 0;
        host.list(&[]);
        for (now, told) in *told {
            host.now = *now;
            host.tell(*told);
        }
        host.now += 150;
        let reports = host.reports(EventsCome::Now);
        assert_eq!(reports, *reported, "{what}: reported");
        assert_eq!(host.ledger.lost(), *lost, "{what}: lost");
        assert!(host.ledger.report_at().is_none(), "{what}: is open");
        let all = [host.exits(), host.last_exits()].concat();
        assert_eq!(all.join(" "), *shown, "{what}: shown");
    }
}

#[test]
fn which_run_an_event_is_evidence_of() {
    use NotInspected::Gone;
    use Told::{Event, Inspect, Listed, No};
    each_run_counts_once(&[
        (
            "an event and its inspect",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (5, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "an event after its inspect",
            &[
                (1, Event("start", 1, 0)),
                (5, Inspect("exited", 3, 1, 5)),
                (6, Event("die", 5, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "an event after the inspect of the next run",
            &[
                (1, Event("start", 1, 0)),
                (12, Inspect("exited", 4, 10, 12)),
                (13, Event("die", 5, 3)),
                (13, Event("start", 10, 0)),
                (13, Event("die", 12, 4)),
            ],
            &["3 error", "4 error"],
            0,
            "web 4 error at 12 after 2",
        ),
        (
            "an event after the listing's word for it",
            &[
                (1, Event("start", 1, 0)),
                (16, Listed("exited", "Exited (3) 1 second ago")),
                (16, No(Gone)),
                (17, Event("die", 15, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error",
        ),
        (
            "a run after that of the listing",
            &[
                (1, Event("start", 1, 0)),
                (16, Listed("exited", "Exited (3) 1 second ago")),
                (16, No(Gone)),
                (17, Event("die", 15, 3)),
                (20, Event("start", 20, 0)),
                (21, Event("die", 21, 3)),
            ],
            &["3 error", "3 error"],
            0,
            "web 3 error at 21 after 1",
        ),
        (
            "a start without the end before",
            &[
                (1, Event("start", 1, 0)),
                (10, Event("start", 10, 0)),
                (12, Event("die", 12, 4)),
            ],
            &["4 error"],
            1,
            "web 4 error at 12 after 2",
        ),
        (
            "a start before the end of the run before",
            &[
                (1, Event("start", 1, 0)),
                (10, Event("start", 10, 0)),
                (10, Event("die", 8, 3)),
                (12, Event("die", 12, 4)),
            ],
            &["3 error", "4 error"],
            0,
            "web 4 error at 12 after 2",
        ),
    ]);
}

#[test]
fn what_led_to_an_end_is_told_by_events() {
    use Told::Event;
    each_run_counts_once(&[
        (
            "a signal that is told after the end",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 143)),
                (5, Event("kill", 4, 15)),
            ],
            &["143 stopped"],
            0,
            "web 143 stopped at 5 after 4",
        ),
        (
            "a stop of what is not healthy",
            &[
                (1, Event("start", 1, 0)),
                (2, Event("health_status: unhealthy", 2, 0)),
                (4, Event("kill", 4, 15)),
                (5, Event("die", 5, 143)),
            ],
            &["143 unhealthy"],
            0,
            "web 143 unhealthy at 5 after 4",
        ),
        (
            "a stop of what is healthy again",
            &[
                (1, Event("start", 1, 0)),
                (2, Event("health_status: unhealthy", 2, 0)),
                (3, Event("health_status: healthy", 3, 0)),
                (4, Event("kill", 4, 15)),
                (5, Event("die", 5, 143)),
            ],
            &["143 stopped"],
            0,
            "web 143 stopped at 5 after 4",
        ),
    ]);
}

#[test]
fn what_ends_with_its_container_counts_once() {
    use NotInspected::{Failed, Gone, Refused};
    use Told::{Event, Inspect, Listed, Missing, No};
    const START: (i64, Told) = (1, Event("start", 1, 0));
    each_run_counts_once(&[
        (
            "a removal without the end before",
            &[(1, Event("start", 1, 0)), (10, Event("destroy", 10, 0))],
            &[],
            1,
            "",
        ),
        (
            "a removal before the end",
            &[
                (1, Event("start", 1, 0)),
                (10, Event("destroy", 10, 0)),
                (10, Event("die", 9, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 9",
        ),
        (
            "one that ran and is missing",
            &[START, (30, Missing), (30, No(Gone))],
            &[],
            1,
            "",
        ),
        (
            "one that only a listing lacks",
            &[
                START,
                (30, Missing),
                (30, Inspect("running", 0, 1, -9)),
                (45, Missing),
                (45, Inspect("running", 0, 1, -9)),
                (160, Missing),
                (175, Listed("running", "Up 2 minutes")),
            ],
            &[],
            0,
            "",
        ),
        (
            "one that a listing lacks for once, and nobody may inspect",
            &[
                START,
                (30, Missing),
                (30, No(Refused)),
                (45, Listed("running", "Up 44 seconds")),
                (160, Missing),
            ],
            &[],
            0,
            "",
        ),
        (
            "one that listings lack for two minutes, and nobody can inspect",
            &[START, (30, Missing), (31, No(Failed)), (150, Missing)],
            &[],
            1,
            "",
        ),
        (
            "the end of one that was missing",
            &[
                START,
                (30, Missing),
                (30, No(Gone)),
                (31, Event("die", 20, 3)),
                (31, Event("destroy", 20, 0)),
            ],
            &["3 error"],
            0,
            "web 3 error at 20 after 19",
        ),
    ]);
}

#[test]
fn which_run_an_inspect_is_evidence_of() {
    use Told::{Event, Inspect};
    each_run_counts_once(&[
        (
            "the run that is known to run",
            &[
                (1, Event("start", 1, 0)),
                (5, Inspect("running", 0, 1, -9)),
                (9, Event("die", 9, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 9 after 8",
        ),
        (
            "a later run that runs, so the one before has ended",
            &[
                (1, Event("start", 1, 0)),
                (12, Inspect("running", 0, 10, 8)),
            ],
            &[],
            1,
            "", // Until a listing tells its labels.
        ),
        (
            "a later run that runs, and the end of the one before",
            &[
                (1, Event("start", 1, 0)),
                (12, Inspect("running", 0, 10, 8)),
                (13, Event("die", 8, 3)),
                (13, Event("start", 10, 0)),
            ],
            &["3 error"],
            0,
            "web 3 error at 8 after 7",
        ),
        (
            "a run before the last one",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (8, Event("start", 8, 0)),
                (9, Event("die", 9, 4)),
                (9, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error", "4 error"],
            0,
            "web 4 error at 9 after 1",
        ),
        (
            "the run before the one that runs",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (8, Event("start", 8, 0)),
                (8, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
    ]);
}

#[test]
fn whether_two_inspects_are_of_one_run() {
    use Told::{Event, Inspect, Refused};
    each_run_counts_once(&[
        (
            "the same run again",
            &[
                (0, Event("create", 0, 0)),
                (5, Inspect("exited", 3, 1, 5)),
                (9, Inspect("exited", 3, 1, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "two runs with one code",
            &[
                (0, Event("create", 0, 0)),
                (5, Inspect("exited", 3, 1, 5)),
                (9, Inspect("exited", 3, 7, 9)),
            ],
            &["3 error", "3 error"],
            0,
            "web 3 error at 9 after 2",
        ),
        (
            "a start that was refused after a run",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (5, Inspect("exited", 3, 1, 5)),
                (9, Refused("exited", 127, 1, 5)),
            ],
            &["127 start_failed", "3 error"],
            0,
            "web 127 start_failed",
        ),
        (
            "the same again",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (9, Refused("exited", 127, 1, 5)),
                (12, Refused("exited", 127, 1, 5)),
            ],
            &["127 start_failed", "3 error"],
            0,
            "web 127 start_failed",
        ),
    ]);
}

#[test]
fn which_run_a_listing_is_evidence_of() {
    use Told::{Event, Inspect, Listed, No};
    each_run_counts_once(&[
        (
            "one that nothing else tells of",
            &[
                (20, Listed("exited", "Exited (3) 15 seconds ago")),
                (20, No(NotInspected::Refused)),
            ],
            &["3 error"],
            0,
            "web 3 error",
        ),
        (
            "one that an inspect explains later",
            &[
                (20, Listed("exited", "Exited (3) 15 seconds ago")),
                (20, No(NotInspected::Refused)),
                (60, Inspect("exited", 3, 2, 5)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 3",
        ),
        (
            "the run that an event told of",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (20, Listed("exited", "Exited (3) 15 seconds ago")),
                (20, No(NotInspected::Refused)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "a run after that of the last event",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (60, Listed("exited", "Exited (3) 15 seconds ago")),
                (60, No(NotInspected::Refused)),
            ],
            &["3 error", "3 error"],
            0,
            "web 3 error",
        ),
        (
            "a moment before the last event",
            &[
                (1, Event("start", 1, 0)),
                (5, Event("die", 5, 3)),
                (8, Event("start", 8, 0)),
                (9, Listed("exited", "Exited (3) 4 seconds ago")),
                (9, No(NotInspected::Refused)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 4",
        ),
        (
            "another run than the one of a listing before",
            &[
                (20, Listed("running", "Up 19 seconds")),
                (100, Listed("running", "Up 30 seconds")),
                (100, No(NotInspected::Refused)),
            ],
            &[],
            1,
            "web ?",
        ),
        (
            "another run than the one whose start an event told",
            &[
                (1, Event("start", 1, 0)),
                (100, Listed("running", "Up 30 seconds")),
                (100, No(NotInspected::Refused)),
            ],
            &[],
            1,
            "web ?",
        ),
    ]);
}

#[test]
fn an_exit_that_a_listing_showed_is_not_forgotten_if_the_next_one_lacks_it() {
    use NotInspected::Gone;
    use Told::{Listed, Missing, No};
    each_run_counts_once(&[(
        "one that is removed before it is inspected",
        &[
            (20, Listed("exited", "Exited (3) 15 seconds ago")),
            (35, Missing),
            (36, No(Gone)),
        ],
        &["3 error"],
        0,
        "web 3 error",
    )]);
}

#[test]
fn a_run_that_a_listing_showed_is_not_forgotten_if_the_next_one_lacks_it() {
    use NotInspected::Gone;
    use Told::{Inspect, Listed, Missing, No};
    each_run_counts_once(&[(
        "one that runs again and is removed before it is inspected",
        &[
            (20, Listed("exited", "Exited (3) 15 seconds ago")),
            (20, Inspect("exited", 3, 2, 5)),
            (100, Listed("running", "Up 30 seconds")),
            (115, Missing),
            (116, No(Gone)),
        ],
        &["3 error"],
        1,
        "web ?",
    )]);
}

#[test]
fn a_start_that_failed_is_told_by_its_networks_alone() {
    use NotInspected::Gone;
    use Told::{Event, No, Refused};
    const CREATE: (i64, Told) = (1, Event("create", 1, 0));
    const CONNECT: (i64, Told) = (1, Event("connect", 1, 0));
    const DISCONNECT: (i64, Told) = (2, Event("disconnect", 2, 0));
    const DESTROY: (i64, Told) = (3, Event("destroy", 3, 0));
    each_run_counts_once(&[
        ("it was never started", &[CREATE, DESTROY], &[], 0, ""),
        (
            "its output was attached",
            &[CREATE, (1, Event("attach", 1, 0)), DESTROY],
            &["? start_failed"],
            0,
            "",
        ),
        (
            "it was connected",
            &[CREATE, CONNECT, DISCONNECT, (2, No(Gone)), DESTROY],
            &["? start_failed"],
            0,
            "",
        ),
        (
            "it was started after all",
            &[
                CREATE,
                CONNECT,
                DISCONNECT,
                CONNECT,
                (3, Event("start", 3, 0)),
                (5, Event("die", 5, 3)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 2",
        ),
        (
            "it was started before the inspect of what failed came",
            &[
                CREATE,
                CONNECT,
                DISCONNECT,
                (3, Event("start", 3, 0)),
                (3, Refused("created", 127, 0, 0)),
                (5, Event("die", 5, 3)),
            ],
            &["3 error", "? start_failed"],
            0,
            "web 3 error at 5 after 2",
        ),
        (
            "it was connected, started, and removed",
            &[
                CREATE,
                CONNECT,
                (3, Event("start", 3, 0)),
                (5, Event("die", 5, 3)),
                (5, Event("disconnect", 5, 0)),
                (6, Event("destroy", 6, 0)),
            ],
            &["3 error"],
            0,
            "web 3 error at 5 after 2",
        ),
    ]);
}

#[test]
fn runs_that_end_unseen_are_lost_however_many_they_are() {
    let mut host = Host::new();
    host.now = 0;
    host.list(&[]);
    for run in 1..=12 {
        host.now = 10 * run + 2;
        host.tell(Told::Event("rename", host.now, 0));
        host.tell(Told::Inspect("running", 0, 10 * run, 10 * run - 2));
    }
    host.now += 600;
    assert!(host.report(EventsCome::Now).is_empty());
    assert_eq!(host.ledger.lost(), 12);
}

#[test]
fn a_removal_does_not_hurry_the_inspect_that_tells_the_reason() {
    let mut host = Host::new();
    host.now = 0;
    host.list(&[]);
    host.ledger.set_podman(true);
    host.now = 5;
    for (action, second) in [("start", 1), ("die", 5), ("destroy", 5)] {
        host.tell(Told::Event(action, second, 137));
    }
    assert!(host.report(EventsCome::Now).is_empty());
    let mut inspect = inspect("exited", 137, 1, 5);
    inspect["State"]["OOMKilled"] = true.into();
    host.inspect("c1", &inspect);
    host.now += 10;
    assert_eq!(host.reports(EventsCome::Now), ["137 oom_killed"]);
}

#[test]
fn why_a_start_failed_is_told_by_the_first_inspect_that_works() {
    let mut host = Host::new();
    host.collect(
        &listed("exited", "Exited (0) 1 second ago"),
        &inspect("exited", 0, 1, 9),
    );
    host.now += 15;
    // It has the time of the run before.
    host.tell(Told::Listed("exited", "Exited (127) 16 seconds ago"));
    host.tell(Told::No(NotInspected::Refused));
    let error = |host: &Host| {
        let exit = host.ledger.exits().next().unwrap().exit.clone();
        (exit.reason.name(), exit.error)
    };
    assert_eq!(error(&host), ("start_failed", "".into()));
    host.tell(Told::Refused("exited", 127, 1, 9));
    assert_eq!(error(&host), ("start_failed", "not a directory".into()));
    assert_eq!(host.news().len(), 2);
}

#[test]
fn what_an_inspect_can_tell_is_waited_for() {
    // Podman alone leaves it to the inspect whether it was the OOM killer.
    for (podman, millis, code, counted) in [
        (false, 249, 137, false),
        (false, 250, 137, true),
        (false, 0, 0, true),
        (true, 119_999, 137, false),
        (true, 120_000, 137, true),
        (true, 0, 0, true),
    ] {
        let mut host = Host::new();
        host.ledger.set_podman(podman);
        host.list(&[]);
        host.tell(Told::Event("start", 9, 0));
        host.tell(Told::Event("die", 10, code));
        let now = host.time();
        let later = Now {
            uptime: now.uptime + Duration::from_millis(millis),
            ..now
        };
        let reports = host.ledger.report(later, EventsCome::Now);
        assert_eq!(reports.len() == 1, counted, "{podman} {millis} {code}");
    }
}

#[test]
fn an_inspect_tells_the_image_whose_tag_has_moved() {
    let mut host = Host::new();
    let mut running = listed("running", "Up 2 hours");
    running["Image"] = "sha256:315aa9d82e21".into();
    assert_eq!(host.list(std::slice::from_ref(&running)).len(), 1);
    host.inspect("c1", &inspect("running", 0, -7200, -9000));
    assert!(host.list(&[running]).is_empty());
}

#[test]
fn a_refused_start_that_a_listing_told_of_is_not_counted_again() {
    use NotInspected::Failed;
    use Told::{Event, Inspect, Listed, No, Refused};
    each_run_counts_once(&[
        (
            "one after a run that ended before its start, by its times",
            &[
                (2, Event("start", 2, 0)),
                (3, Event("die", 3, 0)),
                (3, Inspect("exited", 0, 2, 1)),
                (40, Listed("exited", "Exited (127) 39 seconds ago")),
                (40, No(Failed)),
                (46, Refused("exited", 127, 2, 0)),
            ],
            &["0 completed", "127 start_failed"],
            0,
            "web 127 start_failed",
        ),
        (
            "one that hides the run before, whose code a label hides",
            &[
                (2, Event("start", 2, 0)),
                (40, Listed("exited", "Exited (127) 10 seconds ago")),
                (40, No(Failed)),
                (41, Event("die", 30, NO_CODE)),
                (46, Refused("exited", 127, 1, 30)),
            ],
            &["127 start_failed"],
            1,
            "web 127 start_failed",
        ),
    ]);
}

#[test]
fn what_may_be_podman_waits_for_the_inspect_that_tells_of_the_oom_killer() {
    let mut host = Host::new();
    host.now = 0;
    host.list(&[]);
    host.now = 10;
    host.tell(Told::Event("start", 1, 0));
    host.tell(Told::Event("die", 10, 137));
    host.fail("c1", NotInspected::Failed);
    host.now = 14;
    assert!(host.reports(EventsCome::Now).is_empty());
    let mut killed = inspect("exited", 137, 1, 9);
    killed["State"]["OOMKilled"] = true.into();
    host.inspect("c1", &killed);
    assert_eq!(host.reports(EventsCome::Now), ["137 oom_killed"]);
}

#[test]
fn what_a_listing_lacks_is_inspected_if_that_can_tell_more() {
    let mut host = Host::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    // One that is hidden from listings is looked at once a minute.
    host.tell(Told::Event("start", 0, 0));
    for (now, looks) in [(15, true), (30, false), (60, false), (75, true)] {
        host.now = now;
        let is_asked = !host.list(&[]).is_empty();
        assert_eq!(is_asked, looks, "{now}");
        host.inspect("c1", &inspect("running", 0, 0, -9));
    }
    // The listing is too old to have this one.
    let mut host = Host::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    host.now = 30;
    host.tell(Told::Event("start", 30, 0));
    assert!(host.list(&[]).is_empty());
    // Its inspect is tried again, as long as it may be there.
    host.now = 45;
    host.tell(Told::Event("die", 44, 3));
    host.now = 46;
    host.list(&[listed("exited", "Exited (3) 2 seconds ago")]);
    assert!(host.fail("c1", NotInspected::Failed));
    host.now = 60;
    assert_eq!(host.list(&[]), ["c1".into()]);
    assert!(host.fail("c1", NotInspected::Failed));
    assert_eq!(host.reports(EventsCome::Now), ["3 error"]);
    // All is reported, so it is taken at its word.
    host.now = 75;
    assert!(host.list(&[]).is_empty());
    assert!(!host.fail("c1", NotInspected::Failed));
    // It was there all the time, and its inspect tells more than the event.
    host.now = 90;
    let listed = listed("exited", "Exited (3) 46 seconds ago");
    assert!(host.collect(&listed, &inspect("exited", 3, 30, 43)));
    assert_eq!(host.exits(), ["web 3 error at 43 after 13"]);
}

#[test]
fn reports_are_due_when_the_first_of_them_is() {
    let mut host = Host::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    assert_eq!(host.ledger.report_at(), None);
    host.now = 10;
    for (id, action, more) in [
        ("a", "die", json!({"exitCode": "3"})),
        // Only its inspect tells whether that signal asks it to stop.
        ("b", "kill", json!({"signal": "1"})),
        ("b", "die", json!({"exitCode": "129"})),
    ] {
        let mut event = event(action, 10, &more);
        event.id = id.to_owned();
        let now = host.time();
        host.ledger.apply_event(&event, now);
    }
    let at = |host: &mut Host| {
        let reports = host.reports(EventsCome::Now);
        (reports.join(" "), host.ledger.report_at())
    };
    let due = Some(Duration::from_millis(10_250));
    assert_eq!(at(&mut host), (String::new(), due));
    host.now = 11;
    let due = Some(Duration::from_secs(130));
    assert_eq!(at(&mut host), ("3 error".to_owned(), due));
    host.now = 130;
    assert_eq!(at(&mut host), ("129 signaled".to_owned(), None));
}

#[test]
fn what_is_left_to_report_beside_an_exit_is_due_in_its_turn() {
    let mut host = Host::new();
    host.ledger.set_podman(false);
    host.now = 0;
    host.list(&[]);
    host.now = 12;
    host.tell(Told::Event("start", 1, 0));
    // A run has ended unseen, and another with its event.
    host.inspect("c1", &inspect("running", 0, 10, 8));
    host.tell(Told::Event("die", 12, 3));
    host.fail("c1", NotInspected::Failed);
    assert_eq!(host.reports(EventsCome::Now), ["3 error"]);
    assert!(host.ledger.report_at() <= Some(Duration::from_secs(15)));
    host.now = 15;
    host.reports(EventsCome::Now);
    assert_eq!((host.ledger.report_at(), host.ledger.lost()), (None, 1));
}
