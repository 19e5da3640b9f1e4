//! A socket in front of an Engine's that forwards every byte. It can go away and come back, break the connections
//! that go through it, and hold answers back.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;

use super::dockerd::{Engine, SOCKET_GROUP};
use super::waiting::{PATIENCE, eventually};

/// The proxy; its socket is in the Engine's folder.
pub(crate) struct Proxy {
    path: PathBuf,
    engine: PathBuf,
    listener: Option<UnixListener>,
    traffic: Arc<Traffic>,
}

/// Says of a request's path, without its query, whether the answer is held back.
type IsHeld = Box<dyn Fn(&str) -> bool + Send>;

#[derive(Default)]
struct Traffic {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// By number.
    connections: HashMap<u64, Connection>,
    next: u64,
    is_held: Option<IsHeld>,
}

struct Connection {
    client: UnixStream,
    server: UnixStream,
    /// What was asked for last.
    path: String,
    /// Its answer is there, and held back.
    holds: bool,
}

impl Proxy {
    /// Opens one in front of this Engine, which need not be there.
    pub(crate) fn open(engine: &Engine) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut proxy = Self {
            path: engine.folder.join(format!("proxy-{number}.sock")),
            engine: engine.socket().to_owned(),
            listener: None,
            traffic: Arc::default(),
        };
        proxy.listen();
        proxy
    }

    /// What `--docker-host` takes.
    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the socket, as dockerd does.
    pub(crate) fn listen(&mut self) {
        let listener = UnixListener::bind(&self.path).unwrap();
        chown(&self.path, Some(0), Some(SOCKET_GROUP)).unwrap();
        fs::set_permissions(&self.path, Permissions::from_mode(0o660)).unwrap();
        let accepting = listener.try_clone().unwrap();
        self.listener = Some(listener);
        let (engine, traffic) = (self.engine.clone(), Arc::clone(&self.traffic));
        thread::spawn(move || {
            for client in accepting.incoming().map_while(Result::ok) {
                // Without an Engine the client is accepted all the same, and left at once.
                if let Ok(server) = UnixStream::connect(&engine) {
                    forward(&traffic, client, server);
                }
            }
        });
    }

    /// Nobody listens any more. The file and the connections stay.
    pub(crate) fn close(&mut self) {
        if let Some(listener) = self.listener.take() {
            // That wakes the thread that accepts.
            let socket = UnixStream::from(OwnedFd::from(listener));
            socket.shutdown(Shutdown::Both).unwrap();
        }
    }

    /// Breaks all connections there are.
    pub(crate) fn cut(&self) {
        let mut state = self.traffic.state();
        for connection in state.connections.values() {
            connection.shut_down();
        }
        state.connections.clear();
        self.traffic.changed.notify_all();
    }

    /// Goes away, as a proxy that is restarted.
    pub(crate) fn go_away(&mut self) {
        self.close();
        self.cut();
    }

    /// Comes back.
    pub(crate) fn come_back(&mut self) {
        fs::remove_file(&self.path).unwrap();
        self.listen();
    }

    /// From now on holds back the answers to requests for these paths, whatever was held back before.
    pub(crate) fn hold(&self, is_held: impl Fn(&str) -> bool + Send + 'static) {
        self.traffic.state().is_held = Some(Box::new(is_held));
        self.traffic.changed.notify_all();
    }

    /// Lets everything through that was held back.
    pub(crate) fn release(&self) {
        self.traffic.state().is_held = None;
        self.traffic.changed.notify_all();
    }

    /// Waits until an answer is held back; what was asked for.
    pub(crate) fn until_it_holds(&self) -> String {
        let held = eventually(PATIENCE, || {
            let state = self.traffic.state();
            let mut held = state.connections.values().filter(|it| it.holds);
            let first = held.next().map(|it| it.path.clone());
            first.ok_or("nothing is held back".to_owned())
        });
        held.unwrap_or_else(|why| panic!("{why}"))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.go_away();
    }
}

impl Traffic {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for as long as the answer on a connection is held back and its client is there.
    fn wait_to_answer(&self, number: u64) {
        let mut state = self.state();
        while state.holds(number) {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Ends a connection in both directions.
    fn end(&self, number: u64) {
        if let Some(connection) = self.state().connections.remove(&number) {
            connection.shut_down();
        }
        self.changed.notify_all();
    }
}

impl State {
    /// Whether the answer on this connection is held back, and takes note of it.
    fn holds(&mut self, number: u64) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else {
            return false;
        };
        let is_held = self.is_held.as_ref();
        connection.holds = is_held.is_some_and(|is_held| is_held(&connection.path));
        connection.holds
    }
}

impl Connection {
    fn shut_down(&self) {
        for socket in [&self.client, &self.server] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Forwards between these two until one of them ends.
fn forward(traffic: &Arc<Traffic>, client: UnixStream, server: UnixStream) {
    let copies = |socket: &UnixStream| (socket.try_clone().unwrap(), socket.try_clone().unwrap());
    let ((mut questions, mut to_client), (mut answers, mut to_server)) =
        (copies(&client), copies(&server));
    let number = {
        let mut state = traffic.state();
        state.next += 1;
        let (number, path, holds) = (state.next, String::new(), false);
        let connection = Connection {
            client,
            server,
            path,
            holds,
        };
        state.connections.insert(number, connection);
        number
    };
    let asking = Arc::clone(traffic);
    thread::spawn(move || {
        let mut head = Vec::new();
        carry(&mut questions, &mut to_server, |bytes| {
            head.extend_from_slice(bytes);
            if let Some(path) = take_path(&mut head) {
                if let Some(connection) = asking.state().connections.get_mut(&number) {
                    connection.path = path;
                }
            }
        });
        asking.end(number);
    });
    let answering = Arc::clone(traffic);
    thread::spawn(move || {
        carry(&mut answers, &mut to_client, |_| {
            answering.wait_to_answer(number);
        });
        answering.end(number);
    });
}

/// Copies until either side ends; `before` sees each piece before it goes on.
fn carry(from: &mut UnixStream, to: &mut UnixStream, mut before: impl FnMut(&[u8])) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        before(&piece[..length]);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
}

/// Takes the heads of requests off what a client sent, as far as they are whole; the path of the last, without its
/// query. The exporter sends nothing but heads, and none before the last was answered.
fn take_path(sent: &mut Vec<u8>) -> Option<String> {
    let end = sent.windows(4).rposition(|bytes| bytes == b"\r\n\r\n")?;
    let heads = String::from_utf8_lossy(&sent[..end]).into_owned();
    sent.drain(..end + 4);
    let last = heads.rsplit("\r\n\r\n").next()?;
    let target = last.split(' ').nth(1)?;
    target.split('?').next().map(str::to_owned)
}
