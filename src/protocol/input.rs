//! What is typed into a run's terminal.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::cut;
use super::error::RpcError;
use super::kinds::ErrorData;
use super::params::Params;
use super::schema;
use super::words::Word as _;
use crate::domain::terminal::LINE_BYTES;
use crate::domain::{InputRefusal, Key, Limits, RunId, RunState, TerminalInput, Typed};

/// Bytes of a key's name in a message, as encoded.
const NAME_BYTES: usize = 64;

/// Parameters of `run/input`: `text` or `keys`, a new size of the terminal, or both.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "anyOf" = schema::at_least_one(&["text", "keys", "cols", "rows"]),
    "allOf" = [schema::not_both("text", "keys")],
))]
pub struct RunInputParams {
    /// The run.
    pub run_id: RunId,
    /// A text to type, as it is: no line end is added. At most `limits.promptBytes`.
    #[schemars(length(min = 1))]
    pub text: Option<Arc<str>>,
    /// Keys to press, such as `C-d`; at most `limits.keys`.
    #[schemars(length(min = 1, max = 1024), inner(length(min = 1)))]
    pub keys: Option<Vec<Arc<str>>>,
    /// Columns of the terminal.
    #[schemars(range(min = 1))]
    pub cols: Option<u16>,
    /// Rows of the terminal.
    #[schemars(range(min = 1))]
    pub rows: Option<u16>,
}

impl Params for RunInputParams {
    fn checked(self) -> Result<Self, RpcError> {
        if self.text.is_some() && self.keys.is_some() {
            return Err(RpcError::invalid_params(
                "keys",
                "give either `text` or `keys`, not both",
            ));
        }
        for (field, size) in [("cols", self.cols), ("rows", self.rows)] {
            if size == Some(0) {
                return Err(RpcError::invalid_params(field, "is at least 1"));
            }
        }
        if self.text.as_ref().is_some_and(|text| text.is_empty()) {
            let why = "is empty: say what to type; `\"\\n\"` is an empty line";
            return Err(RpcError::invalid_params("text", why));
        }
        if self.keys.as_ref().is_some_and(Vec::is_empty) {
            return Err(RpcError::invalid_params("keys", "names at least one key"));
        }
        if self.text.is_none() && self.keys.is_none() && self.cols.is_none() && self.rows.is_none()
        {
            return Err(RpcError::invalid_params(
                "text",
                "give `text`, `keys`, `cols` or `rows`",
            ));
        }
        Ok(self)
    }
}

impl RunInputParams {
    /// What is to be done to the terminal.
    ///
    /// # Errors
    /// `promptTooLarge` for a text over `limits.promptBytes`; `invalidParams` for too many keys, or one that there is not.
    pub fn input(&self, limits: &Limits) -> Result<TerminalInput, RpcError> {
        let typed = match (&self.text, &self.keys) {
            (Some(text), _) => Some(Typed::Text(small(text, limits)?)),
            (None, Some(names)) => Some(Typed::Keys(keys(names, limits)?)),
            (None, None) => None,
        };
        Ok(TerminalInput {
            typed,
            cols: self.cols,
            rows: self.rows,
        })
    }
}

fn small(text: &Arc<str>, limits: &Limits) -> Result<Arc<str>, RpcError> {
    let (bytes, limit) = (text.len() as u64, limits.prompt_bytes);
    if bytes > limit {
        return Err(RpcError::ours(
            format!("the text has {bytes} bytes, and the limit is {limit}: type it in pieces"),
            ErrorData::PromptTooLarge {
                field: "text",
                bytes,
                limit,
                limit_name: "promptBytes",
                session_id: None,
            },
        ));
    }
    Ok(text.clone())
}

fn keys(names: &[Arc<str>], limits: &Limits) -> Result<Vec<Key>, RpcError> {
    let (count, limit) = (names.len() as u64, limits.keys);
    if count > limit {
        let why = format!("names {count} keys, and the limit (`keys`) is {limit}");
        return Err(RpcError::invalid_params("keys", why));
    }
    let key = |name: &Arc<str>| {
        Key::parse(name).ok_or_else(|| {
            let shown = cut::shortened(name, NAME_BYTES);
            let why = format!("there is no key `{shown}`; there are {}", Key::NAMES);
            RpcError::invalid_params("keys", why)
        })
    };
    names.iter().map(key).collect()
}

fn conflict(run: &RunId, state: RunState, why: &str) -> RpcError {
    RpcError::ours(
        format!("run `{run}` {why}"),
        ErrorData::SessionConflict {
            session_id: None,
            run_id: Some(run.to_string()),
            field: None,
            state: Some(state.word()),
        },
    )
}

impl RpcError {
    /// The run whose terminal is meant has not begun.
    pub fn input_too_early(run: &RunId) -> Self {
        let why = "is still queued, so nothing was typed: repeat it when the run is active";
        conflict(run, RunState::Queued, why)
    }

    /// The agent did nothing to the terminal of this run, which is in that state by now.
    pub fn input_refused(run: &RunId, state: RunState, refusal: InputRefusal) -> Self {
        match refusal {
            InputRefusal::Over if state == RunState::Ended => {
                let why = "has ended, so nothing was typed: prompt its session instead";
                conflict(run, state, why)
            }
            InputRefusal::Over => {
                let why = "is about to end, so nothing was typed: wait for its end, then prompt its session";
                conflict(run, state, why)
            }
            InputRefusal::LineTooLong => Self::invalid_params(
                "text",
                format!(
                    "a line typed into a terminal in canonical mode has at most {LINE_BYTES} bytes; nothing was typed: break the line"
                ),
            ),
            InputRefusal::Unread => Self::ours(
                format!(
                    "the terminal of run `{run}` holds what its program has not read, so nothing was typed: repeat it when the program reads"
                ),
                ErrorData::Overloaded {
                    limit: None,
                    limit_name: None,
                    run_id: Some(run.to_string()),
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::ErrorKind;

    fn of(json: &str, limits: &Limits) -> Result<TerminalInput, RpcError> {
        let params: RunInputParams = serde_json::from_str(json).unwrap();
        params.input(limits)
    }

    #[test]
    fn what_is_to_be_typed_is_read_or_refused_as_a_whole() {
        let limits = Limits {
            prompt_bytes: 4,
            keys: 2,
            ..Limits::default()
        };
        let both = of(
            r#"{"runId":"r","text":"a\nü","cols":80,"rows":24}"#,
            &limits,
        );
        let typed = Some(Typed::Text("a\nü".into()));
        let (cols, rows) = (Some(80), Some(24));
        assert_eq!(both.unwrap(), TerminalInput { typed, cols, rows });
        let keys = of(r#"{"runId":"r","keys":["C-d","C-c"]}"#, &limits).unwrap();
        let pressed = ["C-d", "C-c"].map(|name| Key::parse(name).unwrap());
        assert_eq!(keys.typed, Some(Typed::Keys(pressed.to_vec())));

        let long = of(r#"{"runId":"r","text":"abüx"}"#, &limits).unwrap_err();
        let data = long.data.clone().unwrap();
        assert_eq!(long.kind(), Some(ErrorKind::PromptTooLarge));
        assert_eq!(
            (&data["field"], &data["bytes"], &data["limit"]),
            (&json!("text"), &json!(5), &json!(4))
        );
        for (json, part) in [
            (r#"{"runId":"r","keys":["C-d","Hyper-Q"]}"#, "`Hyper-Q`"),
            (r#"{"runId":"r","keys":["Hyper-Q"]}"#, Key::NAMES),
            (r#"{"runId":"r","keys":["C-d","C-d","C-d"]}"#, "limit"),
        ] {
            let error = of(json, &limits).unwrap_err();
            assert_eq!(error.kind(), Some(ErrorKind::InvalidParams), "{json}");
            assert_eq!(error.data.as_ref().unwrap()["field"], "keys");
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn each_reason_for_typing_nothing_has_its_kind() {
        let run = RunId::parse("r").unwrap();
        let refused = |refusal| RpcError::input_refused(&run, RunState::Ended, refusal);
        let ending = RpcError::input_refused(&run, RunState::Active, InputRefusal::Over);
        for (error, kind) in [
            (RpcError::input_too_early(&run), ErrorKind::SessionConflict),
            (refused(InputRefusal::Over), ErrorKind::SessionConflict),
            (ending, ErrorKind::SessionConflict),
            (refused(InputRefusal::LineTooLong), ErrorKind::InvalidParams),
            (refused(InputRefusal::Unread), ErrorKind::Overloaded),
        ] {
            assert_eq!(error.kind(), Some(kind), "{error}");
            let typed = error.message.contains("nothing was typed");
            assert!(typed, "{error}");
        }
        assert_eq!(
            refused(InputRefusal::LineTooLong).data.unwrap()["field"],
            "text"
        );
    }
}
