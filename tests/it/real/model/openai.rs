//! Chat completions as OpenAI streams them.

use serde_json::{Value, json};

use super::script::{Piece, Say, Step, pieces};

/// The conversation of a request.
pub fn conversation(body: &Value) -> Vec<Piece> {
    let messages = body["messages"].as_array().into_iter().flatten();
    messages
        .filter_map(|message| match message["role"].as_str()? {
            "user" => Some(Piece::Person(words(&message["content"]))),
            "tool" => Some(Piece::Tool),
            _ => None,
        })
        .collect()
}

fn words(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// The answer to a request, as it is streamed.
pub fn answer(body: &Value, say: &Say, number: usize) -> Vec<Step> {
    let shell = |command: &str| {
        let arguments = json!({"command": command, "description": "what the model wants"});
        tool("bash", &arguments, number)
    };
    let write =
        |path: &str, text: &str| tool("write", &json!({"filePath": path, "content": text}), number);
    let parts = match say {
        Say::Text(text) => [said(text), vec![Part::End("stop")]].concat(),
        Say::Part(name, text) => {
            let rest = [said(", and the rest"), vec![Part::End("stop")]].concat();
            [said(text), vec![Part::Hold(name.clone())], rest].concat()
        }
        Say::Drop(name, text) => [said(text), vec![Part::Hold(name.clone()), Part::Drop]].concat(),
        Say::Write(path, text) => vec![write(path, text), Part::End("tool_calls")],
        Say::Shell(command) => vec![shell(command), Part::End("tool_calls")],
        Say::Hold(_) | Say::Status(_) => unreachable!("{say:?} is not streamed"),
    };
    let model = &body["model"];
    let mut steps: Vec<Step> = parts
        .into_iter()
        .map(|part| match part {
            Part::Delta(delta) => chunk(model, &delta, None),
            Part::End(why) => chunk(model, &json!({}), Some(why)),
            Part::Hold(name) => Step::Hold(name),
            Part::Drop => Step::Drop,
        })
        .collect();
    let usage = json!({"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18});
    steps.push(event(&json!({
        "id": "answer", "object": "chat.completion.chunk", "created": 1, "model": model,
        "choices": [], "usage": usage,
    })));
    steps.push(Step::Event("data: [DONE]\n\n".into()));
    steps
}

#[derive(Clone)]
enum Part {
    Delta(Value),
    End(&'static str),
    Hold(String),
    Drop,
}

fn said(text: &str) -> Vec<Part> {
    pieces(text)
        .map(|piece| Part::Delta(json!({"role": "assistant", "content": piece})))
        .collect()
}

fn tool(name: &str, arguments: &Value, number: usize) -> Part {
    let function = json!({"name": name, "arguments": arguments.to_string()});
    let call = json!({"index": 0, "id": format!("call_{number}"), "type": "function", "function": function});
    Part::Delta(json!({"role": "assistant", "tool_calls": [call]}))
}

fn chunk(model: &Value, delta: &Value, why: Option<&str>) -> Step {
    event(&json!({
        "id": "answer", "object": "chat.completion.chunk", "created": 1, "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": why}],
    }))
}

fn event(data: &Value) -> Step {
    Step::Event(format!("data: {data}\n\n").into())
}
