//! The HTTP server. It answers from what was published last, whatever Docker is doing.

mod connections;
mod gate;
mod handler;
mod page_cache;
mod parser;
pub mod request;
mod response;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tiny_http::{HTTPVersion, Header, Method, StatusCode};

use crate::exposition::{SharedText, gzip};
use crate::page::{self, View};
use crate::publication::{Publication, Published};
use crate::telemetry::Telemetry;

use gate::Gate;
use page_cache::PageCache;
use parser::{ParserHandle, RequestParser};
use request::{RequestError, RequestHead};
use response::{Response, TextsInFlight};

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// Makes the response to each request.
struct Responder {
    parser: ParserHandle,
    publication: Arc<Publication>,
    telemetry: Telemetry,
    texts: TextsInFlight,
    pages: PageCache,
}

/// Starts the server, which runs for as long as the process lives. `spawn` starts its two permanent
/// threads: `server` has `tiny_http` parse the requests, `gate` accepts connections and starts a thread
/// for each.
///
/// # Errors
/// If `tiny_http` or a thread cannot be started.
pub fn start(
    listener: TcpListener,
    publication: &Arc<Publication>,
    telemetry: &Telemetry,
    spawn: impl Fn(&'static str, Box<dyn FnOnce() + Send>) -> io::Result<()>,
) -> io::Result<()> {
    let parser = RequestParser::start()?;
    let (handle, jobs) = ParserHandle::new();
    let responder = Responder {
        parser: handle,
        publication: Arc::clone(publication),
        telemetry: telemetry.clone(),
        texts: TextsInFlight::default(),
        pages: PageCache::default(),
    };
    let gate = Gate::new(listener, responder);
    let publication = Arc::clone(publication);
    spawn("server", Box::new(move || parser.run(&jobs, &publication)))?;
    spawn("gate", Box::new(|| gate.run()))
}

impl Responder {
    /// The response to a request. `keep_alive`: another request may follow on the same connection.
    ///
    /// # Errors
    /// If `tiny_http` fails to parse the request line.
    fn respond(
        &self,
        request: Result<RequestHead, RequestError>,
        keep_alive: bool,
    ) -> io::Result<Response> {
        let mut version = HTTPVersion(1, 1);
        let (mut gzip, mut head_only) = (false, false);
        let content = match request {
            Err(error) => {
                let status = match error {
                    RequestError::Malformed => 400,
                    RequestError::TooLarge => 431,
                };
                Content::text(status, format!("{error}\n"))
            }
            Ok(request) => {
                let parsed = self.parser.parse(request.line)?;
                (version, gzip) = (parsed.version, request.accepts_gzip);
                head_only = parsed.method == Method::Head;
                let (method, target) = (&parsed.method, &parsed.target);
                self.content(method, target, &request.host, gzip, parsed.published)
            }
        };
        self.telemetry.count_response(content.status);
        let mut bytes = head(&content, version, gzip, keep_alive)?;
        if head_only {
            return Ok(Response::new(bytes));
        }
        bytes.extend(content.prefix);
        let Some(text) = content.text else {
            return Ok(Response::new(bytes));
        };
        // Many requests for pages must not cut off slow scrapes, nor the other way round.
        let texts = if content.kind == METRICS {
            &self.texts
        } else {
            &self.pages.texts
        };
        Ok(Response::with_text(bytes, text, gzip, content.tail, texts))
    }

    /// The content for a request. `host`: the request's `Host` header; `gzip`: the client accepts gzip.
    fn content(
        &self,
        method: &Method,
        target: &str,
        host: &str,
        gzip: bool,
        published: Published,
    ) -> Content {
        let path = path(target);
        if !matches!(path, "/metrics" | "/" | "/-/healthy" | "/-/ready") {
            return Content::text(404, "not found; see / for links\n");
        }
        if !matches!(method, Method::Get | Method::Head) {
            return Content::text(405, "only GET and HEAD are allowed\n");
        }
        match path {
            "/metrics" => {
                let own = self.telemetry.render() + &self.telemetry.render_process();
                if *method == Method::Get {
                    self.publication.mark_scraped(&published);
                }
                Content::shared(METRICS, published.text, own, gzip)
            }
            "/-/healthy" => Content::text(200, "healthy\n"),
            "/-/ready" if published.ready => Content::text(200, "ready\n"),
            "/-/ready" => Content::text(503, "not ready: no collection has succeeded yet\n"),
            _ => {
                let view = View::parse(query(target));
                match self.pages.get(&published.page, view, host, gzip) {
                    Some(page) => Content::shared(HTML, page, String::new(), gzip),
                    None => Content::text(503, "too many pages are requested at once\n"),
                }
            }
        }
    }
}

/// Locks a mutex whose value stays valid even if a thread panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of a response: `prefix`, the text if there is one, then `tail`.
struct Content {
    status: u16,
    kind: &'static str,
    length: usize,
    prefix: Vec<u8>,
    text: Option<Arc<SharedText>>,
    tail: Vec<u8>,
}

impl Content {
    fn text(status: u16, text: impl Into<Vec<u8>>) -> Self {
        let prefix = text.into();
        Self {
            status,
            kind: TEXT,
            length: prefix.len(),
            prefix,
            text: None,
            tail: Vec::new(),
        }
    }

    /// A text that responses share, followed by what only this one has.
    fn shared(kind: &'static str, text: Arc<SharedText>, own: String, gzip: bool) -> Self {
        let (prefix, tail) = if gzip {
            let tail = text.gzip_tail(own.as_bytes());
            (gzip::GZIP_HEADER.to_vec(), tail)
        } else {
            (Vec::new(), own.into_bytes())
        };
        Self {
            status: 200,
            kind,
            length: prefix.len() + text.length(gzip) + tail.len(),
            prefix,
            text: Some(text),
            tail,
        }
    }
}

/// The head of a response, written by `tiny_http`.
fn head(
    content: &Content,
    version: HTTPVersion,
    gzip: bool,
    keep_alive: bool,
) -> io::Result<Vec<u8>> {
    let mut headers = vec![
        ("Content-Type", content.kind),
        ("X-Content-Type-Options", "nosniff"),
    ];
    if content.kind == HTML {
        headers.push(("Content-Security-Policy", page::POLICY));
        headers.push(("Referrer-Policy", "no-referrer"));
        headers.push(("Cache-Control", "no-store"));
    }
    if content.text.is_some() {
        headers.push(("Vary", "Accept-Encoding"));
        if gzip {
            headers.push(("Content-Encoding", "gzip"));
        }
    }
    if content.status == 503 {
        headers.push(("Retry-After", "1"));
        // This replaces a page that refreshes itself, so it has to do the same.
        headers.push(("Refresh", "1"));
    }
    if content.status == 405 {
        headers.push(("Allow", "GET, HEAD"));
    }
    let headers = headers
        .into_iter()
        .map(|(name, value)| Header::from_bytes(name, value).expect("the header is ASCII"));
    let mut head = Vec::new();
    tiny_http::Response::new(
        StatusCode(content.status),
        headers.collect(),
        io::empty(),
        Some(content.length),
        None,
    )
    .with_chunked_threshold(usize::MAX) // Content-Length, not chunks.
    .raw_print(&mut head, version, &[], true, None)?;
    if !keep_alive {
        // `tiny_http` drops this header if it is given one.
        head.truncate(head.len() - b"\r\n".len());
        head.extend(b"Connection: close\r\n\r\n");
    }
    Ok(head)
}

/// The path of a request target, which may be a whole URL (RFC 9112, 3.2.2) and have a query.
fn path(target: &str) -> &str {
    let target = target.split(['?', '#']).next().unwrap_or_default();
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(scheme));
    match rest {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    }
}

/// The query of a request target, without its `?`.
fn query(target: &str) -> &str {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').unwrap_or_default().1
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn paths_of_targets() {
        for (target, want) in [
            ("/metrics", "/metrics"),
            ("/metrics?name[]=x", "/metrics"),
            ("http://host:9090/metrics", "/metrics"),
            ("http://host", "/"),
            ("http://host?service=shop/web", "/"),
            ("/metrics/", "/metrics/"),
            ("//metrics", "//metrics"),
            ("/../metrics", "/../metrics"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(path(target), want, "{target}");
        }
    }

    #[test]
    fn queries_of_targets() {
        for (target, want) in [
            ("/", ""),
            ("/?", ""),
            ("/?failures", "failures"),
            ("/?a=b&q=?x", "a=b&q=?x"),
            ("http://host/?failures#top", "failures"),
            ("http://host?failures", "failures"),
            ("/#?failures", ""),
        ] {
            assert_eq!(query(target), want, "{target}");
        }
    }

    #[test]
    fn contents() {
        let publication: Arc<Publication> = Arc::default();
        let responder = Responder {
            parser: ParserHandle::new().0,
            publication: Arc::clone(&publication),
            telemetry: Telemetry::new(),
            texts: TextsInFlight::default(),
            pages: PageCache::default(),
        };
        let content = |method: &str, target: &str, gzip| {
            let method = method.parse().unwrap();
            responder.content(&method, target, "web-1", gzip, publication.latest())
        };
        let code = |method, target| content(method, target, false).status;
        assert_eq!(code("GET", "/-/ready"), 503);
        assert_eq!(code("GET", "/metrics"), 200);
        publication.publish(Published {
            text: Arc::new("a 1\n".to_owned().into()),
            ready: true,
            ..Published::default()
        });
        for (method, target, want) in [
            ("GET", "/-/ready", 200),
            ("GET", "/-/healthy", 200),
            ("GET", "/", 200),
            ("HEAD", "/metrics", 200),
            ("POST", "/metrics", 405),
            ("DELETE", "/", 405),
            ("POST", "/nothing", 404),
            ("GET", "/metricsx", 404),
            ("GET", "/favicon.ico", 404),
        ] {
            assert_eq!(code(method, target), want, "{method} {target}");
        }
        // Only GET /metrics counts as a scrape.
        let scraped: Arc<AtomicU64> = Arc::default();
        let calls = Arc::clone(&scraped);
        publication.on_scraped(move |revision| calls.store(revision, Ordering::Relaxed));
        publication.publish(Published {
            unscraped_revision: Some(7),
            ..publication.latest()
        });
        for (method, target, want) in [
            ("HEAD", "/metrics", 0),
            ("POST", "/metrics", 0),
            ("GET", "/", 0),
            ("GET", "/metrics", 7),
        ] {
            code(method, target);
            assert_eq!(scraped.load(Ordering::Relaxed), want, "{method} {target}");
        }
        for (target, gzip, start, end) in [
            ("/metrics", false, "a 1\n", "\n"),
            ("/metrics", true, "a 1\n", "\n"),
            ("/", false, "<", "</html>\n"),
            ("/", true, "<", "</html>\n"),
        ] {
            let content = content("GET", target, gzip);
            let head = head(&content, HTTPVersion(1, 1), gzip, true).unwrap();
            let head = String::from_utf8(head).unwrap();
            assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
            assert_eq!(head.contains("\r\nContent-Encoding: gzip\r\n"), gzip);
            let mut bytes = content.prefix;
            for segment in content.text.expect("a text").segments() {
                bytes.extend(segment.bytes(gzip));
            }
            bytes.extend(content.tail);
            assert_eq!(bytes.len(), content.length);
            let mut body = String::new();
            if gzip {
                let mut plain = flate2::read::GzDecoder::new(&bytes[..]);
                plain.read_to_string(&mut body).unwrap();
            } else {
                body = String::from_utf8(bytes).unwrap();
            }
            assert!(body.starts_with(start) && body.ends_with(end), "{body}");
            let has_own = body.contains("\nprocess_resident_memory_bytes ");
            assert_eq!(has_own, target == "/metrics", "{body}");
        }
    }
}
