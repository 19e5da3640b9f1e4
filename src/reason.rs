//! Why a run ended.

/// The reason of an exit, a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It never ran: the runtime could not start it.
    StartFailed,
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
    pub const ALL: [Self; 6] = [
        Self::StartFailed,
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
            Self::Stopped => "stopped",
            Self::OomKilled => "oom_killed",
            Self::Completed => "completed",
            Self::Signaled => "signaled",
            Self::Error => "error",
        }
    }

    /// The first reason that holds.
    ///
    /// `start_failed`: the runtime refused the start. `stopped`: its end was asked for.
    /// `oom_killed`: the Engine saw the kernel's OOM killer at work in this run; with code 0 the
    /// main process got over it.
    #[must_use]
    pub fn of(code: i64, start_failed: bool, stopped: bool, oom_killed: bool) -> Self {
        match code {
            _ if start_failed => Self::StartFailed,
            _ if stopped => Self::Stopped,
            0 => Self::Completed,
            _ if oom_killed => Self::OomKilled,
            129..=192 => Self::Signaled,
            _ => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons() {
        for (code, [start_failed, stopped, oom_killed], want) in [
            (0, [false, false, false], "completed"),
            (0, [false, false, true], "completed"),
            (0, [false, true, false], "stopped"),
            (137, [false, true, true], "stopped"),
            (143, [false, true, false], "stopped"),
            (127, [true, true, false], "start_failed"),
            (1, [false, false, false], "error"),
            (1, [false, false, true], "oom_killed"),
            (125, [false, false, false], "error"),
            (127, [true, false, false], "start_failed"),
            (127, [false, false, false], "error"),
            (0, [true, false, false], "start_failed"),
            (137, [true, false, true], "start_failed"),
            (128, [false, false, false], "error"),
            (129, [false, false, false], "signaled"),
            (137, [false, false, false], "signaled"),
            (137, [false, false, true], "oom_killed"),
            (143, [false, false, false], "signaled"),
            (192, [false, false, false], "signaled"),
            (193, [false, false, false], "error"),
            (255, [false, false, false], "error"),
            (-1, [false, false, false], "error"),
            (3_221_225_786, [false, false, false], "error"),
        ] {
            let reason = Reason::of(code, start_failed, stopped, oom_killed).name();
            assert_eq!(reason, want, "{code} {start_failed} {stopped} {oom_killed}");
        }
    }
}
