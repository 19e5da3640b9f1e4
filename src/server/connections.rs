//! The clients that are there, and who of them makes room for others.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use rustix::net::RecvFlags;

use crate::telemetry::Telemetry;

/// A client that was sent away is gone within microseconds. After this another one is.
const GOING: Duration = Duration::from_millis(100);

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

#[derive(Debug, Clone, Copy)]
struct State {
    turn: Turn,
    /// Since when it is.
    since: Instant,
    /// It was sent away.
    sent_away: bool,
}

/// Who has to do something next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// The client is to ask.
    Ask,
    /// The exporter is to answer.
    Answer,
    /// The client is to take some of its answer.
    Take,
}

impl Turn {
    /// For so long nobody is sent away for what is not done yet: under a flood others wait to be
    /// accepted meanwhile, and are not sent away as soon as they come.
    fn grace(self) -> Duration {
        match self {
            Self::Ask => Duration::from_millis(5),
            Self::Take => Duration::from_millis(20),
            Self::Answer => Duration::from_secs(1),
        }
    }
}

impl State {
    /// From when on it makes room for others.
    fn makes_room_at(&self, client: &TcpStream) -> Instant {
        let has_asked = matches!(self.turn, Turn::Ask) && has_sent(client);
        let turn = if has_asked { Turn::Answer } else { self.turn };
        self.since + turn.grace()
    }
}

/// Whether the client has sent something that its thread has not come to read yet.
fn has_sent(client: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(client, &mut [0; 1], flags), Ok((1, _)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            let wait = send_away_one(&open, &self.refused);
            let waited = self.left.wait_timeout(open, wait);
            open = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let shared = Arc::new(Shared {
            client,
            state: Mutex::new(State {
                turn: Turn::Ask,
                since: Instant::now(),
                sent_away: false,
            }),
        });
        open.push(Arc::clone(&shared));
        self.count.inc();
        Connection {
            all: Arc::clone(self),
            shared,
        }
    }

    /// Sends one client away, if any has used up its time.
    pub(super) fn make_room(&self) {
        send_away_one(&lock(&self.open), &self.refused);
    }
}

/// Sends away who has kept the exporter waiting for the longest time. Returns how long to wait for
/// a place then.
fn send_away_one(open: &[Arc<Shared>], refused: &IntCounter) -> Duration {
    let here = open.iter().filter(|it| !lock(&it.state).sent_away);
    let Some(next) = here.min_by_key(|it| lock(&it.state).makes_room_at(&it.client)) else {
        return GOING;
    };
    let mut state = lock(&next.state);
    let early = state.makes_room_at(&next.client);
    let early = early.saturating_duration_since(Instant::now());
    if early.is_zero() {
        state.sent_away = true;
        refused.inc();
        // Its thread wakes up from whatever it waits for. It may be gone already.
        let _ = next.client.shutdown(Shutdown::Both);
        return GOING;
    }
    early.min(GOING)
}

impl Connection {
    pub(super) fn client(&self) -> &TcpStream {
        &self.shared.client
    }

    /// Says whose turn it is from now on.
    pub(super) fn is_to(&self, turn: Turn) {
        let mut state = lock(&self.shared.state);
        state.turn = turn;
        state.since = Instant::now();
    }

    /// Whether there is no place left for others.
    pub(super) fn is_crowded(&self) -> bool {
        lock(&self.all.open).len() >= self.all.most
    }

    /// Whether it had to make room.
    pub(super) fn was_sent_away(&self) -> bool {
        lock(&self.shared.state).sent_away
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
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn who_lets_the_exporter_wait_longest_makes_room() {
        let end = Instant::now() + Duration::from_secs(60);
        // One that was slow to go has another one sent away.
        while make_one_go() >= GOING {
            assert!(Instant::now() < end, "nobody goes at once");
        }
    }

    /// Has one of three make room, and the right one if that did not take too long: returns how long.
    fn make_one_go() -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let telemetry = Telemetry::new();
        let all = Connections::new(3, &telemetry);
        let (_waits, socket) = pair(&listener);
        let waiting = all.enter(socket);
        waiting.is_to(Turn::Answer);
        let (_takes, socket) = pair(&listener);
        let taking = all.enter(socket);
        taking.is_to(Turn::Take);
        let (mut silent, socket) = pair(&listener);
        let last = all.enter(socket);
        assert_eq!(telemetry.connections.get(), 3);
        let (_another, socket) = pair(&listener);
        let now = Instant::now();
        // However long it took to make them, they have all waited for as long.
        for connection in [&waiting, &taking, &last] {
            lock(&connection.shared.state).since = now;
        }

        thread_of(last);
        let _another = all.enter(socket);
        let took = now.elapsed();
        assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(telemetry.connections.get(), 3);
        if took < GOING {
            assert_eq!(telemetry.connections_refused.get(), 1);
            assert!(!waiting.was_sent_away() && !taking.was_sent_away());
        }
        took
    }

    /// What a connection's thread does: it waits for the client, until that is sent away.
    fn thread_of(connection: Connection) {
        std::thread::spawn(move || {
            let count = connection.client().read(&mut [0; 1]).unwrap();
            assert_eq!((count, connection.was_sent_away()), (0, true));
        });
    }

    #[test]
    fn nobody_makes_room_while_there_is_some() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let telemetry = Telemetry::new();
        let all = Connections::new(2, &telemetry);
        for _ in 0..10 {
            let (_client, socket) = pair(&listener);
            drop(all.enter(socket));
        }
        assert_eq!(telemetry.connections.get(), 0);
        assert_eq!(telemetry.connections_refused.get(), 0);
    }
}
