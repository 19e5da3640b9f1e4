//! The page at `/`, and containers that mean it ill.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::exporter::{Exporter, Scraped};
use super::waiting::{PATIENCE, eventually};
use test_support::container::Container;

/// Names, images and services that must not be more than text.
pub(crate) const HOSTILE: [&str; 7] = [
    "<script>document.title='pwned'</script>",
    "'\"></bdi></td></tr></table><img src=x onerror=alert(1)>",
    "</style></title><script>alert(1)</script>",
    "&lt;b&gt;<b>bold</b>&amp;",
    "gnp.\u{202e}evil\u{2066}",
    "a\r\n\r\nHTTP/1.1 200 OK\r\n\0\u{85}\u{7f}",
    "javascript:alert(1)//{{7*7}}<!--",
];

/// Containers that are called so, and one whose texts are very long. The first ended first.
pub(crate) fn hostile() -> Vec<Container> {
    let mut all = Vec::new();
    let letters = "w".repeat(500);
    let tags = "<b>".repeat(160);
    for (number, text) in (1..).zip(HOSTILE.into_iter().chain([&*letters, &*tags])) {
        // What has a slash in it is the name of a link, not of a container.
        let mut container = Container::exited(number, &text.replace('/', "|"), 1)
            .label("com.docker.swarm.service.name", text)
            .label(text, text);
        text.clone_into(&mut container.image);
        container.id = format!("{number:012x}{:052}", 0);
        all.push(container);
    }
    all
}

/// A request's line without its version; the answer's head and body.
pub(crate) fn ask(port: u16, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

/// The page at this path.
pub(crate) fn page(exporter: &Exporter, path: &str) -> String {
    ask(exporter.port(), &format!("GET {path}")).1
}

/// The page as soon as this is in it.
pub(crate) fn until(exporter: &Exporter, path: &str, want: &str) -> String {
    exporter.until("an answer", |_| Ok(()));
    let found = eventually(PATIENCE, || {
        let page = page(exporter, path);
        if page.contains(want) {
            Ok(page)
        } else {
            Err(page)
        }
    });
    found.unwrap_or_else(|page| panic!("no {want} in {page}\n{}", exporter.said()))
}
