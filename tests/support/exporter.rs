//! The built binary as a child process, and its metrics as a client sees them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::metrics::Metrics;
use crate::waiting::{PATIENCE, eventually, signal};

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
    fn until<T>(&self, what: &str, mut check: impl FnMut(&Metrics) -> Result<T, String>) -> T {
        let mut last = String::new();
        let result = eventually(PATIENCE, || {
            let scraped = scrape(&agent(), self.port());
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
    said: Arc<Mutex<String>>,
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
        Self::spawn(command(binary, docker_host), flags)
    }

    fn spawn(mut command: Command, flags: &[&str]) -> Self {
        let port = free_port();
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
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the exporter should start");
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, log) = (
            BufReader::new(child.stderr.take().unwrap()).lines(),
            Arc::clone(&said),
        );
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                log.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, port, said }
    }

    /// Starts it by a shell that runs this before.
    pub(crate) fn start_limited(docker_host: &str, limit: &str) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{limit} && exec \"$0\" \"$@\"")])
            .arg(BINARY);
        Self::spawn(with_environment(shell, docker_host), &[])
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
        self.said.lock().unwrap().clone()
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

/// A TCP port of the loopback interface that nobody listened on a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port()
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
            let agent = agent();
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

/// A client that keeps its connection for as long as it is kept itself.
fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(5)));
    config.build().new_agent()
}

/// Scrapes that port of the loopback interface once.
fn scrape(agent: &ureq::Agent, port: u16) -> Result<String, String> {
    let answer = agent.get(format!("http://127.0.0.1:{port}/metrics")).call();
    answer
        .and_then(|mut answer| answer.body_mut().read_to_string())
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
