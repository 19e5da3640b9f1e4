//! All that is known of one exit, and what to type next.

use jiff::Timestamp;

use super::Page;
use super::meaning::words;
use super::snapshot::{Now, Row};
use super::text::{Name, Text, shown, utc};

/// So long are ids where Docker prints them.
pub(super) const ID_LETTERS: usize = 12;

/// The first digits of an id, as Docker prints it; `None` if it is none, and so has no place in a URL.
pub(super) fn short_id(id: &str) -> Option<&str> {
    let short = id.get(..ID_LETTERS)?;
    let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(short)
}

/// What an exit's container is called. One that Docker has half removed has no name.
pub(super) fn called(row: &Row) -> &str {
    if row.name.is_empty() {
        short_id(&row.id).unwrap_or("no name")
    } else {
        &row.name
    }
}

/// Whether a shell takes this text as one word that is no option.
fn is_word(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    text.len() <= 255
        && text.bytes().all(is_letter)
        && !text.starts_with(['-', '.'])
        && !text.is_empty()
}

impl Page<'_> {
    /// Draws what is known of a row, and what to type.
    pub(super) fn details(&mut self, row: &Row) {
        self.html += "<div class=\"details\">\n";
        if !row.error.is_empty() {
            self.html += &format!("<p class=\"error\">{}</p>\n", Text(&row.error));
        }
        self.commands(row);
        self.html += "<dl class=\"facts\">\n";
        if let Some(id) = short_id(&row.id) {
            self.fact("Id", id);
        }
        self.fact("Image", format_args!("{}", Name(&row.image)));
        let began = row.ended().zip(row.duration);
        let began = began.and_then(|(end, ran)| end.checked_sub(ran).ok());
        self.moment("Created", row.created);
        self.moment("Started", began);
        self.moment("Ended", row.ended());
        if let Some(policy) = row.restart_policy {
            self.fact("Restart policy", policy.name());
        }
        if let Some(restarts) = row.restart_count {
            self.fact("Restarts", restarts);
        }
        self.html += "</dl>\n";
        self.labels(&row.labels);
        self.links(row);
        self.html += "</div>\n";
    }

    fn commands(&mut self, row: &Row) {
        let name = Some(&*row.name).filter(|name| is_word(name));
        let tool = self.engine().to_ascii_lowercase();
        let mut lines = Vec::new();
        if row.now == Now::Removed {
            self.html += "<p>It is removed, and its log with it.</p>\n";
        } else if let Some(name) = name.or(short_id(&row.id)) {
            lines.push(format!("{tool} logs --tail 100 {name}"));
            lines.push(format!("{tool} inspect {name}"));
        }
        if row.of_swarm && is_word(&row.service) {
            lines.push(format!("docker service ps --no-trunc {}", row.service));
        }
        for line in lines {
            self.html += &format!("<pre><code>{line}</code></pre>\n");
        }
    }

    fn fact(&mut self, name: &str, what: impl std::fmt::Display) {
        self.html += &format!("<div><dt>{name}</dt><dd>{what}</dd></div>\n");
    }

    fn moment(&mut self, name: &str, at: Option<Timestamp>) {
        if let Some(at) = at.map(utc) {
            self.fact(name, at);
        }
    }

    /// The labels of its series, one on a line.
    fn labels(&mut self, labels: &str) {
        self.html += "<p class=\"labels\">";
        for label in label_lines(labels) {
            self.html += &format!("<code>{}</code>\n", Text(label));
        }
        self.html += "</p>\n";
    }

    fn links(&mut self, row: &Row) {
        self.html += "<p class=\"links\">";
        self.link_to_service(&row.service);
        let link = self.link_anew(|view| view.reason = Some(row.reason));
        let reason = words(row.reason);
        self.html += &format!("<a href=\"{link}\">all with this reason: {reason}</a>\n");
        if let Some(id) = short_id(&row.id) {
            self.link_to_row(id);
        }
        self.html += "</p>\n";
    }

    /// Draws a link to all of a service, if it is one.
    pub(super) fn link_to_service(&mut self, service: &str) {
        if !service.is_empty() {
            let link = self.link_anew(|view| view.service = shown(service).into_owned());
            self.html += &format!("<a href=\"{link}\">all of this service</a>\n");
        }
    }

    /// Draws a link to a row that is open there, also when the page is renewed.
    pub(super) fn link_to_row(&mut self, id: &str) {
        let link = self.link_to(id, self.view.clone());
        self.html += &format!("<a href=\"{link}\">link to this row</a>\n");
    }
}

/// The labels of a series, one by one.
fn label_lines(labels: &str) -> impl Iterator<Item = &str> {
    let mut rest = labels;
    std::iter::from_fn(move || {
        let mut quoted = false;
        let mut escaped = false;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b',' && !quoted;
            quoted ^= byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let (label, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, ""),
        };
        rest = after;
        (!label.is_empty()).then_some(label)
    })
}
