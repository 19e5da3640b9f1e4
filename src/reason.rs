//! Why a run ended.

/// The reason of an exit, a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// It never ran: the runtime could not start it.
    StartFailed,
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
    /// The value of the label `reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StartFailed => "start_failed",
            Self::OomKilled => "oom_killed",
            Self::Completed => "completed",
            Self::Signaled => "signaled",
            Self::Error => "error",
        }
    }

    /// The first reason that holds.
    ///
    /// `start_failed`: the runtime refused the start. `oom_killed`: the Engine saw the kernel's
    /// OOM killer at work in this run; with code 0 the main process got over it.
    #[must_use]
    pub fn of(code: i64, start_failed: bool, oom_killed: bool) -> Self {
        match code {
            _ if start_failed => Self::StartFailed,
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
        for (code, start_failed, oom_killed, want) in [
            (0, false, false, "completed"),
            (0, false, true, "completed"),
            (1, false, false, "error"),
            (1, false, true, "oom_killed"),
            (125, false, false, "error"),
            (127, true, false, "start_failed"),
            (127, false, false, "error"),
            (0, true, false, "start_failed"),
            (137, true, true, "start_failed"),
            (128, false, false, "error"),
            (129, false, false, "signaled"),
            (137, false, false, "signaled"),
            (137, false, true, "oom_killed"),
            (143, false, false, "signaled"),
            (192, false, false, "signaled"),
            (193, false, false, "error"),
            (255, false, false, "error"),
            (-1, false, false, "error"),
            (3_221_225_786, false, false, "error"),
        ] {
            let reason = Reason::of(code, start_failed, oom_killed).name();
            assert_eq!(reason, want, "{code} {start_failed} {oom_killed}");
        }
    }
}
