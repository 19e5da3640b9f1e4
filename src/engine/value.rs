//! Lenient access to the Engine's JSON: a value that has the wrong type or is too long is absent.

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

/// Docker labels in byte order of their keys, within [`limits::LABEL_BYTES`] for a value and
/// [`limits::LABELS_BYTES`] in total.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Labels {
    pub(super) kept: BTreeMap<String, String>,
    pub(super) left_out: usize,
}

impl Labels {
    /// The number of labels beyond the limits.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

impl Deref for Labels {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        &self.kept
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(labels: T) -> Self {
        Self {
            kept: labels.into_iter().collect(),
            left_out: 0,
        }
    }
}

/// A JSON string within [`limits::TEXT_BYTES`]. It is borrowed if it has no escapes.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    text_up_to(raw, limits::TEXT_BYTES)
}

/// Whether this is a string that is too long for [`text`].
pub(super) fn is_long_text(raw: &RawValue) -> bool {
    raw.get().len() > limits::TEXT_BYTES && raw.get().starts_with('"')
}

pub(super) fn text_up_to(raw: &RawValue, max_bytes: usize) -> Option<Cow<'_, str>> {
    #[derive(serde::Deserialize)]
    struct JsonString<'a>(#[serde(borrow)] Cow<'a, str>);
    if raw.get().len() > max_bytes {
        return None;
    }
    let text: Option<JsonString<'_>> = serde_json::from_str(raw.get()).ok();
    text.map(|JsonString(text)| text)
}

/// Fails if the JSON is a string where another type is needed. The error of `serde_json` would quote
/// all of it, however long.
pub(super) fn refuse_string(text: &str) -> serde_json::Result<()> {
    if text.trim_ascii_start().starts_with('"') {
        return Err(serde_json::Error::custom("it is a string"));
    }
    Ok(())
}

/// The values of these keys of an object. Of a repeated key the last one counts.
///
/// # Errors
/// If the text is not a JSON object.
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

/// The same for a nested value of any type.
pub(super) fn fields_of<'a, const N: usize>(
    raw: Option<&'a RawValue>,
    keys: [&str; N],
) -> [Option<&'a RawValue>; N] {
    let fields = raw.and_then(|raw| fields(raw.get(), keys).ok());
    fields.unwrap_or([None; N])
}

/// A number or a boolean.
pub(super) fn scalar<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    let text = raw?.get();
    refuse_string(text).ok()?;
    serde_json::from_str(text).ok()
}

/// The labels of an object, within the limits.
pub(super) fn labels(raw: Option<&RawValue>) -> Labels {
    let mut labels = BoundedLabels::default();
    for_each_field(raw, |key, value| labels.insert(key, value));
    labels.labels
}

/// Collects labels within the [`limits`].
#[derive(Debug, Default)]
pub(super) struct BoundedLabels {
    pub(super) labels: Labels,
    bytes: usize,
}

impl BoundedLabels {
    /// Adds a label. A value that is not a string is skipped.
    pub(super) fn insert(&mut self, key: String, raw: &RawValue) {
        // A byte takes up to six as JSON: `\u0001`.
        let max_bytes = 6 * limits::LABEL_BYTES + 2;
        let value = text_up_to(raw, max_bytes);
        let is_too_long = match &value {
            Some(value) => value.len() > limits::LABEL_BYTES,
            None => raw.get().len() > max_bytes && is_long_text(raw),
        };
        let is_one_of = |keys: &[&str]| keys.contains(&key.as_str());
        let hides = is_one_of(&keys::HIDE_ATTRIBUTES);
        let is_needed = hides || is_one_of(&keys::ALL);
        match value.filter(|_| !is_too_long) {
            Some(value) => {
                let size = key.len() + value.len() + limits::LABEL_OVERHEAD_BYTES;
                let bytes = if is_needed { 0 } else { size };
                if self.bytes + bytes <= limits::LABELS_BYTES {
                    self.bytes += bytes;
                    self.labels.kept.insert(key, value.into_owned());
                } else {
                    self.labels.left_out += 1;
                }
            }
            None if is_too_long => {
                self.labels.left_out += 1;
                if hides {
                    // Its presence matters, even without the value.
                    self.labels.kept.insert(key, String::new());
                }
            }
            None => {}
        }
    }
}

/// Calls `take` with each key and value of an object.
pub(super) fn for_each_field(raw: Option<&RawValue>, take: impl FnMut(String, &RawValue)) {
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
        // A value that is not an object has no fields.
        let _ = deserializer.deserialize_map(Each(take));
    }
}
