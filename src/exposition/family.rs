//! The metric families of the host and its containers, and how their samples are written.

use std::fmt::{Display, Write};

pub(super) const UP: Family = gauge(
    "docker_up",
    "Whether the last listing of the containers worked.",
);
pub(super) const ENGINE_INFO: Family = gauge(
    "docker_engine_info",
    "The Docker Engine on this host; always 1.",
);
pub(super) const CONTAINERS: Family =
    gauge("docker_containers", "Containers on this host by state.");
/// The families with one series per container, in the order of the text.
pub(super) const CONTAINER_FAMILIES: [Family; 11] = [
    gauge("container_exit_code", "Exit code of the stopped container."),
    gauge(
        "container_exit_timestamp_seconds",
        "When the container stopped, in seconds since 1970.",
    ),
    gauge(
        "container_exit_duration_seconds",
        "How long the container had run.",
    ),
    gauge(
        "container_exit_reason",
        "Why the container stopped; always 1.",
    ),
    gauge(
        "container_exit_superseded",
        "Whether a newer container has taken the place of this one on this host.",
    ),
    gauge(
        "container_exit_removed",
        "Whether the container was removed, and its exit is only shown for a while.",
    ),
    gauge(
        "container_restart_policy",
        "The container's restart policy; always 1, missing for the policy no.",
    ),
    Family {
        name: "container_restart_count",
        // A gauge, but promtool takes a gauge's `_count` for part of a histogram.
        kind: "untyped",
        help: "How often the restart policy has restarted the container.",
    },
    gauge(
        "container_last_exit_code",
        "Exit code of the previous run of a container that runs again.",
    ),
    gauge(
        "container_last_exit_timestamp_seconds",
        "When the previous run of a container that runs again ended, in seconds since 1970.",
    ),
    gauge(
        "container_last_exit_reason",
        "Why the previous run of a container that runs again ended; always 1.",
    ),
];
/// Indexes into [`CONTAINER_FAMILIES`].
pub(super) const CODE: usize = 0;
pub(super) const TIMESTAMP: usize = 1;
pub(super) const DURATION: usize = 2;
pub(super) const REASON: usize = 3;
pub(super) const SUPERSEDED: usize = 4;
pub(super) const REMOVED: usize = 5;
pub(super) const POLICY: usize = 6;
pub(super) const RESTART_COUNT: usize = 7;
pub(super) const LAST_CODE: usize = 8;
pub(super) const LAST_TIMESTAMP: usize = 9;
pub(super) const LAST_REASON: usize = 10;

pub(super) const SWARM_SLOTS: Family = gauge(
    "container_slot_created_timestamp_seconds",
    "When the newest container of this Swarm service and slot on this host was created, in seconds since 1970.",
);

pub(super) const EXITS: Family = Family {
    name: "container_exits_total",
    kind: "counter",
    help: "Exits of a workload's containers since the exporter started, by reason.",
};
pub(super) const OOM_KILLS: Family = Family {
    name: "container_oom_kills_total",
    kind: "counter",
    help: "OOM kills in a workload's containers since the exporter started, including child processes of containers that live on.",
};

/// A metric family.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: "gauge",
        help,
    }
}

impl Family {
    /// The `HELP` and `TYPE` lines.
    pub(super) fn head(&self) -> String {
        let Self { name, kind, help } = self;
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
    }

    /// Appends a sample. `labels` has no braces.
    pub(super) fn sample(&self, text: &mut String, labels: &str, value: impl Display) {
        let (open, close) = if labels.is_empty() {
            ("", "")
        } else {
            ("{", "}")
        };
        push_sample(text, &[self.name, open, labels, close], value);
    }

    /// Appends a sample with one more label, whose value needs no escaping.
    pub(super) fn sample_with(
        &self,
        text: &mut String,
        labels: &str,
        (label, value): (&str, &str),
        sample: impl Display,
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        let series = [self.name, "{", labels, comma, label, "=\"", value, "\"}"];
        push_sample(text, &series, sample);
    }
}

fn push_sample(text: &mut String, series: &[&str], value: impl Display) {
    for part in series {
        text.push_str(part);
    }
    writeln!(text, " {value}").expect("writing to a String does not fail");
}
