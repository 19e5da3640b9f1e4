//! The exporter's own binary and image against a real Docker Engine, and against a real Podman.
//!
//! Needs root, Docker's Engine and client, Podman with runc, a static busybox, Prometheus and promtool (Debian: docker.io,
//! podman, runc, busybox-static and prometheus), and starts Engines of its own (see [`dockerd`] and [`podman`]). Hence
//! ignored by default:
//!
//! ```text
//! cargo test --test engine -- --ignored --test-threads=1
//! ```

#[path = "support/dockerd.rs"]
mod dockerd;
#[allow(dead_code)] // Shared with other tests, which use other parts of it.
#[path = "support/exporter.rs"]
mod exporter;
#[path = "support/machine.rs"]
mod machine;
#[path = "support/metrics.rs"]
mod metrics;
#[path = "support/podman.rs"]
mod podman;
#[path = "support/prometheus.rs"]
mod prometheus;
#[path = "support/proxy.rs"]
mod proxy;
#[allow(dead_code)]
#[path = "support/waiting.rs"]
mod waiting;

#[path = "engine/alerting.rs"]
mod alerting;
#[path = "engine/daemon.rs"]
mod daemon;
#[path = "engine/event_log.rs"]
mod event_log;
#[path = "engine/events.rs"]
mod events;
#[path = "engine/exits.rs"]
mod exits;
#[path = "engine/faults.rs"]
mod faults;
#[path = "engine/gaps.rs"]
mod gaps;
#[path = "engine/hangs.rs"]
mod hangs;
#[path = "engine/image.rs"]
mod image;
#[path = "engine/inspect.rs"]
mod inspect;
#[path = "engine/labels.rs"]
mod labels;
#[path = "engine/latency.rs"]
mod latency;
#[path = "engine/podman.rs"]
mod on_podman;
#[path = "engine/one_host.rs"]
mod one_host;
#[path = "engine/privileges.rs"]
mod privileges;
#[path = "engine/reasons.rs"]
mod reasons;
#[path = "engine/restarts.rs"]
mod restarts;
#[path = "engine/runs.rs"]
mod runs;
#[path = "engine/stack.rs"]
mod stack;
#[path = "engine/swarm.rs"]
mod swarm;
#[path = "engine/three_nodes.rs"]
mod three_nodes;
#[path = "engine/prometheus.rs"]
mod with_prometheus;
#[path = "engine/workloads.rs"]
mod workloads;
