//! Values of the Engine's JSON, read with patience: what is of another type or too long is absent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Once;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor,
};
use serde_json::value::RawValue;

use super::limits;

/// Docker labels, sorted by the bytes of their keys.
pub type Labels = BTreeMap<String, String>;

/// A JSON string, borrowed where it has no escapes; absent if it is too long.
pub(super) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    text_within(raw, limits::TEXT_BYTES)
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

/// Labels, as far as they fit.
pub(super) fn labels(raw: Option<&RawValue>) -> Labels {
    let mut labels = Bounded::default();
    for_each_value(raw, |key, value| labels.insert(key, value));
    labels.labels
}

/// Labels of [`limits::LABELS_BYTES`] at most; what does not fit is left out.
#[derive(Debug, Default)]
pub(super) struct Bounded {
    pub(super) labels: Labels,
    bytes: usize,
}

impl Bounded {
    pub(super) fn insert(&mut self, key: String, value: &RawValue) {
        static SAID: Once = Once::new();
        let bytes = self.bytes + key.len() + value.get().len();
        if bytes > limits::LABELS_BYTES {
            let (length, most) = (value.get().len(), limits::LABELS_BYTES);
            SAID.call_once(|| {
                let key: String = key.chars().take(60).collect();
                log::warn!(
                    "a label of {length} bytes is left out ({key:?}): those of one container may have {most}"
                );
            });
            return;
        }
        if let Some(value) = text_within(value, limits::LABELS_BYTES) {
            self.bytes = bytes;
            self.labels.insert(key, value.into_owned());
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
