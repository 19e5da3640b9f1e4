//! What is down now, and what fails again and again: rows that open.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::SignedDuration;

use crate::ledger::{FailingWorkload, Failure};
use crate::one_line::OneLine;

use super::Page;
use super::details::{called, short_id};
use super::meaning::why;
use super::selection::OFTEN;
use super::snapshot::Row;
use super::text::{Name, Text, count, since, span, time};

/// So many rows are shown of what is down, at most. A link leads to all.
const DOWN: usize = 100;

/// The same of what fails again and again.
const AGAIN: usize = 30;

/// There are no more rows in a part of the page that is so long, in bytes: labels can be.
pub(super) const LONG: usize = 192 * 1024;

/// Letters of Docker's words for a failed start in a row that is closed.
const WORDS: usize = 300;

impl Page<'_> {
    /// Draws what is down.
    pub(super) fn down(&mut self) {
        let total = self.selection.all_down;
        if total == 0 {
            return;
        }
        self.html += "<section>\n<h2>Down now</h2>\n";
        let down = std::mem::take(&mut self.selection.down);
        if down.is_empty() {
            self.html += "<p class=\"empty\">Nothing that is down matches.</p>\n</section>\n";
            return;
        }
        // The newest are there in any case.
        let mut rows = Vec::new();
        let mut length = 0;
        for row in down.iter().rev().take(DOWN) {
            if length > LONG {
                break;
            }
            let before = self.html.len();
            self.down_row(row);
            rows.push(self.html.split_off(before));
            length += rows.last().map_or(0, String::len);
        }
        if rows.len() < down.len() {
            let link = self.link(|view| (view.down, view.page) = (true, 0));
            self.html += &format!(
                "<p class=\"more\">{} more are down for longer: \
                 <a href=\"{link}#history\">all {} in the history</a></p>\n",
                down.len() - rows.len(),
                down.len()
            );
        }
        self.html += "<ul>\n";
        self.html.extend(rows.into_iter().rev());
        self.html += "</ul>\n";
        self.html += "</section>\n";
    }

    fn down_row(&mut self, row: &Row) {
        let id = short_id(&row.id);
        let anchor = self.anchor(id);
        let open = if self.is_open(id) { " open" } else { "" };
        let since = match row.at {
            Some(at) => since(at, self.now),
            None => "time not known".to_owned(),
        };
        let ran = row.duration.map(|ran| format!("ran {}", span(ran)));
        let restarts = row.restart_count.map(|it| count(it, "restart"));
        self.html += &format!(
            "<li{anchor}><details{open}><summary><span class=\"name\">{}</span> \
             <span class=\"service\">{}</span> <span class=\"why\"><b>{}</b> {}</span> \
             <span class=\"when\">{since}</span> <span class=\"ran\">{}</span> \
             <span class=\"restarts\">{}</span>",
            Name(called(row)),
            Name(&row.service),
            row.code,
            why(Some(row.code), row.reason),
            ran.unwrap_or_default(),
            restarts.unwrap_or_default(),
        );
        if !row.error.is_empty() {
            let words = OneLine::truncated(gist(&row.error), WORDS).to_string();
            self.html += &format!(" <span class=\"error\">{}</span>", Text(&words));
        }
        self.html += "</summary>\n";
        self.details(row);
        self.html += "</details></li>\n";
    }

    /// Draws what fails again and again.
    pub(super) fn again(&mut self) {
        let again = std::mem::take(&mut self.selection.again);
        if again.is_empty() {
            return;
        }
        self.html += &format!(
            "<section>\n<h2>Again and again <small>{OFTEN} failures or more {}</small></h2>\n<ul>\n",
            self.seen_in()
        );
        for (failing, count) in again.iter().take(AGAIN) {
            self.again_row(failing, *count);
        }
        self.html += "</ul>\n";
        if again.len() > AGAIN {
            let more = again.len() - AGAIN;
            self.html += &format!("<p class=\"more\">{more} more fail less often.</p>\n");
        }
        self.html += "</section>\n";
    }

    /// The time in which failures are counted: an hour, or less if the exporter has just started.
    pub(super) fn seen_in(&self) -> String {
        let seen = self.now.duration_since(self.snapshot.host.started);
        if seen.as_secs() < 3600 {
            // The Engine's clock may be set back.
            format!("in {}", span(seen.max(SignedDuration::ZERO)))
        } else {
            "in the last hour".to_owned()
        }
    }

    fn again_row(&mut self, failing: &FailingWorkload, times: u64) {
        let Some(last) = failing.last.front() else {
            return;
        };
        let (name, kind) = workload(failing);
        let mut hasher = DefaultHasher::new();
        (name, kind).hash(&mut hasher);
        let id = format!("w{:012x}", hasher.finish() >> 16);
        let anchor = self.anchor(Some(&id));
        let open = if self.is_open(Some(&id)) { " open" } else { "" };
        self.html += &format!(
            "<li{anchor}><details{open}><summary><span class=\"name\">{}</span> \
             <span class=\"service\">{kind}</span> <span class=\"why\"><b>{}</b> {}</span> \
             <span class=\"when\">{}</span> <span class=\"times\">{} {}</span></summary>\n",
            Name(name),
            last.code.map(|code| code.to_string()).unwrap_or_default(),
            why(last.code, last.reason),
            time(last.at, self.now),
            count(times, "time"),
            self.seen_in(),
        );
        self.html += "<div class=\"details\">\n<table>\n<thead><tr><th scope=\"col\">Container</th><th scope=\"col\">Code and reason</th>\
                      <th scope=\"col\">Ended</th><th scope=\"col\">Ran</th></tr></thead>\n<tbody>\n";
        for failure in &failing.last {
            self.failure(failure);
        }
        self.html += "</tbody>\n</table>\n<p class=\"links\">";
        self.link_to_service(&failing.service);
        self.link_to_row(&id);
        self.html += "</p>\n</div>\n</details></li>\n";
    }

    fn failure(&mut self, failure: &Failure) {
        self.html += &format!(
            "<tr><th scope=\"row\" class=\"name\">{}</th><td class=\"why\"><b>{}</b> {}</td>\
             <td class=\"when\">{}</td><td class=\"ran\">{}</td></tr>\n",
            Name(&failure.name),
            failure
                .code
                .map(|code| code.to_string())
                .unwrap_or_default(),
            why(failure.code, failure.reason),
            time(failure.at, self.now),
            failure.duration.map(span).unwrap_or_default(),
        );
    }
}

/// What a workload is called, and whether that is a service or an image.
pub(super) fn workload(failing: &FailingWorkload) -> (&str, &'static str) {
    if failing.service.is_empty() {
        (&failing.image, "image")
    } else {
        (&failing.service, "service")
    }
}

/// What comes first in Docker's words for a failed start, and tells nothing of why.
const PREAMBLE: [&str; 6] = [
    "failed to create task for container: ",
    "failed to create shim task: ",
    "OCI runtime create failed: ",
    "runc create failed: ",
    "unable to start container process: ",
    "error during container init: ",
];

/// Docker's words for a failed start without those that come first in all of them.
fn gist(error: &str) -> &str {
    let starts = PREAMBLE.iter();
    starts.fold(error, |rest, start| {
        rest.strip_prefix(start).unwrap_or(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_is_about() {
        for (error, want) in [
            ("", ""),
            ("no such image", "no such image"),
            (
                "failed to create task for container: failed to create shim task: OCI runtime create \
                 failed: runc create failed: unable to start container process: error during container \
                 init: exec: \"a\": stat a: no such file or directory: unknown",
                "exec: \"a\": stat a: no such file or directory: unknown",
            ),
            (
                "failed to create shim task: OCI runtime create failed: runc create failed: invalid rootfs",
                "invalid rootfs",
            ),
            (
                "driver failed: runc create failed: x",
                "driver failed: runc create failed: x",
            ),
        ] {
            assert_eq!(gist(error), want);
        }
    }
}
