//! What really happened on a host: every event, and what inspects and listings show at each moment.
//! It does not depend on who watches, since the exporter only asks.

use super::dice::{MS, Nanos, SECOND};
use super::history::{Action, Flavour, Going, History, Step};
use super::life::Life;
use super::truth::Run;

/// How many events an Engine remembers, of all types.
pub(crate) const REMEMBERED: usize = 256;

/// One event of the Engine, or many of a kind that nobody follows.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Nanos,
    pub(crate) container: usize,
    pub(crate) kind: Kind,
    /// How often its container had been renamed.
    pub(crate) renamed: u32,
    /// So many of them, one after the other.
    pub(crate) count: u32,
    /// Its number in the order in which events were made up, by which runs refer to it.
    pub(crate) number: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Attach,
    Connect,
    Disconnect,
    Start,
    Kill(u8),
    Oom,
    Unhealthy,
    /// With the run's code and whole seconds.
    Die(i64, i64),
    Stop,
    /// With the last code, which Podman says.
    Destroy(i64),
    Rename,
    Pause,
    Unpause,
    /// `exec_create`, `exec_start` and `exec_die` of a health check.
    Exec,
}

impl Kind {
    /// The event's `Type` and `Action`. Podman has no such event where there is none.
    pub(crate) fn words(self, flavour: Flavour) -> Option<(&'static str, &'static str)> {
        let podman = flavour == Flavour::Podman;
        let action = match self {
            Self::Connect | Self::Disconnect | Self::Oom | Self::Stop if podman => return None,
            Self::Connect => return Some(("network", "connect")),
            Self::Disconnect => return Some(("network", "disconnect")),
            Self::Unhealthy if podman => "health_status",
            Self::Create => "create",
            Self::Attach => "attach",
            Self::Start => "start",
            Self::Kill(_) => "kill",
            Self::Oom => "oom",
            Self::Unhealthy => "health_status: unhealthy",
            Self::Die(..) => "die",
            Self::Stop => "stop",
            Self::Destroy(_) if podman => "remove",
            Self::Destroy(_) => "destroy",
            Self::Rename => "rename",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Exec => "exec_die",
        };
        Some(("container", action))
    }
}

/// The state that an Engine says a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no such container, not yet or no more.
    Absent,
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
}

/// What an Engine shows of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) code: i64,
    pub(crate) error: &'static str,
    pub(crate) oom: bool,
    pub(crate) started: Option<Nanos>,
    pub(crate) finished: Option<Nanos>,
    pub(crate) restarts: u32,
    pub(crate) unhealthy: bool,
    pub(crate) renamed: u32,
}

impl View {
    pub(crate) const ABSENT: Self = Self {
        state: State::Absent,
        code: 0,
        error: "",
        oom: false,
        started: None,
        finished: None,
        restarts: 0,
        unhealthy: false,
        renamed: 0,
    };

    pub(crate) fn runs(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }
}

/// A view, and from when on listings and inspects show it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) listed: Nanos,
    pub(crate) inspected: Nanos,
    pub(crate) view: View,
}

/// What was to be seen of one container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) created: Nanos,
    pub(crate) turns: Vec<Turn>,
    /// While `runc create` hangs, its inspects hang.
    pub(crate) hangs: Vec<(Nanos, Nanos)>,
}

impl Seen {
    pub(crate) fn listed(&self, at: Nanos) -> View {
        let turn = self.turns.iter().rfind(|turn| turn.listed <= at);
        turn.map_or(View::ABSENT, |turn| turn.view)
    }

    pub(crate) fn inspected(&self, at: Nanos) -> View {
        let turn = self.turns.iter().rfind(|turn| turn.inspected <= at);
        turn.map_or(View::ABSENT, |turn| turn.view)
    }

    /// What it is in the end.
    pub(crate) fn last(&self) -> View {
        self.turns.last().map_or(View::ABSENT, |turn| turn.view)
    }
}

/// Everything that happened on a host.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) containers: Vec<Seen>,
    /// In the order of their times.
    pub(crate) events: Vec<Event>,
    pub(crate) runs: Vec<Run>,
    /// When there was no daemon.
    pub(crate) down: Vec<Down>,
}

/// A time without a daemon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Down {
    /// When it was told to go.
    pub(crate) told: Nanos,
    /// From when on there is none. What it remembers is gone, too.
    pub(crate) from: Nanos,
    /// From when on another one answers.
    pub(crate) to: Nanos,
    pub(crate) going: Going,
    pub(crate) live_restore: bool,
}

impl Down {
    fn of(step: &Step) -> Option<Self> {
        let Action::Daemon {
            going,
            live_restore,
            down,
        } = step.action
        else {
            return None;
        };
        // First it stops the containers.
        let takes = match going {
            Going::Gracefully => 600 * MS,
            Going::Killed => 0,
        };
        let from = step.at + takes;
        Some(Self {
            told: step.at,
            from,
            to: from + down,
            going,
            live_restore,
        })
    }
}

impl World {
    pub(crate) fn of(history: &History) -> Self {
        let flavour = history.setting.flavour;
        let mut down: Vec<Down> = Vec::new();
        for step in &history.steps {
            let is_up = down.last().is_none_or(|it| it.to + SECOND < step.at);
            if let (true, Some(next)) = (is_up, Down::of(step)) {
                down.push(next);
            }
        }
        let mut world = Self {
            containers: Vec::new(),
            events: Vec::new(),
            runs: Vec::new(),
            down,
        };
        for (number, spec) in history.specs.iter().enumerate() {
            let seen = Life::new(number, spec, history, &mut world).live();
            world.containers.push(seen);
        }
        let events = &mut world.events;
        events.retain(|event| event.kind.words(flavour).is_some());
        events.sort_by_key(|event| (event.at, event.number));
        world
    }

    /// The events that an Engine remembers at this moment.
    pub(crate) fn remembered(&self, at: Nanos, flavour: Flavour) -> Memory {
        let end = self.events.partition_point(|event| event.at <= at);
        if flavour == Flavour::Podman {
            return Memory {
                events: 0..end,
                forgotten: 0,
                overflowed: false,
            };
        }
        let gone = self.down.iter().rfind(|down| down.from <= at);
        let from = gone.map_or(0, |down| {
            self.events.partition_point(|event| event.at < down.from)
        });
        let mut left = REMEMBERED;
        let mut first = end;
        while first > from && left > 0 {
            first -= 1;
            let count = self.events[first].count as usize;
            if count > left {
                return Memory {
                    events: first..end,
                    forgotten: u32::try_from(count - left).unwrap_or_default(),
                    overflowed: true,
                };
            }
            left -= count;
        }
        Memory {
            events: first..end,
            forgotten: 0,
            overflowed: first > from,
        }
    }
}

/// What an Engine remembers.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// The places of events in their order.
    pub(crate) events: std::ops::Range<usize>,
    /// Of the first, where it stands for many, so many are forgotten.
    pub(crate) forgotten: u32,
    /// This daemon has made more events than it remembers.
    pub(crate) overflowed: bool,
}
