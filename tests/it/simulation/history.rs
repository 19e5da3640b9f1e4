//! What happens on a host, as a list of steps. Each step stands for itself, so that a history is made
//! shorter by leaving some out.

use std::fmt;

use super::dice::{MS, Nanos, SECOND};

/// The kinds of Engines that behave differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    Docker,
    /// Its listing shows a container as running for up to 175 ms after its `die` event.
    Docker20,
    Podman,
}

/// What holds for a whole history.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) flavour: Flavour,
    /// The exporter's interval between listings, in seconds.
    pub(crate) interval: i64,
    /// How far the Engine's clock is ahead of the exporter's.
    pub(crate) apart: Nanos,
    /// A proxy refuses to let containers be inspected.
    pub(crate) refuses_inspects: bool,
    /// So many events wait for a reader that is stopped; an Engine has room for 1,024.
    pub(crate) queue: usize,
    /// systemd holds the socket: while there is no daemon, requests wait for the next one.
    pub(crate) socket_waits: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            flavour: Flavour::Docker,
            interval: 15,
            apart: 0,
            refuses_inspects: false,
            queue: 1024,
            socket_waits: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    No,
    Always,
    UnlessStopped,
    /// With the number of retries, 0 for no limit.
    OnFailure(u32),
}

/// How a container was configured.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // They do not depend on each other.
pub(crate) struct Spec {
    pub(crate) image: &'static str,
    /// The image's tag has moved on, so the listing shows the image's id.
    pub(crate) tag_moved: bool,
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) policy: Policy,
    /// `--rm`
    pub(crate) rm: bool,
    /// The name and the number of its stop signal; `None` for SIGTERM.
    pub(crate) stop_signal: Option<(&'static str, u8)>,
    pub(crate) health: bool,
    /// It was run without `-d`.
    pub(crate) attached: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            image: "busybox",
            tag_moved: false,
            labels: Vec::new(),
            policy: Policy::No,
            rm: false,
            stop_signal: None,
            health: false,
            attached: false,
        }
    }
}

impl Spec {
    /// What a service has one container for at a time: a Swarm slot, or a Compose number.
    pub(crate) fn place(&self) -> Option<(&str, &str)> {
        if let Some(task) = self.label("com.docker.swarm.task.name") {
            return Some((
                self.label("com.docker.swarm.service.id")?,
                task.split('.').nth(1)?,
            ));
        }
        let number = self.label("com.docker.compose.container-number")?;
        Some((self.label("com.docker.compose.service")?, number))
    }

    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(it, _)| *it == key);
        found.map(|(_, value)| value.as_str())
    }
}

/// How a daemon goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Going {
    Gracefully,
    /// SIGKILL.
    Killed,
}

/// One thing that happens. What cannot happen in the state that a container is in does not.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// `docker create`
    Create,
    /// `docker run`
    Run,
    /// `docker run`, of which `runc create` takes so long.
    RunSlowly(Nanos),
    /// `docker start`
    Start,
    /// `docker run` or `docker start` that the runtime refuses.
    FailStart,
    /// The process ends; so many runs after it end by themselves, each after so long.
    Exit {
        code: i64,
        again: u32,
        after: Nanos,
    },
    /// `docker stop`, with its patience if the process does not listen.
    Stop {
        code: i64,
        deaf: Option<Nanos>,
    },
    /// `docker kill`
    Kill,
    /// `docker kill -s HUP`, which the process survives.
    Hup,
    /// The OOM killer ends it. Not always does the Engine notice.
    Oom {
        noticed: bool,
    },
    /// The OOM killer ends a child of it.
    OomOfChild,
    /// Its health check fails, and after so long Swarm stops it.
    Unhealthy {
        code: i64,
        after: Nanos,
    },
    Rename,
    Pause,
    Unpause,
    /// `docker rm -f`
    Remove,
    /// So many events of its health checks.
    Noise(u32),
    /// The daemon goes, and another comes after so long.
    Daemon {
        going: Going,
        live_restore: bool,
        down: Nanos,
    },
    /// The exporter's process is stopped for so long.
    Stall(Nanos),
    /// A proxy in between is gone for so long.
    ProxyGone(Nanos),
    /// A proxy cuts the stream.
    Cut,
    /// For so long events are delayed by so much.
    Delay {
        lasts: Nanos,
        by: Nanos,
    },
    /// For so long listings are behind by so much.
    Behind {
        lasts: Nanos,
        by: Nanos,
    },
    /// For so long listings take so long.
    SlowListings {
        lasts: Nanos,
        takes: Nanos,
    },
    /// For so long inspects of this container take so long.
    SlowInspects {
        lasts: Nanos,
        takes: Nanos,
    },
    /// For so long listings are answered with a 500.
    BadListings(Nanos),
    /// For so long inspects are answered with a 500.
    BadInspects(Nanos),
    /// For so long inspects are answered with `{}`.
    EmptyInspects(Nanos),
    /// For so long listings lack this container, whatever it does.
    Unlisted(Nanos),
    /// The exporter is asked what it shows. Only named cases do.
    Look,
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) at: Nanos,
    /// Which container, where that matters.
    pub(crate) container: usize,
    /// Decides the small delays, so that they stay the same when other steps are left out.
    pub(crate) salt: u64,
    pub(crate) action: Action,
}

/// Everything that happens, in order.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) setting: Setting,
    pub(crate) specs: Vec<Spec>,
    pub(crate) steps: Vec<Step>,
}

impl History {
    /// The end of the last step, as far as steps last.
    pub(crate) fn end(&self) -> Nanos {
        let end = |step: &Step| {
            let lasts = match step.action {
                Action::Exit { again, after, .. } => {
                    // Each restart waits longer than the one before.
                    let pauses: i64 = (0..again).map(|n| (200 * MS) << n.min(9)).sum();
                    i64::from(again) * (after + SECOND) + pauses
                }
                Action::RunSlowly(lasts)
                | Action::Stall(lasts)
                | Action::ProxyGone(lasts)
                | Action::BadListings(lasts)
                | Action::BadInspects(lasts)
                | Action::EmptyInspects(lasts)
                | Action::Unlisted(lasts)
                | Action::Daemon { down: lasts, .. }
                | Action::Delay { lasts, .. }
                | Action::Behind { lasts, .. }
                | Action::SlowListings { lasts, .. }
                | Action::SlowInspects { lasts, .. }
                | Action::Unhealthy { after: lasts, .. }
                | Action::Stop {
                    deaf: Some(lasts), ..
                } => lasts,
                _ => 0,
            };
            step.at + lasts
        };
        self.steps.iter().map(end).max().unwrap_or_default().max(0)
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {:?}", self.seed, self.setting)?;
        for (number, spec) in self.specs.iter().enumerate() {
            if self.steps.iter().any(|step| step.container == number) {
                writeln!(f, "  container {number}: {spec:?}")?;
            }
        }
        for step in &self.steps {
            let sign = if step.at < 0 { "-" } else { "" };
            let (ms, who) = (step.at.abs() / MS, step.container);
            let at = format!("{sign}{}.{:03}", ms / 1000, ms % 1000);
            writeln!(f, "  {at:>9} s  #{who} {:?}", step.action)?;
        }
        Ok(())
    }
}
