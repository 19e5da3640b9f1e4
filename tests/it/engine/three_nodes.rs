//! A Swarm of three nodes with `docker-stack.yml` as it is, and what `deploy/` has for Prometheus: what an operator does
//! with services and nodes, and what fires then.

use std::fs;
use std::sync::Arc;

use super::alerting::{
    commands, common_commands, firing, hasty_rules, have_fired, let_pass, must_work, now,
    until_firing,
};
use super::image::{build_image, project};
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::machine::{Switch, address, hostname};
use crate::support::prometheus::Prometheus;

/// The image that the stack's file names.
const EXPORTER: &str = "docker-exit-exporter";
/// Not what README calls it.
const STACK: &str = "watch";
const NODES: u8 = 3;
/// Ends as soon as it is stopped.
const RUN: &str = "echo ready; trap 'exit 143' TERM; while :; do sleep 0.2; done";
/// An error of the program, which only looks like a failure.
const RUN_AND_FAIL_AT_THE_END: &str = "echo ready; trap 'exit 1' TERM; while :; do sleep 0.2; done";
const FAIL: &str = "echo no database; exit 3";

/// The nodes, of which the first is the manager.
struct Swarm {
    prometheus: Prometheus,
    nodes: Vec<Engine>,
    /// The last, so that the nodes are still joined when they end.
    _switch: Arc<Switch>,
}

impl Swarm {
    /// With the exporter's stack deployed, and scraped on every node.
    fn new() -> Self {
        let switch = Arc::new(Switch::new());
        let nodes: Vec<_> = (1..=NODES)
            .map(|number| Engine::private_on(&switch, number))
            .collect();
        let manager = &nodes[0];
        build_image(manager, EXPORTER);
        let image = manager.folder.join("image.tar").display().to_string();
        manager.docker(&["save", "--output", &image, EXPORTER]);
        manager.docker(&["swarm", "init", "--advertise-addr", &address(1)]);
        let token = manager.docker(&["swarm", "join-token", "--quiet", "worker"]);
        for node in &nodes[1..] {
            node.docker(&["load", "--input", &image]);
            let to = format!("{}:2377", address(1));
            node.docker(&["swarm", "join", "--token", &token, &to]);
        }
        let file = project("docker-stack.yml").display().to_string();
        let deploy = ["stack", "deploy", "--resolve-image=never", "--compose-file"];
        manager.docker(&[&deploy[..], &[&file, STACK]].concat());

        let prometheus = Prometheus::start_on(
            &switch,
            &manager.folder,
            &configuration(manager),
            &hasty_rules(),
        );
        let swarm = Self {
            prometheus,
            nodes,
            _switch: switch,
        };
        swarm.until_scraped(&[1, 2, 3]);
        swarm
    }

    fn manager(&self) -> &Engine {
        &self.nodes[0]
    }

    /// Runs a command of the Docker client on the manager.
    fn docker(&self, arguments: &[&str]) -> String {
        self.manager().docker(arguments)
    }

    fn create(&self, service: &str, options: &[&str], script: &str) {
        let create = ["service", "create", "--detach", "--name", service];
        let how = [
            "--no-resolve-image",
            "--network=host",
            "--restart-delay=1s",
            "--hostname={{.Node.Hostname}}",
        ];
        let command = [IMAGE, "sh", "-c", script];
        self.docker(&[&create, &how[..], options, &command].concat());
    }

    /// Waits until just these nodes are targets, each once, and all of them answer.
    fn until_scraped(&self, numbers: &[u8]) {
        self.until_targets(numbers, |target| target["health"] == "up");
    }

    fn until_targets(&self, numbers: &[u8], check: impl Fn(&serde_json::Value) -> bool) {
        self.prometheus
            .until("the nodes are targets", |prometheus| {
                let (targets, _) = prometheus.targets()?;
                let mut found: Vec<_> = targets
                    .iter()
                    .map(|target| {
                        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
                        (
                            text(&target["scrapeUrl"]),
                            text(&target["labels"]["instance"]),
                        )
                    })
                    .collect();
                found.sort();
                let wanted = numbers.iter().map(|number| {
                    let url = format!("http://{}:9090/metrics", address(*number));
                    (url, hostname(*number))
                });
                if wanted.eq(found) && targets.iter().all(&check) {
                    return Ok(());
                }
                let tasks = self.manager().try_docker(&["stack", "ps", STACK]);
                Err(format!(
                    "there should be {numbers:?}, not {targets:?}\n{tasks:?}"
                ))
            });
    }

    /// Replaces the exporters on all nodes, as an update does: of all of them at once.
    fn update_exporters(&self) {
        let before = now(&self.prometheus);
        let service = format!("{STACK}_{EXPORTER}");
        let update = ["service", "update", "--detach", "--force"];
        self.docker(&[&update[..], &["--update-parallelism=0", &service]].concat());
        self.prometheus.until("new exporters", |prometheus| {
            let query =
                format!("process_start_time_seconds > {before} and on(instance) docker_up == 1");
            match prometheus.query(&query)?.len() {
                3 => Ok(()),
                new => Err(format!("{new} nodes have a new exporter")),
            }
        });
    }

    /// Runs the commands of the runbooks that find the exporter or are about the Swarm: on the manager, and those that
    /// are about one host on every node.
    fn try_texts(&self) {
        let mut of_swarm = 0;
        for command in &common_commands() {
            if ["docker service ", "docker node "]
                .iter()
                .any(|it| command.starts_with(it))
            {
                must_work(&self.manager().url(), command);
                of_swarm += 1;
            } else if command.contains("label=org.opencontainers.image.title=") {
                for node in &self.nodes {
                    must_work(&node.url(), command);
                }
            }
        }
        assert!(of_swarm >= 3, "only {of_swarm} commands");
    }

    /// Waits until the next task of a service that fails is made, and waits for its start. Between a failure and that
    /// there is a moment in which nobody can know whether there will be a next one.
    fn until_replaced(&self, service: &str) {
        self.prometheus.until("the next task", |_| {
            let filter = format!("label=com.docker.swarm.service.name={service}");
            let list = [
                "ps",
                "--all",
                "--quiet",
                "--filter=status=created",
                "--filter",
                &filter,
            ];
            let next = self
                .nodes
                .iter()
                .find(|node| !node.docker(&list).is_empty());
            next.map(|_| ()).ok_or("none is made".to_owned())
        });
    }

    /// Runs those commands of the runbooks of these services' alerts that begin like this, on the manager.
    fn try_runbooks(&self, service: &str, beginnings: &[&str]) {
        let commands = commands(&self.prometheus);
        let of_service = commands.iter().filter(|(labels, _)| {
            labels["container_label_com_docker_swarm_service_name"] == service
        });
        for beginning in beginnings {
            let mut of_service = of_service.clone();
            let command = of_service.find(|(_, command)| command.starts_with(beginning));
            let (_, command) = command.unwrap_or_else(|| panic!("{beginning}: {commands:?}"));
            must_work(&self.manager().url(), command);
        }
    }
}

/// That of `deploy/prometheus.yml` with its Swarm job alone, another socket, and shorter intervals.
fn configuration(manager: &Engine) -> String {
    let text = fs::read_to_string(project("deploy/prometheus.yml")).unwrap();
    let (head, jobs) = text.split_once("scrape_configs:\n").unwrap();
    let at = jobs
        .find("  - job_name: docker-exit-exporter-swarm\n")
        .unwrap();
    let text = format!("{head}scrape_configs:\n{}", &jobs[at..]);
    assert!(text.contains("unix:///var/run/docker.sock"), "{text}");
    assert_eq!(text.matches("_interval: 15s").count(), 3, "{text}");
    text.replace("unix:///var/run/docker.sock", &manager.url())
        .replace("_interval: 15s", "_interval: 1s")
}

#[test]
#[ignore = "needs real Docker Engines and Prometheus: cargo test --test it engine:: -- --ignored"]
fn a_swarm_tells_of_services_that_fail_again_and_again() {
    let swarm = Swarm::new();
    let prometheus = &swarm.prometheus;
    let three = "--replicas=3";
    swarm.create("rolling", &[three], RUN);
    swarm.create("stubborn", &[three], RUN_AND_FAIL_AT_THE_END);
    swarm.create("bad", &[three], RUN);
    swarm.create("removed", &[three], FAIL);
    // The next task of the one is always on the same node, and of the other mostly on another.
    let slow = "--restart-delay=3s";
    swarm.create("scaled", &[slow], FAIL);
    let stays = [slow, "--constraint=node.hostname==node-2"];
    swarm.create("scaled-here", &stays, FAIL);
    // Two, since a busy machine takes its time to find one of them unhealthy.
    let health = [
        "--replicas=2",
        "--health-cmd=false",
        "--health-interval=500ms",
        "--health-retries=1",
    ];
    swarm.create("sick", &health, RUN);
    let update = ["service", "update", "--detach"];
    let args = |script: &str| format!("--args=sh -c \"{script}\"");
    swarm.docker(&[&update[..], &[&args(FAIL), "bad"]].concat());
    let looping = "ContainerCrashLooping";
    let all = ["bad", "removed", "scaled", "scaled-here", "sick"].map(|service| (looping, service));
    let before = until_firing(prometheus, "all loops", &all);

    swarm.update_exporters();
    for service in ["rolling", "stubborn"] {
        swarm.docker(&[&update[..], &["--force", service]].concat());
    }
    let_pass(prometheus, 300.0);
    assert_eq!(firing(prometheus).unwrap(), before);

    for (_, service) in all {
        let look = ["docker service ps ", "docker service logs "];
        swarm.try_runbooks(service, &look);
    }
    swarm.try_runbooks("bad", &["docker service rollback "]);
    for service in ["scaled", "scaled-here"] {
        swarm.until_replaced(service);
        swarm.try_runbooks(service, &["docker service scale "]);
    }
    swarm.docker(&["service", "rm", "removed"]);
    until_firing(prometheus, "the cured ones", &[(looping, "sick")]);
    let_pass(prometheus, 300.0);
    // The next exporters cannot know what had replaced the tasks that are left: Docker has forgotten it, too.
    for node in &swarm.nodes {
        node.forget_events();
    }
    swarm.update_exporters();
    let_pass(prometheus, 300.0);
    swarm.docker(&["service", "rm", "sick"]);
    until_firing(prometheus, "nothing", &[]);
    have_fired(prometheus, &all);
    swarm.docker(&[
        "service",
        "rm",
        "rolling",
        "stubborn",
        "bad",
        "scaled",
        "scaled-here",
    ]);
}

#[test]
#[ignore = "needs real Docker Engines and Prometheus: cargo test --test it engine:: -- --ignored"]
fn a_swarm_tells_of_a_node_that_dies_and_not_of_one_that_is_drained() {
    let mut swarm = Swarm::new();
    swarm.try_texts();
    // What fails on the second node works on any other one.
    let fail = format!("[ $(busybox hostname) = node-2 ] && exit 4; {RUN}");
    swarm.create("moved", &["--constraint=node.hostname==node-2"], &fail);
    swarm.create("stubborn", &["--mode=global"], RUN_AND_FAIL_AT_THE_END);
    swarm.create("spread", &["--replicas=3"], RUN);
    swarm.prometheus.until("a failure", |prometheus| {
        let query =
            "container_exit_code{container_label_com_docker_swarm_service_name=\"moved\"} == 4";
        match prometheus.query(query)?.len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
    let update = ["service", "update", "--detach"];
    let constraints = [
        "--constraint-rm=node.hostname==node-2",
        "--constraint-add=node.hostname!=node-2",
        "moved",
    ];
    swarm.docker(&[&update[..], &constraints].concat());
    let_pass(&swarm.prometheus, 300.0);
    until_firing(&swarm.prometheus, "it runs elsewhere", &[]);

    swarm.docker(&["node", "update", "--availability=drain", "node-2"]);
    swarm.until_scraped(&[1, 3]);
    let_pass(&swarm.prometheus, 400.0);
    swarm.docker(&["node", "update", "--availability=active", "node-2"]);
    swarm.until_scraped(&[1, 2, 3]);
    let_pass(&swarm.prometheus, 200.0);
    until_firing(&swarm.prometheus, "a node was drained", &[]);

    swarm.nodes[2].kill();
    let down = [("DockerExitExporterDown", "node-3")];
    until_firing(&swarm.prometheus, "a node is dead", &down);
    swarm.until_targets(&[1, 2, 3], |_| true);
    swarm.docker(&["node", "rm", "--force", "node-3"]);
    swarm.until_scraped(&[1, 2]);
    until_firing(&swarm.prometheus, "it was removed", &[]);
    have_fired(&swarm.prometheus, &down);
    swarm.docker(&["service", "rm", "moved", "stubborn", "spread"]);
}
