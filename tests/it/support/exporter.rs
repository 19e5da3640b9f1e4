//! The built binary as a child process, and its metrics as a client sees them.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with};

use super::metrics::Metrics;
use super::waiting::{PATIENCE, eventually, signal};

/// The program, as cargo built it for this test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_docker-exit-exporter");

/// A running exporter, however it was started.
pub(crate) trait Scraped {
    /// Its port on the loopback interface.
    fn port(&self) -> u16;

    /// Everything it logged so far.
    fn said(&self) -> String;

    /// Whether it runs no more.
    fn has_ended(&self) -> bool;

    /// Scrapes until `check` is content, and returns what it returned.
    ///
    /// # Panics
    ///
    /// When it was not for a long time, or the exporter ended: with the last complaint, what the
    /// exporter said, and its last answer.
    fn until<T>(&self, what: &str, check: impl FnMut(&Metrics) -> Result<T, String>) -> T {
        self.within(PATIENCE, what, check)
    }

    /// The same, where what takes longer than this is wrong.
    ///
    /// # Panics
    ///
    /// As [`Scraped::until`].
    fn within<T>(
        &self,
        limit: Duration,
        what: &str,
        mut check: impl FnMut(&Metrics) -> Result<T, String>,
    ) -> T {
        let mut last = String::new();
        let result = eventually(limit, || {
            let scraped = scrape(&agent(PATIENCE), self.port());
            if scraped.is_err() && self.has_ended() {
                return Ok(Err("the exporter ended".to_owned()));
            }
            last = scraped?;
            check(&Metrics::parse(&last)).map(Ok)
        });
        result.and_then(|ended| ended).unwrap_or_else(|why| {
            panic!(
                "{what}: {why}\nThe exporter said:\n{}\nIts metrics:\n{last}",
                self.said()
            )
        })
    }
}

/// A running exporter that collects every second; it ends with the test.
pub(crate) struct Exporter {
    child: Child,
    port: u16,
    /// What it logged. Not a pipe: what it has written before it shows something is here before that is seen.
    log: File,
}

impl Exporter {
    /// Starts it on a free port of the loopback interface.
    pub(crate) fn start(docker_host: &str) -> Self {
        Self::start_with(docker_host, &[])
    }

    /// The same with these flags.
    pub(crate) fn start_with(docker_host: &str, flags: &[&str]) -> Self {
        Self::start_binary(Path::new(BINARY), docker_host, flags)
    }

    /// Starts this copy of it.
    pub(crate) fn start_binary(binary: &Path, docker_host: &str, flags: &[&str]) -> Self {
        Self::spawn(command(binary, docker_host), free_port(), flags)
    }

    /// Starts it on this port, where another one may have been before.
    pub(crate) fn start_on(port: u16, docker_host: &str, flags: &[&str]) -> Self {
        Self::spawn(command(Path::new(BINARY), docker_host), port, flags)
    }

    fn spawn(mut command: Command, port: u16, flags: &[&str]) -> Self {
        command
            .args([
                "--address",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--interval",
                "1",
            ])
            .args(flags);
        Self::spawn_on(command, port)
    }

    /// Runs what is an exporter on this port.
    pub(crate) fn spawn_on(mut command: Command, port: u16) -> Self {
        let log = nameless_file();
        let child = command
            .stdout(Stdio::null())
            .stderr(log.try_clone().unwrap())
            .spawn()
            .expect("the exporter should start");
        Self { child, port, log }
    }

    /// Starts it by a shell that runs this before.
    pub(crate) fn start_limited(docker_host: &str, limit: &str) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
            .arg(BINARY);
        Self::spawn(with_environment(shell, docker_host), free_port(), &[])
    }

    /// Its process, which is the one that serves unless it started without a socket.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal and waits for the end: how, and how long it took.
    pub(crate) fn end_by(&mut self, name: &str) -> (ExitStatus, Duration) {
        let sent = Instant::now();
        signal(self.child.id(), name);
        let status = eventually(PATIENCE, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        });
        let status =
            status.unwrap_or_else(|_| panic!("it ignores SIG{name}; it said:\n{}", self.said()));
        (status, sent.elapsed())
    }
}

impl Scraped for Exporter {
    fn port(&self) -> u16 {
        self.port
    }

    fn said(&self) -> String {
        let length = self.log.metadata().unwrap().len();
        let mut said = vec![0; usize::try_from(length).unwrap()];
        self.log.read_exact_at(&mut said, 0).unwrap();
        // Whole lines.
        let end = said.iter().rposition(|byte| *byte == b'\n');
        said.truncate(end.map_or(0, |end| end + 1));
        String::from_utf8(said).expect("a log in UTF-8")
    }

    fn has_ended(&self) -> bool {
        // Its end is not waited for here, so it would still be there, as a zombie.
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        !status.is_ok_and(|status| !status.contains("State:\tZ"))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // What it started in turn, to have another user do the work, would outlive it.
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let children = tasks.into_iter().flatten().flatten();
        let children =
            children.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: Vec<String> = children.collect();
        let _ = self.child.kill().and_then(|()| self.child.wait());
        for pid in children.iter().flat_map(|line| line.split_whitespace()) {
            signal(pid.parse().unwrap(), "KILL");
        }
    }
}

/// `--once` with these flags, to its end.
pub(crate) fn once(docker_host: &str, flags: &[&str]) -> Output {
    command(Path::new(BINARY), docker_host)
        .arg("--once")
        .args(flags)
        .output()
        .expect("the exporter should start")
}

/// The program with nothing from the environment of the tests.
fn command(binary: &Path, docker_host: &str) -> Command {
    with_environment(Command::new(binary), docker_host)
}

fn with_environment(mut command: Command, docker_host: &str) -> Command {
    command
        .env_clear()
        .args(["--docker-host", docker_host])
        .stdin(Stdio::null());
    command
}

/// An empty file that is gone with its last descriptor, and grows by what is written.
fn nameless_file() -> File {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("exporter-log-{}-{number}", process::id()));
    let mut options = File::options();
    let file = options.read(true).append(true).create_new(true).open(&path);
    let file = file.expect("a file for the log");
    fs::remove_file(&path).expect("the file for the log");
    file
}

/// A TCP port of the loopback interface that nobody listens on, and that the system gives to nobody else while this
/// process lives: one who listens for connections may still take it, as servers do.
pub(crate) fn free_port() -> u16 {
    static KEPT: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    // Only of two that both say so may one listen where the other one is.
    rustix::net::sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::try_from(getsockname(&socket).unwrap()).unwrap();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.push(socket);
    address.port()
}

/// Does some work, and meanwhile scrapes again and again over one connection, with that pause in between and once more
/// after the work's end; `read` gets each text.
pub(crate) fn scrape_during(
    exporter: &Exporter,
    pause: Duration,
    mut read: impl FnMut(&str) + Send,
    work: impl FnOnce(),
) {
    let (done, is_done) = channel::<()>();
    let port = exporter.port();
    thread::scope(|scope| {
        scope.spawn(move || {
            let agent = agent(Duration::from_secs(5));
            loop {
                let last = is_done.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                read(&scrape(&agent, port).unwrap());
                if last {
                    break;
                }
            }
        });
        work();
        drop(done);
    });
}

/// A client that keeps its connection for as long as it is kept itself, and waits so long for an answer.
fn agent(patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(patience));
    config.build().new_agent()
}

/// Scrapes that port of the loopback interface once.
fn scrape(agent: &ureq::Agent, port: u16) -> Result<String, String> {
    /// Ten thousand containers are 12 MB.
    const MOST: u64 = 64 * 1024 * 1024;
    let answer = agent.get(format!("http://127.0.0.1:{port}/metrics")).call();
    answer
        .and_then(|mut answer| answer.body_mut().with_config().limit(MOST).read_to_string())
        .map_err(|e| format!("no metrics: {e}"))
}

/// A check for [`Scraped::until`]: the Engine can be read.
pub(crate) fn is_up(metrics: &Metrics) -> Result<(), String> {
    up_is(metrics, 1.0)
}

/// A check for [`Scraped::until`]: the Engine cannot be read.
pub(crate) fn is_down(metrics: &Metrics) -> Result<(), String> {
    up_is(metrics, 0.0)
}

fn up_is(metrics: &Metrics, wanted: f64) -> Result<(), String> {
    let up = metrics.value("docker_up", &[]);
    if up == Some(wanted) {
        Ok(())
    } else {
        Err(format!("docker_up is {up:?}"))
    }
}
