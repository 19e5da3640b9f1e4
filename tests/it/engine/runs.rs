//! Each run of a container is counted once or reported lost: also where no event tells of it, where the Engine tells of it
//! twice, and where labels look like what it tells.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::event_log::EventLog;
use super::workloads::{
    NO_LISTINGS, PROJECT, counted, follows, lost_are, not_counted, run_script, run_service,
    service, until_listed_again,
};
use crate::support::dockerd::{Engine, IMAGE, until_gone};
use crate::support::exporter::{Exporter, Scraped, is_down, is_up};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually, signal};

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// Two seconds are promised. This leaves room for a busy machine.
const SOON: Duration = Duration::from_secs(6);

/// What may be lost where a time of today, in seconds, is a floating-point number.
const PRECISION: f64 = 0.000_002;

/// Whether code and reason of a container's exit are shown; `kind` is `exit` or `last_exit`.
fn shows(
    engine: &Engine,
    metrics: &Metrics,
    kind: &str,
    short: &str,
    wanted: (f64, &str),
) -> Result<(), String> {
    let name = engine.name(short);
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

/// When a container's last run ended, by its inspected state: in seconds since 1970.
fn finished(state: &Value) -> f64 {
    let time: Timestamp = state["FinishedAt"].as_str().unwrap().parse().unwrap();
    time.as_duration().as_secs_f64()
}

/// `docker stop` then moves the time of an end that was counted already back to the start of the run.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_restart_that_is_called_off_is_no_second_exit() {
    const LOOPS: [&str; 3] = ["loop-0", "loop-1", "loop-2"];
    /// In seconds. By then the exporter expects no more events of an end, and has listed it.
    const LONG_AGO: f64 = 4.0;
    let engine = Engine::new();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let events = EventLog::follow(&engine);
    for short in LOOPS {
        let always = ["--restart=always"];
        let crash = ["sh", "-c", "sleep 0.2; exit 7"];
        run_service(&engine, short, &always, &crash);
    }
    for short in LOOPS {
        // The Engine waits for 0.1 s, then twice as long each time: after seven runs, 6.4 s.
        let waits = eventually(PATIENCE, || {
            let state = engine.inspect(short)["State"].take();
            let age = Timestamp::now().as_duration().as_secs_f64() - finished(&state);
            if state["Status"] == "restarting" && age > LONG_AGO {
                return Ok(state);
            }
            Err(format!("{short} ended {age} s ago and is {state}"))
        });
        let before = waits.unwrap();
        engine.docker(&["stop", &engine.name(short)]);
        let after = engine.inspect(short)["State"].take();
        assert_eq!(after["Status"], "exited", "{short}");
        assert_eq!(after["StartedAt"], before["StartedAt"], "{short}");
    }
    let check = |metrics: &Metrics| {
        for short in LOOPS {
            let runs = events.deaths("name", &engine.name(short)).len();
            counted(metrics, &service(short), &[("error", runs)])?;
            // Nobody asked for its end, but somebody for it not to be started again.
            shows(&engine, metrics, "exit", short, (7.0, "stopped"))?;
        }
        lost_are(metrics, 0)
    };
    for _ in 0..2 {
        until_listed_again(&exporter);
        exporter.within(SOON, "each run", check);
    }
}

/// Ends containers while their daemon is away. It starts them again when it comes back, and no event tells of their end.
fn end_while_the_daemon_is_away(engine: &mut Engine, leave: fn(&mut Engine)) {
    const ALWAYS: [&str; 3] = ["always-0", "always-1", "always-2"];
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    for short in ALWAYS {
        run_service(engine, short, &["--restart=always"], &SLEEP);
    }
    exporter.until("they run", |metrics| {
        ALWAYS
            .iter()
            .try_for_each(|short| counted(metrics, &service(short), &[]))
    });
    let pids = ALWAYS.map(|short| engine.inspect(short)["State"]["Pid"].to_string());

    leave(engine);
    exporter.until("the daemon is away", is_down);
    for pid in &pids {
        signal(pid.parse().unwrap(), "KILL");
        until_gone(pid);
    }
    engine.start();

    let ends = ALWAYS.map(|short| {
        let state = engine.inspect(short)["State"].take();
        assert_eq!(state["Status"], "running", "{short}: {state}");
        finished(&state)
    });
    let check = |metrics: &Metrics| {
        follows(metrics)?;
        lost_are(metrics, ALWAYS.len())?;
        for (short, end) in ALWAYS.iter().zip(ends) {
            // Nobody knows the code: the new start has overwritten it.
            counted(metrics, &service(short), &[])?;
            let name = engine.name(short);
            let shown = |family: &str| {
                let labels = [("name", name.as_str())];
                metrics.value(&format!("container_{family}"), &labels)
            };
            let codes = (shown("exit_code"), shown("last_exit_code"));
            let time = shown("last_exit_timestamp_seconds");
            if codes != (None, None) || time.is_none_or(|time| (time - end).abs() > PRECISION) {
                return Err(format!(
                    "{short} ended at {end} and runs again, shown are {codes:?} and {time:?}"
                ));
            }
        }
        Ok(())
    };
    until_listed_again(&exporter);
    exporter.within(SOON, "each is lost", check);
    until_listed_again(&exporter);
    exporter.within(SOON, "each is lost still, once", check);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_ended_beside_a_killed_daemon_and_runs_again_is_reported_lost() {
    end_while_the_daemon_is_away(&mut Engine::private(), Engine::kill);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_ended_during_an_upgrade_with_live_restore_and_runs_again_is_reported_lost() {
    let mut engine = Engine::private_with(&["--live-restore"]);
    end_while_the_daemon_is_away(&mut engine, Engine::stop);
}

/// No event says that a start failed.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_first_start_that_fails_is_shown_without_a_listing() {
    const NOSUCH: [&str; 1] = ["/nosuch"];
    let engine = Engine::new();
    let exporter = Exporter::start_with(&engine.url(), &NO_LISTINGS);
    exporter.until("the start", follows);
    run_service(&engine, "refused", &[], &NOSUCH);
    exporter.within(SOON, "a start that failed", |metrics| {
        counted(metrics, &service("refused"), &[("start_failed", 1)])?;
        shows(&engine, metrics, "exit", "refused", (127.0, "start_failed"))
    });
}

/// Nothing is left to be inspected: only the network's events tell of the attempt.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_first_start_that_fails_is_counted_although_nothing_is_left_of_it() {
    const NOSUCH: [&str; 1] = ["/nosuch"];
    let engine = Engine::new();
    let exporter = Exporter::start_with(&engine.url(), &NO_LISTINGS);
    exporter.until("the start", follows);
    // One that nobody tried to start.
    let labels = |service: &str| {
        let project = format!("--label=com.docker.compose.project={PROJECT}");
        let service = format!("--label=com.docker.compose.service={service}");
        [project, service]
    };
    let (idle, [project, of_idle]) = (engine.name("idle"), labels("idle"));
    let made = ["--name", &idle, "--network=none", &project, &of_idle];
    engine.docker(&[&["create"], &made[..], &[IMAGE, "true"]].concat());
    engine.docker(&["rm", &idle]);
    run_service(&engine, "detached", &["--rm"], &NOSUCH);
    let [_, of_attached] = labels("attached");
    let attached = ["--rm", "--network=none", &project, &of_attached, IMAGE];
    engine.run("attached", &[&attached[..], &NOSUCH].concat());
    // One that starts is no failure.
    run_service(&engine, "fine", &["--rm"], &["sh", "-c", "exit 3"]);
    let check = |metrics: &Metrics| {
        counted(metrics, &service("fine"), &[("error", 1)])?;
        for short in ["detached", "attached"] {
            counted(metrics, &service(short), &[("start_failed", 1)])?;
        }
        not_counted(metrics, &service("idle"))?;
        lost_are(metrics, 0)
    };
    exporter.within(SOON, "the starts that failed", check);
}

/// Whether an exporter knows at once of what ended before its start, as after an update: from what the Engine remembers.
/// It does not count it.
fn is_known_from_before(
    engine: &Engine,
    short: &str,
    check: impl Fn(&Metrics) -> Result<(), String>,
) {
    let check = |metrics: &Metrics| {
        is_up(metrics)?;
        check(metrics)?;
        not_counted(metrics, &service(short))?;
        lost_are(metrics, 0)
    };
    let by_events = Exporter::start_with(&engine.url(), &NO_LISTINGS);
    by_events.within(SOON, "what ended before", check);
    let exporter = Exporter::start(&engine.url());
    exporter.within(SOON, "what ended before", check);
    until_listed_again(&exporter);
    exporter.within(SOON, "what ended before, still", check);
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn what_was_stopped_before_the_start_is_known_to_be_stopped() {
    let engine = Engine::private();
    run_script(&engine, "stopped", &[], "trap 'exit 5' TERM");
    engine.docker(&["stop", &engine.name("stopped")]);
    is_known_from_before(&engine, "stopped", |metrics| {
        shows(&engine, metrics, "exit", "stopped", (5.0, "stopped"))
    });
}

#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn the_last_exit_of_what_runs_again_since_before_the_start_is_shown() {
    let engine = Engine::private();
    // Crashes twice, then stays.
    let script = "n=$(cat /n 2>/dev/null || echo 0); [ $n -ge 2 ] && exec sleep 1000; echo $((n + 1)) >/n; exit 7";
    let settles = ["sh", "-c", script];
    run_service(&engine, "settles", &["--restart=always"], &settles);
    let settled = eventually(PATIENCE, || {
        let container = engine.inspect("settles");
        match (
            container["State"]["Status"].as_str(),
            container["RestartCount"].as_u64(),
        ) {
            (Some("running"), Some(2)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    settled.unwrap();
    is_known_from_before(&engine, "settles", |metrics| {
        shows(&engine, metrics, "last_exit", "settles", (7.0, "error"))
    });
}

/// The Engine mixes a container's labels into what it says of a signal that was sent.
#[test]
#[ignore = "needs a real Docker Engine: cargo test --test it engine:: -- --ignored"]
fn a_label_that_looks_like_a_signal_is_not_taken_for_one() {
    let engine = Engine::new();
    let exporter = Exporter::start(&engine.url());
    exporter.until("the start", follows);
    let hang_up = "--label=signal=1";
    run_service(&engine, "deaf", &[hang_up], &SLEEP);
    engine.docker(&["stop", "--time=1", &engine.name("deaf")]);
    run_script(&engine, "obeys", &[hang_up], "trap 'exit 143' TERM");
    engine.docker(&["stop", &engine.name("obeys")]);
    // It was only told to reload, and failed over it.
    let script = "trap 'sleep 0.3; exit 3' HUP";
    run_script(&engine, "reloaded", &["--label=signal=15"], script);
    engine.docker(&["kill", "--signal=HUP", &engine.name("reloaded")]);
    let check = |metrics: &Metrics| {
        for (short, code, reason) in [
            ("deaf", 137.0, "stopped"),
            ("obeys", 143.0, "stopped"),
            ("reloaded", 3.0, "error"),
        ] {
            counted(metrics, &service(short), &[(reason, 1)])?;
            shows(&engine, metrics, "exit", short, (code, reason))?;
        }
        Ok(())
    };
    until_listed_again(&exporter);
    exporter.within(SOON, "every end", check);
    until_listed_again(&exporter);
    exporter.within(SOON, "every end still", check);
}
