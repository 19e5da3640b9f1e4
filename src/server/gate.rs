//! Takes connections from the network, and answers each in a thread of its own.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{
    set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size, set_tcp_nodelay,
    set_tcp_user_timeout,
};

use crate::process;

use super::Site;
use super::connections::Connections;
use super::conversation::converse;

/// Connections at a time. Prometheus needs one.
const MAX_CONNECTIONS: usize = 64;

/// Connections that wait to be accepted, as far as the system allows. Whoever comes then is heard a second
/// later.
const BACKLOG: i32 = 4096;

/// What the kernel may hold for a client that does not take its answer, of which it takes twice as
/// much in memory: 16 MiB for all. Without a limit it would be 4 MB for each. What fits is taken by a
/// client at a distance of 50 ms at 2.5 MB/s.
const SEND_BUFFER: usize = 128 * 1024;

/// The same for what a client sends: a head, as a rule. With those that wait to be accepted it is 33 MiB
/// for all.
const RECEIVE_BUFFER: usize = 4 * 1024;

/// What a client has not acknowledged for so long is given up by the kernel, also after the connection
/// was closed.
const USER_TIMEOUT_MS: u32 = 6000;

/// Descriptors that one connection takes: its socket, and a file of `/proc` while it is answered.
const DESCRIPTORS: usize = 2;

/// Descriptors for everything else: the Engine, the log, the listener, some to spare.
const OTHER_DESCRIPTORS: usize = 32;

/// Threads for everything else than connections, each of which has one.
const OTHER_THREADS: usize = 16;

/// After an error of `accept`.
const PAUSE: Duration = Duration::from_millis(100);

/// The thread of a client that is sent away is gone after so long.
const THREAD_ENDS: Duration = Duration::from_millis(5);

/// An answer takes some 30 KB, but the compressor's state is made on the stack, which takes over
/// 256 KB of it in a program that is not optimised.
const STACK: usize = 1024 * 1024;

/// Takes connections for as long as the process lives.
pub(super) struct Gate {
    listener: TcpListener,
    connections: Arc<Connections>,
    site: Arc<Site>,
}

impl Gate {
    /// A gate that takes as many connections as the limits on this process's open files and threads
    /// let it, 64 at most.
    pub(super) fn new(listener: TcpListener, site: Site) -> Self {
        if let Err(error) = limit(&listener) {
            log::warn!("the kernel sets no limits to HTTP connections: {error}");
        }
        let descriptors = process::max_descriptors().unwrap_or(usize::MAX);
        let threads = process::max_threads().unwrap_or(usize::MAX);
        let most = (descriptors.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS)
            .min(threads.saturating_sub(OTHER_THREADS))
            .clamp(2, MAX_CONNECTIONS);
        if most < MAX_CONNECTIONS {
            log::warn!(
                "{most} HTTP connections at a time, since {descriptors} files may be open, \
                 and there may be {threads} threads"
            );
        }
        Self {
            listener,
            connections: Connections::new(most, &site.telemetry),
            site: Arc::new(site),
        }
    }

    /// Accepts, whatever happens.
    pub(super) fn run(self) -> ! {
        let mut said = false;
        loop {
            match self.listener.accept() {
                Ok((client, _)) => {
                    said = false;
                    self.admit(client);
                }
                // It left before its turn.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        log::warn!("no HTTP connection can be taken: {error}");
                    }
                    self.connections.make_room();
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn admit(&self, client: TcpStream) {
        let connection = self.connections.enter(client);
        let site = Arc::clone(&self.site);
        let thread = thread::Builder::new().name("connection".into());
        let run = move || {
            if let Err(error) = converse(&connection, &site) {
                log::debug!("a client is sent away: {error}");
                if error.kind() == ErrorKind::TimedOut && !connection.was_sent_away() {
                    site.telemetry.connections_refused.inc();
                }
            }
        };
        if let Err(error) = thread.stack_size(STACK).spawn(run) {
            log::debug!("no thread for a client: {error}");
            self.site.telemetry.connections_refused.inc();
            // The next one is to have a thread.
            self.connections.make_room();
            thread::sleep(THREAD_ENDS);
        }
    }
}

/// Sets limits that all connections inherit.
fn limit(listener: &TcpListener) -> rustix::io::Result<()> {
    // One that does not end well is reset: else the kernel would keep what its client does not take
    // for minutes.
    set_socket_linger(listener, Some(Duration::ZERO))?;
    set_tcp_user_timeout(listener, USER_TIMEOUT_MS)?;
    set_socket_send_buffer_size(listener, SEND_BUFFER)?;
    set_socket_recv_buffer_size(listener, RECEIVE_BUFFER)?;
    // Else the end of an answer waits up to 40 ms for the acknowledgement of its beginning.
    set_tcp_nodelay(listener, true)?;
    // std has 128 wait to be accepted.
    rustix::net::listen(listener, BACKLOG)
}
