//! `docker-stack.yml` as it is, deployed to a Swarm of one node, beside a service that crashes.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::image::{build_image, project};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::is_up;
use crate::support::metrics::Metrics;
use crate::support::waiting::eventually;

/// The image that the file names.
const EXPORTER: &str = "docker-exit-exporter";
/// The port that it publishes.
const PORT: u16 = 9090;
/// The label of a container that names its service.
const SERVICE: &str = "com.docker.swarm.service.name";
const SERVICE_LABEL: &str = "container_label_com_docker_swarm_service_name";
/// How often a service is tried again after its first task failed.
const RETRIES: usize = 3;
/// The image's health check runs for the first time after 30 s.
const UNTIL_HEALTHY: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_stack_file_shows_a_service_that_fails_and_recovers() {
    let engine = Engine::private_with_network();
    build_image(&engine, EXPORTER);
    engine.docker(&[
        "swarm",
        "init",
        "--advertise-addr=127.0.0.1",
        "--listen-addr=127.0.0.1",
    ]);
    let file = project("docker-stack.yml").display().to_string();
    engine.docker(&[
        "stack",
        "deploy",
        "--resolve-image=never",
        "--compose-file",
        &file,
        "exits",
    ]);
    let exporter = until("the exporter runs", &engine, || {
        let running = tasks(&engine, "exits_docker-exit-exporter")?;
        let mut running = running.into_iter();
        let it = running.find(|it| it["State"]["Running"] == true);
        it.ok_or_else(|| engine.docker(&["stack", "ps", "--no-trunc", "exits"]))
    });
    is_as_the_file_says(&engine, &exporter);

    let crash = engine.name("crash");
    engine.docker(&[
        "service",
        "create",
        "--detach",
        "--name",
        &crash,
        "--no-resolve-image",
        "--network=host",
        "--restart-delay=100ms",
        &format!("--restart-max-attempts={RETRIES}"),
        IMAGE,
        "sh",
        "-c",
        "exit 3",
    ]);
    let exits = until("only the newest task is not superseded", &engine, || {
        let mut tasks = tasks(&engine, &crash)?;
        tasks.sort_by_key(|task| task["Created"].to_string());
        let count = tasks.len();
        if count <= RETRIES {
            return Err(format!("so far {count} tasks"));
        }
        let names = tasks.iter().map(|it| it["Name"].as_str().unwrap());
        let names = names.map(|name| name.trim_start_matches('/').to_owned());
        let wanted: BTreeMap<_, _> = names
            .zip(1..)
            .map(|(name, at)| (name, at < count))
            .collect();
        let shown = superseded(&engine, &crash)?;
        if shown == wanted {
            Ok(shown)
        } else {
            Err(format!("wanted {wanted:?}, shown {shown:?}"))
        }
    });

    engine.docker(&["service", "update", "--detach", "--args=sleep 1000", &crash]);
    until("all old tasks are superseded", &engine, || {
        let shown = superseded(&engine, &crash)?;
        let running = tasks(&engine, &crash)?;
        let runs = running.iter().any(|it| it["State"]["Running"] == true);
        let same = shown.keys().eq(exits.keys());
        if runs && same && shown.values().all(|superseded| *superseded) {
            Ok(())
        } else {
            Err(format!("one runs: {runs}; shown: {shown:?}"))
        }
    });

    // The image's own health check, unchanged, says so to the Swarm.
    until("the exporter is healthy", &engine, || {
        let running = tasks(&engine, "exits_docker-exit-exporter")?;
        match running.as_slice() {
            [it] if it["State"]["Health"]["Status"] == "healthy" && it["Id"] == exporter["Id"] => {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    });
    until("the Swarm knows", &engine, || {
        let format = "{{.Name}} {{.Mode}} {{.Replicas}}";
        let replicas = engine.docker(&["service", "ls", "--format", format]);
        let wanted = "exits_docker-exit-exporter global 1/1";
        match replicas.lines().find(|it| *it == wanted) {
            Some(_) => Ok(()),
            None => Err(replicas),
        }
    });
    engine.docker(&["service", "rm", &crash]);
    engine.docker(&["stack", "rm", "exits"]);
}

/// Whether what the file asks for has come to the container, and the process is nobody.
fn is_as_the_file_says(engine: &Engine, container: &Value) {
    let node = engine.docker(&[
        "node",
        "inspect",
        "self",
        "--format",
        "{{.Description.Hostname}}",
    ]);
    assert_eq!(container["Config"]["Hostname"], node);
    let host = &container["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["CapAdd"], json!(["CAP_SETGID", "CAP_SETUID"]));
    assert_eq!(host["Memory"], 128 << 20);
    assert_eq!(host["PidsLimit"], 256);
    let mount = &container["Mounts"][0];
    assert_eq!(mount["Destination"], "/var/run/docker.sock");
    assert_eq!(mount["RW"], false);
    let check = &container["Config"]["Healthcheck"]["Test"];
    assert_eq!(
        *check,
        json!(["CMD", "/docker-exit-exporter", "healthcheck"])
    );

    until("it answers as nobody", engine, || {
        is_up(&Metrics::parse(&engine.get(PORT, "/metrics")?))
    });
    let pid = &container["State"]["Pid"];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(
        status.contains("\nUid:\t65534\t65534\t65534\t65534\n"),
        "{status}"
    );
    assert!(status.contains("\nCapEff:\t0000000000000000\n"), "{status}");
}

/// Of each exit of the service that is shown, by the task's name, whether it is superseded; the labels are checked.
fn superseded(engine: &Engine, service: &str) -> Result<BTreeMap<String, bool>, String> {
    let metrics = Metrics::parse(&engine.get(PORT, "/metrics")?);
    let of_it = |name| {
        let samples = metrics.named(name);
        samples.filter(|it| it.labels.get(SERVICE_LABEL).is_some_and(|it| it == service))
    };
    let codes: Vec<_> = of_it("container_exit_code").collect();
    let values: Vec<_> = of_it("container_exit_superseded").collect();
    assert_eq!(codes.len(), values.len());
    for (code, value) in codes.iter().zip(&values) {
        assert_eq!(code.labels, value.labels);
        assert_eq!(code.value.to_string(), "3", "{code:?}");
        let task = &value.labels["container_label_com_docker_swarm_task_name"];
        assert_eq!(*task, value.labels["name"]);
        assert!(task.starts_with(&format!("{service}.1.")), "{task}");
    }
    let values = values.into_iter().map(|it| {
        let superseded = match it.value.to_string().as_str() {
            "0" => false,
            "1" => true,
            _ => panic!("{it:?}"),
        };
        (it.labels["name"].clone(), superseded)
    });
    Ok(values.collect())
}

/// What `docker inspect` says of the containers of a service.
fn tasks(engine: &Engine, service: &str) -> Result<Vec<Value>, String> {
    let mut all = engine.inspect_all()?;
    all.retain(|it| it["Config"]["Labels"][SERVICE] == service);
    Ok(all)
}

fn until<T>(what: &str, engine: &Engine, attempt: impl FnMut() -> Result<T, String>) -> T {
    eventually(UNTIL_HEALTHY, attempt).unwrap_or_else(|why| {
        let tasks = engine.try_docker(&["stack", "ps", "--no-trunc", "exits"]);
        panic!("{what}: {why}\n{tasks:?}")
    })
}
