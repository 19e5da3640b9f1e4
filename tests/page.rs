//! The page at `/` of the built program: what it shows, whatever Docker and its containers are like.

#[allow(dead_code)] // Shared with other tests, which use other parts of it.
#[path = "support/container.rs"]
mod container;
#[allow(dead_code)]
#[path = "support/exporter.rs"]
mod exporter;
#[allow(dead_code)]
#[path = "support/fake_engine.rs"]
mod fake_engine;
#[allow(dead_code)]
#[path = "support/metrics.rs"]
mod metrics;
#[allow(dead_code)]
#[path = "support/page.rs"]
mod page;
#[allow(dead_code)]
#[path = "support/waiting.rs"]
mod waiting;

use std::time::{Duration, Instant};

use jiff::SignedDuration;

use container::Container;
use exporter::{Exporter, Scraped, is_down, is_up};
use fake_engine::{Answer, FakeEngine};
use page::{HOSTILE, ask, hostile, page, until};
use waiting::quickest;

#[test]
fn it_shows_the_host_and_its_exits_the_newest_first() {
    let engine = FakeEngine::start();
    let ended = |number, name: &str, code, seconds| {
        let mut container = Container::exited(number, name, code);
        let at = container.finished_at.unwrap() - SignedDuration::from_secs(seconds);
        container.finished_at = Some(at);
        container.started_at = Some(at - SignedDuration::from_secs(75));
        container
    };
    engine.put(ended(1, "older", 0, 3600).label("com.docker.swarm.service.name", "api_web"));
    engine.put(
        ended(2, "newer", 137, 180)
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", "db"),
    );
    engine.put(ended(3, "oldest", 1, 90_000));
    engine.put(Container::running(4, "running"));
    let exporter = Exporter::start(&engine.address());
    let page = until(&exporter, "/", "api_web");
    let places = ["newer", "older", "oldest"].map(|name| page.find(&format!("<bdi>{name}</bdi>")));
    assert!(
        places.is_sorted() && places.iter().all(Option::is_some),
        "{page}"
    );
    for want in [
        concat!("docker-exit-exporter ", env!("CARGO_PKG_VERSION")),
        "Docker 28.5.2 answers",
        "<dt>running</dt><dd>1</dd>",
        "<dt>exited</dt><dd>3</dd>",
        "<dt>failed</dt><dd>2</dd>",
        "<bdi>shop/db</bdi>",
        "<bdi>busybox</bdi>",
        "<b>137</b> SIGKILL</td><td class=\"reason\">signaled</td>",
        "3 minutes ago</time>",
        "1 hour ago</time>",
        "<td class=\"ran\">1 min 15 s</td>",
        "href=\"./metrics\"",
        "href=\"./-/healthy\"",
        "href=\"./-/ready\"",
    ] {
        assert!(page.contains(want), "{want}\n{page}");
    }
    assert!(!page.contains("<bdi>running</bdi>"), "{page}");

    let failures = until(&exporter, "/?failures", "oldest");
    assert!(!failures.contains("<bdi>older</bdi>"), "{failures}");
    assert!(failures.contains("<bdi>newer</bdi>"), "{failures}");
}

#[test]
fn it_follows_what_becomes_of_a_container() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    until(&exporter, "/", "No container has exited.");
    until(&exporter, "/?failures", "No exit with a code other than 0.");
    exporter.until("events", |metrics| {
        let up = metrics.value("docker_exit_exporter_event_stream_up", &[]);
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    });
    let worker = Container::running(1, "worker");
    engine.run(&worker);
    engine.end(&worker, 3);
    until(&exporter, "/", "<bdi>worker</bdi></td>");
    let again = worker.start();
    engine.put(again.clone());
    engine.happen("start", &again, &[]);
    until(
        &exporter,
        "/",
        "<bdi>worker</bdi> <small class=\"again\">runs again</small>",
    );
    engine.end(&again, 0);
    engine.destroy(&again);
    until(&exporter, "/", "<bdi>worker</bdi> <small>removed</small>");
}

#[test]
fn text_of_containers_is_text() {
    let engine = FakeEngine::start();
    for container in hostile() {
        engine.put(container);
    }
    let exporter = Exporter::start(&engine.address());
    let page = until(&exporter, "/", "&lt;script&gt;");
    for bad in [
        "<script",
        "<img",
        "<b>bold",
        "\r",
        "\0",
        "\u{202e}",
        "javascript:\"",
    ] {
        assert!(!page.contains(bad), "{bad:?} in {page}");
    }
    let rows = page.matches("<td class=\"name\">").count();
    assert_eq!(rows, HOSTILE.len() + 2);
    assert_eq!(page.matches("</td>").count(), 7 * rows);
    assert!(
        page.contains("&#39;&quot;&gt;&lt;/bdi&gt;&lt;/td&gt;"),
        "{page}"
    );
    assert!(page.contains("gnp.\\u{202e}evil"), "{page}");
    // The longest is cut, and the page stays small.
    assert!(page.len() < 40_000, "{}", page.len());
}

#[test]
fn an_outage_is_seen_and_says_since_when() {
    let engine = FakeEngine::start();
    engine.answer_listing(Answer::forbidden());
    let exporter = Exporter::start(&engine.address());
    exporter.until("the outage", is_down);
    let page = until(&exporter, "/", "Docker cannot be read");
    assert!(
        page.contains("Nothing is known of its containers yet."),
        "{page}"
    );
    assert!(page.contains("was answered with 403"), "{page}");
    engine.put(Container::exited(1, "web", 3));
    engine.answer_listing(engine.listing());
    exporter.until("a listing", is_up);
    let page = until(&exporter, "/", "<bdi>web</bdi>");
    assert!(!page.contains("cannot be read"), "{page}");
    engine.go_down();
    exporter.until("another outage", is_down);
    let page = until(&exporter, "/", "Docker cannot be read");
    for want in [
        "<title>Docker is down",
        "no Docker socket at",
        "Its containers were last listed at 2",
        "<bdi>web</bdi>",
    ] {
        assert!(page.contains(want), "{want}\n{page}");
    }
}

#[test]
fn an_engine_that_says_nothing_is_waited_for() {
    let engine = FakeEngine::start();
    engine.answer_listing(Answer::Silence);
    let exporter = Exporter::start(&engine.address());
    let page = until(&exporter, "/", "was not asked yet");
    assert!(!page.contains("cannot be read"), "{page}");
}

#[test]
fn its_head_lets_a_browser_do_nothing_but_show_it() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    until(&exporter, "/", "No container has exited.");
    for request in ["GET /", "HEAD /", "GET /?failures", "GET http://x/?a"] {
        let (head, body) = ask(exporter.port(), request);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{request}: {head}");
        for want in [
            "Content-Type: text/html; charset=utf-8",
            "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Cache-Control: no-store",
            "Content-Length: ",
        ] {
            assert!(head.contains(want), "{request} lacks {want}: {head}");
        }
        assert_eq!(body.is_empty(), request.starts_with("HEAD"), "{request}");
        assert!(!head.contains("unsafe"), "{head}");
    }
    let (head, _) = ask(exporter.port(), "GET /metrics");
    assert!(head.contains("X-Content-Type-Options: nosniff"), "{head}");
    assert!(!head.contains("Content-Security-Policy"), "{head}");
    let (head, _) = ask(exporter.port(), "POST /");
    assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
}

#[test]
fn a_page_of_many_containers_is_short_and_made_in_no_time() {
    let engine = FakeEngine::start();
    for number in 0..2000 {
        let name = format!("job-{number}");
        engine.put(Container::exited(number, &name, i64::from(number % 2 == 0)));
    }
    let exporter = Exporter::start(&engine.address());
    let shown = until(&exporter, "/", "1700 older exits are not shown");
    assert_eq!(shown.matches("<td class=\"name\">").count(), 300);
    let shown = until(&exporter, "/?failures", "700 older exits are not shown");
    assert_eq!(shown.matches("<b>1</b> error").count(), 300);
    assert!(shown.len() < 150_000, "{}", shown.len());
    let no_time = Duration::from_secs(1);
    let took = quickest(no_time, || {
        let start = Instant::now();
        for _ in 0..20 {
            page(&exporter, "/");
        }
        start.elapsed() / 20
    });
    assert!(took <= no_time, "{took:?}");
}
