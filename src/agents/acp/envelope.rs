//! What a line of an agent is: a message of JSON-RPC, or something that only looks like one.

use std::borrow::Cow;

use agent_client_protocol::{RawJsonRpcError, RawJsonRpcId, RawJsonRpcParams};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message as it stands in its line.
#[derive(Debug)]
pub(super) enum Envelope<'a> {
    /// It asks something of us.
    Request {
        /// Comes back with the answer, as it stands there.
        id: &'a RawValue,
        /// What it asks.
        method: Cow<'a, str>,
        /// What about.
        params: Option<&'a RawValue>,
    },
    /// It tells something.
    Notification {
        /// What it tells.
        method: Cow<'a, str>,
        /// What about.
        params: Option<&'a RawValue>,
    },
    /// It answers something that we asked.
    Response {
        /// What we asked under.
        id: RawJsonRpcId,
        /// The answer, made readable.
        answer: Answer<'a>,
    },
}

/// An answer as it stands in its line.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    /// It worked. Without a value it is null: that is how some languages write one that is not there.
    Result(Option<&'a RawValue>),
    /// It did not.
    Error(&'a RawValue),
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// An id that is null is one.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Envelope<'a> {
    /// Reads a line; `None` when it is no message of JSON-RPC 2.0, as a line of a log is none, also one in JSON.
    pub(super) fn read(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if !line.starts_with('{') {
            return None;
        }
        let members: Members<'a> = serde_json::from_str(line).ok()?;
        if members.jsonrpc != "2.0" {
            return None;
        }
        let params = members.params;
        match (members.id, members.method) {
            (Some(id), Some(method)) => Some(Self::Request { id, method, params }),
            (None, Some(method)) => Some(Self::Notification { method, params }),
            (Some(id), None) => Some(Self::Response {
                id: serde_json::from_str(id.get()).ok()?,
                answer: members
                    .error
                    .map_or(Answer::Result(members.result), Answer::Error),
            }),
            (None, None) => None,
        }
    }
}

/// Parameters for the crate; what it could not read is as good as none, and answered as such.
pub(super) fn params(raw: Option<&RawValue>) -> Option<RawJsonRpcParams> {
    serde_json::from_str(raw?.get()).ok()
}

impl Answer<'_> {
    /// The answer in a form that reaches whoever asked, however odd it is.
    pub(super) fn readable(&self) -> Result<Value, Box<RawJsonRpcError>> {
        match self {
            Self::Result(None) => Ok(Value::Null),
            Self::Result(Some(result)) => serde_json::from_str(result.get()).map_err(|error| {
                Box::new(RawJsonRpcError::new(
                    INTERNAL,
                    format!("the agent's answer can't be read: {error}"),
                ))
            }),
            Self::Error(error) => Err(serde_json::from_str(error.get()).unwrap_or_else(|_| {
                // Shown as it came: it is all that is known.
                let shown: String = error.get().chars().take(SHOWN_CHARS).collect();
                Box::new(RawJsonRpcError::new(INTERNAL, shown))
            })),
        }
    }
}

/// The code of an error that names none of its own.
pub(super) const INTERNAL: i32 = -32603;

/// As much of an odd error as is shown.
const SHOWN_CHARS: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_log_are_no_messages() {
        for line in [
            "",
            "  ",
            "INFO starting",
            "{",
            "{}",
            "[]",
            "null",
            "17",
            "\"text\"",
            r#"{"level":"info","msg":"starting","id":1}"#,
            r#"{"level":"info","method":"GET"}"#,
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":{}}"#,
            r#"{"jsonrpc":2.0,"id":1,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":{},"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}"#,
            r#"{"jsonrpc":"2.0","method":7}"#,
            r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}} and more",
        ] {
            assert!(Envelope::read(line).is_none(), "{line}");
        }
    }

    #[test]
    fn every_kind_of_message_is_told_apart() {
        let kind = |line: &str| match Envelope::read(line) {
            Some(Envelope::Request { id, method, .. }) => format!("request {id} {method}"),
            Some(Envelope::Notification { method, .. }) => format!("notification {method}"),
            Some(Envelope::Response { id, answer }) => match answer.readable() {
                Ok(value) => format!("result {id} {value}"),
                Err(error) => format!("error {id} {} {}", error.code, error.message),
            },
            None => "none".to_owned(),
        };
        for (line, expected) in [
            (
                r#" {"jsonrpc":"2.0","id":"a","method":"m","params":{}}"#,
                "request \"a\" m",
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#,
                "request null m",
            ),
            (
                "{\"method\":\"\\u006d\",\"jsonrpc\":\"2.0\"}\r",
                "notification m",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{"a":1}}"#,
                r#"result 1 {"a":1}"#,
            ),
            (r#"{"jsonrpc":"2.0","id":1}"#, "result 1 null"),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":2,"error":null}"#,
                "result 1 2",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
                "error 1 -1 no",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#,
                "error 1 -32603 \"no\"",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":"E"}}"#,
                r#"error 1 -32603 {"code":"E"}"#,
            ),
        ] {
            assert_eq!(kind(line), expected, "{line}");
        }
    }

    #[test]
    fn an_answer_that_is_too_deep_is_an_error_and_not_silence() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        let line = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{deep}}}"#);
        let Some(Envelope::Response { answer, .. }) = Envelope::read(&line) else {
            panic!("it is an answer");
        };
        let error = answer.readable().unwrap_err();
        assert!(error.message.contains("can't be read"), "{}", error.message);
    }
}
