//! What an update of the agent is to a run: text that it says, or news of its work.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// An update.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// The agent says this.
    Text(Cow<'a, str>),
    /// It calls a tool.
    ToolCall,
    /// Anything else.
    Other,
}

#[derive(Deserialize)]
struct Tagged<'a> {
    #[serde(rename = "sessionUpdate", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// What an update is. One that can't be read is something else: it is shown as it came.
pub(super) fn read(json: &RawValue) -> Kind<'_> {
    let Ok(tagged) = serde_json::from_str::<Tagged>(json.get()) else {
        return Kind::Other;
    };
    match &*tagged.kind {
        "tool_call" => Kind::ToolCall,
        "agent_message_chunk" => tagged
            .content
            .and_then(|content| serde_json::from_str::<Block>(content.get()).ok())
            .filter(|block| block.kind == "text")
            .and_then(|block| block.text)
            .map_or(Kind::Other, Kind::Text),
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_the_agent_says_is_text() {
        let text = |text: &str| Kind::Text(text.to_owned().into());
        for (json, expected) in [
            (
                r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"a\n\u00e9"}}"#,
                text("a\n\u{e9}"),
            ),
            (
                r#"{"content":{"text":"","type":"text","annotations":null},"messageId":"m","sessionUpdate":"agent_message_chunk"}"#,
                text(""),
            ),
            (
                r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"image","data":"","mimeType":"image/png"}}"#,
                Kind::Other,
            ),
            (r#"{"sessionUpdate":"agent_message_chunk"}"#, Kind::Other),
            (
                r#"{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":7}}"#,
                Kind::Other,
            ),
            (
                r#"{"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"a"}}"#,
                Kind::Other,
            ),
            (
                r#"{"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"a"}}"#,
                Kind::Other,
            ),
            (
                r#"{"sessionUpdate":"tool_call","toolCallId":"1","title":"t","content":[]}"#,
                Kind::ToolCall,
            ),
            (
                r#"{"sessionUpdate":"tool_call_update","toolCallId":"1"}"#,
                Kind::Other,
            ),
            (r#"{"sessionUpdate":"of tomorrow"}"#, Kind::Other),
            (r#"{}"#, Kind::Other),
            (r#"[1]"#, Kind::Other),
        ] {
            let raw = RawValue::from_string(json.to_owned()).unwrap();
            assert_eq!(read(&raw), expected, "{json}");
        }
    }
}
