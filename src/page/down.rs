//! The sections of what is down now and of what fails repeatedly.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::SignedDuration;

use crate::ledger::FailingWorkload;
use crate::one_line::OneLine;

use super::details::{display_name, short_id};
use super::meaning::code_and_reason;
use super::selection::MIN_REPEATED_FAILURES;
use super::snapshot::Row;
use super::text::{Escaped, EscapedName, count, since, span, time};
use super::{Page, flag};

/// Rows of what is down. A link leads to the others.
const MAX_DOWN_ROWS: usize = 100;

const MAX_REPEATED_ROWS: usize = 30;

/// A section gets no more rows beyond this: labels can be long.
pub(super) const MAX_SECTION_BYTES: usize = 192 * 1024;

/// Characters of the Engine's error in a closed row.
const MAX_ERROR_CHARS: usize = 300;

impl Page<'_> {
    pub(super) fn push_down(&mut self) {
        if self.selection.total_down == 0 {
            return;
        }
        self.html += "<section>\n<h2>Down now</h2>\n";
        let down = std::mem::take(&mut self.selection.down);
        if down.is_empty() {
            self.html += "<p class=\"empty\">Nothing that is down matches.</p>\n</section>\n";
            return;
        }
        // The newest rows come last, and are the last to be left out.
        let mut rows = VecDeque::new();
        let mut length = 0;
        for row in down.iter().rev().take(MAX_DOWN_ROWS) {
            if length > MAX_SECTION_BYTES {
                break;
            }
            let before = self.html.len();
            self.push_down_row(row);
            length += self.html.len() - before;
            rows.push_front(self.html.split_off(before));
        }
        if rows.len() < down.len() {
            let link = self.link(|view| (view.only_down, view.page) = (true, 0));
            self.html += &format!(
                "<p class=\"more\">{} more are down for longer: \
                 <a href=\"{link}#history\">all {} in the history</a></p>\n",
                down.len() - rows.len(),
                down.len()
            );
        }
        self.html += "<ul>\n";
        self.html.extend(rows);
        self.html += "</ul>\n</section>\n";
    }

    fn push_down_row(&mut self, row: &Row) {
        let id = short_id(&row.id);
        let anchor = self.anchor(id);
        let open = flag(" open", self.is_open(id));
        let since = match row.stopped_at {
            Some(at) => since(at, self.now),
            None => "time not known".to_owned(),
        };
        let ran = row.duration.map(|ran| format!("ran {}", span(ran)));
        let restarts = row.restart_count.map(|it| count(it, "restart"));
        self.html += &format!(
            "<li{anchor}><details{open}><summary><span class=\"name\">{}</span> \
             <span class=\"service\">{}</span> <span class=\"why\">{}</span> \
             <span class=\"when\">{since}</span> <span class=\"ran\">{}</span> \
             <span class=\"restarts\">{}</span>",
            EscapedName(display_name(row)),
            EscapedName(&row.service),
            code_and_reason(Some(row.code), row.reason),
            ran.unwrap_or_default(),
            restarts.unwrap_or_default(),
        );
        if !row.error.is_empty() {
            let error = OneLine::truncated(strip_runtime_prefixes(&row.error), MAX_ERROR_CHARS);
            let error = error.to_string();
            self.html += &format!(" <span class=\"error\">{}</span>", Escaped(&error));
        }
        self.html += "</summary>\n";
        self.push_details(row);
        self.html += "</details></li>\n";
    }

    /// Appends the workloads that fail repeatedly.
    pub(super) fn push_repeated(&mut self) {
        let repeated = std::mem::take(&mut self.selection.repeated);
        if repeated.is_empty() {
            return;
        }
        self.html += &format!(
            "<section>\n<h2>Again and again <small>{MIN_REPEATED_FAILURES} failures or more {}</small></h2>\n<ul>\n",
            self.failure_window()
        );
        for (failing, count) in repeated.iter().take(MAX_REPEATED_ROWS) {
            self.push_repeated_row(failing, *count);
        }
        self.html += "</ul>\n";
        if repeated.len() > MAX_REPEATED_ROWS {
            let more = repeated.len() - MAX_REPEATED_ROWS;
            self.html += &format!("<p class=\"more\">{more} more fail less often.</p>\n");
        }
        self.html += "</section>\n";
    }

    /// The time over which failures are counted: an hour, or less if the exporter has just started.
    pub(super) fn failure_window(&self) -> String {
        let uptime = self.now.duration_since(self.snapshot.host.started);
        if uptime.as_secs() < 3600 {
            // The Engine's clock may have been set back.
            format!("in {}", span(uptime.max(SignedDuration::ZERO)))
        } else {
            "in the last hour".to_owned()
        }
    }

    fn push_repeated_row(&mut self, failing: &FailingWorkload, times: u64) {
        let Some(last) = failing.last.front() else {
            return;
        };
        let (name, kind) = workload_name(failing);
        let mut hasher = DefaultHasher::new();
        (name, kind).hash(&mut hasher);
        let id = format!("w{:012x}", hasher.finish() >> 16);
        let anchor = self.anchor(Some(&id));
        let open = flag(" open", self.is_open(Some(&id)));
        self.html += &format!(
            "<li{anchor}><details{open}><summary><span class=\"name\">{}</span> \
             <span class=\"service\">{kind}</span> <span class=\"why\">{}</span> \
             <span class=\"when\">{}</span> <span class=\"times\">{} {}</span></summary>\n",
            EscapedName(name),
            code_and_reason(last.code, last.reason),
            time(last.at, self.now),
            count(times, "time"),
            self.failure_window(),
        );
        self.html += "<div class=\"details\">\n<table>\n<thead><tr><th scope=\"col\">Container</th><th scope=\"col\">Code and reason</th>\
                      <th scope=\"col\">Ended</th><th scope=\"col\">Ran</th></tr></thead>\n<tbody>\n";
        for failure in &failing.last {
            self.html += &format!(
                "<tr><th scope=\"row\" class=\"name\">{}</th><td class=\"why\">{}</td>\
                 <td class=\"when\">{}</td><td class=\"ran\">{}</td></tr>\n",
                EscapedName(&failure.name),
                code_and_reason(failure.code, failure.reason),
                time(failure.at, self.now),
                failure.duration.map(span).unwrap_or_default(),
            );
        }
        self.html += "</tbody>\n</table>\n<p class=\"links\">";
        self.push_service_link(&failing.service);
        self.push_row_link(&id);
        self.html += "</p>\n</div>\n</details></li>\n";
    }
}

/// A workload's name, and whether that is a service or an image.
pub(super) fn workload_name(failing: &FailingWorkload) -> (&str, &'static str) {
    if failing.service.is_empty() {
        (&failing.image, "image")
    } else {
        (&failing.service, "service")
    }
}

/// Prefixes of Docker's error for a failed start that do not say why it failed.
const RUNTIME_PREFIXES: [&str; 6] = [
    "failed to create task for container: ",
    "failed to create shim task: ",
    "OCI runtime create failed: ",
    "runc create failed: ",
    "unable to start container process: ",
    "error during container init: ",
];

fn strip_runtime_prefixes(error: &str) -> &str {
    let prefixes = RUNTIME_PREFIXES.iter();
    prefixes.fold(error, |rest, prefix| {
        rest.strip_prefix(prefix).unwrap_or(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_prefixes_are_stripped() {
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
            assert_eq!(strip_runtime_prefixes(error), want);
        }
    }
}
