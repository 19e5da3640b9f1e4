//! A client that scrapes as fast as it is answered, and a server that does nothing but answer.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Fallible, PATIENCE, go_on};

/// A connection that is kept.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    gzip: bool,
    line: String,
}

/// What an answer's head says.
pub(crate) struct Head {
    pub(crate) length: u64,
    /// The body is compressed.
    pub(crate) gzip: bool,
}

impl Client {
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            gzip: false,
            line: String::new(),
        })
    }

    /// The same, with `Accept-Encoding: gzip`.
    pub(crate) fn connect_for_gzip(port: u16) -> io::Result<Self> {
        let mut client = Self::connect(port)?;
        client.gzip = true;
        Ok(client)
    }

    /// Scrapes, and throws the body away as it comes.
    pub(crate) fn scrape(&mut self) -> io::Result<Head> {
        self.scrape_into(&mut io::sink())
    }

    /// Scrapes; the text.
    pub(crate) fn text(&mut self, expected: usize) -> io::Result<String> {
        let mut body = Vec::with_capacity(expected);
        self.scrape_into(&mut body)?;
        String::from_utf8(body).map_err(io::Error::other)
    }

    fn scrape_into(&mut self, body: &mut impl Write) -> io::Result<Head> {
        let encoding = if self.gzip {
            "Accept-Encoding: gzip\r\n"
        } else {
            ""
        };
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{encoding}\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let head = self.read_head()?;
        let mut left = head.length;
        while left > 0 {
            let bytes = self.stream.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            body.write_all(&bytes[..count])?;
            self.stream.consume(count);
            left -= count as u64;
        }
        Ok(head)
    }

    fn read_head(&mut self) -> io::Result<Head> {
        let (mut length, mut gzip, mut first) = (None, false, true);
        loop {
            self.line.clear();
            self.stream.read_line(&mut self.line)?;
            let line = self.line.trim_end().to_ascii_lowercase();
            if std::mem::take(&mut first) {
                if !line.starts_with("http/1.1 200 ") {
                    return Err(io::Error::other(format!("the answer is {line:?}")));
                }
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok();
            } else if let Some(value) = line.strip_prefix("content-encoding: ") {
                gzip = value == "gzip";
            } else if line.is_empty() {
                let length = length.ok_or_else(|| io::Error::other("no Content-Length"))?;
                return Ok(Head { length, gzip });
            }
        }
    }
}

/// How long things took.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// What so many hundredths of them did not exceed.
    pub(crate) fn percentile(&self, hundredths: usize) -> Duration {
        let rank = (self.0.len() * hundredths).div_ceil(100);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

/// So many clients at a time scrape so often, all together.
pub(crate) fn scrape_all(
    clients: usize,
    scrapes: usize,
    connect: impl Fn() -> io::Result<Client> + Sync,
) -> Fallible<Times> {
    let start = Barrier::new(clients);
    let each = scrapes.div_ceil(clients);
    let one = || -> Fallible<Vec<Duration>> {
        let client = connect();
        // Nobody is waited for who cannot connect.
        start.wait();
        let mut client = client?;
        let mut times = Vec::with_capacity(each);
        for _ in 0..each {
            let begin = Instant::now();
            client.scrape()?;
            go_on()?;
            times.push(begin.elapsed());
        }
        Ok(times)
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        let joined = threads.into_iter().map(|it| it.join().expect("no panic"));
        joined.collect()
    });
    let mut all = Vec::new();
    for times in results {
        all.extend(times.map_err(|error| format!("a scrape failed: {error}"))?);
    }
    Ok(Times::new(all))
}

/// Starts a server that has one answer, with this body, and a thread for each connection; it ends
/// after so many connections. Returns its port.
pub(crate) fn serve_bare(body: &str, connections: usize) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let length = body.len();
    let answer = Arc::new(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
    thread::spawn(move || {
        for stream in listener.incoming().take(connections).flatten() {
            let answer = Arc::clone(&answer);
            // Ends with the connection.
            thread::spawn(move || answer_bare(stream, answer.as_bytes()));
        }
    });
    Ok(port)
}

fn answer_bare(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line == "\r\n" {
            stream.write_all(answer)?;
        }
    }
}
