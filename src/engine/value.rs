//! Values of the Engine's JSON, read with patience: what is of another type or too long is absent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

use super::limits;
use crate::labels::keys;

/// Docker labels, sorted by the bytes of their keys, as far as they are taken: no value is longer than
/// [`limits::LABEL_BYTES`], and all together have no more than [`limits::LABELS_BYTES`].
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Labels {
    pub(super) taken: BTreeMap<String, String>,
    pub(super) left_out: usize,
}

impl Labels {
    /// How many more there are.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

impl Deref for Labels {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.taken
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        Self {
            taken: labels.into_iter().collect(),
            left_out: 0,
        }
    }
}

/// A JSON string, borrowed where it has no escapes; absent if it is too long.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    text_within(raw, limits::TEXT_BYTES)
}

/// Whether it is a string that is too long for [`text`].
pub(super) fn is_long_text(raw: &RawValue) -> bool {
    raw.get().len() > limits::TEXT_BYTES && raw.get().starts_with('"')
}

pub(super) fn text_within(raw: &RawValue, most: usize) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    if raw.get().len() > most {
        return None;
    }
    let text: Option<Text<'_>> = serde_json::from_str(raw.get()).ok();
    text.map(|Text(text)| text)
}

/// Refuses a JSON text that is a string where something else is wanted. The error of `serde_json`
/// would quote the whole of it, however long it is.
pub(super) fn refuse_string(text: &str) -> serde_json::Result<()> {
    if text.trim_ascii_start().starts_with('"') {
        return Err(serde_json::Error::custom("it is a string"));
    }
    Ok(())
}

/// The values of these keys of an object, of each key the last; all others are skipped.
///
/// # Errors
/// If it is not a JSON object.
pub(super) fn fields<'a, const N: usize>(
    text: &'a str,
    keys: [&str; N],
) -> serde_json::Result<[Option<&'a RawValue>; N]> {
    refuse_string(text)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = Fields(keys).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(fields)
}

struct Fields<'k, const N: usize>([&'k str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Fields<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter().position(|it| *it == key) {
                Some(at) => values[at] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// The same of a value inside, which may be anything.
pub(super) fn fields_of<'a, const N: usize>(
    raw: Option<&'a RawValue>,
    keys: [&str; N],
) -> [Option<&'a RawValue>; N] {
    let fields = raw.and_then(|raw| fields(raw.get(), keys).ok());
    fields.unwrap_or([None; N])
}

/// A number or a truth value.
pub(super) fn scalar<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    let text = raw?.get();
    refuse_string(text).ok()?;
    serde_json::from_str(text).ok()
}

/// The labels of an object, as far as they are taken.
pub(super) fn labels(raw: Option<&RawValue>) -> Labels {
    let mut labels = Bounded::default();
    for_each_value(raw, |key, value| labels.insert(key, value));
    labels.labels
}

/// Labels within the [`limits`], while they are read.
#[derive(Debug, Default)]
pub(super) struct Bounded {
    pub(super) labels: Labels,
    bytes: usize,
}

impl Bounded {
    /// Takes in a label. What is no text is none.
    pub(super) fn insert(&mut self, key: String, raw: &RawValue) {
        let is_one_of = |keys: &[&str]| keys.contains(&key.as_str());
        let hides = is_one_of(&keys::HIDE_ATTRIBUTES);
        match LabelValue::of(raw) {
            LabelValue::NoText => {}
            LabelValue::Text(value) if hides || is_one_of(&keys::ALL) => {
                self.labels.taken.insert(key, value.into_owned());
            }
            LabelValue::Text(value) => {
                let bytes = self.bytes + key.len() + value.len() + limits::LABEL_PLACE;
                if bytes <= limits::LABELS_BYTES {
                    self.bytes = bytes;
                    self.labels.taken.insert(key, value.into_owned());
                } else {
                    self.labels.left_out += 1;
                }
            }
            LabelValue::TooLong => {
                self.labels.left_out += 1;
                if hides {
                    // That there is one must be known.
                    self.labels.taken.insert(key, String::new());
                }
            }
        }
    }
}

/// The value of a label.
enum LabelValue<'a> {
    /// It is no text, so it is no label.
    NoText,
    TooLong,
    Text(Cow<'a, str>),
}

impl<'a> LabelValue<'a> {
    fn of(raw: &'a RawValue) -> Self {
        // One byte is six at most, as in `\u0001`.
        let most = 6 * limits::LABEL_BYTES + 2;
        match text_within(raw, most) {
            Some(text) if text.len() <= limits::LABEL_BYTES => Self::Text(text),
            Some(_) => Self::TooLong,
            None if raw.get().len() > most && is_long_text(raw) => Self::TooLong,
            None => Self::NoText,
        }
    }
}

/// Calls `take` with each key of an object and its value.
pub(super) fn for_each_value(raw: Option<&RawValue>, take: impl FnMut(String, &RawValue)) {
    struct Each<F>(F);

    impl<'de, F: FnMut(String, &RawValue)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                (self.0)(key, value);
            }
            Ok(())
        }
    }

    if let Some(raw) = raw.filter(|raw| refuse_string(raw.get()).is_ok()) {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        // What is no object has none.
        let _ = deserializer.deserialize_map(Each(take));
    }
}
