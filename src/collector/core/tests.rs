//! The schedule: what the core requests, publishes and logs, and when.

use serde_json::json;

use super::*;
use crate::engine::{EngineErrorKind, Identity};
use crate::http;
use crate::page::{Docker, RowCache};

/// A core that a test drives step by step.
struct Play {
    core: Core,
    now: Duration,
    /// The effects of the last step.
    done: Vec<String>,
    logged: Vec<String>,
}

impl Play {
    fn new() -> Self {
        let config = Config {
            interval: Duration::from_secs(15),
            ..Config::default()
        };
        let core = Core::new(&config, ENGINE_QUEUE, start());
        let mut play = Self {
            core,
            now: Duration::from_millis(1),
            done: Vec::new(),
            logged: Vec::new(),
        };
        play.core.published(play.time(), Duration::ZERO);
        play.step(Message::Tick);
        assert_eq!(play.done, ["open stream", "info", "list"]);
        play
    }

    /// A core that has published its first text after 20 ms. The host has no containers.
    fn running() -> Self {
        let mut play = Self::new();
        play.wait(20);
        play.info(Ok(Info::default()));
        play.list(&json!([]));
        assert_eq!(play.done, ["publish"]);
        play
    }

    fn time(&self) -> Now {
        Now {
            uptime: self.now,
            engine: start() + SignedDuration::try_from(self.now).unwrap(),
            error: SignedDuration::ZERO,
        }
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.step(Message::Tick);
    }

    fn step(&mut self, message: Message) {
        let now = self.time();
        self.done.clear();
        for effect in self.core.step(now, message) {
            match effect {
                Effect::Request(request) => self.done.push(match request {
                    EngineRequest::List(_) => "list".to_owned(),
                    EngineRequest::Inspect(id, _) => format!("inspect {id}"),
                    EngineRequest::Info => "info".to_owned(),
                    EngineRequest::PastEvents(_) => "past events".to_owned(),
                }),
                Effect::OpenStream(_) => self.done.push("open stream".to_owned()),
                Effect::CloseStream => self.done.push("close stream".to_owned()),
                Effect::Publish => {
                    let mut renderer = crate::exposition::Renderer::default();
                    self.core
                        .render(now, &mut renderer, &mut RowCache::default());
                    self.core.published(now, Duration::from_millis(1));
                    self.done.push("publish".to_owned());
                }
                Effect::Report(report) => self.done.push(format!("report {}", report.id)),
                Effect::Log(Level::Debug, _) | Effect::Measure(_) => {}
                Effect::Log(level, line) => self.logged.push(format!("{level} {line}")),
            }
        }
    }

    fn list(&mut self, containers: &serde_json::Value) {
        let listing = Listing {
            body: containers.to_string().into_bytes(),
            identity: Identity::default(),
        };
        self.step(Message::Listed(self.time(), Ok(listing)));
    }

    fn info(&mut self, result: Result<Info, EngineError>) {
        self.step(Message::Info(result, None));
    }

    fn inspect_failed(&mut self, id: &str, kind: EngineErrorKind) {
        let error = error(kind);
        self.step(Message::Inspected(id.into(), self.time(), Err(error)));
    }

    /// Lists this many containers that exited a minute ago.
    fn list_exited(&mut self, count: u32) {
        let one = |number: u32| {
            json!({"Id": format!("c{number}"), "Names": ["/web"], "Image": "shop",
                   "State": "exited", "Status": "Exited (1) About a minute ago"})
        };
        self.list(&(0..count).map(one).collect());
    }
}

fn inspect_of_one() -> Inspect {
    let at = |ago: i64| (start() - SignedDuration::from_secs(ago)).to_string();
    let state = json!({"Status": "exited", "ExitCode": 7, "StartedAt": at(9), "FinishedAt": at(1)});
    Inspect {
        body: json!({"Id": "c0", "State": state}).to_string().into_bytes(),
    }
}

fn start() -> Timestamp {
    Timestamp::from_second(1_795_336_800).unwrap()
}

fn error(kind: EngineErrorKind) -> EngineError {
    EngineError {
        path: "/path".to_owned(),
        kind,
    }
}

fn refused(status: u16) -> EngineErrorKind {
    EngineErrorKind::Refused {
        status,
        message: String::new(),
    }
}

fn late() -> EngineErrorKind {
    EngineErrorKind::Http(http::HttpError::DeadlinePassed)
}

fn unreachable() -> EngineErrorKind {
    EngineErrorKind::Unreachable {
        message: "nobody listens".to_owned(),
        cause: std::io::ErrorKind::ConnectionRefused.into(),
    }
}

#[test]
fn the_first_text_comes_at_once_and_others_50_ms_apart() {
    let mut play = Play::running();
    play.info(Ok(Info::default()));
    assert_eq!(play.done, ["list"]);
    play.wait(49);
    assert!(play.done.is_empty());
    play.wait(1);
    assert_eq!(play.done, ["publish"]);
}

#[test]
fn rendering_takes_at_most_a_fifth_of_the_time() {
    let mut play = Play::running();
    play.core.published(play.time(), Duration::from_secs(1));
    play.info(Ok(Info::default()));
    play.wait(3_999);
    assert!(!play.done.contains(&"publish".to_owned()));
    play.wait(1);
    assert!(play.done.contains(&"publish".to_owned()));
}

#[test]
fn the_first_text_waits_for_inspects_unless_they_hang() {
    let mut play = Play::new();
    play.info(Ok(Info::default()));
    play.list_exited(2);
    assert_eq!(play.done, ["inspect c0", "inspect c1"], "{:?}", play.logged);
    play.wait(99);
    assert!(play.done.is_empty());
    // Another response extends the wait.
    play.inspect_failed("c1", late());
    play.wait(99);
    assert!(play.done.is_empty());
    play.wait(11);
    assert_eq!(play.done, ["publish"]);
}

#[test]
fn the_first_text_waits_at_most_20_seconds_for_inspects() {
    let mut play = Play::new();
    play.info(Ok(Info::default()));
    play.list_exited(300);
    for number in 0..222 {
        play.wait(90);
        assert!(!play.done.contains(&"publish".to_owned()), "{number}");
        play.inspect_failed(&format!("c{number}"), late());
    }
    play.wait(90);
    assert!(play.done.contains(&"publish".to_owned()));
}

#[test]
fn the_first_text_waits_for_info() {
    let mut play = Play::new();
    play.list(&json!([]));
    play.wait(9_900);
    assert!(!play.done.contains(&"publish".to_owned()));
    play.info(Ok(Info::default()));
    play.wait(10);
    assert!(play.done.contains(&"publish".to_owned()));
}

#[test]
fn a_slow_listing_is_followed_by_a_pause_and_a_failed_one_by_a_short_pause() {
    let none = || Listing {
        body: b"[]".to_vec(),
        identity: Identity::default(),
    };
    for (took, works, pause) in [
        (1, true, 14),
        (20, true, 20),
        (1, false, 14),
        (20, false, 5),
    ] {
        let mut play = Play::running();
        play.wait(15_000);
        assert_eq!(play.done, ["list"]);
        let asked = play.time();
        play.now += Duration::from_secs(took);
        let result = if works {
            Ok(none())
        } else {
            Err(error(late()))
        };
        play.step(Message::Listed(asked, result));
        assert!(!play.done.contains(&"list".to_owned()));
        play.wait(pause * 1000 - 1);
        assert!(!play.done.contains(&"list".to_owned()), "{took} {works}");
        play.wait(1);
        assert!(play.done.contains(&"list".to_owned()), "{took} {works}");
    }
}

#[test]
fn info_is_requested_again_unless_it_is_refused() {
    for (kind, again, warned) in [
        (late(), Some(5_000), false),
        (refused(502), Some(5_000), false),
        (unreachable(), None, false),
        (refused(403), None, true),
        (EngineErrorKind::Json("no".into()), None, true),
    ] {
        let what = format!("{kind:?}");
        let mut play = Play::new();
        play.info(Err(error(kind)));
        assert_eq!(play.logged.len(), usize::from(warned), "{what}");
        let asked = |play: &Play| play.done.contains(&"info".to_owned());
        play.wait(4_999);
        assert!(!asked(&play), "{what}");
        play.wait(1);
        assert_eq!(asked(&play), again.is_some(), "{what}");
        if what.starts_with("Unreachable") {
            // It is requested as soon as the Engine answers.
            play.list(&json!([]));
            assert!(asked(&play));
        }
    }
}

#[test]
fn a_failed_inspect_is_logged_once_unless_the_engine_is_down() {
    for (kind, down, said) in [
        (late(), false, true),
        (late(), true, false),
        (refused(403), true, true),
        (refused(404), false, false),
    ] {
        let what = format!("{kind:?} {down}");
        let mut play = Play::new();
        play.info(Ok(Info::default()));
        play.list_exited(2);
        if down {
            let asked = play.time();
            play.step(Message::Listed(asked, Err(error(unreachable()))));
        }
        play.logged.clear();
        play.inspect_failed("c1", kind);
        assert_eq!(play.logged.len(), usize::from(said), "{what}");
        play.inspect_failed("c0", late());
        let twice = matches!(
            what.as_str(),
            "Refused { status: 404, message: \"\" } false"
        );
        assert_eq!(play.logged.len(), usize::from(said || twice), "{what}");
    }
}

#[test]
fn containers_are_stale_after_three_intervals() {
    let mut play = Play::running();
    for _ in 0..2 {
        play.wait(15_000);
        play.step(Message::Listed(play.time(), Err(error(late()))));
    }
    play.wait(14_979);
    assert!(!play.done.contains(&"publish".to_owned()));
    assert_eq!(play.core.stale_at(), Some(Duration::from_millis(45_021)));
    play.now = Duration::from_millis(45_021);
    play.step(Message::Tick);
    play.wait(10);
    assert!(play.done.contains(&"publish".to_owned()));
    assert!(!play.core.shows_containers());
}

#[test]
fn an_invalid_line_is_counted_as_lost_and_logged_once() {
    let mut play = Play::running();
    play.step(Message::StreamItem(StreamItem::Opened));
    for _ in 0..2 {
        play.step(Message::StreamItem(StreamItem::Invalid(
            "it is cut".to_owned(),
        )));
    }
    assert_eq!(
        play.logged.iter().filter(|it| it.contains("cut")).count(),
        1
    );
}

#[test]
fn info_is_not_requested_twice_at_once() {
    let mut play = Play::new();
    play.list(&json!([]));
    let other = Listing {
        body: b"[]".to_vec(),
        identity: Identity {
            server: "Docker/28.5.2 (linux)".to_owned(),
            ..Identity::default()
        },
    };
    play.step(Message::Listed(play.time(), Ok(other)));
    assert!(!play.done.contains(&"info".to_owned()));
}

#[test]
fn the_page_is_rendered_again_after_a_change() {
    let mut play = Play::running();
    let mut renderer = crate::exposition::Renderer::default();
    let mut rows = RowCache::default();
    let mut changed = |play: &mut Play, renderer: &mut _| {
        let now = play.time();
        play.core.render(now, renderer, &mut rows).1.is_some()
    };
    assert!(!changed(&mut play, &mut renderer));
    play.list_exited(1);
    assert!(changed(&mut play, &mut renderer));
    assert!(!changed(&mut play, &mut renderer));
}

#[test]
fn the_page_shows_since_when_docker_is_up_or_why_it_is_down() {
    let mut play = Play::new();
    let docker = |play: &Play| match play.core.host().docker {
        Docker::NotAsked => "not asked".to_owned(),
        Docker::Up { since } => format!("up since {}", since.duration_since(start()).as_millis()),
        Docker::Down { since, why } => {
            format!(
                "down since {}: {why}",
                since.duration_since(start()).as_millis()
            )
        }
    };
    let fail = |play: &mut Play, kind| {
        let message = Message::Listed(play.time(), Err(error(kind)));
        play.step(message);
    };
    assert_eq!(docker(&play), "not asked");
    for (millis, works, want) in [
        (1_000, false, "down since 1000"),
        (2_000, false, "down since 1000"),
        (3_000, true, "up since 3000"),
        (4_000, true, "up since 3000"),
        (5_000, false, "down since 5000"),
        (6_000, true, "up since 6000"),
        (7_000, true, "up since 6000"),
    ] {
        play.now = Duration::from_millis(millis);
        if works {
            play.list(&json!([]));
        } else {
            fail(&mut play, unreachable());
        }
        let shown = docker(&play);
        assert_eq!(shown.split(':').next(), Some(want), "{millis}");
        assert_eq!(shown.contains("nobody listens"), !works, "{shown}");
    }
    let mut first = Play::running();
    assert_eq!(docker(&first), "up since 21", "as it works from the start");
    let message = "x\n".repeat(5_000);
    fail(
        &mut first,
        EngineErrorKind::Refused {
            status: 500,
            message,
        },
    );
    let why = docker(&first);
    assert!(why.contains("x\\nx") && why.chars().count() < 350, "{why}");
}

#[test]
fn the_page_shows_the_engine_and_its_host() {
    let mut play = Play::new();
    let host = |play: &Play| {
        let host = play.core.host();
        (host.name, host.engine, host.version)
    };
    assert_eq!(host(&play), (String::new(), "", String::new()));
    play.info(Ok(Info {
        name: "db-1".into(),
        version: "28.5.2".into(),
        ..Info::default()
    }));
    assert_eq!(host(&play), ("db-1".into(), "docker", "28.5.2".into()));
    assert_eq!(play.core.host().listed_at, None);
    play.wait(10);
    play.list(&json!([]));
    assert_eq!(play.core.host().listed_at, Some(play.time().engine));
    play.info(Err(error(refused(403))));
    assert_eq!(host(&play).0, "", "as a proxy refuses it now");
}

#[test]
fn after_three_refused_inspects_no_more_are_requested() {
    let denied: fn() -> EngineErrorKind = || refused(403);
    for (kind, asked) in [(denied, 0), (unreachable, 0), (late, 1)] {
        let mut play = Play::new();
        play.list_exited(10);
        let inspected = |play: &Play| {
            let ids = play
                .done
                .iter()
                .filter_map(|it| it.strip_prefix("inspect "));
            ids.map(str::to_owned).collect::<Vec<_>>()
        };
        let ids = inspected(&play);
        assert_eq!(ids.len(), 4);
        for id in &ids[..3] {
            play.inspect_failed(id, kind());
        }
        assert_eq!(inspected(&play).len(), asked, "{:?}", kind());
    }
}

#[test]
fn hanging_inspects_delay_no_listing_after_the_first_collection() {
    let mut play = Play::new();
    play.info(Ok(Info::default()));
    play.list_exited(3);
    // The open stream needs another listing, which would only show the same containers.
    play.step(Message::StreamItem(StreamItem::Opened));
    assert_eq!(play.done, ["past events"]);
    assert!(play.core.wake_at() > play.now);
    for id in ["c0", "c1", "c2"] {
        play.inspect_failed(id, late());
    }
    assert!(play.done.contains(&"list".to_owned()), "{:?}", play.done);
    play.list_exited(3);
    play.wait(100);
    // The first collection is complete, so nothing waits for an inspect.
    play.wait(900);
    assert!(play.done.contains(&"inspect c0".to_owned()));
    play.wait(14_500);
    assert!(play.done.contains(&"list".to_owned()), "{:?}", play.done);
}

#[test]
fn a_new_exit_in_a_listing_is_inspected_at_once_after_failures() {
    let mut play = Play::running();
    play.list_exited(1);
    for pause in [0, 1_000, 5_000] {
        play.wait(pause);
        play.inspect_failed("c0", late());
    }
    play.wait(1_000);
    play.list_exited(1);
    assert!(!play.done.contains(&"inspect c0".to_owned()));
    // It has run and exited again.
    play.list(&json!([{"Id": "c0", "State": "exited", "Status": "Exited (7) 1 second ago"}]));
    assert!(
        play.done.contains(&"inspect c0".to_owned()),
        "{:?}",
        play.done
    );
}

#[test]
fn an_exit_found_before_the_gap_check_is_reported_soon_after_it() {
    let mut play = Play::running();
    play.step(Message::StreamItem(StreamItem::Opened));
    let ended = json!([{"Id": "c0", "Image": "shop", "State": "exited", "Status": "Exited (7) 1 second ago"}]);
    play.list(&ended);
    play.step(Message::Inspected(
        "c0".into(),
        play.time(),
        Ok(inspect_of_one()),
    ));
    play.wait(50);
    play.step(Message::PastEvents(Ok(PastEvents::parse(b""))));
    let mut waited = Duration::ZERO;
    let begun = play.now;
    while !play.done.contains(&"report c0".to_owned()) {
        play.now = play.core.wake_at();
        play.step(Message::Tick);
        waited = play.now.saturating_sub(begun);
        assert!(waited < Duration::from_secs(10), "{waited:?}");
    }
    assert!(waited > Duration::from_secs(2), "{waited:?}");
}

#[test]
fn the_first_text_waits_for_inspects_whatever_came_before_the_first_listing() {
    // The inspect of an event was answered before, or Docker starts late.
    for (inspected, listed) in [(Some(5), 600), (None, 25_000)] {
        let mut play = Play::new();
        play.info(Ok(Info::default()));
        if let Some(millis) = inspected {
            play.now = Duration::from_millis(millis);
            let inspect = Ok(inspect_of_one());
            play.step(Message::Inspected("c0".into(), play.time(), inspect));
        }
        play.now = Duration::from_millis(listed);
        play.list_exited(2);
        let at_once = play.done.join(", ");
        play.wait(50);
        let all = format!("{at_once}; {}", play.done.join(", "));
        assert!(!all.contains("publish"), "{listed}: {all}");
    }
}

#[test]
fn stale_containers_leave_with_the_next_text_that_is_due() {
    let mut play = Play::running();
    play.list_exited(1);
    play.inspect_failed("c0", late());
    play.wait(60);
    // A text was published a moment ago.
    let stale = play.core.stale_at().unwrap();
    play.now = stale.saturating_sub(Duration::from_millis(30));
    play.step(Message::Tick);
    play.step(Message::Inspected(
        "c0".into(),
        play.time(),
        Ok(inspect_of_one()),
    ));
    play.wait(10);
    assert!(play.done.contains(&"publish".to_owned()));
    play.now = stale;
    play.step(Message::Tick);
    // The core waits for the minimum interval, and does not spin until then.
    assert!(!play.done.contains(&"publish".to_owned()));
    assert!(play.core.wake_at() > play.now);
    play.wait(50);
    assert!(play.done.contains(&"publish".to_owned()));
}
