//! Swarm services whose tasks crash: each new task is a new container, and the old ones are soon removed.

use std::time::Instant;

use super::event_log::EventLog;
use super::workloads::{counts, follows, until_listed_again};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped};
use crate::support::metrics::{Labels, Metrics};
use crate::support::waiting::{PATIENCE, eventually};

/// The label of a container that names its service.
const SERVICE: &str = "com.docker.swarm.service.name";
const SERVICE_LABEL: &str = "container_label_com_docker_swarm_service_name";
/// How often each service crashes at least.
const CRASHES: usize = 8;

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn every_crash_of_a_service_is_counted_and_its_old_tasks_leave() {
    let engine = Engine::private_with_network();
    let exporter = Exporter::start_with(&engine.url(), &["--retention", "1"]);
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    let swarm = ["--advertise-addr=127.0.0.1", "--listen-addr=127.0.0.1"];
    let init = ["swarm", "init", "--task-history-limit=1"];
    engine.docker(&[&init[..], &swarm[..]].concat());
    let (alone, stacked) = (engine.name("alone"), engine.name("stacked"));
    create_service(&engine, &alone, &[]);
    create_service(
        &engine,
        &stacked,
        &["--container-label=com.docker.stack.namespace=shop"],
    );
    for service in [&alone, &stacked] {
        events.until_deaths(SERVICE, service, CRASHES);
        engine.docker(&["service", "scale", "--detach", &format!("{service}=0")]);
    }
    for service in [&alone, &stacked] {
        let begun = Instant::now();
        let gone = eventually(PATIENCE, || {
            let filter = format!("label={SERVICE}={service}");
            match engine.docker(&["ps", "--all", "--quiet", "--filter", &filter]) {
                left if left.is_empty() => Ok(()),
                left => {
                    // The Swarm's reaper takes most of them, and sometimes leaves some: then they are
                    // removed by hand. That one is gone meanwhile is no error.
                    let reaper_had_its_time = begun.elapsed() > PATIENCE / 3;
                    for id in left.split_whitespace().filter(|_| reaper_had_its_time) {
                        let _ = engine.try_docker(&["rm", "--force", id]);
                    }
                    Err(left)
                }
            }
        });
        gone.unwrap_or_else(|left| panic!("these of {service} stay: {left}"));
    }

    let of = |service: &str, more: &[(&str, &str)]| {
        let labels = [&[(SERVICE_LABEL, service)], more].concat();
        let labels = labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        labels.collect::<Labels>()
    };
    let stack = ("container_label_com_docker_stack_namespace", "shop");
    let workloads = [
        (&alone, of(&alone, &[])),
        (&stacked, of(&stacked, &[stack])),
    ];
    let check = |metrics: &Metrics| {
        for (service, workload) in &workloads {
            let deaths = events.deaths(SERVICE, service).len();
            adds_up(metrics, workload, deaths)?;
            let of_service = |labels: &Labels| labels.get(SERVICE_LABEL) == Some(service);
            let mut shown = metrics
                .samples
                .iter()
                .filter(|sample| of_service(&sample.labels));
            let counters = ["container_exits_total", "container_oom_kills_total"];
            if let Some(left) = shown.find(|sample| !counters.contains(&sample.name.as_str())) {
                return Err(format!("a task is still shown: {left:?}"));
            }
        }
        Ok(())
    };
    exporter.until("all crashes, and no task", check);
    until_listed_again(&exporter);
    exporter.until("all crashes still", check);
    for service in [&alone, &stacked] {
        engine.docker(&["service", "rm", service]);
    }
}

fn create_service(engine: &Engine, name: &str, options: &[&str]) {
    let create = ["service", "create", "--detach", "--name", name];
    let how = [
        "--no-resolve-image",
        "--network=host",
        "--restart-delay=100ms",
        "--stop-grace-period=1s",
    ];
    engine.docker(&[&create, &how[..], options, &[IMAGE, "sh", "-c", "exit 3"]].concat());
}

/// Whether each death was counted, all but the last for its code: that task may have been stopped.
fn adds_up(metrics: &Metrics, workload: &Labels, deaths: usize) -> Result<(), String> {
    let counts = counts(metrics, workload)?;
    if counts.values().sum::<usize>() == deaths && counts["error"] + 1 >= deaths {
        Ok(())
    } else {
        Err(format!("{deaths} deaths, counted are {counts:?}"))
    }
}
