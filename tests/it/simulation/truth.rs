//! What an exporter is to find out: each container's runs, and how well each can be known.

use super::dice::Nanos;

/// A run of a container, or a start that failed.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) container: usize,
    pub(crate) started: Nanos,
    /// A start that failed is no run, but it is counted as one.
    pub(crate) failed: Option<FailedStart>,
    /// Absent while it runs.
    pub(crate) end: Option<End>,
    /// The numbers of the events that ask for its end, by SIGKILL or its stop signal.
    pub(crate) kills: Vec<usize>,
    /// The numbers of `oom` events.
    pub(crate) ooms: Vec<usize>,
    /// Inspect's flag.
    pub(crate) oom: bool,
    /// The number of the event that it became unhealthy by.
    pub(crate) unhealthy: Option<usize>,
    /// Signals that did not ask for its end were sent.
    pub(crate) other_signals: bool,
    /// `docker stop` ended it, so a `stop` event follows.
    pub(crate) stop_event: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedStart {
    /// It never ran: `created`, with an error.
    First {
        /// The number of its `create` event.
        create: usize,
        /// The number of the event that shows that a start was tried.
        tried: usize,
    },
    /// It was still being started when the daemon went. Nobody can say what became of it.
    Interrupted,
    /// It had ended before.
    Again {
        /// The start before failed, too, in the same way.
        repeated: bool,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) code: i64,
    pub(crate) finished: Nanos,
    /// When inspects began to show it.
    pub(crate) shown: Nanos,
    /// When inspects no longer showed it; absent if they still do.
    pub(crate) hidden: Option<Nanos>,
    /// Its `die` event: when it was made, and its number. There is none if the daemon was away.
    pub(crate) die: Option<(Nanos, usize)>,
}

impl Run {
    pub(crate) fn of(container: usize, started: Nanos) -> Self {
        Self {
            container,
            started,
            failed: None,
            end: None,
            kills: Vec::new(),
            ooms: Vec::new(),
            oom: false,
            unhealthy: None,
            other_signals: false,
            stop_event: false,
        }
    }
}
