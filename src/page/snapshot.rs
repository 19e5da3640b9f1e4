//! What the page shows, as it was when it was published.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::engine::State;
pub use crate::ledger::Became as Now;
use crate::ledger::{Entry, Ledger};
use crate::reason::Reason;

/// So many exits are shown, of all, and of those with another code than 0.
pub(super) const MOST: usize = 300;

/// So many letters of one text are shown.
const LETTERS: usize = 160;

/// A host and its containers.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The host.
    pub host: Host,
    /// Its containers; the same for as long as nothing changes.
    pub containers: Arc<Containers>,
}

/// The newest exits on a host. It is small, however many containers there are.
#[derive(Debug, Clone, Default)]
pub struct Containers {
    /// How many containers there are in each state; empty if nothing is known, or nothing that is
    /// young enough to be shown.
    pub states: Vec<(State, u64)>,
    /// The newest exits first: all that are among the newest of those with code 0, or of the others.
    pub rows: Vec<Row>,
    /// How many exits there are, not only here.
    pub exits: usize,
    /// How many of them have another code than 0.
    pub nonzero: usize,
    /// How many of them are failures: nobody asked for them, and the code is not 0.
    pub failed: usize,
}

/// What is known of the host as a whole.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Whether Docker can be read.
    pub docker: Docker,
    /// The Engine's version; empty if it is not known.
    pub version: String,
    /// When its containers were listed last.
    pub listed_at: Option<Timestamp>,
}

/// Whether Docker can be read.
#[derive(Debug, Clone, Default)]
pub enum Docker {
    /// It was not asked yet.
    #[default]
    NotAsked,
    /// The last listing worked.
    Up,
    /// The last listing did not work.
    Down {
        /// When the first one failed.
        since: Timestamp,
        /// Why the last one did.
        why: String,
    },
}

/// An exit.
#[derive(Debug, Clone)]
pub struct Row {
    /// The container's name.
    pub name: Box<str>,
    /// Its Swarm service, or its Compose project and service; empty if it is of none.
    pub service: Box<str>,
    /// The name of its image.
    pub image: Box<str>,
    /// The exit code.
    pub code: i64,
    /// Why it ended.
    pub reason: Reason,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How long it had run.
    pub duration: Option<SignedDuration>,
    /// What became of the container.
    pub now: Now,
}

impl Snapshot {
    /// What is known of a host and its containers.
    #[must_use]
    pub fn new(mut host: Host, containers: Arc<Containers>) -> Self {
        if let Docker::Down { why, .. } = &mut host.docker {
            *why = cut(why);
        }
        host.version = cut(&host.version);
        Self { host, containers }
    }
}

impl Containers {
    /// What is known of the containers of a host.
    #[must_use]
    pub fn take(ledger: &Ledger) -> Self {
        let (mut zero, mut nonzero) = (Newest::new(), Newest::new());
        let mut failed = 0;
        for entry in ledger.exits().chain(ledger.last_exits()) {
            let Some(code) = entry.exit.code else {
                continue; // It ended unseen.
            };
            failed += usize::from(is_failure(entry.reason));
            // Docker does not say when a start failed; its last event is about then.
            let at = entry.exit.finished_at.or(entry.last_event);
            let group = if code == 0 { &mut zero } else { &mut nonzero };
            group.push(at, (entry, code));
        }
        let (zeros, nonzeros) = (zero.seen, nonzero.seen);
        let mut newest = nonzero.newest();
        newest.extend(zero.newest());
        newest.sort_by_key(|(at, _)| Reverse(*at));
        let rows = newest.iter();
        Self {
            states: ledger.states().collect(),
            rows: rows.map(|(_, (entry, code))| row(entry, *code)).collect(),
            exits: zeros + nonzeros,
            nonzero: nonzeros,
            failed,
        }
    }
}

/// Whether it is a failure: nobody asked for it, and it is not code 0.
pub(super) fn is_failure(reason: Reason) -> bool {
    match reason {
        Reason::StartFailed | Reason::OomKilled | Reason::Signaled | Reason::Error => true,
        Reason::Unhealthy | Reason::Stopped | Reason::Completed => false,
    }
}

fn row(entry: &Entry<'_>, code: i64) -> Row {
    Row {
        name: cut(entry.name).into(),
        service: cut(entry.service).into(),
        image: cut(entry.image).into(),
        code,
        reason: entry.reason,
        finished_at: entry.exit.finished_at,
        duration: entry.exit.duration,
        now: entry.became,
    }
}

/// The first [`LETTERS`] of a text, with a sign that there are more.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LETTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The [`MOST`] newest of any number of things, in little memory.
struct Newest<T> {
    kept: Vec<(Option<Timestamp>, T)>,
    seen: usize,
}

impl<T> Newest<T> {
    fn new() -> Self {
        Self {
            kept: Vec::new(),
            seen: 0,
        }
    }

    fn push(&mut self, at: Option<Timestamp>, it: T) {
        self.seen += 1;
        self.kept.push((at, it));
        if self.kept.len() == 2 * MOST {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        self.kept.sort_by_key(|(at, _)| Reverse(*at));
        self.kept.truncate(MOST);
    }

    /// The newest first, those of unknown age last, equal ones in the order in which they came.
    fn newest(mut self) -> Vec<(Option<Timestamp>, T)> {
        self.shorten();
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn the_newest_of_many_in_any_order() {
        for step in [1, 7, 9_999] {
            let mut newest = Newest::new();
            let numbers = (0..10_000).map(|number| number * step % 10_000);
            for number in numbers {
                newest.push(at(number), number);
            }
            assert_eq!(newest.seen, 10_000);
            let newest = newest.newest();
            let want = (9_700..10_000).rev();
            assert!(newest.into_iter().map(|(_, it)| it).eq(want), "{step}");
        }
    }

    #[test]
    fn unknown_times_come_last_and_equal_ones_as_they_came() {
        let mut newest = Newest::new();
        for (time, name) in [(None, "a"), (at(1), "b"), (at(2), "c"), (at(1), "d")] {
            newest.push(time, name);
        }
        let names: Vec<_> = newest.newest().into_iter().map(|(_, it)| it).collect();
        assert_eq!(names, ["c", "b", "d", "a"]);
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(cut("web"), "web");
        assert_eq!(cut(&"ü".repeat(LETTERS)), "ü".repeat(LETTERS));
        let long = cut(&"ü".repeat(LETTERS + 1));
        assert_eq!(long, "ü".repeat(LETTERS) + "…");
    }

    #[test]
    fn why_docker_is_down_is_cut() {
        let docker = Docker::Down {
            since: Timestamp::UNIX_EPOCH,
            why: "x".repeat(100_000),
        };
        let host = Host {
            docker,
            ..Host::default()
        };
        let snapshot = Snapshot::new(host, Arc::default());
        let Docker::Down { why, .. } = snapshot.host.docker else {
            panic!("it is down");
        };
        assert_eq!(why.chars().count(), LETTERS + 1);
    }
}
