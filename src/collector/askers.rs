//! The threads that ask the Engine: each waits for one answer, so that one that hangs holds up
//! nothing else.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{process, thread};

use jiff::Timestamp;
use prometheus::IntCounter;

use crate::credentials::Ownership;
use crate::engine::{Address, Clock, Engine, Event, Hangup, Line};
use crate::ledger::Now;

use super::core::Message;
use super::inbox::Inbox;

/// More threads than this never wait for answers: one for the listing, one for `/info`, one for what
/// the Engine remembers, and one for each inspect.
const MAX_THREADS: usize = 8;

/// A request that waits for longer than this gets a thread of its own: those that are there hang. As a
/// rule one is enough, and each has memory of its own.
const STUCK: Duration = Duration::from_millis(10);

/// If not all threads were needed for so long, one ends, but for the last.
const IDLE: Duration = Duration::from_secs(5);

/// How the Engine is reached.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) address: Address,
    pub(super) requests: IntCounter,
    pub(super) clock: Clock,
}

impl Access {
    pub(super) fn engine(&self) -> Engine {
        Engine::new(
            self.address.clone(),
            self.requests.clone(),
            self.clock.clone(),
        )
    }
}

/// A request to the Engine.
#[derive(Debug)]
pub(super) enum Request {
    List(Vec<u8>),
    Inspect(Box<str>, Duration),
    Info,
    Remembered(Timestamp),
}

impl Request {
    /// Sends it and waits for the answer.
    pub(super) fn send(self, engine: &mut Engine, access: &Access, asked: Now) -> Message {
        match self {
            Self::List(buffer) => Message::Listed(asked, engine.list(buffer)),
            Self::Inspect(id, within) => {
                let result = engine.inspect(&id, within);
                Message::Inspected(id, asked, result)
            }
            Self::Info => {
                let owner = match &access.address {
                    Address::Unix(path) => Ownership::of(path).map(|it| it.uid),
                    Address::Tcp(_) => None,
                };
                Message::Info(engine.info(), owner)
            }
            Self::Remembered(since) => Message::Remembered(engine.remembered(since)),
        }
    }
}

/// The requests that wait, and the threads that send them.
#[derive(Debug)]
pub(super) struct Askers {
    access: Access,
    inbox: Arc<Inbox<Message>>,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: VecDeque<(Request, Now, Instant)>,
    idle: usize,
    threads: usize,
    /// When the last thread was started.
    started: Option<Instant>,
    /// When all threads were needed last.
    all_busy: Option<Instant>,
}

impl Waiting {
    /// Whether one thread of those that are there is not needed.
    fn has_spare(&self) -> bool {
        let needed = self.all_busy.is_some_and(|at| at.elapsed() < IDLE);
        self.threads > 1 && self.requests.is_empty() && !needed
    }
}

impl Askers {
    pub(super) fn new(access: Access, inbox: Arc<Inbox<Message>>) -> Arc<Self> {
        Arc::new(Self {
            access,
            inbox,
            waiting: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Has a request sent as soon as a thread is free, or by one more (see [`Askers::relieve`]); its
    /// answer comes as a message.
    pub(super) fn ask(self: &Arc<Self>, request: Request, now: Now) {
        let mut waiting = self.lock();
        waiting.requests.push_back((request, now, Instant::now()));
        if waiting.idle > 0 {
            self.changed.notify_one();
        }
        if waiting.idle <= waiting.requests.len() {
            waiting.all_busy = Some(Instant::now());
        }
        if waiting.threads == 0 {
            self.start(&mut waiting);
        }
    }

    /// Starts one more thread if a request has waited for [`STUCK`]. Returns when that is to be looked
    /// at again, if anything waits.
    pub(super) fn relieve(self: &Arc<Self>) -> Option<Instant> {
        let mut waiting = self.lock();
        // Those before it are taken by threads that are awakening.
        let (_, _, since) = waiting.requests.get(waiting.idle)?;
        let since = waiting.started.max(Some(*since))?;
        if waiting.threads == MAX_THREADS {
            return None;
        }
        if since.elapsed() < STUCK {
            return Some(since + STUCK);
        }
        self.start(&mut waiting);
        Some(Instant::now() + STUCK)
    }

    fn start(self: &Arc<Self>, waiting: &mut Waiting) {
        waiting.started = Some(Instant::now());
        let askers = Arc::clone(self);
        let thread = thread::Builder::new().name("asker".into());
        match thread.spawn(move || askers.work()) {
            Ok(_) => waiting.threads += 1,
            Err(error) if waiting.threads == 0 => {
                log::error!("no thread can be started to ask Docker: {error}");
                process::exit(1);
            }
            // Those that are there will do.
            Err(error) => log::debug!("no more threads: {error}"),
        }
    }

    fn work(&self) {
        let _end = EndOnPanic;
        let mut engine = self.access.engine();
        while let Some((request, mut asked, since)) = self.next() {
            // It may have waited for a thread.
            asked.uptime += since.elapsed();
            let message = request.send(&mut engine, &self.access, asked);
            let bytes = message.bytes();
            self.inbox.push(message, bytes);
        }
    }

    /// The next request; `None` if this thread is not needed.
    fn next(&self) -> Option<(Request, Now, Instant)> {
        let mut waiting = self.lock();
        loop {
            if let Some(request) = waiting.requests.pop_front() {
                return Some(request);
            }
            if waiting.has_spare() {
                waiting.threads -= 1;
                return None;
            }
            waiting.idle += 1;
            let woken = self.changed.wait_timeout(waiting, IDLE);
            (waiting, _) = woken.unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the Engine's events, each time from the moment on that it is given. It reads, parses and
/// passes on, and nothing else, since an Engine drops events for a reader that is slow.
pub(super) fn follow(
    access: &Access,
    hangup: &Hangup,
    since: &mpsc::Receiver<Timestamp>,
    inbox: &Inbox<Message>,
) {
    let mut engine = access.engine();
    let pass_on = |message: Message| {
        let bytes = message.bytes();
        inbox.push(message, bytes);
    };
    for since in since {
        let error = engine.follow(since, hangup, &mut |line| pass_on(Message::Stream(line)));
        pass_on(Message::Closed(error));
    }
}

impl Message {
    /// About what it takes in memory. A listing is there anyway, in one buffer.
    fn bytes(&self) -> usize {
        let texts = match self {
            Self::Stream(Line::Event(event)) => event.bytes(),
            Self::Stream(Line::Bad(why)) => why.len(),
            Self::Inspected(_, _, Ok(inspect)) => inspect.body.len(),
            Self::Remembered(Ok(remembered)) => remembered.events.iter().map(Event::bytes).sum(),
            _ => 0,
        };
        size_of::<Self>() + texts
    }
}

/// Ends the process when its thread panics: an exporter that no longer asks must not look alive.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("a thread that asks Docker has failed");
            process::exit(1);
        }
    }
}
