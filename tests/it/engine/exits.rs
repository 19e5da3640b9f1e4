//! Containers that ended in every way there is, as `/metrics` shows them and as `docker inspect` does.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::inspect::compare_with_inspect;
use crate::support::dockerd::{Engine, IMAGE};
use crate::support::exporter::{Exporter, Scraped, once};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually};

/// The containers whose exit is exported: name, code and the reasons it may have. Who asked for an end is only known
/// to an exporter that follows the events, so `stopped` is as good as what the code alone says.
const ENDED: [(&str, f64, &[&str]); 17] = [
    ("ok", 0.0, &["completed"]),
    ("err", 3.0, &["error"]),
    ("segv", 139.0, &["signaled"]),
    ("notfound", 127.0, &["start_failed"]),
    ("noexec", 126.0, &["start_failed"]),
    ("stopped", 137.0, &["signaled", "stopped"]),
    ("killed", 137.0, &["signaled", "stopped"]),
    ("obeyed", 0.0, &["completed", "stopped"]),
    ("crashloop", 7.0, &["error"]),
    ("onfailure", 6.0, &["error"]),
    ("compose", 9.0, &["error"]),
    ("labels", 4.0, &["error"]),
    ("renamed", 0.0, &["completed"]),
    ("oom", 137.0, &["oom_killed"]),
    ("cgparent", 2.0, &["error"]),
    ("refused", 127.0, &["start_failed"]),
    ("high", 255.0, &["error"]),
];

/// The containers that never ran or run now.
const NOT_ENDED: [&str; 5] = ["created", "running", "paused", "healthy", "restarted"];

/// What Compose puts on a container.
const COMPOSE: [&str; 4] = [
    "--label=com.docker.compose.project=shop",
    "--label=com.docker.compose.service=web",
    "--label=com.docker.compose.container-number=1",
    "--label=com.docker.compose.oneoff=False",
];

/// Labels that are hard to show.
const HOSTILE: [&str; 11] = [
    "--label=quote=\"q\"",
    "--label=back=a\\b",
    "--label=line=a\nb",
    "--label=uni.cødé=é😀",
    "--label=empty=",
    "--label=a.b=1",
    "--label=a-b=2",
    "--label=0digit=x",
    "--label=exitCode=0",
    "--label=name=evil",
    "--label=image=evil",
];

/// What becomes of those, in order.
const HOSTILE_SHOWN: [(&str, &str); 9] = [
    ("container_label_0digit", "x"),
    ("container_label_a_b", "2"),
    ("container_label_back", "a\\b"),
    ("container_label_exitCode", "0"),
    ("container_label_image", "evil"),
    ("container_label_line", "a\nb"),
    ("container_label_name", "evil"),
    ("container_label_quote", "\"q\""),
    ("container_label_uni_c_d_", "é😀"),
];

/// Makes all of them.
fn make_containers(engine: &Engine) {
    let run = |name: &str, options: &[&str], command: &[&str]| {
        engine.run(
            name,
            &[&["--network", "none"], options, &[IMAGE], command].concat(),
        );
    };
    let shell =
        |name: &str, options: &[&str], script: &str| run(name, options, &["sh", "-c", script]);
    let sleeper = |name: &str, options: &[&str]| {
        run(name, &[&["--detach"], options].concat(), &["sleep", "1000"]);
    };
    let full = |name: &str| engine.name(name);

    shell("ok", &[], "exit 0");
    shell("err", &[], "exit 3");
    shell("high", &[], "exit 255");
    shell("segv", &[], "busybox sh -c 'kill -SEGV $$'; exit $?");
    run("notfound", &[], &["/nosuch"]);
    run("noexec", &[], &["/bin"]);
    engine.docker(&[
        "create",
        "--network",
        "none",
        "--name",
        &full("created"),
        IMAGE,
        "true",
    ]);
    sleeper("running", &[]);
    sleeper("paused", &[]);
    engine.docker(&["pause", &full("paused")]);
    sleeper("stopped", &[]);
    engine.docker(&["stop", "--time", "1", &full("stopped")]);
    sleeper("killed", &[]);
    engine.docker(&["kill", &full("killed")]);
    shell(
        "obeyed",
        &["--detach"],
        "trap 'exit 0' TERM; while :; do sleep 0.05; done",
    );
    engine.docker(&["stop", &full("obeyed")]);
    shell("crashloop", &["--detach", "--restart", "always"], "exit 7");
    shell(
        "onfailure",
        &["--detach", "--restart", "on-failure:2"],
        "exit 6",
    );
    shell(
        "restarted",
        &["--detach", "--restart", "on-failure"],
        "[ -f /m ] && exec sleep 1000; : >/m; exit 8",
    );
    shell("compose", &COMPOSE, "exit 9");
    shell("labels", &HOSTILE, "exit 4");
    shell("old", &[], "exit 0");
    engine.docker(&["rename", &full("old"), &full("renamed")]);
    sleeper(
        "healthy",
        &["--health-cmd", "/bin/true", "--health-interval", "1s"],
    );
    run(
        "oom",
        &["--memory", "16m", "--memory-swap", "16m"],
        &["busybox", "tail", "/dev/zero"],
    );
    let parent = if engine.has_systemd_cgroups() {
        "custom.slice"
    } else {
        "/custom"
    };
    shell("cgparent", &["--cgroup-parent", parent], "exit 2");

    // Its second start fails, because what was a file has become a folder.
    let mounted = engine.folder.join("mounted");
    fs::write(&mounted, "").unwrap();
    shell(
        "refused",
        &["--volume", &format!("{}:/f", mounted.display())],
        "exit 3",
    );
    fs::remove_file(&mounted).unwrap();
    fs::create_dir(&mounted).unwrap();
    assert!(
        engine.try_docker(&["start", &full("refused")]).is_err(),
        "a folder was mounted over a file"
    );
}

/// Compares the table above.
fn compare_with_table(engine: &Engine, metrics: &Metrics) -> Result<(), String> {
    let mut wrong = String::new();
    for (short, code, reasons) in ENDED {
        let name = engine.name(short);
        let labels = [("name", name.as_str())];
        let shown = metrics.value("container_exit_code", &labels);
        if shown != Some(code) {
            let _ = writeln!(wrong, "{short} ended with {code}, shown is {shown:?}");
        }
        let shown = metrics
            .find("container_exit_reason", &labels)
            .map(|sample| sample.labels["reason"].as_str());
        if !shown.is_some_and(|reason| reasons.contains(&reason)) {
            let _ = writeln!(wrong, "{short} ended for {reasons:?}, shown is {shown:?}");
        }
    }
    for short in NOT_ENDED {
        let name = engine.name(short);
        let of_exit = metrics
            .samples
            .iter()
            .filter(|sample| sample.name.starts_with("container_exit_"));
        for sample in of_exit.filter(|sample| sample.labels.get("name") == Some(&name)) {
            let _ = writeln!(wrong, "{short} did not end, shown is {sample:?}");
        }
    }
    let name = engine.name("labels");
    let labels = metrics
        .find("container_exit_code", &[("name", &name)])
        .map(|sample| sample.labels.clone());
    let mut labels = labels.unwrap_or_default();
    labels.retain(|label, _| label.starts_with("container_label_"));
    let shown: Vec<(&str, &str)> = labels
        .iter()
        .map(|(label, value)| (label.as_str(), value.as_str()))
        .collect();
    if shown != HOSTILE_SHOWN {
        let _ = writeln!(
            wrong,
            "the hostile labels are {HOSTILE_SHOWN:?}, shown are {shown:?}"
        );
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn every_way_to_end_is_shown_as_inspect_tells_it() {
    let engine = Engine::new();
    // It watches from the start, so that it sees runs follow each other and not only their end.
    let exporter = Exporter::start(&engine.url());
    make_containers(&engine);
    exporter.until("every way to end", |metrics| {
        compare_with_table(&engine, metrics)?;
        compare_with_inspect(&engine, metrics)?;
        if metrics.value("docker_up", &[]) == Some(1.0) {
            Ok(())
        } else {
            Err("docker_up is not 1".to_owned())
        }
    });

    // One that sees only how it all ended says the same; the crash loop goes on, so it may take a few.
    let alike = eventually(PATIENCE, || {
        let output = once(&engine.url(), &[]);
        let (text, said) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "--once: {}\n{said}", output.status);
        let metrics = Metrics::parse(&text);
        compare_with_table(&engine, &metrics)
            .and_then(|()| compare_with_inspect(&engine, &metrics))
            .map_err(|why| format!("{why}\n{said}\n{text}"))
    });
    alike.unwrap_or_else(|why| panic!("--once: {why}"));

    // Prometheus' own checker has the last word on the text; what it says of the style of a
    // container's labels is not about the exporter.
    let output = once(&engine.url(), &["--container-labels", "*,!exitCode"]);
    promtool_has_no_complaint(&output.stdout);
}

fn promtool_has_no_complaint(text: &[u8]) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| {
            panic!("promtool did not start ({e}): is it installed (Debian: prometheus)?")
        });
    promtool.stdin.take().unwrap().write_all(text).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let text = String::from_utf8_lossy(text);
    assert!(
        output.status.success() && complaint.is_empty(),
        "promtool: {complaint}\n{text}"
    );
}
