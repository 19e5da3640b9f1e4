//! The built program and the event stream of an Engine that is not there: what only events tell,
//! streams that break, and lines that are none.

use std::time::{Duration, Instant};

use docker_exit_exporter::engine::limits as engine_limits;
use test_support::container::Container;
use test_support::fake_engine::{Answer, FakeEngine};

use crate::support::exporter::{Exporter, Scraped, is_down, is_up};
use crate::support::metrics::Metrics;
use crate::support::waiting::{PATIENCE, eventually};

/// An exporter that lists once an hour, so that what it knows it has from events. It follows them.
fn follow(engine: &FakeEngine) -> Exporter {
    let exporter = Exporter::start_with(&engine.address(), &["--interval", "3600"]);
    exporter.until("events", is_followed);
    // The listing that comes with the stream, to its end.
    exporter.until("a listing", |metrics| {
        is_up(metrics)?;
        let listed = engine.asked_for("/containers/json?all=1");
        let with_the_stream = listed.last() > engine.asked_for("/events").last();
        let name = "docker_exit_exporter_collections_total";
        let taken = metrics.value(name, &[("result", "success")]);
        let all = u32::try_from(listed.len()).expect("some listings");
        let over = with_the_stream && taken == Some(f64::from(all));
        over.then_some(())
            .ok_or(format!("{taken:?} of {all} listings"))
    });
    exporter
}

/// A check of what only an inspect tells. One that was too slow is asked for again by the next listing,
/// which comes with a new stream: there is one each time that this check has long been discontent.
fn inspected<'a>(
    engine: &'a FakeEngine,
    mut check: impl FnMut(&Metrics) -> Result<(), String> + 'a,
) -> impl FnMut(&Metrics) -> Result<(), String> + 'a {
    let mut looks = 0;
    move |metrics| {
        let result = check(metrics);
        looks += 1;
        if result.is_err() && looks % 60 == 0 {
            engine.cut_streams();
        }
        result
    }
}

fn value(metrics: &Metrics, name: &str) -> f64 {
    metrics.value(name, &[]).unwrap_or_default()
}

fn is_followed(metrics: &Metrics) -> Result<(), String> {
    let up = value(metrics, "docker_exit_exporter_event_stream_up");
    (up > 0.0).then_some(()).ok_or("no events".into())
}

/// A check: that many exits were counted, of all workloads and for all reasons.
fn counted(want: u32) -> impl FnMut(&Metrics) -> Result<(), String> {
    move |metrics| {
        let count: f64 = metrics
            .named("container_exits_total")
            .map(|sample| sample.value)
            .sum();
        let is_it = count.total_cmp(&f64::from(want)).is_eq();
        is_it.then_some(()).ok_or(format!("{count} exits"))
    }
}

fn reason(metrics: &Metrics, name: &str) -> Option<String> {
    let mut all = metrics.named("container_exit_reason");
    let sample = all.find(|it| it.labels.get("name").is_some_and(|it| it == name))?;
    sample.labels.get("reason").cloned()
}

#[test]
fn a_container_that_is_gone_at_once_is_known_from_its_events() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let job = Container::running(1, "job").label("team", "core");
    engine.run(&job);
    // Removed before anyone can inspect it.
    engine.remove(&job.id);
    engine.happen("die", &job.clone().exit(5), &[("exitCode", "5")]);
    engine.happen("destroy", &job, &[]);
    exporter.until("the exit", |metrics| {
        counted(1)(metrics)?;
        let job = [("name", "job"), ("container_label_team", "core")];
        let code = metrics.value("container_exit_code", &job);
        let time = metrics.value("container_exit_timestamp_seconds", &job);
        let ran = metrics.value("container_exit_duration_seconds", &job);
        match (code, time, ran, reason(metrics, "job").as_deref()) {
            (Some(5.0), Some(_), Some(_), Some("error")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let said = exporter.said();
    assert_eq!(said.matches("job (busybox,").count(), 1, "{said}");
}

#[test]
fn a_workload_that_fails_before_the_first_scrape_is_seen_at_0_before() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let mut job = Container::running(1, "job");
    job.image = "tools:2".to_owned();
    engine.run(&job);
    engine.end(&job, 5);
    // It is counted before anybody has asked.
    let counted = eventually(PATIENCE, || {
        let said = exporter.said();
        let is_said = said.contains("job (tools:2");
        is_said.then_some(()).ok_or(said)
    });
    counted.unwrap_or_else(|said| panic!("the exit is not reported: {said}"));
    let mut seen = Vec::new();
    exporter.until("the exit is counted", |metrics| {
        let error = [("image", "tools:2"), ("reason", "error")];
        let count = metrics.value("container_exits_total", &error);
        seen.extend(count);
        (count == Some(1.0))
            .then_some(())
            .ok_or(format!("{count:?}"))
    });
    assert_eq!(seen.first(), Some(&0.0), "{seen:?}");
}

#[test]
fn a_crash_loop_is_counted_round_by_round_and_its_last_exit_shown() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let mut looping = Container::running(1, "loop");
    engine.run(&looping);
    for _ in 0..20 {
        engine.end(&looping, 7);
        looping = looping.start();
        engine.put(looping.clone());
        engine.happen("start", &looping, &[]);
    }
    exporter.until("all rounds", |metrics| {
        counted(20)(metrics)?;
        let looping = [("name", "loop")];
        match (
            metrics.value("container_exit_code", &looping),
            metrics.value("container_last_exit_code", &looping),
        ) {
            (None, Some(7.0)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn an_end_that_was_asked_for_is_told_from_a_crash() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    for (number, name, signals, oom, code, want) in [
        (1, "stopped", &["15", "9"][..], false, 137, "stopped"),
        (2, "obeyed", &["15"], false, 0, "stopped"),
        (3, "reloaded", &["1"], false, 1, "error"),
        (4, "oom", &[], true, 137, "oom_killed"),
        (5, "survived", &[], true, 0, "completed"),
        (6, "segv", &[], false, 139, "signaled"),
    ] {
        let container = Container::running(number, name);
        engine.run(&container);
        for signal in signals {
            engine.happen("kill", &container, &[("signal", signal)]);
        }
        if oom {
            engine.happen("oom", &container, &[]);
        }
        engine.end(&container, code);
        exporter.until(name, |metrics| match reason(metrics, name) {
            Some(reason) if reason == want => Ok(()),
            other => Err(format!("{other:?}, not {want}")),
        });
    }
}

#[test]
fn a_label_that_hides_the_code_never_passes_for_it() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let there = Container::running(1, "there").label("exitCode", "0");
    engine.run(&there);
    engine.end(&there, 4);
    let gone = Container::running(2, "gone").label("exitCode", "0");
    engine.run(&gone);
    engine.remove(&gone.id);
    engine.happen("die", &gone, &[("exitCode", "4")]);
    let check = |metrics: &Metrics| {
        let code = |name| metrics.value("container_exit_code", &[("name", name)]);
        let lost = value(metrics, "docker_exit_exporter_events_lost_total");
        match (code("there"), code("gone"), lost) {
            (Some(4.0), None, 1.0) => counted(1)(metrics),
            other => Err(format!("{other:?}")),
        }
    };
    exporter.until("what inspect tells", inspected(&engine, check));
}

#[test]
fn a_stream_that_breaks_again_and_again_loses_nothing_and_repeats_nothing() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    for number in 1..=60 {
        let container = Container::running(number, &format!("c{number}"));
        engine.run(&container);
        if number % 10 == 5 {
            engine.cut_streams();
        }
        engine.end(&container, 3);
        engine.destroy(&container);
        if number % 10 == 0 {
            eventually(PATIENCE, || match engine.followers() {
                0 => Err("nobody follows".to_owned()),
                _ => Ok(()),
            })
            .unwrap();
        }
    }
    exporter.until("all exits", counted(60));
    exporter.until("all series", |metrics| {
        let lost = value(metrics, "docker_exit_exporter_events_lost_total");
        let shown = metrics.named("container_exit_code").count();
        match (shown, lost) {
            (60, 0.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn more_events_than_the_engine_remembers_are_told_to_be_lost() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let first = Container::running(1, "first");
    engine.run(&first);
    engine.end(&first, 3);
    exporter.until("the first exit", counted(1));
    // In this order: a new stream must not repeat the first.
    engine.overflow_events();
    engine.cut_streams();
    let second = Container::running(2, "second");
    engine.run(&second);
    engine.end(&second, 3);
    exporter.until("the gap", |metrics| {
        counted(2)(metrics)?;
        let lost = value(metrics, "docker_exit_exporter_events_lost_total");
        (lost > 0.0).then_some(()).ok_or("nothing is lost".into())
    });
    let said = exporter.said();
    assert_eq!(said.matches("exits may be lost").count(), 1, "{said}");
}

#[test]
fn lines_that_are_no_events_are_passed_over_and_told_once() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    engine.say(b"garbage");
    engine.say(b"{\"Type\":\"container\",\"Action\":\"die\"}");
    engine.say(&[0xff, 0x00]);
    engine.say(&vec![b'x'; 10_000_000]);
    let container = Container::running(1, "after");
    engine.run(&container);
    engine.end(&container, 3);
    exporter.until("the exit", counted(1));
    let said = exporter.said();
    let told = said
        .matches("a line of the event stream is of no use")
        .count();
    assert_eq!(told, 1, "{said}");
}

#[test]
fn a_proxy_that_refuses_events_leaves_listing() {
    let engine = FakeEngine::start();
    engine.answer("/events", Answer::forbidden());
    let exporter = Exporter::start(&engine.address());
    exporter.until("a listing", is_up);
    engine.put(Container::exited(1, "web", 3));
    exporter.until("the exit", |metrics| {
        counted(1)(metrics)?;
        let said = exporter.said();
        let told = said.matches("exits are found by listing alone").count();
        match value(metrics, "docker_exit_exporter_event_stream_up") {
            0.0 if told > 0 => Ok(()),
            up => Err(format!(
                "event_stream_up is {up}, and it is told {told} times"
            )),
        }
    });
    let said = exporter.said();
    let told = said.matches("exits are found by listing alone").count();
    assert_eq!(told, 1, "{said}");
    for two in engine.asked_for("/events").windows(2) {
        let pause = two[1] - two[0];
        let minute = Duration::from_secs(60);
        assert!(pause >= minute, "it is asked again after {pause:?}");
    }
}

#[test]
fn a_proxy_whose_engine_is_starting_is_asked_again_soon() {
    let engine = FakeEngine::start();
    let body = serde_json::json!({"message": "no backend"});
    engine.answer("/events", Answer::json("503 Service Unavailable", &body));
    let exporter = Exporter::start(&engine.address());
    exporter.until("an attempt", |metrics| {
        is_up(metrics)?;
        let attempts = engine.asked_for("/events").len();
        (attempts > 0).then_some(()).ok_or("no attempt".into())
    });
    engine.answer_normally("/events");
    exporter.until("events", is_followed);
    // Not after the minute that a refusal takes; 5 s are the most between two attempts.
    let asked = engine.asked_for("/events");
    assert!(asked.len() > 1);
    for two in asked.windows(2) {
        let pause = two[1] - two[0];
        assert!(pause < Duration::from_secs(30), "{pause:?}");
    }
    let said = exporter.said();
    assert!(!said.contains("by listing alone"), "{said}");
}

#[test]
fn without_events_nobody_asks_for_them() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start_with(&engine.address(), &["--events", "off"]);
    exporter.until("a listing", is_up);
    let web = Container::running(1, "web");
    engine.put(web.clone());
    engine.put(web.exit(3));
    exporter.until("the exit", counted(1));
    assert!(!engine.requests().contains(&"/events".to_owned()));
}

#[test]
fn an_engine_that_goes_down_is_noticed_before_the_next_listing() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let web = Container::running(1, "web");
    engine.run(&web);
    engine.end(&web, 3);
    exporter.until("an exit", counted(1));
    engine.go_down();
    exporter.until("the outage", is_down);
    // It remembers nothing, and the container ended once more while nobody looked.
    engine.forget_events();
    engine.put(web.start().exit(4));
    engine.listen();
    exporter.until("its end", |metrics| {
        is_up(metrics)?;
        counted(2)(metrics)?;
        match metrics.value("container_exit_code", &[("name", "web")]) {
            Some(4.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn an_engine_that_hangs_is_told_once_although_its_events_come() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    exporter.until("events", is_followed);
    exporter.until("a listing", is_up);
    let job = Container::running(1, "job");
    engine.run(&job);
    let inspect = format!("/containers/{}/json", job.id);
    engine.answer_listing(Answer::BytesThenClose(Vec::new()));
    engine.answer(&inspect, Answer::Silence);
    exporter.until("the outage", is_down);
    engine.end(&job, 5);
    // It is counted after the inspect has failed.
    exporter.until("the exit", counted(1));
    // In this order: as long as there is no listing, it is told already that nothing is answered.
    engine.answer_normally(&inspect);
    let listing = engine.listing();
    engine.answer_listing(listing);
    exporter.until("its time", |metrics| {
        is_up(metrics)?;
        let job = [("name", "job")];
        let time = metrics.value("container_exit_timestamp_seconds", &job);
        time.map(|_| ()).ok_or("no time".into())
    });
    let said = exporter.said();
    let complaints = said.matches("WARN  docker_exit_exporter::collector");
    assert_eq!(complaints.count(), 1, "{said}");
}

#[test]
fn a_new_daemon_tells_why_containers_ended_before_it_was_asked() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    exporter.until("events", is_followed);
    let web = Container::running(1, "web");
    engine.run(&web);
    exporter.until("its workload", |metrics| {
        let all = metrics.named("container_exits_total").count();
        (all > 0).then_some(()).ok_or("no counters".into())
    });
    engine.go_down();
    exporter.until("the outage", is_down);
    // The new daemon stops what still runs. Listings show it before the stream is opened again.
    engine.forget_events();
    engine.happen("kill", &web, &[("signal", "15")]);
    engine.end(&web, 143);
    engine.listen();
    exporter.until("the exit", |metrics| {
        counted(1)(metrics)?;
        let stopped = [("reason", "stopped")];
        let stopped = metrics.value("container_exits_total", &stopped);
        let lost = value(metrics, "docker_exit_exporter_events_lost_total");
        match (stopped, lost, reason(metrics, "web").as_deref()) {
            (Some(1.0), 0.0, Some("stopped")) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn labels_that_an_event_hides_come_with_the_inspect() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let hiding = Container::running(1, "hiding")
        .label("name", "evil")
        .label("image", "evil")
        .label("exitCode", "0");
    engine.run(&hiding);
    engine.end(&hiding, 4);
    let check = |metrics: &Metrics| {
        let labels = [
            ("name", "hiding"),
            ("image", "busybox"),
            ("container_label_name", "evil"),
            ("container_label_image", "evil"),
            ("container_label_exitCode", "0"),
        ];
        match metrics.value("container_exit_code", &labels) {
            Some(4.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    exporter.until("all labels", inspected(&engine, check));
}

#[test]
fn silence_is_no_failure() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    let begun = Instant::now();
    // Longer than any answer but this one may take.
    exporter.until("silence", |_| {
        let long = begun.elapsed() > engine_limits::REQUEST_TIMEOUT + Duration::from_secs(1);
        long.then_some(()).ok_or("not long enough".into())
    });
    let container = Container::running(1, "after");
    engine.run(&container);
    engine.end(&container, 3);
    exporter.until("the exit", |metrics| {
        counted(1)(metrics)?;
        let connects = "docker_exit_exporter_event_stream_connects_total";
        match value(metrics, connects) {
            1.0 => Ok(()),
            connects => Err(format!("{connects} connects")),
        }
    });
}

#[test]
fn a_storm_is_counted_to_the_last_exit() {
    let engine = FakeEngine::start();
    let exporter = follow(&engine);
    for number in 1..=2_000 {
        let container = Container::running(number, "storm");
        engine.run(&container);
        engine.end(&container, 3);
        engine.destroy(&container);
    }
    exporter.until("all exits", counted(2_000));
    exporter.until("none lost", |metrics| {
        match value(metrics, "docker_exit_exporter_events_lost_total") {
            0.0 => Ok(()),
            lost => Err(format!("{lost} are lost")),
        }
    });
}
