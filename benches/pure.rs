//! How fast the parts are that neither ask nor wait, each beside a limit that no code passes.
//!
//! ```text
//! cargo bench                # one minute
//! cargo bench -- listings    # what has this in its name
//! ```
//!
//! - `http`: an answer's head, and a body in chunks, from memory. Limit `copied`: the same bytes
//!   copied once.
//! - `listings`: an answer to `/containers/json` taken in by the ledger: `first`, when every
//!   container is new; `again`, when nothing has changed. `parsed` is the part before the ledger.
//!   Limit `skipped`: the same JSON read to its end, and nothing kept of it.
//! - `text`: `rendered`, the metrics of all containers, to memory that is not there yet;
//!   `one_changed`, the same after one container has. Limit `copied`: the same text copied once, to
//!   memory that is there.
//! - `page`: `taken`, what the page shows of them, made anew; `again`, after nothing has changed;
//!   `one_changed`, after one container has. `rendered`, the page as it is opened; `searched`, with a
//!   text that a few have.
//!
//! The containers are stopped ones with 8 labels each, of [`crowd`]. Which limit belongs to what is
//! told by the names alone: both are measured in the same run, so take their ratio.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use docker_exit_exporter::cgroup::Layout;
use docker_exit_exporter::deadline::Transport;
use docker_exit_exporter::engine::{Inspected, listing};
use docker_exit_exporter::labels::Filter;
use docker_exit_exporter::ledger::{EventFeed, Ledger, Now, RequestTimes};
use jiff::{SignedDuration, Timestamp};
use test_support::crowd;

/// Stopped containers. Without optimisation, as in `cargo test --benches`, only the small host is
/// there: then it is a matter of whether it works.
const SIZES: &[u64] = if cfg!(debug_assertions) {
    &[300]
} else {
    &[300, 10_000, 100_000]
};

/// Seconds that one line of the result may take.
const SECONDS: u64 = 3;

fn main() {
    divan::main();
}

/// A host, as its Engine tells of it.
struct Host {
    listing: String,
    inspects: Vec<(String, Inspected)>,
}

/// The host with so many containers, made when it is first asked for: that takes seconds.
fn host(count: u64) -> Arc<Host> {
    static HOSTS: Mutex<BTreeMap<u64, Arc<Host>>> = Mutex::new(BTreeMap::new());
    let mut hosts = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
    let host = hosts
        .entry(count)
        .or_insert_with(|| Arc::new(Host::with(count)));
    Arc::clone(host)
}

impl Host {
    fn with(count: u64) -> Self {
        let mut listed = Vec::new();
        let mut inspects = Vec::new();
        for container in crowd::stopped(count) {
            listed.push(container.listed().to_string());
            let text = container.inspect().to_string();
            let inspected = Inspected::parse(&text).expect("an inspect");
            inspects.push((container.id, inspected));
        }
        Self {
            listing: format!("[{}]", listed.join(",")),
            inspects,
        }
    }

    /// A ledger that knows everything of it, as after the first collection.
    fn ledger(&self) -> Ledger {
        let mut ledger = empty();
        let containers = listing(&self.listing).expect("a listing");
        let pending = ledger.apply_listing(&containers, &asking(0)).new;
        assert_eq!(pending.len(), self.inspects.len(), "every exit is new");
        for (id, inspected) in &self.inspects {
            ledger.apply_inspect(id, inspected, &asking(0));
        }
        let reports = ledger.report(time(0), EventFeed::Off);
        assert_eq!(reports.len(), self.inspects.len(), "every exit is reported");
        ledger.find_superseded();
        ledger
    }
}

fn empty() -> Ledger {
    let retention = Duration::from_secs(300);
    let mut ledger = Ledger::new(Filter::default(), retention, time(0).engine);
    ledger.set_layout(Some(Layout::default()));
    ledger
}

/// The time of the listing with this number, one moment after the one before.
fn time(number: u32) -> Now {
    static START: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);
    // The program has run for a while by then.
    let uptime = Duration::from_secs(1) + Duration::from_millis(number.into());
    Now {
        uptime,
        engine: *START + SignedDuration::from_millis(number.into()),
        error: SignedDuration::ZERO,
    }
}

fn asking(number: u32) -> RequestTimes {
    RequestTimes {
        asked: time(number),
        answered: time(number),
    }
}

mod http {
    use std::io::Cursor;
    use std::time::Instant;

    use divan::Bencher;
    use divan::counter::BytesCount;
    use docker_exit_exporter::http::{Connection, limits};

    use super::{Again, Duration, SECONDS, SIZES, copied, host};

    /// What an Engine wrote, but for what ends its connection.
    const HEAD: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\n\
        Docker-Experimental: false\r\nOstype: linux\r\nServer: Docker/28.5.2+dfsg4 (linux)\r\n\
        Date: Sun, 22 Nov 2026 08:41:10 GMT\r\n";

    /// Containers in the body.
    const CONTAINERS: u64 = SIZES[SIZES.len() / 2];

    /// Bytes of a chunk. Docker makes one of a whole listing, as the last one here.
    const CHUNKS: [usize; 3] = [4096, 64 * 1024, 64 * 1024 * 1024];

    /// A connection on which the same answer comes again and again.
    fn connection(answer: &[u8]) -> Connection<Again<'_>> {
        Connection::new(Again(Cursor::new(answer)))
    }

    fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
        let mut answer = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for chunk in body.chunks(size) {
            answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            answer.extend_from_slice(chunk);
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"0\r\n\r\n");
        answer
    }

    fn deadline() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    #[divan::bench(max_time = SECONDS, sample_size = 1000)]
    fn head(bencher: Bencher) {
        let answer = format!("{HEAD}Content-Length: 0\r\n\r\n");
        let mut connection = connection(answer.as_bytes());
        let deadline = deadline();
        bencher
            .counter(BytesCount::of_str(&answer))
            .bench_local(|| {
                let (head, mut body) = connection
                    .get("docker", "/info", Some(deadline))
                    .expect("a head");
                assert!(body.fill().expect("a body").is_empty());
                head
            });
    }

    #[divan::bench(max_time = SECONDS)]
    fn head_copied(bencher: Bencher) {
        copied(
            bencher,
            format!("{HEAD}Content-Length: 0\r\n\r\n").as_bytes(),
        );
    }

    #[divan::bench(max_time = SECONDS, args = CHUNKS)]
    fn body(bencher: Bencher, chunk: usize) {
        let listing = &host(CONTAINERS).listing;
        let answer = in_chunks(listing.as_bytes(), chunk);
        let mut connection = connection(&answer);
        let deadline = deadline();
        let mut into = Vec::with_capacity(listing.len());
        bencher
            .counter(BytesCount::of_str(listing))
            .bench_local(|| {
                into.clear();
                let (_, mut body) = connection
                    .get("docker", "/", Some(deadline))
                    .expect("a head");
                body.read_to_end(&mut into, limits::MAX_BODY_BYTES)
                    .expect("a body");
                assert_eq!(into.len(), listing.len());
            });
    }

    #[divan::bench(max_time = SECONDS)]
    fn body_copied(bencher: Bencher) {
        copied(bencher, host(CONTAINERS).listing.as_bytes());
    }
}

/// The name of a module is what is shown: hence not `listing`, which is a function.
mod listings {
    use divan::Bencher;
    use divan::counter::BytesCount;
    use docker_exit_exporter::ledger::PendingInspects;
    use serde::de::IgnoredAny;

    use super::{SECONDS, SIZES, asking, empty, host, listing};

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn first(bencher: Bencher, count: u64) {
        let host = host(count);
        bencher
            .counter(BytesCount::of_str(&host.listing))
            .with_inputs(empty)
            .bench_local_values(|mut ledger| {
                let containers = listing(&host.listing).expect("a listing");
                let pending = ledger.apply_listing(&containers, &asking(0));
                (ledger, pending)
            });
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn again(bencher: Bencher, count: u64) {
        let host = host(count);
        let mut ledger = host.ledger();
        let mut number = 0;
        bencher
            .counter(BytesCount::of_str(&host.listing))
            .bench_local(|| {
                number += 1;
                let containers = listing(&host.listing).expect("a listing");
                let pending = ledger.apply_listing(&containers, &asking(number));
                assert_eq!(pending, PendingInspects::default(), "nothing has changed");
            });
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn parsed(bencher: Bencher, count: u64) {
        let host = host(count);
        bencher
            .counter(BytesCount::of_str(&host.listing))
            .bench_local(|| listing(&host.listing).expect("a listing").len());
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn skipped(bencher: Bencher, count: u64) {
        let host = host(count);
        bencher
            .counter(BytesCount::of_str(&host.listing))
            .bench_local(|| serde_json::from_str::<IgnoredAny>(&host.listing).expect("JSON"));
    }
}

mod text {
    use divan::Bencher;
    use divan::counter::BytesCount;
    use docker_exit_exporter::engine::EngineInfo;
    use docker_exit_exporter::exposition::Renderer;
    use docker_exit_exporter::ledger::InspectFailure;

    use super::{Ledger, SECONDS, SIZES, host, time};

    fn rendered_by(renderer: &mut Renderer, ledger: &Ledger) {
        divan::black_box(renderer.render(true, true, &EngineInfo::default(), ledger));
    }

    fn text_of(ledger: &Ledger) -> String {
        let text = Renderer::default().render(true, true, &EngineInfo::default(), ledger);
        text.plain()
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn rendered(bencher: Bencher, count: u64) {
        let ledger = host(count).ledger();
        let length = text_of(&ledger).len();
        bencher
            .counter(BytesCount::new(length))
            .bench_local(|| rendered_by(&mut Renderer::default(), &ledger));
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn one_changed(bencher: Bencher, count: u64) {
        let host = host(count);
        let mut ledger = host.ledger();
        let mut renderer = Renderer::default();
        rendered_by(&mut renderer, &ledger);
        let mut ids = host.inspects.iter().map(|(id, _)| id).cycle();
        bencher.bench_local(|| {
            // Nothing has changed, but that is not known before it is looked at.
            let id = ids.next().expect("a container");
            ledger.inspect_failed(id, InspectFailure::Gone, time(0));
            ledger.find_superseded();
            rendered_by(&mut renderer, &ledger);
        });
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn copied(bencher: Bencher, count: u64) {
        let text = text_of(&host(count).ledger());
        super::copied(bencher, text.as_bytes());
    }
}

mod page {
    use divan::Bencher;
    use docker_exit_exporter::ledger::InspectFailure;
    use docker_exit_exporter::page::{Docker, RowCache, Snapshot, View, render};

    use super::{Arc, SECONDS, SIZES, host, time};

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn taken(bencher: Bencher, count: u64) {
        let ledger = host(count).ledger();
        bencher.bench_local(|| RowCache::default().update(&ledger));
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn again(bencher: Bencher, count: u64) {
        let ledger = host(count).ledger();
        let mut rows = RowCache::default();
        rows.update(&ledger);
        bencher.bench_local(|| rows.update(&ledger));
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn one_changed(bencher: Bencher, count: u64) {
        let host = host(count);
        let mut ledger = host.ledger();
        let mut rows = RowCache::default();
        rows.update(&ledger);
        let mut ids = host.inspects.iter().map(|(id, _)| id).cycle();
        bencher.bench_local(|| {
            let id = ids.next().expect("a container");
            ledger.inspect_failed(id, InspectFailure::Gone, time(0));
            rows.update(&ledger)
        });
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn rendered(bencher: Bencher, count: u64) {
        of_view(bencher, count, &View::default());
    }

    #[divan::bench(max_time = SECONDS, args = SIZES)]
    fn searched(bencher: Bencher, count: u64) {
        let id = &host(count).inspects[0].0;
        let view = View::parse(&format!("q={}", &id[..4]));
        of_view(bencher, count, &view);
    }

    fn of_view(bencher: Bencher, count: u64, view: &View) {
        let mut snapshot = Snapshot {
            containers: Arc::new(RowCache::default().update(&host(count).ledger())),
            ..Snapshot::default()
        };
        let now = time(0).engine;
        snapshot.host.docker = Docker::Up { since: now };
        let page = render(&snapshot, view, "", now);
        assert!(page.contains("<bdi>"), "it has rows");
        bencher.bench_local(|| render(&snapshot, view, "", now));
    }
}

/// A stream on which the same bytes come again and again, never the end of one answer with the
/// beginning of the next; what is sent is forgotten.
struct Again<'a>(io::Cursor<&'a [u8]>);

impl Read for Again<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.position() == self.0.get_ref().len() as u64 {
            self.0.set_position(0);
        }
        self.0.read(buffer)
    }
}

impl Write for Again<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Transport for Again<'_> {
    fn set_read_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

/// The limit of what moves bytes.
fn copied(bencher: divan::Bencher, bytes: &[u8]) {
    let mut into = vec![0; bytes.len()];
    bencher
        .counter(divan::counter::BytesCount::of_slice(bytes))
        .bench_local(|| {
            into.copy_from_slice(divan::black_box(bytes));
            divan::black_box(&mut into);
        });
}
