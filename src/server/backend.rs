//! `tiny_http` on a socket that nobody but the gate is to use.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::catch_unwind;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use tiny_http::{Request, Server};

/// Before a server that could not be started is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A server that is replaced when it fails.
pub(super) struct Backend {
    current: RwLock<Arc<Listening>>,
}

/// One server and where it listens.
pub(super) struct Listening {
    /// Never dropped: it would ask for its socket's path, which an abstract one has not, and panic.
    server: &'static Server,
    address: SocketAddr,
    /// The server's listener, by another descriptor.
    listener: UnixStream,
}

impl Backend {
    /// A server that listens.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn start() -> io::Result<Self> {
        let current = RwLock::new(Arc::new(Listening::start()?));
        Ok(Self { current })
    }

    /// The server of this moment.
    pub(super) fn current(&self) -> Arc<Listening> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the next request, in one thread.
    pub(super) fn receive(&self) -> Request {
        loop {
            match self.current().server.recv() {
                Ok(request) => return request,
                Err(error) => self.replace(&error),
            }
        }
    }

    fn replace(&self, error: &io::Error) {
        log::warn!("the HTTP server is started anew, since it failed: {error}");
        let new = loop {
            match Listening::start() {
                Ok(new) => break new,
                Err(error) => log::warn!("the HTTP server cannot be started: {error}"),
            }
            thread::sleep(PAUSE);
        };
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(new);
    }
}

impl Listening {
    fn start() -> io::Result<Self> {
        // A scratch image has no place for a file. The name differs between the containers of one
        // network namespace, in each of which this is process 1.
        let random = RandomState::new().build_hasher().finish();
        let name = format!("{}/{random:016x}", env!("CARGO_PKG_NAME"));
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let copy = OwnedFd::from(listener.try_clone()?);
        // It panics where it can have no thread.
        let server = catch_unwind(|| Server::from_listener(listener, None))
            .map_err(|_| io::Error::other("it can have no thread"))?
            .map_err(io::Error::other)?;
        Ok(Self {
            server: Box::leak(Box::new(server)),
            address,
            listener: UnixStream::from(copy),
        })
    }

    /// A connection to it.
    pub(super) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&self.address)
    }

    /// Ends a server that does not answer; another one takes its place.
    pub(super) fn give_up(&self) {
        // Ends its thread that accepts, and those that wait to be accepted. It fails if that was
        // done before.
        let _ = self.listener.shutdown(Shutdown::Both);
        // Its thread may have ended long ago without a word.
        self.server.unblock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tiny_http::Response;

    use super::*;

    /// One request to the server of this moment.
    fn ask(backend: &Backend) -> io::Result<String> {
        let mut stream = backend.current().connect()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn a_server_that_is_given_up_is_replaced() {
        let backend = Arc::new(Backend::start().unwrap());
        let answering = Arc::clone(&backend);
        thread::spawn(move || {
            loop {
                let request = answering.receive();
                request.respond(Response::from_string("here")).unwrap();
            }
        });
        for _ in 0..3 {
            assert!(ask(&backend).unwrap().ends_with("here"));
            let server = backend.current();
            server.give_up();
            // Who had the same server and waited as long gives it up as well.
            server.give_up();
            while Arc::ptr_eq(&server, &backend.current()) {
                thread::yield_now();
            }
        }
        assert!(ask(&backend).unwrap().ends_with("here"));
    }
}
