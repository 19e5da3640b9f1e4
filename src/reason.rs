//! Why a run ended.

/// The reason of an exit, a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It never ran: the runtime could not start it.
    StartFailed,
    /// Someone asked for it while the health check failed, as Swarm does.
    Unhealthy,
    /// Someone asked for it: SIGKILL, or the container's stop signal, was sent in this run.
    Stopped,
    /// The kernel killed its main process or a child of it for want of memory.
    OomKilled,
    /// Code 0.
    Completed,
    /// Code 129–192: 128 and the number of the signal that ended it.
    Signaled,
    /// Any other code.
    Error,
}

impl Reason {
    /// All reasons, in the order in which they are tried.
    pub const ALL: [Self; 7] = [
        Self::StartFailed,
        Self::Unhealthy,
        Self::Stopped,
        Self::OomKilled,
        Self::Completed,
        Self::Signaled,
        Self::Error,
    ];

    /// The value of the label `reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFailed => "start_failed",
            Self::Unhealthy => "unhealthy",
            Self::Stopped => "stopped",
            Self::OomKilled => "oom_killed",
            Self::Completed => "completed",
            Self::Signaled => "signaled",
            Self::Error => "error",
        }
    }

    /// Whether it is a failure: nobody asked for it, and all is not well.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::StartFailed | Self::OomKilled | Self::Signaled | Self::Error => true,
            Self::Unhealthy | Self::Stopped | Self::Completed => false,
        }
    }

    /// The first reason that holds of a run that ended with this code. `oom_killed`: the Engine saw
    /// the kernel's OOM killer at work in this run; with code 0 the main process got over it.
    #[must_use]
    pub fn of(code: i64, asked: Asked, oom_killed: bool) -> Self {
        match (asked, code) {
            (Asked::WhileUnhealthy, _) => Self::Unhealthy,
            (Asked::Yes, _) => Self::Stopped,
            (Asked::No, 0) => Self::Completed,
            _ if oom_killed => Self::OomKilled,
            (Asked::No, 129..=192) => Self::Signaled,
            (Asked::No, _) => Self::Error,
        }
    }
}

/// Whether someone asked for the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Nobody did, as far as is known.
    No,
    /// Someone did.
    Yes,
    /// Someone did while the container's health check failed.
    WhileUnhealthy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        use Asked::{No, WhileUnhealthy, Yes};
        for (code, asked, oom_killed, want) in [
            (0, No, false, "completed"),
            (0, No, true, "completed"),
            (0, Yes, false, "stopped"),
            (137, Yes, true, "stopped"),
            (143, Yes, false, "stopped"),
            (137, WhileUnhealthy, false, "unhealthy"),
            (0, WhileUnhealthy, true, "unhealthy"),
            (1, No, false, "error"),
            (1, No, true, "oom_killed"),
            (125, No, false, "error"),
            (127, No, false, "error"),
            (128, No, false, "error"),
            (129, No, false, "signaled"),
            (137, No, false, "signaled"),
            (137, No, true, "oom_killed"),
            (143, No, false, "signaled"),
            (192, No, false, "signaled"),
            (193, No, false, "error"),
            (255, No, false, "error"),
            (-1, No, false, "error"),
            (3_221_225_786, No, false, "error"),
        ] {
            let reason = Reason::of(code, asked, oom_killed).name();
            assert_eq!(reason, want, "{code} {asked:?} {oom_killed}");
        }
    }
}
