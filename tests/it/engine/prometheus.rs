//! What `deploy/` has for Prometheus and Grafana, against a real Prometheus that scrapes the exporter of a real Engine.

use std::{fs, thread};

use serde_json::Value;

use super::alerting::{firing, hasty_rules};
use super::workloads::{PROJECT, follows, run_service};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped};
use crate::support::prometheus::{Prometheus, promtool, value};
use crate::support::waiting::{PATIENCE, eventually};

const CONFIGURATION: &str = include_str!("../../../deploy/prometheus.yml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana-dashboard.json");

/// What a variable of the dashboard is when all is chosen.
const ALL: &str = "job=~\".*\"";

#[test]
#[ignore = "needs promtool: cargo test --test it engine:: -- --ignored"]
fn the_rules_tell_stories_as_they_should() {
    promtool(&["check", "config", "deploy/prometheus.yml"]);
    promtool(&["check", "rules", "deploy/alerts.yml"]);
    let files = fs::read_dir("deploy/alerts_test").unwrap();
    let stories: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(stories.len() > 5, "{stories:?}");
    thread::scope(|scope| {
        for file in &stories {
            scope.spawn(|| promtool(&["test", "rules", file.to_str().unwrap()]));
        }
    });
    promtool(&["test", "rules", "deploy/cadvisor_test.yml"]);
}

#[test]
#[ignore = "needs a real Docker Engine and Prometheus: cargo test --test it engine:: -- --ignored"]
fn the_dashboard_shows_why_and_dead_hosts_alert() {
    let mut engine = Engine::private();
    let mut exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let prometheus = Prometheus::start(&engine.folder, exporter.port(), &hasty_rules());
    make_containers(&engine);
    every_query_of_the_dashboard_works(&prometheus);

    engine.stop();
    until_it_fires(&prometheus, "DockerUnreachable");
    exporter.end_by("TERM");
    until_it_fires(&prometheus, "DockerExitExporterDown");
}

/// As a manager may describe nodes: one that does not know its own address, and one that is drained.
#[test]
#[ignore = "needs a real Prometheus: cargo test --test it engine:: -- --ignored"]
fn the_swarm_job_reaches_every_node_that_is_not_drained() {
    const NODES: [[&str; 4]; 3] = [
        ["127.0.0.2", "", "active", "worker"],
        ["0.0.0.0", "127.0.0.3:2377", "active", "manager"],
        ["127.0.0.4", "", "drain", "drained"],
    ];
    const LABELS: [&str; 4] = ["address", "manager_address", "availability", "hostname"];
    let (_, job) = CONFIGURATION
        .split_once("job_name: docker-exit-exporter-swarm\n")
        .unwrap();
    let relabelling = &job[job.find("    relabel_configs:\n").unwrap()..];
    let mut jobs = "  - job_name: swarm\n    static_configs:\n".to_owned();
    for node in NODES {
        let labels = LABELS.iter().zip(node);
        let labels: Vec<_> = labels
            .map(|(label, value)| format!("__meta_dockerswarm_node_{label}: \"{value}\""))
            .collect();
        jobs += &format!(
            "      - {{targets: [\"{}:9090\"], labels: {{{}}}}}\n",
            node[0],
            labels.join(", ")
        );
    }
    let folder = std::env::temp_dir().join(format!("dee-relabelling-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let prometheus = Prometheus::start_with(&folder, "", &(jobs + relabelling));
    let targets = prometheus.until("targets", |prometheus| match prometheus.targets()?.0 {
        none if none.is_empty() => Err("none".to_owned()),
        targets => Ok(targets),
    });
    let mut found: Vec<_> = targets
        .iter()
        .map(|target| (&target["scrapeUrl"], &target["labels"]["instance"]))
        .map(|(url, instance)| (url.as_str().unwrap(), instance.as_str().unwrap()))
        .collect();
    found.sort_unstable();
    let wanted = [
        ("http://127.0.0.2:9090/metrics", "worker"),
        ("http://127.0.0.3:9090/metrics", "manager"),
    ];
    drop(prometheus);
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(found, wanted);
}

/// Makes containers of all fates, so that every panel has something to show.
fn make_containers(engine: &Engine) {
    let shell = |script| ["sh", "-c", script];
    run_service(engine, "web", &[], &shell("exit 1"));
    let little = ["--memory=16m", "--memory-swap=16m", "--restart=on-failure"];
    let once = "[ -f /m ] && exec sleep 1000; : >/m; exec tail /dev/zero";
    run_service(engine, "oom", &little, &shell(once));
    run_service(engine, "loop", &["--restart=always"], &shell("exit 7"));
    run_service(engine, "refused", &[], &["/nosuch"]);
    for job in ["job", "other-job"] {
        let command = ["--network=none", IMAGE, "sh", "-c", "exit 2"];
        engine.run(job, &command);
    }
    run_service(engine, "stopped", &[], &["sleep", "1000"]);
    engine.docker(&["kill", &engine.name("stopped")]);
    let health = [
        "--health-cmd=false",
        "--health-interval=500ms",
        "--health-retries=1",
    ];
    run_service(engine, "sick", &health, &["sleep", "1000"]);
    let sick = eventually(PATIENCE, || {
        match &engine.inspect("sick")["State"]["Health"]["Status"] {
            status if status == "unhealthy" => Ok(()),
            status => Err(status.to_string()),
        }
    });
    sick.unwrap_or_else(|status| panic!("it is {status}"));
    engine.docker(&["kill", &engine.name("sick")]);
}

fn until_it_fires(prometheus: &Prometheus, alert: &str) {
    prometheus.until(alert, |prometheus| {
        let firing = firing(prometheus)?;
        if firing.keys().any(|(name, _)| name == alert) {
            Ok(())
        } else {
            Err(format!("there fire {firing:?}"))
        }
    });
}

/// Runs all of them: each must find something, and the overview what is there to be seen.
fn every_query_of_the_dashboard_works(prometheus: &Prometheus) {
    const AT_LEAST: [(&str, f64); 6] = [
        ("Down now", 2.0),
        ("Failed jobs", 2.0),
        ("Crash loops", 1.0),
        ("OOM kills", 1.0),
        ("Unhealthy", 1.0),
        ("Exporters down", 0.0),
    ];
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap();
            let query = query.strip_prefix("query_result(").unwrap();
            let query = substituted(query.strip_suffix(')').unwrap(), ALL);
            let found = prometheus.query(&query).unwrap();
            assert!(!found.is_empty(), "nothing is found by {query}");
        }
    }
    let shop = format!("container_label_com_docker_compose_project=\"{PROJECT}\"");
    let (mut queries, mut stats) = (0, 0);
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            let stat = AT_LEAST.iter().find(|(stat, _)| *stat == title);
            let least = stat.filter(|_| panel["type"] == "stat");
            stats += usize::from(least.is_some());
            for project in [ALL, &shop] {
                let query = substituted(target["expr"].as_str().unwrap(), project);
                // An increase is a guess: it may fall short until the next exit.
                let found = prometheus.until(title, |prometheus| {
                    let found = if target["instant"] == true {
                        prometheus.query(&query)?
                    } else {
                        prometheus.query_range(&query)?
                    };
                    if project != ALL {
                        return Ok(found); // Jobs are of no project.
                    }
                    let first = found.first().ok_or(format!("{query} finds nothing"))?;
                    match least {
                        Some((_, least)) if value(first) < *least => {
                            Err(format!("{query} finds {found:?}"))
                        }
                        _ => Ok(found),
                    }
                });
                queries += 1;
                println!("{title} ({project}): {} series", found.len());
            }
        }
    }
    assert!(queries > 50, "only {queries} queries");
    assert_eq!(stats, AT_LEAST.len());
}

/// All panels, those of collapsed rows too.
fn panels(parent: &Value) -> Vec<&Value> {
    let panels = parent["panels"].as_array().into_iter().flatten();
    panels
        .flat_map(|panel| [vec![panel], self::panels(panel)].concat())
        .collect()
}

/// The query with what Grafana would put for its variables.
fn substituted(query: &str, project: &str) -> String {
    let query = query
        .replace("$__rate_interval", "10s")
        .replace("${__interval}", "1m")
        .replace("$__interval", "1m")
        .replace("$__range", "1h")
        .replace("$instance", ".*")
        .replace("${project:raw}", project)
        .replace("${service:raw}", ALL);
    // What is left is for label_replace.
    let left = query.replace("$1", "").replace("$2", "");
    assert!(!left.contains('$'), "{query}");
    query
}

/// Three exits of one service, seen through bars of many lengths: each time there are three.
#[test]
#[ignore = "needs a real Docker Engine and Prometheus: cargo test --test it engine:: -- --ignored"]
fn the_bars_of_the_dashboard_add_up() {
    let engine = Engine::private();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let prometheus = Prometheus::start(&engine.folder, exporter.port(), "");
    run_service(&engine, "web", &[], &["sh", "-c", "exit 1"]);
    let failures = "container_exits_total{container_label_com_docker_compose_service=\"web\",reason=\"error\"}";
    for exits in 1..=3 {
        prometheus.until("an exit", |prometheus| {
            let found = prometheus.query(&format!("{failures} == {exits}"))?;
            found
                .first()
                .map(|_| ())
                .ok_or(format!("{exits} are not counted"))
        });
        if exits < 3 {
            engine.docker(&["start", &engine.name("web")]);
        }
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for title in ["Exits by reason", "Failures by workload, the ten with most"] {
        let panel = panels(&dashboard)
            .into_iter()
            .find(|panel| panel["title"] == title);
        let query = panel.unwrap()["targets"][0]["expr"].as_str().unwrap();
        for step in [2, 5, 10, 60] {
            let query = query.replace("$__interval", &format!("{step}s"));
            let query = query.replace("${__interval}", &format!("{step}s"));
            let bars = prometheus.bars(&substituted(&query, ALL), step).unwrap();
            let sum: f64 = bars.iter().sum();
            assert!(
                (sum - 3.0).abs() < 1e-9,
                "{title}, bars of {step} s: {bars:?}"
            );
        }
    }
}
