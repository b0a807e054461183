//! Parameters: from any JSON a typed value, or a fault that names a field and fits in a line.

use serde_json::{Value, json};
use turnlane::domain::Limits;
use turnlane::protocol::{AgentObject, AgentParam, ErrorKind, Request, RpcError, cut};

use super::{Verdict, first, hold};

/// The property of the real reading.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, |method, params| Request::parse(method, Some(params)))
}

/// The first byte chooses the method; the rest is the text of its parameters.
pub fn holds_for(data: &[u8], parse: impl Fn(&str, &str) -> Result<Request, RpcError>) -> Verdict {
    let (method, text) = first(data);
    let method = Request::METHODS[usize::from(method) % Request::METHODS.len()];
    let Ok(text) = std::str::from_utf8(text) else {
        return Ok(());
    };
    let value = serde_json::from_str::<Value>(text).ok();
    match parse(method, text) {
        Err(error) => {
            is_a_refusal(&error, value.as_ref()).map_err(|why| format!("{method}: {why}"))
        }
        Ok(request) => {
            hold(request.method() == method, || {
                format!("{method} is read as {request:?}")
            })?;
            if let Some(value) = value {
                same_however_it_is_written(method, &request, &value, &parse)?;
            }
            stays_within(request)
        }
    }
}

/// It fits in a line, says of which kind it is, and names the field.
fn is_a_refusal(error: &RpcError, value: Option<&Value>) -> Verdict {
    let bytes = cut::line_len(error);
    let most = cut::LINE_BYTES - cut::ENVELOPE_BYTES;
    hold(bytes <= most, || format!("a refusal of {bytes} bytes"))?;
    hold(!error.message.is_empty(), || {
        format!("no word of {error:?}")
    })?;
    if error.code == -32700 {
        return hold(value.is_none(), || {
            format!("what can be read is called unreadable: {error:?}")
        });
    }
    let kind = error.kind();
    hold(kind.is_some_and(|kind| kind.code() == error.code), || {
        format!("no kind that has this code: {error:?}")
    })?;
    let kinds = [
        ErrorKind::InvalidParams,
        ErrorKind::EmptyPrompt,
        ErrorKind::PromptTooLarge,
        ErrorKind::InvalidParent,
        ErrorKind::Unsupported,
    ];
    hold(kind.is_some_and(|kind| kinds.contains(&kind)), || {
        format!("parameters are not refused with {error:?}")
    })?;
    let field = error.data.as_ref().and_then(|data| data["field"].as_str());
    let named = field.is_some_and(|field| !field.is_empty());
    // Where there is no object there is no field; and a field may have an empty name.
    let fields = value.and_then(Value::as_object);
    let nameless = field == Some("") && fields.is_none_or(|fields| fields.contains_key(""));
    hold(named || nameless, || {
        format!("no field is named: {error:?}")
    })
}

/// Order, white space and what begins with `_` change nothing; an unknown name is refused by its name.
fn same_however_it_is_written(
    method: &str,
    request: &Request,
    value: &Value,
    parse: &impl Fn(&str, &str) -> Result<Request, RpcError>,
) -> Verdict {
    let mut other = match value {
        Value::Object(fields) => fields.clone(),
        Value::Null => serde_json::Map::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(format!("{method} takes {value}"));
        }
    };
    // Floating point that this parser writes differently from how it reads it is no matter of ours.
    let kept = serde_json::from_str::<Value>(&value.to_string()).is_ok_and(|back| back == *value);
    other.insert("_note".into(), json!({"any": [1, "thing"]}));
    let written = serde_json::to_string_pretty(&other).expect("a value can be written");
    let again = parse(method, &written);
    hold(!kept || again.as_ref() == Ok(request), || {
        format!("{method} of {value} is {request:?}, written as {written} it is {again:?}")
    })?;
    other.insert("colour".into(), json!("red"));
    let unknown = parse(method, &Value::Object(other).to_string());
    let named = unknown.as_ref().err().and_then(|error| error.data.as_ref());
    hold(named.is_some_and(|data| data["field"] == "colour"), || {
        format!("{method} takes an unknown name: {unknown:?}")
    })
}

/// What is looked at later, with the limits at hand, never panics either, and refuses as well.
fn stays_within(request: Request) -> Verdict {
    let limits = Limits::default();
    let refused = match request {
        Request::Prompt(params) => params.check(&limits).err(),
        Request::RunWait(params) => {
            let (runs, need) = (params.runs().len(), params.need());
            hold(need >= 1 && need <= runs, || {
                format!("a wait for {need} of {runs} runs")
            })?;
            params.check(&limits).err()
        }
        Request::RunInput(params) => params.input(&limits).err(),
        Request::Cancel(params) => params.target().err(),
        Request::SessionOpen(params) => {
            return match params.agent {
                Some(AgentParam::Inline(agent)) => can_be_kept(&agent, &limits),
                Some(AgentParam::Named(_)) | None => Ok(()),
            };
        }
        Request::RunList(params) => return is_a_page(params.limit(&limits), &limits),
        Request::SessionList(params) => return is_a_page(params.limit(&limits), &limits),
        Request::EventsReplay(params) => return is_a_page(params.limit(&limits), &limits),
        Request::DeadLetterList(params) => return is_a_page(params.limit(&limits), &limits),
        Request::InboxPeek(params) => return is_a_page(params.limit(&limits), &limits),
        Request::Drain(params) => {
            let max = params.max(&limits);
            return hold(max >= 1 && max as u64 <= limits.drain, || {
                format!("a drain of {max}")
            });
        }
        Request::DeadLetterRetry(params) => params.letters().err(),
        Request::DeadLetterPurge(params) => params.letters().err(),
        Request::Shutdown(params) => {
            let (_, timeout_ms) = params.plan(&limits);
            return hold(timeout_ms >= 1, || format!("{params:?} has no time"));
        }
        Request::Initialize(_)
        | Request::Exit
        | Request::RunGet(_)
        | Request::RunOutput(_)
        | Request::SessionClose(_)
        | Request::SessionGet(_)
        | Request::SessionWait(_)
        | Request::PermissionRespond(_)
        | Request::Subscribe(_)
        | Request::AgentList
        | Request::DrainAck(_)
        | Request::DrainRelease(_)
        | Request::DrainExtend(_)
        | Request::Wake(_)
        | Request::Stats => None,
    };
    refused.map_or(Ok(()), |error| is_a_refusal(&error, Some(&json!({}))))
}

fn is_a_page(rows: usize, limits: &Limits) -> Verdict {
    hold(rows >= 1 && rows as u64 <= limits.list, || {
        format!("a page of {rows} rows")
    })
}

/// An agent that was described is read from what is kept of it, without the values of its variables.
fn can_be_kept(agent: &AgentObject, limits: &Limits) -> Verdict {
    let kept = agent.stored();
    let mut back: AgentObject =
        serde_json::from_str(&kept).map_err(|why| format!("{kept}: {why}"))?;
    hold(back.env.is_none(), || format!("variables are kept: {kept}"))?;
    let resolved = back.clone().resolve("inline", limits);
    hold(resolved.is_ok(), || format!("{kept}: {resolved:?}"))?;
    back.env.clone_from(&agent.env);
    hold(back == *agent, || format!("{agent:?} is kept as {back:?}"))?;
    let whole = serde_json::to_string(agent).expect("it can be written");
    let read = serde_json::from_str::<AgentObject>(&whole).ok();
    hold(read.as_ref() == Some(agent), || {
        format!("{whole} is read back as {read:?}")
    })
}
