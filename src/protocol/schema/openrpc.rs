//! The OpenRPC description: every method with its parameters, result, errors and an example, and every notification.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::super::kinds::ErrorKind;
use super::super::request::Request;
use super::super::words::Word as _;
use super::examples::{Exchange, exchanges};
use super::gather::{Asked, Gathered, Heard, gather, referred};

/// The version of OpenRPC that this is.
const OPENRPC: &str = "1.3.2";

/// The document `openrpc.json`. What the server tells by itself has no place in OpenRPC and stands in `x-notifications`, in the form
/// of methods without a result.
pub fn openrpc() -> Value {
    // OpenRPC's schemas are those of JSON Schema's draft 7.
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let Gathered {
        methods,
        notifications,
        data,
        definitions,
    } = gather(&settings);
    let examples = exchanges();
    let mut all: Vec<Value> = methods
        .iter()
        .map(|asked| method(asked, &definitions, &examples))
        .collect();
    all.push(give_up());
    let told: Vec<Value> = notifications
        .iter()
        .map(|heard| notification(heard, &definitions))
        .collect();
    let errors: Map<String, Value> = data
        .into_iter()
        .map(|(kind, _)| (kind.word().to_owned(), error(kind)))
        .collect();
    json!({
        "openrpc": OPENRPC,
        "info": {
            "title": "turnlane",
            "version": "1",
            "description": "JSON-RPC 2.0 over standard input and output, one JSON text a line or with Content-Length headers. \
                Parameters are given by name. A request without an id is a notification and is not answered.",
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "methods": all,
        "x-notifications": told,
        "components": {"schemas": definitions, "errors": errors},
    })
}

fn method(asked: &Asked, definitions: &Map<String, Value>, examples: &[Exchange]) -> Value {
    let Asked {
        method,
        params,
        result,
    } = asked;
    let result_name = referred(result).unwrap_or("nothing");
    let errors: Vec<Value> = method
        .errors
        .iter()
        .chain(ErrorKind::OF_ANY)
        .map(|kind| json!({"$ref": format!("#/components/errors/{}", kind.word())}))
        .collect();
    let examples: Vec<Value> = examples
        .iter()
        .filter(|example| example.method == method.name)
        .map(example)
        .collect();
    json!({
        "name": method.name,
        "summary": method.summary.trim(),
        "paramStructure": "by-name",
        "params": descriptors(params, definitions),
        "result": {"name": result_name, "schema": result},
        "errors": errors,
        "examples": examples,
        // Rules between parameters, which can't be said of each by itself.
        "x-params": params,
    })
}

/// A parameter each, those that are required first.
fn descriptors(params: &Value, definitions: &Map<String, Value>) -> Vec<Value> {
    let Some(schema) = referred(params).map(|name| &definitions[name]) else {
        return Vec::new();
    };
    let is_required = |name: &str| {
        let required = schema["required"].as_array();
        required.is_some_and(|names| names.contains(&json!(name)))
    };
    let fields = schema["properties"].as_object();
    let mut all: Vec<Value> = fields
        .into_iter()
        .flatten()
        .map(|(name, field)| {
            let mut field = field.clone();
            let description = field
                .as_object_mut()
                .and_then(|field| field.remove("description"));
            let mut descriptor =
                json!({"name": name, "required": is_required(name), "schema": field});
            if let Some(description) = description {
                descriptor["description"] = description;
            }
            descriptor
        })
        .collect();
    all.sort_by_key(|descriptor| descriptor["required"] == false);
    all
}

fn example(example: &Exchange) -> Value {
    let mut params = example.params.clone();
    params.sort_all_objects();
    let params: Vec<Value> = (params.as_object())
        .into_iter()
        .flatten()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "name": example.method,
        "params": params,
        "result": {"name": "result", "value": example.result},
    })
}

fn error(kind: ErrorKind) -> Value {
    json!({
        "code": kind.code(),
        "message": format!("{} {}", kind.when(), kind.remedy()),
        "data": {"kind": kind.word()},
    })
}

fn give_up() -> Value {
    json!({
        "name": Request::CANCEL_REQUEST,
        "summary": "Gives up a request that waits: it is answered with -32800, and nothing was taken.",
        "paramStructure": "by-name",
        "params": [{
            "name": "id",
            "description": "The id of the request, as it was written.",
            "required": true,
            "schema": {"type": ["string", "number"]},
        }],
    })
}

fn notification(heard: &Heard, definitions: &Map<String, Value>) -> Value {
    json!({
        "name": heard.told.name,
        "summary": heard.told.summary.trim(),
        "paramStructure": "by-name",
        "params": descriptors(&heard.params, definitions),
        "x-params": heard.params,
    })
}
