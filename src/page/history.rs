//! The history: all exits, the newest first, by day and in pages.

use crate::ledger::ContainerStatus;
use crate::reason::Reason;

use super::details::{SHORT_ID_CHARS, display_name, short_id};
use super::down::MAX_SECTION_BYTES;
use super::meaning::{code_and_reason, words};
use super::snapshot::Row;
use super::text::{EscapedName, day, day_name, shown, span, time};
use super::view::View;
use super::{Page, flag};

pub(super) const ROWS_PER_PAGE: usize = 100;

/// Page links before and after the current page.
const ADJACENT_PAGES: usize = 2;

impl Page<'_> {
    /// Appends one page of the exits that the view selects.
    pub(super) fn push_history(&mut self) {
        let history = std::mem::take(&mut self.selection.history);
        let pages = history.len().div_ceil(ROWS_PER_PAGE).max(1);
        let is_open = |row: &&Row| row.id.get(..SHORT_ID_CHARS) == Some(&*self.view.open);
        let page = match self.view.page {
            0 if self.anchors.contains(&self.view.open) => 1,
            0 => 1 + history.iter().position(is_open).unwrap_or_default() / ROWS_PER_PAGE,
            page => page.min(pages),
        };
        self.html += "<section id=\"history\">\n<h2>History <small>how the last run of each container ended</small></h2>\n";
        self.push_kinds();
        if history.is_empty() {
            let message = if self.selection.total_exits == 0 {
                "No container has exited."
            } else {
                "No exit matches."
            };
            self.html += &format!("<p class=\"empty\">{message}</p>\n");
        } else {
            let first = (page - 1) * ROWS_PER_PAGE;
            self.push_exits(&history[first..history.len().min(first + ROWS_PER_PAGE)]);
        }
        if pages > 1 {
            self.push_page_links(page, pages);
        }
        self.html += "</section>\n";
    }

    /// Appends links to the exits of one kind each, with their counts.
    fn push_kinds(&mut self) {
        let view = self.view;
        let all = self.selection.reasons.iter().sum();
        let is_all = (view.reason, view.only_failures, view.only_down) == (None, false, false);
        let failures = self.selection.failures();
        let down = self.selection.matching_down;
        self.html += "<nav aria-label=\"Kinds of exits\">";
        self.push_kind("all", all, is_all, |_| {});
        self.push_kind("failures", failures, view.only_failures, |view| {
            view.only_failures = true;
        });
        self.push_kind("down now", down, view.only_down, |view| {
            view.only_down = true;
        });
        for (reason, count) in Reason::ALL.into_iter().zip(self.selection.reasons) {
            let is_chosen = view.reason == Some(reason);
            if count > 0 || is_chosen {
                self.push_kind(&words(reason), count, is_chosen, |view| {
                    view.reason = Some(reason);
                });
            }
        }
        self.html += "</nav>\n";
    }

    fn push_kind(
        &mut self,
        name: &str,
        count: usize,
        is_chosen: bool,
        choose: impl FnOnce(&mut View),
    ) {
        let current = flag(" aria-current=\"true\"", is_chosen);
        let link = self.link(|view| {
            (view.reason, view.only_failures, view.only_down, view.page) = (None, false, false, 0);
            choose(view);
        });
        self.html += &format!("<a href=\"{link}#history\"{current}>{name} <b>{count}</b></a> ");
    }

    fn push_exits(&mut self, rows: &[&Row]) {
        self.html += "<table>\n<thead><tr><th scope=\"col\">Container</th><th scope=\"col\">Service</th>\
                      <th scope=\"col\">Image</th><th scope=\"col\">Code and reason</th>\
                      <th scope=\"col\">Ended (UTC)</th><th scope=\"col\">Ran</th></tr></thead>\n";
        let before = self.html.len();
        let is_full = |page: &Self| page.html.len() - before > MAX_SECTION_BYTES;
        let mut left = rows.len();
        for rows in rows.chunk_by(|a, b| a.stopped_at.map(day) == b.stopped_at.map(day)) {
            if is_full(self) {
                break;
            }
            let name = match rows[0].stopped_at {
                Some(at) => day_name(at, self.now),
                None => "Time not known".to_owned(),
            };
            self.html += &format!(
                "<tbody><tr class=\"day\"><th colspan=\"6\" scope=\"rowgroup\">{name}</th></tr>\n"
            );
            for row in rows {
                if is_full(self) {
                    break;
                }
                self.push_exit(row);
                left -= 1;
            }
            self.html += "</tbody>\n";
        }
        self.html += "</table>\n";
        if left > 0 {
            self.html += &format!(
                "<p class=\"more\">{left} more exits of this page are left out, since it is too long; \
                 <a href=\"./metrics\">/metrics</a> has all.</p>\n"
            );
        }
    }

    fn push_exit(&mut self, row: &Row) {
        let class = match (row.reason.is_failure(), row.code) {
            (true, _) => "bad",
            (false, 0) => "zero",
            (false, _) => "",
        };
        let tag = match (row.status, row.is_superseded) {
            (ContainerStatus::RunsAgain, _) => " <small class=\"again\">runs again</small>",
            (ContainerStatus::Removed, _) => " <small>removed</small>",
            (ContainerStatus::Stopped, true) => " <small>replaced</small>",
            (ContainerStatus::Stopped, false) => "",
        };
        let id = short_id(&row.id);
        // A container that is down may have its row, and its details, in the section above.
        let anchor = self.anchor(id);
        let is_open = self.is_open(id) && !anchor.is_empty();
        let name = EscapedName(display_name(row));
        let name = match id {
            Some(id) => {
                let link = self.link_to_row(id, self.view.clone());
                format!("<a{anchor} href=\"{link}\">{name}</a>")
            }
            None => name.to_string(),
        };
        let when = match row.stopped_at {
            Some(at) => time(at, self.now),
            None => "<span>not known</span>".to_owned(),
        };
        self.html += &format!(
            "<tr class=\"{class}\"><th scope=\"row\" class=\"name\">{name}{tag}</th>\
             <td class=\"service\">{}</td><td class=\"image\">{}</td><td class=\"why\">{}</td>\
             <td class=\"when\">{when}</td><td class=\"ran\">{}</td></tr>\n",
            self.service_link(&row.service),
            EscapedName(&row.image),
            code_and_reason(Some(row.code), row.reason),
            row.duration.map(span).unwrap_or_default(),
        );
        if is_open {
            self.html += "<tr><td colspan=\"6\">";
            self.push_details(row);
            self.html += "</td></tr>\n";
        }
    }

    fn service_link(&self, service: &str) -> String {
        if service.is_empty() {
            return String::new();
        }
        let link = self.link(|view| {
            view.service = shown(service).into_owned();
            view.page = 0;
        });
        format!("<a href=\"{link}\">{}</a>", EscapedName(service))
    }

    fn push_page_links(&mut self, page: usize, pages: usize) {
        self.html += "<nav aria-label=\"Pages of the history\">";
        let mut before = 0;
        for number in linked_pages(page, pages) {
            if number > before + 1 {
                self.html += "<span>…</span> ";
            }
            before = number;
            let link = self.link(|view| view.page = number);
            let current = flag(" aria-current=\"page\"", number == page);
            self.html += &format!("<a href=\"{link}#history\"{current}>{number}</a> ");
        }
        self.html += "</nav>\n";
    }
}

/// The first page, the last one, and those around the current one.
fn linked_pages(page: usize, pages: usize) -> impl Iterator<Item = usize> {
    let start = page.saturating_sub(ADJACENT_PAGES).max(1);
    let around = start..(page + ADJACENT_PAGES + 1).min(pages + 1);
    let first = (start > 1).then_some(1);
    let last = (around.end <= pages).then_some(pages);
    first.into_iter().chain(around).chain(last)
}
