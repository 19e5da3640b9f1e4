//! Accepts connections and handles each in a thread of its own.

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

use super::Responder;
use super::connections::Connections;
use super::handler::handle;

/// Connections at a time. Prometheus needs one.
const MAX_CONNECTIONS: usize = 64;

/// Connections that wait to be accepted, as far as the system allows. A client beyond that retries after
/// a second.
const BACKLOG: i32 = 4096;

/// What the kernel may buffer for a client that does not read its response. It takes twice as much
/// memory: 16 MiB for all connections. Without a limit it would be 4 MB each. With it, a client 50 ms
/// away gets 2.5 MB/s.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// The same for what a client sends: usually a head. Together with the backlog it is 33 MiB for all.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024;

/// The kernel drops a connection whose client acknowledges nothing for this long, also after it was
/// closed.
const TCP_USER_TIMEOUT_MS: u32 = 6000;

/// File descriptors per connection: its socket, and a file of `/proc` during a response.
const CONNECTION_DESCRIPTORS: usize = 2;

/// File descriptors for everything else: the Engine, the log, the listener, some to spare.
const RESERVED_DESCRIPTORS: usize = 32;

/// Threads besides those of the connections, which have one each.
const RESERVED_THREADS: usize = 16;

/// Pause after `accept` failed.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The thread of an evicted client has ended after this.
const THREAD_EXIT_DELAY: Duration = Duration::from_millis(5);

/// A response takes some 30 KB of stack. But an unoptimised program builds the compressor's state on the
/// stack, and needs over 256 KB for it.
const STACK_BYTES: usize = 1024 * 1024;

/// Accepts connections for as long as the process lives.
pub(super) struct Gate {
    listener: TcpListener,
    connections: Arc<Connections>,
    responder: Arc<Responder>,
}

impl Gate {
    /// A gate for [`MAX_CONNECTIONS`], or for fewer if the process may not open as many files or threads.
    pub(super) fn new(listener: TcpListener, responder: Responder) -> Self {
        if let Err(error) = set_limits(&listener) {
            log::warn!("the kernel sets no limits to HTTP connections: {error}");
        }
        let descriptors = process::max_descriptors().unwrap_or(usize::MAX);
        let threads = process::max_threads().unwrap_or(usize::MAX);
        let max = (descriptors.saturating_sub(RESERVED_DESCRIPTORS) / CONNECTION_DESCRIPTORS)
            .min(threads.saturating_sub(RESERVED_THREADS))
            .clamp(2, MAX_CONNECTIONS);
        if max < MAX_CONNECTIONS {
            log::warn!(
                "{max} HTTP connections at a time, since {descriptors} files may be open, \
                 and there may be {threads} threads"
            );
        }
        Self {
            listener,
            connections: Connections::new(max, &responder.telemetry),
            responder: Arc::new(responder),
        }
    }

    /// Accepts connections. Failures are logged and retried.
    pub(super) fn run(self) -> ! {
        let mut is_logged = false;
        loop {
            match self.listener.accept() {
                Ok((client, _)) => {
                    is_logged = false;
                    self.start_handler(client);
                }
                // The client left before it was accepted.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        log::warn!("no HTTP connection can be taken: {error}");
                    }
                    self.connections.make_room();
                    thread::sleep(ACCEPT_RETRY_DELAY);
                }
            }
        }
    }

    fn start_handler(&self, client: TcpStream) {
        let connection = self.connections.add(client);
        let responder = Arc::clone(&self.responder);
        let run = move || {
            if let Err(error) = handle(&connection, &responder) {
                log::debug!("an HTTP connection is reset: {error}");
                if error.kind() == ErrorKind::TimedOut && !connection.was_evicted() {
                    responder.telemetry.connections_refused.inc();
                }
            }
        };
        let thread = thread::Builder::new().name("connection".into());
        if let Err(error) = thread.stack_size(STACK_BYTES).spawn(run) {
            log::debug!("no thread for an HTTP connection: {error}");
            self.responder.telemetry.connections_refused.inc();
            // So that there is a thread for the next one.
            self.connections.make_room();
            thread::sleep(THREAD_EXIT_DELAY);
        }
    }
}

/// Sets socket options, which all accepted connections inherit.
fn set_limits(listener: &TcpListener) -> rustix::io::Result<()> {
    // Closing resets a connection. Otherwise the kernel would keep unread responses for minutes.
    set_socket_linger(listener, Some(Duration::ZERO))?;
    set_tcp_user_timeout(listener, TCP_USER_TIMEOUT_MS)?;
    set_socket_send_buffer_size(listener, SEND_BUFFER_BYTES)?;
    set_socket_recv_buffer_size(listener, RECEIVE_BUFFER_BYTES)?;
    // Otherwise the end of a response waits up to 40 ms for the acknowledgement of its beginning.
    set_tcp_nodelay(listener, true)?;
    // The standard library's backlog is 128.
    rustix::net::listen(listener, BACKLOG)
}
