//! Faults of the Engine and of its socket while containers end: each is told once when it begins and once when it is
//! over, `/metrics` answers all along, and each exit that the Engine still knows of counts, once.
//!
//! What becomes of running containers when the daemon is stopped or killed is in [`super::restarts`].

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::workloads::{counted, follows, run_service, service, until_listed_again};
use crate::support::dockerd::{Engine, until_gone};
use crate::support::exporter::{Exporter, Scraped, is_down, is_up, scrape_during};
use crate::support::metrics::Metrics;
use crate::support::proxy::Proxy;
use crate::support::waiting::{PATIENCE, eventually, signal};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// How long a scrape may take, whatever the Engine does.
const ANSWER: Duration = Duration::from_secs(1);

/// Known containers are shown for at least so long without a listing.
const STAY: Duration = Duration::from_secs(45);

/// Does some work, while `/metrics` must answer.
fn answers_during(exporter: &Exporter, work: impl FnOnce()) {
    let (mut last, mut slowest) = (Instant::now(), Duration::ZERO);
    let read = |_: &str| {
        let took = last.elapsed();
        assert!(took < ANSWER, "no answer for {took:?}: {}", exporter.said());
        slowest = slowest.max(took);
        last = Instant::now();
    };
    scrape_during(exporter, Duration::from_millis(100), read, work);
    println!("the longest time without an answer was {slowest:?}");
}

/// The lines that it logged after so many others, without those that tell an exit.
fn said_after(exporter: &Exporter, lines: usize) -> Vec<String> {
    let said = exporter.said();
    let new = said.lines().skip(lines);
    let of_engine = new.filter(|line| !line.contains(" exited with code "));
    of_engine.map(str::to_owned).collect()
}

/// Whether each line has the text that is wanted in its place, and there are no others.
fn tells(lines: &[String], wanted: &[&str]) {
    let pairs = lines.iter().zip(wanted);
    assert!(
        lines.len() == wanted.len() && pairs.clone().all(|(line, text)| line.contains(text)),
        "there should be one line each of {wanted:?}:\n{}",
        lines.join("\n")
    );
}

/// The code that is shown of a container's last run, which is over.
fn code(engine: &Engine, metrics: &Metrics, short: &str) -> Option<f64> {
    metrics.value("container_exit_code", &[("name", &engine.name(short))])
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_daemon_that_hangs_is_told_once_and_what_ended_meanwhile_is_counted_once() {
    let engine = Engine::private();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    run_service(&engine, "done", &[], &["sh", "-c", "exit 3"]);
    for (short, option) in [
        ("killed", "--restart=no"),
        ("gone", "--rm"),
        ("again", "--restart=always"),
    ] {
        run_service(&engine, short, &[option], &SLEEP);
    }
    exporter.until("what ended before", |metrics| {
        counted(metrics, &service("done"), &[("error", 1)])
    });
    let pids =
        ["killed", "gone", "again"].map(|short| engine.inspect(short)["State"]["Pid"].to_string());

    let lines = exporter.said().lines().count();
    answers_during(&exporter, || {
        engine.freeze();
        for pid in &pids {
            signal(pid.parse().unwrap(), "KILL");
            until_gone(pid);
        }
        let last = exporter.until("the listing's deadline", |metrics| {
            is_down(metrics)?;
            assert_eq!(
                code(&engine, metrics, "done"),
                Some(3.0),
                "what is known stays"
            );
            let family = "docker_exit_exporter_last_collection_timestamp_seconds";
            Ok(metrics.value(family, &[]).unwrap())
        });
        exporter.until("what is known is too old", |metrics| {
            is_down(metrics)?;
            counted(metrics, &service("done"), &[("error", 1)])?;
            let shown = metrics.named("container_exit_code").count();
            if shown > 0 {
                return Err(format!("{shown} exits are shown"));
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let age = now.as_secs_f64() - last;
            assert!(age >= STAY.as_secs_f64(), "they left after {age} s");
            Ok(())
        });
        engine.thaw();
        exporter.until("the daemon is back", is_up);
    });
    let all = |metrics: &Metrics| {
        follows(metrics)?;
        counted(metrics, &service("done"), &[("error", 1)])?;
        for short in ["killed", "gone", "again"] {
            counted(metrics, &service(short), &[("signaled", 1)])?;
        }
        let again = engine.name("again");
        let last = metrics.value("container_last_exit_code", &[("name", &again)]);
        let codes = ["done", "killed", "gone"].map(|short| code(&engine, metrics, short));
        if (codes, last) == ([Some(3.0), Some(137.0), Some(137.0)], Some(137.0)) {
            Ok(())
        } else {
            Err(format!("the codes are {codes:?} and {last:?}"))
        }
    };
    exporter.until("what ended", all);
    until_listed_again(&exporter);
    exporter.until("what ended, still", all);
    tells(
        &said_after(&exporter, lines),
        &["GET /containers/json", "Docker answers, after"],
    );
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What is done to the proxy.
type Step = fn(&mut Proxy);

/// What is wrong, how it comes about, how it is mended, and what the log says of it.
const FAULTS: [(&str, Step, Step, &str); 4] = [
    (
        "moved",
        |proxy| fs::rename(proxy.path(), proxy.path().with_extension("away")).unwrap(),
        |proxy| fs::rename(proxy.path().with_extension("away"), proxy.path()).unwrap(),
        "no Docker socket at",
    ),
    (
        "forbidden",
        |proxy| set_mode(proxy.path(), 0),
        |proxy| set_mode(proxy.path(), 0o660),
        "no permission to connect to",
    ),
    (
        "deserted",
        Proxy::close,
        Proxy::come_back,
        "nobody listens on",
    ),
    (
        "folder",
        |proxy| {
            proxy.close();
            fs::remove_file(proxy.path()).unwrap();
            fs::create_dir(proxy.path()).unwrap();
        },
        |proxy| {
            fs::remove_dir(proxy.path()).unwrap();
            proxy.listen();
        },
        "is not a socket",
    ),
];

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_socket_that_is_gone_or_forbidden_or_a_folder_is_told_with_its_remedy_and_loses_no_exit() {
    let engine = Engine::private();
    let mut proxy = Proxy::open(&engine);
    // As root it would be forbidden nothing: it becomes nobody with the group of the socket.
    let exporter = Exporter::start(&proxy.url());
    exporter.until("the start", follows);
    run_service(&engine, "again", &[], &["sh", "-c", "exit 4"]);
    let again = |metrics: &Metrics, runs: usize| {
        counted(metrics, &service("again"), &[("error", runs)])?;
        match code(&engine, metrics, "again") {
            Some(4.0) => Ok(()),
            code => Err(format!("the code is {code:?}")),
        }
    };
    exporter.until("the first run", |metrics| again(metrics, 1));

    for (done, (what, break_it, mend, complaint)) in FAULTS.into_iter().enumerate() {
        let lines = exporter.said().lines().count();
        answers_during(&exporter, || {
            break_it(&mut proxy);
            // Connections that are there need no file.
            let (before, after) = (format!("{what}-before"), format!("{what}-after"));
            run_service(&engine, &before, &["--rm"], &["sh", "-c", "exit 5"]);
            exporter.until(what, |metrics| {
                is_up(metrics)?;
                counted(metrics, &service(&before), &[("error", 1)])
            });
            proxy.cut();
            exporter.until(what, is_down);
            run_service(&engine, &after, &["--rm"], &["sh", "-c", "exit 6"]);
            // No listing will show the first of the two.
            for _ in 0..2 {
                let ended = engine.try_docker(&["start", "--attach", &engine.name("again")]);
                assert!(ended.is_err(), "it should end with 4");
            }
            exporter.until(what, |metrics| {
                is_down(metrics)?;
                again(metrics, 2 * done + 1)
            });
            mend(&mut proxy);
            let all = |metrics: &Metrics| {
                follows(metrics)?;
                again(metrics, 2 * done + 3)?;
                for (short, wanted) in [(&before, 5.0), (&after, 6.0)] {
                    counted(metrics, &service(short), &[("error", 1)])?;
                    let code = code(&engine, metrics, short);
                    if code != Some(wanted) {
                        return Err(format!("the code of {short} is {code:?}"));
                    }
                }
                Ok(())
            };
            exporter.until(&format!("no more {what}"), all);
        });
        tells(
            &said_after(&exporter, lines),
            &[complaint, "Docker answers, after"],
        );
    }
    until_listed_again(&exporter);
    exporter.until("nothing lost, and nothing twice", |metrics| {
        again(metrics, 2 * FAULTS.len() + 1)?;
        for (what, ..) in FAULTS {
            for when in ["before", "after"] {
                let service = service(&format!("{what}-{when}"));
                counted(metrics, &service, &[("error", 1)])?;
            }
        }
        match metrics.value("docker_exit_exporter_events_lost_total", &[]) {
            Some(0.0) => Ok(()),
            lost => Err(format!("lost events: {lost:?}")),
        }
    });
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    files: usize,
    threads: usize,
    /// Resident memory, in KiB.
    memory: u64,
}

impl Held {
    fn by(pid: u32) -> Self {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let entries = |name| fs::read_dir(process.join(name)).unwrap().count();
        let status = fs::read_to_string(process.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|rest| rest.trim().strip_suffix(" kB"));
        Self {
            files: entries("fd"),
            threads: entries("task"),
            memory: memory.unwrap().parse().unwrap(),
        }
    }
}

/// `SIEGE_CYCLES` is how often; one of two ends of the daemon is sudden.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_daemon_that_comes_and_goes_leaves_no_file_thread_or_memory_behind() {
    /// Memory may be used for the first time by a few cycles, in KiB; a leak of a few KB by cycle is more in many.
    const SLACK: u64 = 1024;
    let cycles = std::env::var("SIEGE_CYCLES").map_or(5, |cycles| {
        cycles.parse().expect("SIEGE_CYCLES takes a number")
    });
    let mut engine = Engine::private();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    run_service(&engine, "again", &[], &["sh", "-c", "exit 7"]);
    let runs = |metrics: &Metrics, wanted: usize| {
        is_up(metrics)?;
        counted(metrics, &service("again"), &[("error", wanted)])
    };
    exporter.until("the first run", |metrics| runs(metrics, 1));

    let begin = Instant::now();
    let mut before = Held::by(exporter.pid());
    answers_during(&exporter, || {
        for cycle in 1..=cycles {
            let lines = exporter.said().lines().count();
            if cycle % 2 == 0 {
                engine.kill();
            } else {
                engine.stop();
            }
            exporter.until("the daemon is gone", is_down);
            engine.start();
            exporter.until("the daemon is back", |metrics| runs(metrics, cycle));
            engine.docker(&["start", &engine.name("again")]);
            exporter.until("one more run", |metrics| runs(metrics, cycle + 1));
            let said = said_after(&exporter, lines);
            assert_eq!(said.len(), 2, "one line should tell each:\n{said:?}");
            if cycle == 2 {
                before.memory = Held::by(exporter.pid()).memory; // Both ways of going were seen.
            }
        }
    });
    exporter.until("its events", follows);
    until_listed_again(&exporter);
    exporter.until("every run, once", |metrics| runs(metrics, cycles + 1));
    let after = eventually(PATIENCE, || {
        let now = Held::by(exporter.pid());
        if now.files <= before.files && now.threads <= before.threads {
            return Ok(now);
        }
        Err(format!("{before:?} before, {now:?} now"))
    });
    let after = after.unwrap_or_else(|why| panic!("{why}"));
    println!(
        "{cycles} cycles in {:?}: {before:?} before, {after:?} after",
        begin.elapsed()
    );
    assert!(
        after.memory <= before.memory + SLACK,
        "{before:?} before, {after:?} now"
    );
}
