//! The examples of the reference: one conversation with a real sidecar, which a test holds it to.

use serde_json::Value;

use super::super::request::Request;

/// The conversation, as it stands in the reference.
pub const CONVERSATION: &str = include_str!("../../../schema/examples/conversation.txt");

/// What was said under one heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// A method, or another word of the reference.
    pub heading: String,
    /// The messages, in order.
    pub lines: Vec<Line>,
    /// All of it as it was written, without the heading.
    pub text: String,
}

/// A message of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// `→`: the client says it.
    Sent(Value),
    /// `←`: the client is told it.
    Received(Value),
}

/// Reads a conversation: `# heading`, then messages that begin with `→` or `←` and may go on over further lines.
///
/// # Panics
/// If a message is no JSON: the text is ours.
pub fn conversation(text: &str) -> Vec<Section> {
    text.split("\n# ")
        .map(|section| section.strip_prefix("# ").unwrap_or(section))
        .map(|section| {
            let (heading, text) = section.split_once('\n').unwrap_or((section, ""));
            Section {
                heading: heading.to_owned(),
                lines: lines(text),
                text: text.trim().to_owned(),
            }
        })
        .collect()
}

fn lines(text: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['→', '←']) {
        let sent = rest[at..].starts_with('→');
        let body = &rest[at + '→'.len_utf8()..];
        let end = body
            .find("\n→")
            .into_iter()
            .chain(body.find("\n←"))
            .min()
            .unwrap_or(body.len());
        let (message, after) = body.split_at(end);
        let message = serde_json::from_str(message)
            .unwrap_or_else(|why| panic!("an example is no JSON: {why}: {message}"));
        found.push(if sent {
            Line::Sent(message)
        } else {
            Line::Received(message)
        });
        rest = after;
    }
    found
}

/// A request and its answer.
pub(super) struct Exchange {
    pub method: &'static str,
    pub params: Value,
    pub result: Value,
}

/// The first answered request of each method.
pub(super) fn exchanges() -> Vec<Exchange> {
    let lines: Vec<Line> = conversation(CONVERSATION)
        .into_iter()
        .flat_map(|section| section.lines)
        .collect();
    Request::METHODS
        .iter()
        .filter_map(|&method| exchange(method, &lines))
        .collect()
}

fn exchange(method: &'static str, lines: &[Line]) -> Option<Exchange> {
    lines.iter().find_map(|line| {
        let Line::Sent(request) = line else {
            return None;
        };
        if request["method"] != method {
            return None;
        }
        let result = lines.iter().find_map(|line| match line {
            Line::Received(answer) if answer["id"] == request["id"] => answer.get("result"),
            Line::Received(_) | Line::Sent(_) => None,
        })?;
        Some(Exchange {
            method,
            params: request.get("params").cloned().unwrap_or_default(),
            result: result.clone(),
        })
    })
}
