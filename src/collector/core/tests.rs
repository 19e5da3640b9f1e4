//! The schedule: what is asked, published and said, and when.

use serde_json::json;

use super::*;
use crate::engine::{Identity, Kind};
use crate::http;
use crate::page::{Docker, RowCache};

/// A core, played by hand.
struct Play {
    core: Core,
    now: Duration,
    /// What was done by the last step, each in a word or two.
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
        assert_eq!(play.done, ["follow", "info", "list"]);
        play
    }

    /// One whose first text, of a host without containers, is published after 20 ms.
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
                Effect::List(_) => self.done.push("list".to_owned()),
                Effect::Inspect(id, _) => self.done.push(format!("inspect {id}")),
                Effect::Info => self.done.push("info".to_owned()),
                Effect::Remembered(_) => self.done.push("remembered".to_owned()),
                Effect::Follow(_) => self.done.push("follow".to_owned()),
                Effect::HangUp => self.done.push("hang up".to_owned()),
                Effect::Publish => {
                    let mut renderer = crate::exposition::Renderer::default();
                    self.core
                        .render(now, &mut renderer, &mut RowCache::default());
                    self.core.published(now, Duration::from_millis(1));
                    self.done.push("publish".to_owned());
                }
                Effect::Report(report) => self.done.push(format!("report {}", report.id)),
                Effect::Log(Level::Debug, _) | Effect::Count(_) => {}
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

    fn info(&mut self, result: Result<Info, Error>) {
        self.step(Message::Info(result, None));
    }

    fn inspect_failed(&mut self, id: &str, kind: Kind) {
        let error = error(kind);
        self.step(Message::Inspected(id.into(), self.time(), Err(error)));
    }

    /// Lists so many containers that ended a minute ago.
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

fn error(kind: Kind) -> Error {
    Error {
        path: "/path".to_owned(),
        kind,
    }
}

fn refused(status: u16) -> Kind {
    Kind::Refused {
        status,
        message: String::new(),
    }
}

fn late() -> Kind {
    Kind::Http(http::HttpError::DeadlinePassed)
}

fn unreachable() -> Kind {
    Kind::Unreachable {
        why: "nobody listens".to_owned(),
        denied: false,
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
fn rendering_for_events_takes_a_fifth_of_the_time_at_most() {
    let mut play = Play::running();
    play.core.published(play.time(), Duration::from_secs(1));
    play.info(Ok(Info::default()));
    play.wait(3_999);
    assert!(!play.done.contains(&"publish".to_owned()));
    play.wait(1);
    assert!(play.done.contains(&"publish".to_owned()));
}

#[test]
fn the_first_text_waits_for_inspects_but_for_none_that_hangs() {
    let mut play = Play::new();
    play.info(Ok(Info::default()));
    play.list_exited(2);
    assert_eq!(play.done, ["inspect c0", "inspect c1"], "{:?}", play.logged);
    play.wait(99);
    assert!(play.done.is_empty());
    // As long as others are answered there is hope.
    play.inspect_failed("c1", late());
    play.wait(99);
    assert!(play.done.is_empty());
    play.wait(11);
    assert_eq!(play.done, ["publish"]);
}

#[test]
fn the_first_text_waits_for_inspects_for_twenty_seconds_at_most() {
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
fn a_slow_engine_gets_a_pause_and_one_that_was_stuck_a_short_one() {
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
fn info_is_asked_for_again_unless_it_is_refused() {
    for (kind, again, warned) in [
        (late(), Some(5_000), false),
        (refused(502), Some(5_000), false),
        (unreachable(), None, false),
        (refused(403), None, true),
        (Kind::Json("no".to_owned()), None, true),
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
            // It is asked for as soon as the Engine answers.
            play.list(&json!([]));
            assert!(asked(&play));
        }
    }
}

#[test]
fn what_inspects_fail_by_is_said_once_unless_the_engine_is_down() {
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
fn known_containers_are_too_old_after_three_intervals() {
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
fn a_line_that_is_no_event_is_lost_and_said_once() {
    let mut play = Play::running();
    play.step(Message::Stream(Line::Open));
    for _ in 0..2 {
        play.step(Message::Stream(Line::Bad("it is cut".to_owned())));
    }
    assert_eq!(
        play.logged.iter().filter(|it| it.contains("cut")).count(),
        1
    );
}

#[test]
fn info_is_not_asked_for_twice_at_once() {
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
fn the_page_is_made_anew_when_something_has_changed() {
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
fn the_page_says_since_when_docker_answers_and_why_it_does_not() {
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
        Kind::Refused {
            status: 500,
            message,
        },
    );
    let why = docker(&first);
    assert!(why.contains("x\\nx") && why.chars().count() < 350, "{why}");
}

#[test]
fn the_page_says_what_the_engine_says_of_itself() {
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
fn a_proxy_that_refuses_three_inspects_is_asked_for_no_more() {
    let denied: fn() -> Kind = || refused(403);
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
fn an_inspect_that_hangs_delays_no_listing_but_those_of_the_first_one_do() {
    let mut play = Play::new();
    play.info(Ok(Info::default()));
    play.list_exited(3);
    // A stream that is opened wants another listing, which would have them all again.
    play.step(Message::Stream(Line::Open));
    assert_eq!(play.done, ["remembered"]);
    assert!(play.core.wake_at() > play.now);
    for id in ["c0", "c1", "c2"] {
        play.inspect_failed(id, late());
    }
    assert!(play.done.contains(&"list".to_owned()), "{:?}", play.done);
    play.list_exited(3);
    play.wait(100);
    // Now it is complete, and nothing waits for an inspect.
    play.wait(900);
    assert!(play.done.contains(&"inspect c0".to_owned()));
    play.wait(14_500);
    assert!(play.done.contains(&"list".to_owned()), "{:?}", play.done);
}

#[test]
fn what_a_listing_shows_anew_is_inspected_at_once_whatever_was_in_vain_before() {
    let mut play = Play::running();
    play.list_exited(1);
    for pause in [0, 1_000, 5_000] {
        play.wait(pause);
        play.inspect_failed("c0", late());
    }
    play.wait(1_000);
    play.list_exited(1);
    assert!(!play.done.contains(&"inspect c0".to_owned()));
    // It has run again.
    play.list(&json!([{"Id": "c0", "State": "exited", "Status": "Exited (7) 1 second ago"}]));
    assert!(
        play.done.contains(&"inspect c0".to_owned()),
        "{:?}",
        play.done
    );
}

#[test]
fn what_was_found_before_the_stream_was_proven_is_reported_soon_after() {
    let mut play = Play::running();
    play.step(Message::Stream(Line::Open));
    let ended = json!([{"Id": "c0", "Image": "shop", "State": "exited", "Status": "Exited (7) 1 second ago"}]);
    play.list(&ended);
    play.step(Message::Inspected(
        "c0".into(),
        play.time(),
        Ok(inspect_of_one()),
    ));
    play.wait(50);
    play.step(Message::Remembered(Ok(Remembered::parse(b""))));
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
fn the_first_text_waits_for_inspects_whatever_was_before_the_first_listing() {
    // An event's inspect is answered before, or Docker comes late.
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
fn what_is_too_old_to_be_shown_leaves_with_the_next_text_that_is_due() {
    let mut play = Play::running();
    play.list_exited(1);
    play.inspect_failed("c0", late());
    play.wait(60);
    // A text was made a moment before.
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
    // It waits for its turn, and does not go round and round until then.
    assert!(!play.done.contains(&"publish".to_owned()));
    assert!(play.core.wake_at() > play.now);
    play.wait(50);
    assert!(play.done.contains(&"publish".to_owned()));
}
