//! The loop that owns the ledger: asks the Engine, keeps what it says, publishes the text.

use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use jiff::Timestamp;

use crate::cgroup::Layout;
use crate::config::Config;
use crate::engine::{self, Complaint, Engine};
use crate::exposition::{self, EngineInfo};
use crate::ledger::{Entry, Ledger, NotInspected, Taken};
use crate::publication::{Publication, Published};
use crate::reason::Reason;
use crate::telemetry::Telemetry;

/// Inspecting may take so long in one collection; what is left waits for the next, shown as far
/// as the listing tells. At the start on a host with 20,000 stopped containers this is what lets
/// the first text out.
const INSPECTING: Duration = Duration::from_secs(10);

/// After so many inspects in a row that got no good answer, the rest waits for the next collection:
/// it is the Engine, or a proxy that refuses them all.
const FAILED_INSPECTS: u32 = 3;

/// Known containers are shown for so many intervals without a listing that works, and at least for
/// [`STALE_AFTER_AT_LEAST`].
const STALE_AFTER_INTERVALS: u32 = 3;
const STALE_AFTER_AT_LEAST: Duration = Duration::from_secs(45);

/// Collects from one Engine and publishes.
#[derive(Debug)]
pub struct Collector {
    engine: Engine,
    ledger: Ledger,
    known: EngineInfo,
    /// `/info` is to be asked for: at the start, after a failure, or when another daemon answers.
    info_due: bool,
    /// It was said that `/info`, or an inspect, got no good answer.
    said_no_info: bool,
    said_no_inspect: bool,
    interval: Duration,
    publication: Arc<Publication>,
    telemetry: Telemetry,
    started: Instant,
    last_success: Option<Instant>,
    outage: Option<Outage>,
}

/// A time without a listing that worked.
#[derive(Debug)]
struct Outage {
    since: Instant,
    /// What was said of it, so that nothing is said twice.
    said: Vec<Complaint>,
}

impl Collector {
    /// A collector that has not asked for anything yet.
    #[must_use]
    pub fn new(config: &Config, publication: Arc<Publication>, telemetry: Telemetry) -> Self {
        let requests = telemetry.engine_requests.clone();
        let collector = Self {
            engine: Engine::new(config.docker_host.clone(), requests),
            ledger: Ledger::new(config.container_labels.clone(), config.retention),
            known: EngineInfo::default(),
            info_due: true,
            said_no_info: false,
            said_no_inspect: false,
            interval: config.interval,
            publication,
            telemetry,
            started: Instant::now(),
            last_success: None,
            outage: None,
        };
        collector.publish();
        collector
    }

    /// Collects at every interval, for as long as the process lives.
    pub fn run(mut self) -> ! {
        let mut next = Instant::now();
        loop {
            // Its error is in the log, once.
            let _ = self.collect();
            // A collection that took longer than the interval puts the next one off.
            next = (next + self.interval).max(Instant::now());
            self.wait(next);
        }
    }

    /// Waits, and takes out of the text what expires meanwhile.
    fn wait(&mut self, until: Instant) {
        loop {
            let now = Instant::now();
            if now >= until {
                return;
            }
            let expiry = self
                .ledger
                .next_expiry()
                .map(|uptime| self.started + uptime);
            let stale = self.stale_at().filter(|stale| *stale > now);
            let wake = [expiry, stale]
                .into_iter()
                .flatten()
                .fold(until, Instant::min);
            thread::sleep(wake.saturating_duration_since(now));
            if wake < until {
                self.ledger.expire(self.started.elapsed());
                self.publish();
            }
        }
    }

    /// When the known containers are too old to be shown, unless a listing works before.
    fn stale_at(&self) -> Option<Instant> {
        let last = self.last_success?;
        Some(last + stale_after(self.interval))
    }

    /// Lists once, inspects what is new, publishes, and says in the log what there is to say.
    ///
    /// # Errors
    /// The Engine's, if there was no listing. What was known stays published until it is stale.
    pub fn collect(&mut self) -> Result<(), engine::Error> {
        let start = Instant::now();
        let result = self.list();
        self.telemetry.collected(result.is_ok());
        if result.is_ok() {
            self.last_success = Some(Instant::now());
            let now = Timestamp::now().as_duration().as_secs_f64();
            self.telemetry.last_collection.set(now);
        } else {
            self.info_due = true;
        }
        let took = start.elapsed().as_secs_f64();
        self.telemetry.collection_duration.set(took);
        self.report(result.as_ref().err());
        self.publish();
        result
    }

    fn list(&mut self) -> Result<(), engine::Error> {
        if self.info_due {
            self.ask_info()?;
        }
        let asked = Timestamp::now();
        let listing = self.engine.list()?;
        let taken = Taken {
            asked,
            answered: Timestamp::now(),
            uptime: self.started.elapsed(),
        };
        if self.known.identity != listing.identity {
            // Another daemon than the one whose /info is known answers.
            self.info_due |= self.last_success.is_some();
            self.known.identity = listing.identity;
        }
        let pending = self.ledger.listed(&listing.containers, taken);
        self.inspect(pending);
        Ok(())
    }

    /// Asks for `/info`, which is of use but not needed.
    ///
    /// # Errors
    /// If there is no Engine to talk to at all.
    fn ask_info(&mut self) -> Result<(), engine::Error> {
        match self.engine.info() {
            Ok(info) => {
                self.ledger.set_layout(Layout::of(&info));
                self.known.info = Some(info);
                self.said_no_info = false;
                self.info_due = false;
            }
            Err(error) if error.is_unreachable() => return Err(error),
            Err(error) => {
                if !self.said_no_info {
                    log::warn!("the label id is taken to be /docker/<id>, since {error}");
                }
                self.said_no_info = true;
                // A proxy's word is final; a daemon that was too busy is asked again.
                self.info_due = error.is_transport();
            }
        }
        Ok(())
    }

    fn inspect(&mut self, pending: Vec<String>) {
        let deadline = Instant::now() + INSPECTING;
        let (mut failed, mut failed_in_a_row) = (false, 0);
        let mut left = pending.into_iter();
        for id in left.by_ref() {
            match self.engine.inspect(&id) {
                Ok(inspected) => {
                    self.ledger.inspected(&id, &inspected);
                    failed_in_a_row = 0;
                }
                // It went between listing and inspect: no error, and there is nothing more to know.
                Err(error) if error.is_not_found() => {
                    self.ledger.not_inspected(&id, NotInspected::Gone);
                }
                Err(error) => {
                    self.ledger.not_inspected(&id, NotInspected::Failed);
                    if !self.said_no_inspect {
                        log::warn!("an exit is shown without time and details, since {error}");
                        self.said_no_inspect = true;
                    }
                    failed = true;
                    failed_in_a_row += 1;
                    if failed_in_a_row == FAILED_INSPECTS || error.is_transport() {
                        break;
                    }
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        self.said_no_inspect &= failed;
        for id in left {
            self.ledger.not_inspected(&id, NotInspected::Postponed);
        }
    }

    fn publish(&self) {
        let fresh = self.stale_at().is_some_and(|at| Instant::now() < at);
        let up = self.last_success.is_some() && self.outage.is_none();
        let known = fresh.then_some((&self.known, &self.ledger));
        self.publication.set(Published {
            text: exposition::render(up, known).into(),
            ready: self.last_success.is_some(),
        });
    }

    /// Says what an operator wants to know of a collection, and nothing twice.
    fn report(&mut self, error: Option<&engine::Error>) {
        let now = Instant::now();
        if let Some(error) = error {
            let outage = self.outage.get_or_insert(Outage {
                since: now,
                said: Vec::new(),
            });
            let complaint = error.complaint();
            if outage.said.contains(&complaint) {
                log::debug!("{error}");
            } else {
                outage.said.push(complaint);
                let seconds = self.interval.as_secs();
                log::warn!("{error}; trying again every {seconds} s");
            }
            return;
        }
        if let Some(outage) = self.outage.take() {
            let seconds = now.duration_since(outage.since).as_secs();
            log::info!("Docker answers again, after {seconds} s");
        }
        if self.telemetry.successes() == 1 {
            self.report_first();
        }
        for exit in self.ledger.new_exits() {
            log::info!("{}", Line(exit));
        }
    }

    /// The exits from before the start are told in one line.
    fn report_first(&mut self) {
        let EngineInfo { identity, info } = &self.known;
        let version = info.as_ref().map_or("", |info| &info.version);
        let total: u64 = self.ledger.states().map(|(_, count)| count).sum();
        let (mut exits, mut failed) = (0, 0);
        for exit in self.ledger.new_exits() {
            exits += 1;
            failed += u64::from(exit.exit.code != 0);
            log::debug!("{}", Line(exit));
        }
        log::info!(
            "Docker {version} (API {}) has {total} containers; the last run of {exits} is over, \
             of {failed} with a code other than 0",
            identity.api_version
        );
    }
}

fn stale_after(interval: Duration) -> Duration {
    (interval * STALE_AFTER_INTERVALS).max(STALE_AFTER_AT_LEAST)
}

/// An exit as a line of the log.
struct Line<'a>(Entry<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry {
            id, name, image, ..
        } = self.0;
        let exit = self.0.exit;
        let id: String = id.chars().take(12).collect();
        let verb = if exit.reason == Reason::StartFailed {
            "could not be started, code"
        } else {
            "exited with code"
        };
        write!(f, "{name} ({image}, {id}) {verb} {}: ", exit.code)?;
        write!(f, "{}", exit.reason.name())?;
        if let Some(duration) = exit.duration {
            write!(f, ", after {:.1} s", duration.as_secs_f64())?;
        }
        if !exit.error.is_empty() {
            // What a container says of itself must not look like a line of this log.
            write!(f, ", {}", exit.error.escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_containers_stay_for_three_intervals_and_at_least_45_seconds() {
        for (interval, want) in [(1, 45), (15, 45), (16, 48), (60, 180), (86400, 259_200)] {
            let after = stale_after(Duration::from_secs(interval));
            assert_eq!(after.as_secs(), want, "{interval}");
        }
    }
}
