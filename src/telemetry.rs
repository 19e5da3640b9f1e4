//! The exporter's metrics about itself, in a registry of the `prometheus` crate.

use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::engine::Action;
use crate::process::ProcessMetrics;

/// What the exporter counts and measures of itself. Clones share their values.
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Registry,
    process: Registry,
    /// `docker_exit_exporter_collections_total` by `result`.
    collections: IntCounterVec,
    /// How long the last collection took, in seconds.
    pub collection_duration: Gauge,
    /// When the last collection that worked ended, in seconds since 1970.
    pub last_collection: Gauge,
    /// Requests sent to the Engine.
    pub engine_requests: IntCounter,
    http_requests: IntCounterVec,
    /// HTTP connections that are open.
    pub connections: IntGauge,
    /// HTTP connections that the exporter ended before their answer was taken.
    pub connections_refused: IntCounter,
    /// 1 while the Engine's events come in.
    pub event_stream_up: IntGauge,
    /// How often a stream of events was opened.
    pub event_stream_connects: IntCounter,
    events: IntCounterVec,
    /// Runs that ended unseen, and gaps that may have hidden some.
    pub events_lost: IntCounter,
    /// Workloads that exits are counted for.
    pub workloads: IntGauge,
    /// Containers whose exits are not counted, since there are too many workloads.
    pub workloads_dropped: IntCounter,
    /// Docker labels that series lack, since there are too many or they are too long.
    pub labels_dropped: IntCounter,
}

impl Telemetry {
    /// All metrics at zero.
    ///
    /// # Panics
    /// If two metrics had the same name.
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().expect("the metrics' names are valid and differ")
    }

    fn try_new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("docker_exit_exporter".into()), None)?;
        let process = Registry::new();
        process.register(Box::new(ProcessMetrics::new()?))?;
        let build = IntGaugeVec::new(
            Opts::new("build_info", "The running version; always 1."),
            &["version", "arch"],
        )?;
        build
            .with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH])
            .set(1);
        let telemetry = Self {
            collections: IntCounterVec::new(
                Opts::new("collections_total", "Listings of the containers by result."),
                &["result"],
            )?,
            collection_duration: Gauge::new(
                "collection_duration_seconds",
                "How long the last listing took.",
            )?,
            last_collection: Gauge::new(
                "last_collection_timestamp_seconds",
                "When the last collection that worked ended, in seconds since 1970; 0 before.",
            )?,
            engine_requests: IntCounter::new(
                "engine_requests_total",
                "Requests sent to the Docker Engine.",
            )?,
            http_requests: IntCounterVec::new(
                Opts::new("http_requests_total", "Requests answered by status code."),
                &["code"],
            )?,
            connections: IntGauge::new("connections", "HTTP connections that are open.")?,
            connections_refused: IntCounter::new(
                "connections_refused_total",
                "HTTP connections that were ended to make room for others, or for what their clients sent or did not take.",
            )?,
            event_stream_up: IntGauge::new(
                "event_stream_up",
                "Whether the Engine's events come in.",
            )?,
            event_stream_connects: IntCounter::new(
                "event_stream_connects_total",
                "How often a stream of events was opened.",
            )?,
            events: IntCounterVec::new(
                Opts::new("events_total", "Events that came in by action."),
                &["action"],
            )?,
            events_lost: IntCounter::new(
                "events_lost_total",
                "Runs of containers that ended unseen, and gaps in the events that may have hidden some.",
            )?,
            workloads: IntGauge::new("workloads", "Workloads that exits are counted for.")?,
            workloads_dropped: IntCounter::new(
                "workloads_dropped_total",
                "Containers whose exits are not counted, since there are too many workloads.",
            )?,
            labels_dropped: IntCounter::new(
                "labels_dropped_total",
                "Docker labels that series lack, since a container has too many, or they are too long.",
            )?,
            registry: registry.clone(),
            process,
        };
        for result in ["success", "error"] {
            telemetry.collections.with_label_values(&[result]);
        }
        telemetry.http_requests.with_label_values(&["200"]);
        registry.register(Box::new(build))?;
        registry.register(Box::new(telemetry.collections.clone()))?;
        registry.register(Box::new(telemetry.collection_duration.clone()))?;
        registry.register(Box::new(telemetry.last_collection.clone()))?;
        registry.register(Box::new(telemetry.engine_requests.clone()))?;
        registry.register(Box::new(telemetry.http_requests.clone()))?;
        registry.register(Box::new(telemetry.connections.clone()))?;
        registry.register(Box::new(telemetry.connections_refused.clone()))?;
        for action in Action::ALL {
            telemetry.events.with_label_values(&[action.name()]);
        }
        registry.register(Box::new(telemetry.event_stream_up.clone()))?;
        registry.register(Box::new(telemetry.event_stream_connects.clone()))?;
        registry.register(Box::new(telemetry.events.clone()))?;
        registry.register(Box::new(telemetry.events_lost.clone()))?;
        registry.register(Box::new(telemetry.workloads.clone()))?;
        registry.register(Box::new(telemetry.workloads_dropped.clone()))?;
        registry.register(Box::new(telemetry.labels_dropped.clone()))?;
        Ok(telemetry)
    }

    /// Counts a collection.
    pub fn collected(&self, worked: bool) {
        let result = if worked { "success" } else { "error" };
        self.collections.with_label_values(&[result]).inc();
    }

    /// Counts an event.
    pub fn count_event(&self, action: Action) {
        self.events.with_label_values(&[action.name()]).inc();
    }

    /// Counts an answer to an HTTP client.
    pub fn answered(&self, code: u16) {
        let code = code.to_string();
        self.http_requests.with_label_values(&[&code]).inc();
    }

    /// The metrics of the exporter, without those of its process.
    #[must_use]
    pub fn render(&self) -> String {
        encode(&self.registry)
    }

    /// The standard `process_*` metrics. They are apart, since `node_exporter`, which may show the
    /// output of `--once`, has its own.
    #[must_use]
    pub fn render_process(&self) -> String {
        encode(&self.process)
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

fn encode(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .expect("every registered metric has a sample")
}
