//! An Engine that is not there: a Unix socket that answers as Docker does.
//!
//! It plays recorded answers ([`FakeEngine::play`]), shows containers that a test or the demo
//! makes up ([`FakeEngine::put`]), or says whatever bytes it is told to ([`FakeEngine::answer`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::container::Container;

/// What the fake says to a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// These bytes, head and framing included; the connection stays open.
    Bytes(Vec<u8>),
    /// These bytes, and then the end of the connection.
    BytesThenClose(Vec<u8>),
    /// Nothing, with the connection open.
    Silence,
    /// What this writes, and then the end of the connection.
    Write(fn(&mut dyn Write) -> std::io::Result<()>),
}

impl Answer {
    /// A JSON body with its length.
    pub fn json(status: &str, body: &Value) -> Self {
        Self::text(status, &body.to_string())
    }

    /// The same of a body that is JSON already.
    pub fn text(status: &str, body: &str) -> Self {
        Self::Bytes(
            format!(
                "HTTP/1.1 {status}\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\n\
                 Server: Docker/28.5.2 (linux)\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes(),
        )
    }

    /// What a socket proxy says of a path that it does not allow.
    pub fn forbidden() -> Self {
        let body = "<html><body><h1>403 Forbidden</h1></body></html>";
        Self::BytesThenClose(
            format!(
                "HTTP/1.0 403 Forbidden\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n{body}"
            )
            .into_bytes(),
        )
    }
}

#[derive(Debug, Default)]
struct World {
    /// In the order in which they were made.
    containers: BTreeMap<usize, Arc<Container>>,
    /// The places of their ids in it.
    places: HashMap<String, usize>,
    /// By path, query included; they win over the containers.
    answers: HashMap<String, Arc<Answer>>,
    /// The paths that were asked for, and when.
    requests: Vec<(Instant, String)>,
    connections: usize,
    open: Vec<UnixStream>,
    /// The last events, with the times at which they were made.
    events: VecDeque<(i128, String)>,
    /// Who follows them.
    followers: Vec<UnixStream>,
}

/// So many events an Engine remembers.
const REMEMBERED: usize = 256;

/// The fake; dropping it removes its socket.
#[derive(Debug)]
pub struct FakeEngine {
    folder: PathBuf,
    world: Arc<Mutex<World>>,
}

impl FakeEngine {
    /// Starts one without containers.
    pub fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fake-engine-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).expect("a folder for the fake Engine's socket");
        let engine = Self {
            folder,
            world: Arc::default(),
        };
        engine.listen();
        engine
    }

    /// Starts one that gives the recorded answers of a folder of `fixtures/`, with connections
    /// kept alive.
    pub fn play(folder: &str) -> Self {
        let engine = Self::start();
        let recorded =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures")).join(folder);
        for entry in fs::read_dir(&recorded).expect("recorded answers") {
            let path = entry.expect("a recorded answer").path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let bytes = fs::read(&path).expect("a recorded answer");
            let target = match &*name {
                "list" => LIST.to_owned(),
                "info" => "/info".to_owned(),
                "inspect-missing" => continue,
                name if name.starts_with("inspect-") => {
                    format!("/containers/{}/json", recorded_id(&bytes))
                }
                _ => continue,
            };
            engine.answer(&target, Answer::Bytes(kept_alive(&bytes)));
        }
        engine
    }

    /// `unix://…`, as for `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// Makes a container, or changes the one with the same id.
    pub fn put(&self, container: Container) {
        let mut world = self.world();
        let last = world.containers.last_key_value();
        let next = last.map_or(0, |(place, _)| place + 1);
        let place = *world.places.entry(container.id.clone()).or_insert(next);
        world.containers.insert(place, Arc::new(container));
    }

    /// Removes a container.
    pub fn remove(&self, id: &str) {
        let mut world = self.world();
        if let Some(place) = world.places.remove(id) {
            world.containers.remove(&place);
        }
    }

    /// Answers this path (query included) so from now on.
    pub fn answer(&self, path: &str, answer: Answer) {
        let answer = Arc::new(answer);
        self.world().answers.insert(path.to_owned(), answer);
    }

    /// Answers this path from the containers again.
    pub fn answer_normally(&self, path: &str) {
        self.world().answers.remove(path);
    }

    /// Answers the listing so from now on.
    pub fn answer_listing(&self, answer: Answer) {
        self.answer(LIST, answer);
    }

    /// The listing as it is.
    pub fn listing(&self) -> Answer {
        listing(&self.world)
    }

    /// Makes a container that runs, with its events.
    pub fn run(&self, container: &Container) {
        self.put(container.clone());
        self.happen("create", container, &[]);
        self.happen("start", container, &[]);
    }

    /// Ends a container's run, with its event.
    pub fn end(&self, container: &Container, code: i64) {
        let ended = container.clone().exit(code);
        self.put(ended.clone());
        self.happen("die", &ended, &[("exitCode", &code.to_string())]);
    }

    /// Removes a container, with its event.
    pub fn destroy(&self, container: &Container) {
        self.remove(&container.id);
        self.happen("destroy", container, &[]);
    }

    /// Makes an event, now.
    pub fn happen(&self, action: &str, container: &Container, more: &[(&str, &str)]) {
        let nanos = Timestamp::now().as_nanosecond();
        let line = container.event(action, nanos, more).to_string();
        let mut world = self.world();
        if world.events.len() == REMEMBERED {
            world.events.pop_front();
        }
        world.events.push_back((nanos, line.clone()));
        world.tell(line.as_bytes());
    }

    /// Writes a line to all who follow events, whatever it is.
    pub fn say(&self, line: &[u8]) {
        self.world().tell(line);
    }

    /// How many follow events.
    pub fn followers(&self) -> usize {
        self.world().followers.len()
    }

    /// Ends all streams of events, without their last chunk.
    pub fn cut_streams(&self) {
        for stream in self.world().followers.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Forgets all events, as a daemon that was started anew.
    pub fn forget_events(&self) {
        self.world().events.clear();
    }

    /// Forgets the events of containers for those of an image, of which there are very many.
    pub fn overflow_events(&self) {
        let nanos = Timestamp::now().as_nanosecond();
        let line = json!({"Type": "image", "Action": "pull", "Actor": {"ID": "busybox"},
                          "timeNano": i64::try_from(nanos).unwrap()});
        let lines = std::iter::repeat_n((nanos, line.to_string()), REMEMBERED);
        self.world().events = lines.collect();
    }

    /// The paths that were asked for, but for those that were taken.
    pub fn requests(&self) -> Vec<String> {
        let world = self.world();
        world
            .requests
            .iter()
            .map(|(_, path)| path.clone())
            .collect()
    }

    /// When that path was asked for, but for what was taken.
    pub fn asked_for(&self, path: &str) -> Vec<Instant> {
        let world = self.world();
        let asked = world.requests.iter().filter(|(_, it)| it == path);
        asked.map(|(at, _)| *at).collect()
    }

    /// Takes the paths that were asked for since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.world().requests);
        requests.into_iter().map(|(_, path)| path).collect()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.world().connections
    }

    /// Writes this to all connections, although nobody asked for it.
    pub fn blurt(&self, bytes: &[u8]) -> usize {
        // Many of them are gone.
        let mut world = self.world();
        let written = world.open.iter_mut().map(|stream| stream.write_all(bytes));
        written.flatten().count()
    }

    /// Ends all connections and removes the socket, as a daemon that stops.
    pub fn go_down(&self) {
        fs::remove_file(self.socket()).expect("the socket");
        self.hang_up();
    }

    /// Ends all connections and goes on listening.
    pub fn hang_up(&self) {
        let mut world = self.world();
        let world = &mut *world;
        for stream in world.open.drain(..).chain(world.followers.drain(..)) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Listens again, on a new socket.
    pub fn listen(&self) {
        let listener = UnixListener::bind(self.socket()).expect("the fake Engine's socket");
        let world = Arc::clone(&self.world);
        thread::spawn(move || {
            // Ends with the process: a removed socket is never connected to again.
            for stream in listener.incoming().flatten() {
                let world = Arc::clone(&world);
                thread::spawn(move || converse(stream, &world));
            }
        });
    }

    /// Ends all connections and removes the socket with its folder, for good.
    pub fn clean_up(&self) {
        self.hang_up();
        let _ = fs::remove_dir_all(&self.folder);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.clean_up();
    }
}

const LIST: &str = "/containers/json?all=1";

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers requests until the client or an answer ends the connection.
fn converse(mut stream: UnixStream, world: &Mutex<World>) {
    let Ok(copy) = stream.try_clone() else { return };
    {
        let mut world = lock(world);
        world.connections += 1;
        world.open.extend(stream.try_clone());
    }
    let mut reader = BufReader::new(copy);
    while let Some(head) = read_head(&mut reader) {
        let answer = if let Some(since) = stream_since(&head) {
            let answer = lock(world).follow(&mut stream, since);
            let Some(answer) = answer else {
                continue; // Until the client leaves.
            };
            answer
        } else {
            answer_to(&head, world)
        };
        let (bytes, close) = match &*answer {
            Answer::Bytes(bytes) => (bytes, false),
            Answer::BytesThenClose(bytes) => (bytes, true),
            Answer::Silence => continue,
            Answer::Write(write) => {
                // The client may leave in the middle.
                let _ = write(&mut stream);
                break;
            }
        };
        if stream.write_all(bytes).is_err() || close {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Both);
}

impl World {
    fn container(&self, id: &str) -> Option<&Container> {
        let place = self.places.get(id)?;
        self.containers.get(place).map(|it| &**it)
    }

    fn tell(&mut self, line: &[u8]) {
        let chunk = chunk(line);
        self.followers
            .retain_mut(|stream| stream.write_all(&chunk).is_ok());
    }

    /// Begins a stream of events, unless the request is to be answered otherwise: then it returns how.
    fn follow(&mut self, stream: &mut UnixStream, since: i128) -> Option<Arc<Answer>> {
        self.requests.push((Instant::now(), "/events".to_owned()));
        if let Some(answer) = self.answers.get("/events") {
            return Some(Arc::clone(answer));
        }
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
            Transfer-Encoding: chunked\r\n\r\n"
            .to_vec();
        for (_, line) in self.events.iter().filter(|(nanos, _)| *nanos >= since) {
            bytes.extend(chunk(line.as_bytes()));
        }
        if stream.write_all(&bytes).is_ok() {
            self.followers.extend(stream.try_clone());
        }
        None
    }
}

/// A chunk with a line in it.
fn chunk(line: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", line.len() + 1);
    [size.as_bytes(), line, b"\n\r\n"].concat()
}

/// The time from which on events are asked for, in nanoseconds, if they are.
fn stream_since(head: &str) -> Option<i128> {
    let (_, rest) = head.lines().next()?.split_once("/events?since=")?;
    let (since, _) = rest.split_once("&filters=")?;
    let (seconds, nanos) = since.split_once('.')?;
    assert_eq!(nanos.len(), 9, "{head}");
    Some(seconds.parse::<i128>().ok()? * 1_000_000_000 + nanos.parse::<i128>().ok()?)
}

fn read_head(reader: &mut impl BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

fn answer_to(head: &str, world: &Mutex<World>) -> Arc<Answer> {
    let refuse =
        |message: &str| Answer::json("400 Bad Request", &json!({"message": message})).into();
    let line = head.lines().next().unwrap_or_default();
    let Some(path) = line
        .strip_prefix("GET ")
        .and_then(|line| line.strip_suffix(" HTTP/1.1"))
    else {
        return refuse("only GET is recorded");
    };
    // A missing or empty Host is a 400 from real Engines too.
    if !head
        .lines()
        .any(|line| line.starts_with("Host: ") && line.len() > "Host: ".len())
    {
        return refuse("missing required Host header");
    }
    let (path, query) = path.split_once("?since=").unwrap_or((path, ""));
    {
        let mut world = lock(world);
        let remembered = if query.is_empty() { "" } else { "?until" };
        let asked_for = format!("{path}{remembered}");
        world.requests.push((Instant::now(), asked_for));
        if let Some(answer) = world.answers.get(path) {
            return Arc::clone(answer);
        }
    }
    let answer = match path {
        LIST => listing(world),
        "/events" => {
            let world = lock(world);
            let lines = world.events.iter().map(|(_, line)| line.as_str());
            Answer::text("200 OK", &lines.collect::<Vec<_>>().join("\n"))
        }
        "/info" => Answer::json(
            "200 OK",
            &json!({"ServerVersion": "28.5.2", "CgroupDriver": "cgroupfs", "CgroupVersion": "2"}),
        ),
        _ => {
            let id = path.strip_prefix("/containers/");
            let id = id.and_then(|id| id.strip_suffix("/json")).unwrap_or(path);
            match lock(world).container(id) {
                Some(container) => Answer::json("200 OK", &container.inspect()),
                None => Answer::json(
                    "404 Not Found",
                    &json!({"message": format!("No such container: {id}")}),
                ),
            }
        }
    };
    answer.into()
}

/// Rendered while nothing is locked: with many containers it takes seconds, and events go on.
fn listing(world: &Mutex<World>) -> Answer {
    let containers: Vec<_> = lock(world).containers.values().cloned().collect();
    let elements = containers.iter().map(|it| it.listed().to_string());
    let body = format!("[{}]", elements.collect::<Vec<_>>().join(","));
    Answer::text("200 OK", &body)
}

/// The recorded bytes, without the header that they were recorded with to end the connection.
fn kept_alive(bytes: &[u8]) -> Vec<u8> {
    const CLOSE: &[u8] = b"Connection: close\r\n";
    match bytes.windows(CLOSE.len()).position(|it| it == CLOSE) {
        Some(at) => [&bytes[..at], &bytes[at + CLOSE.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

/// The id of the container whose inspect was recorded.
fn recorded_id(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let (_, rest) = text.split_once("\"Id\":\"").expect("an id");
    rest.chars().take(64).collect()
}
