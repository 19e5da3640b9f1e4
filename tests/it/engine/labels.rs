//! Labels of any length, as a real Engine passes them on.

use super::workloads::{NO_LISTINGS, PROJECT, counted, follows, lost_are, service};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped};
use crate::support::metrics::Metrics;

const DROPPED: &str = "docker_exit_exporter_labels_dropped_total";

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn huge_labels_hide_neither_the_code_nor_the_service() {
    let engine = Engine::new();
    let exporter = Exporter::start_with(&engine.url(), &NO_LISTINGS);
    exporter.until("the events", follows);
    let long = |key: &str, bytes: usize| format!("--label={key}={}", "x".repeat(bytes));
    let many: Vec<_> = (0..1000).map(|it| long(&format!("a{it:03}"), 50)).collect();
    let big = [long("big", 60_000), long("exitCode", 3_000)];
    for (name, labels) in [("big", &big[..]), ("many", &many[..])] {
        let project = format!("--label=com.docker.compose.project={PROJECT}");
        let service = format!("--label=com.docker.compose.service={name}");
        let own = ["--detach", "--network=none", &project, &service];
        let labels: Vec<_> = labels.iter().map(String::as_str).collect();
        let command = [IMAGE, "sh", "-c", "exit 3"];
        engine.run(name, &[&own[..], &labels, &command].concat());
    }
    exporter.until("both exits", |metrics: &Metrics| {
        for name in ["big", "many"] {
            let full = engine.name(name);
            let code = metrics.value("container_exit_code", &[("name", &full)]);
            if code != Some(3.0) {
                return Err(format!("{name} has {code:?}"));
            }
            counted(metrics, &service(name), &[("error", 1)])?;
        }
        lost_are(metrics, 0)?;
        let many = metrics.find("container_exit_code", &[("name", &engine.name("many"))]);
        let taken = many.map_or(0, |it| {
            it.labels.keys().filter(|it| it.contains("label_a")).count()
        });
        // Of the others all are taken.
        let left_out = (2 + 1000 - taken).to_string();
        match metrics.value(DROPPED, &[]) {
            Some(dropped) if dropped.to_string() == left_out && taken > 50 => Ok(()),
            dropped => Err(format!("{taken} are taken, {dropped:?} left out")),
        }
    });
}
