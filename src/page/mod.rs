//! The page at `/`: a host, what is down on it, and its exits, for a human. Pure: what was published, a
//! view of it and the time of day go in, HTML comes out.
//!
//! It is one document without a script, and a policy that lets none run and nothing be loaded. All
//! that comes from Docker is escaped by [`Text`](text::Text), and no URL has more of it than what
//! [`View::query`] encodes.

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
pub use snapshot::{Containers, Docker, Host, Now, Row, Rows, Snapshot};
use text::{Name, Text, ago, count, shown, utc};
pub use view::View;

/// What a browser may do with the page: apply its style, show its icon, and ask for it again with what
/// its form has. Whoever changes the style is told the new hash by a test.
pub const POLICY: &str = "default-src 'none'; \
    style-src 'sha256-cx5cxAX/Knu3WjBfdTlic6BegTym3TnTEgiUQG2oAgs='; img-src data:; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const STYLE: &str = include_str!("style.css");

/// Seconds after which a browser asks again.
const RENEWED: u32 = 10;

/// A page while it is drawn.
struct Page<'a> {
    html: String,
    snapshot: &'a Snapshot,
    view: &'a View,
    selection: Selection<'a>,
    now: Timestamp,
    /// The rows that a link can lead to.
    anchors: HashSet<String>,
}

/// Renders the page as this view shows it. `asked_as`: what the exporter was asked as, which names the
/// host if the Engine does not. `now`: by the Engine's clock.
#[must_use]
pub fn render(snapshot: &Snapshot, view: &View, asked_as: &str, now: Timestamp) -> String {
    let mut page = Page {
        html: String::with_capacity(64 * 1024),
        snapshot,
        view,
        selection: Selection::of(&snapshot.containers, view, now),
        now,
        anchors: HashSet::new(),
    };
    let host = [&*snapshot.host.name, asked_as, "this host"];
    let host = host.into_iter().find(|name| !name.is_empty());
    let host = host.unwrap_or_default();
    page.head(&shown(host));
    page.header(host);
    if page.is_known() {
        page.states();
        page.limits();
        page.down();
        page.again();
        page.form();
        page.history();
    }
    page.html += "</main>\n";
    page.foot();
    page.html
}

/// The URL of a view, for an attribute.
fn href(view: &View) -> String {
    format!("./{}", view.query().replace('&', "&amp;"))
}

impl Page<'_> {
    /// The URL of this view with a change, for an attribute. No row is open in it.
    fn link(&self, change: impl FnOnce(&mut View)) -> String {
        let mut view = self.view.clone();
        view.open.clear();
        change(&mut view);
        href(&view)
    }

    /// The URL of the usual view with a change, for an attribute. Whether it is renewed stays as it is.
    fn link_anew(&self, change: impl FnOnce(&mut View)) -> String {
        let mut view = View {
            stays: self.view.stays,
            ..View::default()
        };
        change(&mut view);
        href(&view)
    }

    /// The URL of the view in which the row with this id is open, and the rest as in that one.
    fn link_to(&self, id: &str, view: View) -> String {
        let view = View {
            page: 0, // The one that it is on.
            stays: self.view.stays,
            open: id.to_owned(),
            ..view
        };
        format!("{}#c-{id}", href(&view))
    }

    fn is_open(&self, id: Option<&str>) -> bool {
        id.is_some_and(|id| id == self.view.open)
    }

    /// The attribute by which links find a row, unless they find another one.
    fn anchor(&mut self, id: Option<&str>) -> String {
        match id {
            Some(id) if self.anchors.insert(id.to_owned()) => format!(" id=\"c-{id}\""),
            _ => String::new(),
        }
    }

    /// Whether something is known of the containers, and it is not too old.
    fn is_known(&self) -> bool {
        !self.snapshot.containers.states.is_empty()
    }

    fn is_good(&self) -> bool {
        let is_up = matches!(self.snapshot.host.docker, Docker::Up { .. });
        is_up && self.is_known() && self.selection.all_down == 0
    }

    /// What the Engine is called.
    fn engine(&self) -> &'static str {
        if self.snapshot.host.engine == "podman" {
            "Podman"
        } else {
            "Docker"
        }
    }

    fn head(&mut self, host: &str) {
        let (engine, down) = (self.engine(), self.selection.all_down);
        let title = match self.snapshot.host.docker {
            Docker::NotAsked => format!("{engine} was not asked yet"),
            Docker::Down { .. } => format!("{engine} cannot be read"),
            Docker::Up { .. } if !self.is_known() => format!("{engine} is being read"),
            Docker::Up { .. } => format!("{down} down"),
        };
        let renewal = if self.view.stays {
            String::new()
        } else {
            format!("<meta http-equiv=\"refresh\" content=\"{RENEWED}\">\n")
        };
        self.html += &format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             {renewal}<title>{title} · {}</title>\n<link rel=\"icon\" href=\"{}\">\n\
             <style>{STYLE}</style>\n</head>\n<body>\n",
            Text(host),
            icon(self.is_good()),
        );
    }

    fn header(&mut self, host: &str) {
        let Host {
            docker,
            version,
            listed_at,
            ..
        } = &self.snapshot.host;
        let engine = self.engine();
        let (class, says) = match docker {
            Docker::NotAsked => ("", "was not asked yet".to_owned()),
            Docker::Up { since } => {
                let at_once = since.duration_since(self.snapshot.host.started).as_secs() < 60;
                let says = if at_once {
                    "answers, watched since"
                } else {
                    "answers again since"
                };
                ("up", format!("{says} {}", self.long(*since)))
            }
            Docker::Down { since, .. } => {
                ("off", format!("cannot be read since {}", self.long(*since)))
            }
        };
        self.html += &format!(
            "<header>\n<h1>{}</h1>\n<p class=\"engine {class}\">{engine} {} {says}</p>\n",
            Name(host),
            Text(&shown(version)),
        );
        self.renewal();
        self.html += "</header>\n<main>\n";
        match docker {
            Docker::NotAsked => {}
            Docker::Up { .. } if self.is_known() => self.verdict(),
            Docker::Up { .. } => {
                let listed =
                    listed_at.map(|at| format!("The last listing is of {}.", self.long(at)));
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
                        self.selection.all_down,
                    ),
                };
                self.html += &format!(
                    "<div role=\"alert\"><p class=\"verdict bad\">{engine} cannot be read</p>\n\
                     <p class=\"last\">{}<br>{known}</p></div>\n",
                    Text(why),
                );
            }
        }
    }

    /// Draws how many are down, the first that a reader wants to know.
    fn verdict(&mut self) {
        let Some(row) = self.selection.newest_down else {
            self.html += "<p class=\"verdict good\">Nothing is down</p>\n";
            return self.most_often();
        };
        let name = if row.service.is_empty() {
            details::called(row)
        } else {
            &row.service
        };
        let name = match details::short_id(&row.id) {
            Some(id) => {
                // This view may not show it.
                let link = self.link_to(id, View::default());
                format!("<a href=\"{link}\">{}</a>", Name(name))
            }
            None => Name(name).to_string(),
        };
        let when = row.at.map(|at| format!(" {}", ago(at, self.now)));
        self.html += &format!(
            "<p class=\"verdict bad\">{} down</p>\n<p class=\"last\">The last was {name}{}: {}.</p>\n",
            self.selection.all_down,
            when.unwrap_or_default(),
            meaning::why(Some(row.code), row.reason),
        );
        self.most_often();
    }

    /// Draws what fails again and again the most, which may be up at the moment.
    fn most_often(&mut self) {
        let Some((failing, times)) = self.selection.most_often else {
            return;
        };
        let others = match self.selection.all_again - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let last = failing.last.front();
        let why = last.map(|last| meaning::why(last.code, last.reason));
        self.html += &format!(
            "<p class=\"last\">Again and again: {} ({} {}, {}){others}.</p>\n",
            Name(down::workload(failing).0),
            count(times, "time"),
            self.seen_in(),
            why.unwrap_or_default(),
        );
    }

    /// A time, and how long ago it was.
    fn long(&self, at: Timestamp) -> String {
        format!("{} ({})", utc(at), ago(at, self.now))
    }

    fn states(&mut self) {
        self.html += "<dl class=\"states\">\n";
        for (state, count) in &self.snapshot.containers.states {
            // The rare ones only if there are any.
            if *count > 0 || matches!(state, State::Running | State::Exited) {
                let name = state.name();
                self.html += &format!("<div><dt>{name}</dt><dd>{count}</dd></div>\n");
            }
        }
        self.html += "</dl>\n";
    }

    fn service_link(&self, service: &str) -> String {
        if service.is_empty() {
            return String::new();
        }
        let link = self.link(|view| {
            view.service = shown(service).into_owned();
            view.page = 0;
        });
        format!("<a href=\"{link}\">{}</a>", Name(service))
    }

    fn foot(&mut self) {
        self.html += &format!(
            "<footer>\n<p>docker-exit-exporter {}</p>\n<p>All times are UTC.</p>\n\
             <p><a href=\"./metrics\">/metrics</a> <a href=\"./-/healthy\">/-/healthy</a> \
             <a href=\"./-/ready\">/-/ready</a></p>\n</footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
        );
    }
}

/// A dot, green or red, so that no browser asks for `/favicon.ico`.
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
