//! The HTTP side: who asks gets what was published last.

mod answer;
mod connections;
mod conversation;
mod gate;
mod lane;
mod pages;
pub mod request;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tiny_http::{HTTPVersion, Header, Method, Response, StatusCode};

use crate::exposition::{Text, gzip};
use crate::page::{self, View};
use crate::publication::{Publication, Published};
use crate::telemetry::Telemetry;

use answer::{Answer, Texts};
use gate::Gate;
use lane::{Asked, Lane, Questions};
use pages::Pages;
use request::{Refusal, Request};

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// What answers are made of.
struct Site {
    questions: Questions,
    publication: Arc<Publication>,
    telemetry: Telemetry,
    texts: Texts,
    pages: Pages,
}

/// Answers on threads of its own, for as long as the process lives. The two that must not end are
/// started by `spawn`: `server` has `tiny_http` read the requests and takes what is published, `gate`
/// takes the connections from the network, each of which gets a thread for all that takes time.
///
/// # Errors
/// If `tiny_http` or a thread cannot be started.
pub fn start(
    listener: TcpListener,
    publication: &Arc<Publication>,
    telemetry: &Telemetry,
    spawn: impl Fn(&'static str, Box<dyn FnOnce() + Send>) -> io::Result<()>,
) -> io::Result<()> {
    let lane = Lane::open()?;
    let (questions, receiver) = Questions::new();
    let site = Site {
        questions,
        publication: Arc::clone(publication),
        telemetry: telemetry.clone(),
        texts: Texts::default(),
        pages: Pages::default(),
    };
    let gate = Gate::new(listener, site);
    let publication = Arc::clone(publication);
    spawn(
        "server",
        Box::new(move || lane.serve(&receiver, &publication)),
    )?;
    spawn("gate", Box::new(|| gate.run()))
}

impl Site {
    /// The answer to a request; `goes_on`: another one may follow on the same connection.
    ///
    /// # Errors
    /// If `tiny_http` did not read it.
    fn answer(&self, request: Result<Request, Refusal>, goes_on: bool) -> io::Result<Answer> {
        let mut version = HTTPVersion(1, 1);
        let (mut gzip, mut head_alone) = (false, false);
        let content = match request {
            Err(Refusal::Malformed) => Content::text(400, TEXT, "this is no request of HTTP/1.1\n"),
            Err(Refusal::TooLarge) => Content::text(431, TEXT, "the request's head is too large\n"),
            Ok(request) => {
                let asked = self.questions.ask(request.line)?;
                (version, gzip) = (asked.version, request.takes_gzip);
                head_alone = asked.method == Method::Head;
                let Asked {
                    method,
                    target,
                    published,
                    ..
                } = asked;
                self.content(&method, &target, &request.host, gzip, published)
            }
        };
        self.telemetry.answered(content.code);
        let mut start = head(&content, version, gzip, goes_on)?;
        // Who takes one kind of them never has the other kind's answers broken off.
        let texts = if content.kind == METRICS {
            &self.texts
        } else {
            &self.pages.texts
        };
        if head_alone {
            return Ok(Answer::new(start));
        }
        start.extend(content.start);
        Ok(match content.text {
            Some(text) => Answer::with_text(start, text, gzip, content.end, texts),
            None => Answer::new(start),
        })
    }

    /// What a request is answered with; `host`: what the client calls this host; `gzip`: it takes what is
    /// compressed.
    fn content(
        &self,
        method: &Method,
        target: &str,
        host: &str,
        gzip: bool,
        published: Published,
    ) -> Content {
        let known = matches!(path(target), "/metrics" | "/" | "/-/healthy" | "/-/ready");
        if !known {
            return Content::text(404, TEXT, "not found; / has the links\n");
        }
        if !matches!(method, Method::Get | Method::Head) {
            return Content::text(405, TEXT, "only GET and HEAD are answered\n");
        }
        match path(target) {
            "/metrics" => {
                let own = self.telemetry.render() + &self.telemetry.render_process();
                if *method == Method::Get {
                    self.publication.taken(&published);
                }
                Content::shared(METRICS, published.text, own, gzip)
            }
            "/-/healthy" => Content::text(200, TEXT, "healthy\n"),
            "/-/ready" if published.ready => Content::text(200, TEXT, "ready\n"),
            "/-/ready" => Content::text(503, TEXT, "not ready: no collection has worked yet\n"),
            _ => {
                let view = View::parse(query(target));
                match self.pages.get(&published.page, view, host, gzip) {
                    Some(page) => Content::shared(HTML, page, String::new(), gzip),
                    None => Content::text(503, TEXT, "too many pages are asked for at once\n"),
                }
            }
        }
    }
}

/// What a thread that failed has left is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an answer is about: all of `start`, of the text if there is one, and of `end`.
struct Content {
    code: u16,
    kind: &'static str,
    length: usize,
    start: Vec<u8>,
    text: Option<Arc<Text>>,
    end: Vec<u8>,
}

impl Content {
    fn text(code: u16, kind: &'static str, text: impl Into<Vec<u8>>) -> Self {
        let start = text.into();
        Self {
            code,
            kind,
            length: start.len(),
            start,
            text: None,
            end: Vec::new(),
        }
    }

    /// A text, shared by all who take it, and then what is of this answer alone.
    fn shared(kind: &'static str, text: Arc<Text>, own: String, gzip: bool) -> Self {
        let (start, end) = if gzip {
            (gzip::HEADER.to_vec(), text.gzip_end(own.as_bytes()))
        } else {
            (Vec::new(), own.into_bytes())
        };
        Self {
            code: 200,
            kind,
            length: start.len() + text.length(gzip) + end.len(),
            start,
            text: Some(text),
            end,
        }
    }
}

/// The head of an answer, as `tiny_http` writes it.
fn head(content: &Content, version: HTTPVersion, gzip: bool, goes_on: bool) -> io::Result<Vec<u8>> {
    let mut response = Response::new(
        StatusCode(content.code),
        vec![
            header("Content-Type", content.kind),
            header("X-Content-Type-Options", "nosniff"),
        ],
        io::empty(),
        Some(content.length),
        None,
    )
    .with_chunked_threshold(usize::MAX); // The length is known, so say it.
    if content.kind == HTML {
        response.add_header(header("Content-Security-Policy", page::POLICY));
        response.add_header(header("Referrer-Policy", "no-referrer"));
        response.add_header(header("Cache-Control", "no-store"));
    }
    if content.text.is_some() {
        response.add_header(header("Vary", "Accept-Encoding"));
        if gzip {
            response.add_header(header("Content-Encoding", "gzip"));
        }
    }
    if content.code == 503 {
        response.add_header(header("Retry-After", "1"));
        // Else a page that renews itself would end with this.
        response.add_header(header("Refresh", "1"));
    }
    if content.code == 405 {
        response.add_header(header("Allow", "GET, HEAD"));
    }
    let mut head = Vec::new();
    response.raw_print(&mut head, version, &[], true, None)?;
    if !goes_on {
        // `tiny_http` takes no such header: it would write it itself.
        head.truncate(head.len() - b"\r\n".len());
        head.extend(b"Connection: close\r\n\r\n");
    }
    Ok(head)
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("the header is ASCII")
}

/// The path of a request's target, which may be a whole URL (RFC 9112, 3.2.2) and have a query.
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

/// The query of a request's target, without its `?`.
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
    fn targets() {
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
    fn queries() {
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
        let site = Site {
            questions: Questions::new().0,
            publication: Arc::clone(&publication),
            telemetry: Telemetry::new(),
            texts: Texts::default(),
            pages: Pages::default(),
        };
        let content = |method: &str, target: &str, gzip| {
            let method = method.parse().unwrap();
            site.content(&method, target, "web-1", gzip, publication.get())
        };
        let code = |method, target| content(method, target, false).code;
        assert_eq!(code("GET", "/-/ready"), 503);
        assert_eq!(code("GET", "/metrics"), 200);
        publication.set(Published {
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
        // What shows new workloads as 0 is reported as shown when it is taken.
        let shown: Arc<AtomicU64> = Arc::default();
        let calls = Arc::clone(&shown);
        publication.on_shown(move |revision| calls.store(revision, Ordering::Relaxed));
        publication.set(Published {
            unshown: Some(7),
            ..publication.get()
        });
        for (method, target, want) in [
            ("HEAD", "/metrics", 0),
            ("POST", "/metrics", 0),
            ("GET", "/", 0),
            ("GET", "/metrics", 7),
        ] {
            code(method, target);
            assert_eq!(shown.load(Ordering::Relaxed), want, "{method} {target}");
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
            let mut bytes = content.start;
            for segment in content.text.expect("a text").segments() {
                bytes.extend(segment.bytes(gzip));
            }
            bytes.extend(content.end);
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
