//! What a reader wants to see: the parameters of the page's URL.

use form_urlencoded::Serializer;

use crate::reason::Reason;

/// So many letters of a parameter are read: more than the longest name that the page shows has.
pub(super) const LETTERS: usize = 200;

/// What a reader wants to see. Each is a URL that can be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// `q`: a text that is in the name, the service or the image, or that the id begins with; empty for all.
    pub text: String,
    /// `service`: the name of a service, as the page shows it; empty for all.
    pub service: String,
    /// `reason`: the reason of the exit.
    pub reason: Option<Reason>,
    /// `failures`: failures only.
    pub failures: bool,
    /// `down`: what is down now only.
    pub down: bool,
    /// `page`: which page of the history, from 2; 0 for the one with the row that is open, or the first.
    pub page: usize,
    /// `refresh=off`: the page is not to renew itself.
    pub stays: bool,
    /// `open`: the short id of the container whose row is open, or that of a workload; empty for none.
    pub open: String,
}

impl View {
    /// Reads the query of a URL, without its `?`. What is wrong is as if it were not there, what is long is
    /// cut; of what is there twice, the last counts.
    #[must_use]
    pub fn parse(query: &str) -> Self {
        let mut view = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "q" => view.text = cut(&value),
                "service" => view.service = cut(&value),
                "reason" => view.reason = Reason::ALL.into_iter().find(|it| it.name() == value),
                "failures" => view.failures = true,
                "down" => view.down = true,
                // The first one is where everyone begins.
                "page" => view.page = value.parse().ok().filter(|it| *it > 1).unwrap_or_default(),
                "refresh" => view.stays = value == "off",
                "open" => view.open = cut(&value),
                _ => {}
            }
        }
        view
    }

    /// The query of a URL that [`View::parse`] reads as this, with its `?`; empty if all is as usual. It
    /// has only ASCII letters, digits and `?*-._+%=&`: in HTML, `&` is to be escaped.
    #[must_use]
    pub fn query(&self) -> String {
        let mut query = Serializer::for_suffix("?".to_owned(), 1);
        for (name, value) in [
            ("q", &*self.text),
            ("service", &*self.service),
            ("reason", self.reason.map_or("", Reason::name)),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        for (name, is_on) in [("failures", self.failures), ("down", self.down)] {
            if is_on {
                query.append_key_only(name);
            }
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        if self.stays {
            query.append_pair("refresh", "off");
        }
        if !self.open.is_empty() {
            query.append_pair("open", &self.open);
        }
        let query = query.finish();
        if query == "?" { String::new() } else { query }
    }
}

/// What counts of a text that someone has typed.
fn cut(text: &str) -> String {
    let text = text.trim();
    let end = text.char_indices().nth(LETTERS);
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
        let long = "ü".repeat(LETTERS);
        let as_usual = View::default();
        let text = |text: &str| View {
            text: text.to_owned(),
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
            ("", as_usual.clone()),
            ("&&=&=x&nothing&Q=x&%71%00=x", as_usual.clone()),
            ("q=web", text("web")),
            ("%71=w%65b", text("web")),
            ("q=+a+%26b%3D%2B%20", text("a &b=+")),
            ("q=%C3%A9%e9%zz%", text("é\u{fffd}%zz%")),
            ("q=a=b", text("a=b")),
            ("q=%00%22%3Cb%3E'", text("\0\"<b>'")),
            (&format!("q={long}x"), text(&long)),
            (
                &format!("q={}x", "+x".repeat(LETTERS)),
                text(&" x".repeat(LETTERS / 2 + 1)[1..LETTERS]),
            ),
            ("q=a&q=b", text("b")),
            ("q=a&q=", as_usual.clone()),
            ("reason=oom_killed", reason(Some(Reason::OomKilled))),
            ("reason=Error", as_usual.clone()),
            ("reason=error&reason=", as_usual.clone()),
            ("page=7", page(7)),
            ("page=1", as_usual.clone()),
            ("page=0", as_usual.clone()),
            ("page=-1", as_usual.clone()),
            ("page=7x", as_usual.clone()),
            ("page=99999999999999999999", as_usual.clone()),
            ("refresh=on", as_usual.clone()),
            (
                "service=shop/web&failures&down=1&refresh=off&open=5af3",
                View {
                    service: "shop/web".to_owned(),
                    failures: true,
                    down: true,
                    stays: true,
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
        fn each_view_is_what_its_query_says(
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
