//! The protocol as documents, generated from its types and its tables: a JSON Schema of every message, and an OpenRPC
//! description of every method. Nothing is said here that the types do not say; what a derive can't see (rules between
//! fields) stands beside the type, in the words of this file.

mod examples;
mod gather;
mod messages;
mod openrpc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

pub use examples::{CONVERSATION, Line, Section, conversation};
pub use messages::messages;
pub use openrpc::openrpc;

/// A document as it is written to a file: its keys sorted, in whatever order they were put in.
pub fn text(document: &Value) -> String {
    let mut document = document.clone();
    document.sort_all_objects();
    format!("{document:#}\n")
}

/// How to make the schema of a type.
#[derive(Clone, Copy)]
pub(super) struct Shape(fn(&mut SchemaGenerator) -> Schema);

impl Shape {
    /// That of a type.
    pub(super) const fn of<T: JsonSchema>() -> Self {
        Self(SchemaGenerator::subschema_for::<T>)
    }

    fn schema(self, generator: &mut SchemaGenerator) -> Value {
        (self.0)(generator).to_value()
    }
}

/// A text without control characters.
pub(super) const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";
/// A text that the operating system takes.
pub(super) const NO_NUL: &str = r"^[^\u0000]*$";
/// A path from the root, without NUL.
pub(super) const ABSOLUTE_PATH: &str = r"^/[^\u0000]*$";

/// Variables for a process: names without `=`, and no NUL anywhere.
pub(super) struct Variables;

impl JsonSchema for Variables {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Variables".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": {"pattern": r"^[^=\u0000]+$"},
            "additionalProperties": {"type": "string", "pattern": NO_NUL},
        })
    }
}

/// Rule between `mode` and `n`: the one needs the other.
pub(super) fn counted(schema: &mut Schema) {
    for (word, rule) in [
        (
            "if",
            json!({"properties": {"mode": {"const": "atLeast"}}, "required": ["mode"]}),
        ),
        (
            "then",
            json!({"properties": {"n": {"type": "integer"}}, "required": ["n"]}),
        ),
        ("else", json!({"properties": {"n": {"type": "null"}}})),
    ] {
        schema.insert(word.to_owned(), rule);
    }
}

/// Given, and not null: what is null counts as absent.
fn present(field: &str) -> Value {
    json!({"required": [field], "properties": {field: {"not": {"type": "null"}}}})
}

/// For `anyOf`: one of these fields is given.
pub(super) fn at_least_one(fields: &[&str]) -> Value {
    fields.iter().map(|field| present(field)).collect()
}

/// For `oneOf`: one of these fields is given, and only one.
pub(super) fn exactly_one(fields: &[&str]) -> Value {
    at_least_one(fields)
}

/// For `allOf`: not both of these are given.
pub(super) fn not_both(one: &str, other: &str) -> Value {
    json!({"not": {"allOf": [present(one), present(other)]}})
}

/// For `allOf`: `field` is given only where `other` is.
pub(super) fn only_with(field: &str, other: &str) -> Value {
    json!({"if": present(field), "then": present(other)})
}
