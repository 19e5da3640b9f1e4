//! The exporter without Docker: it watches a simulated Engine whose containers end, crash and come
//! back while you watch.
//!
//! ```text
//! cargo run --release --example demo
//! ```
//!
//! It takes the exporter's own flags, such as `--port`.

use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use std::{env, thread};

use docker_exit_exporter::config::Command;
use docker_exit_exporter::{exporter, logging};
use jiff::{SignedDuration, Timestamp};
use log::LevelFilter;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use test_support::container::Container;
use test_support::fake_engine::{Answer, FakeEngine};

/// Time between two things that happen on the simulated host.
const PACE: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    let Command::Serve(mut config) =
        Command::parse(env::args_os().skip(1), |name| env::var_os(name))?
    else {
        return Err("the demo only serves".into());
    };
    logging::init(config.log.as_ref(), LevelFilter::Info);
    let engine = FakeEngine::start();
    config.docker_host = engine.address().parse()?;
    let info = json!({
        "Name": "docker-1", "ServerVersion": "28.5.2", "CgroupDriver": "cgroupfs", "CgroupVersion": "2",
    });
    engine.answer("/info", Answer::json("200 OK", &info));
    for container in at_the_start() {
        engine.put(container);
    }

    let listener = TcpListener::bind(config.listen)?;
    let port = listener.local_addr()?.port();
    exporter::start(&config, listener)?;
    println!(
        "A simulated Docker host is on http://localhost:{port}/ and /metrics. Press Ctrl-C to stop."
    );
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let engine = Arc::new(engine);
    let host = Arc::clone(&engine);
    thread::spawn(move || {
        loop {
            live(&host);
        }
    });
    signals.forever().next();
    engine.clean_up();
    Ok(())
}

fn at_the_start() -> Vec<Container> {
    let shop = |number, service: &str| {
        let name = format!("shop-{service}-1");
        created(number, &name)
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", service)
            .label("com.docker.compose.container-number", "1")
    };
    let mut not_found = created(5, "typo");
    not_found.code = 127;
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc \
     create failed: unable to start container process: error during container init: exec: \
     \"/bin/srever\": stat /bin/srever: no such file or directory"
        .clone_into(&mut not_found.error);
    vec![
        shop(1, "web").start(),
        shop(2, "worker").start(),
        after(shop(3, "migrate").start(), 2).exit(0),
        not_found,
        ended(4, "backup", "restic/restic:0.17.3", 1, [47, 312]),
        ended(
            8,
            "report-monthly",
            "ghcr.io/example/report:2.4.0",
            0,
            [3700, 4100],
        ),
        ended(9, "db-old", "postgres:16", 143, [8000, 1_047_600]),
        ended(
            10,
            "importer",
            "ghcr.io/example/importer:1.9.2",
            139,
            [95_000, 7],
        ),
        ended(11, "seed", "busybox", 0, [260_000, 1]),
    ]
}

/// One with an id like Docker's, that was made a while ago and was never started.
fn created(number: u64, name: &str) -> Container {
    let mut container = Container::created(number, name);
    container.id = format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
    container.made_at = Timestamp::now().as_second() - 840;
    container
}

/// The same, started so many seconds ago.
fn after(mut container: Container, seconds: i64) -> Container {
    container.started_at = Some(Timestamp::now() - SignedDuration::from_secs(seconds));
    container
}

/// One that ended so many seconds ago, after so many.
fn ended(number: u64, name: &str, image: &str, code: i64, [ago, ran]: [i64; 2]) -> Container {
    let mut container = created(number, name).exit(code);
    image.clone_into(&mut container.image);
    let finished = Timestamp::now() - SignedDuration::from_secs(ago);
    container.finished_at = Some(finished);
    container.started_at = Some(finished - SignedDuration::from_secs(ran));
    container
}

/// A round of what happens: a worker that runs out of memory and comes back, a Swarm task that
/// crashes, a job that is removed as soon as it has ended.
fn live(engine: &FakeEngine) {
    thread::sleep(PACE);
    let worker = after(at_the_start().remove(1), 93);
    engine.happen("oom", &worker, &[]);
    engine.end(&worker, 137);
    thread::sleep(PACE);

    let task = created(6, "api_web.1.i42g4nl49a7gg0ucwkbcjpxr0")
        .label("com.docker.stack.namespace", "api")
        .label("com.docker.swarm.service.name", "api_web")
        .start();
    engine.run(&task);
    let worker = worker.start();
    engine.put(worker.clone());
    engine.happen("start", &worker, &[]);
    thread::sleep(PACE);
    engine.end(&task, 42);
    thread::sleep(PACE);

    let job = created(7, "report").start();
    engine.run(&job);
    thread::sleep(PACE);
    engine.end(&job, 0);
    engine.destroy(&job);
    engine.destroy(&task);
}
