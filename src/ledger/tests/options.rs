//! Docker labels: those that configure the exporter, and those that are too many or too long.

use serde_json::{Map, Value, json};

use super::series::{SERVICE, host, pairs, task, tools_inspect};
use crate::cgroup::Layout;

/// The Docker label behind [`SERVICE`].
const SWARM: &str = "com.docker.swarm.service.name";

#[test]
fn an_ignored_container_is_neither_shown_nor_counted_nor_inspected() {
    let mut host = host();
    let ignored = json!({"docker-exit-exporter.ignore": "true"});
    host.container("c1", 1, &ignored, "exited", "Exited (3) 5 seconds ago");
    let mut of_service = task("web", "s1", "1", "t1");
    of_service["docker-exit-exporter.ignore"] = json!("True");
    host.container("c2", 1, &of_service, "running", "Up 5 seconds");
    assert_eq!(host.list_all(), [""; 0].map(Box::from));
    host.now = 12;
    let mut job = ignored.clone();
    job["name"] = json!("job");
    job["image"] = json!("tools:1");
    for action in ["create", "start", "oom", "die", "destroy"] {
        let mut attributes = job.clone();
        attributes["exitCode"] = json!("137");
        host.event_now("c3", action, &attributes);
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
    // A container known from a network event and an inspect alone is ignored too.
    let labels = json!({"Config": {"Image": "tools:1", "Labels": ignored}});
    host.event_now("c5", "disconnect", &json!({}));
    host.inspect("c5", &tools_inspect("exited", 3, 1, 2, &labels));
    assert_eq!(host.settle(), [""; 0]);
    assert_eq!(host.samples("container_exits_total"), [""; 0]);
    assert_eq!(host.samples("container_exit_code"), [""; 0]);
    // Other values of the label are ignored.
    host.container(
        "c4",
        1,
        &json!({"docker-exit-exporter.ignore": "1"}),
        "exited",
        "Exited (3) 5 seconds ago",
    );
    host.collect_all();
    assert_eq!(host.by_name("container_exit_code"), pairs(&[("c4", "3")]));
}

#[test]
fn an_exit_with_an_expected_code_is_completed_unless_someone_asked_for_it() {
    let mut host = host();
    let labels = json!({"docker-exit-exporter.expected-codes": "0, 3,143,x"});
    for (id, code) in [("c1", 3), ("c2", 143), ("c3", 4), ("c4", 143), ("c5", 127)] {
        let mut attributes = labels.clone();
        attributes["name"] = json!(id);
        attributes["image"] = json!("tools:1");
        host.event_now(id, "create", &attributes);
        host.event_now(id, "start", &attributes);
        if id == "c4" {
            attributes["signal"] = json!("15");
            host.event_now(id, "kill", &attributes);
        }
        attributes["exitCode"] = json!(code.to_string());
        host.event_now(id, "die", &attributes);
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
fn dropped_labels_are_counted_once_per_container() {
    let mut host = host();
    let labels = json!({
        "a": "x".repeat(3000), "b": "x".repeat(60_000), SWARM: "web", "k": "v",
    });
    let only_event = "e1";
    let mut started = labels.clone();
    started["name"] = "job".into();
    host.event_now(only_event, "start", &started);
    let mut died = labels.clone();
    died["exitCode"] = "3".into();
    host.event_now(only_event, "die", &died);
    host.event_now(only_event, "destroy", &labels);
    assert_eq!(host.ledger.dropped_labels().count, 2);
    for id in ["c1", "c2"] {
        host.container(id, 1, &labels, "exited", "Exited (3) 2 seconds ago");
    }
    for _ in 0..3 {
        host.collect_all();
        host.now += 15;
        assert_eq!(host.ledger.dropped_labels().count, 6);
        // Another layout does not count the labels again.
        host.ledger.set_layout(None);
        host.ledger.set_layout(Some(Layout::default()));
    }
    assert_eq!(host.ledger.dropped_labels().first_container, "job");
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
fn too_many_labels_hide_neither_the_service_nor_the_options() {
    let mut host = host();
    let mut many: Map<String, Value> = (0..2000)
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
    host.collect_all();
    let samples = host.samples("container_exit_reason");
    assert_eq!(samples.len(), 1, "{samples:?}");
    assert!(samples[0].contains(&format!("{SERVICE}=\"web\"")));
    assert!(samples[0].contains("reason=\"completed\""));
    assert!(samples[0].len() < 8 * 1024, "{}", samples[0].len());
    assert_eq!(
        host.ledger.dropped_labels().count,
        2002 - samples[0].matches("container_label_").count() as u64
    );
}
