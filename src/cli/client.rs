//! A small client: what the one-shot commands speak to the sidecar with, over a pair of sockets.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use serde_json::{Map, Value, json};

/// The code of parameters that are wrong whatever the store holds.
pub(super) const INVALID_PARAMS: i64 = -32_602;
/// The code of what is not there.
pub(super) const NOT_FOUND: i64 = -32_010;
/// The kind of what we gave up ourselves.
pub(super) const INTERRUPTED: &str = "interrupted";
/// The kind of what is to be repeated.
const OWNER_LOST: &str = "ownerLost";
/// What such a request may have been given by its way to the owner, and says when it is repeated.
const NAMES: [&str; 2] = ["runId", "sessionId"];

/// What reaches a one-shot command.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message from the sidecar.
    Message(Value),
    /// Somebody typed a line at the terminal; none at the end.
    Typed(Option<String>),
    /// Ctrl-C, or another wish that we leave.
    Signal,
    /// The sidecar is gone.
    Closed,
}

/// A connection to the sidecar.
pub(super) struct Client {
    write: UnixStream,
    incoming: Receiver<Incoming>,
    sender: Sender<Incoming>,
    next: u64,
    /// Notifications that came while an answer was awaited.
    early: std::collections::VecDeque<Value>,
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its code.
    pub(super) code: i64,
    /// Its `data.kind`.
    pub(super) kind: String,
    /// What a person reads.
    pub(super) message: String,
    /// What the request is to be repeated with, where it was lost with the process that held the store.
    names: Box<Map<String, Value>>,
}

impl Client {
    /// A client over this end.
    ///
    /// # Errors
    /// When its reader can't be started.
    pub(super) fn new(end: UnixStream) -> io::Result<Self> {
        let (sender, incoming) = mpsc::channel();
        let (read, told) = (end.try_clone()?, sender.clone());
        std::thread::Builder::new()
            .name("client".into())
            .spawn(move || {
                for line in BufReader::new(read).lines() {
                    let Some(message) = line.ok().and_then(|line| serde_json::from_str(&line).ok())
                    else {
                        break;
                    };
                    if told.send(Incoming::Message(message)).is_err() {
                        return;
                    }
                }
                let _ = told.send(Incoming::Closed);
            })?;
        Ok(Self {
            write: end,
            incoming,
            sender,
            next: 1,
            early: std::collections::VecDeque::new(),
        })
    }

    /// Where signals are told.
    pub(super) fn sender(&self) -> Sender<Incoming> {
        self.sender.clone()
    }

    /// Sends a request without waiting for its answer.
    pub(super) fn send(&mut self, method: &str, params: &Value) -> u64 {
        let id = self.next;
        self.next += 1;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        // A sidecar that is gone is noticed where its answers are read.
        let _ = self.write.write_all(format!("{message}\n").as_bytes());
        id
    }

    /// Asks, and waits for the answer. What is lost with the process that held the store is asked again of the next one.
    pub(super) fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Refused> {
        let began = Instant::now();
        let mut asked = params.clone();
        loop {
            match self.ask_once(method, &asked) {
                Err(refused) if refused.kind == OWNER_LOST => {
                    for (name, value) in &*refused.names {
                        asked[name] = value.clone();
                    }
                    if let Some((name, limit)) = limit(method, params) {
                        let gone = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        // No time at all is not the same as hardly any.
                        asked[name] = json!(limit.saturating_sub(gone).max(limit.min(1)));
                    }
                }
                answered => return answered,
            }
        }
    }

    fn ask_once(&mut self, method: &str, params: &Value) -> Result<Value, Refused> {
        let id = self.send(method, params);
        loop {
            match self.incoming.recv() {
                // Without an id: a message of ours could not even be read.
                Ok(Incoming::Message(message))
                    if message["id"] == id || message.get("id") == Some(&Value::Null) =>
                {
                    return answer(message);
                }
                Ok(Incoming::Message(message)) => self.early.push_back(message),
                // It is about a question that is not open.
                Ok(Incoming::Typed(_)) => {}
                // Whatever it was, nobody waits for it any more.
                Ok(Incoming::Signal) => {
                    return Err(Refused::ours(
                        INTERRUPTED,
                        "interrupted before it was answered",
                    ));
                }
                Ok(Incoming::Closed) | Err(_) => {
                    return Err(Refused::ours("storeUnavailable", "the store failed"));
                }
            }
        }
    }

    /// The next thing that happens.
    pub(super) fn next(&mut self) -> Incoming {
        match self.early.pop_front() {
            Some(message) => Incoming::Message(message),
            None => self.incoming.recv().unwrap_or(Incoming::Closed),
        }
    }

    /// Leaves: the sidecar sees the end of its input.
    pub(super) fn leave(self) {
        let _ = self.write.shutdown(std::net::Shutdown::Write);
    }
}

impl Refused {
    /// What was found out here, without an answer.
    pub(super) fn ours(kind: &str, message: &str) -> Self {
        Self {
            code: 0,
            kind: kind.to_owned(),
            message: message.to_owned(),
            names: Box::default(),
        }
    }

    /// The error as one JSON value.
    pub(super) fn to_json(&self) -> Value {
        json!({"error": {"code": self.code, "message": self.message, "data": {"kind": self.kind}}})
    }
}

/// The parameter that bounds how long this request waits, and the bound.
fn limit(method: &str, params: &Value) -> Option<(&'static str, u64)> {
    let name = match method {
        "drain" => "waitMs",
        "run/wait" | "session/wait" => "timeoutMs",
        _ => return None,
    };
    Some((name, params.get(name)?.as_u64()?))
}

/// Whether a request was lost with the process that held the store: the next one is to be asked again.
pub(super) fn is_lost(answer: &Value) -> bool {
    answer["error"]["data"]["kind"] == OWNER_LOST
}

fn answer(mut message: Value) -> Result<Value, Refused> {
    match message.get("error") {
        None => Ok(message["result"].take()),
        Some(error) => {
            let data = &error["data"];
            let names = NAMES.into_iter().filter_map(|name| {
                let given = data.get(name).filter(|name| name.is_string())?;
                Some((name.to_owned(), given.clone()))
            });
            Err(Refused {
                code: error["code"].as_i64().unwrap_or_default(),
                kind: data["kind"].as_str().unwrap_or_default().to_owned(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
                names: Box::new(names.collect()),
            })
        }
    }
}
