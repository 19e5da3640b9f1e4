//! Containers whose exits are counted apart from each other's, and what was counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped, is_up};
use crate::support::metrics::{Labels, Metrics};
use crate::support::waiting::{PATIENCE, eventually};

/// Every reason there is.
const REASONS: [&str; 6] = [
    "start_failed",
    "stopped",
    "oom_killed",
    "completed",
    "signaled",
    "error",
];

/// How many exits there were, by reason.
pub(crate) type Counts = BTreeMap<&'static str, usize>;

/// So long that whatever the exporter knows after its start, it knows from events.
pub(crate) const NO_LISTINGS: [&str; 2] = ["--interval", "3600"];

/// The Compose project of the containers that are counted by their Compose service.
pub(crate) const PROJECT: &str = "shop";

/// Runs a container of this Compose service, in the background, whose name is the service's.
pub(crate) fn run_service(engine: &Engine, service: &str, options: &[&str], command: &[&str]) {
    let labels = [
        format!("--label=com.docker.compose.project={PROJECT}"),
        format!("--label=com.docker.compose.service={service}"),
    ];
    let detached = ["--detach", "--network=none", &labels[0], &labels[1]];
    engine.run(service, &[&detached, options, &[IMAGE], command].concat());
}

/// Runs this script as a Compose service that goes on for ever, and waits until it has set its traps.
pub(crate) fn run_script(engine: &Engine, service: &str, options: &[&str], script: &str) {
    run_service(
        engine,
        service,
        options,
        &[
            "sh",
            "-c",
            &format!("{script}; echo ready; while :; do sleep 0.05; done"),
        ],
    );
    let ready = eventually(PATIENCE, || match engine.logs(service) {
        log if log.contains("ready") => Ok(()),
        log => Err(format!("{service} is not ready: {log}")),
    });
    ready.unwrap_or_else(|why| panic!("{why}"));
}

/// The labels by which the exits of a Compose service are counted.
pub(crate) fn service(service: &str) -> Labels {
    let labels = [
        ("container_label_com_docker_compose_project", PROJECT),
        ("container_label_com_docker_compose_service", service),
    ];
    Labels::from(labels.map(|(label, value)| (label.to_owned(), value.to_owned())))
}

/// How many exits of the workload with exactly these labels were counted, by reason. Every reason must be there, from
/// the first on: a counter that appears with 1 has no increase.
pub(crate) fn counts(metrics: &Metrics, workload: &Labels) -> Result<Counts, String> {
    let counts = REASONS.map(|reason| {
        let mut labels = workload.clone();
        labels.insert("reason".to_owned(), reason.to_owned());
        let mut samples = metrics.named("container_exits_total");
        let sample = samples.find(|sample| sample.labels == labels);
        let value = sample.ok_or(format!("no count of {labels:?}"))?.value;
        Ok((reason, value.to_string().parse().unwrap()))
    });
    counts.into_iter().collect()
}

/// Whether just these exits of the workload were counted: the reasons that are not given stand at 0.
pub(crate) fn counted(
    metrics: &Metrics,
    workload: &Labels,
    wanted: &[(&'static str, usize)],
) -> Result<(), String> {
    let mut expected = Counts::from(REASONS.map(|reason| (reason, 0)));
    expected.extend(wanted.iter().copied());
    let counts = counts(metrics, workload)?;
    if counts == expected {
        Ok(())
    } else {
        Err(format!(
            "of {workload:?} there should be {wanted:?}, counted are {counts:?}"
        ))
    }
}

/// Whether no exit of the workload was counted, be it known or not.
pub(crate) fn not_counted(metrics: &Metrics, workload: &Labels) -> Result<(), String> {
    match counts(metrics, workload) {
        Ok(counts) if counts.values().any(|count| *count > 0) => {
            Err(format!("{workload:?} should not be counted: {counts:?}"))
        }
        _ => Ok(()),
    }
}

/// How many runs ended unseen, as far as the exporter knows.
pub(crate) fn lost(metrics: &Metrics) -> usize {
    let lost = metrics.value("docker_exit_exporter_events_lost_total", &[]);
    lost.expect("a count of lost events")
        .to_string()
        .parse()
        .unwrap()
}

/// Whether just so many runs ended unseen, as far as the exporter knows.
pub(crate) fn lost_are(metrics: &Metrics, wanted: usize) -> Result<(), String> {
    match lost(metrics) {
        lost if lost == wanted => Ok(()),
        lost => Err(format!("{wanted} should be lost, reported are {lost}")),
    }
}

/// Starts so many containers that are removed at their end, some at a time: the last digit of the number in its name is
/// what each of them ends with.
pub(crate) fn run_short_lived(engine: &Engine, count: usize, at_once: usize) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let script = format!("exit {}", number % 10);
                    let options = ["--detach", "--rm", "--network=none", IMAGE, "sh", "-c"];
                    engine.run(
                        &format!("short-{number}"),
                        &[&options[..], &[&script]].concat(),
                    );
                }
            });
        }
    });
}

/// A check for [`Scraped::until`]: the Engine can be read, and its events are followed.
pub(crate) fn follows(metrics: &Metrics) -> Result<(), String> {
    is_up(metrics)?;
    match metrics.value("docker_exit_exporter_event_stream_up", &[]) {
        Some(1.0) => Ok(()),
        up => Err(format!("event_stream_up is {up:?}")),
    }
}

/// Waits until the Engine was listed twice more: what would be counted again was.
pub(crate) fn until_listed_again(exporter: &Exporter) {
    let listings = |metrics: &Metrics| {
        let labels = [("result", "success")];
        let listings = metrics.value("docker_exit_exporter_collections_total", &labels);
        listings.ok_or("no collections".to_owned())
    };
    let before = exporter.until("a number of collections", listings);
    exporter.until("two more listings", |metrics| match listings(metrics)? {
        now if now >= before + 2.0 => Ok(()),
        now => Err(format!("{before} before, {now} now")),
    });
}
