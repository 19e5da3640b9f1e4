//! The same of a real Podman, by its compatible API.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;

use super::workloads::{NO_LISTINGS, counted, follows, service, until_listed_again};
use crate::support::exporter::{Exporter, Scraped, is_down, is_up, once};
use crate::support::metrics::{Labels, Metrics};
use crate::support::podman::{IMAGE, Podman};
use crate::support::waiting::{PATIENCE, eventually};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// A second or two are usual. This leaves room for a busy machine.
const SOON: Duration = Duration::from_secs(15);

/// What may be lost where a time of today, in seconds, is a floating-point number.
const PRECISION: f64 = 0.000_002;

/// The containers that end: service, code, reason.
const ENDED: [(&str, f64, &str); 7] = [
    ("ok", 0.0, "completed"),
    ("err", 3.0, "error"),
    ("high", 255.0, "error"),
    ("itself", 137.0, "signaled"),
    // No event of Podman says which signal was sent.
    ("killed", 137.0, "signaled"),
    ("stopped", 137.0, "signaled"),
    ("oom", 137.0, "oom_killed"),
];

/// Whether code and reason of a container's exit are shown; `kind` is `exit` or `last_exit`.
fn shows(
    podman: &Podman,
    metrics: &Metrics,
    kind: &str,
    short: &str,
    wanted: (f64, &str),
) -> Result<(), String> {
    let name = podman.name(short);
    let labels = [("name", name.as_str())];
    let code = metrics.value(&format!("container_{kind}_code"), &labels);
    let reason = metrics.find(&format!("container_{kind}_reason"), &labels);
    let reason = reason.map(|sample| sample.labels["reason"].as_str());
    if (code, reason) == (Some(wanted.0), Some(wanted.1)) {
        return Ok(());
    }
    Err(format!(
        "{short} ended with {wanted:?}, shown are {code:?} and {reason:?}"
    ))
}

/// Whether no exit of a container is shown, neither of this run nor of the one before.
fn hides(podman: &Podman, metrics: &Metrics, short: &str) -> Result<(), String> {
    let name = podman.name(short);
    let of_it = |it: &&crate::support::metrics::Sample| it.labels.get("name") == Some(&name);
    match metrics.samples.iter().find(of_it) {
        None => Ok(()),
        Some(sample) => Err(format!("{sample:?} is shown")),
    }
}

/// The cgroup that a container's process is in, as the kernel says.
fn cgroup(podman: &Podman, short: &str) -> String {
    let pid = podman.inspect(short)["State"]["Pid"].to_string();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    // With two hierarchies, one may not have it.
    let path = paths.max_by_key(|path| path.len()).unwrap();
    path.to_owned()
}

#[test]
#[ignore = "needs a real Podman: cargo test --test it engine:: -- --ignored"]
fn every_way_to_end_in_podman_is_shown_alike_by_events_and_by_listings() {
    let podman = Podman::new();
    // An inspect that takes too long is repeated with the next listing; else there is none here.
    let by_events = Exporter::start_with(&podman.url(), &["--interval", "20"]);
    let by_listings = Exporter::start_with(&podman.url(), &["--events", "off"]);
    by_events.until("the start", follows);
    by_listings.until("the start", is_up);
    for (short, script) in [
        ("ok", "exit 0"),
        ("err", "exit 3"),
        ("high", "exit 255"),
        ("itself", "exit 137"),
    ] {
        podman.run(short, &[], &["sh", "-c", script]);
    }
    let labels = ["--label=a.b-c=1", "--label=quote=\"q\"", "--label=empty="];
    podman.run("killed", &labels, &SLEEP);
    let (path, id) = (
        cgroup(&podman, "killed"),
        podman.inspect("killed")["Id"].take(),
    );
    podman.podman(&["kill", &podman.name("killed")]);
    podman.run("stopped", &[], &SLEEP);
    podman.podman(&["stop", "--time=1", &podman.name("stopped")]);
    podman.create("oom", &["--memory=16m"], &["tail", "/dev/zero"]);
    podman.start_with_notes("oom");
    podman.run("runs", &[], &SLEEP);
    podman.create("created", &[], &["true"]);
    let refused = ["run", "--name", &podman.name("refused"), IMAGE, "/nosuch"];
    assert!(
        podman.try_podman(&refused).is_err(),
        "there is no such program"
    );

    let name = podman.name("killed");
    let wanted = [
        ("id", path.as_str()),
        ("image", IMAGE),
        ("name", &name),
        ("container_label_a_b_c", "1"),
        (
            "container_label_com_docker_compose_project",
            super::workloads::PROJECT,
        ),
        ("container_label_com_docker_compose_service", "killed"),
        ("container_label_quote", "\"q\""),
    ];
    let wanted = Labels::from(wanted.map(|(label, value)| (label.to_owned(), value.to_owned())));
    assert!(path.contains(id.as_str().unwrap()), "{path} is not of {id}");
    let check = |metrics: &Metrics| {
        for (short, code, reason) in ENDED {
            shows(&podman, metrics, "exit", short, (code, reason))?;
            compare_times(&podman, metrics, short)?;
        }
        for short in ["runs", "created", "refused"] {
            hides(&podman, metrics, short)?;
        }
        let killed = metrics.find("container_exit_code", &[("name", &name)]);
        assert_eq!(killed.unwrap().labels, wanted);
        Ok(())
    };
    let (version, architecture) = (
        podman.podman(&["version", "--format", "{{.Server.Version}}"]),
        podman.podman(&["info", "--format", "{{.Host.Arch}}"]),
    );
    let all = |metrics: &Metrics| {
        check(metrics)?;
        for (state, wanted) in [("exited", ENDED.len()), ("running", 1), ("created", 2)] {
            let shown = metrics.value("docker_containers", &[("state", state)]);
            if shown.map(|shown| shown.to_string()) != Some(wanted.to_string()) {
                return Err(format!("{wanted} are {state}, shown are {shown:?}"));
            }
        }
        let of_engine = [
            ("version", version.as_str()),
            ("architecture", &architecture),
            ("cgroup_driver", "cgroupfs"),
        ];
        match metrics.value("docker_engine_info", &of_engine) {
            Some(1.0) => Ok(()),
            value => Err(format!(
                "docker_engine_info with {of_engine:?} is {value:?}"
            )),
        }
    };
    by_events.until("every end by its event", check);
    by_listings.until("every end by listings", all);
    for exporter in [&by_events, &by_listings] {
        exporter.until("one of each", |metrics| {
            for (short, _, reason) in ENDED {
                counted(metrics, &service(short), &[(reason, 1)])?;
            }
            Ok(())
        });
    }
    let output = once(&podman.url(), &[]);
    assert!(output.status.success(), "{output:?}");
    all(&Metrics::parse(&String::from_utf8(output.stdout).unwrap())).unwrap();
}

/// Compares when an exit was and how long its run took with what Podman says.
fn compare_times(podman: &Podman, metrics: &Metrics, short: &str) -> Result<(), String> {
    let state = podman.inspect(short)["State"].take();
    let time = |key: &str| {
        let time: Timestamp = state[key].as_str().unwrap().parse().unwrap();
        time.as_duration().as_secs_f64()
    };
    let (began, ended) = (time("StartedAt"), time("FinishedAt"));
    let name = podman.name(short);
    for (family, wanted) in [("timestamp", ended), ("duration", (ended - began).max(0.0))] {
        let family = format!("container_exit_{family}_seconds");
        let shown = metrics.value(&family, &[("name", &name)]);
        if !shown.is_some_and(|shown| (shown - wanted).abs() < PRECISION) {
            return Err(format!(
                "{family} of {short} is {wanted}, shown is {shown:?}"
            ));
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs a real Podman: cargo test --test it engine:: -- --ignored"]
fn containers_of_podman_that_are_gone_or_run_again_are_counted_once() {
    const GONE: usize = 20;
    let podman = Podman::new();
    let exporter = Exporter::start(&podman.url());
    let by_events = Exporter::start_with(&podman.url(), &NO_LISTINGS);
    // This one shows what is gone for a few seconds only.
    let brief = Exporter::start_with(&podman.url(), &["--retention", "5"]);
    let all = [&exporter, &by_events, &brief];
    for exporter in all {
        exporter.until("the start", follows);
    }
    let gone = |number: usize| {
        let code = number % 10;
        let reason = if code == 0 { "completed" } else { "error" };
        (format!("gone-{number}"), code.to_string(), reason)
    };
    for (short, code, _) in (0..GONE).map(gone) {
        podman.run(&short, &["--rm"], &["sh", "-c", &format!("exit {code}")]);
    }
    let of_gone = |metrics: &Metrics| {
        let mut all = (0..GONE).map(gone);
        all.try_for_each(|(short, _, reason)| counted(metrics, &service(&short), &[(reason, 1)]))
    };
    brief.until("what is gone is shown no more", |metrics| {
        of_gone(metrics)?;
        match metrics.named("container_exit_code").count() {
            0 => Ok(()),
            left => Err(format!("{left} are shown")),
        }
    });
    // Crashes twice, then stays.
    let script = "n=$(cat /n 2>/dev/null || echo 0); [ $n -ge 2 ] && exec sleep 1000; echo $((n + 1)) >/n; exit 7";
    podman.run("settles", &["--restart=always"], &["sh", "-c", script]);
    podman.run(
        "gives-up",
        &["--restart=on-failure:10"],
        &["sh", "-c", "exit 6"],
    );
    podman.run("again", &[], &SLEEP);
    podman.podman(&["restart", "--time=1", &podman.name("again")]);
    podman.run("removed", &[], &["sh", "-c", "exit 4"]);
    for exporter in all {
        exporter.until("it ended", |metrics| {
            shows(&podman, metrics, "exit", "removed", (4.0, "error"))
        });
    }
    podman.podman(&["rm", &podman.name("removed")]);

    let of_others = |metrics: &Metrics| {
        for (short, reason, count) in [
            ("settles", "error", 2),
            ("gives-up", "error", 11),
            ("again", "signaled", 1),
            ("removed", "error", 1),
        ] {
            counted(metrics, &service(short), &[(reason, count)])?;
        }
        for (kind, short, code, reason) in [
            ("last_exit", "settles", 7.0, "error"),
            ("exit", "gives-up", 6.0, "error"),
            ("last_exit", "again", 137.0, "signaled"),
        ] {
            shows(&podman, metrics, kind, short, (code, reason))?;
        }
        match metrics.value("docker_exit_exporter_events_lost_total", &[]) {
            Some(0.0) => Ok(()),
            lost => Err(format!("lost events: {lost:?}")),
        }
    };
    let stays = |metrics: &Metrics| {
        of_gone(metrics)?;
        of_others(metrics)?;
        for number in 0..GONE {
            let (short, code, reason) = gone(number);
            let wanted = (code.parse().unwrap(), reason);
            shows(&podman, metrics, "exit", &short, wanted)?;
        }
        shows(&podman, metrics, "exit", "removed", (4.0, "error"))
    };
    until_listed_again(&exporter);
    exporter.until("all that ended", stays);
    by_events.until("all that ended, by events", stays);
    brief.until("all that ended, and what is gone", |metrics| {
        of_gone(metrics)?;
        of_others(metrics)?;
        hides(&podman, metrics, "removed")
    });
}

#[test]
#[ignore = "needs a real Podman: cargo test --test it engine:: -- --ignored"]
fn a_service_of_podman_that_comes_back_tells_what_ended_without_it_once() {
    let mut podman = Podman::new();
    let exporter = Exporter::start(&podman.url());
    exporter.until("the start", follows);
    podman.run("done", &[], &["sh", "-c", "exit 3"]);
    podman.run("again", &[], &["sh", "-c", "exit 4"]);
    podman.run("runs", &[], &SLEEP);
    podman.run("killed", &[], &SLEEP);
    let of_before = |metrics: &Metrics, again: usize| {
        counted(metrics, &service("done"), &[("error", 1)])?;
        counted(metrics, &service("again"), &[("error", again)])
    };
    exporter.until("what ended before", |metrics| of_before(metrics, 1));
    for (done, signal) in ["TERM", "KILL"].into_iter().enumerate() {
        let lines = exporter.said().lines().count();
        podman.end_by(signal);
        exporter.until("the service is gone", is_down);
        let (stays, gone) = (format!("stays-{signal}"), format!("gone-{signal}"));
        podman.run(&stays, &[], &["sh", "-c", "exit 5"]);
        podman.run(&gone, &["--rm"], &["sh", "-c", "exit 6"]);
        // No listing will show the first of the two.
        for _ in 0..2 {
            podman.podman(&["start", &podman.name("again")]);
            podman.podman(&["wait", &podman.name("again")]);
        }
        if done == 0 {
            podman.podman(&["kill", &podman.name("killed")]);
        }
        let ended = eventually(PATIENCE, || {
            // One runs all along.
            match podman.podman(&["ps", "--quiet"]).lines().count() {
                1 => Ok(()),
                running => Err(format!("{running} run")),
            }
        });
        ended.unwrap();
        podman.start();
        let all = |metrics: &Metrics| {
            follows(metrics)?;
            of_before(metrics, 2 * done + 3)?;
            counted(metrics, &service("killed"), &[("signaled", 1)])?;
            counted(metrics, &service(&stays), &[("error", 1)])?;
            counted(metrics, &service(&gone), &[("error", 1)])?;
            hides(&podman, metrics, "runs")?;
            for (short, code, reason) in [
                ("done", 3.0, "error"),
                ("again", 4.0, "error"),
                ("killed", 137.0, "signaled"),
                (&stays, 5.0, "error"),
                (&gone, 6.0, "error"),
            ] {
                shows(&podman, metrics, "exit", short, (code, reason))?;
            }
            Ok(())
        };
        exporter.until("the service is back", all);
        until_listed_again(&exporter);
        exporter.until("the service is back, still", all);
        let said = exporter.said();
        let new = said.lines().skip(lines);
        let told: Vec<&str> = new
            .filter(|line| !line.contains(" exited with code "))
            .collect();
        assert_eq!(told.len(), 2, "one line should tell each:\n{told:#?}");
    }
}

/// Podman puts the code of a removed container among its labels, and answers 500 where it is asked for one that is gone.
#[test]
#[ignore = "needs a real Podman: cargo test --test it engine:: -- --ignored"]
fn a_removed_container_of_podman_gets_no_label_and_no_warning() {
    const GONE: [&str; 3] = ["gone-0", "gone-1", "gone-2"];
    let podman = Podman::new();
    let exporter = Exporter::start(&podman.url());
    let by_events = Exporter::start_with(&podman.url(), &NO_LISTINGS);
    for exporter in [&exporter, &by_events] {
        exporter.until("the start", follows);
    }
    for short in GONE {
        podman.run(short, &["--rm"], &["sh", "-c", "exit 4"]);
    }
    podman.run("removed", &[], &["sh", "-c", "exit 4"]);
    podman.podman(&["wait", &podman.name("removed")]);
    podman.podman(&["rm", &podman.name("removed")]);
    let check = |metrics: &Metrics| {
        for short in GONE.into_iter().chain(["removed"]) {
            counted(metrics, &service(short), &[("error", 1)])?;
            shows(&podman, metrics, "exit", short, (4.0, "error"))?;
        }
        Ok(())
    };
    for exporter in [&exporter, &by_events] {
        exporter.within(SOON, "what is gone", check);
    }
    until_listed_again(&exporter);
    exporter.within(SOON, "what is gone, still", check);
    for exporter in [&exporter, &by_events] {
        let said = exporter.said();
        assert!(
            !said.to_lowercase().contains("no such container"),
            "that it is gone is no trouble:\n{said}"
        );
        exporter.within(SOON, "only what is a label", |metrics| {
            let label = "container_label_containerExitCode";
            let mut samples = metrics.samples.iter();
            match samples.find(|sample| sample.labels.contains_key(label)) {
                Some(wrong) => Err(format!("this is no label: {wrong:?}")),
                None => Ok(()),
            }
        });
    }
}
