//! The page at `/`. Pure: a snapshot, a view and the time go in, HTML comes out.
//!
//! The page has no script, and its policy lets none run and nothing be loaded. Text from Docker is
//! escaped by `Escaped`; in URLs it appears only as [`View::query`] encodes it.

mod details;
mod down;
mod form;
mod history;
mod meaning;
mod selection;
mod snapshot;
mod text;
mod view;

use std::collections::HashSet;

use jiff::Timestamp;

use crate::engine::State;

pub use meaning::meaning;
use selection::Selection;
pub use snapshot::{ContainerSnapshot, Docker, Host, Row, RowCache, Snapshot};
use text::{Escaped, EscapedName, ago, count, shown, utc};
pub use view::View;

/// The `Content-Security-Policy`: a browser may apply the style, show the icon and submit the form. A
/// test gives the new hash after a change of the style.
pub const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-cx5cxAX/Knu3WjBfdTlic6BegTym3TnTEgiUQG2oAgs='; img-src data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");

/// How often a browser refreshes the page.
const REFRESH_SECONDS: u32 = 10;

/// A page during rendering. Its `push_…` methods append to `html`.
struct Page<'a> {
    html: String,
    snapshot: &'a Snapshot,
    view: &'a View,
    selection: Selection<'a>,
    now: Timestamp,
    /// The ids of rows that have an anchor.
    anchors: HashSet<String>,
}

/// Renders the page for a view. `host`: the request's `Host` header, shown if the Engine gives the host no
/// name. `now`: by the Engine's clock.
#[must_use]
pub fn render(snapshot: &Snapshot, view: &View, host: &str, now: Timestamp) -> String {
    let mut page = Page {
        html: String::with_capacity(64 * 1024),
        snapshot,
        view,
        selection: Selection::new(&snapshot.containers, view, now),
        now,
        anchors: HashSet::new(),
    };
    let names = [&*snapshot.host.name, host];
    let host = names.into_iter().find(|name| !name.is_empty());
    let host = host.unwrap_or("this host");
    page.push_head(&shown(host));
    page.push_header(host);
    if page.is_known() {
        page.push_states();
        page.push_filters();
        page.push_down();
        page.push_repeated();
        page.push_form();
        page.push_history();
    }
    page.push_foot();
    page.html
}

/// The URL of a view, escaped for an attribute.
fn href(view: &View) -> String {
    format!("./{}", view.query().replace('&', "&amp;"))
}

/// A boolean attribute of an element, if it is on.
fn flag(attribute: &'static str, is_on: bool) -> &'static str {
    if is_on { attribute } else { "" }
}

impl Page<'_> {
    /// The URL of this view with a change and all rows closed.
    fn link(&self, change: impl FnOnce(&mut View)) -> String {
        let mut view = self.view.clone();
        view.open.clear();
        change(&mut view);
        href(&view)
    }

    /// The URL of the default view with a change. Only the refresh setting is kept.
    fn link_anew(&self, change: impl FnOnce(&mut View)) -> String {
        let mut view = View {
            is_refresh_off: self.view.is_refresh_off,
            ..View::default()
        };
        change(&mut view);
        href(&view)
    }

    /// The URL of the given view with this row open. The refresh setting is kept.
    fn link_to_row(&self, id: &str, view: View) -> String {
        let view = View {
            page: 0, // The page with the row.
            is_refresh_off: self.view.is_refresh_off,
            open: id.to_owned(),
            ..view
        };
        format!("{}#c-{id}", href(&view))
    }

    fn is_open(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| id == self.view.open)
    }

    /// The `id` attribute that row links refer to; empty if the page already has one for this row.
    fn anchor(&mut self, id: Option<&str>) -> String {
        match id {
            Some(id) if self.anchors.insert(id.to_owned()) => format!(" id=\"c-{id}\""),
            _ => String::new(),
        }
    }

    /// Whether there is data on the containers, and it is recent enough.
    fn is_known(&self) -> bool {
        !self.snapshot.containers.states.is_empty()
    }

    fn is_good(&self) -> bool {
        let is_up = matches!(self.snapshot.host.docker, Docker::Up { .. });
        is_up && self.is_known() && self.selection.total_down == 0
    }

    /// The Engine's display name.
    fn engine(&self) -> &'static str {
        if self.snapshot.host.engine == "podman" {
            "Podman"
        } else {
            "Docker"
        }
    }

    fn push_head(&mut self, host: &str) {
        let (engine, down) = (self.engine(), self.selection.total_down);
        let title = match self.snapshot.host.docker {
            Docker::NotAsked => format!("{engine} was not asked yet"),
            Docker::Down { .. } => format!("{engine} cannot be read"),
            Docker::Up { .. } if !self.is_known() => format!("{engine} is being read"),
            Docker::Up { .. } => format!("{down} down"),
        };
        let refresh = if self.view.is_refresh_off {
            String::new()
        } else {
            format!("<meta http-equiv=\"refresh\" content=\"{REFRESH_SECONDS}\">\n")
        };
        self.html += &format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             {refresh}<title>{title} · {}</title>\n<link rel=\"icon\" href=\"{}\">\n\
             <style>{STYLE}</style>\n</head>\n<body>\n",
            Escaped(host),
            icon(self.is_good()),
        );
    }

    fn push_header(&mut self, host: &str) {
        let Host {
            docker,
            version,
            listed_at,
            started,
            ..
        } = &self.snapshot.host;
        let engine = self.engine();
        let (class, status) = match docker {
            Docker::NotAsked => ("", "was not asked yet".to_owned()),
            Docker::Up { since } => {
                let status = if since.duration_since(*started).as_secs() < 60 {
                    "answers, watched since"
                } else {
                    "answers again since"
                };
                ("up", format!("{status} {}", self.utc_and_ago(*since)))
            }
            Docker::Down { since, .. } => {
                let since = self.utc_and_ago(*since);
                ("off", format!("cannot be read since {since}"))
            }
        };
        self.html += &format!(
            "<header>\n<h1>{}</h1>\n<p class=\"engine {class}\">{engine} {} {status}</p>\n",
            EscapedName(host),
            Escaped(&shown(version)),
        );
        self.push_refresh();
        self.html += "</header>\n<main>\n";
        match docker {
            Docker::NotAsked => {}
            Docker::Up { .. } if self.is_known() => self.push_verdict(),
            Docker::Up { .. } => {
                let listed = listed_at.map(|at| self.utc_and_ago(at));
                let listed = listed.map(|at| format!("The last listing is of {at}."));
                self.html += &format!(
                    "<p class=\"verdict\">{engine} is being read</p>\n<p class=\"last\">{}</p>\n",
                    listed.unwrap_or_default(),
                );
            }
            Docker::Down { why, .. } => {
                let known = match listed_at {
                    None => "Nothing is known of its containers yet.".to_owned(),
                    Some(_) if !self.is_known() => {
                        "What was known of its containers is too old to be shown.".to_owned()
                    }
                    Some(at) => format!(
                        "All below is of {}, {}. Down then: {}.",
                        utc(*at),
                        ago(*at, self.now),
                        self.selection.total_down,
                    ),
                };
                self.html += &format!(
                    "<div role=\"alert\"><p class=\"verdict bad\">{engine} cannot be read</p>\n\
                     <p class=\"last\">{}<br>{known}</p></div>\n",
                    Escaped(why),
                );
            }
        }
    }

    /// Appends how many containers are down, which a reader wants to know first.
    fn push_verdict(&mut self) {
        let Some(row) = self.selection.newest_down else {
            self.html += "<p class=\"verdict good\">Nothing is down</p>\n";
            return self.push_most_repeated();
        };
        let name = EscapedName(match &*row.service {
            "" => details::display_name(row),
            service => service,
        });
        let name = match details::short_id(&row.id) {
            Some(id) => {
                // The default view: this one may not show the row.
                let link = self.link_to_row(id, View::default());
                format!("<a href=\"{link}\">{name}</a>")
            }
            None => name.to_string(),
        };
        let when = row.stopped_at.map(|at| format!(" {}", ago(at, self.now)));
        self.html += &format!(
            "<p class=\"verdict bad\">{} down</p>\n<p class=\"last\">The last was {name}{}: {}.</p>\n",
            self.selection.total_down,
            when.unwrap_or_default(),
            meaning::explain(Some(row.code), row.reason),
        );
        self.push_most_repeated();
    }

    /// Appends the workload that fails most often. It may be up at the moment.
    fn push_most_repeated(&mut self) {
        let Some((failing, times)) = self.selection.most_repeated else {
            return;
        };
        let others = match self.selection.total_repeated - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let last = failing.last.front();
        let why = last.map(|last| meaning::explain(last.code, last.reason));
        self.html += &format!(
            "<p class=\"last\">Again and again: {} ({} {}, {}){others}.</p>\n",
            EscapedName(down::workload_name(failing).0),
            count(times, "time"),
            self.failure_window(),
            why.unwrap_or_default(),
        );
    }

    fn utc_and_ago(&self, at: Timestamp) -> String {
        format!("{} ({})", utc(at), ago(at, self.now))
    }

    fn push_states(&mut self) {
        self.html += "<dl class=\"states\">\n";
        for (state, count) in &self.snapshot.containers.states {
            // Rare states are shown only if there are any.
            if *count > 0 || matches!(state, State::Running | State::Exited) {
                self.push_fact(state.name(), count);
            }
        }
        self.html += "</dl>\n";
    }

    fn push_foot(&mut self) {
        self.html += &format!(
            "</main>\n<footer>\n<p>docker-exit-exporter {}</p>\n<p>All times are UTC.</p>\n\
             <p><a href=\"./metrics\">/metrics</a> <a href=\"./-/healthy\">/-/healthy</a> \
             <a href=\"./-/ready\">/-/ready</a></p>\n</footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
        );
    }
}

/// A green or red dot as a data URL, so that no browser requests `/favicon.ico`.
fn icon(good: bool) -> String {
    let (colour, sign) = if good {
        ("17734a", "M4.5,8.5l2.5,2.5,4.5-5.5")
    } else {
        ("b42318", "M5,5l6,6M11,5l-6,6")
    };
    format!(
        "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'%20viewBox='0%200%2016%2016'%3E\
         %3Ccircle%20cx='8'%20cy='8'%20r='7'%20fill='%23{colour}'/%3E\
         %3Cpath%20d='{sign}'%20fill='none'%20stroke='%23fff'%20stroke-width='2'/%3E%3C/svg%3E"
    )
}

#[cfg(test)]
mod tests;
