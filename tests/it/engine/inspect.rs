//! What `docker inspect` says of every container, as the samples that follow from it by the book: worked out anew
//! here, without a line of the exporter's code, even for the times.

use std::collections::HashMap;
use std::process::Command;

use serde_json::Value;

use crate::support::dockerd::Engine;
use crate::support::metrics::{Labels, Metrics};

/// What may be lost where a time of today, in seconds, is a floating-point number.
const PRECISION: f64 = 0.000_002;

/// Compares every container in the Engine with its samples, and their number.
pub(crate) fn compare_with_inspect(engine: &Engine, metrics: &Metrics) -> Result<(), String> {
    let systemd = engine.has_systemd_cgroups();
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut ended = 0;
    let mut wrong = Vec::new();
    for container in engine.inspect_all()? {
        let state = &container["State"];
        let status = state["Status"].as_str().unwrap();
        *counts.entry(status.to_owned()).or_default() += 1;
        let failed_to_start =
            status == "created" && (state["Error"] != "" || state["ExitCode"] != 0);
        if status == "exited" || status == "restarting" || failed_to_start {
            ended += 1;
            wrong.extend(compare_container(
                &container,
                &expected_labels(&container, systemd),
                metrics,
            ));
        }
    }
    let shown = metrics.named("container_exit_code").count();
    if shown != ended {
        wrong.push(format!("{ended} containers ended, shown are {shown}"));
    }
    for state in [
        "created",
        "running",
        "paused",
        "restarting",
        "removing",
        "exited",
        "dead",
    ] {
        let wanted = f64::from(counts.get(state).copied().unwrap_or(0));
        let shown = metrics.value("docker_containers", &[("state", state)]);
        if shown != Some(wanted) {
            wrong.push(format!(
                "{wanted} containers are {state}, shown is {shown:?}"
            ));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

/// What is wrong with the samples of one container whose last run is over.
fn compare_container(container: &Value, labels: &Labels, metrics: &Metrics) -> Vec<String> {
    let state = &container["State"];
    let (id, name) = (labels["id"].as_str(), labels["name"].as_str());
    let shown = |family: &str| metrics.value(family, &[("id", id)]);
    let mut wrong = Vec::new();
    let mut same = |family: &str, wanted: Option<f64>| {
        let shown = shown(family);
        let equal = match (shown, wanted) {
            (Some(shown), Some(wanted)) => (shown - wanted).abs() < PRECISION,
            (shown, wanted) => shown == wanted,
        };
        if !equal {
            wrong.push(format!(
                "{name}: {family} should be {wanted:?}, shown is {shown:?}"
            ));
        }
    };
    same("container_exit_code", state["ExitCode"].as_f64());
    same(
        "container_restart_count",
        container["RestartCount"].as_f64(),
    );
    same("container_exit_reason", Some(1.0));
    // Where a restart failed, the Engine still tells the times of the run before: that they are this end's is not said.
    if state["Status"] == "created" || state["Error"] == "" {
        let (started, finished) = (seconds(&state["StartedAt"]), seconds(&state["FinishedAt"]));
        same("container_exit_timestamp_seconds", finished);
        let duration = finished
            .zip(started)
            .map(|(finished, started)| (finished - started).max(0.0));
        same("container_exit_duration_seconds", duration);
    }
    let reason = metrics
        .find("container_exit_reason", &[("id", id)])
        .map_or("", |sample| &sample.labels["reason"]);
    if !possible_reasons(state).contains(&reason) {
        wrong.push(format!(
            "{name}: the reason is one of {:?}, shown is {reason:?}",
            possible_reasons(state)
        ));
    }
    for sample in metrics
        .samples
        .iter()
        .filter(|sample| sample.labels.get("id").is_some_and(|label| label == id))
    {
        let mut shown = sample.labels.clone();
        shown.remove("reason");
        shown.remove("policy");
        if shown != *labels {
            wrong.push(format!(
                "{name}: the labels are {labels:?}, of {} they are {shown:?}",
                sample.name
            ));
        }
    }
    wrong
}

/// The reasons that this state allows. Who asked for an end is told by events alone.
fn possible_reasons(state: &Value) -> &'static [&'static str] {
    let code = state["ExitCode"].as_i64().unwrap();
    if state["Status"] == "created" || state["Error"] != "" {
        &["start_failed"]
    } else if state["OOMKilled"] == true && code != 0 {
        &["oom_killed", "stopped"]
    } else {
        match code {
            0 => &["completed", "stopped"],
            129..=192 => &["signaled", "stopped"],
            _ => &["error", "stopped"],
        }
    }
}

/// cAdvisor's labels of a container.
fn expected_labels(container: &Value, systemd: bool) -> Labels {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (id, parent) = (
        text(&container["Id"]),
        text(&container["HostConfig"]["CgroupParent"]),
    );
    let path = match (systemd, parent.as_str()) {
        (true, "") => format!("/system.slice/docker-{id}.scope"),
        (true, slice) => format!("/{slice}/docker-{id}.scope"),
        (false, "") => format!("/docker/{id}"),
        (false, parent) => format!("{parent}/{id}"),
    };
    let mut labels = Labels::from([
        ("id".to_owned(), path),
        ("image".to_owned(), text(&container["Config"]["Image"])),
        (
            "name".to_owned(),
            text(&container["Name"]).trim_start_matches('/').to_owned(),
        ),
    ]);
    let docker_labels = container["Config"]["Labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let mut keys: Vec<&String> = docker_labels
        .keys()
        .filter(|key| docker_labels[*key] != "")
        .collect();
    keys.sort();
    for key in keys {
        let clean = key
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
        let label = format!("container_label_{}", clean.collect::<String>());
        labels
            .entry(label)
            .or_insert_with(|| text(&docker_labels[key]));
    }
    labels
}

/// Seconds since 1970 of one of the Engine's times, by the system's own `date`; `None` for never.
fn seconds(time: &Value) -> Option<f64> {
    let time = time.as_str().unwrap();
    if time.starts_with("0001-") {
        return None;
    }
    let output = Command::new("date")
        .args(["--utc", "--date", time, "+%s.%N"])
        .output()
        .expect("there should be a date");
    let printed = String::from_utf8(output.stdout).unwrap();
    Some(
        printed
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("date cannot read {time:?}: {printed:?}")),
    )
}
