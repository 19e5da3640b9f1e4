//! The threads that wait for the Engine. Each waits for one response, so that a request that hangs
//! delays no other.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};
use std::{process, thread};

use jiff::Timestamp;

use crate::credentials::Ownership;
use crate::engine::{Address, Endpoint, Engine, Event, Hangup, StreamItem};
use crate::ledger::Now;

use super::core::{EngineRequest, Message};
use super::inbox::Inbox;

/// The maximum number of workers: one for the listing, one for `/info`, one for past events, and one
/// for each inspect.
const MAX_WORKERS: usize = 8;

/// A request that has waited this long gets a new worker, because the others hang. One worker is
/// usually enough, and each one costs memory.
const SPAWN_DELAY: Duration = Duration::from_millis(10);

/// A worker other than the last ends when it was not needed for this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

impl EngineRequest {
    /// Sends the request and waits for the response.
    pub(super) fn send(self, engine: &mut Engine, endpoint: &Endpoint, sent_at: Now) -> Message {
        match self {
            Self::List(buffer) => Message::Listed(sent_at, engine.list(buffer)),
            Self::Inspect(id, timeout) => {
                let result = engine.inspect(&id, timeout);
                Message::Inspected(id, sent_at, result)
            }
            Self::Info => {
                let owner = match &endpoint.address {
                    Address::Unix(path) => Ownership::of(path).map(|it| it.uid),
                    Address::Tcp(_) => None,
                };
                Message::Info(engine.info(), owner)
            }
            Self::PastEvents(since) => Message::PastEvents(engine.past_events(since)),
        }
    }
}

/// A pool of threads that send requests. Responses go to the inbox.
#[derive(Debug)]
pub(super) struct Workers {
    endpoint: Endpoint,
    inbox: Arc<Inbox<Message>>,
    pool: Mutex<Pool>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pool {
    /// Requests with the time and instant at which they were submitted.
    requests: VecDeque<(EngineRequest, Now, Instant)>,
    idle: usize,
    threads: usize,
    last_spawned_at: Option<Instant>,
    all_busy_at: Option<Instant>,
}

impl Pool {
    /// Whether one of the threads is not needed.
    fn has_spare(&self) -> bool {
        let needed = self
            .all_busy_at
            .is_some_and(|at| at.elapsed() < IDLE_TIMEOUT);
        self.threads > 1 && self.requests.is_empty() && !needed
    }
}

impl Workers {
    pub(super) fn new(endpoint: Endpoint, inbox: Arc<Inbox<Message>>) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            inbox,
            pool: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Queues a request for the next free worker.
    pub(super) fn submit(self: &Arc<Self>, request: EngineRequest, now: Now) {
        let mut pool = self.lock();
        pool.requests.push_back((request, now, Instant::now()));
        if pool.idle > 0 {
            self.changed.notify_one();
        }
        if pool.idle <= pool.requests.len() {
            pool.all_busy_at = Some(Instant::now());
        }
        if pool.threads == 0 {
            self.spawn(&mut pool);
        }
    }

    /// Starts another worker if a request has waited for [`SPAWN_DELAY`]. Returns when to call this
    /// again, if a request waits.
    pub(super) fn spawn_if_stuck(self: &Arc<Self>) -> Option<Instant> {
        let mut pool = self.lock();
        // The first requests go to the idle workers, which are about to wake.
        let (_, _, since) = pool.requests.get(pool.idle)?;
        let since = pool.last_spawned_at.max(Some(*since))?;
        if pool.threads == MAX_WORKERS {
            return None;
        }
        if since.elapsed() < SPAWN_DELAY {
            return Some(since + SPAWN_DELAY);
        }
        self.spawn(&mut pool);
        Some(Instant::now() + SPAWN_DELAY)
    }

    fn spawn(self: &Arc<Self>, pool: &mut Pool) {
        pool.last_spawned_at = Some(Instant::now());
        let workers = Arc::clone(self);
        let thread = thread::Builder::new().name("worker".into());
        match thread.spawn(move || workers.work()) {
            Ok(_) => pool.threads += 1,
            Err(error) if pool.threads == 0 => {
                log::error!("no thread can be started to ask Docker: {error}");
                process::exit(1);
            }
            Err(error) => log::debug!("no more threads: {error}"),
        }
    }

    fn work(&self) {
        let _end = EndOnPanic;
        let mut engine = Engine::new(self.endpoint.clone());
        while let Some((request, mut sent_at, submitted_at)) = self.next() {
            sent_at.uptime += submitted_at.elapsed();
            self.inbox
                .push_message(request.send(&mut engine, &self.endpoint, sent_at));
        }
    }

    /// The next request, or `None` if this worker is not needed.
    fn next(&self) -> Option<(EngineRequest, Now, Instant)> {
        let mut pool = self.lock();
        loop {
            if let Some(request) = pool.requests.pop_front() {
                return Some(request);
            }
            if pool.has_spare() {
                pool.threads -= 1;
                return None;
            }
            pool.idle += 1;
            let woken = self.changed.wait_timeout(pool, IDLE_TIMEOUT);
            (pool, _) = woken.unwrap_or_else(PoisonError::into_inner);
            pool.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the event stream. Each time received from `since` opens a new one. This only reads, parses
/// and queues, because the Engine drops events for a slow reader.
pub(super) fn follow_events(
    endpoint: &Endpoint,
    hangup: &Hangup,
    since: &mpsc::Receiver<Timestamp>,
    inbox: &Inbox<Message>,
) {
    let mut engine = Engine::new(endpoint.clone());
    for since in since {
        let error = engine.follow(since, hangup, &mut |item| {
            inbox.push_message(Message::StreamItem(item));
        });
        inbox.push_message(Message::StreamClosed(error));
    }
}

impl Inbox<Message> {
    /// Adds a message with its size in memory. The buffer of a listing does not count: there is only
    /// one, and it stays allocated.
    fn push_message(&self, message: Message) {
        let content = match &message {
            Message::StreamItem(StreamItem::Event(event)) => event.bytes(),
            Message::StreamItem(StreamItem::Invalid(reason)) => reason.len(),
            Message::Inspected(_, _, Ok(inspect)) => inspect.body.len(),
            Message::PastEvents(Ok(all)) => all.events.iter().map(Event::bytes).sum(),
            _ => 0,
        };
        self.push(message, size_of::<Message>() + content);
    }
}

/// Ends the process when its thread panics: an exporter that no longer collects must not look alive.
struct EndOnPanic;

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            log::error!("a thread that asks Docker has failed");
            process::exit(1);
        }
    }
}
