//! Plays a history to a subject, in simulated time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::dice::{Dice, MS, Nanos, SECOND};
use super::history::{Action, History};
use super::network::Network;
use super::render;
use super::subject::{Message, Now, Outcome, Subject};
use super::trace;
use super::world::{Kind, State, World};

use arrival::{Arrival, Item};

mod answers;
mod arrival;
mod stream;

/// An event that is late by so much shows that the reader was stopped, whatever its clock says.
const LATE: Nanos = 8 * SECOND;

/// An exit is shown so soon after its event has come.
const SHOWN_WITHIN: Nanos = 150 * MS;

/// What was seen of a subject at work.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) outcome: Outcome,
    /// What was shown whenever a step asked for it.
    pub(crate) looks: Vec<Outcome>,
    pub(crate) lists: u64,
    pub(crate) inspects: u64,
    pub(crate) infos: u64,
    pub(crate) proofs: u64,
    /// How often the stream was asked for.
    pub(crate) follows: u64,
    /// By the numbers of events: whether each came, by the stream or as one that is remembered.
    pub(crate) came: Vec<bool>,
    /// The numbers of events that the Engine dropped for a reader that was stopped, without a sign:
    /// those before it were not late enough.
    pub(crate) dropped_silently: Vec<usize>,
    /// Gaps in the stream of which the Engine does not remember all.
    pub(crate) gaps: u64,
    /// One of them cannot be noticed.
    pub(crate) unprovable: bool,
    /// When the first listing was answered.
    pub(crate) first_listed: Option<Nanos>,
    /// The exits that are shown in the end, by their containers' ids: whether as superseded.
    pub(crate) superseded: BTreeMap<String, bool>,
    /// What went wrong on the way.
    pub(crate) wrong: Option<String>,
    pub(crate) end: Nanos,
}

struct Driver<'a, S> {
    history: &'a History,
    world: &'a World,
    network: &'a Network,
    subject: &'a mut S,
    played: Played,
    now: Nanos,
    arrivals: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    dice: Dice,
    /// How far the Engine's clock is taken to be ahead of the exporter's own.
    ahead: Nanos,
    /// The number of the present stream, and whether it is open at the Engine's end.
    stream: u64,
    /// When it was asked for.
    pub(super) follow_asked: Nanos,
    is_open: bool,
    /// The next event that it will bring.
    next_event: usize,
    latest_line: Nanos,
    /// How many events wait for a reader that is stopped.
    queued: usize,
    /// How many events in a row come late.
    pub(super) late: usize,
    /// When the first of them was made.
    first_queued: Nanos,
    /// From when on events may be missing, if the present stream has not repeated them.
    gap_from: Option<Nanos>,
    has_services: bool,
    superseded: BTreeSet<String>,
    /// Until then these `die` events are to be shown.
    shown_by: VecDeque<(Nanos, usize)>,
    /// Each step is printed.
    traced: bool,
}

/// Plays a history and returns what came of it.
pub(crate) fn play<S: Subject>(
    history: &History,
    world: &World,
    network: &Network,
    subject: &mut S,
    traced: bool,
) -> Played {
    let last = world.events.last().map_or(0, |event| event.at);
    let busy = history.end().max(last).max(network.end());
    let end = busy + (100 + 3 * history.setting.interval) * SECOND;
    let mut driver = Driver {
        history,
        world,
        network,
        subject,
        played: Played {
            came: vec![
                false;
                world
                    .events
                    .iter()
                    .map(|it| it.number + 1)
                    .max()
                    .unwrap_or(0)
            ],
            end,
            ..Played::default()
        },
        now: 0,
        arrivals: BinaryHeap::new(),
        order: 0,
        dice: Dice::new(history.seed ^ 0xabcd),
        ahead: 0,
        stream: 0,
        follow_asked: 0,
        is_open: false,
        next_event: 0,
        latest_line: 0,
        queued: 0,
        late: 0,
        first_queued: 0,
        gap_from: Some(0),
        has_services: history.specs.iter().any(|spec| {
            spec.labels
                .iter()
                .any(|(key, _)| key.starts_with("com.docker."))
        }),
        superseded: BTreeSet::new(),
        shown_by: VecDeque::new(),
        traced,
    };
    driver.run(end);
    driver.played
}

impl<S: Subject> Driver<'_, S> {
    fn run(&mut self, end: Nanos) {
        let looks = self
            .history
            .steps
            .iter()
            .filter(|it| it.action == Action::Look);
        let mut looks: Vec<Nanos> = looks.map(|step| step.at).rev().collect();
        self.step(Message::Tick);
        let mut steps = 0;
        while self.played.wrong.is_none() {
            steps += 1;
            if steps > 100_000 {
                self.played.wrong = Some("it does not come to rest".to_owned());
                break;
            }
            // Of what happens at one time, events are first.
            let event = self.is_open.then(|| self.world.events.get(self.next_event));
            let event = event.flatten().map_or(Nanos::MAX, |event| event.at);
            let cut = self.is_open.then(|| self.network.next_cut(self.now));
            let cut = cut.flatten().unwrap_or(Nanos::MAX);
            let arrival = self.arrivals.peek().map_or(Nanos::MAX, |it| it.0.at);
            let look = looks.last().copied().unwrap_or(Nanos::MAX);
            let wake = self.wake();
            let shown_by = self.shown_by.front().map_or(Nanos::MAX, |(at, _)| *at);
            let next = event
                .min(cut)
                .min(arrival)
                .min(look)
                .min(wake)
                .min(shown_by);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if next == event {
                self.next_event += 1;
                self.pass_on(self.next_event - 1);
            } else if next == cut {
                self.cut(cut);
            } else if next == arrival {
                self.arrive();
            } else if next == look {
                looks.pop();
                let outcome = self.subject.outcome(self.clock());
                self.played.looks.push(outcome);
            } else if next == shown_by {
                self.look_whether_shown();
            } else {
                self.step(Message::Tick);
            }
        }
        self.now = end;
        self.audit();
        self.played.outcome = self.subject.outcome(self.clock());
        let superseded = &mut self.played.superseded;
        self.subject.superseded(&mut |id, is| {
            superseded.insert(id.to_owned(), is);
        });
    }

    fn wake(&self) -> Nanos {
        let wake = self.subject.next_wake().map_or(Nanos::MAX, |at| {
            i64::try_from(at.as_nanos()).unwrap_or(Nanos::MAX)
        });
        // A subject that wants to be woken at once is given a moment.
        self.network.awake(wake.max(self.now + MS / 10))
    }

    fn own(&self, now: Nanos) -> Nanos {
        now - self.history.setting.apart
    }

    fn clock(&self) -> Now {
        let own = self.own(self.now);
        Now {
            uptime: Duration::from_nanos(self.now.unsigned_abs()),
            engine: render::timestamp(own + self.ahead),
        }
    }

    fn send(&mut self, at: Nanos, stream: Option<u64>, item: Item) {
        self.order += 1;
        self.arrivals.push(Reverse(Arrival {
            at,
            order: self.order,
            stream,
            item,
        }));
    }

    fn step(&mut self, message: Message) {
        if self.traced {
            let text = trace::message(&message);
            let (seconds, rest) = (self.now / SECOND, self.now % SECOND);
            println!("{seconds:>6}.{:04} {text}", rest / (MS / 10));
        }
        let requests = self.subject.step(self.clock(), message);
        if self.traced {
            for it in &requests {
                println!("{:>14} {it:?}", "→");
            }
        }
        for request in requests {
            self.request(request);
        }
        if self.history.seed % 16 == 0 {
            self.audit();
        }
        if self.has_services {
            let (before, wrong) = (&mut self.superseded, &mut self.played.wrong);
            let containers = &self.world.containers;
            self.subject.superseded(&mut |id, is| {
                if is && !before.contains(id) {
                    before.insert(id.to_owned());
                } else if !is && before.contains(id) {
                    *wrong = Some({
                        let number = containers.iter().position(|seen| seen.id == id);
                        let number = number.unwrap_or_default();
                        format!("superseded goes back to 0 of #{number}")
                    });
                }
            });
        }
    }

    fn audit(&mut self) {
        if let Err(why) = self.subject.audit() {
            self.played.wrong.get_or_insert(why);
        }
    }

    /// An exit whose event came a moment ago is shown.
    fn look_whether_shown(&mut self) {
        let Some((_, place)) = self.shown_by.pop_front() else {
            return;
        };
        let event = &self.world.events[place];
        let seen = &self.world.containers[event.container];
        let is_over = !matches!(seen.listed(self.now).state, State::Running | State::Paused);
        let newer = self.world.events[place + 1..].iter().any(|it| {
            it.container == event.container && it.kind == Kind::Start && it.at <= self.now
        });
        if is_over && !newer && self.subject.shows(&seen.id) == Some(false) {
            let at = render::timestamp(event.at);
            let why = format!("an exit is not shown within 150 ms of its event of {at}");
            self.played.wrong.get_or_insert(why);
        }
    }

    fn arrive(&mut self) {
        let Some(Reverse(arrival)) = self.arrivals.pop() else {
            return;
        };
        let is_old = arrival.stream.is_some_and(|it| it != self.stream);
        match arrival.item {
            _ if is_old => {}
            Item::Opens(since) => self.open(since),
            Item::Opened(date) => {
                self.learn_date(Some(date), self.follow_asked);
                self.step(Message::Opened);
            }
            Item::Line(place) => {
                let event = &self.world.events[place];
                self.played.came[event.number] = true;
                let mut text = String::with_capacity(512);
                render::line(self.world, self.history, event, &mut text);
                let is_end = matches!(event.kind, Kind::Die(..)) && event.at > 0;
                let spec = &self.history.specs[event.container];
                if is_end && spec.label("exitCode").is_none() {
                    let by = self.now + SHOWN_WITHIN;
                    if self.network.awake(by) == by {
                        self.shown_by.push_back((by, place));
                    }
                }
                self.step(Message::Line(text.into_bytes()));
            }
            Item::Closed(failure) => self.step(Message::Closed(failure)),
            Item::Answer(message, date) => {
                let asked = match &*message {
                    Message::Listed(answer)
                    | Message::Info(answer)
                    | Message::Inspected(_, answer) => answer.asked,
                    Message::Remembered(answer) => answer.asked,
                    _ => {
                        self.learn_date(date, self.follow_asked);
                        self.step(*message);
                        return;
                    }
                };
                if matches!(&*message, Message::Listed(answer) if answer.result.is_ok()) {
                    self.played.first_listed.get_or_insert(self.now);
                }
                let asked = i64::try_from(asked.uptime.as_nanos()).unwrap_or_default();
                self.learn_date(date, asked);
                self.step(*message);
            }
        }
    }

    /// Takes note of the Engine's clock.
    fn learn_date(&mut self, date: Option<Timestamp>, asked: Nanos) {
        const CLOCK_TOLERANCE: Nanos = 3 * SECOND;
        let Some(date) = date.map(render::nanos) else {
            return;
        };
        let (asked, now) = (self.own(asked), self.own(self.now));
        let is_same = asked - CLOCK_TOLERANCE <= date && date <= now + CLOCK_TOLERANCE;
        // What is known holds as long as it can: the answer may have waited for the process.
        let known = date - self.ahead;
        let holds = asked - 3 * SECOND <= known && known <= now + 3 * SECOND;
        if is_same {
            self.ahead = 0;
        } else if self.ahead == 0 || !holds {
            self.ahead = date - now;
        }
    }
}

fn nanos(duration: Duration) -> Nanos {
    i64::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
