use std::collections::VecDeque;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::SignedDuration;

use super::*;
use crate::engine::RestartPolicy;
use crate::ledger::{ContainerStatus, FailingWorkload, Failure};
use crate::reason::{Reason, StopRequest};

/// 2026-11-22 10:00:55 UTC.
fn now() -> Timestamp {
    Timestamp::from_second(1_795_341_655).unwrap()
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// An exit three minutes ago. Its id begins with this number.
fn exit(number: usize, name: &str, code: i64) -> Row {
    ended(180, number, name, code)
}

/// The same, this many seconds ago.
fn ended(seconds: i64, number: usize, name: &str, code: i64) -> Row {
    Row {
        id: format!("{number:012x}{:052}", 0).into(),
        name: name.into(),
        service: "shop/web".into(),
        is_swarm: false,
        image: "nginx:1.27".into(),
        labels: r#"id="/docker/5a",container_label_a="b,\"c""#.into(),
        code,
        reason: Reason::classify(code, StopRequest::None, false),
        error: "".into(),
        created: Some(before(seconds + 600)),
        stopped_at: Some(before(seconds)),
        has_end_time: true,
        duration: Some(SignedDuration::from_millis(75_312)),
        restart_count: Some(2),
        restart_policy: Some(RestartPolicy::Always),
        status: ContainerStatus::Stopped,
        is_superseded: false,
    }
}

/// A workload with one failure a minute, the last a minute ago.
fn failing(service: &str, image: &str, code: i64, count: u32) -> Arc<FailingWorkload> {
    let minute = |number: u32| before(60 * i64::from(number + 1)).as_second() / 60;
    let failure = |number: u32| Failure {
        name: format!("task-{number}").into(),
        code: Some(code),
        reason: Reason::classify(code, StopRequest::None, false),
        at: before(60 * i64::from(number + 1)),
        duration: Some(SignedDuration::from_secs(3)),
    };
    Arc::new(FailingWorkload {
        service: service.into(),
        image: image.into(),
        minutes: (0..count).rev().map(|number| (minute(number), 1)).collect(),
        last: (0..count.min(10)).map(failure).collect::<VecDeque<_>>(),
    })
}

fn snapshot(rows: Vec<Row>) -> Snapshot {
    Snapshot {
        host: Host {
            name: "web-host-3".into(),
            engine: "docker",
            docker: Docker::Up {
                since: before(7200),
            },
            version: "28.5.2".into(),
            listed_at: Some(now()),
            started: before(90_000),
        },
        containers: Arc::new(ContainerSnapshot {
            states: State::ALL.map(|state| (state, 0)).to_vec(),
            shards: vec![rows.into()],
            failing: Arc::default(),
        }),
        ..Snapshot::default()
    }
}

fn page(snapshot: &Snapshot) -> String {
    viewed(snapshot, "")
}

fn viewed(snapshot: &Snapshot, query: &str) -> String {
    render(snapshot, &View::parse(query), "", now())
}

/// The section of a page with this heading.
fn below<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, part) = page
        .split_once(&format!("<h2>{heading}"))
        .unwrap_or_default();
    part.split("</section>").next().unwrap_or_default()
}

/// The names in a part of a page, in order.
fn names(part: &str) -> Vec<&str> {
    let names = part.split("class=\"name\">").skip(1);
    names
        .map(|rest| {
            let (_, rest) = rest.split_once("<bdi>").unwrap_or_default();
            rest.split("</bdi>").next().unwrap_or_default()
        })
        .collect()
}

fn assert_has(page: &str, wants: &[&str]) {
    for want in wants {
        assert!(page.contains(want), "{want}\n{page}");
    }
}

#[test]
fn the_policy_has_the_hash_of_the_style() {
    let mut hash = Command::new("sh")
        .args([
            "-c",
            "sha256sum | cut -c1-64 | tr a-f A-F | basenc --base16 -d | base64",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    hash.stdin
        .take()
        .unwrap()
        .write_all(STYLE.as_bytes())
        .unwrap();
    let hash = hash.wait_with_output().unwrap().stdout;
    let hash = String::from_utf8(hash).unwrap();
    let want = format!("style-src 'sha256-{}';", hash.trim());
    assert!(POLICY.contains(&want), "{want}");
    assert!(!STYLE.contains('<') && !STYLE.contains("url("));
}

#[test]
fn the_head_says_which_host_and_what_state() {
    let nothing_down = page(&snapshot(vec![exit(1, "good", 0)]));
    assert_has(
        &nothing_down,
        &[
            "<title>0 down · web-host-3</title>",
            "<h1><bdi>web-host-3</bdi></h1>",
            "<p class=\"engine up\">Docker 28.5.2 answers again since 2026-11-22 08:00:55 UTC (2 hours ago)</p>",
            "<p class=\"verdict good\">Nothing is down</p>",
            "fill='%2317734a'",
        ],
    );
    assert!(!nothing_down.contains("Down now"), "{nothing_down}");
    let mut down = snapshot(vec![exit(1, "web-1", 1), ended(60, 2, "web-2", 137)]);
    down.host.engine = "podman";
    assert_has(
        &page(&down),
        &[
            "<title>2 down · web-host-3</title>",
            ">Podman 28.5.2 answers again since ",
            "<p class=\"verdict bad\">2 down</p>",
            "The last was <a href=\"./?open=000000000002#c-000000000002\"><bdi>shop/web</bdi></a> 1 minute ago: signaled, SIGKILL.",
            "fill='%23b42318'",
        ],
    );
    down.host.name = String::new();
    let named = render(&down, &View::default(), "10.0.0.5:9090", now());
    assert_has(&named, &["<title>2 down · 10.0.0.5:9090</title>"]);
    let unnamed = page(&down);
    assert_has(&unnamed, &["<title>2 down · this host</title>"]);
}

#[test]
fn the_row_of_a_container_that_is_down_has_all_details() {
    let mut row = exit(0xabc, "web-1", 137);
    row.error = "exec: \"a\": not found".into();
    let want = "<li id=\"c-000000000abc\"><details><summary><span class=\"name\"><bdi>web-1</bdi></span> \
        <span class=\"service\"><bdi>shop/web</bdi></span> \
        <span class=\"why\"><b>137</b> signaled, SIGKILL</span> \
        <span class=\"when\"><time datetime=\"2026-11-22T09:57:55Z\">for 3 minutes</time> \
        <span>since 09:57:55</span></span> <span class=\"ran\">ran 1 min 15 s</span> \
        <span class=\"restarts\">2 restarts</span> \
        <span class=\"error\">exec: &quot;a&quot;: not found</span></summary>\n\
        <div class=\"details\">\n<p class=\"error\">exec: &quot;a&quot;: not found</p>\n\
        <pre><code>docker logs --tail 100 web-1</code></pre>\n\
        <pre><code>docker inspect web-1</code></pre>\n\
        <dl class=\"facts\">\n<div><dt>Id</dt><dd>000000000abc</dd></div>\n\
        <div><dt>Image</dt><dd><bdi>nginx:1.27</bdi></dd></div>\n\
        <div><dt>Created</dt><dd>2026-11-22 09:47:55 UTC</dd></div>\n\
        <div><dt>Started</dt><dd>2026-11-22 09:56:39 UTC</dd></div>\n\
        <div><dt>Ended</dt><dd>2026-11-22 09:57:55 UTC</dd></div>\n\
        <div><dt>Restart policy</dt><dd>always</dd></div>\n<div><dt>Restarts</dt><dd>2</dd></div>\n</dl>\n\
        <p class=\"labels\"><code>id=&quot;/docker/5a&quot;</code>\n\
        <code>container_label_a=&quot;b,\\&quot;c&quot;</code>\n</p>\n";
    let snapshot = snapshot(vec![row]);
    assert_has(&page(&snapshot), &[want]);
    // The row stays open when the page refreshes.
    let open = viewed(&snapshot, "open=000000000abc");
    assert_has(&open, &["<li id=\"c-000000000abc\"><details open>"]);
}

#[test]
fn which_containers_are_down_and_in_which_order() {
    let with = |seconds, number, name: &str, change: fn(&mut Row)| {
        let mut row = ended(seconds, number, name, 1);
        change(&mut row);
        row
    };
    let rows = vec![
        with(60, 1, "new", |_| {}),
        with(3600, 2, "old", |_| {}),
        with(10, 3, "superseded", |row| row.is_superseded = true),
        with(20, 4, "removed", |row| {
            row.status = ContainerStatus::Removed;
        }),
        with(30, 5, "runs", |row| row.status = ContainerStatus::RunsAgain),
        with(40, 6, "stopped", |row| row.reason = Reason::Stopped),
        with(40, 7, "done", |row| row.reason = Reason::Completed),
        with(40, 8, "sick", |row| row.reason = Reason::Unhealthy),
        with(50, 9, "unstarted", |row| {
            row.reason = Reason::StartFailed;
            (row.has_end_time, row.duration, row.restart_count) = (false, None, None);
        }),
        with(0, 10, "unknown", |row| {
            row.stopped_at = None;
        }),
        with(90, 11, "oom", |row| row.reason = Reason::OomKilled),
    ];
    let page = page(&snapshot(rows));
    let down = below(&page, "Down now");
    assert_eq!(names(down), ["old", "oom", "new", "unstarted", "unknown"]);
    assert_has(
        down,
        &[
            "<b>1</b> start failed</span> <span class=\"when\"><time datetime=\"2026-11-22T10:00:05Z\">for 50 \
             seconds</time> <span>since 10:00:05</span></span> <span class=\"ran\"></span> \
             <span class=\"restarts\"></span></summary>",
            "<span class=\"when\">time not known</span>",
        ],
    );
    assert_has(
        &page,
        &[
            "<title>5 down",
            "<bdi>shop/web</bdi></a> 50 seconds ago: start failed.",
        ],
    );
}

#[test]
fn the_commands_are_safe_to_paste() {
    let lines = |change: &dyn Fn(&mut Snapshot, &mut Row)| {
        let mut row = exit(0xabc, "web-1", 1);
        let mut snapshot = snapshot(Vec::new());
        change(&mut snapshot, &mut row);
        Arc::make_mut(&mut snapshot.containers).shards = vec![vec![row].into()];
        let page = page(&snapshot);
        let lines = page.split("<pre><code>").skip(1);
        let lines = lines.map(|rest| rest.split("</code>").next().unwrap().to_owned());
        lines.collect::<Vec<_>>()
    };
    let podman = lines(&|snapshot, _| snapshot.host.engine = "podman");
    assert_eq!(
        podman,
        ["podman logs --tail 100 web-1", "podman inspect web-1"]
    );
    let swarm = lines(&|_, row| {
        row.is_swarm = true;
        row.service = "shop_web".into();
        row.name = "shop_web.1.abc".into();
    });
    let want = [
        "docker logs --tail 100 shop_web.1.abc",
        "docker inspect shop_web.1.abc",
        "docker service ps --no-trunc shop_web",
    ];
    assert_eq!(swarm, want);
    for bad in [
        "a b",
        "$(id)",
        "-f",
        "a;b",
        "é",
        "",
        "`id`",
        "a\nb",
        "..",
        &"a".repeat(256),
    ] {
        let lines = lines(&|_, row| {
            row.is_swarm = true;
            row.name = bad.into();
            row.service = bad.into();
        });
        let want = [
            "docker logs --tail 100 000000000abc",
            "docker inspect 000000000abc",
        ];
        assert_eq!(lines, want, "{bad}");
    }
    let nameless = lines(&|_, row| (row.name, row.id) = ("$x".into(), "not an id".into()));
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn a_workload_that_fails_repeatedly_is_one_row() {
    let mut snapshot = snapshot(Vec::new());
    Arc::make_mut(&mut snapshot.containers).failing = [
        failing("shop_web", "web:1", 137, 3),
        failing("shop_api", "api:1", 1, 47),
        failing("", "migrate:7", 127, 5),
        failing("shop_db", "db:1", 1, 2),
    ]
    .into();
    let hour = page(&snapshot);
    let again = below(&hour, "Again and again");
    let rows: Vec<_> = again.split("<summary>").skip(1).collect();
    let first: Vec<_> = rows.iter().map(|row| names(row)[0]).collect();
    assert_eq!(first, ["shop_api", "migrate:7", "shop_web"]);
    assert_has(
        rows[0],
        &[
            "<span class=\"service\">service</span> <span class=\"why\"><b>1</b> error</span>",
            "1 minute ago</time> <span>09:59:55</span></span> <span class=\"times\">47 times in the last hour</span>",
            "<th scope=\"row\" class=\"name\"><bdi>task-0</bdi></th><td class=\"why\"><b>1</b> error</td>",
            "<td class=\"ran\">3.0 s</td>",
        ],
    );
    assert_eq!(rows[0].matches("<td class=\"why\">").count(), 10);
    assert_has(
        rows[1],
        &["<span class=\"service\">image</span>", "command not found"],
    );
    assert_has(again, &["3 failures or more in the last hour"]);
    snapshot.host.started = before(1000);
    let young = page(&snapshot);
    let most_often = "Nothing is down</p>\n<p class=\"last\">Again and again: <bdi>shop_api</bdi> \
        (47 times in 16 min 40 s, error) and 2 more.</p>";
    assert_has(
        &young,
        &[
            most_often,
            "3 failures or more in 16 min 40 s",
            "47 times in 16 min 40 s</span>",
        ],
    );
    let mut set_back = snapshot.clone();
    set_back.host.started = now() + SignedDuration::from_secs(100);
    assert_has(&page(&set_back), &["3 failures or more in 0 ms"]);
    // An open row stays open.
    let id = again.split("id=\"c-").nth(1).unwrap();
    let id = id.split('"').next().unwrap();
    let open = viewed(&snapshot, &format!("open={id}"));
    assert_has(
        &open,
        &[
            &format!("<li id=\"c-{id}\"><details open>"),
            "<a href=\"./?service=shop_api\">all of this service</a>",
            &format!("<a href=\"./?open={id}#c-{id}\">link to this row</a>"),
        ],
    );
    for (query, want) in [
        ("q=shop", vec!["shop_api", "shop_web"]),
        ("q=task-8", vec!["shop_api"]),
        ("q=none", vec![]),
        ("service=shop_web", vec!["shop_web"]),
        ("reason=signaled", vec!["shop_web"]),
    ] {
        let page = viewed(&snapshot, query);
        // The state of the host does not depend on the view.
        assert_has(&page, &[most_often]);
        let again = below(&page, "Again and again");
        let rows = again.split("<summary>").skip(1);
        let rows: Vec<_> = rows.map(|row| names(row)[0]).collect();
        assert_eq!(rows, want, "{query}");
    }
}

#[test]
fn the_history_is_grouped_by_day_and_shows_what_became_of_each_container() {
    let with = |seconds, number, name: &str, code, change: fn(&mut Row)| {
        let mut row = ended(seconds, number, name, code);
        change(&mut row);
        row
    };
    let page = page(&snapshot(vec![
        with(180, 1, "a", 0, |row| {
            row.status = ContainerStatus::RunsAgain;
        }),
        with(7200, 2, "b", 143, |row| {
            (row.reason, row.status) = (Reason::Stopped, ContainerStatus::Removed);
        }),
        with(90_000, 3, "c", 137, |row| {
            (row.reason, row.is_superseded) = (Reason::OomKilled, true);
        }),
        with(90_001, 4, "d", 1, |row| row.service = "".into()),
        with(0, 5, "e", 127, |row| {
            (row.stopped_at, row.duration) = (None, None);
        }),
    ]));
    let history = below(&page, "History");
    assert_eq!(names(history), ["a", "b", "c", "d", "e"]);
    let days = history.split("scope=\"rowgroup\">").skip(1);
    let days: Vec<_> = days
        .map(|rest| (rest.split('<').next().unwrap(), names(rest).len()))
        .collect();
    let want = [
        ("2026-11-22, today", 2),
        ("2026-11-21, yesterday", 2),
        ("Time not known", 1),
    ];
    assert_eq!(days, want);
    assert_has(
        history,
        &[
            "<tr class=\"zero\"><th scope=\"row\" class=\"name\"><a id=\"c-000000000001\" \
             href=\"./?open=000000000001#c-000000000001\"><bdi>a</bdi></a> \
             <small class=\"again\">runs again</small></th><td class=\"service\">\
             <a href=\"./?service=shop%2Fweb\"><bdi>shop/web</bdi></a></td><td class=\"image\">\
             <bdi>nginx:1.27</bdi></td><td class=\"why\"><b>0</b> completed</td><td class=\"when\">\
             <time datetime=\"2026-11-22T09:57:55Z\">3 minutes ago</time> <span>09:57:55</span></td>\
             <td class=\"ran\">1 min 15 s</td></tr>",
            "<bdi>b</bdi></a> <small>removed</small>",
            "<td class=\"why\"><b>143</b> stopped, SIGTERM</td>",
            "<bdi>c</bdi></a> <small>replaced</small>",
            "<tr class=\"bad\"><th scope=\"row\" class=\"name\"><a href=\"./?open=000000000004#c-000000000004\">",
            "<td class=\"service\"></td>",
            "<td class=\"when\"><span>not known</span></td><td class=\"ran\"></td>",
        ],
    );
}

#[test]
fn an_exit_of_the_history_can_be_opened() {
    let mut row = exit(1, "gone", 1);
    row.status = ContainerStatus::Removed;
    let snapshot = snapshot(vec![row]);
    let page = viewed(&snapshot, "open=000000000001");
    assert_has(
        &page,
        &[
            "<tr><td colspan=\"6\"><div class=\"details\">\n<p>It is removed, and its log with it.</p>",
        ],
    );
    assert!(!page.contains("docker logs"), "{page}");
}

#[test]
fn search_and_filters_select_rows() {
    let with = |number, name: &str, service: &str, image: &str, code| Row {
        service: service.into(),
        image: image.into(),
        status: if number == 4 {
            ContainerStatus::RunsAgain
        } else {
            ContainerStatus::Stopped
        },
        ..ended(i64::try_from(number).unwrap(), number, name, code)
    };
    let snapshot = snapshot(vec![
        with(1, "web-1", "shop/web", "nginx:1.27", 0),
        with(2, "Web-2", "shop/web", "nginx:1.28", 1),
        with(3, "db", "shop/db", "postgres", 137),
        with(4, "web\u{202e}", "", "nginx:1.27", 3),
    ]);
    for (query, history, down) in [
        ("", "web-1 Web-2 db web\\u{202e}", "db Web-2"),
        ("q=WEB", "web-1 Web-2 web\\u{202e}", "Web-2"),
        ("q=web-", "web-1 Web-2", "Web-2"),
        ("q=postg", "db", "db"),
        ("q=1.27", "web-1 web\\u{202e}", ""),
        ("q=shop/", "web-1 Web-2 db", "db Web-2"),
        ("q=000000000003", "db", "db"),
        ("q=%5Cu%7B202e", "web\\u{202e}", ""),
        ("q=nothing", "", ""),
        ("service=shop/web", "web-1 Web-2", "Web-2"),
        ("service=shop", "", ""),
        ("reason=error", "Web-2 web\\u{202e}", "Web-2"),
        ("reason=nonsense", "web-1 Web-2 db web\\u{202e}", "db Web-2"),
        ("failures", "Web-2 db web\\u{202e}", "db Web-2"),
        ("down", "Web-2 db", "db Web-2"),
        ("failures&service=shop/web&q=nginx", "Web-2", "Web-2"),
        ("page=7", "web-1 Web-2 db web\\u{202e}", "db Web-2"),
        (
            "page=x&open=%00&a=b",
            "web-1 Web-2 db web\\u{202e}",
            "db Web-2",
        ),
    ] {
        let page = viewed(&snapshot, query);
        assert_eq!(names(below(&page, "History")).join(" "), history, "{query}");
        assert_eq!(names(below(&page, "Down now")).join(" "), down, "{query}");
        // The state of the host does not depend on the view.
        assert_has(&page, &["<title>2 down · web-host-3</title>", "2 down</p>"]);
    }
    let page = viewed(&snapshot, "q=nothing");
    assert_has(
        &page,
        &[
            "Nothing that is down matches.",
            "No exit matches.",
            "<a href=\"./\">Show all</a>",
        ],
    );
    let page = viewed(
        &snapshot,
        "q=a%22b&service=shop/web&reason=error&failures&refresh=off&page=2",
    );
    assert_has(
        &page,
        &[
            "name=\"q\" value=\"a&quot;b\"",
            "<option value=\"shop/web\" selected>shop/web</option>",
            "<option value=\"error\" selected>error</option>",
            "name=\"failures\" value=\"1\" checked>",
            "<input type=\"hidden\" name=\"refresh\" value=\"off\">",
            "<a href=\"./?refresh=off\">Show all</a>",
        ],
    );
}

#[test]
fn a_link_to_a_row_leads_to_exactly_that_row() {
    let with = |seconds, number, code, status| Row {
        status,
        ..ended(seconds, number, "web", code)
    };
    let rows = (0..350).map(|number| {
        let code = i64::from(number >= 200);
        with(
            i64::try_from(number).unwrap(),
            number,
            code,
            ContainerStatus::Stopped,
        )
    });
    let snapshot = snapshot(rows.collect());
    // Of 150 that are down, the section has the 100 that went down last.
    let first = viewed(&snapshot, "q=none");
    let (_, link) = first.split_once("The last was <a href=\"./").unwrap();
    assert!(
        link.starts_with("?open=0000000000c8#c-0000000000c8\""),
        "{link}"
    );
    for (query, number, page) in [
        ("", 0, 1),
        ("", 99, 1),
        ("", 100, 2),
        ("", 200, 1),
        ("", 299, 1),
        ("", 300, 4),
        ("", 349, 4),
        ("down", 299, 1),
        ("failures", 349, 2),
        ("page=2", 150, 2),
    ] {
        let shown = viewed(&snapshot, &format!("{query}&open={number:012x}"));
        let anchor = format!(" id=\"c-{number:012x}\"");
        assert_eq!(shown.matches(&anchor).count(), 1, "{query} {number}");
        let is_open = shown.matches("<details open>").count();
        let has_details = shown
            .matches("<td colspan=\"6\"><div class=\"details\">")
            .count();
        let is_listed = (200..300).contains(&number);
        assert_eq!(is_open, usize::from(is_listed), "{query} {number}");
        assert_eq!(is_open + has_details, 1, "{query} {number}");
        let current = format!("aria-current=\"page\">{page}</a>");
        let has_pages = shown.contains("Pages of the history");
        assert!(shown.contains(&current) || !has_pages, "{query} {number}");
        // Each is there once.
        let ids = shown
            .split(" id=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap());
        let mut ids: Vec<_> = ids.collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "{query} {number}");
        for link in shown.split("href=\"./?").skip(1) {
            let link = link.split('"').next().unwrap();
            assert!(!link.contains("page=") || !link.contains("#c-"), "{link}");
        }
    }
}

#[test]
fn the_link_to_a_service_shows_all_of_its_exits() {
    let snapshot = snapshot(vec![exit(1, "a", 1)]);
    let page = viewed(&snapshot, "q=a&failures&down&refresh=off&page=2");
    assert_has(
        &page,
        &[
            "<a href=\"./?service=shop%2Fweb&amp;refresh=off\">all of this service</a>",
            "<a href=\"./?reason=error&amp;refresh=off\">all with this reason: error</a>",
            "<a href=\"./?q=a&amp;failures&amp;down&amp;refresh=off&amp;open=000000000001#c-000000000001\">link to this row</a>",
            // Hidden fields keep what the form has no control for.
            "<input type=\"hidden\" name=\"down\" value=\"1\">",
        ],
    );
}

#[test]
fn services_that_look_the_same_are_one_option_of_the_form() {
    let long = "w".repeat(170);
    let services = [
        "web",
        " web ",
        "web ",
        &format!("{long}1"),
        &format!("{long}2"),
    ];
    let rows = services.iter().enumerate().map(|(number, service)| Row {
        service: (*service).into(),
        ..exit(number, "a", 1)
    });
    let snapshot = snapshot(rows.collect());
    for (query, count, rows) in [("", 2, 5), ("service=web", 2, 3)] {
        let page = viewed(&snapshot, query);
        let (_, options) = page.split_once("<select name=\"service\">").unwrap();
        let (options, _) = options.split_once("</select>").unwrap();
        assert_eq!(options.matches("<option").count(), 1 + count, "{options}");
        assert_eq!(names(below(&page, "History")).len(), rows, "{query}");
    }
    // The link of each service shows its exits.
    let (_, link) = page(&snapshot)
        .rsplit_once("?service=")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let link = link.split('"').next().unwrap();
    let found = viewed(&snapshot, &format!("service={link}"));
    assert!(!names(below(&found, "History")).is_empty(), "{link}");
}

#[test]
fn a_short_search_does_not_match_ids() {
    let row = Row {
        id: format!("db4f{:060}", 0).into(),
        ..exit(1, "web", 1)
    };
    let snapshot = snapshot(vec![row]);
    for (query, want) in [
        ("q=db", false),
        ("q=db4", false),
        ("q=DB4F", true),
        ("q=db4f00000000", true),
        ("q=b4f0", false),
        ("q=0000", false),
    ] {
        let page = viewed(&snapshot, query);
        assert_eq!(!page.contains("No exit matches."), want, "{query}");
    }
    let whole = format!("q=db4f{:060}", 0);
    for (query, want) in [(whole.clone(), true), (whole + "0", false)] {
        let page = viewed(&snapshot, &query);
        assert_eq!(!page.contains("No exit matches."), want, "{query}");
    }
}

#[test]
fn an_unknown_state_is_not_shown_as_good() {
    let mut slow = snapshot(Vec::new());
    slow.containers = Arc::default();
    slow.host.listed_at = Some(before(50));
    let page = viewed(&slow, "");
    assert_has(
        &page,
        &[
            "<title>Docker is being read · web-host-3</title>",
            "The last listing is of 2026-11-22 10:00:05 UTC (50 seconds ago).",
            "fill='%23b42318'",
        ],
    );
    for bad in ["Nothing is down", "<form", "#search"] {
        assert!(!page.contains(bad), "{page}");
    }
}

#[test]
fn a_container_without_a_name_is_shown_by_its_id() {
    let snapshot = snapshot(vec![Row {
        service: "".into(),
        ..exit(1, "", 1)
    }]);
    let page = page(&snapshot);
    assert_eq!(page.matches("<bdi>000000000001</bdi>").count(), 3, "{page}");
}

#[test]
fn kinds_of_exits_are_links_with_counts() {
    let mut snapshot = snapshot(vec![
        exit(1, "a", 0),
        exit(2, "b", 1),
        exit(3, "c", 137),
        exit(4, "d", 1),
    ]);
    let containers = Arc::make_mut(&mut snapshot.containers);
    Arc::get_mut(&mut containers.shards[0]).unwrap()[3].is_superseded = true;
    let page = viewed(&snapshot, "refresh=off&reason=error");
    assert_has(
        &page,
        &[
            "<a href=\"./?refresh=off#history\">all <b>4</b></a>",
            "<a href=\"./?failures&amp;refresh=off#history\">failures <b>3</b></a>",
            "<a href=\"./?down&amp;refresh=off#history\">down now <b>2</b></a>",
            "<a href=\"./?reason=error&amp;refresh=off#history\" aria-current=\"true\">error <b>2</b></a>",
            "<a href=\"./?reason=signaled&amp;refresh=off#history\">signaled <b>1</b></a>",
        ],
    );
    assert!(!page.contains("stopped <b>"), "{page}");
}

#[test]
fn the_history_has_pages() {
    let rows =
        |count| (0..count).map(|number| ended(number, usize::try_from(number).unwrap(), "web", 0));
    let of = |count, query: &str| viewed(&snapshot(rows(count).collect()), query);
    for (count, query, want, numbers) in [
        (0, "", 0, ""),
        (100, "", 100, ""),
        (101, "", 100, "[1] 2"),
        (101, "page=2", 1, "1 [2]"),
        (101, "page=3", 1, "1 [2]"),
        (1000, "page=5", 100, "1 … 3 4 [5] 6 7 … 10"),
        (1000, "page=10", 100, "1 … 8 9 [10]"),
        (1000, "page=18446744073709551615", 100, "1 … 8 9 [10]"),
    ] {
        let page = of(count, query);
        let history = below(&page, "History");
        assert_eq!(names(history).len(), want, "{count} {query}");
        let links = history
            .split("Pages of the history\">")
            .nth(1)
            .unwrap_or_default();
        let text = links.replace("aria-current=\"page\">", ">[");
        let mut shown = Vec::new();
        for part in text.split("</").filter(|part| part.contains('>')) {
            let number = part.rsplit('>').next().unwrap().trim();
            let end = if number.starts_with('[') { "]" } else { "" };
            if !number.is_empty() {
                shown.push(format!("{number}{end}"));
            }
        }
        assert_eq!(shown.join(" "), numbers, "{count} {query}");
    }
    let page = of(1000, "page=5&q=web");
    assert_has(&page, &["<a href=\"./?q=web&amp;page=6#history\">6</a>"]);
}

#[test]
fn the_automatic_refresh_can_be_switched_off() {
    let snapshot = snapshot(vec![exit(1, "a", 1)]);
    let on = viewed(&snapshot, "q=a");
    assert_has(
        &on,
        &[
            "<meta http-equiv=\"refresh\" content=\"10\">",
            "As of 10:00:55 UTC, renewed every 10 s. <a href=\"./?q=a&amp;refresh=off\">Stop renewal</a>",
        ],
    );
    let off = viewed(&snapshot, "q=a&refresh=off");
    assert!(!off.contains("http-equiv"), "{off}");
    assert_has(
        &off,
        &["As of 10:00:55 UTC, not renewed. <a href=\"./?q=a\">Renew</a>"],
    );
    for link in off.split("href=\"./?").skip(1) {
        let link = link.split('"').next().unwrap();
        assert!(link.contains("refresh=off") || link == "q=a", "{link}");
    }
}

#[test]
fn an_outage_stands_out_and_the_age_of_the_data_is_shown() {
    let mut down = snapshot(vec![exit(1, "web", 1)]);
    down.host.docker = Docker::Down {
        since: before(120),
        why: "no Docker socket at /<b>".into(),
    };
    down.host.listed_at = Some(before(130));
    let page = viewed(&down, "");
    assert_has(
        &page,
        &[
            "<title>Docker cannot be read · web-host-3</title>",
            "<p class=\"engine off\">Docker 28.5.2 cannot be read since 2026-11-22 09:58:55 UTC (2 minutes ago)</p>",
            "<p class=\"verdict bad\">Docker cannot be read</p>\n<p class=\"last\">no Docker socket at /&lt;b&gt;<br>",
            "All below is of 2026-11-22 09:58:45 UTC, 2 minutes ago. Down then: 1.",
            "<bdi>web</bdi>",
        ],
    );
    assert!(!page.contains("Nothing is down"), "{page}");
    let stale = Snapshot {
        host: down.host.clone(),
        ..Snapshot::default()
    };
    assert_has(&viewed(&stale, ""), &["too old to be shown"]);
    down.host.listed_at = None;
    down.containers = Arc::default();
    assert_has(
        &viewed(&down, ""),
        &["Nothing is known of its containers yet."],
    );
    let start = viewed(&Snapshot::default(), "");
    assert_has(
        &start,
        &[
            "Docker was not asked yet",
            "<title>Docker was not asked yet · this host</title>",
        ],
    );
    assert!(
        !start.contains("<form") && !start.contains("Nothing is down"),
        "{start}"
    );
}

#[test]
fn untrusted_text_is_escaped_everywhere() {
    let hostile = "\"'><script>alert(1)</script>\r\n\r\n<img src=x onerror=alert(1)>\u{202e}&";
    let row = Row {
        service: hostile.into(),
        is_swarm: true,
        image: hostile.into(),
        labels: hostile.into(),
        error: hostile.into(),
        id: hostile.into(),
        ..exit(1, hostile, 1)
    };
    let mut snapshot = snapshot(vec![row]);
    Arc::make_mut(&mut snapshot.containers).failing = [failing(hostile, hostile, 1, 5)].into();
    snapshot.host.name = hostile.into();
    snapshot.host.version = hostile.into();
    let view = View {
        search: hostile.to_lowercase(),
        service: hostile.into(),
        open: hostile.into(),
        ..View::default()
    };
    let mut pages = vec![page(&snapshot), render(&snapshot, &view, hostile, now())];
    snapshot.host.docker = Docker::Down {
        since: now(),
        why: hostile.into(),
    };
    pages.push(page(&snapshot));
    snapshot.host.name = String::new();
    pages.push(render(&snapshot, &view, hostile, now()));
    for page in pages {
        assert!(page.matches("&lt;script&gt;").count() > 4, "{page}");
        for bad in ["<script", "<img", "\r", "\u{202e}", "'>", "\n\n"] {
            assert!(!page.contains(bad), "{bad:?} in {page}");
        }
        // Every attribute ends where it should.
        let tags = page.split("</style>").nth(1).unwrap().split('<').skip(1);
        for tag in tags.map(|rest| rest.split('>').next().unwrap()) {
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            assert!(
                !tag.contains("onerror=a") || tag.contains("value=\""),
                "{tag}"
            );
        }
    }
}

#[test]
fn the_length_of_a_page_is_bounded() {
    let long = |number: usize| Row {
        name: "\u{e0041}".repeat(250).into(),
        service: format!("{number}{}", "\"".repeat(400)).into(),
        labels: "a=\"<\",".repeat(1000).into(),
        error: "&".repeat(1200).into(),
        ..exit(number, "", 1)
    };
    let mut many = snapshot((0..10_000).map(long).collect());
    let containers = Arc::make_mut(&mut many.containers);
    let names = "<".repeat(500);
    containers.failing = (0..1000)
        .map(|number| failing(&format!("{number}{names}"), &names, 1, 50))
        .collect();
    let page = viewed(&many, "");
    assert!(page.len() < 900_000, "{}", page.len());
    assert_has(
        &page,
        &[
            "more are down for longer: <a href=\"./?down#history\">all 10000 in the history</a>",
            "970 more fail less often.",
        ],
    );
    let usual = snapshot((0..10_000).map(|number| exit(number, "web", 1)).collect());
    let page = viewed(&usual, "");
    assert!(page.len() < 250_000, "{}", page.len());
    assert_eq!(page.matches("<summary>").count(), 100);
    assert_has(
        &page,
        &["<p class=\"more\">9900 more are down for longer: "],
    );
}
