//! What a client says, looked into as far as passing it on takes: which answers it is owed, and what those will mean.
//!
//! A message's bytes are left as they are but for this: a request that makes something and does not name it is given a name here, so that
//! it can be repeated when its answer is lost; and the process that a client names is watched here, not by the owner.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::{DeliveryId, RunId, SessionId};
use crate::protocol::RpcError;
use crate::wire::{Bounds, Entry, Incoming, Message, read, refusal};

/// Variables of an environment.
pub(super) type Variables = Arc<BTreeMap<String, String>>;

/// A message, ready to be passed on.
#[derive(Debug)]
pub(super) struct Said {
    /// Its bytes.
    pub(super) message: Vec<u8>,
    /// The answer that is owed for it, if any is.
    pub(super) owed: Option<Owed>,
    /// The process whose death is the client's leave, where nobody answers whether it is.
    pub(super) watch: Option<u32>,
    /// Whether it is the client's leave.
    pub(super) exit: bool,
    /// What it is answered with here: no owner could say anything else, and so none is asked.
    pub(super) refused: Option<String>,
    /// What is said in it without being asked for an answer.
    pub(super) noted: Vec<Noted>,
}

/// Something that a client lets be done and hears nothing about.
#[derive(Debug)]
pub(super) enum Noted {
    /// It opened a session with these variables, or prompted in it without any.
    Open {
        session: SessionId,
        env: Option<Variables>,
        agent_env: Option<Variables>,
    },
    /// It is about to leave.
    Leave,
}

/// The answer to a message.
#[derive(Debug)]
pub(super) enum Owed {
    /// One.
    Alone(Asked),
    /// One for each call, all together.
    Batch(Vec<Asked>),
}

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    /// Its id, as it was written.
    pub(super) id: Arc<str>,
    /// The run that it names, or was given.
    pub(super) run: Option<RunId>,
    /// The session that it names, or was given.
    pub(super) session: Option<SessionId>,
    /// What a successful answer means.
    pub(super) what: What,
}

/// What the answer to a request tells about its client.
#[derive(Debug)]
pub(super) enum What {
    /// Nothing.
    Other,
    /// It is initialized. The message as it came is kept: an owner that is lost is not asked again by whoever had its answer.
    Initialize {
        process: Option<u32>,
        message: Bytes,
    },
    /// It prompted in a session.
    Prompt,
    /// It opened a session with these variables; absent ones stay.
    Open {
        env: Option<Variables>,
        agent_env: Option<Variables>,
    },
    /// It closed a session.
    Close,
    /// It is about to leave.
    Leave,
    /// It may hold a delivery.
    Drain,
    /// It settled or gave back what it held of a delivery; all of it, or what the answer names.
    Settle { delivery: DeliveryId, all: bool },
    /// It holds a delivery for longer.
    Extend(DeliveryId),
    /// It is no request: this is what such a part of a batch is answered.
    Invalid(RpcError),
}

/// Reads a message. A request that the owner will refuse is passed on as it is: it refuses it.
pub(super) fn look(message: &Bytes, bounds: &Bounds) -> Said {
    let mut looking = Looking {
        message,
        edits: Vec::new(),
        watch: None,
        exit: false,
        noted: Vec::new(),
    };
    let owed = match read(message, bounds) {
        Ok(Message::Single(Entry::Invalid { id, error })) => return refused(refusal(error, id)),
        Err(error) => return refused(refusal(error, "null")),
        Ok(Message::Single(entry)) => looking.entry(&entry, true).map(Owed::Alone),
        Ok(Message::Batch(entries)) => {
            let asked: Vec<Asked> = entries
                .iter()
                .filter_map(|entry| looking.entry(entry, false))
                .collect();
            (!asked.is_empty()).then_some(Owed::Batch(asked))
        }
    };
    let edited = looking.edited();
    // A name that makes a message too large, or gives it a value too many, would have it refused.
    if edited.len() > bounds.max_frame_bytes
        || (edited.len() > bounds.json_values && read(&edited, bounds).is_err())
    {
        return Said {
            message: message.to_vec(),
            owed: owed.map(Owed::unnamed),
            watch: None,
            exit: looking.exit,
            refused: None,
            noted: Vec::new(),
        };
    }
    Said {
        message: edited,
        owed,
        watch: looking.watch,
        exit: looking.exit,
        refused: None,
        noted: looking.noted,
    }
}

/// What nobody needs to be asked.
fn refused(answer: String) -> Said {
    Said {
        message: Vec::new(),
        owed: None,
        watch: None,
        exit: false,
        refused: Some(answer),
        noted: Vec::new(),
    }
}

impl Owed {
    /// Its requests, in their order.
    pub(super) fn asked(&self) -> &[Asked] {
        match self {
            Self::Alone(asked) => std::slice::from_ref(asked),
            Self::Batch(asked) => asked,
        }
    }

    /// The same where nothing was said of names that were given, nor kept of what they name.
    fn unnamed(mut self) -> Self {
        let all = match &mut self {
            Self::Alone(asked) => std::slice::from_mut(asked),
            Self::Batch(asked) => asked,
        };
        for asked in all {
            (asked.run, asked.session) = (None, None);
        }
        self
    }
}

struct Looking<'a> {
    message: &'a Bytes,
    /// What takes the place of which bytes, in their order.
    edits: Vec<(Range<usize>, String)>,
    watch: Option<u32>,
    exit: bool,
    noted: Vec<Noted>,
}

/// The parameters that matter here, as they were written.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Params<'a> {
    #[serde(borrow, deserialize_with = "given")]
    run_id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    session_id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    process_id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    delivery_id: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    run_ids: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    env: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    agent: Option<&'a RawValue>,
}

/// `null` is given too: something can take its place.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// A value of this type, if that is what is given.
fn value<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

impl Looking<'_> {
    /// The request that an entry of the message is; `None` if nobody is owed an answer.
    fn entry(&mut self, entry: &Entry<'_>, alone: bool) -> Option<Asked> {
        match entry {
            Entry::Call(incoming) => self.call(incoming, alone),
            Entry::Answer => None,
            Entry::Invalid { id, error } => Some(Asked {
                id: Arc::from(*id),
                run: None,
                session: None,
                what: What::Invalid(error.clone()),
            }),
        }
    }

    fn call(&mut self, call: &Incoming<'_>, alone: bool) -> Option<Asked> {
        let params = call.params.filter(|params| params.get().starts_with('{'));
        // What can't be read here, or is there twice, is refused by the owner.
        let Some(Ok(seen)) = params.map(|raw| serde_json::from_str::<Params<'_>>(raw.get())) else {
            self.exit |= call.method == "exit";
            let what = self.what(call, &Params::default(), alone);
            let Some(id) = call.id else {
                self.note(None, what);
                return None;
            };
            return Some(Asked {
                id: id.into(),
                run: None,
                session: None,
                what,
            });
        };
        let mut run = value(seen.run_id);
        let mut session = value(seen.session_id);
        if let Some(params) = params {
            match &*call.method {
                // Nobody repeats what is not answered.
                "prompt" | "wake" if call.id.is_some() => {
                    run = self.name(params, "runId", seen.run_id).or(run);
                }
                "session/open" => {
                    session = self.name(params, "sessionId", seen.session_id).or(session);
                }
                _ => {}
            }
        }
        let what = self.what(call, &seen, alone);
        self.exit |= call.method == "exit";
        let Some(id) = call.id else {
            self.note(session, what);
            return None;
        };
        Some(Asked {
            id: id.into(),
            run,
            session,
            what,
        })
    }

    /// Nobody is told what becomes of this.
    fn note(&mut self, session: Option<SessionId>, what: What) {
        let noted = match (what, session) {
            (What::Open { env, agent_env }, Some(session)) => Noted::Open {
                session,
                env,
                agent_env,
            },
            (What::Prompt, Some(session)) => Noted::Open {
                session,
                env: None,
                agent_env: None,
            },
            (What::Leave, _) => Noted::Leave,
            _ => return,
        };
        self.noted.push(noted);
    }

    fn what(&mut self, call: &Incoming<'_>, seen: &Params<'_>, alone: bool) -> What {
        match &*call.method {
            "initialize" => self.initialize(call, seen, alone),
            "prompt" => What::Prompt,
            "session/open" => What::Open {
                env: value(seen.env).map(Arc::new),
                agent_env: described(seen.agent),
            },
            "session/close" => What::Close,
            "shutdown" => What::Leave,
            "drain" => What::Drain,
            method @ ("drain/ack" | "drain/release" | "drain/extend") => {
                match value::<DeliveryId>(seen.delivery_id) {
                    None => What::Other,
                    Some(delivery) if method == "drain/extend" => What::Extend(delivery),
                    Some(delivery) => What::Settle {
                        delivery,
                        all: seen.run_ids.is_none_or(|raw| raw.get() == "null"),
                    },
                }
            }
            _ => What::Other,
        }
    }

    /// Takes the process out of an `initialize`, unless it is none: then the owner refuses it.
    fn initialize(&mut self, call: &Incoming<'_>, seen: &Params<'_>, alone: bool) -> What {
        let process: Option<u32> = value(seen.process_id).filter(|pid| *pid > 0);
        if let (Some(_), Some(raw)) = (process, seen.process_id) {
            self.replace(raw, "null".into());
        }
        if call.id.is_none() {
            self.watch = process;
        }
        // One in a batch is lost with it.
        let message = if alone {
            self.message.clone()
        } else {
            Bytes::new()
        };
        What::Initialize { process, message }
    }

    /// Gives a name to what has none.
    fn name<T: for<'a> Deserialize<'a>>(
        &mut self,
        params: &RawValue,
        field: &str,
        given: Option<&RawValue>,
    ) -> Option<T> {
        let name = format!("\"{}\"", uuid::Uuid::now_v7());
        match given {
            Some(raw) if raw.get() == "null" => self.replace(raw, name.clone()),
            Some(_) => return None,
            None => {
                let is_empty = params.get()[1..].trim_ascii_start().starts_with('}');
                let comma = if is_empty { "" } else { "," };
                let at = self.offset(params) + 1;
                self.edits
                    .push((at..at, format!("\"{field}\":{name}{comma}")));
            }
        }
        serde_json::from_str(&name).ok()
    }

    fn replace(&mut self, raw: &RawValue, by: String) {
        let at = self.offset(raw);
        self.edits.push((at..at + raw.get().len(), by));
    }

    /// Where a part of the message begins in it.
    fn offset(&self, part: &RawValue) -> usize {
        // INVARIANT: nothing was copied on the way from the message to its parts.
        part.get().as_ptr().addr() - self.message.as_ptr().addr()
    }

    fn edited(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.message.len() + 64 * self.edits.len());
        let mut done = 0;
        for (range, by) in &self.edits {
            bytes.extend_from_slice(&self.message[done..range.start]);
            bytes.extend_from_slice(by.as_bytes());
            done = range.end;
        }
        bytes.extend_from_slice(&self.message[done..]);
        bytes
    }
}

/// The variables of an agent that is described; `None` where it is only named.
fn described(agent: Option<&RawValue>) -> Option<Variables> {
    #[derive(Deserialize)]
    struct Described {
        #[serde(default)]
        env: Option<BTreeMap<String, String>>,
    }
    let raw = agent.filter(|raw| raw.get().starts_with('{'))?;
    let Described { env } = value(Some(raw))?;
    Some(Arc::new(env.unwrap_or_default()))
}
