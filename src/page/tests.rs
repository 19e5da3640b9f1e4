use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use jiff::SignedDuration;

use super::*;
use crate::reason::{Asked, Reason};

fn now() -> Timestamp {
    Timestamp::from_second(1_795_341_655).unwrap()
}

fn exit(name: &str, code: i64) -> Row {
    Row {
        name: name.into(),
        service: "shop/web".into(),
        image: "nginx:1.27".into(),
        code,
        reason: Reason::of(code, Asked::No, false),
        finished_at: Some(now() - SignedDuration::from_secs(180)),
        duration: Some(SignedDuration::from_millis(1312)),
        now: Now::Stopped,
    }
}

fn snapshot(rows: Vec<Row>) -> Snapshot {
    let nonzero = rows.iter().filter(|row| row.code != 0).count();
    Snapshot {
        host: Host {
            docker: Docker::Up,
            version: "28.5.2".into(),
            listed_at: Some(now()),
        },
        containers: Arc::new(Containers {
            states: State::ALL.map(|state| (state, 0)).to_vec(),
            exits: rows.len(),
            nonzero,
            failed: nonzero,
            rows,
        }),
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
fn a_row_has_all_that_is_known_of_an_exit() {
    let page = render(&snapshot(vec![exit("web-1", 137)]), false, now());
    let want = "<tr class=\"bad\"><td class=\"name\"><bdi>web-1</bdi></td>\
                <td class=\"service\"><bdi>shop/web</bdi></td>\
                <td class=\"image\"><bdi>nginx:1.27</bdi></td>\
                <td class=\"code\"><b>137</b> SIGKILL</td><td class=\"reason\">signaled</td>\
                <td class=\"when\"><time datetime=\"2026-11-22T09:57:55Z\">3 minutes ago</time> \
                <span>09:57:55</span></td><td class=\"ran\">1.3 s</td></tr>\n";
    assert!(page.contains(want), "{page}");
    assert!(page.contains("<title>1 failed · Container exits</title>"));
    assert!(page.contains("Docker 28.5.2 answers"), "{page}");
}

#[test]
fn what_became_of_a_container_and_what_is_a_failure() {
    let with = |name: &str, code, reason, now| Row {
        reason,
        now,
        ..exit(name, code)
    };
    let page = render(
        &snapshot(vec![
            with("a", 0, Reason::Completed, Now::RunsAgain),
            with("b", 143, Reason::Stopped, Now::Removed),
            with("c", 0, Reason::StartFailed, Now::Stopped),
            with("d", 137, Reason::OomKilled, Now::Stopped),
        ]),
        false,
        now(),
    );
    for want in [
        "<tr class=\"zero\"><td class=\"name\"><bdi>a</bdi> <small class=\"again\">runs again</small></td>",
        "<tr class=\"\"><td class=\"name\"><bdi>b</bdi> <small>removed</small></td>",
        "<tr class=\"bad\"><td class=\"name\"><bdi>c</bdi></td>",
        "<tr class=\"bad\"><td class=\"name\"><bdi>d</bdi></td>",
        "<td class=\"reason\">oom killed</td>",
    ] {
        assert!(page.contains(want), "{want}\n{page}");
    }
}

#[test]
fn code_0_can_be_hidden() {
    let snapshot = snapshot(vec![exit("good", 0), exit("evil", 1)]);
    let all = render(&snapshot, false, now());
    assert!(all.contains("<bdi>good</bdi>") && all.contains("<bdi>evil</bdi>"));
    assert!(all.contains("<a href=\"./\" aria-current=\"page\">All exits<b>2</b></a>"));
    let failures = render(&snapshot, true, now());
    assert!(!failures.contains("<bdi>good</bdi>") && failures.contains("<bdi>evil</bdi>"));
    let link = "<a href=\"./?failures\" aria-current=\"page\">Without code 0<b>1</b></a>";
    assert!(failures.contains(link), "{failures}");
}

#[test]
fn what_is_not_there_is_said() {
    let nothing = snapshot(Vec::new());
    assert!(render(&nothing, false, now()).contains("No container has exited."));
    assert!(render(&nothing, true, now()).contains("No exit with a code other than 0."));
    let good = snapshot(vec![exit("good", 0)]);
    assert!(render(&good, true, now()).contains("No exit with a code other than 0."));
    let start = render(&Snapshot::default(), false, now());
    assert!(start.contains("was not asked yet") && !start.contains("<nav"));
    let unknown = Row {
        finished_at: None,
        duration: None,
        ..exit("a", 127)
    };
    let page = render(&snapshot(vec![unknown]), false, now());
    assert!(page.contains("<td class=\"when\"><span>not known</span></td><td class=\"ran\"></td>"));
}

#[test]
fn an_outage_stands_out_and_says_how_old_the_rest_is() {
    let mut down = snapshot(vec![exit("web", 1)]);
    down.host.docker = Docker::Down {
        since: now() - SignedDuration::from_secs(120),
        why: "no Docker socket at /<b>".into(),
    };
    down.host.listed_at = Some(now() - SignedDuration::from_secs(130));
    let page = render(&down, false, now());
    for want in [
        "<title>Docker is down · Container exits</title>",
        "<strong>Docker cannot be read</strong> since 2026-11-22 09:58:55 UTC, 2 minutes ago.<br>\
         no Docker socket at /&lt;b&gt;<br>",
        "Its containers were last listed at 2026-11-22 09:58:45 UTC, 2 minutes ago.",
        "<bdi>web</bdi>",
    ] {
        assert!(page.contains(want), "{want}\n{page}");
    }
    let stale = Snapshot {
        host: down.host.clone(),
        ..Snapshot::default()
    };
    assert!(render(&stale, false, now()).contains("too old to be shown"));
    down.host.listed_at = None;
    down.containers = Arc::default();
    assert!(render(&down, false, now()).contains("Nothing is known of its containers yet."));
}

#[test]
fn no_more_rows_than_a_page_can_take() {
    let rows = |count, name: &str| vec![exit(name, 1); count];
    let page = render(&snapshot(rows(300, "web")), false, now());
    assert_eq!(page.matches("<tr class").count(), 300);
    assert!(!page.contains("not shown"));
    let mut many = snapshot(rows(600, "web"));
    Arc::make_mut(&mut many.containers).exits = 10_000;
    let page = render(&many, false, now());
    assert_eq!(page.matches("<tr class").count(), 300);
    assert!(page.contains("9700 older exits are not shown"), "{page}");
    assert!(page.len() < 150_000, "{}", page.len());
    let odd = render(&snapshot(rows(600, &"\u{e0041}".repeat(160))), false, now());
    assert!(odd.len() < LONG + 8192, "{}", odd.len());
    assert!(odd.contains("older exits are not shown"));
}

#[test]
fn nothing_from_docker_gets_out_of_its_place() {
    let hostile = "\"'><script>alert(1)</script>\r\n\r\n<img src=x onerror=alert(1)>\u{202e}";
    let row = Row {
        service: hostile.into(),
        image: hostile.into(),
        ..exit(hostile, 1)
    };
    let mut snapshot = snapshot(vec![row]);
    snapshot.host.version = hostile.into();
    snapshot.host.docker = Docker::Down {
        since: now(),
        why: hostile.into(),
    };
    let page = render(&snapshot, false, now());
    assert_eq!(page.matches("&lt;script&gt;").count(), 5);
    for bad in ["<script", "<img", "\r", "\u{202e}"] {
        assert!(!page.contains(bad), "{bad:?}");
    }
}
