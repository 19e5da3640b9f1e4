//! The HTTP side: who asks gets what was published last.

mod backend;
mod connections;
mod gate;
mod request;
mod texts;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use jiff::Timestamp;
use tiny_http::{Header, Method, Request, Response, StatusCode};

use crate::exposition::{Text, gzip};
use crate::page;
use crate::publication::Publication;
use crate::telemetry::Telemetry;

use backend::Backend;
use gate::Gate;
use texts::{Reader, Texts};

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
    let site = Site {
        publication: Arc::clone(publication),
        telemetry: telemetry.clone(),
        texts: Arc::default(),
    };
    let gate = Gate::new(listener, Arc::clone(&backend), site);
    spawn("server", Box::new(move || backend.run()))?;
    spawn("gate", Box::new(|| gate.run()))
}

/// What a client gets: all of `start`, of the text if there is one, and of `end`.
#[derive(Default)]
struct Answer {
    start: Vec<u8>,
    text: Option<Reader>,
    end: Vec<u8>,
}

impl Site {
    /// Answers a request; `gzip`: the client takes what is compressed.
    fn answer(&self, request: &Request, gzip: bool) -> io::Result<Answer> {
        let content = content(request.method(), request.url(), gzip, self);
        self.telemetry.answered(content.code);
        let mut start = head(request, &content, gzip)?;
        let mut answer = match request.method() {
            Method::Head => Answer::default(),
            _ => content.body,
        };
        start.append(&mut answer.start);
        answer.start = start;
        Ok(answer)
    }
}

/// The head of an answer, as `tiny_http` writes it.
fn head(request: &Request, content: &Content, gzip: bool) -> io::Result<Vec<u8>> {
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
    if content.kind == METRICS {
        response.add_header(header("Vary", "Accept-Encoding"));
        if gzip {
            response.add_header(header("Content-Encoding", "gzip"));
        }
    }
    if content.code == 405 {
        response.add_header(header("Allow", "GET, HEAD"));
    }
    let mut head = Vec::new();
    let version = request.http_version().clone();
    response.raw_print(&mut head, version, &[], true, None)?;
    Ok(head)
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("the header is ASCII")
}

/// What an answer is about; the head is not yet there.
struct Content {
    code: u16,
    kind: &'static str,
    body: Answer,
    length: usize,
}

impl Content {
    fn text(code: u16, kind: &'static str, text: impl Into<Vec<u8>>) -> Self {
        let start = text.into();
        Self {
            code,
            kind,
            length: start.len(),
            body: Answer {
                start,
                ..Answer::default()
            },
        }
    }
}

/// What a request is answered with; `gzip`: the client takes what is compressed.
fn content(method: &Method, url: &str, gzip: bool, site: &Site) -> Content {
    let known = matches!(path(url), "/metrics" | "/" | "/-/healthy" | "/-/ready");
    if !known {
        return Content::text(404, TEXT, "not found; / has the links\n");
    }
    if !matches!(method, Method::Get | Method::Head) {
        return Content::text(405, TEXT, "only GET and HEAD are answered\n");
    }
    match path(url) {
        "/metrics" => {
            let own = site.telemetry.render() + &site.telemetry.render_process();
            let published = site.publication.get();
            if *method == Method::Get {
                site.publication.taken(&published);
            }
            metrics(published.text, own, gzip, site)
        }
        "/-/healthy" => Content::text(200, TEXT, "healthy\n"),
        "/-/ready" if site.publication.get().ready => Content::text(200, TEXT, "ready\n"),
        "/-/ready" => Content::text(503, TEXT, "not ready: no collection has worked yet\n"),
        _ => {
            let snapshot = site.publication.get().page;
            let only_failures = has_parameter(url, "failures");
            let page = page::render(&snapshot, only_failures, Timestamp::now());
            Content::text(200, HTML, page)
        }
    }
}

/// What is published, shared by all who take it, and then the exporter's own metrics.
fn metrics(text: Arc<Text>, own: String, gzip: bool, site: &Site) -> Content {
    let (start, end) = if gzip {
        (gzip::HEADER.to_vec(), text.gzip_end(own.as_bytes()))
    } else {
        (Vec::new(), own.into_bytes())
    };
    Content {
        code: 200,
        kind: METRICS,
        length: start.len() + text.length(gzip) + end.len(),
        body: Answer {
            start,
            text: Some(site.texts.read(text, gzip)),
            end,
        },
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
    use std::io::Read;
    use std::sync::atomic::{AtomicU64, Ordering};

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
            content(&method, url, false, &site).code
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
        // What shows new workloads as 0 is reported as shown when it is taken.
        let shown: Arc<AtomicU64> = Arc::default();
        let calls = Arc::clone(&shown);
        site.publication
            .on_shown(move |revision| calls.store(revision, Ordering::Relaxed));
        site.publication.set(Published {
            unshown: Some(7),
            ..site.publication.get()
        });
        for (method, url, want) in [
            ("HEAD", "/metrics", 0),
            ("POST", "/metrics", 0),
            ("GET", "/", 0),
            ("GET", "/metrics", 7),
        ] {
            code(method, url);
            assert_eq!(shown.load(Ordering::Relaxed), want, "{method} {url}");
        }
        for gzip in [false, true] {
            let content = content(&Method::Get, "/metrics", gzip, &site);
            let mut bytes = content.body.start;
            let mut text = content.body.text.expect("a text");
            text.read_to_end(&mut bytes).unwrap();
            bytes.extend(content.body.end);
            assert_eq!(bytes.len(), content.length);
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
