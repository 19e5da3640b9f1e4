//! The exporter's metrics about itself, in a registry of the `prometheus` crate.

use prometheus::core::Collector;
use prometheus::{
    Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::engine::Action;
use crate::process::ProcessMetrics;

/// The exporter's counters and gauges. Clones share their values.
#[derive(Debug, Clone)]
pub struct Telemetry {
    registry: Registry,
    process: Registry,
    collections: IntCounterVec,
    /// Duration of the last collection, in seconds.
    pub collection_duration: Gauge,
    /// When the last successful collection ended, in seconds since 1970.
    pub last_collection: Gauge,
    /// Requests sent to the Engine.
    pub engine_requests: IntCounter,
    http_requests: IntCounterVec,
    /// Open HTTP connections.
    pub connections: IntGauge,
    /// HTTP connections that the exporter closed before the client took its response.
    pub connections_refused: IntCounter,
    /// 1 while the event stream is open.
    pub event_stream_up: IntGauge,
    /// How often the event stream was opened.
    pub event_stream_connects: IntCounter,
    events: IntCounterVec,
    /// Runs that ended unseen, and gaps that may have hidden some.
    pub events_lost: IntCounter,
    /// Workloads with exit counters.
    pub workloads: IntGauge,
    /// Containers whose exits are not counted because there are too many workloads.
    pub workloads_dropped: IntCounter,
    /// Docker labels left out of the series because they are too many or too long.
    pub labels_dropped: IntCounter,
}

impl Telemetry {
    /// All metrics at zero.
    ///
    /// # Panics
    /// If two metrics have the same name.
    #[must_use]
    pub fn new() -> Self {
        Self::try_new().expect("the metrics' names are valid and differ")
    }

    fn try_new() -> prometheus::Result<Self> {
        let registry = Registry::new_custom(Some("docker_exit_exporter".into()), None)?;
        let process = Registry::new();
        process.register(Box::new(ProcessMetrics::new()?))?;
        let counter = |name, help| register(&registry, IntCounter::new(name, help)?);
        let gauge = |name, help| register(&registry, IntGauge::new(name, help)?);
        let float_gauge = |name, help| register(&registry, Gauge::new(name, help)?);
        let counters = |name, help, label| {
            let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
            register(&registry, counters)
        };
        let build = Opts::new("build_info", "The running version; always 1.");
        register(&registry, IntGaugeVec::new(build, &["version", "arch"])?)?
            .with_label_values(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH])
            .set(1);
        let telemetry = Self {
            collections: counters(
                "collections_total",
                "Listings of all containers, by result.",
                "result",
            )?,
            collection_duration: float_gauge(
                "collection_duration_seconds",
                "How long the last listing took.",
            )?,
            last_collection: float_gauge(
                "last_collection_timestamp_seconds",
                "When the last successful listing ended, in seconds since 1970; 0 before the first.",
            )?,
            engine_requests: counter(
                "engine_requests_total",
                "Requests sent to the Docker Engine.",
            )?,
            http_requests: counters(
                "http_requests_total",
                "HTTP requests answered, by status code.",
                "code",
            )?,
            connections: gauge("connections", "Open HTTP connections.")?,
            connections_refused: counter(
                "connections_refused_total",
                "HTTP connections that were closed before their whole answer was read, to make room or because of their client.",
            )?,
            event_stream_up: gauge("event_stream_up", "Whether the event stream is open.")?,
            event_stream_connects: counter(
                "event_stream_connects_total",
                "How often the event stream was opened.",
            )?,
            events: counters("events_total", "Events received, by action.", "action")?,
            events_lost: counter(
                "events_lost_total",
                "Runs that ended unseen, and gaps in the events that may have hidden some.",
            )?,
            workloads: gauge("workloads", "Workloads whose exits are counted.")?,
            workloads_dropped: counter(
                "workloads_dropped_total",
                "Containers whose exits are not counted, because there are too many workloads.",
            )?,
            labels_dropped: counter(
                "labels_dropped_total",
                "Docker labels that are left out of the series, because they are too many or too long.",
            )?,
            registry: registry.clone(),
            process,
        };
        for result in ["success", "error"] {
            telemetry.collections.with_label_values(&[result]);
        }
        telemetry.http_requests.with_label_values(&["200"]);
        for (_, name) in Action::ALL {
            telemetry.events.with_label_values(&[name]);
        }
        Ok(telemetry)
    }

    /// Counts a collection by its result.
    pub fn count_collection(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "error" };
        self.collections.with_label_values(&[result]).inc();
    }

    /// Counts an event.
    pub fn count_event(&self, action: Action) {
        self.events.with_label_values(&[action.name()]).inc();
    }

    /// Counts a response to an HTTP client by its status code.
    pub fn count_response(&self, code: u16) {
        let code = code.to_string();
        self.http_requests.with_label_values(&[&code]).inc();
    }

    /// Renders the exporter's metrics without the `process_*` ones.
    #[must_use]
    pub fn render(&self) -> String {
        encode(&self.registry)
    }

    /// Renders the standard `process_*` metrics. `--once` omits them: `node_exporter`, which may read its
    /// output, has its own.
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

/// Adds a metric to the registry and returns it.
fn register<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: M,
) -> prometheus::Result<M> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn encode(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .expect("every registered metric has a sample")
}
