//! The model itself: what it writes is read by the crate's parsers, and it is the same each time.

use std::time::Duration;

use docker_exit_exporter::engine::{self, Event, Info, Inspected};

use super::driver;
use super::generate::generate;
use super::history::{Action, Flavour, History, Setting, Spec, Step};
use super::network::Network;
use super::subject::{Message, Now, Outcome, Request, Subject};
use super::world::{REMEMBERED, World};

/// Asks for everything every ten seconds, and takes note of what comes.
#[derive(Default)]
struct Asker {
    next: Duration,
    opened: u32,
    lines: Vec<String>,
    remembered: Vec<usize>,
    codes: Vec<i64>,
    infos: usize,
    inspected: usize,
}

impl Subject for Asker {
    fn step(&mut self, now: Now, message: Message) -> Vec<Request> {
        let mut requests = Vec::new();
        match message {
            Message::Tick => {
                if self.opened == 0 {
                    requests.push(Request::Follow { since: now.engine });
                }
                requests.extend([Request::List, Request::Info, Request::Remembered]);
                self.next = now.uptime + Duration::from_secs(10);
            }
            Message::Opened => self.opened += 1,
            Message::Line(bytes) => self.lines.push(String::from_utf8(bytes).unwrap()),
            Message::Closed(_) => {}
            Message::Listed(answer) => {
                for listed in engine::listing(&answer.result.unwrap()).unwrap() {
                    self.codes.extend(listed.status.code);
                    let within = Duration::from_secs(1);
                    requests.push(Request::Inspect(listed.id.into_owned(), within));
                }
            }
            Message::Inspected(id, answer) => {
                let inspected = Inspected::parse(&answer.result.unwrap()).unwrap();
                assert_eq!(inspected.id, Some(id));
                self.inspected += 1;
            }
            Message::Info(answer) => {
                Info::parse(&answer.result.unwrap()).unwrap();
                self.infos += 1;
            }
            Message::Remembered(answer) => {
                let text = String::from_utf8(answer.result.unwrap()).unwrap();
                text.lines()
                    .for_each(|line| assert!(Event::parse(line).is_ok(), "{line}"));
                self.remembered.push(text.lines().count());
            }
        }
        requests
    }

    fn next_wake(&self) -> Option<Duration> {
        Some(self.next)
    }

    fn outcome(&mut self, _: Now) -> Outcome {
        Outcome::default()
    }

    fn follows(&self, _: &str, action: &str) -> bool {
        action != "exec_die"
    }

    fn superseded(&mut self, _: &mut dyn FnMut(&str, bool)) {}
}

fn ask(history: &History) -> Asker {
    let world = World::of(history);
    let network = Network::of(history, &world);
    let mut asker = Asker::default();
    driver::play(history, &world, &network, &mut asker, false);
    asker
}

#[test]
fn what_the_model_writes_is_read() {
    let steps = [
        (1, Action::Run),
        (15, Action::Noise(250)),
        (25, Action::Noise(300)),
        (
            35,
            Action::Stop {
                code: 3,
                deaf: None,
            },
        ),
    ];
    let steps = steps.map(|(second, action)| Step {
        at: second * super::dice::SECOND,
        container: 0,
        salt: 1,
        action,
    });
    for (flavour, remembered, actions) in [
        (
            Flavour::Docker,
            REMEMBERED,
            "create connect start kill die disconnect stop",
        ),
        (
            Flavour::Docker20,
            REMEMBERED,
            "create connect start kill die disconnect stop",
        ),
        (Flavour::Podman, 554, "create start kill die"),
    ] {
        let setting = Setting {
            flavour,
            ..Setting::default()
        };
        let history = History {
            seed: 1,
            setting,
            specs: vec![Spec::default()],
            steps: steps.to_vec(),
        };
        let asker = ask(&history);
        assert_eq!(asker.remembered.last(), Some(&remembered), "{flavour:?}");
        assert_eq!(asker.remembered[0], 0);
        assert!(asker.infos > 10 && asker.inspected > 10);
        assert!(!asker.codes.is_empty() && asker.codes.iter().all(|code| *code == 3));
        let action = |line: &String| {
            let start = line.find("\"Action\":\"").unwrap() + 10;
            line[start..].split('"').next().unwrap().to_owned()
        };
        let said: Vec<String> = asker.lines.iter().map(action).collect();
        assert_eq!(said.join(" "), actions, "{flavour:?}");
    }
}

#[test]
fn each_run_is_in_order() {
    for seed in 0..2_000 {
        let history = generate(seed);
        let world = World::of(&history);
        for number in 0..world.containers.len() {
            let mut free = i64::MIN;
            for run in world.runs.iter().filter(|run| run.container == number) {
                assert!(free <= run.started, "{history}{:#?}", world.runs);
                let Some(end) = run.end else {
                    continue;
                };
                let last = end.die.map_or(end.finished, |(at, _)| at);
                assert!(run.failed.is_some() || end.finished <= last, "{history}");
                free = last;
            }
        }
        assert!(world.events.is_sorted_by_key(|event| event.at));
        for down in world
            .down
            .iter()
            .filter(|_| history.setting.flavour != Flavour::Podman)
        {
            let away = down.from..down.to - 200 * super::dice::MS;
            let odd = world.events.iter().find(|event| away.contains(&event.at));
            assert!(odd.is_none(), "{history}{odd:?} {down:?}");
        }
    }
}
