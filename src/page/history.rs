//! All exits, the newest first, by day and in pages.

use std::ops::Range;

use crate::reason::Reason;

use super::Page;
use super::details::{ID_LETTERS, called, short_id};
use super::down::LONG;
use super::meaning::{why, words};
use super::snapshot::{Now, Row};
use super::text::{Name, day, day_name, span, time};
use super::view::View;

/// Exits on one page.
pub(super) const ON_A_PAGE: usize = 100;

/// The pages beside this one that have links of their own.
const BESIDE: usize = 2;

impl Page<'_> {
    /// Draws the exits that the view wants, of one page.
    pub(super) fn history(&mut self) {
        let history = std::mem::take(&mut self.selection.history);
        let pages = history.len().div_ceil(ON_A_PAGE).max(1);
        let open = |row: &&Row| row.id.get(..ID_LETTERS) == Some(&*self.view.open);
        let page = match self.view.page {
            0 if self.anchors.contains(&self.view.open) => 1,
            0 => 1 + history.iter().position(open).unwrap_or_default() / ON_A_PAGE,
            page => page.min(pages),
        };
        self.html += "<section id=\"history\">\n<h2>History <small>how the last run of each container ended</small></h2>\n";
        self.kinds();
        if history.is_empty() {
            let says = if self.selection.all_exits == 0 {
                "No container has exited."
            } else {
                "No exit matches."
            };
            self.html += &format!("<p class=\"empty\">{says}</p>\n");
        } else {
            let first = (page - 1) * ON_A_PAGE;
            let rows = &history[first..history.len().min(first + ON_A_PAGE)];
            self.exits(rows);
        }
        if pages > 1 {
            self.pages(page, pages);
        }
        self.html += "</section>\n";
    }

    /// Draws links to exits of one kind each, with how many there are.
    fn kinds(&mut self) {
        let all = self.selection.reasons.iter().sum();
        let failures = self.selection.failures();
        let down = self.selection.matching_down;
        let plain = |view: &View| (view.reason, view.failures, view.down) == (None, false, false);
        self.html += "<nav aria-label=\"Kinds of exits\">";
        self.kind("all", all, plain(self.view), |_| {});
        self.kind("failures", failures, self.view.failures, |view| {
            view.failures = true;
        });
        self.kind("down now", down, self.view.down, |view| view.down = true);
        let counts = Reason::ALL.into_iter().zip(self.selection.reasons);
        for (reason, count) in counts {
            let chosen = self.view.reason == Some(reason);
            if count > 0 || chosen {
                self.kind(&words(reason), count, chosen, |view| {
                    view.reason = Some(reason);
                });
            }
        }
        self.html += "</nav>\n";
    }

    fn kind(&mut self, name: &str, count: usize, chosen: bool, choose: impl FnOnce(&mut View)) {
        let current = if chosen { " aria-current=\"true\"" } else { "" };
        let link = self.link(|view| {
            (view.reason, view.failures, view.down, view.page) = (None, false, false, 0);
            choose(view);
        });
        self.html += &format!("<a href=\"{link}#history\"{current}>{name} <b>{count}</b></a> ");
    }

    fn exits(&mut self, rows: &[&Row]) {
        self.html += "<table>\n<thead><tr><th scope=\"col\">Container</th><th scope=\"col\">Service</th>\
                      <th scope=\"col\">Image</th><th scope=\"col\">Code and reason</th>\
                      <th scope=\"col\">Ended (UTC)</th><th scope=\"col\">Ran</th></tr></thead>\n";
        let before = self.html.len();
        let mut today = None;
        let mut left = rows.len();
        for row in rows {
            if self.html.len() - before > LONG {
                break;
            }
            let date = row.at.map(day);
            if today != Some(date) {
                if today.is_some() {
                    self.html += "</tbody>\n";
                }
                today = Some(date);
                let name = match row.at {
                    Some(at) => day_name(at, self.now),
                    None => "Time not known".to_owned(),
                };
                self.html += &format!(
                    "<tbody><tr class=\"day\"><th colspan=\"6\" scope=\"rowgroup\">{name}</th></tr>\n"
                );
            }
            self.exit(row);
            left -= 1;
        }
        self.html += "</tbody>\n</table>\n";
        if left > 0 {
            self.html += &format!(
                "<p class=\"more\">{left} more exits of this page are left out, since it is too long; \
                 <a href=\"./metrics\">/metrics</a> has all.</p>\n"
            );
        }
    }

    fn exit(&mut self, row: &Row) {
        let class = match (row.reason.is_failure(), row.code) {
            (true, _) => "bad",
            (false, 0) => "zero",
            (false, _) => "",
        };
        let tag = match (row.now, row.superseded) {
            (Now::RunsAgain, _) => " <small class=\"again\">runs again</small>",
            (Now::Removed, _) => " <small>removed</small>",
            (Now::Stopped, true) => " <small>replaced</small>",
            (Now::Stopped, false) => "",
        };
        let id = short_id(&row.id);
        // One that is down may stand above, and open there.
        let anchor = self.anchor(id);
        let open = self.is_open(id) && !anchor.is_empty();
        let name = match id {
            Some(id) => {
                let link = self.link_to(id, self.view.clone());
                format!("<a{anchor} href=\"{link}\">{}</a>", Name(called(row)))
            }
            None => Name(called(row)).to_string(),
        };
        let when = match row.at {
            Some(at) => time(at, self.now),
            None => "<span>not known</span>".to_owned(),
        };
        self.html += &format!(
            "<tr class=\"{class}\"><th scope=\"row\" class=\"name\">{name}{tag}</th>\
             <td class=\"service\">{}</td><td class=\"image\">{}</td><td class=\"why\"><b>{}</b> {}</td>\
             <td class=\"when\">{when}</td><td class=\"ran\">{}</td></tr>\n",
            self.service_link(&row.service),
            Name(&row.image),
            row.code,
            why(Some(row.code), row.reason),
            row.duration.map(span).unwrap_or_default(),
        );
        if open {
            self.html += "<tr><td colspan=\"6\">";
            self.details(row);
            self.html += "</td></tr>\n";
        }
    }

    /// Draws links to the other pages.
    fn pages(&mut self, page: usize, pages: usize) {
        self.html += "<nav aria-label=\"Pages of the history\">";
        let mut before = 0;
        for number in page_numbers(page, pages) {
            if number > before + 1 {
                self.html += "<span>…</span> ";
            }
            before = number;
            let link = self.link(|view| view.page = number);
            let current = if number == page {
                " aria-current=\"page\""
            } else {
                ""
            };
            self.html += &format!("<a href=\"{link}#history\"{current}>{number}</a> ");
        }
        self.html += "</nav>\n";
    }
}

/// The pages that have links: the first, the last, and those around this one.
fn page_numbers(page: usize, pages: usize) -> impl Iterator<Item = usize> {
    let around: Range<usize> =
        page.saturating_sub(BESIDE).max(1)..(page + BESIDE + 1).min(pages + 1);
    let first = (around.start > 1).then_some(1);
    let last = (around.end <= pages).then_some(pages);
    first.into_iter().chain(around).chain(last)
}
