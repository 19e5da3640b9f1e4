//! The clients that are there, and who of them makes room for others.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use rustix::net::RecvFlags;

use crate::telemetry::Telemetry;

use super::lock;

/// Nobody makes room who was waited for no longer than this. Under a flood the others wait to be
/// accepted meanwhile, and are not sent away as soon as they come.
const GRACE_TO_ASK: Duration = Duration::from_millis(10);

/// The same for who takes an answer: a client at a distance is heard of once in a round trip.
const GRACE_TO_TAKE: Duration = Duration::from_millis(20);

/// And while most of the others do not ask, and can go instead. What a client has taken shows when a
/// third of the kernel's buffer is free.
const LONG_GRACE_TO_TAKE: Duration = Duration::from_millis(300);

/// What a client has asked is read within this, or there is no end of it.
const GRACE_TO_BE_READ: Duration = Duration::from_millis(100);

/// How often it is looked who is late.
const LOOK: Duration = Duration::from_millis(1);

/// A client that was sent away is gone within microseconds. After this another one is.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(100);

/// All connections, `most` at a time.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    open: Mutex<Vec<Arc<Shared>>>,
    left: Condvar,
    count: IntGauge,
    refused: IntCounter,
}

/// A place among them, which is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    all: Arc<Connections>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: TcpStream,
    state: Mutex<State>,
}

/// Who has to do something next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client is to ask, since then.
    Asks(Instant),
    /// The client is to take some of its answer, since then.
    Takes(Instant),
    /// The exporter is to answer.
    Waits,
    /// The client was sent away: its thread is to end.
    Leaves,
}

impl Connections {
    pub(super) fn new(most: usize, telemetry: &Telemetry) -> Arc<Self> {
        Arc::new(Self {
            most,
            open: Mutex::default(),
            left: Condvar::new(),
            count: telemetry.connections.clone(),
            refused: telemetry.connections_refused.clone(),
        })
    }

    /// A place for a client, for which another one may have to go.
    pub(super) fn enter(self: &Arc<Self>, client: TcpStream) -> Connection {
        let mut open = lock(&self.open);
        while open.len() >= self.most {
            let wait = self.send_away_one(&open);
            let waited = self.left.wait_timeout(open, wait);
            open = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let state = Mutex::new(State::Asks(Instant::now()));
        let shared = Arc::new(Shared { client, state });
        open.push(Arc::clone(&shared));
        self.count.inc();
        Connection {
            all: Arc::clone(self),
            shared,
        }
    }

    /// Sends one client away, if any has used up its time.
    pub(super) fn make_room(&self) {
        self.send_away_one(&lock(&self.open));
    }

    /// Sends away who has kept the exporter waiting for too long. Returns how long to wait for a place
    /// then.
    fn send_away_one(&self, open: &[Arc<Shared>]) -> Duration {
        let now = Instant::now();
        let waited_for = open.iter().filter_map(|it| match *lock(&it.state) {
            // Its thread has not come to read it yet.
            State::Asks(since) if now < since + GRACE_TO_BE_READ && has_sent(&it.client) => None,
            State::Asks(since) => Some((since, true, it)),
            State::Takes(since) => Some((since, false, it)),
            State::Waits | State::Leaves => None,
        });
        let waited_for: Vec<_> = waited_for.collect();
        let asking = waited_for.iter().filter(|(_, asks, _)| *asks).count();
        let grace_to_take = if asking > waited_for.len() / 2 {
            LONG_GRACE_TO_TAKE
        } else {
            GRACE_TO_TAKE
        };
        let goes_at = waited_for.into_iter().map(|(since, asks, it)| {
            let grace = if asks { GRACE_TO_ASK } else { grace_to_take };
            (since + grace, it)
        });
        let Some((at, next)) = goes_at.min_by_key(|(at, _)| *at) else {
            return LOOK;
        };
        if at > now {
            // Meanwhile one may do what it was waited for, and another one be late.
            return LOOK.min(at - now);
        }
        *lock(&next.state) = State::Leaves;
        self.refused.inc();
        // Its thread wakes up from whatever it waits for. It may be gone already.
        let _ = next.client.shutdown(Shutdown::Both);
        LEAVE_TIMEOUT
    }
}

/// Whether the client has sent something that was not read yet.
fn has_sent(client: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(client, &mut [0; 1], flags), Ok((1, _)))
}

impl Connection {
    pub(super) fn client(&self) -> &TcpStream {
        &self.shared.client
    }

    /// From now on the client is to ask.
    pub(super) fn asks(&self) {
        self.is_to(State::Asks(Instant::now()));
    }

    /// From now on the client waits for an answer.
    pub(super) fn waits(&self) {
        self.is_to(State::Waits);
    }

    /// From now on the client is to take some of its answer.
    pub(super) fn takes(&self) {
        self.is_to(State::Takes(Instant::now()));
    }

    fn is_to(&self, next: State) {
        let mut state = lock(&self.shared.state);
        if *state != State::Leaves {
            *state = next;
        }
    }

    /// Whether there is no place left for others.
    pub(super) fn is_crowded(&self) -> bool {
        lock(&self.all.open).len() >= self.all.most
    }

    /// Whether it had to make room.
    pub(super) fn was_sent_away(&self) -> bool {
        *lock(&self.shared.state) == State::Leaves
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut open = lock(&self.all.open);
        open.retain(|it| !Arc::ptr_eq(it, &self.shared));
        self.all.count.dec();
        self.all.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_lets_the_exporter_wait_longest_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let telemetry = Telemetry::new();
        let all = Connections::new(4, &telemetry);
        let (clients, sockets): (Vec<_>, Vec<_>) = (0..5).map(|_| connect()).unzip();
        let mut sockets = sockets.into_iter();
        let [waits, asked, asks, takes] = [(); 4].map(|()| all.enter(sockets.next().unwrap()));
        (&clients[1]).write_all(b"GET").unwrap();
        while !has_sent(asked.client()) {
            std::thread::yield_now();
        }
        waits.waits();
        asks.asks();
        takes.takes();
        assert!(takes.is_crowded());
        // What a connection's thread does: it waits for the client, until that is sent away.
        let thread = std::thread::spawn(move || {
            assert_eq!(
                (
                    asks.client().read(&mut [0; 1]).unwrap(),
                    asks.was_sent_away()
                ),
                (0, true)
            );
            asks.takes();
            assert!(asks.was_sent_away(), "it does not come back");
        });
        let start = Instant::now();
        let _next = all.enter(sockets.next().unwrap());
        assert!(start.elapsed() >= GRACE_TO_ASK / 2);
        thread.join().unwrap();
        assert_eq!((&clients[2]).read(&mut [0; 1]).unwrap(), 0);
        assert!(!waits.was_sent_away() && !asked.was_sent_away());
        // One that is slow to leave has another one sent away.
        assert_eq!(
            takes.was_sent_away(),
            telemetry.connections_refused.get() > 1
        );
        drop(asked);
        assert_eq!(telemetry.connections.get(), 3);
    }
}
