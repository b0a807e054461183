//! The schemas of all types that messages are made of, under one roof.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema as _, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::super::kinds::{ErrorData, ErrorKind};
use super::super::notification::{Notification, Told};
use super::super::request::{Method, Request};
use super::super::words::Word as _;

/// A method, with the schemas of its parameters and its result.
pub(super) struct Asked {
    pub method: &'static Method,
    pub params: Value,
    pub result: Value,
}

/// A notification, with the schema of its content.
pub(super) struct Heard {
    pub told: &'static Told,
    pub params: Value,
}

/// All of them, and what their references lead to.
pub(super) struct Gathered {
    pub methods: Vec<Asked>,
    pub notifications: Vec<Heard>,
    /// What `data` holds, by kind.
    pub data: Vec<(ErrorKind, Value)>,
    pub definitions: Map<String, Value>,
}

/// The name that a reference ends with.
pub(super) fn referred(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// Makes every schema: of what is taken as it is read, of what is told as it is written.
pub(super) fn gather(settings: &SchemaSettings) -> Gathered {
    let mut taking = settings.clone().for_deserialize().into_generator();
    let mut telling = settings.clone().for_serialize().into_generator();
    let methods: Vec<Asked> = Request::TABLE
        .iter()
        .map(|method| Asked {
            method,
            params: method.params.schema(&mut taking),
            result: method.result.schema(&mut telling),
        })
        .collect();
    let notifications = Notification::TABLE
        .iter()
        .map(|told| Heard {
            told,
            params: told.params.schema(&mut telling),
        })
        .collect();
    let data = data(&mut telling);
    let mut definitions = taking.take_definitions(true);
    let params: BTreeSet<&str> = methods
        .iter()
        .filter_map(|asked| referred(&asked.params))
        .collect();
    for (name, schema) in &mut definitions {
        only_what_is_meant(schema);
        if params.contains(name.as_str()) {
            close(schema);
        }
    }
    for (name, mut schema) in telling.take_definitions(true) {
        absent_not_null(&mut schema);
        only_what_is_meant(&mut schema);
        let known = definitions.insert(name.clone(), schema);
        // INVARIANT: what is both taken and told is written one way, so one name has one schema.
        assert!(
            known.is_none_or(|known| known == definitions[&name]),
            "`{name}` is read in another way than it is written"
        );
    }
    // Whoever lists fields lists them in one order, whatever order they were put in.
    definitions.sort_keys();
    (definitions.values_mut()).for_each(Value::sort_all_objects);
    Gathered {
        methods,
        notifications,
        data,
        definitions,
    }
}

/// What `data` holds: the derive gives one schema a kind, in the order of the table.
fn data(telling: &mut SchemaGenerator) -> Vec<(ErrorKind, Value)> {
    let mut all = ErrorData::json_schema(telling);
    for transform in telling.transforms_mut() {
        transform.transform(&mut all);
    }
    let mut all = all.to_value();
    absent_not_null(&mut all);
    let Value::Array(each) = all["oneOf"].take() else {
        unreachable!("an enum with tags is one of its variants");
    };
    let mut data = Vec::new();
    for (kind, mut schema) in ErrorKind::ALL.iter().zip(each) {
        only_what_is_meant(&mut schema);
        assert_eq!(schema["properties"]["kind"]["const"], kind.word());
        schema
            .as_object_mut()
            .map(|schema| schema.remove("description"));
        data.push((*kind, schema));
    }
    data
}

/// Parameters are those that there are, and any that begin with `_`.
pub(super) fn close(schema: &mut Value) {
    schema["patternProperties"] = json!({"^_": true});
    schema["additionalProperties"] = json!(false);
}

/// Calls `change` on a schema and on everything in it.
fn everywhere(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match schema {
        Value::Object(fields) => {
            change(fields);
            fields
                .values_mut()
                .for_each(|value| everywhere(value, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| everywhere(item, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A default of null says nothing: absent is not always null. Whole numbers have two ends, and no format: validators do not agree on
/// their names.
fn only_what_is_meant(schema: &mut Value) {
    everywhere(schema, &mut |fields| {
        if fields.get("default") == Some(&Value::Null) {
            fields.remove("default");
        }
        let (least, most): (Value, Value) = match fields.get("format").and_then(Value::as_str) {
            Some("uint16") => (0.into(), u16::MAX.into()),
            Some("uint32") => (0.into(), u32::MAX.into()),
            Some("uint64" | "uint") => (0.into(), u64::MAX.into()),
            Some("int32") => (i32::MIN.into(), i32::MAX.into()),
            Some("int64") => (i64::MIN.into(), i64::MAX.into()),
            Some(_) | None => return,
        };
        fields.remove("format");
        fields.entry("minimum").or_insert(least);
        fields.entry("maximum").or_insert(most);
    });
}

/// What is told is never null where it may be absent.
fn absent_not_null(schema: &mut Value) {
    everywhere(schema, &mut |fields| {
        let required = fields.get("required").cloned().unwrap_or_default();
        let Some(Value::Object(properties)) = fields.get_mut("properties") else {
            return;
        };
        for (name, property) in properties {
            let optional = !required
                .as_array()
                .is_some_and(|names| names.contains(&json!(name)));
            if let Value::Object(property) = property
                && optional
            {
                without_null(property);
            }
        }
    });
}

fn without_null(property: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            property.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(each)) = property.get_mut("anyOf") {
        each.retain(|one| one["type"] != "null");
        if let [Value::Object(only)] = each.as_slice() {
            let only = only.clone();
            property.remove("anyOf");
            property.extend(only);
        }
    }
}
