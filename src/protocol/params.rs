//! From the raw text of `params` to a type that can't be wrong.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{Error as SpyError, MapAccessDeserializer};
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::cut;
use super::error::RpcError;
use crate::domain::limits::PARAM_TEXT_BYTES;

/// Bytes of a name in a message, as encoded.
const NAME_BYTES: usize = 256;
/// Parameters that hold what is for an agent: how long their texts may be is looked at where they are understood.
const LONG: &[&str] = &["prompt", "text"];

/// The parameters of a method.
pub(super) trait Params: DeserializeOwned {
    /// Checks what the types of the fields alone can't: rules between fields.
    ///
    /// # Errors
    /// The refusal.
    fn checked(self) -> Result<Self, RpcError> {
        Ok(self)
    }
}

/// Reads the parameters of a method; without any, those of an empty object.
///
/// # Errors
/// `invalidParams` naming the field, or -32700 for what is no JSON.
pub(super) fn read<T: Params>(raw: Option<&str>) -> Result<T, RpcError> {
    let raw = match raw.map(str::trim_start) {
        None | Some("") => "{}",
        Some(text) if text.trim_end() == "null" => "{}",
        Some(text) if text.starts_with('[') => {
            return Err(RpcError::invalid_params(
                "",
                "parameters are given by name, in an object",
            ));
        }
        Some(text) if !text.starts_with('{') => {
            return Err(RpcError::invalid_params("", "parameters are an object"));
        }
        Some(text) => text,
    };
    check_fields(raw, known::<T>())?;
    let mut json = serde_json::Deserializer::from_str(raw);
    let parsed: T = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| refusal(error.inner(), &error.path().to_string()))?;
    parsed.checked()
}

/// The refusal of what serde could not take; `path` is `.` for the object itself.
fn refusal(error: &serde_json::Error, path: &str) -> RpcError {
    let path = if path == "." { "" } else { path };
    let text = error.to_string();
    let why = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(why, _)| why);
    // The path of a missing field is that of the object that misses it.
    match why
        .strip_prefix("missing field `")
        .and_then(|rest| rest.strip_suffix('`'))
    {
        Some(name) if path.is_empty() => RpcError::invalid_params(name, "is missing"),
        Some(name) => RpcError::invalid_params(&format!("{path}.{name}"), "is missing"),
        None => {
            let why = cut::shortened(why, 4 * NAME_BYTES);
            match error.classify() {
                Category::Data => RpcError::invalid_params(path, why),
                // It is JSON, as was seen before: a number where a word belongs, or half a character in a text.
                Category::Syntax | Category::Eof | Category::Io => {
                    RpcError::invalid_params(path, format!("is not of the right type: {why}"))
                }
            }
        }
    }
}

/// Refuses names that are unknown or given twice, and texts that no parameter can need. Those that begin with `_` are
/// nobody's business.
fn check_fields(raw: &str, known: &[&str]) -> Result<(), RpcError> {
    let fields: Fields<'_> = serde_json::from_str(raw).map_err(RpcError::parse_error)?;
    let mut seen = BTreeSet::new();
    for (name, value) in fields.0 {
        if name.starts_with('_') {
            continue;
        }
        if !known.contains(&&*name) {
            let expected = if known.is_empty() {
                "this method has none".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            return Err(RpcError::invalid_params(
                &cut::shortened(&name, NAME_BYTES),
                format!("no parameter has this name; {expected}"),
            ));
        }
        if seen.contains(&name) {
            return Err(RpcError::invalid_params(&name, "is given twice"));
        }
        // serde repeats a text in full where it refuses it, escaped, and more than once.
        let longest = longest_text(value.get());
        if longest > PARAM_TEXT_BYTES && !LONG.contains(&&*name) {
            return Err(RpcError::invalid_params(
                &name,
                format!(
                    "holds a text of {longest} bytes, and the limit (`paramTextBytes`) is {PARAM_TEXT_BYTES}"
                ),
            ));
        }
        seen.insert(name);
    }
    Ok(())
}

/// Bytes of the longest text in a JSON value, as it is written.
fn longest_text(json: &str) -> u64 {
    let (mut longest, mut length, mut in_text, mut escaped) = (0, 0, false, false);
    for byte in json.bytes() {
        match byte {
            b'"' if !escaped => {
                in_text = !in_text;
                longest = longest.max(length);
                length = 0;
                continue;
            }
            b'\\' if in_text => escaped = !escaped,
            _ => escaped = false,
        }
        length += u64::from(in_text);
    }
    longest
}

/// An object's fields in their order, their values as they were written.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// A name, borrowed where it holds no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(text.into()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(text.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The field names of a struct, as its derived `Deserialize` knows them.
fn known<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // The spy answers every question with an error: only what was asked for counts.
    let _ = T::deserialize(Spy(&mut fields));
    fields
}

/// Notes which fields a struct asks for.
struct Spy<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Spy<'_> {
    type Error = SpyError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, SpyError> {
        Err(de::Error::custom("only the names were asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SpyError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Tells "absent" from "null": the field is `Some` whenever it is given.
pub(super) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// An object with its fields by name: a derive by itself also takes a list of them, in order.
pub(super) fn object<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Object<T>(T);
    impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Fields<T>(PhantomData<T>);
            impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
                type Value = T;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                    T::deserialize(MapAccessDeserializer::new(map))
                }
            }
            deserializer
                .deserialize_any(Fields(PhantomData))
                .map(Object)
        }
    }
    let object = Option::<Object<T>>::deserialize(deserializer)?;
    Ok(object.map(|Object(object)| object))
}

/// Like [`object`], and tells "absent" from "null": the field is `Some` whenever it is given.
pub(super) fn given_object<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    object(deserializer).map(Some)
}

/// A limit of time in milliseconds: at least 1.
pub(super) fn positive<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(0) => Err(de::Error::custom(
            "is at least 1; omit it for no limit of its own",
        )),
        other => Ok(other),
    }
}
