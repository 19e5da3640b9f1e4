//! Docker labels that configure how the exporter treats a container.

use crate::engine::Labels;
use crate::labels::keys;

/// The options of one container. Few containers have any.
#[derive(Debug)]
pub(super) struct LabelOptions {
    /// Neither show nor count its exits.
    pub(super) ignore: bool,
    /// Exit codes that mean success, besides 0.
    pub(super) expected_codes: Box<[i64]>,
}

impl LabelOptions {
    /// Parses the options. `None` if there are none.
    pub(super) fn of(labels: &Labels) -> Option<Box<Self>> {
        let keys = [keys::IGNORE, keys::EXPECTED_CODES];
        if !keys.iter().any(|key| labels.contains_key(*key)) {
            return None;
        }
        let label = |key: &str| labels.get(key).map_or("", |value| value.trim());
        let codes = label(keys::EXPECTED_CODES).split(',');
        Some(Box::new(Self {
            ignore: label(keys::IGNORE).eq_ignore_ascii_case("true"),
            // Anything but a number is ignored.
            expected_codes: codes.filter_map(|code| code.trim().parse().ok()).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let of = |ignore: &str, codes: &str| {
            let pairs = [(keys::IGNORE, ignore), (keys::EXPECTED_CODES, codes)];
            let labels = pairs.iter().filter(|(_, value)| !value.is_empty());
            let labels = labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            let options = LabelOptions::of(&labels.collect());
            options.map(|it| (it.ignore, it.expected_codes.to_vec()))
        };
        for (ignore, codes, want) in [
            ("", "", None),
            ("true", "", Some((true, vec![]))),
            (" True ", "", Some((true, vec![]))),
            ("1", "", Some((false, vec![]))),
            ("yes", "3", Some((false, vec![3]))),
            ("", "0,3,143", Some((false, vec![0, 3, 143]))),
            ("", " 0 , 3,,x,4.5,-1,", Some((false, vec![0, 3, -1]))),
            ("", "99999999999999999999", Some((false, vec![]))),
        ] {
            assert_eq!(of(ignore, codes), want, "{ignore:?} {codes:?}");
        }
    }
}
