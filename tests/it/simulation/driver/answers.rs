//! What an Engine, and what is before it, answers to a request, and when.

use docker_exit_exporter::engine::limits;
use jiff::Timestamp;

use crate::simulation::dice::{MS, Nanos, SECOND};
use crate::simulation::history::Flavour;
use crate::simulation::network::at;
use crate::simulation::render;
use crate::simulation::subject::{Answer, Failure, Message, Request, Subject};
use crate::simulation::world::State;

use super::{Driver, Item, nanos};

impl<S: Subject> Driver<'_, S> {
    pub(super) fn request(&mut self, request: Request) {
        let asked = self.clock();
        match request {
            Request::List => {
                self.played.lists += 1;
                let (at, date, result) = self.list();
                let answer = Answer { asked, result };
                self.answer(at, date, Message::Listed(answer));
            }
            Request::Inspect(id, within) => {
                self.played.inspects += 1;
                let within = i64::try_from(within.as_nanos()).unwrap_or(Nanos::MAX);
                let (at, date, result) = self.inspect(&id, within);
                let answer = Answer { asked, result };
                self.answer(at, date, Message::Inspected(id, answer));
            }
            Request::Info => {
                self.played.infos += 1;
                let (at, moment, result) = self.reach_soon(5 * MS);
                let podman = self.history.setting.flavour == Flavour::Podman;
                let info = if podman {
                    r#"{"ServerVersion":"5.8.6","CgroupDriver":"cgroupfs","BuildahVersion":"1.41"}"#
                } else {
                    r#"{"ServerVersion":"28.5.2","CgroupDriver":"cgroupfs"}"#
                };
                let date = result.is_ok().then(|| render::date(moment));
                let answer = Answer {
                    asked,
                    result: result.map(|()| info.to_owned()),
                };
                self.answer(at, date, Message::Info(answer));
            }
            Request::Remembered => {
                self.played.proofs += 1;
                let (at, moment, result) = self.reach_soon(10 * MS);
                let date = result.is_ok().then(|| render::date(moment));
                let result = result.map(|()| self.remember(moment));
                let answer = Answer { asked, result };
                self.answer(at, date, Message::Remembered(answer));
            }
            Request::Follow { since } => {
                self.follow_asked = self.now;
                self.follow(since);
            }
        }
    }

    pub(super) fn answer(&mut self, at: Nanos, date: Option<Timestamp>, message: Message) {
        let comes = self.network.awake(at);
        self.send(comes, None, Item::Answer(Box::new(message), date));
    }

    /// When an answer comes, and the moment that it tells of; or why there is none.
    pub(super) fn reach(
        &mut self,
        least: Nanos,
        most: Nanos,
    ) -> (Nanos, Nanos, Result<(), Failure>) {
        let now = self.now;
        if self.network.is_out(now) {
            return (now + MS, now, Err(Failure::Unreachable));
        }
        let takes = self.dice.between(least, most);
        if let Some(wait) = at(&self.network.waits, now) {
            let comes = wait.to + takes;
            return (comes, comes, Ok(()));
        }
        let comes = now + takes;
        let moment = self.dice.between(now, comes);
        let broken = self.network.outages.iter().chain(&self.network.waits);
        let broken = broken.map(|it| it.from);
        match broken.filter(|at| (now..=comes).contains(at)).min() {
            Some(at) => (at + MS, at, Err(Failure::Closed)),
            None => (comes, moment, Ok(())),
        }
    }

    /// The same within 10 s.
    pub(super) fn reach_soon(&mut self, most: Nanos) -> (Nanos, Nanos, Result<(), Failure>) {
        let longest = self.now + nanos(limits::REQUEST_TIMEOUT);
        let (comes, moment, result) = self.reach(MS, most);
        if comes > longest {
            return (longest, moment, Err(Failure::TimedOut));
        }
        (comes, moment, result)
    }

    pub(super) fn list(&mut self) -> (Nanos, Option<Timestamp>, Result<String, Failure>) {
        let now = self.now;
        let takes = at(&self.network.slow_listings, now).map_or(20 * MS, |span| span.by);
        let (comes, moment, result) = self.reach(takes.min(2 * MS).max(takes - SECOND), takes);
        let longest = nanos(limits::LISTING_TIMEOUT);
        if comes - now > longest {
            return (now + longest, None, Err(Failure::TimedOut));
        }
        if let Err(failure) = result {
            return (comes, None, Err(failure));
        }
        let date = Some(render::date(moment));
        if at(&self.network.bad_listings, now).is_some() {
            let failure = Failure::Refused(500, "the server is not well".to_owned());
            return (comes, date, Err(failure));
        }
        let behind = at(&self.network.behind, moment).map_or(0, |span| span.by);
        let behind = self.dice.between(behind / 2, behind);
        // A daemon does not list what was before it came.
        let came = self.world.down.iter().rfind(|it| it.to <= moment);
        let shown = (moment - behind).max(came.map_or(Nanos::MIN, |it| it.to));
        let unlisted = self.network.unlisted.iter();
        let unlisted: Vec<usize> = unlisted
            .filter(|span| (span.from..span.to).contains(&moment))
            .map(|span| span.container)
            .collect();
        let text = render::listing(self.world, self.history, &unlisted, shown, moment);
        (comes, date, Ok(text))
    }

    pub(super) fn inspect(
        &mut self,
        id: &str,
        within: Nanos,
    ) -> (Nanos, Option<Timestamp>, Result<String, Failure>) {
        let now = self.now;
        let mut containers = self.world.containers.iter();
        let number = containers.position(|seen| seen.id == *id);
        let slow =
            self.network.slow_inspects.iter().rfind(|span| {
                (span.from..span.to).contains(&now) && Some(span.container) == number
            });
        let takes = slow.map_or(5 * MS, |span| span.by);
        let (mut comes, mut moment, result) = self.reach(takes.min(MS).max(takes / 2), takes);
        if self.history.setting.refuses_inspects && result.is_ok() {
            let date = Some(render::date(moment));
            let failure = Failure::Refused(403, "Forbidden".to_owned());
            return (now + 2 * MS, date, Err(failure));
        }
        let hangs = number.map(|it| &self.world.containers[it].hangs[..]);
        let hangs = hangs.unwrap_or_default().iter();
        if let Some((_, to)) = hangs
            .clone()
            .find(|(from, to)| *from <= moment && moment < *to)
        {
            (comes, moment) = (to + MS, *to);
        }
        if comes - now > within {
            return (now + within, None, Err(Failure::TimedOut));
        }
        if let Err(failure) = result {
            return (comes, None, Err(failure));
        }
        let date = Some(render::date(moment));
        if at(&self.network.bad_inspects, now).is_some() {
            let failure = Failure::Refused(500, "the server is not well".to_owned());
            return (comes, date, Err(failure));
        }
        if at(&self.network.empty_inspects, now).is_some() {
            return (comes, date, Ok("{}".to_owned()));
        }
        let view = number.map(|it| self.world.containers[it].inspected(moment));
        let view = view.filter(|view| view.state != State::Absent);
        let Some((number, view)) = number.zip(view) else {
            let failure = if self.history.setting.flavour == Flavour::Podman {
                let why = format!("no container with name or ID \"{id}\" found: no such container");
                Failure::Refused(500, why)
            } else {
                Failure::Refused(404, format!("No such container: {id}"))
            };
            return (comes, date, Err(failure));
        };
        let text = render::inspect(self.world, self.history, number, &view);
        (comes, date, Ok(text))
    }

    /// All that is remembered, as lines.
    pub(super) fn remember(&mut self, moment: Nanos) -> Vec<u8> {
        let memory = self.world.remembered(moment, self.history.setting.flavour);
        let mut text = String::new();
        let first = memory.events.start;
        for place in memory.events {
            let event = &self.world.events[place];
            self.played.came[event.number] = true;
            let skipped = if place == first { memory.forgotten } else { 0 };
            let start = text.len();
            render::line(self.world, self.history, event, &mut text);
            let line = text[start..].to_owned();
            for _ in 1..event.count - skipped.min(event.count - 1) {
                text += &line;
            }
        }
        text.into_bytes()
    }
}
