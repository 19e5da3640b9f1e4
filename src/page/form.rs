//! The search form, the active filters, and the link that switches the automatic refresh.

use crate::reason::Reason;

use super::down::MAX_SECTION_BYTES;
use super::meaning::words;
use super::text::{Escaped, clock, shown};
use super::view::{MAX_PARAMETER_CHARS, View};
use super::{Page, REFRESH_SECONDS, flag, href};

/// Services in the selection. Others are found by a part of their name.
const MAX_SERVICES: usize = 300;

impl Page<'_> {
    pub(super) fn push_form(&mut self) {
        let view = self.view;
        self.html += &format!(
            "<form id=\"search\" action=\"./\" role=\"search\">\n\
             <label>Search <input type=\"search\" name=\"q\" value=\"{}\" maxlength=\"{MAX_PARAMETER_CHARS}\" \
             placeholder=\"name, service, image or id\"></label>\n",
            Escaped(&view.search)
        );
        let services = std::mem::take(&mut self.selection.services);
        if !services.is_empty() || !view.service.is_empty() {
            // Shortened as in a view. Some may then be equal.
            let services = services.into_iter().take(MAX_SERVICES);
            let services = services.map(|it| shown(it).trim().to_owned());
            let mut services: Vec<_> = services.filter(|it| *it != view.service).collect();
            services.sort_unstable();
            services.dedup();
            if !view.service.is_empty() {
                services.insert(0, view.service.clone());
            }
            let options = services.iter().map(|it| (&**it, it.clone()));
            self.push_select("Service", "service", options, &view.service);
        }
        let reasons = Reason::ALL.into_iter().map(|it| (it.name(), words(it)));
        let chosen = view.reason.map_or("", Reason::name);
        self.push_select("Reason", "reason", reasons, chosen);
        let checked = flag(" checked", view.only_failures);
        self.html += &format!(
            "<label class=\"check\"><input type=\"checkbox\" name=\"failures\" value=\"1\"{checked}> \
             failures only</label>\n"
        );
        if view.only_down {
            self.html += "<input type=\"hidden\" name=\"down\" value=\"1\">\n";
        }
        if view.is_refresh_off {
            self.html += "<input type=\"hidden\" name=\"refresh\" value=\"off\">\n";
        }
        self.html += "<button>Show</button>\n";
        self.push_show_all();
        self.html += "</form>\n";
    }

    fn push_select<'a>(
        &mut self,
        label: &str,
        name: &str,
        options: impl Iterator<Item = (&'a str, String)>,
        chosen: &str,
    ) {
        self.html +=
            &format!("<label>{label} <select name=\"{name}\"><option value=\"\">all</option>\n");
        let before = self.html.len();
        for (value, text) in options {
            if self.html.len() - before > MAX_SECTION_BYTES {
                break;
            }
            self.html += &format!(
                "<option value=\"{}\"{}>{}</option>\n",
                Escaped(value),
                flag(" selected", value == chosen),
                Escaped(&text)
            );
        }
        self.html += "</select></label>\n";
    }

    /// Appends the time of the page, and the link that switches the automatic refresh.
    pub(super) fn push_refresh(&mut self) {
        let link = href(&View {
            is_refresh_off: !self.view.is_refresh_off,
            ..self.view.clone()
        });
        let (status, action) = if self.view.is_refresh_off {
            ("not renewed".to_owned(), "Renew")
        } else {
            (format!("renewed every {REFRESH_SECONDS} s"), "Stop renewal")
        };
        self.html += &format!(
            "<p class=\"renewal\">As of {} UTC, {status}. <a href=\"{link}\">{action}</a>",
            clock(self.now)
        );
        if self.is_known() {
            self.html += " <a href=\"#search\">Search</a>";
        }
        self.html += "</p>\n";
    }

    /// Appends the active search and filters, if there are any.
    pub(super) fn push_filters(&mut self) {
        let view = self.view;
        let mut filters = Vec::new();
        if !view.search.is_empty() {
            filters.push(format!("“{}”", Escaped(&view.search)));
        }
        if !view.service.is_empty() {
            filters.push(format!("service {}", Escaped(&view.service)));
        }
        if let Some(reason) = view.reason {
            filters.push(format!("reason {}", words(reason)));
        }
        if !filters.is_empty() {
            self.html += &format!("<p class=\"limits\">Below: {}. ", filters.join(", "));
            self.push_show_all();
            self.html += "</p>\n";
        }
    }

    /// Appends a link to the unfiltered view, unless this is it.
    fn push_show_all(&mut self) {
        let all = View {
            is_refresh_off: self.view.is_refresh_off,
            ..View::default()
        };
        let this = View {
            page: 0,
            open: String::new(),
            ..self.view.clone()
        };
        if this != all {
            self.html += &format!("<a href=\"{}\">Show all</a>\n", href(&all));
        }
    }
}
