//! What searches and filters, and switches the renewal.

use crate::reason::Reason;

use super::down::LONG;
use super::meaning::words;
use super::text::{Text, clock, shown};
use super::view::{LETTERS, View};
use super::{Page, RENEWED};

/// So many services can be chosen, at most. Others are found by a part of their names.
const SERVICES: usize = 300;

impl Page<'_> {
    /// Draws the form, and the link that switches the renewal.
    pub(super) fn form(&mut self) {
        let view = self.view;
        self.html += &format!(
            "<form id=\"search\" action=\"./\" role=\"search\">\n\
             <label>Search <input type=\"search\" name=\"q\" value=\"{}\" maxlength=\"{LETTERS}\" \
             placeholder=\"name, service, image or id\"></label>\n",
            Text(&view.text)
        );
        let services = std::mem::take(&mut self.selection.services);
        if !services.is_empty() || !view.service.is_empty() {
            // As a view has them: some may be the same by then.
            let services = services
                .into_iter()
                .take(SERVICES)
                .map(|it| shown(it).trim().to_owned());
            let mut services: Vec<_> = services.filter(|it| *it != view.service).collect();
            services.sort_unstable();
            services.dedup();
            if !view.service.is_empty() {
                services.insert(0, view.service.clone());
            }
            let options = services.iter().map(|it| (it.clone(), it.clone()));
            self.select("Service", "service", options, &view.service);
        }
        let reasons = Reason::ALL.map(|it| (it.name().to_owned(), words(it)));
        let chosen = view.reason.map(Reason::name).unwrap_or_default();
        self.select("Reason", "reason", reasons.into_iter(), chosen);
        let checked = if view.failures { " checked" } else { "" };
        self.html += &format!(
            "<label class=\"check\"><input type=\"checkbox\" name=\"failures\" value=\"1\"{checked}> \
             failures only</label>\n"
        );
        if view.down {
            self.html += "<input type=\"hidden\" name=\"down\" value=\"1\">\n";
        }
        if view.stays {
            self.html += "<input type=\"hidden\" name=\"refresh\" value=\"off\">\n";
        }
        self.html += "<button>Show</button>\n";
        self.show_all();
        self.html += "</form>\n";
    }

    fn select(
        &mut self,
        label: &str,
        name: &str,
        options: impl Iterator<Item = (String, String)>,
        chosen: &str,
    ) {
        self.html +=
            &format!("<label>{label} <select name=\"{name}\"><option value=\"\">all</option>\n");
        let before = self.html.len();
        for (value, text) in options {
            if self.html.len() - before > LONG {
                break;
            }
            let selected = if value == chosen { " selected" } else { "" };
            self.html += &format!(
                "<option value=\"{}\"{selected}>{}</option>\n",
                Text(&value),
                Text(&text)
            );
        }
        self.html += "</select></label>\n";
    }

    /// Draws when the page was made, and the link that switches its renewal.
    pub(super) fn renewal(&mut self) {
        let open = self.view.open.clone();
        let link = self.link(|view| {
            view.stays = !view.stays;
            view.open = open;
        });
        let (says, does) = if self.view.stays {
            ("not renewed".to_owned(), "Renew")
        } else {
            (format!("renewed every {RENEWED} s"), "Stop renewal")
        };
        self.html += &format!(
            "<p class=\"renewal\">As of {} UTC, {says}. <a href=\"{link}\">{does}</a>",
            clock(self.now)
        );
        if self.is_known() {
            self.html += " <a href=\"#search\">Search</a>";
        }
        self.html += "</p>\n";
    }

    /// Draws what the view is limited to, if it is, above all that it limits.
    pub(super) fn limits(&mut self) {
        let view = self.view;
        let mut limits = Vec::new();
        if !view.text.is_empty() {
            limits.push(format!("“{}”", Text(&view.text)));
        }
        if !view.service.is_empty() {
            limits.push(format!("service {}", Text(&view.service)));
        }
        if let Some(reason) = view.reason {
            limits.push(format!("reason {}", words(reason)));
        }
        if !limits.is_empty() {
            self.html += &format!("<p class=\"limits\">Below: {}. ", limits.join(", "));
            self.show_all();
            self.html += "</p>\n";
        }
    }

    /// Draws a link to the view that shows all, if this one does not.
    fn show_all(&mut self) {
        let all = View {
            stays: self.view.stays,
            ..View::default()
        };
        let this = View {
            page: 0,
            open: String::new(),
            ..self.view.clone()
        };
        if this != all {
            self.html += &format!("<a href=\"{}\">Show all</a>\n", super::href(&all));
        }
    }
}
