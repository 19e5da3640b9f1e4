//! The open connections, and which of them is evicted when a new client needs a place.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};
use rustix::net::RecvFlags;

use crate::telemetry::Telemetry;

use super::lock;

/// A client that sends no request is safe from eviction for this long. During a flood the others wait to
/// be accepted meanwhile, and are not evicted as soon as they connect.
const READ_EVICTION_DELAY: Duration = Duration::from_millis(10);

/// The same for a client that reads its response. A distant client is heard of once per round trip.
const WRITE_EVICTION_DELAY: Duration = Duration::from_millis(20);

/// The same while most of the others send no request and can be evicted instead. The server notices
/// progress only when a third of the kernel's buffer is free.
const LONG_WRITE_EVICTION_DELAY: Duration = Duration::from_millis(300);

/// A client whose bytes wait for its thread to read them is safe for this long.
const UNREAD_EVICTION_DELAY: Duration = Duration::from_millis(100);

/// How often the server looks for a client to evict.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// The thread of an evicted client ends within microseconds. After this another client is evicted.
const EVICTION_TIMEOUT: Duration = Duration::from_millis(100);

/// All open connections, up to a maximum.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    open: Mutex<Vec<Arc<OpenConnection>>>,
    closed: Condvar,
    count: IntGauge,
    refused: IntCounter,
}

/// A client's place among the open connections. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct ClientConnection {
    all: Arc<Connections>,
    open: Arc<OpenConnection>,
}

#[derive(Debug)]
struct OpenConnection {
    client: TcpStream,
    /// With the time of its beginning.
    phase: Mutex<(Phase, Instant)>,
}

/// Who has to act next on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The client has to send a request.
    Reading,
    /// The client has to take more of its response.
    Writing,
    /// The server has to answer.
    Processing,
    /// The client was evicted. Its thread has to end.
    Evicted,
}

impl Connections {
    pub(super) fn new(max: usize, telemetry: &Telemetry) -> Arc<Self> {
        Arc::new(Self {
            max,
            open: Mutex::default(),
            closed: Condvar::new(),
            count: telemetry.connections.clone(),
            refused: telemetry.connections_refused.clone(),
        })
    }

    /// Adds a client. While all places are taken, evicts others and waits for theirs.
    pub(super) fn add(self: &Arc<Self>, client: TcpStream) -> ClientConnection {
        let mut all = lock(&self.open);
        while all.len() >= self.max {
            let wait = self.evict_one(&all);
            let waited = self.closed.wait_timeout(all, wait);
            all = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let phase = Mutex::new((Phase::Reading, Instant::now()));
        let open = Arc::new(OpenConnection { client, phase });
        all.push(Arc::clone(&open));
        self.count.inc();
        ClientConnection {
            all: Arc::clone(self),
            open,
        }
    }

    /// Evicts one client, if any may be evicted.
    pub(super) fn make_room(&self) {
        self.evict_one(&lock(&self.open));
    }

    /// Evicts the client whose delay is over first, if any is. Returns how long to wait for a free place
    /// before the next try.
    fn evict_one(&self, all: &[Arc<OpenConnection>]) -> Duration {
        let now = Instant::now();
        let mut idle: Vec<_> = all.iter().map(|it| (*lock(&it.phase), it)).collect();
        idle.retain(|((phase, since), it)| match phase {
            Phase::Reading => {
                *since + UNREAD_EVICTION_DELAY <= now || !has_unread_bytes(&it.client)
            }
            Phase::Writing => true,
            Phase::Processing | Phase::Evicted => false,
        });
        let reading = idle
            .iter()
            .filter(|((phase, _), _)| *phase == Phase::Reading);
        let write_delay = if reading.count() > idle.len() / 2 {
            LONG_WRITE_EVICTION_DELAY
        } else {
            WRITE_EVICTION_DELAY
        };
        let due = idle.into_iter().map(|((phase, since), it)| match phase {
            Phase::Reading => (since + READ_EVICTION_DELAY, it),
            _ => (since + write_delay, it),
        });
        let Some((due_at, next)) = due.min_by_key(|(at, _)| *at) else {
            return CHECK_INTERVAL;
        };
        if due_at > now {
            // Until then this client may act, and another one be due.
            return CHECK_INTERVAL.min(due_at - now);
        }
        *lock(&next.phase) = (Phase::Evicted, now);
        self.refused.inc();
        // This wakes up its thread. The client may be gone already.
        let _ = next.client.shutdown(Shutdown::Both);
        EVICTION_TIMEOUT
    }
}

fn has_unread_bytes(client: &TcpStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(rustix::net::recv(client, &mut [0; 1], flags), Ok((1, _)))
}

impl ClientConnection {
    pub(super) fn client(&self) -> &TcpStream {
        &self.open.client
    }

    /// Begins a phase, unless the client was evicted.
    pub(super) fn set_phase(&self, next: Phase) {
        let mut phase = lock(&self.open.phase);
        if phase.0 != Phase::Evicted {
            *phase = (next, Instant::now());
        }
    }

    /// Whether all places are taken.
    pub(super) fn is_full(&self) -> bool {
        lock(&self.all.open).len() >= self.all.max
    }

    pub(super) fn was_evicted(&self) -> bool {
        lock(&self.open.phase).0 == Phase::Evicted
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        let mut all = lock(&self.all.open);
        all.retain(|it| !Arc::ptr_eq(it, &self.open));
        self.all.count.dec();
        self.all.closed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_client_that_idles_longest_is_evicted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connect = || {
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let telemetry = Telemetry::new();
        let all = Connections::new(4, &telemetry);
        let (clients, sockets): (Vec<_>, Vec<_>) = (0..5).map(|_| connect()).unzip();
        let mut sockets = sockets.into_iter();
        let [processing, sent, idle, writing] = [(); 4].map(|()| all.add(sockets.next().unwrap()));
        (&clients[1]).write_all(b"GET").unwrap();
        while !has_unread_bytes(sent.client()) {
            std::thread::yield_now();
        }
        processing.set_phase(Phase::Processing);
        idle.set_phase(Phase::Reading);
        writing.set_phase(Phase::Writing);
        assert!(writing.is_full());
        // A connection's thread waits for its client until that is evicted.
        let thread = std::thread::spawn(move || {
            assert_eq!(
                (idle.client().read(&mut [0; 1]).unwrap(), idle.was_evicted()),
                (0, true)
            );
            idle.set_phase(Phase::Writing);
            assert!(idle.was_evicted(), "it does not come back");
        });
        let start = Instant::now();
        let _next = all.add(sockets.next().unwrap());
        assert!(start.elapsed() >= READ_EVICTION_DELAY / 2);
        thread.join().unwrap();
        assert_eq!((&clients[2]).read(&mut [0; 1]).unwrap(), 0);
        assert!(!processing.was_evicted() && !sent.was_evicted());
        // If its thread is slow to end, another client is evicted too.
        assert_eq!(
            writing.was_evicted(),
            telemetry.connections_refused.get() > 1
        );
        drop(sent);
        assert_eq!(telemetry.connections.get(), 3);
    }
}
