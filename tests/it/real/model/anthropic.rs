//! Messages as Anthropic streams them, and whole where an agent asks for that.

use serde_json::{Value, json};

use super::script::{Piece, Say, Step, pieces};

/// The conversation of a request.
pub fn conversation(body: &Value) -> Vec<Piece> {
    let messages = body["messages"].as_array().into_iter().flatten();
    let mut pieces = Vec::new();
    for message in messages.filter(|message| message["role"] == "user") {
        match &message["content"] {
            Value::Array(blocks) => pieces.extend(blocks.iter().filter_map(block)),
            content => pieces.extend(content.as_str().map(|text| Piece::Person(text.into()))),
        }
    }
    pieces
}

fn block(block: &Value) -> Option<Piece> {
    match block["type"].as_str()? {
        "text" => Some(Piece::Person(block["text"].as_str()?.to_owned())),
        "tool_result" => Some(Piece::Tool),
        _ => None,
    }
}

/// The answer to a request, as it is streamed.
pub fn answer(body: &Value, say: &Say, number: usize) -> Vec<Step> {
    let start = event(
        "message_start",
        json!({"message": message(body, number, json!([]), Value::Null)}),
    );
    let mut steps = vec![start];
    match say {
        Say::Text(text) => {
            steps.extend(said(text));
            steps.extend(end("end_turn"));
        }
        Say::Part(name, text) => {
            steps.extend(said(text));
            steps.push(Step::Hold(name.clone()));
            steps.push(text_delta(", and the rest"));
            steps.extend(end("end_turn"));
        }
        Say::Drop(name, text) => {
            steps.extend(said(text));
            steps.push(Step::Hold(name.clone()));
            steps.push(Step::Drop);
        }
        Say::Write(path, text) => {
            let input = json!({"file_path": path, "content": text});
            steps.extend(tool("Write", &input, number));
        }
        Say::Shell(command) => {
            let input = json!({"command": command, "description": "what the model wants"});
            steps.extend(tool("Bash", &input, number));
        }
        Say::Hold(_) | Say::Status(_) => unreachable!("{say:?} is not streamed"),
    }
    steps
}

/// The same text in one piece.
pub fn whole(body: &Value, text: &str, number: usize) -> Value {
    let content = json!([{"type": "text", "text": text}]);
    message(body, number, content, json!("end_turn"))
}

fn message(body: &Value, number: usize, content: Value, why: Value) -> Value {
    json!({
        "id": format!("msg_{number}"), "type": "message", "role": "assistant", "model": body["model"],
        "content": content, "stop_reason": why, "stop_sequence": null,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    })
}

fn said(text: &str) -> Vec<Step> {
    let begin = json!({"index": 0, "content_block": {"type": "text", "text": ""}});
    let mut steps = vec![event("content_block_start", begin)];
    steps.extend(pieces(text).map(text_delta));
    steps
}

fn text_delta(text: &str) -> Step {
    let delta = json!({"type": "text_delta", "text": text});
    event("content_block_delta", json!({"index": 0, "delta": delta}))
}

fn tool(name: &str, input: &Value, number: usize) -> Vec<Step> {
    let id = format!("toolu_{number}");
    let block = json!({"type": "tool_use", "id": id, "name": name, "input": {}});
    let delta = json!({"type": "input_json_delta", "partial_json": input.to_string()});
    let begin = event(
        "content_block_start",
        json!({"index": 0, "content_block": block}),
    );
    let middle = event("content_block_delta", json!({"index": 0, "delta": delta}));
    let mut steps = vec![begin, middle];
    steps.extend(end("tool_use"));
    steps
}

fn end(why: &str) -> [Step; 3] {
    let delta = json!({"stop_reason": why, "stop_sequence": null});
    [
        event("content_block_stop", json!({"index": 0})),
        event(
            "message_delta",
            json!({"delta": delta, "usage": {"output_tokens": 7}}),
        ),
        event("message_stop", json!({})),
    ]
}

fn event(name: &str, mut data: Value) -> Step {
    data["type"] = name.into();
    Step::Event(format!("event: {name}\ndata: {data}\n\n").into())
}
