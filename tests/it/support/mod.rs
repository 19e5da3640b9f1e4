//! The harness: the program as a process, its metrics, and what it is tried against.

pub(crate) mod browser;
pub(crate) mod dockerd;
pub(crate) mod exporter;
pub(crate) mod machine;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod podman;
pub(crate) mod prometheus;
pub(crate) mod proxy;
pub(crate) mod waiting;
