//! What a prompt is to an agent.

use agent_client_protocol::v1::schema::PromptCapabilities;
use agent_client_protocol::{Error, UntypedMessage};
use serde_json::{Map, Value, json};

use super::pump::PROMPT;
use crate::domain::Prompt;

/// The content blocks of a prompt: as they are, or a text as one.
///
/// # Errors
/// Names the first kind of block that the agent does not take.
pub(super) fn blocks(prompt: &Prompt, can: &PromptCapabilities) -> Result<Vec<Value>, String> {
    let blocks = match prompt {
        Prompt::Text(text) => vec![json!({"type": "text", "text": text})],
        Prompt::Blocks(json) => serde_json::from_str::<Vec<Value>>(json).unwrap_or_default(),
    };
    for block in &blocks {
        let kind = block["type"].as_str().unwrap_or_default();
        let takes = match kind {
            "image" => can.image,
            "audio" => can.audio,
            "resource" => can.embedded_context,
            _ => true,
        };
        if !takes {
            return Err(format!(
                "the agent takes no content blocks of type `{kind}`: nothing was sent to it"
            ));
        }
    }
    Ok(blocks)
}

/// The request that begins a turn.
pub(super) fn request(
    session: &str,
    blocks: Vec<Value>,
    traceparent: Option<&str>,
) -> Result<UntypedMessage, Error> {
    let mut params = Map::new();
    params.insert("sessionId".to_owned(), session.into());
    params.insert("prompt".to_owned(), blocks.into());
    if let Some(context) = traceparent {
        params.insert("_meta".to_owned(), json!({"traceparent": context}));
    }
    UntypedMessage::new(PROMPT, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_block_and_blocks_stay_as_they_are() {
        let can = PromptCapabilities::new();
        let text = blocks(&Prompt::Text("hi".into()), &can).unwrap();
        assert_eq!(text, [json!({"type": "text", "text": "hi"})]);
        let given = r#"[{"_meta":{"x":1},"of":"tomorrow","text":"a","type":"text"},{"name":"a","type":"resource_link","uri":"file:///a"}]"#;
        let kept = blocks(&Prompt::Blocks(given.into()), &can).unwrap();
        assert_eq!(json!(kept), serde_json::from_str::<Value>(given).unwrap());
    }

    #[test]
    fn blocks_that_the_agent_does_not_take_are_named() {
        for (kind, with) in [
            ("image", PromptCapabilities::new().image(true)),
            ("audio", PromptCapabilities::new().audio(true)),
            ("resource", PromptCapabilities::new().embedded_context(true)),
        ] {
            let prompt = Prompt::Blocks(format!(r#"[{{"type":"{kind}"}}]"#).into());
            let why = blocks(&prompt, &PromptCapabilities::new()).unwrap_err();
            assert!(why.contains(&format!("`{kind}`")), "{why}");
            assert!(blocks(&prompt, &with).is_ok(), "{kind}");
        }
    }

    #[test]
    fn the_callers_trace_context_goes_along() {
        let request = request("s", Vec::new(), Some("00-a-b-01")).unwrap();
        let expected =
            json!({"sessionId": "s", "prompt": [], "_meta": {"traceparent": "00-a-b-01"}});
        assert_eq!(request.params(), &expected);
    }
}
