//! The metric families of the host and its containers, and how one of their samples is written.

use std::fmt::{Display, Write};

pub(super) const UP: Family = Family {
    name: "docker_up",
    kind: "gauge",
    help: "Whether the last listing of the containers worked.",
};
pub(super) const ENGINE_INFO: Family = Family {
    name: "docker_engine_info",
    kind: "gauge",
    help: "The Docker Engine that is watched; always 1.",
};
pub(super) const CONTAINERS: Family = Family {
    name: "docker_containers",
    kind: "gauge",
    help: "Containers on this host by state.",
};
/// The families of containers.
pub(super) const OF_CONTAINERS: [Family; 11] = [
    Family {
        name: "container_exit_code",
        kind: "gauge",
        help: "Exit code of the container's last run, which is over.",
    },
    Family {
        name: "container_exit_timestamp_seconds",
        kind: "gauge",
        help: "When the container's last run ended, in seconds since 1970.",
    },
    Family {
        name: "container_exit_duration_seconds",
        kind: "gauge",
        help: "How long the container's last run took.",
    },
    Family {
        name: "container_exit_reason",
        kind: "gauge",
        help: "Why the container's last run ended; always 1.",
    },
    Family {
        name: "container_exit_superseded",
        kind: "gauge",
        help: "Whether there is, or has been, a newer container of the same service and slot or number on this host.",
    },
    Family {
        name: "container_exit_removed",
        kind: "gauge",
        help: "Whether the container is removed, and its exit is only shown for a while.",
    },
    Family {
        name: "container_restart_policy",
        kind: "gauge",
        help: "The policy by which Docker restarts the container; always 1, none for no.",
    },
    Family {
        name: "container_restart_count",
        // It is a gauge, but promtool takes a gauge's `_count` for part of a histogram.
        kind: "untyped",
        help: "Restarts of the container by its restart policy.",
    },
    Family {
        name: "container_last_exit_code",
        kind: "gauge",
        help: "Exit code of the run before of a container that runs again.",
    },
    Family {
        name: "container_last_exit_timestamp_seconds",
        kind: "gauge",
        help: "When the run before of a container that runs again ended, in seconds since 1970.",
    },
    Family {
        name: "container_last_exit_reason",
        kind: "gauge",
        help: "Why the run before of a container that runs again ended; always 1.",
    },
];
/// Where each of them stands.
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

pub(super) const SLOTS: Family = Family {
    name: "container_slot_created_timestamp_seconds",
    kind: "gauge",
    help: "When the newest container of a Swarm service's slot on this host was made, in seconds since 1970.",
};

pub(super) const EXITS: Family = Family {
    name: "container_exits_total",
    kind: "counter",
    help: "Exits of a workload's containers since the exporter started, by reason.",
};
pub(super) const OOM_KILLS: Family = Family {
    name: "container_oom_kills_total",
    kind: "counter",
    help: "How often the OOM killer came to a workload's containers since the exporter started, also for a child of one that runs on.",
};

/// A metric family.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

impl Family {
    pub(super) fn head(&self) -> String {
        let Self { name, kind, help } = self;
        format!("# HELP {name} {help}\n# TYPE {name} {kind}\n")
    }

    pub(super) fn sample(&self, text: &mut String, labels: &str, value: impl Display) {
        text.push_str(self.name);
        if !labels.is_empty() {
            for part in ["{", labels, "}"] {
                text.push_str(part);
            }
        }
        end(text, value);
    }

    /// A sample with one more label, whose value needs no escapes.
    pub(super) fn sample_with(
        &self,
        text: &mut String,
        labels: &str,
        (name, word): (&str, &str),
        value: impl Display,
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        for part in [self.name, "{", labels, comma, name, "=\"", word, "\"}"] {
            text.push_str(part);
        }
        end(text, value);
    }
}

fn end(text: &mut String, value: impl Display) {
    writeln!(text, " {value}").expect("writing to a String does not fail");
}
