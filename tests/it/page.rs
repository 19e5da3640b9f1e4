//! The page at `/` of the built program: what it shows, whatever Docker and its containers are like.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use test_support::container::Container;
use test_support::fake_engine::{Answer, FakeEngine};

use crate::support::exporter::{Exporter, Scraped, is_down, is_up};
use crate::support::page::{HOSTILE, ask, hostile, page, until};
use crate::support::waiting::quickest;

#[test]
fn it_says_what_is_down_and_then_all_exits_the_newest_first() {
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
    let mut unstarted = Container::created(4, "unstarted");
    unstarted.code = 127;
    unstarted.error = "exec: \"serve\": not found".to_owned();
    engine.put(unstarted);
    engine.put(Container::running(5, "running"));
    let exporter = Exporter::start(&engine.address());
    let page = until(&exporter, "/", "unstarted");
    let (down, history) = page.split_once("<h2>History").unwrap();
    let in_order = |page: &str, names: &[&str]| {
        let places = names
            .iter()
            .map(|name| page.find(&format!("<bdi>{name}</bdi>")));
        let places: Vec<_> = places.collect();
        assert!(
            places.is_sorted() && places.iter().all(Option::is_some),
            "{page}"
        );
    };
    in_order(down, &["unstarted", "oldest", "newer"]);
    in_order(history, &["newer", "older", "oldest"]);
    for want in [
        concat!("docker-exit-exporter ", env!("CARGO_PKG_VERSION")),
        "<title>3 down · x</title>",
        "Docker 28.5.2 answers, watched since 2",
        "<dt>running</dt><dd>1</dd>",
        "<dt>exited</dt><dd>3</dd>",
        "<bdi>shop/db</bdi></a> 3 minutes ago: signaled, SIGKILL.",
        "<b>127</b> start failed, command not found",
        "<span class=\"error\">exec: &quot;serve&quot;: not found</span>",
        "<code>docker logs --tail 100 newer</code>",
        "<code>container_label_com_docker_compose_service=&quot;db&quot;</code>",
        "1 hour ago</time>",
        "<td class=\"ran\">1 min 15 s</td>",
        "href=\"./metrics\"",
        "href=\"./-/healthy\"",
        "href=\"./-/ready\"",
    ] {
        assert!(page.contains(want), "{want}\n{page}");
    }
    assert!(!page.contains("<bdi>running</bdi>"), "{page}");

    let failures = until(&exporter, "/?failures&q=e", "oldest");
    assert!(!failures.contains("<bdi>older</bdi>"), "{failures}");
    assert!(failures.contains("<bdi>newer</bdi>"), "{failures}");
}

#[test]
fn it_follows_what_becomes_of_a_container() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    let page = until(&exporter, "/", "No container has exited.");
    assert!(page.contains("Nothing is down"), "{page}");
    exporter.until("events", |metrics| {
        let up = metrics.value("docker_exit_exporter_event_stream_up", &[]);
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    });
    let worker = Container::running(1, "worker");
    engine.run(&worker);
    engine.end(&worker, 3);
    until(&exporter, "/", "<title>1 down");
    let again = worker.start();
    engine.put(again.clone());
    engine.happen("start", &again, &[]);
    let page = until(&exporter, "/", "<small class=\"again\">runs again</small>");
    assert!(page.contains("<title>0 down"), "{page}");
    engine.end(&again, 0);
    engine.destroy(&again);
    until(&exporter, "/", "<small>removed</small>");
}

#[test]
fn what_fails_three_times_an_hour_is_shown_with_each_failure() {
    let engine = FakeEngine::start();
    let exporter = Exporter::start(&engine.address());
    exporter.until("events", |metrics| {
        let up = metrics.value("docker_exit_exporter_event_stream_up", &[]);
        (up == Some(1.0)).then_some(()).ok_or(format!("{up:?}"))
    });
    for number in 1..=4 {
        if number == 4 {
            until(&exporter, "/", "<h2>Again and again");
        } else {
            let page = page(&exporter, "/");
            assert!(!page.contains("<h2>Again and again"), "{page}");
        }
        let name = format!("shop_web.1.{number}");
        let task =
            Container::running(number, &name).label("com.docker.swarm.service.name", "shop_web");
        engine.run(&task);
        engine.end(&task, 3);
        engine.destroy(&task);
        until(&exporter, "/", &format!("<bdi>{name}</bdi>"));
    }
    let page = until(&exporter, "/", "4 times in ");
    let (_, again) = page.split_once("<h2>Again and again").unwrap();
    let (again, _) = again.split_once("</section>").unwrap();
    assert!(again.contains("<bdi>shop_web</bdi>"), "{again}");
    assert_eq!(
        again
            .matches("<td class=\"why\"><b>3</b> error</td>")
            .count(),
        4,
        "{again}"
    );
    // They are gone, so nothing is down.
    assert!(page.contains("Nothing is down"), "{page}");
}

#[test]
fn text_of_containers_is_text() {
    let engine = FakeEngine::start();
    for container in hostile() {
        engine.put(container);
    }
    let exporter = Exporter::start(&engine.address());
    let page = until(&exporter, "/", "all <b>9</b>");
    for bad in [
        "<script",
        "<img",
        "<b>bold",
        "\r",
        "\0",
        "\u{202e}",
        "javascript:\"",
        "href=\"javascript",
    ] {
        assert!(!page.contains(bad), "{bad:?} in {page}");
    }
    let rows = page.matches("<td class=\"image\">").count();
    assert_eq!(rows, HOSTILE.len() + 2);
    assert!(
        page.contains("&#39;&quot;&gt;&lt;/bdi&gt;&lt;/td&gt;"),
        "{page}"
    );
    assert!(page.contains("gnp.\\u{202e}evil"), "{page}");
    // The longest is cut, and the page stays small.
    assert!(page.len() < 100_000, "{}", page.len());
}

#[test]
fn an_outage_is_seen_and_says_since_when() {
    let engine = FakeEngine::start();
    engine.answer_listing(Answer::forbidden());
    let exporter = Exporter::start(&engine.address());
    exporter.until("the outage", is_down);
    let page = until(&exporter, "/", "Docker cannot be read</p>");
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
    let page = until(&exporter, "/", "<title>Docker cannot be read · ");
    for want in [
        "no Docker socket at",
        "All below is of 2",
        "Down then: 1.",
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
    assert!(!page.contains("Nothing is down"), "{page}");
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
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
            "X-Content-Type-Options: nosniff",
            "Referrer-Policy: no-referrer",
            "Cache-Control: no-store",
            "Vary: Accept-Encoding",
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
    let shown = until(&exporter, "/", "<title>1000 down");
    assert_eq!(shown.matches("<td class=\"image\">").count(), 100);
    assert!(shown.len() < 250_000, "{}", shown.len());
    let shown = until(
        &exporter,
        "/?page=20&refresh=off",
        "aria-current=\"page\">20</a>",
    );
    assert_eq!(shown.matches("<td class=\"image\">").count(), 100);
    let no_time = Duration::from_secs(1);
    let took = quickest(no_time, || {
        let start = Instant::now();
        for number in 0..20 {
            page(&exporter, &format!("/?q={number}"));
        }
        start.elapsed() / 20
    });
    assert!(took <= no_time, "{took:?}");
}
