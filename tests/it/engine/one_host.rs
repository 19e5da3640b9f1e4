//! What goes wrong on one host, what an operator does about it, and what fires then: a real Prometheus with the rules of
//! `deploy/`, in a hurry, and the commands that the alerts and README name.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::alerting::{
    commands, common_commands, docker_commands, firing, hasty_rules, have_fired, let_pass,
    must_work, until_firing,
};
use super::image::{build_image, project};
use super::workloads::{follows, run_service};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped, free_port};
use crate::support::prometheus::Prometheus;
use crate::support::waiting::{PATIENCE, eventually};

/// The image of the jobs of which many fail.
const TOOLS: &str = "tools:1";
/// What they end with.
const CODES: [u8; 5] = [2, 3, 4, 5, 6];
/// How long an exit stays shown, in seconds: a twentieth of what it is by default.
const RETENTION: [&str; 2] = ["--retention", "15"];
/// What finds the exporter's container.
const TITLE: &str = "label=org.opencontainers.image.title=docker-exit-exporter";
/// Runs out of memory. More than once, since Docker does not notice each time.
const TAKE_MEMORY: &str = "echo hello; tail /dev/zero; tail /dev/zero; exec tail /dev/zero";
const LITTLE_MEMORY: [&str; 2] = ["--memory=16m", "--memory-swap=16m"];

#[test]
#[ignore = "needs a real Docker Engine and Prometheus: cargo test --test it engine:: -- --ignored"]
fn a_host_tells_of_each_failure_until_it_is_cured() {
    let engine = Engine::private();
    let port = free_port();
    let mut exporter = Exporter::start_on(port, &engine.url(), &RETENTION);
    exporter.until("the start", follows);
    let prometheus = Prometheus::start(&engine.folder, port, &hasty_rules());
    engine.docker(&["tag", IMAGE, TOOLS]);
    make_what_was_asked_for(&engine);
    make_failures(&engine);

    let names = [
        ("ContainerCrashLooping", "removed"),
        ("ContainerCrashLooping", "stopped"),
        ("ContainerCrashLooping", "completed"),
        ("ContainerDown", "web"),
        ("ContainerDown", "exhausted"),
        ("ContainerDown", "first"),
        ("ContainerJobFailed", "killed-job"),
        ("ContainerJobFailed", "gone"),
        ("ContainerStartFailed", "refused"),
    ]
    .map(|(alert, short)| (alert, engine.name(short)));
    let mut wanted: Vec<_> = names
        .iter()
        .map(|(alert, name)| (*alert, name.as_str()))
        .collect();
    wanted.extend([
        ("ContainerJobsFailed", TOOLS),
        // Of the job, which is gone, and of two services.
        ("ContainerOutOfMemory", IMAGE),
        ("ContainerOutOfMemory", "first"),
        ("ContainerOutOfMemory", "children"),
    ]);
    let all = wanted.clone();
    let before = until_firing(&prometheus, "every failure", &wanted);
    children_were_killed_and_their_container_runs(&engine);

    // An update of the exporter.
    exporter.end_by("TERM");
    drop(exporter);
    let exporter = Exporter::start_on(port, &engine.url(), &RETENTION);
    exporter.until("the new exporter's start", follows);
    let_pass(&prometheus, 60.0);
    let after = firing(&prometheus).unwrap();
    assert_eq!(after, before);

    try_runbooks(&engine, &prometheus);

    engine.docker(&["rm", "--force", &engine.name("removed")]);
    engine.docker(&["stop", "--time=1", &engine.name("stopped")]);
    for number in CODES {
        engine.docker(&["rm", &engine.name(&format!("job-{number}"))]);
    }
    let left = [engine.name("completed"), engine.name("first")];
    wanted.retain(|(alert, about)| {
        *alert == "ContainerOutOfMemory" || left.iter().any(|it| it == about)
    });
    until_firing(&prometheus, "the others", &wanted);
    // What ran out of memory is no longer shown, and still reported.
    exporter.until("the job is forgotten", |metrics| {
        let name = engine.name("killed-job");
        match metrics.value("container_exit_code", &[("name", &name)]) {
            None => Ok(()),
            code => Err(format!("{code:?}")),
        }
    });
    let_pass(&prometheus, 120.0);
    until_firing(&prometheus, "the others still", &wanted);
    have_fired(&prometheus, &all);
}

/// Failures of all kinds.
fn make_failures(engine: &Engine) {
    let serve = |service: &str, options: &[&str], script: &str| {
        run_service(engine, service, options, &["sh", "-c", script]);
    };
    // Its first and only failure is before any scrape.
    serve("first", &LITTLE_MEMORY, TAKE_MEMORY);
    for (service, code) in [("removed", 7), ("stopped", 7), ("completed", 0)] {
        // Every fourth run takes so long that Docker starts the next one at once.
        let script = format!(
            "echo hello; n=$(cat /n); echo $((n + 1)) >/n; [ $((n % 4)) = 3 ] && sleep 10.2; exit {code}"
        );
        serve(service, &["--restart=always"], &script);
    }
    let once = "echo hello; [ -f /m ] && exec sleep 1000; : >/m; exit 1";
    serve("web", &[], once);
    let children = "while true; do tail /dev/zero; sleep 2; done";
    serve("children", &LITTLE_MEMORY, children);
    run_service(engine, "refused", &[], &["/nosuch"]);

    let run = |name: &str, options: &[&str], image: &str, script: &str| {
        let plain = ["--detach", "--network=none"];
        let command = [image, "sh", "-c", script];
        engine.run(name, &[&plain, options, &command].concat());
    };
    let exhausted = ["--restart=on-failure:1"];
    run("exhausted", &exhausted, IMAGE, "echo hello; exit 9");
    run("gone", &["--rm"], IMAGE, "exit 2");
    let little = [&["--rm"], &LITTLE_MEMORY[..]].concat();
    run("killed-job", &little, IMAGE, TAKE_MEMORY);
    for number in CODES {
        let script = format!("echo hello; exit {number}");
        run(&format!("job-{number}"), &[], TOOLS, &script);
    }
    run("done", &[], TOOLS, "exit 0");
}

/// What ends because somebody asked for it, and must never alert.
fn make_what_was_asked_for(engine: &Engine) {
    let end: [(&str, &[&str]); 5] = [
        ("asked-to-stop", &["stop", "--time=1"]),
        ("asked-to-end", &["kill", "--signal=TERM"]),
        ("asked-to-die", &["kill"]),
        ("asked-to-start-again", &["restart", "--time=1"]),
        ("asked-to-go", &["rm", "--force"]),
    ];
    for (service, command) in end {
        let script = "trap 'exit 143' TERM; while :; do sleep 0.1; done";
        run_service(
            engine,
            service,
            &["--restart=unless-stopped"],
            &["sh", "-c", script],
        );
        engine.docker(&[command, &[&engine.name(service)]].concat());
    }
}

fn children_were_killed_and_their_container_runs(engine: &Engine) {
    assert_eq!(engine.inspect("children")["State"]["Running"], true);
}

/// Runs what the alerts that fire tell an operator to run: first what looks, then what changes something.
fn try_runbooks(engine: &Engine, prometheus: &Prometheus) {
    let is_gone = |labels: &Value| {
        let name = labels["name"].as_str();
        name.is_some_and(|name| engine.try_docker(&["inspect", name]).is_err())
    };
    let commands = commands(prometheus).into_iter();
    let commands: BTreeSet<_> = commands
        .filter(|(labels, _)| !is_gone(labels))
        .map(|(_, command)| command)
        .collect();
    let changes = |command: &str| {
        let verbs = ["docker start ", "docker rm ", "docker update "];
        verbs.iter().any(|verb| command.starts_with(verb))
    };
    for command in commands.iter().filter(|command| !changes(command)) {
        // The text goes on: "and the name".
        let name = match command.as_str() {
            "docker logs --tail 100" => engine.name("job-2"),
            _ => String::new(),
        };
        must_work(&engine.url(), &format!("{command} {name}"));
    }
    let update = commands.iter().find(|it| it.starts_with("docker update "));
    let update = format!("{} {}", update.unwrap(), engine.name("children"));
    must_work(&engine.url(), &update);
    for (verb, short) in [("start", "web"), ("rm", "exhausted"), ("rm", "refused")] {
        let command = format!("docker {verb} {}", engine.name(short));
        assert!(
            commands.contains(&command),
            "{command} is not in {commands:?}"
        );
        must_work(&engine.url(), &command);
    }
}

/// Started as README says, and as the Compose file does: the commands of runbooks and README find it.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_commands_that_the_texts_name_find_the_exporter() {
    let engine = Engine::private_with_network();
    build_image(&engine, "docker-exit-exporter");
    let readme = fs::read_to_string(project("README.md")).unwrap();
    let run = readme
        .find("docker run -d --name docker-exit-exporter")
        .unwrap();
    let run = &readme[run..];
    let run = &run[..run.find("\ncurl").unwrap()];
    engine.shell(run);
    texts_find_the_exporter(&engine, &readme);
    engine.docker(&["rm", "--force", "docker-exit-exporter"]);

    let compose = fs::read_to_string(project("docker-compose.yml")).unwrap();
    let value = |key: &str| {
        let mut lines = compose.lines();
        let value = lines.find_map(|line| line.trim().strip_prefix(key));
        let value = value.unwrap_or_else(|| panic!("docker-compose.yml has no {key}"));
        // `${VARIABLE:-default}`
        let default = value
            .split_once(":-")
            .map(|(_, it)| it.trim_end_matches('}'));
        default.unwrap_or(value)
    };
    // There may be no plugin: what it would do.
    engine.docker(&[
        "run",
        "--detach",
        "--name",
        value("container_name: "),
        "--label=com.docker.compose.project=somewhere",
        "--label=com.docker.compose.service=docker-exit-exporter",
        "--volume=/var/run/docker.sock:/var/run/docker.sock:ro",
        value("image: "),
    ]);
    texts_find_the_exporter(&engine, &readme);
    engine.docker(&["rm", "--force", value("container_name: ")]);
}

/// Tries each command that needs no Swarm and is complete as it is printed.
fn texts_find_the_exporter(engine: &Engine, readme: &str) {
    let is_ready = eventually(PATIENCE, || {
        let find = ["ps", "--quiet", "--filter", TITLE];
        let id = engine.docker(&find);
        engine.try_docker(&["exec", &id, "/docker-exit-exporter", "healthcheck"])
    });
    is_ready.unwrap_or_else(|why| panic!("{why}"));
    let of_runbooks = common_commands();
    let of_readme = docker_commands(readme).filter(|it| it.contains(" docker-exit-exporter"));
    let commands: BTreeSet<_> = of_runbooks
        .iter()
        .map(String::as_str)
        .chain(of_readme)
        .collect();
    let mut tried = 0;
    for command in commands {
        if command.starts_with("docker exec ") {
            engine.shell(command); // It says nothing if all is well.
        } else if command.contains(TITLE) || command == "docker logs docker-exit-exporter" {
            must_work(&engine.url(), command);
        } else {
            continue;
        }
        tried += 1;
    }
    assert!(tried >= 3, "only {tried} commands");
}
