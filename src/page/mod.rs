//! The page at `/`: the host and its exits, for a human. Pure: what was published and the time of
//! day go in, HTML comes out.
//!
//! It is one document without a script, and a policy that lets none run and nothing be loaded. All
//! that comes from Docker stands between tags, as text; none of it in an attribute.

mod meaning;
mod snapshot;
mod text;

use std::borrow::Cow;

use jiff::Timestamp;

use crate::engine::State;

pub use meaning::meaning;
pub use snapshot::{Containers, Docker, Host, Now, Row, Snapshot};
use snapshot::{MOST, is_failure};
use text::{Text, ago, span, time};

/// What a browser may do with the page: apply its style, and show its icon. Whoever changes the
/// style is told the new hash by a test.
pub const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-XUM/qKkqam9YgdMyasfvJqtVDb3Lzt+FpGT+1+Pc1Rg='; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");

/// A red dot, so that no browser asks for `/favicon.ico`.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
    viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%23b42318'/%3E\
    %3Cpath d='M5 5l6 6M11 5l-6 6' stroke='%23fff' stroke-width='2'/%3E%3C/svg%3E";

/// A page has no more rows when it is so long: with names as odd as can be, 300 would make 1 MB.
const LONG: usize = 256 * 1024;

/// Seconds after which a browser asks again.
const RENEWED: u32 = 10;

/// Renders the page, with all exits or with those only that have another code than 0.
#[must_use]
pub fn render(snapshot: &Snapshot, only_failures: bool, now: Timestamp) -> String {
    let mut page =
        String::with_capacity(STYLE.len() + 4096 + snapshot.containers.rows.len().min(MOST) * 512);
    head(&mut page, snapshot);
    host(&mut page, snapshot, now);
    if !snapshot.containers.states.is_empty() {
        states(&mut page, snapshot);
        exits(&mut page, snapshot, only_failures, now);
    }
    foot(&mut page, now);
    page
}

fn head(page: &mut String, snapshot: &Snapshot) {
    let title: Cow<str> = match (&snapshot.host.docker, snapshot.containers.failed) {
        (Docker::Down { .. }, _) => "Docker is down · Container exits".into(),
        (_, 0) => "Container exits".into(),
        (_, failed) => format!("{failed} failed · Container exits").into(),
    };
    *page += &format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"{RENEWED}\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"{ICON}\">\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
}

fn host(page: &mut String, snapshot: &Snapshot, now: Timestamp) {
    let Host {
        docker,
        version,
        listed_at,
    } = &snapshot.host;
    let version = Text(version);
    let listed = listed_at.map(|at| format!("listed {}", ago(at, now)));
    let listed = listed.unwrap_or_default();
    let (class, says) = match docker {
        Docker::NotAsked => ("", "was not asked yet"),
        Docker::Up => ("up", "answers"),
        Docker::Down { .. } => ("down", "down"),
    };
    *page += &format!(
        "<header>\n<h1>Container exits</h1>\n\
         <p><span class=\"dot {class}\">Docker {version} {says}</span></p>\n\
         <p>{listed}</p>\n</header>\n"
    );
    let Docker::Down { since, why } = docker else {
        return;
    };
    let known = match listed_at {
        None => "Nothing is known of its containers yet.".to_owned(),
        Some(_) if snapshot.containers.states.is_empty() => {
            "What was known of its containers is too old to be shown.".to_owned()
        }
        Some(at) => format!(
            "Its containers were last listed at {}, {}.",
            utc(*at),
            ago(*at, now)
        ),
    };
    *page += &format!(
        "<p class=\"alarm\" role=\"alert\"><strong>Docker cannot be read</strong> since {}, {}.<br>\
         {}<br>{known}</p>\n",
        utc(*since),
        ago(*since, now),
        Text(why),
    );
}

fn utc(at: Timestamp) -> impl std::fmt::Display {
    at.strftime("%Y-%m-%d %H:%M:%S UTC")
}

fn states(page: &mut String, snapshot: &Snapshot) {
    *page += "<dl>\n";
    let tile = |class: &str, name: &str, count: u64| {
        format!("<div class=\"{class}\"><dt>{name}</dt><dd>{count}</dd></div>\n")
    };
    for (state, count) in &snapshot.containers.states {
        // The rare ones only if there are any.
        match (state, count) {
            (State::Running | State::Exited, 0) => *page += &tile("none", state.name(), 0),
            (_, 0) => {}
            (_, count) => *page += &tile("", state.name(), *count),
        }
    }
    let class = if snapshot.containers.failed == 0 {
        "none"
    } else {
        "failed"
    };
    *page += &tile(class, "failed", snapshot.containers.failed as u64);
    *page += "</dl>\n";
}

fn exits(page: &mut String, snapshot: &Snapshot, only_failures: bool, now: Timestamp) {
    let current = |is_it: bool| if is_it { " aria-current=\"page\"" } else { "" };
    *page += &format!(
        "<nav aria-label=\"Exits\"><a href=\"./\"{}>All exits<b>{}</b></a>\
         <a href=\"./?failures\"{}>Without code 0<b>{}</b></a></nav>\n<div class=\"box\">\n",
        current(!only_failures),
        snapshot.containers.exits,
        current(only_failures),
        snapshot.containers.nonzero,
    );
    let rows = snapshot.containers.rows.iter();
    let rows = rows.filter(|row| !only_failures || row.code != 0);
    let total = if only_failures {
        snapshot.containers.nonzero
    } else {
        snapshot.containers.exits
    };
    let mut shown = 0;
    for it in rows.take(MOST) {
        if page.len() > LONG {
            break;
        }
        if shown == 0 {
            *page += "<table>\n<thead><tr><th>Container</th><th>Service</th><th>Image</th>\
                      <th>Code</th><th>Reason</th><th>Ended (UTC)</th><th>Ran</th></tr></thead>\n\
                      <tbody>\n";
        }
        row(page, it, now);
        shown += 1;
    }
    if shown > 0 {
        *page += "</tbody>\n</table>\n";
    } else if only_failures {
        *page += "<p class=\"empty\">No exit with a code other than 0.</p>\n";
    } else {
        *page += "<p class=\"empty\">No container has exited.</p>\n";
    }
    let more = total - shown;
    if more > 0 {
        *page += &format!(
            "<p class=\"more\">{more} older exits are not shown here; \
             <a href=\"./metrics\">/metrics</a> has all.</p>\n"
        );
    }
    *page += "</div>\n";
}

fn row(page: &mut String, row: &Row, now: Timestamp) {
    let class = match (is_failure(row.reason), row.code) {
        (true, _) => "bad",
        (false, 0) => "zero",
        (false, _) => "",
    };
    let tag = match row.now {
        Now::Stopped => "",
        Now::RunsAgain => " <small class=\"again\">runs again</small>",
        Now::Removed => " <small>removed</small>",
    };
    let service = if row.service.is_empty() {
        String::new()
    } else {
        format!("<bdi>{}</bdi>", Text(&row.service))
    };
    let when = match row.finished_at {
        Some(at) => time(at, now),
        None => "<span>not known</span>".to_owned(),
    };
    *page += &format!(
        "<tr class=\"{class}\"><td class=\"name\"><bdi>{}</bdi>{tag}</td>\
         <td class=\"service\">{service}</td><td class=\"image\"><bdi>{}</bdi></td>\
         <td class=\"code\"><b>{}</b> {}</td><td class=\"reason\">{}</td>\
         <td class=\"when\">{when}</td><td class=\"ran\">{}</td></tr>\n",
        Text(&row.name),
        Text(&row.image),
        row.code,
        meaning(row.code),
        row.reason.name().replace('_', " "),
        row.duration.map(span).unwrap_or_default(),
    );
}

fn foot(page: &mut String, now: Timestamp) {
    *page += &format!(
        "<footer>\n<p>docker-exit-exporter {}</p>\n<p>{}, renewed every {RENEWED} s</p>\n\
         <p><a href=\"./metrics\">/metrics</a><a href=\"./-/healthy\">/-/healthy</a>\
         <a href=\"./-/ready\">/-/ready</a></p>\n</footer>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        utc(now),
    );
}

#[cfg(test)]
mod tests;
