//! The exporter's core, as the driver plays it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use docker_exit_exporter::collector::core::{self, Core, Effect, EngineRequest, MetricUpdate};
use docker_exit_exporter::config::Config;
use docker_exit_exporter::engine::{
    EngineError, EngineErrorKind, Event, Identity, Info, Inspect, LineReader, Listing, PastEvents,
    StreamItem,
};
use docker_exit_exporter::exposition::{Renderer, SharedText};
use docker_exit_exporter::ledger::{self, Entry, ExitReport};
use docker_exit_exporter::page::RowCache;
use jiff::SignedDuration;

use super::history::{Flavour, History};
use super::render;
use super::subject::{Answer, Counted, Message, Now, Outcome, Request, Series, Subject};

/// The core, and what it has reported.
pub(crate) struct Adapter {
    core: Core,
    lines: LineReader,
    identity: Identity,
    counted: Vec<Counted>,
    lost: u64,
    renderer: Renderer,
    rows: RowCache,
    /// What was published last, and when.
    text: Arc<SharedText>,
    now: Option<ledger::Now>,
    /// How far the Engine's clock may be off.
    error: SignedDuration,
}

impl Adapter {
    pub(crate) fn new(history: &History) -> Self {
        let setting = &history.setting;
        let config = Config {
            interval: Duration::from_secs(u64::try_from(setting.interval).unwrap()),
            retention: Duration::from_secs(3600),
            ..Config::default()
        };
        let server = match setting.flavour {
            Flavour::Podman => "Libpod/5.8.2 (linux)",
            _ => "Docker/28.5.2 (linux)",
        };
        Self {
            core: Core::new(&config, setting.queue, render::timestamp(-setting.apart)),
            error: SignedDuration::from_secs(if setting.apart == 0 { 0 } else { 3 }),
            lines: LineReader::default(),
            identity: Identity {
                server: server.to_owned(),
                api_version: "1.51".to_owned(),
            },
            counted: Vec::new(),
            lost: 0,
            renderer: Renderer::default(),
            rows: RowCache::default(),
            text: Arc::default(),
            now: None,
        }
    }

    fn at(&self, now: Now) -> ledger::Now {
        ledger::Now {
            uptime: now.uptime,
            engine: now.engine,
            error: self.error,
        }
    }

    fn take(&mut self, now: ledger::Now, message: core::Message) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut messages = VecDeque::from([message]);
        while let Some(message) = messages.pop_front() {
            for effect in self.core.step(now, message) {
                match effect {
                    Effect::Request(EngineRequest::List(_)) => requests.push(Request::List),
                    Effect::Request(EngineRequest::Inspect(id, within)) => {
                        requests.push(Request::Inspect(id.into(), within));
                    }
                    Effect::Request(EngineRequest::Info) => requests.push(Request::Info),
                    Effect::Request(EngineRequest::PastEvents(_)) => {
                        requests.push(Request::Remembered);
                    }
                    Effect::OpenStream(since) => {
                        self.lines = LineReader::default();
                        requests.push(Request::Follow { since });
                    }
                    Effect::CloseStream => {
                        let kind =
                            EngineErrorKind::Http(docker_exit_exporter::http::HttpError::Closed {
                                in_response: true,
                            });
                        let path = "/events".to_owned();
                        messages.push_back(core::Message::StreamClosed(EngineError { path, kind }));
                    }
                    Effect::Publish => {
                        let (text, _) = self.core.render(now, &mut self.renderer, &mut self.rows);
                        self.text = text;
                        self.now = Some(now);
                        self.core.published(now, Duration::from_millis(1));
                    }
                    Effect::Report(report) => {
                        tell(now, &report.exit);
                        self.counted.push(counted(&report));
                    }
                    Effect::Measure(MetricUpdate::Lost(count)) => {
                        tell(now, &format_args!("lost {count}"));
                        self.lost += count;
                    }
                    Effect::Log(..) | Effect::Measure(_) => {}
                }
            }
        }
        requests
    }
}

/// With `SEED`, tells what the core has found, beside what it was told.
fn tell(now: ledger::Now, what: &dyn std::fmt::Debug) {
    if std::env::var_os("SEED").is_some() {
        println!("{:11.4} found: {what:?}", now.uptime.as_secs_f64());
    }
}

fn counted(report: &ExitReport) -> Counted {
    Counted {
        id: report.id.clone(),
        code: report.exit.code,
        reason: report.exit.reason.name(),
        before_start: report.is_before_start,
    }
}

fn parsed<A, T, E: std::fmt::Debug>(
    answer: Answer<A>,
    path: &str,
    parse: impl FnOnce(A) -> Result<T, E>,
) -> Result<T, EngineError> {
    let parsed = |text| parse(text).expect("the model writes JSON");
    answer
        .result
        .map(parsed)
        .map_err(|failure| failure.error(path))
}

impl Subject for Adapter {
    fn step(&mut self, now: Now, message: Message) -> Vec<Request> {
        let message = match message {
            Message::Tick => core::Message::Tick,
            Message::Opened => core::Message::StreamItem(StreamItem::Opened),
            Message::Line(bytes) => {
                let mut all = Vec::new();
                self.lines.push(&bytes, &mut |line| all.push(line));
                let steps = all.into_iter().map(core::Message::StreamItem);
                return steps
                    .flat_map(|line| self.take(self.at(now), line))
                    .collect();
            }
            Message::Closed(failure) => core::Message::StreamClosed(failure.error("/events")),
            Message::Listed(answer) => {
                let asked = self.at(answer.asked);
                let identity = self.identity.clone();
                let listing = parsed(answer, "/containers/json", |text: String| {
                    Ok::<_, ()>(Listing {
                        body: text.into_bytes(),
                        identity,
                    })
                });
                core::Message::Listed(asked, listing)
            }
            Message::Inspected(id, answer) => {
                let asked = self.at(answer.asked);
                let result = parsed(answer, "/containers/id/json", |text: String| {
                    Ok::<_, ()>(Inspect {
                        body: text.into_bytes(),
                    })
                });
                core::Message::Inspected(id.into(), asked, result)
            }
            Message::Info(answer) => core::Message::Info(
                parsed(answer, "/info", |text: String| Info::parse(&text)),
                None,
            ),
            Message::Remembered(answer) => {
                let result = parsed(answer, "/events", |body: Vec<u8>| {
                    Ok::<_, ()>(PastEvents::parse(&body))
                });
                core::Message::PastEvents(result)
            }
        };
        self.take(self.at(now), message)
    }

    fn next_wake(&self) -> Option<Duration> {
        Some(self.core.wake_at())
    }

    fn outcome(&mut self, _: Now) -> Outcome {
        let series = |entry: Entry<'_>| {
            Some(Series {
                id: entry.id.to_string(),
                name: entry.name.to_string(),
                labels: entry.labels.to_string(),
                // One that ended unseen has none, and is shown with its time alone.
                code: entry.exit.code?,
                reason: entry.exit.reason.name(),
                finished: entry.exit.finished_at,
                duration: entry.exit.duration,
            })
        };
        let ledger = self.core.ledger();
        let workloads = ledger.workloads();
        Outcome {
            counted: self.counted.clone(),
            total: workloads.iter().flat_map(|(_, counts)| counts.exits).sum(),
            lost: self.lost,
            exits: ledger.exits().filter_map(series).collect(),
            last_exits: ledger.last_exits().filter_map(series).collect(),
            workloads: workloads.iter().map(|(key, _)| key.to_owned()).collect(),
        }
    }

    fn follows(&self, kind: &str, action: &str) -> bool {
        let line = format!(
            r#"{{"Type":"{kind}","Action":"{action}","Actor":{{"ID":"c","Attributes":{{"container":"c"}}}},"timeNano":1}}"#
        );
        Event::parse(&line).is_ok_and(|event| event.is_some())
    }

    fn shows(&mut self, id: &str) -> Option<bool> {
        let text = self.text.plain();
        // Without a listing nothing is shown, and without `/info` no id.
        if !text.contains("docker_containers{") || !text.contains("cgroup_driver") {
            return None;
        }
        Some(text.contains(id))
    }

    fn audit(&mut self) -> Result<(), String> {
        let Some(now) = self.now else {
            return Ok(());
        };
        let (text, _) = self.core.render(now, &mut self.renderer, &mut self.rows);
        let (anew, _) = self
            .core
            .render(now, &mut Renderer::default(), &mut RowCache::default());
        let rows = self.rows.update(self.core.ledger());
        let rows_anew = RowCache::default().update(self.core.ledger());
        if rows != rows_anew {
            Err(format!("shown were\n{rows:#?}\nand anew\n{rows_anew:#?}"))
        } else if text.plain() == anew.plain() {
            Ok(())
        } else {
            Err(format!(
                "rendered were\n{}\nand anew\n{}",
                text.plain(),
                anew.plain()
            ))
        }
    }

    fn superseded(&mut self, each: &mut dyn FnMut(&str, bool)) {
        for entry in self.core.ledger().exits() {
            each(entry.id, entry.is_superseded);
        }
    }
}
