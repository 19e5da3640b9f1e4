//! Labels of the series.

use serde_json::{Value, json};

use super::support::{TestHost, inspect, listed};
use crate::cgroup::Layout;
use crate::engine::Info;

#[test]
fn labels_follow_the_name_the_configured_image_and_the_cgroup() {
    let mut host = TestHost::new();
    host.ledger.set_layout(Some(Layout::default()));
    let mut run = inspect("exited", 3, 2, 5);
    run["Config"] = json!({"Image": "nginx:1.27", "Labels": {"a": "1"}});
    run["HostConfig"] = json!({"CgroupParent": "/custom"});
    let mut listed = listed("exited", "Exited (3) 5 seconds ago");
    listed["Labels"] = json!({"a": "1"});
    // The tag has moved, so the listing shows the image's id.
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
fn the_label_id_is_added_when_the_layout_is_known_even_after_removal() {
    let mut host = TestHost::new();
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
fn a_container_without_name_or_image_is_shown_with_its_cgroup() {
    let mut host = TestHost::new();
    let mut listed = listed("exited", "Exited (3) 5 seconds ago");
    let mut run = inspect("exited", 3, 2, 5);
    (listed["Names"], listed["Image"]) = (Value::Null, Value::Null);
    run["Config"] = Value::Null;
    host.collect(&listed, &run);
    host.ledger.set_layout(Some(Layout::default()));
    assert_eq!(host.labels(), [r#"id="/docker/c1""#]);
}

#[test]
fn a_new_layout_renders_the_labels_again() {
    let mut host = TestHost::new();
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
