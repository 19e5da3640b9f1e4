//! The thread that follows the Engine's events: it reads, parses and passes on, and nothing else,
//! since an Engine drops events for a reader that is slow.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::engine::{self, Engine, Event, Line};
use crate::queue::Queue;

/// Between two attempts to follow, doubled from the first to the second.
const BACKOFF: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(5);

/// A stream that lasted so long was a good one: after it the backoff starts anew.
const GOOD_STREAM: Duration = Duration::from_secs(10);

/// A proxy that refuses the stream is asked again after so long.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// A new stream begins so long before the last event of the one before: events that are made at
/// the same time may come out of order.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);

/// So many events are remembered to drop those that come again. Docker repeats 256 at most.
const REMEMBERED: usize = 1024;

/// The same of a storm, of which all that a new stream may repeat is remembered: Podman repeats what
/// it is asked for.
const REMEMBERED_OF_STORM: usize = 16 * REMEMBERED;

/// Bytes of messages that may wait for the collector, which takes them at once unless the Engine is
/// stuck: some 10,000 usual events. More wait in the Engine, which drops what is too much for it.
pub const QUEUE: usize = 16 * 1024 * 1024;

/// What the watcher passes on.
#[derive(Debug)]
pub enum Message {
    /// The stream is there. The first has nothing before it.
    Open {
        /// Events may have been missed since a stream before.
        again: bool,
    },
    /// The new stream began with what the one before had ended with, so nothing was missed.
    Seamless,
    /// Something happened that was not passed on before.
    Event(Box<Event>),
    /// A line that is no event.
    Bad(String),
    /// The stream is gone; it will be tried again.
    Closed(engine::Error),
}

impl Message {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        let texts = match self {
            Self::Event(event) => event.bytes(),
            Self::Bad(why) => why.len(),
            Self::Open { .. } | Self::Seamless | Self::Closed(_) => 0,
        };
        size_of::<Self>() + texts
    }
}

/// Follows events for as long as the process lives, from what was remembered at its start on.
pub fn run(engine: &mut Engine, started: Timestamp, messages: &Queue<Message>) -> ! {
    let mut memory = Memory::new(started);
    let mut pause = *BACKOFF.start();
    loop {
        let begun = Instant::now();
        let since = memory.since(engine.now());
        let error = engine.follow(since, &mut |line| {
            for message in memory.take(line) {
                pass_on(messages, message);
            }
        });
        if begun.elapsed() >= GOOD_STREAM {
            pause = *BACKOFF.start();
        }
        let refused = error.is_refusal();
        pass_on(messages, Message::Closed(error));
        thread::sleep(if refused { AFTER_REFUSAL } else { pause });
        pause = (pause * 2).min(*BACKOFF.end());
    }
}

fn pass_on(messages: &Queue<Message>, message: Message) {
    let bytes = message.bytes();
    messages.push(message, bytes);
}

/// What was passed on, so that nothing is passed on twice.
#[derive(Debug)]
struct Memory {
    last: Timestamp,
    /// Hashes of their times, containers and actions: two of 16,384 are the same once in 10^11 times.
    events: HashSet<u64>,
    order: VecDeque<(Timestamp, u64)>,
    hashes: RandomState,
    opened: bool,
    /// A new stream has not yet repeated anything.
    gap: bool,
}

impl Memory {
    fn new(started: Timestamp) -> Self {
        Self {
            last: started,
            events: HashSet::new(),
            order: VecDeque::new(),
            hashes: RandomState::new(),
            opened: false,
            gap: false,
        }
    }

    /// From when on the next stream is asked for; never from a time that is still to come, since
    /// the Engine's clock may have been ahead of itself.
    fn since(&self, now: Timestamp) -> Timestamp {
        if self.order.is_empty() {
            return self.last;
        }
        let last = self.last.min(now);
        last.checked_sub(OVERLAP).unwrap_or(last)
    }

    /// What is to be passed on for a line.
    fn take(&mut self, line: Line) -> Vec<Message> {
        match line {
            Line::Open => {
                let again = std::mem::replace(&mut self.opened, true);
                self.gap = again && !self.order.is_empty();
                vec![Message::Open { again: self.gap }]
            }
            Line::Bad(why) => vec![Message::Bad(why)],
            Line::Event(event) => {
                let id = (event.time, &event.id, event.action.name());
                let key = (event.time, self.hashes.hash_one(id));
                if self.events.contains(&key.1) {
                    let seam = std::mem::take(&mut self.gap).then_some(Message::Seamless);
                    return seam.into_iter().collect();
                }
                self.remember(key);
                self.last = self.last.max(event.time);
                vec![Message::Event(event)]
            }
        }
    }

    fn remember(&mut self, key: (Timestamp, u64)) {
        while let Some(oldest) = self.order.front() {
            let most = if self.last.duration_since(oldest.0) > 2 * OVERLAP {
                REMEMBERED
            } else {
                REMEMBERED_OF_STORM
            };
            if self.order.len() < most {
                break;
            }
            self.events.remove(&oldest.1);
            self.order.pop_front();
        }
        self.order.push_back(key);
        self.events.insert(key.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Lines;

    fn event(nanos: i64, id: &str) -> Line {
        let text = format!(
            r#"{{"Type":"container","Action":"die","Actor":{{"ID":"{id}"}},"timeNano":{nanos}}}"#
        );
        Line::Event(Box::new(Event::parse(&text).unwrap().unwrap()))
    }

    /// `o` open, `O` open again, `s` seamless, `e` event.
    fn taken(memory: &mut Memory, line: Line) -> String {
        let messages = memory.take(line).into_iter();
        let letter = |message| match message {
            Message::Open { again: false } => 'o',
            Message::Open { again: true } => 'O',
            Message::Seamless => 's',
            Message::Event(_) => 'e',
            other => panic!("{other:?}"),
        };
        messages.map(letter).collect()
    }

    #[test]
    fn nothing_is_passed_on_twice_and_a_seam_is_told() {
        let second = 1_000_000_000;
        let start = Timestamp::from_second(1000).unwrap();
        let mut memory = Memory::new(start);
        let now = Timestamp::from_second(5000).unwrap();
        assert_eq!(memory.since(now), start);
        assert_eq!(taken(&mut memory, Line::Open), "o");
        // Nothing had come, so there is nothing that could be repeated.
        assert_eq!(taken(&mut memory, Line::Open), "o");
        assert_eq!(taken(&mut memory, event(1001 * second, "a")), "e");
        assert_eq!(taken(&mut memory, event(1003 * second, "b")), "e");
        // Made at about the same time, and out of order.
        assert_eq!(taken(&mut memory, event(1003 * second - 1, "c")), "e");
        assert_eq!(memory.since(now), Timestamp::from_second(1002).unwrap());
        let early = Timestamp::from_second(1001).unwrap();
        assert_eq!(memory.since(early), Timestamp::from_second(1000).unwrap());
        assert_eq!(taken(&mut memory, Line::Open), "O");
        assert_eq!(taken(&mut memory, event(1003 * second - 1, "c")), "s");
        assert_eq!(taken(&mut memory, event(1003 * second, "b")), "");
        assert_eq!(taken(&mut memory, event(1003 * second, "a")), "e");
        // The Engine remembers too little, or is another one.
        assert_eq!(taken(&mut memory, Line::Open), "O");
        assert_eq!(taken(&mut memory, event(1009 * second, "d")), "e");
        assert_eq!(taken(&mut memory, event(1010 * second, "e")), "e");
    }

    #[test]
    fn a_recorded_stream_cut_anywhere_and_repeated_is_passed_on_once() {
        let passed_on = |pieces: &[&[u8]]| {
            let mut memory = Memory::new(Timestamp::UNIX_EPOCH);
            let mut events = Vec::new();
            for piece in pieces {
                let mut take = |line| {
                    for message in memory.take(line) {
                        if let Message::Event(event) = message {
                            events.push(event);
                        }
                    }
                };
                // Each stream begins with nothing of the one before.
                take(Line::Open);
                Lines::default().take(piece, &mut take);
            }
            events
        };
        let short = &include_bytes!("../fixtures/extra/events-rm-sequence.ndjson")[..];
        let long = &include_bytes!("../fixtures/extra/events-swarm.ndjson")[..];
        // The short one at every byte; the long one at some of each line.
        for (recorded, step, at_least) in [(short, 1, 4), (long, 97, 20)] {
            let whole = passed_on(&[recorded]);
            assert!(whole.len() >= at_least, "{}", whole.len());
            for cut in (0..recorded.len()).step_by(step) {
                let events = passed_on(&[&recorded[..cut], recorded]);
                assert_eq!(events, whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut memory = Memory::new(Timestamp::UNIX_EPOCH);
        for (pause, want) in [(1, REMEMBERED_OF_STORM), (1_000_000_000, REMEMBERED)] {
            for number in 1..=20_000 {
                let time = (pause - 1) * 1_000_000 + number * pause;
                assert_eq!(taken(&mut memory, event(time, "a")), "e");
                assert_eq!(taken(&mut memory, event(time, "a")), "");
            }
            assert_eq!((memory.events.len(), memory.order.len()), (want, want));
        }
    }
}
