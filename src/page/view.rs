//! What the page shows, as the parameters of its URL.

use form_urlencoded::Serializer;

use crate::reason::Reason;

/// Characters of a parameter that are read: more than the longest name that the page shows.
pub(super) const MAX_PARAMETER_CHARS: usize = 200;

/// Search, filters and the open row. Each view has a URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// `q`: part of a name, service or image, or the beginning of an id; empty for all.
    pub search: String,
    /// `service`: the name of a service as the page shows it; empty for all.
    pub service: String,
    /// `reason`: the reason of the exit.
    pub reason: Option<Reason>,
    /// `failures`: only failures.
    pub only_failures: bool,
    /// `down`: only what is down now.
    pub only_down: bool,
    /// `page`: the page of the history, from 2; 0 for the page with the open row, or else the first.
    pub page: usize,
    /// `refresh=off`: the page does not refresh itself.
    pub is_refresh_off: bool,
    /// `open`: the short id of the container, or the id of the workload, whose row is open; empty for none.
    pub open: String,
}

impl View {
    /// Parses the query of a URL, without its `?`. Invalid parameters are ignored, long ones are cut, and
    /// of repeated ones the last counts.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut view = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "q" => view.search = cut(&value),
                "service" => view.service = cut(&value),
                "reason" => view.reason = Reason::ALL.into_iter().find(|it| it.name() == value),
                "failures" => view.only_failures = true,
                "down" => view.only_down = true,
                // The first page needs no parameter.
                "page" => view.page = value.parse().ok().filter(|it| *it > 1).unwrap_or_default(),
                "refresh" => view.is_refresh_off = value == "off",
                "open" => view.open = cut(&value),
                _ => {}
            }
        }
        view
    }

    /// The query that [`View::parse`] reads as this view, with its `?`; empty for the default view. It has
    /// only ASCII letters, digits and `?*-._+%=&`, of which HTML must escape `&`.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = Serializer::for_suffix("?".to_owned(), 1);
        for (name, value) in [
            ("q", &*self.search),
            ("service", &*self.service),
            ("reason", self.reason.map_or("", Reason::name)),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        for (name, is_on) in [("failures", self.only_failures), ("down", self.only_down)] {
            if is_on {
                query.append_key_only(name);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        if self.is_refresh_off {
            query.append_pair("refresh", "off");
        }
        if !self.open.is_empty() {
            query.append_pair("open", &self.open);
        }
        let query = query.finish();
        if query == "?" { String::new() } else { query }
    }
}

/// Trims and cuts the value of a parameter.
fn cut(text: &str) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(MAX_PARAMETER_CHARS);
    text[..end.map_or(text.len(), |(at, _)| at)]
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries() {
        let long = "ü".repeat(MAX_PARAMETER_CHARS);
        let default = View::default();
        let text = |text: &str| View {
            search: text.to_owned(),
            ..View::default()
        };
        let reason = |reason| View {
            reason,
            ..View::default()
        };
        let page = |page| View {
            page,
            ..View::default()
        };
        for (query, want) in [
            ("", default.clone()),
            ("&&=&=x&nothing&Q=x&%71%00=x", default.clone()),
            ("q=web", text("web")),
            ("%71=w%65b", text("web")),
            ("q=+a+%26b%3D%2B%20", text("a &b=+")),
            ("q=%C3%A9%e9%zz%", text("é\u{fffd}%zz%")),
            ("q=a=b", text("a=b")),
            ("q=%00%22%3Cb%3E'", text("\0\"<b>'")),
            (&format!("q={long}x"), text(&long)),
            (
                &format!("q={}x", "+x".repeat(MAX_PARAMETER_CHARS)),
                text(&" x".repeat(MAX_PARAMETER_CHARS / 2 + 1)[1..MAX_PARAMETER_CHARS]),
            ),
            ("q=a&q=b", text("b")),
            ("q=a&q=", default.clone()),
            ("reason=oom_killed", reason(Some(Reason::OomKilled))),
            ("reason=Error", default.clone()),
            ("reason=error&reason=", default.clone()),
            ("page=7", page(7)),
            ("page=1", default.clone()),
            ("page=0", default.clone()),
            ("page=-1", default.clone()),
            ("page=7x", default.clone()),
            ("page=99999999999999999999", default.clone()),
            ("refresh=on", default.clone()),
            (
                "service=shop/web&failures&down=1&refresh=off&open=5af3",
                View {
                    service: "shop/web".to_owned(),
                    only_failures: true,
                    only_down: true,
                    is_refresh_off: true,
                    open: "5af3".to_owned(),
                    ..View::default()
                },
            ),
        ] {
            assert_eq!(View::parse(query), want, "{query}");
        }
    }

    proptest! {
        #[test]
        fn query_and_parse_are_inverse(
            query in "((q|service|reason|failures|down|page|refresh|open|x)(=(error|off|[0-9]{1,3}|\\PC{0,9}|[%+ \u{3000}a-f0-9]{0,200}))?&){0,9}"
        ) {
            let view = View::parse(&query);
            let query = view.query();
            prop_assert!(query.is_empty() || query.len() > 1 && query.starts_with('?'));
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"*-._+%=&".contains(&byte);
            prop_assert!(query.bytes().skip(1).all(is_plain), "{query}");
            prop_assert_eq!(View::parse(query.trim_start_matches('?')), view);
        }
    }
}
