//! A connection to the Engine, of either family, and how it is made and ended.

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
    /// Of the file system.
    Unix(UnixStream),
    /// Of the network.
    Tcp(TcpStream),
}

impl Socket {
    /// Whether nothing has come that was not read, nor the end.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = [0];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peeked = match self {
            Self::Unix(stream) => recv(stream, &mut byte, flags),
            Self::Tcp(stream) => recv(stream, &mut byte, flags),
        };
        peeked.is_err_and(|error| error == Errno::AGAIN)
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
        })
    }

    fn shutdown(&self) {
        // It may be over already.
        let _ = match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Socket {
    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_read_timeout(timeout),
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.set_write_timeout(timeout),
            Self::Tcp(stream) => stream.set_write_timeout(timeout),
        }
    }
}

/// Ends a connection that another thread reads from. Clones end the same one.
#[derive(Debug, Clone, Default)]
pub struct Hangup(Arc<Mutex<Option<Socket>>>);

impl Hangup {
    /// Ends the connection, if there is one; its reader sees its end.
    pub fn hang_up(&self) {
        if let Some(socket) = self.lock().take() {
            socket.shutdown();
        }
    }

    pub(super) fn holds(&self, socket: &Socket) {
        *self.lock() = socket.try_clone().ok();
    }

    pub(super) fn lets_go(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Socket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connects to a Unix socket within a deadline, which the system does not offer: it waits for as
/// long as the other side accepts nobody. So a thread waits, one at most.
#[derive(Default)]
pub(super) struct Connecting {
    waiting: Option<Receiver<io::Result<UnixStream>>>,
}

impl Connecting {
    /// A new connection to the Engine.
    pub(super) fn connect(&mut self, address: &Address, deadline: Instant) -> io::Result<Socket> {
        match address {
            Address::Unix(path) => self.connect_unix(path, deadline).map(Socket::Unix),
            Address::Tcp(host_and_port) => connect_tcp(host_and_port, deadline).map(Socket::Tcp),
        }
    }

    fn connect_unix(&mut self, path: &Path, deadline: Instant) -> io::Result<UnixStream> {
        let waiting = if let Some(waiting) = self.waiting.take() {
            waiting
        } else {
            let (sender, waiting) = mpsc::sync_channel(1);
            let path = path.to_owned();
            let connect = move || {
                // Nobody may wait for it any more.
                let _ = sender.send(UnixStream::connect(path));
            };
            let thread = thread::Builder::new().name("connect".into());
            thread.spawn(connect)?;
            waiting
        };
        match waiting.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                self.waiting = Some(waiting);
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
