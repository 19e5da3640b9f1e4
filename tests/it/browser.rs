//! The page at `/` as a browser shows it. They take Chromium (Debian: `chromium`):
//!
//! ```text
//! cargo test --test it browser:: -- --ignored
//! ```

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use test_support::container::Container;
use test_support::fake_engine::FakeEngine;

use crate::support::browser::{Scheme, run};
use crate::support::exporter::{Exporter, Scraped, is_down};
use crate::support::page::{HOSTILE, hostile, until};

/// Why a start failed, in Docker's words.
const NO_FILE: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
    runc create failed: unable to start container process: error during container init: exec: \
    \"/usr/local/bin/serve\": stat /usr/local/bin/serve: no such file or directory";

/// A host with so many exits, some of each kind that the page knows, and its exporter.
fn host(exits: u32) -> (FakeEngine, Exporter) {
    let engine = FakeEngine::start();
    let codes = [1, 0, 137, 0, 143, 0, 127, 0].into_iter().cycle();
    let services = ["web", "api", "db"].into_iter().cycle();
    for (number, (code, service)) in (1..=exits).zip(codes.zip(services)) {
        let name = format!("shop-{service}-{number}");
        let mut container = Container::exited(number.into(), &name, code)
            .label("com.docker.compose.project", "shop")
            .label("com.docker.compose.service", service);
        container.id = format!("{number:012x}{:052}", 0);
        let ended = Timestamp::now() - SignedDuration::from_secs(600 * i64::from(number));
        container.made_at = ended.as_second();
        container.finished_at = Some(ended);
        container.started_at = Some(ended - SignedDuration::from_secs(7 * i64::from(number)));
        container.image = format!(
            "registry.example.com/shop/{service}:2026.11.{}",
            number % 30
        );
        if code == 127 {
            container.state = "created";
            (container.started_at, container.finished_at) = (None, None);
            container.error = NO_FILE.into();
        }
        engine.put(container);
    }
    let exporter = Exporter::start(&engine.address());
    until(&exporter, "/", &format!("all <b>{exits}</b>"));
    (engine, exporter)
}

/// A host whose containers mean ill, and its exporter.
fn hostile_host() -> (FakeEngine, Exporter) {
    let engine = FakeEngine::start();
    for container in hostile() {
        engine.put(container);
    }
    let exporter = Exporter::start(&engine.address());
    until(&exporter, "/", "all <b>9</b>");
    (engine, exporter)
}

/// Documents of this path at each width that must not scroll sideways, measured: `[width, needed, title]`.
fn measure(path: &str) -> String {
    format!(
        "const found = [];
        for (const width of [320, 375, 768, 1024, 1250, 1280, 1920]) {{
            const frame = await open('{path}', width);
            const document = frame.contentDocument;
            for (const it of document.querySelectorAll('details')) it.open = true;
            const wide = [...document.querySelectorAll('body *')].find(it =>
                it.getBoundingClientRect().right > width + 1 && !it.closest('thead'));
            found.push([width, document.documentElement.scrollWidth,
                wide ? wide.outerHTML.slice(0, 200) : '']);
            frame.remove();
        }}
        return found;"
    )
}

fn assert_fits(exporter: &Exporter, path: &str) {
    let (found, complaints) = run(exporter, Scheme::Light, &measure(path));
    assert_eq!(complaints, "", "a style or an icon that the policy refuses");
    let found = found.as_array().unwrap_or_else(|| panic!("{found}"));
    assert_eq!(found.len(), 7);
    for one in found {
        assert!(one[1].as_u64() <= one[0].as_u64(), "{one}");
        assert_eq!(one[2], "", "{one}");
    }
}

/// The contrast of the text that stands out least, with its element.
const CONTRAST: &str = "
    const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
    const light = colour => {
        const [red, green, blue] = numbers(colour).map(it => it / 255)
            .map(it => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = it => {
        const colour = getComputedStyle(it).backgroundColor;
        return numbers(colour)[3] === 0 ? behind(it.parentElement) : colour;
    };
    const frame = await open('/?open=000000000001&refresh=off', 1280);
    let least = [99, ''];
    for (const it of frame.contentDocument.querySelectorAll('body *')) {
        if (![...it.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
        const [one, two] = [light(getComputedStyle(it).color), light(behind(it))];
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (contrast < least[0]) least = [contrast, it.outerHTML.slice(0, 200)];
    }
    return [least, getComputedStyle(frame.contentDocument.body).backgroundColor];";

#[test]
#[ignore = "takes Chromium"]
fn it_never_scrolls_sideways() {
    for exits in [0, 3, 300] {
        let (_engine, exporter) = host(exits);
        assert_fits(&exporter, "/?refresh=off");
    }
    let (engine, exporter) = host(10_000);
    assert_fits(&exporter, "/?refresh=off&page=3");
    engine.go_down();
    exporter.until("an outage", is_down);
    assert_fits(&exporter, "/?refresh=off");
    let (_engine, exporter) = hostile_host();
    assert_fits(&exporter, "/?refresh=off&q=w");
    assert_fits(&exporter, "/?refresh=off&q=%3Cb%3E&service=&page=1");
}

#[test]
#[ignore = "takes Chromium"]
fn all_text_stands_out_in_both_schemes() {
    let (_engine, exporter) = host(16);
    let mut pages = Vec::new();
    for scheme in [Scheme::Light, Scheme::Dark] {
        let (found, _) = run(&exporter, scheme, CONTRAST);
        assert!(found[0][0].as_f64() >= Some(4.5), "{scheme:?}: {found}");
        pages.push(found[1].clone());
    }
    assert_ne!(pages[0], pages[1], "they are two schemes");
}

#[test]
#[ignore = "takes Chromium"]
fn a_reader_finds_what_is_down_and_opens_it() {
    let (_engine, exporter) = host(300);
    let (found, _) = run(
        &exporter,
        Scheme::Light,
        "const frame = await open('/', 1280);
        const page = frame.contentDocument;
        const size = it => parseFloat(getComputedStyle(it).fontSize);
        const texts = [...page.querySelectorAll('body *')];
        const row = page.querySelector('summary');
        const before = row.nextElementSibling.checkVisibility();
        row.click();
        const large = texts.sort((a, b) => size(b) - size(a))[0].textContent;
        const levels = [...page.querySelectorAll('h1, h2, h3')].map(it => it.tagName).join(' ');
        return [page.title, large, levels, page.querySelectorAll('summary').length,
            page.querySelectorAll('#history tbody th[scope=row]').length, before,
            row.nextElementSibling.checkVisibility(),
            page.querySelector('pre').innerText, page.querySelectorAll('main').length];",
    );
    let title = found[0].as_str().unwrap_or_else(|| panic!("{found}"));
    assert!(title.starts_with("150 down · "), "{title}");
    assert_eq!(found[1], "150 down", "{found}");
    assert_eq!(found[2], "H1 H2 H2");
    assert_eq!(
        (&found[3], &found[4]),
        (&json!(100), &json!(100)),
        "{found}"
    );
    assert_eq!(
        (&found[5], &found[6]),
        (&json!(false), &json!(true)),
        "{found}"
    );
    // Of the 100 that went down last, the one that is down for the longest comes first.
    assert_eq!(found[7], "docker logs --tail 100 shop-web-199");
    assert_eq!(found[8], 1);
}

#[test]
#[ignore = "takes Chromium"]
fn the_form_and_the_links_work_without_a_script() {
    let (_engine, exporter) = host(300);
    let (found, complaints) = run(
        &exporter,
        Scheme::Light,
        "const frame = await open('/?refresh=off', 1280);
        const found = [];
        const note = () => found.push([frame.contentWindow.location.search,
            frame.contentDocument.querySelectorAll('#history tbody th[scope=row]').length,
            frame.contentDocument.querySelector('[name=q]').value]);
        const page = () => frame.contentDocument;
        const follow = async act => { const done = loaded(frame); act(); await done; note(); };
        page().querySelector('[name=q]').value = 'api-29';
        page().querySelector('[name=service]').value = 'shop/api';
        page().querySelector('[name=failures]').checked = true;
        await follow(() => page().querySelector('form button').click());
        await follow(() => page().querySelector('form a').click());
        await follow(() => page().querySelector('[aria-label=\"Pages of the history\"] a:last-child').click());
        await follow(() => page().querySelector('#history td.service a').click());
        await follow(() => page().querySelector('.renewal a').click());
        return found;",
    );
    assert_eq!(complaints, "");
    let want: Value = json!([
        [
            "?q=api-29&service=shop%2Fapi&reason=&failures=1&refresh=off",
            3,
            "api-29"
        ],
        ["?refresh=off", 100, ""],
        ["?page=3&refresh=off", 100, ""],
        ["?service=shop%2Fdb&refresh=off", 100, ""],
        ["?service=shop%2Fdb", 100, ""],
    ]);
    assert_eq!(found, want);
}

#[test]
#[ignore = "takes Chromium"]
fn hostile_text_is_text() {
    let (_engine, exporter) = hostile_host();
    let (found, complaints) = run(
        &exporter,
        Scheme::Light,
        "const frame = await open('/?open=000000000001&refresh=off', 1280);
        const page = frame.contentDocument;
        const texts = selector => [...page.querySelectorAll(selector)].map(it => it.textContent);
        const links = [...page.querySelectorAll('td.service a')].map(it =>
            new URL(it.href).searchParams.get('service'));
        return [page.title, page.scripts.length + page.images.length, page.querySelectorAll('table').length,
            texts('#history .name bdi'), texts('td.service'), texts('td.image'), links];",
    );
    assert_eq!(complaints, "", "a style or an icon that the policy refuses");
    assert_eq!(
        found[0].as_str().unwrap().split(" · ").next(),
        Some("9 down")
    );
    assert_eq!((&found[1], &found[2]), (&json!(0), &json!(1)), "{found}");
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
    let names: Vec<_> = want.iter().map(|it| it.replace('/', "|")).collect();
    assert_eq!(found[3], json!(names));
    for place in [4, 5, 6] {
        assert_eq!(found[place], json!(want), "{place}");
    }
    // It asks for nothing else, not for an icon either.
    exporter.until("answers by code", |metrics| {
        let missed = [("code", "404")];
        let missed = metrics.value("docker_exit_exporter_http_requests_total", &missed);
        (missed.unwrap_or_default() == 0.0)
            .then_some(())
            .ok_or(format!("{missed:?}"))
    });
}
