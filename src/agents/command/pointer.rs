//! What a JSON pointer (RFC 6901) names in a text. Nothing else of the text is kept, however large it is.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A pointer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads `/a/0/b`; the empty one names the whole text.
    pub(super) fn parse(text: &str) -> Self {
        let steps = text.split('/').skip(1);
        Self(
            steps
                .map(|step| step.replace("~1", "/").replace("~0", "~"))
                .collect(),
        )
    }

    /// The JSON that it names in a JSON text; `None` where nothing is there.
    ///
    /// # Errors
    /// When the text is not one JSON text.
    pub(super) fn find<'a>(&self, json: &'a [u8]) -> serde_json::Result<Option<&'a RawValue>> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let found = Seek(&self.0).deserialize(&mut reader)?;
        reader.end()?;
        Ok(found)
    }
}

/// The steps that are left to go.
#[derive(Clone, Copy)]
struct Seek<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.0.split_first() {
            None => serde::Deserialize::deserialize(deserializer).map(Some),
            Some((step, rest)) => deserializer.deserialize_any(Within { step, rest }),
        }
    }
}

/// Takes one step. In what is neither an object nor an array there is nothing to be found.
struct Within<'p> {
    step: &'p str,
    rest: &'p [String],
}

impl<'de> Visitor<'de> for Within<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(here) = map.next_key_seed(Is(self.step))? {
            if here {
                // Of a name that is there twice the last counts, as elsewhere.
                found = map.next_value_seed(Seek(self.rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let plain = self.step == "0" || !self.step.starts_with(['0', '+']);
        let index = self.step.parse::<usize>().ok().filter(|_| plain);
        let mut found = None;
        for at in 0.. {
            if Some(at) == index {
                match seq.next_element_seed(Seek(self.rest))? {
                    Some(there) => found = there,
                    None => break,
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a name is this one.
struct Is<'p>(&'p str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

/// A JSON text without the white space between its parts; its numbers and the order of its names stay as they are.
pub(super) fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        if quoted {
            text.push(c);
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if !c.is_ascii_whitespace() {
            text.push(c);
            quoted = c == '"';
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// What is found, as a value; an error as text that no value is.
    fn find(pointer: &str, json: &str) -> Option<Value> {
        let found = Pointer::parse(pointer).find(json.as_bytes()).unwrap();
        found.map(|raw| serde_json::from_str(raw.get()).unwrap())
    }

    #[test]
    fn a_pointer_names_what_the_standard_says() {
        let text = r#"{"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, "~1": 9, "deep": {"x": [{"y": null}]}}"#;
        for (pointer, found) in [
            ("/foo", json!(["bar", "baz"])),
            ("/foo/0", json!("bar")),
            ("/foo/1", json!("baz")),
            ("/", json!(0)),
            ("/a~1b", json!(1)),
            ("/m~0n", json!(8)),
            ("/~01", json!(9)),
            ("/deep/x/0/y", json!(null)),
        ] {
            assert_eq!(find(pointer, text), Some(found), "{pointer}");
        }
        for pointer in [
            "/foo/2", "/foo/-", "/foo/01", "/foo/+1", "/foo/x", "/bar", "/foo/0/0", "/m~0n/x",
        ] {
            assert_eq!(find(pointer, text), None, "{pointer}");
        }
        assert_eq!(find("", " [1]\n"), Some(json!([1])));
    }

    #[test]
    fn what_is_not_one_json_text_is_no_json() {
        for text in [
            "",
            "x",
            "{",
            "{\"a\":1} {\"a\":2}",
            "{\"a\":1}x",
            "{\"b\":[1,}",
            "{\"b\":}",
        ] {
            let found = Pointer::parse("/a").find(text.as_bytes());
            assert!(found.is_err(), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn of_a_name_that_is_there_twice_the_last_counts() {
        assert_eq!(find("/a", r#"{"a":1,"b":2,"a":3}"#), Some(json!(3)));
    }

    #[test]
    fn white_space_goes_only_where_it_means_nothing() {
        let loose = "{ \"b\" : [ 1.0 ,\n 2 ] , \"a\" : \" x \\\" y \\\\\" , \"c\":{ } }";
        let tight = r#"{"b":[1.0,2],"a":" x \" y \\","c":{}}"#;
        assert_eq!(compact(loose), tight);
        assert_eq!(compact(tight), tight);
    }

    /// Any JSON.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c\"\\\\/~ \u{fc}]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c/~0]{0,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_found_as_in_a_tree_of_all_of_it(value in value(), pointer in "(/([a-c~]{0,2}|[0-3]|~0|~1)){0,4}") {
            // A lone `~` is read as it stands here and there.
            let text = serde_json::to_string_pretty(&value).unwrap();
            let found = find(&pointer, &text);
            prop_assert_eq!(found.as_ref(), value.pointer(&pointer));
            prop_assert_eq!(compact(&text), value.to_string());
        }
    }
}
