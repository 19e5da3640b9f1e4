//! What is on its way, in the order in which it comes.

use jiff::Timestamp;

use crate::simulation::dice::Nanos;
use crate::simulation::subject::{Failure, Message};

/// What is on its way to the subject.
#[derive(Debug)]
pub(super) enum Item {
    /// The Engine takes a request for its stream.
    Opens(Timestamp),
    Opened(Timestamp),
    /// An event, by its place in the order.
    Line(usize),
    Closed(Failure),
    Answer(Box<Message>, Option<Timestamp>),
}

pub(super) struct Arrival {
    pub(super) at: Nanos,
    pub(super) order: u64,
    /// Of which stream it is.
    pub(super) stream: Option<u64>,
    pub(super) item: Item,
}

impl PartialEq for Arrival {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Arrival {}
impl PartialOrd for Arrival {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Arrival {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
