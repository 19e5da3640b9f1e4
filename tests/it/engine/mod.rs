//! The exporter's own binary and image against a real Docker Engine, and against a real Podman.
//!
//! Needs root, Docker's Engine and client, Podman with runc, a static busybox, Prometheus and promtool (Debian: docker.io,
//! podman, runc, busybox-static and prometheus), and starts Engines of its own (see [`dockerd`](crate::support::dockerd) and [`podman`](crate::support::podman)). Hence
//! ignored by default:
//!
//! ```text
//! cargo test --test it engine:: -- --ignored --test-threads=1
//! ```

mod alerting;
mod daemon;
mod event_log;
mod events;
mod exits;
mod faults;
mod gaps;
mod hangs;
mod image;
mod inspect;
mod labels;
mod latency;
mod one_host;
mod podman;
mod privileges;
mod prometheus;
mod reasons;
mod restarts;
mod runs;
mod stack;
mod swarm;
mod three_nodes;
pub(crate) mod workloads;
