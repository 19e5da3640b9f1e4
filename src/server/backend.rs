//! `tiny_http` on a socket that nobody but the gate is to use: it reads the requests, each of which
//! comes back to the thread that handed it on.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::catch_unwind;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use tiny_http::{Request, Server};

use crate::deadline::Deadline;

/// A request is read in less than a millisecond. After this the server is taken to be broken.
const READ: Duration = Duration::from_secs(5);

/// The header by which a request finds back.
const NUMBER: &str = "X-Number";

/// Before a server that could not be started is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A server that is replaced when it fails.
pub(super) struct Backend {
    current: RwLock<Arc<Listening>>,
    waiting: Waiting,
}

/// Who waits for a request to be read.
#[derive(Default)]
struct Waiting {
    /// The numbers are not to be guessed: others on this host can ask the server as well.
    numbers: RandomState,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    count: u64,
    senders: HashMap<u64, SyncSender<Request>>,
}

/// A place among them, which is given back when this is dropped.
struct Place<'a> {
    waiting: &'a Waiting,
    number: u64,
    request: Receiver<Request>,
}

/// One server and where it listens.
struct Listening {
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
        Ok(Self {
            current: RwLock::new(Arc::new(Listening::start()?)),
            waiting: Waiting::default(),
        })
    }

    /// Has the server of this moment read a request of one line.
    ///
    /// # Errors
    /// The operating system's, and `TimedOut` where the server does not read it, which is then given
    /// up.
    pub(super) fn read(&self, line: &[u8]) -> io::Result<Request> {
        let server = self.current();
        let place = self.waiting.enter();
        let number = format!("\r\n{NUMBER}: {}\r\n\r\n", place.number);
        let mut stream = Deadline::new(server.connect()?);
        stream.set(Some(Instant::now() + READ));
        stream.write_all(&[line, number.as_bytes()].concat())?;
        // No other request follows: its thread need not wait for one, and is free at once.
        stream.get_ref().shutdown(Shutdown::Write)?;
        place.request.recv_timeout(READ).map_err(|error| {
            if error == RecvTimeoutError::Timeout {
                server.give_up();
            }
            io::ErrorKind::TimedOut.into()
        })
    }

    /// Takes what the servers have read to who waits for it, in one thread.
    pub(super) fn run(&self) -> ! {
        loop {
            match self.current().server.recv() {
                Ok(request) => self.waiting.hand_over(request),
                Err(error) => self.replace(&error),
            }
        }
    }

    fn current(&self) -> Arc<Listening> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
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
        let old = mem::replace(&mut *current, Arc::new(new));
        drop(current);
        // What it has read is still waited for; one of its answers may be that it was unblocked.
        for _ in 0..2 {
            while let Ok(Some(request)) = old.server.try_recv() {
                self.waiting.hand_over(request);
            }
        }
    }
}

impl Waiting {
    fn enter(&self) -> Place<'_> {
        let (sender, request) = mpsc::sync_channel(1);
        let mut list = self.lock();
        list.count += 1;
        let number = self.numbers.hash_one(list.count);
        list.senders.insert(number, sender);
        Place {
            waiting: self,
            number,
            request,
        }
    }

    fn hand_over(&self, request: Request) {
        let number = request.headers().iter().find(|it| it.field.equiv(NUMBER));
        let number = number.and_then(|it| it.value.as_str().parse().ok());
        let sender = number.and_then(|number: u64| self.lock().senders.remove(&number));
        let left = match sender {
            Some(sender) => sender.send(request).err().map(|error| error.0),
            None => Some(request),
        };
        if let Some(request) = left {
            log::debug!("nobody waits for a request");
            if request.body_length().is_some() {
                // It is no client's: dropping it would wait for the rest of its body, for ever.
                mem::forget(request);
            } else {
                drop(request.into_writer()); // Else it would be answered, which may take as long.
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiting.lock().senders.remove(&self.number);
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
    fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&self.address)
    }

    /// Ends a server that does not answer; another one takes its place.
    fn give_up(&self) {
        // Ends its thread that accepts, and those that wait to be accepted. It fails if that was
        // done before.
        let _ = self.listener.shutdown(Shutdown::Both);
        // Its thread may have ended long ago without a word.
        self.server.unblock();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn start() -> Arc<Backend> {
        let backend = Arc::new(Backend::start().unwrap());
        let running = Arc::clone(&backend);
        thread::spawn(move || running.run());
        backend
    }

    /// The target that was read.
    fn read(backend: &Backend, target: &str) -> String {
        let line = format!("GET {target} HTTP/1.1");
        let request = backend.read(line.as_bytes()).unwrap();
        assert!(backend.waiting.lock().senders.is_empty());
        let url = request.url().to_owned();
        drop(request.into_writer());
        url
    }

    #[test]
    fn a_request_comes_back_to_who_handed_it_on() {
        let backend = start();
        thread::scope(|scope| {
            for number in 0..8 {
                let backend = &backend;
                scope.spawn(move || {
                    for again in 0..50 {
                        let line = format!("GET /{number}/{again} HTTP/1.1");
                        let request = backend.read(line.as_bytes()).unwrap();
                        assert_eq!(request.url(), format!("/{number}/{again}"));
                    }
                });
            }
        });
        assert!(backend.waiting.lock().senders.is_empty());
    }

    #[test]
    fn who_is_not_waited_for_gets_no_answer() {
        let backend = start();
        for header in ["", "X-Number: 1\r\n", "X-Number: one\r\n"] {
            let mut stream = backend.current().connect().unwrap();
            let request = format!("GET / HTTP/1.0\r\n{header}\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"", "{header}");
        }
        assert_eq!(read(&backend, "/here"), "/here");
        // A body that does not come, on a connection that stays.
        let mut streams = Vec::new();
        for header in ["", "X-Number: 1\r\n", "Expect: 100-continue\r\n"] {
            let mut stream = backend.current().connect().unwrap();
            let request = format!("GET / HTTP/1.1\r\n{header}Content-Length: 5000\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            streams.push(stream);
            assert_eq!(read(&backend, "/there"), "/there", "{header}");
        }
    }

    #[test]
    fn nobody_is_kept_who_waited_in_vain() {
        // Nobody runs it.
        let backend = Backend::start().unwrap();
        let server = backend.current();
        server.give_up();
        while server.connect().is_ok() {
            thread::yield_now();
        }
        assert!(backend.read(b"GET / HTTP/1.1").is_err());
        assert!(backend.waiting.lock().senders.is_empty());
    }

    #[test]
    fn a_server_that_is_given_up_is_replaced() {
        let backend = start();
        for _ in 0..3 {
            assert_eq!(read(&backend, "/"), "/");
            let server = backend.current();
            server.give_up();
            // Who had the same server and waited as long gives it up as well.
            server.give_up();
            while Arc::ptr_eq(&server, &backend.current()) {
                thread::yield_now();
            }
        }
        assert_eq!(read(&backend, "/"), "/");
    }
}
