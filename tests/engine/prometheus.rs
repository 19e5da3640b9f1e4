//! What `deploy/` has for Prometheus and Grafana, against a real Prometheus that scrapes the exporter of a real Engine.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dockerd::{Engine, IMAGE};
use crate::exporter::{Exporter, Scraped};
use crate::prometheus::{Prometheus, promtool, value};
use crate::workloads::{follows, run_service};

const RULES: &str = include_str!("../../deploy/alerts.yml");
const CONFIGURATION: &str = include_str!("../../deploy/prometheus.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana-dashboard.json");

/// An alert's name, and the container or workload that it is about.
type Firing = BTreeSet<(String, String)>;

#[test]
#[ignore = "needs promtool: cargo test --test engine -- --ignored"]
fn the_rules_tell_stories_as_they_should() {
    promtool(&["check", "config", "deploy/prometheus.yml"]);
    promtool(&["check", "rules", "deploy/alerts.yml"]);
    let files = std::fs::read_dir("deploy/alerts_test").unwrap();
    let stories: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    assert!(stories.len() > 5, "{stories:?}");
    for file in &stories {
        promtool(&["test", "rules", file.to_str().unwrap()]);
    }
    promtool(&["test", "rules", "deploy/cadvisor_test.yml"]);
}

#[test]
#[ignore = "needs a real Docker Engine and Prometheus: cargo test --test engine -- --ignored"]
fn alerts_fire_and_the_dashboard_shows_why() {
    let mut engine = Engine::private();
    let mut exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let prometheus = Prometheus::start(&engine.folder, exporter.port(), &hasty(RULES));
    // Before the first scrape there was no exporter, as far as Prometheus knows.
    until_firing(&prometheus, "all is well", &Firing::new());
    make_containers(&engine);

    let about = |alerts: &[(&str, &str)]| -> Firing {
        let named = |(alert, short): &(&str, &str)| ((*alert).to_owned(), engine.name(short));
        alerts.iter().map(named).collect()
    };
    let mut wanted = about(&[
        ("ContainerFailed", "web"),
        ("ContainerFailed", "flaky"),
        ("ContainerFailed", "oom"),
        ("ContainerOutOfMemory", "oom"),
        ("ContainerJobFailed", "gone"),
        ("ContainerJobFailed", "job"),
        ("ContainerStartFailed", "refused"),
    ]);
    wanted.insert(("ContainerCrashLooping".to_owned(), "loop".to_owned()));
    until_firing(&prometheus, "every failure", &wanted);

    engine.docker(&["start", &engine.name("flaky")]);
    wanted.retain(|(_, about)| *about != engine.name("flaky"));
    until_firing(&prometheus, "one runs again", &wanted);
    every_query_of_the_dashboard_works(&prometheus);

    engine.stop();
    let unreachable = ("DockerUnreachable".to_owned(), String::new());
    prometheus.until("Docker is down", |prometheus| {
        holds(&firing(prometheus)?, &unreachable)
    });
    exporter.end_by("TERM");
    let down = ("DockerExitExporterDown".to_owned(), String::new());
    prometheus.until("the exporter is down", |prometheus| {
        holds(&firing(prometheus)?, &down)
    });
}

/// Of a service with a published port and a network, as `docker stack deploy` makes it, beside another one.
#[test]
#[ignore = "needs a real Docker Engine and Prometheus: cargo test --test engine -- --ignored"]
fn the_swarm_job_finds_an_exporter_once() {
    let engine = Engine::private_with_network();
    engine.docker(&[
        "swarm",
        "init",
        "--advertise-addr=127.0.0.1",
        "--listen-addr=127.0.0.1",
    ]);
    engine.docker(&[
        "network",
        "create",
        "--driver=overlay",
        "monitoring_default",
    ]);
    for (service, port) in [("monitoring_docker-exit-exporter", 19090), ("web", 19091)] {
        let publish = format!("--publish=mode=host,target=9090,published={port}");
        let create = ["service", "create", "--detach", "--no-resolve-image"];
        let how = ["--mode=global", "--network=monitoring_default", &publish];
        let name = ["--name", service, IMAGE, "sleep", "1000"];
        engine.docker(&[&create[..], &how, &name].concat());
    }
    let (_, job) = CONFIGURATION
        .split_once("  - job_name: docker-exit-exporter-swarm\n")
        .unwrap();
    let job = job
        .replace("unix:///var/run/docker.sock", &engine.url())
        .replace("refresh_interval: 15s", "refresh_interval: 1s");
    let job = format!("  - job_name: docker-exit-exporter-swarm\n{job}");
    let prometheus = Prometheus::start_with(&engine.folder, "", &job);
    let hostname = engine.docker(&["info", "--format", "{{.Name}}"]);
    prometheus.until("the exporter is found", |prometheus| {
        let (targets, others) = prometheus.targets()?;
        let found: Vec<_> = targets
            .iter()
            .map(|target| {
                (
                    target["scrapeUrl"].as_str().unwrap(),
                    target["labels"]["instance"].as_str().unwrap(),
                )
            })
            .collect();
        let wanted = [("http://127.0.0.1:19090/metrics", hostname.as_str())];
        // One more of the exporter, and two of the other service.
        if found == wanted && others.len() >= 3 {
            Ok(())
        } else {
            Err(format!("found are {found:?}, and not taken {others:?}"))
        }
    });
    for service in ["monitoring_docker-exit-exporter", "web"] {
        engine.docker(&["service", "rm", service]);
    }
    engine.docker(&["swarm", "leave", "--force"]);
}

/// The same rules, but what must hold for some minutes needs to hold for some seconds only.
fn hasty(rules: &str) -> String {
    const AGE: &str = "time() - 120";
    assert!(rules.contains(AGE));
    let mut hasty = String::new();
    for line in rules.replace(AGE, "time() - 3").lines() {
        if line.trim_start().starts_with("for: ") {
            hasty += "        for: 3s";
        } else {
            hasty += line;
        }
        hasty.push('\n');
    }
    hasty
}

/// Makes containers of all fates, failed ones and others.
fn make_containers(engine: &Engine) {
    let shell = |script| ["sh", "-c", script];
    run_service(engine, "web", &[], &shell("exit 1"));
    run_service(
        engine,
        "flaky",
        &[],
        &shell("[ -f /m ] && exec sleep 1000; : >/m; exit 8"),
    );
    // A counter whose first value is 1 has no increase: let it be scraped at 0.
    run_service(
        engine,
        "oom",
        &["--memory=16m", "--memory-swap=16m"],
        &shell("sleep 3; exec tail /dev/zero"),
    );
    run_service(engine, "loop", &["--restart=always"], &shell("exit 7"));
    run_service(engine, "refused", &[], &["/nosuch"]);
    let plain = ["--network=none"];
    let job = [&plain[..], &[IMAGE], &shell("exit 2")].concat();
    engine.run("job", &job);
    engine.run("gone", &[&["--rm"], &job[..]].concat());
    let done = [&plain[..], &[IMAGE], &shell("exit 0")].concat();
    engine.run("done", &done);
    for redeployed in ["stopped", "deaf"] {
        run_service(engine, redeployed, &[], &["sleep", "1000"]);
        engine.docker(&["stop", "--time=1", &engine.name(redeployed)]);
    }
    run_service(engine, "running", &[], &["sleep", "1000"]);
}

fn firing(prometheus: &Prometheus) -> Result<Firing, String> {
    let alerts = prometheus.alerts()?;
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    let named = firing.map(|alert| {
        let label = |name: &str| alert["labels"][name].as_str().map(str::to_owned);
        let about = label("name").or_else(|| label("container_label_com_docker_compose_service"));
        for text in ["summary", "description", "runbook"] {
            let text = alert["annotations"][text].as_str().unwrap_or("");
            assert!(
                !text.is_empty()
                    && !text.contains("error expanding")
                    && !text.contains("<no value>"),
                "{alert}"
            );
        }
        (label("alertname").unwrap(), about.unwrap_or_default())
    });
    Ok(named.collect())
}

/// Waits until just these fire.
fn until_firing(prometheus: &Prometheus, what: &str, wanted: &Firing) {
    prometheus.until(what, |prometheus| {
        let mut now = firing(prometheus)?;
        // Docker waits for longer and longer between restarts, soon for longer than the hasty rules do.
        now.retain(|(alert, about)| alert != "ContainerFailed" || !about.ends_with("-loop"));
        if now == *wanted {
            Ok(())
        } else {
            Err(format!("there should fire {wanted:?}, there fire {now:?}"))
        }
    });
}

fn holds(firing: &Firing, alert: &(String, String)) -> Result<(), String> {
    if firing.contains(alert) {
        Ok(())
    } else {
        Err(format!("{alert:?} does not fire, but {firing:?}"))
    }
}

/// Runs all of them: each must find something, and the overview what is there to be seen.
fn every_query_of_the_dashboard_works(prometheus: &Prometheus) {
    const AT_LEAST: [(&str, f64); 4] = [
        ("Failed and down", 4.0),
        ("Crash loops", 1.0),
        ("Out of memory", 1.0),
        ("Exporters down", 0.0),
    ];
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            let query = variable["query"]["query"].as_str().unwrap();
            let found = prometheus.query(&series_of_variable(query)).unwrap();
            assert!(!found.is_empty(), "nothing is found by {query}");
        }
    }
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            for service in [".*", "(web|flaky)"] {
                assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
                let query = target["expr"].as_str().unwrap();
                let query = substituted(query, service);
                let stat = AT_LEAST.iter().find(|(stat, _)| *stat == title);
                let least = stat.filter(|_| panel["type"] == "stat");
                // An increase is a guess: it may fall short until the next exit.
                let found = prometheus.until(title, |prometheus| {
                    let found = if target["instant"] == true {
                        prometheus.query(&query)?
                    } else {
                        prometheus.query_range(&query)?
                    };
                    let first = found.first().ok_or(format!("{query} finds nothing"))?;
                    match least {
                        Some((_, least)) if value(first) < *least => {
                            Err(format!("{query} finds {found:?}"))
                        }
                        _ => Ok(found),
                    }
                });
                queries += 1;
                println!("{title} ({service}): {} series", found.len());
            }
        }
    }
    assert!(queries > 50, "only {queries} queries");
}

/// The query with what Grafana would put for its variables.
fn substituted(query: &str, service: &str) -> String {
    let query = query
        .replace("$__rate_interval", "10s")
        .replace("$__range", "2m")
        .replace("$instance", ".*")
        .replace("$service", service);
    // What is left is for label_replace.
    assert!(!query.replace("\"$1\"", "").contains('$'), "{query}");
    query
}

/// What a variable's query asks Prometheus for.
fn series_of_variable(query: &str) -> String {
    let inside = query
        .strip_prefix("query_result(")
        .and_then(|rest| rest.strip_suffix(')'));
    let metric = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.split_once(','));
    let query = inside.or(metric.map(|(metric, _)| metric));
    substituted(query.expect("an unknown kind of variable"), ".*")
}
