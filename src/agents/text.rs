//! A prompt as plain text, for agents that know nothing else.

use std::borrow::Cow;

use serde::Deserialize;

use crate::domain::Prompt;

/// A content block of the Agent Client Protocol, as far as it can be read as text.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ResourceLink {
        uri: String,
    },
    Resource {
        resource: Resource,
    },
    #[serde(other)]
    Unreadable,
}

#[derive(Deserialize)]
struct Resource {
    uri: String,
    text: Option<String>,
}

/// The text of a prompt: its text blocks, and of resources their text or else their address, a line end between them.
pub(crate) fn plain(prompt: &Prompt) -> Cow<'_, str> {
    match prompt {
        Prompt::Text(text) => Cow::Borrowed(text),
        Prompt::Blocks(json) => {
            let blocks: Vec<serde_json::Value> = serde_json::from_str(json).unwrap_or_default();
            let texts: Vec<String> = blocks.into_iter().filter_map(block).collect();
            Cow::Owned(texts.join("\n"))
        }
    }
}

fn block(json: serde_json::Value) -> Option<String> {
    match serde_json::from_value(json).ok()? {
        Block::Text { text } => Some(text),
        Block::ResourceLink { uri } => Some(uri),
        Block::Resource { resource } => Some(resource.text.unwrap_or(resource.uri)),
        Block::Unreadable => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_their_texts_and_addresses() {
        let json = r#"[{"text":"look at","type":"text"},{"name":"a","type":"resource_link","uri":"file:///a"},
            {"data":"AA==","mimeType":"image/png","type":"image"},{"type":"text"},
            {"resource":{"text":"body","uri":"file:///b"},"type":"resource"}]"#;
        assert_eq!(
            plain(&Prompt::Blocks(json.into())),
            "look at\nfile:///a\nbody"
        );
        assert_eq!(plain(&Prompt::Text("as it is".into())), "as it is");
    }
}
