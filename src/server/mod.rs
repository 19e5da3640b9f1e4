//! The HTTP side: who asks gets what was published last.

mod backend;
mod connections;
mod gate;
mod request;
mod texts;

use std::io::{self, Cursor, Read};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use jiff::Timestamp;
use tiny_http::{Header, Method, Request, Response, StatusCode};

use crate::gzip;
use crate::page;
use crate::publication::Publication;
use crate::telemetry::Telemetry;

use backend::Backend;
use gate::Gate;
use texts::Texts;

/// An answer takes a few KB, but the compressor's state is made on the stack, which takes over 256 KB
/// of it in a program that is not optimised.
const STACK: usize = 1024 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// What answers are made of.
struct Site {
    publication: Arc<Publication>,
    telemetry: Telemetry,
    texts: Arc<Texts>,
}

/// Answers on threads of its own, for as long as the process lives. The two that must not end are
/// started by `spawn`.
///
/// # Errors
/// If `tiny_http` or a thread cannot be started.
pub fn start(
    listener: TcpListener,
    publication: &Arc<Publication>,
    telemetry: &Telemetry,
    spawn: impl Fn(&'static str, Box<dyn FnOnce() + Send>) -> io::Result<()>,
) -> io::Result<()> {
    let backend = Arc::new(Backend::start()?);
    let gate = Gate::new(listener, Arc::clone(&backend), telemetry.clone());
    let site = Arc::new(Site {
        publication: Arc::clone(publication),
        telemetry: telemetry.clone(),
        texts: Arc::default(),
    });
    let answer = move || {
        loop {
            answer_next(&backend, &site);
        }
    };
    spawn("server", Box::new(answer))?;
    spawn("gate", Box::new(|| gate.run()))
}

/// Answers the next request, on a thread of its own: a client that takes its answer slowly keeps
/// nobody waiting. Where there is no thread to be had, this one answers.
fn answer_next(backend: &Backend, site: &Arc<Site>) {
    let request = Arc::new(Mutex::new(Some(backend.receive())));
    let run = {
        let request = Arc::clone(&request);
        let site = Arc::clone(site);
        move || respond_to(&request, &site)
    };
    let thread = thread::Builder::new().name("answer".into());
    if let Err(error) = thread.stack_size(STACK).spawn(run) {
        log::debug!("no thread for an answer: {error}");
        respond_to(&request, site);
    }
}

/// Answers the request, if nobody has.
fn respond_to(request: &Mutex<Option<Request>>, site: &Site) {
    let request = request
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(request) = request {
        respond(request, site);
    }
}

fn respond(request: Request, site: &Site) {
    let gzip = request
        .headers()
        .iter()
        .any(|it| it.field.equiv("Accept-Encoding"));
    let answer = answer(request.method(), request.url(), gzip, site);
    site.telemetry.answered(answer.code);
    let mut response = Response::new(
        StatusCode(answer.code),
        vec![
            header("Content-Type", answer.content_type),
            header("X-Content-Type-Options", "nosniff"),
        ],
        answer.body,
        Some(answer.length),
        None,
    )
    .with_chunked_threshold(usize::MAX); // The length is known, so say it.
    if answer.content_type == HTML {
        response.add_header(header("Content-Security-Policy", page::POLICY));
        response.add_header(header("Referrer-Policy", "no-referrer"));
        response.add_header(header("Cache-Control", "no-store"));
    }
    if answer.content_type == METRICS {
        response.add_header(header("Vary", "Accept-Encoding"));
        if gzip {
            response.add_header(header("Content-Encoding", "gzip"));
        }
    }
    if answer.code == 405 {
        response.add_header(header("Allow", "GET, HEAD"));
    }
    if let Err(error) = request.respond(response) {
        log::debug!("a client left before its answer: {error}");
    }
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("the header is ASCII")
}

struct Answer {
    code: u16,
    content_type: &'static str,
    body: Box<dyn Read + Send>,
    length: usize,
}

impl Answer {
    fn text(
        code: u16,
        content_type: &'static str,
        text: impl AsRef<[u8]> + Send + 'static,
    ) -> Self {
        Self {
            code,
            content_type,
            length: text.as_ref().len(),
            body: Box::new(Cursor::new(text)),
        }
    }
}

/// The answer to a request; `gzip`: the client takes what is compressed.
fn answer(method: &Method, url: &str, gzip: bool, site: &Site) -> Answer {
    let known = matches!(path(url), "/metrics" | "/" | "/-/healthy" | "/-/ready");
    if !known {
        return Answer::text(404, TEXT, "not found; / has the links\n");
    }
    if !matches!(method, Method::Get | Method::Head) {
        return Answer::text(405, TEXT, "only GET and HEAD are answered\n");
    }
    match path(url) {
        "/metrics" => {
            let own = site.telemetry.render() + &site.telemetry.render_process();
            metrics(own, gzip, site)
        }
        "/-/healthy" => Answer::text(200, TEXT, "healthy\n"),
        "/-/ready" if site.publication.get().ready => Answer::text(200, TEXT, "ready\n"),
        "/-/ready" => Answer::text(503, TEXT, "not ready: no collection has worked yet\n"),
        _ => {
            let snapshot = site.publication.get().page;
            let only_failures = has_parameter(url, "failures");
            let page = page::render(&snapshot, only_failures, Timestamp::now());
            Answer::text(200, HTML, page)
        }
    }
}

/// What is published, shared by all who take it, and then the exporter's own metrics.
fn metrics(own: String, gzip: bool, site: &Site) -> Answer {
    let text = site.publication.get().text;
    let (length, body): (usize, Box<dyn Read + Send>) = if gzip {
        let end = text.gzip_end(own.as_bytes());
        let length = gzip::HEADER.len() + text.length(true) + end.len();
        let text = site.texts.read(text, true);
        let body = gzip::HEADER.chain(text).chain(Cursor::new(end));
        (length, Box::new(body))
    } else {
        let length = text.length(false) + own.len();
        let text = site.texts.read(text, false);
        (length, Box::new(text.chain(Cursor::new(own))))
    };
    Answer {
        code: 200,
        content_type: METRICS,
        body,
        length,
    }
}

/// The path of a request's target, which may be a whole URL (RFC 9112, 3.2.2) and have a query.
fn path(target: &str) -> &str {
    let rest = ["http://", "https://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(scheme));
    let target = match rest {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// Whether the query of a request's target has this parameter, whatever its value.
fn has_parameter(target: &str, name: &str) -> bool {
    let target = target.split('#').next().unwrap_or_default();
    let (_, query) = target.split_once('?').unwrap_or_default();
    query
        .split('&')
        .any(|it| it.split('=').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publication::Published;

    #[test]
    fn targets() {
        for (target, want) in [
            ("/metrics", "/metrics"),
            ("/metrics?name[]=x", "/metrics"),
            ("http://host:9090/metrics", "/metrics"),
            ("http://host", "/"),
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
    fn parameters() {
        for (target, want) in [
            ("/", false),
            ("/?", false),
            ("/?failures", true),
            ("/?failures=", true),
            ("/?a=b&failures=1", true),
            ("http://host/?failures#top", true),
            ("/#?failures", false),
            ("/?failuresx", false),
            ("/?a=failures", false),
            ("/failures", false),
        ] {
            assert_eq!(has_parameter(target, "failures"), want, "{target}");
        }
    }

    #[test]
    fn answers() {
        let site = Site {
            publication: Arc::default(),
            telemetry: Telemetry::new(),
            texts: Arc::default(),
        };
        let code = |method: &str, url: &str| {
            let method = method.parse().unwrap();
            answer(&method, url, false, &site).code
        };
        assert_eq!(code("GET", "/-/ready"), 503);
        assert_eq!(code("GET", "/metrics"), 200);
        site.publication.set(Published {
            text: Arc::new("a 1\n".to_owned().into()),
            ready: true,
            ..Published::default()
        });
        for (method, url, want) in [
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
            assert_eq!(code(method, url), want, "{method} {url}");
        }
        for gzip in [false, true] {
            let mut answer = answer(&Method::Get, "/metrics", gzip, &site);
            let mut bytes = Vec::new();
            answer.body.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len(), answer.length);
            let mut body = String::new();
            if gzip {
                let mut plain = flate2::read::GzDecoder::new(&bytes[..]);
                plain.read_to_string(&mut body).unwrap();
            } else {
                body = String::from_utf8(bytes).unwrap();
            }
            assert!(body.starts_with("a 1\n"), "{body}");
            assert!(body.contains("\nprocess_resident_memory_bytes "), "{body}");
        }
    }
}
