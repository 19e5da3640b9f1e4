//! The socket of a connection to the Engine: connecting, and closing from another thread.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::Address;
use crate::deadline::Transport;

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// A Unix socket.
    Unix(UnixStream),
    /// A TCP socket.
    Tcp(TcpStream),
}

/// Evaluates an expression for the stream of either variant.
macro_rules! with_stream {
    ($socket:expr, $stream:ident => $result:expr) => {
        match $socket {
            Socket::Unix($stream) => $result,
            Socket::Tcp($stream) => $result,
        }
    };
}

impl Socket {
    /// Whether the peer has neither sent unread bytes nor closed the connection.
    pub(super) fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = with_stream!(self, stream => recv(stream, &mut [0], flags));
        peeked.is_err_and(|error| error == Errno::AGAIN)
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    fn shutdown(&self) {
        // An error means that it is closed already.
        let _ = with_stream!(self, stream => stream.shutdown(Shutdown::Both));
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        with_stream!(self, stream => stream.read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        with_stream!(self, stream => stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Socket {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        with_stream!(self, stream => stream.set_read_timeout(timeout))
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        with_stream!(self, stream => stream.set_write_timeout(timeout))
    }
}

/// Closes a connection that another thread reads from. Clones share the connection.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<Mutex<Option<Socket>>>);

impl Hangup {
    /// Closes the connection, if there is one. Its reader gets the end of the stream.
    pub fn hang_up(&self) {
        if let Some(socket) = self.lock().take() {
            socket.shutdown();
        }
    }

    pub(super) fn attach(&self, socket: &Socket) {
        *self.lock() = socket.try_clone().ok();
    }

    pub(super) fn detach(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects with a deadline. The system has none for Unix sockets: `connect` blocks until the other
/// side accepts. So at most one thread waits for it.
#[derive(Default)]
pub(super) struct Connector {
    pending: Option<Receiver<io::Result<UnixStream>>>,
}

impl Connector {
    pub(super) fn connect(&mut self, address: &Address, deadline: Instant) -> io::Result<Socket> {
        match address {
            Address::Unix(path) => self.connect_unix(path, deadline).map(Socket::Unix),
            Address::Tcp(host_and_port) => connect_tcp(host_and_port, deadline).map(Socket::Tcp),
        }
    }

    fn connect_unix(&mut self, path: &Path, deadline: Instant) -> io::Result<UnixStream> {
        let pending = if let Some(pending) = self.pending.take() {
            pending
        } else {
            let (sender, pending) = mpsc::sync_channel(1);
            let path = path.to_owned();
            let connect = move || {
                // The receiver may be gone.
                let _ = sender.send(UnixStream::connect(path));
            };
            let thread = thread::Builder::new().name("connect".into());
            thread.spawn(connect)?;
            pending
        };
        match pending.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.pending = Some(pending);
                Err(io::ErrorKind::TimedOut.into())
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("no thread connects")),
        }
    }
}

fn connect_tcp(host_and_port: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for address in host_and_port.to_socket_addrs()? {
        let left = deadline
            .checked_duration_since(Instant::now())
            .filter(|left| !left.is_zero())
            .ok_or(io::ErrorKind::TimedOut)?;
        match TcpStream::connect_timeout(&address, left) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
