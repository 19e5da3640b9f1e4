//! The built program under attack: each time a second, honest client is answered in full and at
//! once, and afterwards everything is as it was before.
//!
//! The attacks measure a release binary and the whole machine, so no other test may run beside them. Hence ignored by
//! default:
//!
//! ```text
//! cargo test --release --test it siege:: -- --ignored --nocapture
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rustix::net::sockopt::{
    set_socket_linger, set_socket_recv_buffer_size, set_socket_send_buffer_size,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use test_support::container::Container;
use test_support::fake_engine::FakeEngine;

use crate::support::exporter::{Exporter, Scraped, is_up};
use crate::support::waiting::{PATIENCE, eventually};

/// What an honest client waits for a whole answer, on a machine that has nothing else to do.
const AT_ONCE: Duration = Duration::from_secs(1);

/// What the process may have more in memory than before, whatever is done to it.
const GROWTH_KB: u64 = 32 * 1024;

/// What the kernel may have more in memory for TCP than before, the attackers' side included.
const KERNEL_GROWTH_KB: u64 = 64 * 1024;

/// After so long all is as it was before the attack, also if the attackers never close.
const RECOVERED: Duration = Duration::from_secs(10);

/// Threads of an exporter that has just started: `tiny_http` ends four of its own after 5 s.
const STARTED: u64 = 11;

/// What an exporter has at rest, at most.
const AT_REST: Footprint = Footprint {
    threads: 9,
    descriptors: 18,
};

const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

const COMPRESSED_SCRAPE: &[u8] =
    b"GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";

/// An exporter with something to show, and nobody else who is attacked at the same time.
struct Besieged {
    exporter: Exporter,
    before: Footprint,
    /// Resident memory before, in kB.
    before_kb: u64,
    /// The kernel's memory for TCP before.
    kernel_before_kb: u64,
    engine: FakeEngine,
    _alone: MutexGuard<'static, ()>,
}

/// What is to be the same afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Footprint {
    threads: u64,
    descriptors: usize,
}

impl Footprint {
    fn is_within(self, limit: Self) -> bool {
        self.threads <= limit.threads && self.descriptors <= limit.descriptors
    }
}

impl Besieged {
    fn start() -> Self {
        Self::with_containers(300, "shop")
    }

    fn with_containers(count: u64, label: &str) -> Self {
        Self::start_by(count, label, Exporter::start)
    }

    fn start_by(count: u64, label: &str, start: impl FnOnce(&str) -> Exporter) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        allow_descriptors();
        let engine = FakeEngine::start();
        for number in 1..=count {
            let container = Container::exited(number, &format!("web-{number}"), 3);
            engine.put(container.label("team", label));
        }
        let exporter = start(&engine.address());
        exporter.until("all exits", |metrics| {
            is_up(metrics)?;
            match metrics.named("container_exit_timestamp_seconds").count() {
                known if known as u64 == count => Ok(()),
                known => Err(format!("{known} of {count}")),
            }
        });
        let mut besieged = Self {
            exporter,
            before: Footprint {
                threads: 0,
                descriptors: 0,
            },
            before_kb: 0,
            kernel_before_kb: 0,
            engine,
            _alone: alone,
        };
        // The scrapes of a moment ago are to be forgotten first.
        let calm = eventually(PATIENCE, || {
            let now = besieged.footprint();
            let last = std::mem::replace(&mut besieged.before, now);
            if last == now && now.threads <= STARTED {
                Ok(())
            } else {
                Err(format!("{last:?}"))
            }
        });
        calm.expect("an exporter with nothing to do");
        besieged.before_kb = besieged.status("VmRSS:");
        besieged.kernel_before_kb = kernel_kb();
        besieged
    }

    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.exporter.pid())
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(self.proc("status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.expect("a number in /proc/PID/status")
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            threads: self.status("Threads:"),
            descriptors: std::fs::read_dir(self.proc("fd")).expect("it runs").count(),
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.exporter.port()))?;
        patient(stream)
    }

    /// With so little in the kernel for this side that it does not count.
    fn connect_narrow(&self) -> io::Result<TcpStream> {
        self.connect_with(4096)
    }

    fn connect_with(&self, receive_buffer: usize) -> io::Result<TcpStream> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        // Once it is connected, this would come too late.
        set_socket_recv_buffer_size(&socket, receive_buffer)?;
        set_socket_send_buffer_size(&socket, 64 * 1024)?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.exporter.port());
        connect(&socket, &address)?;
        patient(TcpStream::from(socket))
    }

    /// A client that has taken some bytes of an answer, and takes no more.
    fn stopped_reader(&self) -> io::Result<TcpStream> {
        let mut stream = self.connect_narrow()?;
        stream.write_all(SCRAPE)?;
        stream.read_exact(&mut [0; 1000])?;
        Ok(stream)
    }

    /// Many that ask and take nothing.
    fn stopped_readers(&self, count: usize) -> Vec<TcpStream> {
        let readers = (0..count).filter_map(|_| {
            let mut stream = self.connect_narrow().ok()?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                .ok()?;
            Some(stream)
        });
        readers.collect()
    }

    /// One scrape by an honest client, which may be sent away once while the gate is full.
    fn scrape(&self) -> Result<usize, String> {
        let once = || -> Result<usize, String> {
            let mut stream = self.connect().map_err(|error| error.to_string())?;
            let asked = stream.write_all(SCRAPE);
            asked.map_err(|error| error.to_string())?;
            let mut answer = String::new();
            let read = stream.read_to_string(&mut answer);
            read.map_err(|error| format!("{error} after {} bytes", answer.len()))?;
            is_whole(&answer)
        };
        once().or_else(|first| once().map_err(|second| format!("{first}, then {second}")))
    }

    /// Attacks, scrapes meanwhile, and sees to it that all is well then. What the attack returns are
    /// connections that stay as they are until then.
    fn attack<T>(self, name: &str, attack: impl Fn(&Self) -> T) {
        let over = AtomicBool::new(false);
        let mut slowest = Duration::ZERO;
        let (mut most, mut kernel) = (0, 0);
        let mut kept = Vec::new();
        let ticks = ticks_of(self.exporter.pid());
        let scrapes = AtomicUsize::new(0);
        let pids = [self.exporter.pid(), std::process::id()];
        let machine = Machine::now(&pids);
        thread::scope(|scope| {
            let honest = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    self.scrape().unwrap_or_else(|why| panic!("{name}: {why}"));
                    slowest = slowest.max(start.elapsed());
                    scrapes.fetch_add(1, Ordering::Relaxed);
                    most = most.max(self.status("VmRSS:"));
                    kernel = kernel.max(kernel_kb());
                    thread::sleep(Duration::from_millis(20));
                }
            });
            // Also where the attack fails: the honest client would go on for ever.
            let end = AtTheEnd(&over);
            // A client that failed ends the attack, too.
            let notices = || scrapes.load(Ordering::Relaxed) >= 10 || honest.is_finished();
            while !notices() {
                kept.push(attack(&self));
                // One that is over before anyone notices comes again. One that stays need not.
                if size_of::<T>() > 0 {
                    while !notices() {
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            }
            drop(end);
            honest.join().expect("the honest client");
        });
        most = most.max(self.status("VmRSS:"));
        kernel = kernel.saturating_sub(self.kernel_before_kb);
        let at_once = AT_ONCE.mul_f64(machine.slower_by_others(&pids));
        let ended = Instant::now();
        let recovered = eventually(RECOVERED, || {
            let now = self.footprint();
            let queued = queued(self.exporter.port());
            if now.is_within(self.before) && queued == 0 {
                Ok(())
            } else {
                Err(format!("{now:?} and {queued} bytes in the kernel"))
            }
        });
        if let Err(now) = recovered {
            panic!("{name}: {now}, but before the attack {:?}", self.before);
        }
        let recovered = ended.elapsed();
        drop(kept);
        let answer = self.scrape().expect("a scrape after the attack");
        println!(
            "{name}: {} honest scrapes of {answer} bytes, the slowest {slowest:?}; at most {most} kB resident, \
             {} before; {kernel} kB in the kernel; {} ms of CPU; as before after {recovered:.1?}",
            scrapes.into_inner(),
            self.before_kb,
            (ticks_of(self.exporter.pid()) - ticks) * 10,
        );
        assert!(
            slowest <= at_once,
            "{name}: the slowest scrape took {slowest:?}, not {at_once:?}"
        );
        let growth = most.saturating_sub(self.before_kb);
        assert!(growth <= GROWTH_KB, "{name}: {growth} kB more");
        assert!(
            kernel <= KERNEL_GROWTH_KB,
            "{name}: {kernel} kB more in the kernel"
        );
        self.is_calm(name);
    }

    /// Nothing in its log is an error.
    fn is_calm(&self, name: &str) {
        let said = self.exporter.said();
        assert!(!said.contains("panicked"), "{name}: {said}");
        for line in said.lines() {
            assert!(!line.contains(" ERROR "), "{name}: {line}");
        }
    }
}

/// A connection that does not hang for ever.
fn patient(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// What the processors have done so far, in ticks.
struct Machine {
    all: u64,
    /// That was nothing, or for interrupts.
    idle: u64,
    /// That was for the processes of the test.
    ours: u64,
}

impl Machine {
    fn now(pids: &[u32]) -> Self {
        let stat = std::fs::read_to_string("/proc/stat").expect("the system's times");
        let line = stat.lines().next().expect("the times of all processors");
        // User, nice, system, idle, iowait, irq, softirq, steal; guests are users, too.
        let times: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map(|ticks| ticks.parse().expect("ticks"))
            .collect();
        Self {
            all: times.iter().sum(),
            // What the network takes for an attack is nobody else's.
            idle: times[3] + times[4] + times[5] + times[6],
            ours: pids.iter().copied().map(ticks_of).sum(),
        }
    }

    /// How many times slower others have made the machine since then: not at all, unless they took a
    /// quarter of it.
    fn slower_by_others(&self, pids: &[u32]) -> f64 {
        let now = Self::now(pids);
        let ticks = |ticks: u64| f64::from(u32::try_from(ticks).expect("some minutes"));
        let all = ticks(now.all.saturating_sub(self.all)).max(1.0);
        let left = ticks(now.idle.saturating_sub(self.idle)) + ticks(now.ours - self.ours);
        let left = (left / all).clamp(0.01, 1.0);
        if left < 0.75 { 1.0 / left } else { 1.0 }
    }
}

/// The processor's time that a process has taken so far.
fn ticks_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("its name");
    let fields = fields.split(' ').skip(11).take(2);
    fields
        .map(|ticks| ticks.parse::<u64>().expect("ticks"))
        .sum()
}

/// Sets a flag when it is dropped.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The memory that the kernel takes for all TCP connections (`sockstat`, in pages).
fn kernel_kb() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").expect("the system's sockets");
    let line = text.lines().find(|line| line.starts_with("TCP:"));
    let pages = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    pages.expect("pages of TCP") * (rustix::param::page_size() as u64 / 1024)
}

/// Bytes in the kernel that the peers of this port have not taken, or that nobody has read there. Of
/// connections that their process has closed, too.
fn queued(port: u16) -> u64 {
    let sockets = std::fs::read_to_string("/proc/net/tcp").expect("the system's sockets");
    let of_port = format!(":{port:04X}");
    let hex = |text: &str| u64::from_str_radix(text, 16).expect("a number");
    // Number, local and remote address, state, what waits to be taken and to be read.
    let fields = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_port = fields.filter(|it| it[1].ends_with(&of_port) && it[3] != "0A");
    let queues = of_port.filter_map(|it| it[4].split_once(':').map(|(a, b)| hex(a) + hex(b)));
    queues.sum()
}

/// How long a scrape's answer is, if it is whole.
fn is_whole(answer: &str) -> Result<usize, String> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err(format!("no head in {} bytes", answer.len()));
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let whole = head.starts_with("HTTP/1.1 200 ")
        && length.and_then(|length| length.parse().ok()) == Some(body.len())
        && body.contains("\ndocker_up 1\n");
    if whole {
        Ok(answer.len())
    } else {
        Err(format!("{} bytes after {head}", body.len()))
    }
}

/// As many sockets as the system lets this process have.
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, most).expect("more descriptors");
}

/// Closes a connection by a reset.
fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket");
    drop(stream);
}

/// Reads one answer, of which the other side keeps the connection open.
fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !text.ends_with(b"\r\n\r\nhealthy\n") {
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => text.extend_from_slice(&piece[..count]),
        }
    }
    Ok(())
}

/// Waits until the other side has ended each of these, which take nothing.
fn until_ended(streams: &mut [TcpStream]) {
    for stream in streams {
        let gone = eventually(PATIENCE, || {
            // A socket whose other side has ended it takes nothing more.
            match stream.write_all(b"\r\n") {
                Ok(()) => Err("a stopped reader is still there".to_owned()),
                Err(_) => Ok(()),
            }
        });
        gone.expect("an end");
    }
}

/// Waits until the other side ends the connection; what it says is of no interest.
fn until_closed(stream: &mut TcpStream) {
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the connection is still open after {PATIENCE:?}");
            }
            Err(_) => return,
        }
    }
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn resets_after_the_request() {
    Besieged::start().attack("3,000 resets", |it| {
        for _ in 0..3000 {
            if let Ok(mut stream) = it.connect() {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
                reset(stream);
            }
        }
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn half_open_connections() {
    Besieged::start().attack("1,000 half-open", |it| {
        let streams: Vec<_> = (0..1000).map(|_| it.connect()).collect();
        let open = streams.iter().filter(|stream| stream.is_ok()).count();
        assert!(open > 900, "only {open} could connect");
        // They stay for as long as they are let.
        for mut stream in streams.into_iter().flatten() {
            until_closed(&mut stream);
        }
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn heads_that_come_by_drips() {
    Besieged::start().attack("200 drips", |it| {
        let mut streams: Vec<_> = (0..200).filter_map(|_| it.connect().ok()).collect();
        for stream in &mut streams {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
        }
        let start = Instant::now();
        while !streams.is_empty() {
            assert!(start.elapsed() < PATIENCE, "{} drip on", streams.len());
            thread::sleep(Duration::from_secs(1));
            streams.retain_mut(|stream| stream.write_all(b".").is_ok());
        }
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn a_header_without_end() {
    Besieged::start().attack("a header of 200 MB", |it| {
        let mut stream = it.connect().expect("a connection");
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
        let piece = vec![b'x'; 1024 * 1024];
        let taken = (0..200).take_while(|_| stream.write_all(&piece).is_ok());
        let taken = taken.count();
        assert!(taken < 200, "all of it was taken");
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn requests_in_a_row_without_waiting() {
    Besieged::start().attack("100,000 pipelined, no answer taken", |it| {
        let mut stream = it.connect().expect("a connection");
        let requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        let sent = (0..100).take_while(|_| stream.write_all(&requests).is_ok());
        assert!(sent.count() > 0);
        // What the system took for the exporter is not read, and the connection has its end.
        let gone = eventually(PATIENCE, || {
            let end = stream.write_all(&requests).is_err();
            if end {
                Ok(())
            } else {
                Err("it is still there".to_owned())
            }
        });
        gone.expect("an end");
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn requests_in_a_row_whose_answers_are_taken() {
    Besieged::start().attack("pipelined, answers taken", |it| {
        let mut stream = it.connect().expect("a connection");
        let mut reader = stream.try_clone().expect("a socket");
        let total = 5000;
        let counted = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = reader.read_to_end(&mut text);
            let text = String::from_utf8_lossy(&text);
            text.matches("\r\n\r\nhealthy\n").count()
        });
        let request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
        for _ in 1..total {
            stream.write_all(request).expect("another request");
        }
        let last = b"GET /-/healthy HTTP/1.1\r\nConnection: close\r\n\r\n";
        stream.write_all(last).expect("the last request");
        assert_eq!(counted.join().expect("the reader"), total);
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn readers_that_stop() {
    // An answer that no socket's buffers hold.
    let label = "long".repeat(200);
    Besieged::with_containers(900, &label).attack("60 stopped readers", |it| {
        let mut streams: Vec<_> = (0..60).filter_map(|_| it.stopped_reader().ok()).collect();
        assert_eq!(streams.len(), 60);
        until_ended(&mut streams);
        it.exporter.until("they are counted", |metrics| {
            match metrics.value("docker_exit_exporter_connections_refused_total", &[]) {
                Some(60.0) => Ok(()),
                refused => Err(format!("{refused:?} refused")),
            }
        });
        streams
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn four_hundred_readers_that_stop_and_stay() {
    Besieged::start().attack("400 stopped readers that stay", |it| {
        it.stopped_readers(400)
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn readers_that_stop_and_say_no_more() {
    // The exporter sees their end, but they have taken nothing.
    Besieged::start().attack("400 stopped readers, half closed", |it| {
        let streams = it.stopped_readers(400);
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Write);
        }
        streams
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn a_thousand_readers_that_stop_and_stay() {
    let besieged = Besieged::with_containers(10_000, "shop");
    besieged.attack("1,000 stopped readers, 10,000 containers", |it| {
        it.stopped_readers(1000)
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn sixty_who_read_the_page() {
    Besieged::with_containers(900, "shop").attack("the page, 60 at a time", |it| {
        sixty_readers(it, &|_| String::new());
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn sixty_who_each_want_another_page() {
    // None of them is there already, and a search looks at all exits.
    let attack = |it: &Besieged| {
        sixty_readers(it, &|number| match number % 4 {
            0 => format!("?page={number}"),
            1 => format!("?q=web-{number}"),
            2 => format!(
                "?page={number}&q={}&failures&refresh=off",
                "%F0%9F%90%B3".repeat(100)
            ),
            _ => format!("?service={number}&reason=error&open={number}"),
        });
    };
    Besieged::with_containers(900, "shop").attack("60 pages of 900 exits", attack);
    Besieged::with_containers(10_000, "shop").attack("60 pages of 10,000 exits", attack);
}

/// Readers of pages, 60 at a time, each of which asks for 20; every other one takes it compressed. `query`
/// is told which number of all it is.
fn sixty_readers(it: &Besieged, query: &(impl Fn(usize) -> String + Sync)) {
    let whole = AtomicUsize::new(0);
    thread::scope(|scope| {
        for reader in 0..60 {
            let whole = &whole;
            scope.spawn(move || {
                for number in 0..20 {
                    let Ok(mut stream) = it.connect() else {
                        continue;
                    };
                    let query = query(number * 60 + reader);
                    let coding = ["", "Accept-Encoding: gzip\r\n"][reader % 2];
                    let asked = format!("GET /{query} HTTP/1.0\r\n{coding}\r\n");
                    let asked = stream.write_all(asked.as_bytes());
                    let mut page = Vec::new();
                    // Who is sent away by the gate gets nothing; who is answered gets all.
                    if asked.is_ok() && stream.read_to_end(&mut page).is_ok() && !page.is_empty() {
                        whole.fetch_add(usize::from(is_whole_page(&page)), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(whole.into_inner() > 0, "nobody got a page");
}

/// Whether it is a page, which has to be there as a whole, and not a refusal.
fn is_whole_page(answer: &[u8]) -> bool {
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.expect("a whole head") + 4);
    let head = String::from_utf8_lossy(head);
    if head.starts_with("HTTP/1.0 503 ") {
        return false;
    }
    let mut page = String::new();
    let read = if head.contains("\r\nContent-Encoding: gzip\r\n") {
        GzDecoder::new(body).read_to_string(&mut page)
    } else {
        (&*body).read_to_string(&mut page)
    };
    let is_whole = read.is_ok() && page.ends_with("</html>\n");
    assert!(is_whole, "{read:?}: {} bytes, {head}", body.len());
    true
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn readers_of_many_pages_that_take_nothing() {
    // Each has a page of its own, longer than what the system takes for a client.
    let label = "long".repeat(200);
    Besieged::with_containers(900, &label).attack("60 pages that are not taken", |it| {
        let mut streams = Vec::new();
        for number in 0..60 {
            let stream = it.connect_narrow().and_then(|mut stream| {
                let asked = format!("GET /?open={number} HTTP/1.1\r\n\r\n");
                stream.write_all(asked.as_bytes())?;
                // It is its turn before the next one asks.
                stream.read_exact(&mut [0; 100])?;
                Ok(stream)
            });
            streams.extend(stream);
        }
        until_ended(&mut streams);
        streams
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn clients_that_ask_again_and_again() {
    Besieged::start().attack("100 busy clients", |it| {
        let end = Instant::now() + Duration::from_secs(5);
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    // Nobody of them is ever late.
                    let ask = |stream: &mut TcpStream| {
                        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")?;
                        read_answer(stream)
                    };
                    while Instant::now() < end {
                        if let Ok(mut stream) = it.connect() {
                            while Instant::now() < end && ask(&mut stream).is_ok() {}
                        }
                    }
                });
            }
        });
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn readers_of_a_text_that_changes() {
    // More than what the system takes for them, and 60 of it would be 200 MB.
    let label = "long".repeat(200);
    Besieged::with_containers(700, &label).attack("60 readers of 60 texts", |it| {
        let mut streams = Vec::new();
        for number in 0..60 {
            let container = Container::running(10_000 + number, "job");
            it.engine.run(&container);
            it.engine.end(&container, 5);
            it.engine.destroy(&container);
            thread::sleep(Duration::from_millis(70));
            let stream = it.connect_narrow().and_then(|mut stream| {
                stream.write_all(SCRAPE)?;
                Ok(stream)
            });
            streams.extend(stream);
        }
        until_ended(&mut streams);
        streams
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn readers_who_have_each_text_compressed() {
    // Each exit changes the text, so that some of it is to be compressed again.
    let label = "long".repeat(200);
    Besieged::with_containers(300, &label).attack("16 who have each text compressed", |it| {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let mut answer = Vec::new();
                        let taken = it.connect().and_then(|mut stream| {
                            stream.write_all(COMPRESSED_SCRAPE)?;
                            stream.read_to_end(&mut answer)
                        });
                        assert!(taken.is_ok() && answer.len() > 10_000, "{taken:?}");
                    }
                });
            }
            for number in 0..60 {
                let container = Container::running(10_000 + number, "job");
                it.engine.run(&container);
                it.engine.end(&container, 5);
                thread::sleep(Duration::from_millis(70));
            }
            over.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn a_thousand_connections_a_second() {
    Besieged::start().attack("1,000 connections a second for 5 s", |it| {
        let start = Instant::now();
        for number in 0..5000 {
            let due = start + Duration::from_millis(number);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let Ok(mut stream) = it.connect() else {
                continue;
            };
            if number % 2 == 0 {
                let _ = stream.write_all(SCRAPE);
            }
        }
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn a_gate_that_is_full() {
    Besieged::start().attack("64 connections that stay", |it| {
        let start = Instant::now();
        let mut streams = Vec::new();
        while start.elapsed() < Duration::from_secs(5) {
            // Who is sent away comes again.
            streams.retain_mut(|stream: &mut TcpStream| stream.write_all(b"\r\n").is_ok());
            while streams.len() < 64 {
                streams.extend(it.connect());
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn readers_of_the_page_that_take_nothing() {
    // Unlike a whole scrape, the page fits into what the kernel holds for a client.
    Besieged::start().attack("1,000 who ask for the page and stay", |it| {
        let readers = (0..1000).filter_map(|_| {
            let mut stream = it.connect_narrow().ok()?;
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").ok()?;
            Some(stream)
        });
        readers.collect::<Vec<_>>()
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn empty_lines_without_end() {
    Besieged::start().attack("100 floods of empty lines", |it| {
        thread::scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|| {
                    let lines = b"\r\n".repeat(2048);
                    if let Ok(mut stream) = it.connect_narrow() {
                        while stream.write_all(&lines).is_ok() {}
                    }
                });
            }
        });
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn a_client_at_a_distance_beside_a_full_gate() {
    Besieged::start().attack("100 who stay silent, and come again", |it| {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let far = scope.spawn(|| {
                let end = AtTheEnd(&over);
                for _ in 0..5 {
                    let mut stream = it.connect_with(32 * 1024).expect("a connection");
                    stream.write_all(SCRAPE).expect("a request");
                    let mut answer = Vec::new();
                    let mut piece = [0; 16 * 1024];
                    loop {
                        // A round trip.
                        thread::sleep(Duration::from_millis(15));
                        match stream.read(&mut piece).expect("it is not sent away") {
                            0 => break,
                            count => answer.extend_from_slice(&piece[..count]),
                        }
                    }
                    is_whole(&String::from_utf8_lossy(&answer)).expect("a whole answer");
                }
                drop(end);
            });
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut streams: Vec<TcpStream> = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        streams.retain_mut(|stream| stream.write_all(b"\r\n").is_ok());
                        while streams.len() < 25 {
                            streams.extend(it.connect());
                        }
                        thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            far.join().expect("the client at a distance");
        });
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn heads_of_many_lines_that_come_by_drips() {
    Besieged::start().attack("4 heads of 8,000 lines, byte by byte", |it| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut stream = it.connect().expect("a connection");
                    stream.set_nodelay(true).expect("a socket");
                    let mut bytes = b"GET / HTTP/1.1\n".iter().chain(b"a\n".iter().cycle());
                    // It has its answer, or its end, at some time.
                    let sent = (0..20_000).take_while(|_| {
                        let byte = bytes.next().expect("it has no end");
                        stream.write_all(&[*byte]).is_ok()
                    });
                    sent.count();
                    until_closed(&mut stream);
                });
            }
        });
    });
}

#[test]
fn nobody_else_is_let_in() {
    let besieged = Besieged::start();
    let inodes: Vec<String> = std::fs::read_dir(besieged.proc("fd"))
        .expect("it runs")
        .filter_map(|entry| {
            let link = std::fs::read_link(entry.ok()?.path()).ok()?;
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']');
            inode.map(str::to_owned)
        })
        .collect();
    // Num RefCount Protocol Flags Type St Inode Path
    let sockets = std::fs::read_to_string(besieged.proc("net/unix")).expect("the sockets");
    let own: Vec<Vec<&str>> = sockets
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() > 6 && inodes.iter().any(|inode| inode == fields[6]))
        .collect();
    assert!(
        own.len() >= 3,
        "two ends of one connection, and Docker's: {own:?}"
    );
    for socket in own {
        assert_ne!(socket[3], "00010000", "it listens: {socket:?}");
        if let Some(name) = socket.get(7).and_then(|path| path.strip_prefix('@')) {
            let address = SocketAddr::from_abstract_name(name).expect("a name");
            let error = UnixStream::connect_addr(&address).expect_err("a door");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{name}");
        }
    }
}

#[test]
fn what_is_no_request() {
    let besieged = Besieged::start();
    send_what_is_no_request(&besieged);
    besieged.scrape().expect("a scrape afterwards");
    besieged.is_calm("what is no request");
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn what_is_no_request_again_and_again() {
    Besieged::start().attack("what is no request", send_what_is_no_request);
}

/// Sends each of them on a connection of its own, and checks the answer.
fn send_what_is_no_request(it: &Besieged) {
    let tls: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n";
    let long = [
        b"GET /",
        "x".repeat(100_000).as_bytes(),
        b" HTTP/1.1\r\n\r\n",
    ]
    .concat();
    let many = ["GET / HTTP/1.1\r\n", &"a: b\r\n".repeat(10_000), "\r\n"].concat();
    // What is sent, and the status of the answer, if there is to be one.
    let cases: &[(&[u8], Option<&str>)] = &[
        (b"", None),
        (b"\r\n\r\n", None),
        (b"garbage\r\n\r\n", Some("400")),
        (b"GET\r\n\r\n", Some("400")),
        (b"GET /metrics\r\n\r\n", Some("400")),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", Some("400")),
        (b"GET /metrics HTTP/9.9\r\n\r\n", Some("400")),
        (&[0; 3000], None),
        (&[0xff; 16_384], None),
        (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", Some("400")),
        (b"\0\0\0\0\r\n\r\n", Some("400")),
        (b"GET / HTTP/2.0\r\n\r\n", Some("400")),
        (tls, Some("400")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some("400")),
        (&long, Some("431")),
        (many.as_bytes(), Some("431")),
        (b"GET http://other/metrics HTTP/1.1\r\nHost: x\r\n\r\n", Some("200")),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", Some("404")),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", Some("404")),
        (b"GET /%2e%2e/metrics HTTP/1.1\r\n\r\n", Some("404")),
        (b"GET * HTTP/1.1\r\n\r\n", Some("404")),
        (b"GET /metrics HTTP/1.0\r\n\r\n", Some("200")),
        (b"GET /metrics HTTP/1.1\nHost: x\n\n", Some("200")),
        (b"OPTIONS * HTTP/1.1\r\n\r\n", Some("404")),
        (b"TRACE /metrics HTTP/1.1\r\n\r\n", Some("405")),
        (b"CONNECT host:80 HTTP/1.1\r\n\r\n", Some("404")),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", Some("405")),
        (b"BREW /metrics HTTP/1.1\r\n\r\n", Some("405")),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", Some("405")),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\n", Some("405")),
        (b"PUT /metrics HTTP/1.1\r\nContent-Length: 100000000000000\r\n\r\n", Some("405")),
        (b"PUT /metrics HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", Some("405")),
        (b"PUT /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", Some("405")),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 9000000000000000000\r\n\r\n", Some("200")),
        (b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", Some("405")),
        (b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", Some("405")),
        (b"POST /metrics HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", Some("405")),
        (b"GET /metrics HTTP/1.1\r\nExpect: the unexpected\r\n\r\n", Some("200")),
        (b"GET /metrics HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", Some("200")),
        (b"GET /metrics HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n", Some("200")),
        (b"GET /metrics HTTP/1.1\r\n: no name\r\n\r\n", Some("400")),
        (b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n", Some("400")),
        (b"POST /metrics HTTP/1.1\r\nX: folded\r\n Content-Length: 5\r\n\r\nhello", Some("400")),
    ];
    for (bytes, want) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let mut stream = it.connect().expect("a connection");
        // It may be ended before all of it is sent.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1);
        assert_eq!(status, *want, "{shown:?} got {answer}");
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1,
            "{shown:?} got {answer}"
        );
    }
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn bodies_without_end() {
    Besieged::start().attack("20 bodies without end", |it| {
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut stream = it.connect_narrow().expect("a connection");
                    let head = b"POST /metrics HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\n";
                    let _ = stream.write_all(head);
                    let piece = vec![b'x'; 64 * 1024];
                    let taken = (0..3000).take_while(|_| stream.write_all(&piece).is_ok());
                    taken.count();
                    until_closed(&mut stream);
                });
            }
        });
    });
}

#[test]
#[ignore = "attacks a release binary, alone: cargo test --release --test it siege:: -- --ignored"]
fn few_descriptors() {
    let start = |docker_host: &str| Exporter::start_limited(docker_host, "ulimit -n 64");
    Besieged::start_by(10, "shop", start).attack("300 half-open with 64 descriptors", |it| {
        let streams: Vec<_> = (0..300).map(|_| it.connect()).collect();
        for mut stream in streams.into_iter().flatten() {
            until_closed(&mut stream);
        }
    });
}

#[test]
fn it_takes_few_threads_and_descriptors() {
    let besieged = Besieged::start();
    let is_within = |limit: Footprint| {
        let within = eventually(PATIENCE, || {
            let now = besieged.footprint();
            if now.is_within(limit) {
                Ok(now)
            } else {
                Err(format!("{now:?} is not within {limit:?}"))
            }
        });
        within.expect("few threads and descriptors")
    };
    let rest = is_within(AT_REST);
    let streams: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = besieged.connect().expect("a connection");
            let request = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";
            stream.write_all(request).expect("a request");
            read_answer(&mut stream).expect("an answer");
            stream
        })
        .collect();
    // Half of the descriptors are files of /proc, while a connection is answered.
    is_within(Footprint {
        threads: rest.threads + 10,
        descriptors: rest.descriptors + 10,
    });
    drop(streams);
    is_within(rest);
}

#[test]
fn one_connection_answers_again_and_again() {
    let besieged = Besieged::start();
    let mut stream = besieged.connect().expect("a connection");
    for _ in 0..3 {
        stream
            .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 200 "));
        stream
            .read_exact(&mut [0; "healthy\n".len()])
            .expect("a body");
    }
}
