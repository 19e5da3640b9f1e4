//! The page at `/` as a browser reads it. They take Chromium (Debian: `chromium`):
//!
//! ```text
//! cargo test --test browser -- --ignored
//! ```

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

use std::fs;
use std::process::Command;

use container::Container;
use exporter::{Exporter, Scraped};
use fake_engine::FakeEngine;
use page::{HOSTILE, hostile, until};

/// The document that a browser makes of the page, as HTML, and what it complained of.
fn open(exporter: &Exporter, path: &str) -> (String, String) {
    let port = exporter.port();
    let profile = std::env::temp_dir().join(format!("chromium-{}-{port}", std::process::id()));
    let output = Command::new("timeout")
        .args(["--kill-after=5", "60", "chromium"])
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .args(["--disable-background-networking", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()
        .expect("timeout, of coreutils");
    let _ = fs::remove_dir_all(profile);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "is chromium installed (Debian: chromium)? {}: {said}",
        output.status
    );
    let console = said.lines().filter(|line| line.contains("CONSOLE"));
    let console = console.collect::<Vec<_>>().join("\n");
    (String::from_utf8(output.stdout).unwrap(), console)
}

/// What stands in the elements of the table that have this class, without tags, as the document's
/// text is.
fn texts(document: &str, class: &str) -> Vec<String> {
    let begin = format!("<td class=\"{class}\">");
    let cells = document.split(&begin).skip(1);
    let text = |cell: &str| {
        let (cell, _) = cell.split_once("</td>").expect("an end");
        let cell = cell.replace("<bdi>", "").replace("</bdi>", "");
        let cell = cell.replace("&lt;", "<").replace("&gt;", ">");
        cell.replace("&amp;", "&")
    };
    cells.map(text).collect()
}

#[test]
#[ignore = "takes Chromium"]
fn hostile_text_is_text_and_the_newest_exit_comes_first() {
    let engine = FakeEngine::start();
    for container in hostile() {
        engine.put(container);
    }
    let exporter = Exporter::start(&engine.address());
    until(&exporter, "/", "Without code 0<b>9</b>");
    let (document, complaints) = open(&exporter, "/");
    assert_eq!(complaints, "", "a style or an icon that the policy refuses");
    for bad in ["<script", "<img", "<b>bold", "onerror=\"", "<!--"] {
        assert!(!document.contains(bad), "{bad} in {document}");
    }
    assert!(document.contains("<title>9 failed · Container exits</title>"));
    assert_eq!(document.matches("<table").count(), 1);
    assert_eq!(document.matches("<style").count(), 1);

    let spelled_out = |text: &str| {
        let text = text.replace('\r', "\\r").replace('\n', "\\n");
        let unseen = ['\0', '\u{85}', '\u{7f}', '\u{202e}', '\u{2066}'];
        unseen.into_iter().fold(text, |text, letter| {
            text.replace(letter, &letter.escape_default().to_string())
        })
    };
    // The long ones are cut.
    let long = ["<b>".repeat(53) + "<…", "w".repeat(160) + "…"];
    let short = HOSTILE.iter().rev().map(|it| spelled_out(it));
    let want: Vec<_> = long.into_iter().chain(short).collect();
    assert_eq!(texts(&document, "image"), want);
    assert_eq!(texts(&document, "service"), want);
    let names: Vec<_> = want.iter().map(|it| it.replace('/', "|")).collect();
    assert_eq!(texts(&document, "name"), names);
    // It asks for nothing else, not for an icon either.
    exporter.until("answers by code", |metrics| {
        let missed = [("code", "404")];
        let missed = metrics.value("docker_exit_exporter_http_requests_total", &missed);
        (missed.unwrap_or_default() == 0.0)
            .then_some(())
            .ok_or(format!("{missed:?}"))
    });
}

#[test]
#[ignore = "takes Chromium"]
fn code_0_is_hidden_by_a_link_that_can_be_kept() {
    let engine = FakeEngine::start();
    engine.put(Container::exited(1, "first", 1));
    engine.put(Container::exited(2, "second", 0));
    engine.put(Container::exited(3, "third", 137));
    let exporter = Exporter::start(&engine.address());
    until(&exporter, "/", "All exits<b>3</b>");
    let (all, _) = open(&exporter, "/");
    assert_eq!(texts(&all, "name"), ["third", "second", "first"]);
    assert!(all.contains("<a href=\"./?failures\">"), "{all}");
    let (failures, complaints) = open(&exporter, "/?failures");
    assert_eq!(texts(&failures, "name"), ["third", "first"]);
    assert_eq!(complaints, "");
}
