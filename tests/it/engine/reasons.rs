//! Why containers ended, where that is for events to tell, and where events mislead.

use super::event_log::EventLog;
use super::workloads::{
    counted, counts, follows, run_script, run_service, service, until_listed_again,
};
use crate::support::dockerd::Engine;
use crate::support::exporter::{Exporter, Scraped};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually};

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn who_asked_for_an_end_is_told_from_who_did_not() {
    const SLEEP: [&str; 2] = ["sleep", "1000"];
    /// Service, code, reason; and whether it runs again.
    const ENDS: [(&str, f64, &str, bool); 14] = [
        ("deaf", 137.0, "stopped", false),
        ("sound", 137.0, "stopped", false),
        ("obeys", 143.0, "stopped", false),
        ("polite", 0.0, "stopped", false),
        ("gone", 137.0, "stopped", false),
        ("killed", 137.0, "stopped", false),
        ("own-signal", 5.0, "stopped", false),
        ("again", 137.0, "stopped", true),
        ("reloaded", 3.0, "error", false),
        ("reloaded-gone", 3.0, "error", false),
        ("signaled", 138.0, "signaled", false),
        ("oom", 137.0, "oom_killed", false),
        ("refused", 127.0, "start_failed", false),
        ("itself", 137.0, "signaled", false),
    ];
    let engine = Engine::new();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let docker = |command: &[&str], service: &str| {
        engine.docker(&[command, &[&engine.name(service)]].concat());
    };
    let (stop, hang_up) = (["stop", "--time=1"], ["kill", "--signal=HUP"]);
    run_service(&engine, "deaf", &[], &SLEEP);
    docker(&stop, "deaf");
    // Docker calls every container unhealthy whose health checks it has ended.
    let checked = ["--health-cmd=true", "--health-interval=1s"];
    run_service(&engine, "sound", &checked, &SLEEP);
    docker(&stop, "sound");
    run_script(&engine, "obeys", &[], "trap 'exit 143' TERM");
    docker(&["stop"], "obeys");
    run_script(&engine, "polite", &[], "trap 'exit 0' TERM");
    docker(&["stop"], "polite");
    run_service(&engine, "gone", &["--rm"], &SLEEP);
    docker(&stop, "gone");
    run_service(&engine, "killed", &[], &SLEEP);
    docker(&["kill"], "killed");
    run_script(
        &engine,
        "own-signal",
        &["--stop-signal=USR1"],
        "trap 'exit 5' USR1",
    );
    docker(&["stop"], "own-signal");
    run_service(&engine, "again", &[], &SLEEP);
    docker(&["restart", "--time=1"], "again");
    // They were only told to reload, and crash over it.
    let crashes = "trap 'sleep 0.3; exit 3' HUP";
    run_script(&engine, "reloaded", &[], crashes);
    docker(&hang_up, "reloaded");
    run_script(&engine, "reloaded-gone", &["--rm"], crashes);
    docker(&hang_up, "reloaded-gone");
    run_script(&engine, "signaled", &[], "trap 'exit 138' USR1");
    docker(&["kill", "--signal=USR1"], "signaled");
    let little = ["--rm", "--memory=16m", "--memory-swap=16m"];
    run_service(&engine, "oom", &little, &["tail", "/dev/zero"]);
    run_service(&engine, "refused", &[], &["/nosuch"]);
    run_service(&engine, "itself", &["--rm"], &["sh", "-c", "exit 137"]);

    let as_expected = |metrics: &Metrics| {
        for (short, code, reason, again) in ENDS {
            counted(metrics, &service(short), &[(reason, 1)])?;
            let kind = if again { "last_exit" } else { "exit" };
            let name = engine.name(short);
            let labels = [("name", name.as_str())];
            let shown = metrics.value(&format!("container_{kind}_code"), &labels);
            let why = metrics.find(&format!("container_{kind}_reason"), &labels);
            let why = why.map(|sample| sample.labels["reason"].as_str());
            if (shown, why) != (Some(code), Some(reason)) {
                return Err(format!(
                    "{short} ended with {code} ({reason}), shown are {shown:?} and {why:?}"
                ));
            }
        }
        Ok(())
    };
    exporter.until("every end", as_expected);
    until_listed_again(&exporter);
    exporter.until("every end still", as_expected);
}

/// The Engine mixes a container's labels into what it says of its end.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_label_that_looks_like_a_code_is_not_taken_for_one() {
    let engine = Engine::new();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    let crash = ["sh", "-c", "exit 4"];
    run_service(&engine, "gone", &["--rm", "--label=exitCode=0"], &crash);
    run_service(&engine, "stays", &["--label=exitCode=0"], &crash);
    let check = |metrics: &Metrics| {
        for service in ["gone", "stays"] {
            let name = engine.name(service);
            let code = metrics.value("container_exit_code", &[("name", &name)]);
            assert_ne!(
                code,
                Some(0.0),
                "{service}; the exporter said:\n{}",
                exporter.said()
            );
        }
        counted(metrics, &service("stays"), &[("error", 1)])?;
        let counts = counts(metrics, &service("gone"))?;
        if counts.values().sum::<usize>() == 1 && counts["completed"] == 0 {
            Ok(())
        } else {
            Err(format!("counted are {counts:?}"))
        }
    };
    exporter.until("both", check);
    events.until_deaths("exitCode", "0", 2);
    until_listed_again(&exporter);
    exporter.until("both still", check);
}

/// Most of the time a container in a crash loop waits for its restart. Whoever stops it then sends no signal.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_container_that_is_stopped_while_it_waits_for_its_restart_is_stopped() {
    const WAYS: [(&str, &str, &str); 3] = [
        ("waits-stopped", "stop", "--restart=on-failure"),
        ("waits-killed", "kill", "--restart=on-failure"),
        ("waits-always", "stop", "--restart=always"),
    ];
    let engine = Engine::new();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    for (name, _, policy) in WAYS {
        run_service(&engine, name, &[policy], &["sh", "-c", "exit 7"]);
    }
    for (name, how, _) in WAYS {
        // After five restarts Docker waits for some seconds.
        let waits = eventually(PATIENCE, || {
            let inspect = engine.inspect(name);
            let waits = inspect["State"]["Restarting"] == true;
            let long = inspect["RestartCount"].as_u64() >= Some(5);
            (waits && long).then_some(()).ok_or(inspect.to_string())
        });
        waits.unwrap();
        engine.docker(&[how, &engine.name(name)]);
        let stopped = exporter.until(name, |metrics| {
            let full = engine.name(name);
            let about = [("name", full.as_str()), ("reason", "stopped")];
            let reason = metrics.value("container_exit_reason", &about);
            let code = metrics.value("container_exit_code", &about[..1]);
            match (reason, code) {
                (Some(1.0), Some(7.0)) => Ok(engine.inspect(name)),
                other => Err(format!("{other:?}")),
            }
        });
        assert_eq!(stopped["State"]["Status"], "exited", "{stopped}");
        // Its exits were failures all the same.
        exporter.until("its count", |metrics| {
            let deaths = events.deaths("name", &engine.name(name)).len();
            counted(metrics, &service(name), &[("error", deaths)])
        });
    }
}
