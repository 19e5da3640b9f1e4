//! The details of one exit, with commands to copy.

use std::fmt::Display;

use crate::ledger::ContainerStatus;

use super::Page;
use super::meaning::words;
use super::snapshot::Row;
use super::text::{Escaped, EscapedName, shown, utc};

/// The length of a short id, as Docker prints it.
pub(super) const SHORT_ID_CHARS: usize = 12;

/// The short form of a container id; `None` if this is not an id, and must not appear in a URL.
pub(super) fn short_id(id: &str) -> Option<&str> {
    let short = id.get(..SHORT_ID_CHARS)?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(short)
}

/// The container's name, or its short id if it has no name: Docker has half removed it.
pub(super) fn display_name(row: &Row) -> &str {
    if row.name.is_empty() {
        short_id(&row.id).unwrap_or("no name")
    } else {
        &row.name
    }
}

/// Whether a shell takes this text as one word that is not an option.
fn is_shell_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= 255
        && text.bytes().all(is_plain)
        && !text.starts_with(['-', '.'])
        && !text.is_empty()
}

impl Page<'_> {
    pub(super) fn push_details(&mut self, row: &Row) {
        self.html += "<div class=\"details\">\n";
        if !row.error.is_empty() {
            self.html += &format!("<p class=\"error\">{}</p>\n", Escaped(&row.error));
        }
        self.push_commands(row);
        self.html += "<dl class=\"facts\">\n";
        if let Some(id) = short_id(&row.id) {
            self.push_fact("Id", id);
        }
        self.push_fact("Image", EscapedName(&row.image));
        let started_at = row.finished_at().zip(row.duration);
        let started_at = started_at.and_then(|(end, ran)| end.checked_sub(ran).ok());
        for (name, at) in [
            ("Created", row.created),
            ("Started", started_at),
            ("Ended", row.finished_at()),
        ] {
            if let Some(at) = at {
                self.push_fact(name, utc(at));
            }
        }
        if let Some(policy) = row.restart_policy {
            self.push_fact("Restart policy", policy.name());
        }
        if let Some(restarts) = row.restart_count {
            self.push_fact("Restarts", restarts);
        }
        self.html += "</dl>\n<p class=\"labels\">";
        for label in split_labels(&row.labels) {
            self.html += &format!("<code>{}</code>\n", Escaped(label));
        }
        self.html += "</p>\n";
        self.push_links(row);
        self.html += "</div>\n";
    }

    fn push_commands(&mut self, row: &Row) {
        let name = Some(&*row.name).filter(|name| is_shell_word(name));
        let tool = self.engine().to_ascii_lowercase();
        let mut commands = Vec::new();
        if row.status == ContainerStatus::Removed {
            self.html += "<p>It is removed, and its log with it.</p>\n";
        } else if let Some(name) = name.or(short_id(&row.id)) {
            commands.push(format!("{tool} logs --tail 100 {name}"));
            commands.push(format!("{tool} inspect {name}"));
        }
        if row.is_swarm && is_shell_word(&row.service) {
            commands.push(format!("docker service ps --no-trunc {}", row.service));
        }
        for command in commands {
            self.html += &format!("<pre><code>{command}</code></pre>\n");
        }
    }

    pub(super) fn push_fact(&mut self, name: &str, value: impl Display) {
        self.html += &format!("<div><dt>{name}</dt><dd>{value}</dd></div>\n");
    }

    fn push_links(&mut self, row: &Row) {
        self.html += "<p class=\"links\">";
        self.push_service_link(&row.service);
        let link = self.link_anew(|view| view.reason = Some(row.reason));
        let reason = words(row.reason);
        self.html += &format!("<a href=\"{link}\">all with this reason: {reason}</a>\n");
        if let Some(id) = short_id(&row.id) {
            self.push_row_link(id);
        }
        self.html += "</p>\n";
    }

    /// Appends a link to all exits of a service, unless the name is empty.
    pub(super) fn push_service_link(&mut self, service: &str) {
        if !service.is_empty() {
            let link = self.link_anew(|view| view.service = shown(service).into_owned());
            self.html += &format!("<a href=\"{link}\">all of this service</a>\n");
        }
    }

    /// Appends a link to this view with the row open. It stays open when the page refreshes.
    pub(super) fn push_row_link(&mut self, id: &str) {
        let link = self.link_to_row(id, self.view.clone());
        self.html += &format!("<a href=\"{link}\">link to this row</a>\n");
    }
}

/// Splits a rendered label set at its commas, but not within quotes.
fn split_labels(labels: &str) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut is_escaped) = (false, false);
    let split = labels.split(move |letter| {
        let is_end = letter == ',' && !in_quotes;
        in_quotes ^= letter == '"' && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        is_end
    });
    split.filter(|label| !label.is_empty())
}
