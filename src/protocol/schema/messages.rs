//! The JSON Schema of every message, in both directions.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::super::kinds::ErrorKind;
use super::super::request::{Request, Waits};
use super::gather::{Asked, Gathered, Heard, close, gather};
use crate::domain::Limits;

/// JSON-RPC's own errors, which have no `data`.
const OWN_CODES: [i32; 5] = [-32700, -32600, -32601, -32603, -32800];

fn to(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

/// The document `turnlane.schema.json`.
pub fn messages() -> Value {
    let Gathered {
        methods,
        notifications,
        data,
        mut definitions,
    } = gather(&SchemaSettings::draft2020_12());
    let mut add = |name: String, schema: Value| {
        let known = definitions.insert(name.clone(), schema);
        assert!(known.is_none(), "`{name}` means two things");
    };
    let mut requests = Vec::new();
    let mut responses = Vec::new();
    let mut notes = Vec::new();
    let mut errors = vec![to("JsonRpcError")];
    for asked in &methods {
        let variant = asked.method.variant;
        requests.push(to(&format!("{variant}Request")));
        responses.push(to(&format!("{variant}Response")));
        add(format!("{variant}Request"), request(asked));
        add(format!("{variant}Response"), response(asked));
    }
    for (name, schema) in give_up() {
        add(name.to_owned(), schema);
    }
    requests.push(to("GiveUpRequest"));
    responses.push(to("GiveUpResponse"));
    responses.push(to("ErrorResponse"));
    for heard in &notifications {
        let name = format!("{}Notification", heard.told.variant);
        notes.push(to(&name));
        add(name, notification(heard));
    }
    for (kind, data) in data {
        let name = format!("{kind:?}Error");
        errors.push(to(&name));
        add(name, error(kind, data));
    }
    for (name, schema) in frame(requests, responses, notes)
        .into_iter()
        .chain(refusal(errors))
    {
        add(name.to_owned(), schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "turnlane protocol, version 1",
        "description": "One message as it stands in a line or a frame. ClientMessage is what a client may send, ServerMessage \
            what it is sent; every request, response, notification and error has a definition of its own.",
        "anyOf": [to("ClientMessage"), to("ServerMessage")],
        "$defs": definitions,
    })
}

/// A request, or without its id a notification that is not answered.
fn request(asked: &Asked) -> Value {
    let needed = Request::parse(asked.method.name, None).is_err();
    let (params, required) = if needed {
        (asked.params.clone(), json!(["jsonrpc", "method", "params"]))
    } else {
        let or_none = json!({"anyOf": [asked.params, {"type": "null"}]});
        (or_none, json!(["jsonrpc", "method"]))
    };
    json!({
        "description": asked.method.summary.trim(),
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": to("RequestId"),
            "method": {"const": asked.method.name},
            "params": params,
        },
        "required": required,
    })
}

fn response(asked: &Asked) -> Value {
    json!({
        "description": format!("The answer to `{}`.", asked.method.name),
        "type": "object",
        "properties": {"jsonrpc": {"const": "2.0"}, "id": to("RequestId"), "result": asked.result},
        "required": ["jsonrpc", "id", "result"],
    })
}

fn notification(heard: &Heard) -> Value {
    json!({
        "description": heard.told.summary.trim(),
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "method": {"const": heard.told.name},
            "params": heard.params,
        },
        "required": ["jsonrpc", "method", "params"],
        "not": {"required": ["id"]},
    })
}

fn error(kind: ErrorKind, data: Value) -> Value {
    json!({
        "description": format!("{} {}", kind.when(), kind.remedy()),
        "type": "object",
        "properties": {
            "code": {"const": kind.code()},
            "message": {"type": "string", "minLength": 1},
            "data": data,
        },
        "required": ["code", "message", "data"],
    })
}

/// What belongs to the connection and is in no table.
fn give_up() -> [(&'static str, Value); 3] {
    let mut params = json!({
        "description": "Parameters of `$/cancelRequest`.",
        "type": "object",
        "properties": {"id": to("RequestId")},
        "required": ["id"],
    });
    close(&mut params);
    let request = json!({
        "description": "Gives up a request that waits: it is answered with -32800, and nothing was taken.",
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": to("RequestId"),
            "method": {"const": Request::CANCEL_REQUEST},
            "params": to("GiveUpParams"),
        },
        "required": ["jsonrpc", "method", "params"],
    });
    let response = json!({
        "description": "The answer to `$/cancelRequest`, where it had an id.",
        "type": "object",
        "properties": {"jsonrpc": {"const": "2.0"}, "id": to("RequestId"), "result": {"type": "null"}},
        "required": ["jsonrpc", "id", "result"],
    });
    [
        ("GiveUpParams", params),
        ("GiveUpRequest", request),
        ("GiveUpResponse", response),
    ]
}

/// What a request in a batch is: one that does not wait.
fn batched() -> Vec<Value> {
    let mut rules = vec![to("Request")];
    let mut always = Vec::new();
    for method in Request::TABLE {
        match method.waits {
            Waits::Never => {}
            Waits::Always => always.push(method.name),
            Waits::When(params) => rules.push(json!({"not": {
                "properties": {"method": {"const": method.name}, "params": params()},
                "required": ["method", "params"],
            }})),
        }
    }
    rules
        .push(json!({"not": {"properties": {"method": {"enum": always}}, "required": ["method"]}}));
    rules
}

/// What the messages stand in.
fn frame(
    requests: Vec<Value>,
    responses: Vec<Value>,
    notes: Vec<Value>,
) -> [(&'static str, Value); 7] {
    let limits = Limits::default();
    [
        (
            "RequestId",
            json!({
                "description": "A client's id of a request: any string or number, at most 256 bytes as written; echoed unchanged.",
                "type": ["string", "number"],
                "maxLength": limits.request_id_bytes,
            }),
        ),
        ("Request", json!({"oneOf": requests})),
        ("Response", json!({"anyOf": responses})),
        ("Notification", json!({"oneOf": notes})),
        (
            "ClientMessage",
            json!({"anyOf": [to("Request"), to("ClientBatch")]}),
        ),
        (
            "ServerMessage",
            json!({"anyOf": [
                to("Response"),
                to("Notification"),
                {
                    "description": "The answers to a batch.",
                    "type": "array", "items": to("Response"), "minItems": 1, "maxItems": limits.batch,
                },
            ]}),
        ),
        (
            "ClientBatch",
            json!({
                "description": "Requests that are executed in order and answered together. One that waits is refused in it.",
                "type": "array",
                "items": {"allOf": batched()},
                "minItems": 1,
                "maxItems": limits.batch,
            }),
        ),
    ]
}

/// What errors stand in, and those that are not ours.
fn refusal(errors: Vec<Value>) -> [(&'static str, Value); 3] {
    [
        ("Error", json!({"anyOf": errors})),
        (
            "JsonRpcError",
            json!({
                "description": "An error of JSON-RPC's own: -32700 no readable JSON, -32600 no request, -32601 no such method, \
                    -32603 a mistake of turnlane's, -32800 a request that was given up.",
                "type": "object",
                "properties": {"code": {"enum": OWN_CODES}, "message": {"type": "string", "minLength": 1}},
                "required": ["code", "message"],
                "not": {"required": ["data"]},
            }),
        ),
        (
            "ErrorResponse",
            json!({
                "description": "A refusal. The id is null where that of the request can't be told.",
                "type": "object",
                "properties": {
                    "jsonrpc": {"const": "2.0"},
                    "id": {"anyOf": [to("RequestId"), {"type": "null"}]},
                    "error": to("Error"),
                },
                "required": ["jsonrpc", "id", "error"],
                "not": {"required": ["result"]},
            }),
        ),
    ]
}
