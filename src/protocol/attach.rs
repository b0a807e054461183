//! What two processes of ours say to each other about a client that one of them passes on to the other, the owner of the store.
//!
//! They are notifications, none is answered, and no client ever sees one. The two may be of different versions: unknown fields are
//! passed over, and another [`ATTACH`] is refused in words.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::error::RpcError;
use super::events::Sessions;
use crate::domain::{DeliveryId, Limits, SessionId};

/// The number of this way to attach: whoever has another one can't be attached.
pub const ATTACH: u32 = 1;

const ATTACH_METHOD: &str = "$/attach";
const ATTACHED: &str = "$/attached";
const REFUSED: &str = "$/refused";
const FOLLOWING: &str = "$/following";
const OPENED: &str = "$/opened";
const STOPPED: &str = "$/stopped";

/// `$/attach`: who passes a client on, and what of it an earlier owner knew. The first message of its connection.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachParams {
    /// [`ATTACH`] of whoever says it. Under another number only `version` can be relied on.
    pub attach: u32,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// Names its life.
    #[serde(default)]
    pub instance_id: String,
    /// Its process.
    #[serde(default)]
    pub pid: u32,
    /// Its working directory: the default of sessions.
    #[serde(default)]
    pub cwd: String,
    /// Its environment: what agents of its sessions begin with. Values are neither logged nor written to disk.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The agent of sessions that are opened without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_agent: Option<String>,
    /// Whether agents wait for its client to read.
    #[serde(default)]
    pub paced: bool,
    /// What an earlier owner knew of its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AttachState>,
}

/// What the owner that was lost knew of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachState {
    /// Whether `initialize` was answered.
    pub initialized: bool,
    /// Whether it said that it is about to leave.
    #[serde(default)]
    pub leaving: bool,
    /// The last durable event that it was told, or may count as told.
    pub cursor: Arc<str>,
    /// What it hears of.
    pub sessions: Sessions,
    /// Whether it hears of output.
    pub output: bool,
    /// The sessions that it opened or prompted in.
    #[serde(default)]
    pub opened: Vec<Opened>,
    /// The deliveries that it holds.
    #[serde(default)]
    pub leases: Vec<Lease>,
}

/// A session that a client opened or prompted in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// Which.
    pub session_id: SessionId,
    /// The variables that it was opened with. Values are neither logged nor written to disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<BTreeMap<String, String>>,
    /// Those of the agent that was described when it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_env: Option<BTreeMap<String, String>>,
    /// When, among all openings: the latest decides which variables a session has.
    #[serde(default)]
    pub stamp: u64,
}

/// A delivery that a client holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Which.
    pub delivery_id: DeliveryId,
    /// Milliseconds that are left of it.
    pub lease_ms: u64,
    /// What of it is neither settled nor given back.
    #[serde(default)]
    pub run_ids: Vec<Box<str>>,
}

/// `$/attached`: from here on the owner takes what the client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attached {
    /// [`ATTACH`].
    pub attach: u32,
    /// The owner's version.
    pub version: String,
    /// The position of the durable log, or where the client's own goes on.
    pub cursor: Arc<str>,
    /// Whether the durable events after the cursor of the state follow.
    pub resumed: bool,
    /// Bytes of a frame that the owner takes, so that both judge a message alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_frame_bytes: Option<u64>,
    /// Levels of nesting that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_depth: Option<u64>,
    /// Values in a message that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_values: Option<u64>,
}

/// `$/refused`: the client is not served, and the connection ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub error: RpcError,
}

/// `$/following`: what the connection hears of, after it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Following {
    /// All of it.
    Set {
        /// The sessions.
        sessions: Sessions,
        /// Whether output is among it.
        output: bool,
        /// The position of the durable log from which on that holds.
        cursor: Arc<str>,
    },
    /// One session more.
    Added {
        /// Which.
        added: SessionId,
        /// The position of the durable log from which on that holds.
        cursor: Arc<str>,
    },
    /// One session less: nothing is left of it.
    Removed {
        /// Which.
        removed: SessionId,
        /// The position of the durable log from which on that holds.
        cursor: Arc<str>,
    },
    /// The same sessions; only the log is shorter at its beginning.
    Moved {
        /// How far the client was told of what it hears of.
        cursor: Arc<str>,
    },
}

/// `$/opened`: the place of an opening among all of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedAt {
    /// Which session was opened.
    pub session_id: SessionId,
    /// When, among all openings.
    pub stamp: u64,
}

/// `$/stopped`: the owner ends for everyone; nobody is to take its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stopped {}

/// What the owner says to whoever passes a client on.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnerSays {
    /// It takes the client.
    Attached(Attached),
    /// It does not.
    Refused(Refused),
    /// What the client hears of.
    Following(Following),
    /// When the client opened a session.
    Opened(OpenedAt),
    /// It ends for everyone.
    Stopped(Stopped),
}

impl OwnerSays {
    /// Reads a notification's content; `None` for what is none of ours, or none that this version knows.
    pub fn parse(method: &str, params: &str) -> Option<Self> {
        match method {
            ATTACHED => serde_json::from_str(params).ok().map(Self::Attached),
            REFUSED => serde_json::from_str(params).ok().map(Self::Refused),
            FOLLOWING => serde_json::from_str(params).ok().map(Self::Following),
            OPENED => serde_json::from_str(params).ok().map(Self::Opened),
            STOPPED => serde_json::from_str(params).ok().map(Self::Stopped),
            _ => None,
        }
    }
}

impl AttachParams {
    /// The notification's text.
    pub fn to_json(&self) -> String {
        note(ATTACH_METHOD, self)
    }

    /// Reads a whole message. `None`: it is another one, and nothing is said about it.
    ///
    /// # Errors
    /// `invalidParams`: it is an `$/attach` that can't be read. One of another number is read as far as that and its version.
    pub fn read(message: &[u8]) -> Option<Result<Self, RpcError>> {
        #[derive(Deserialize)]
        struct Envelope<'a> {
            #[serde(borrow)]
            method: Cow<'a, str>,
            #[serde(borrow)]
            params: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Numbered {
            attach: u32,
            #[serde(default)]
            version: String,
        }
        let Envelope { method, params } = serde_json::from_slice(message).ok()?;
        if method != ATTACH_METHOD {
            return None;
        }
        let params = params.map_or("{}", RawValue::get);
        let read = serde_json::from_str(params).and_then(|Numbered { attach, version }| {
            if attach == ATTACH {
                serde_json::from_str(params)
            } else {
                Ok(Self {
                    attach,
                    version,
                    ..Self::default()
                })
            }
        });
        // The text of serde's error may hold a value: its place tells enough.
        Some(read.map_err(|error| {
            let place = format!("is not to be read at column {}", error.column());
            RpcError::invalid_params("attach", place)
        }))
    }
}

impl Attached {
    /// The owner's word that it takes a client, and what it takes of it.
    pub fn new(cursor: Arc<str>, resumed: bool, limits: &Limits) -> Self {
        Self {
            attach: ATTACH,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cursor,
            resumed,
            max_frame_bytes: Some(limits.max_frame_bytes),
            json_depth: Some(limits.json_depth),
            json_values: Some(limits.json_values),
        }
    }

    /// The notification's text.
    pub fn to_json(&self) -> String {
        note(ATTACHED, self)
    }
}

impl Refused {
    /// The notification's text.
    pub fn to_json(&self) -> String {
        note(REFUSED, self)
    }
}

impl Following {
    /// The notification's text.
    pub fn to_json(&self) -> String {
        note(FOLLOWING, self)
    }
}

impl OpenedAt {
    /// The notification's text.
    pub fn to_json(&self) -> String {
        note(OPENED, self)
    }
}

impl Stopped {
    /// The notification's text.
    pub fn to_json(self) -> String {
        note(STOPPED, &self)
    }
}

fn note(method: &str, params: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Envelope<'a, T> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a T,
    }
    let envelope = Envelope {
        jsonrpc: "2.0",
        method,
        params,
    };
    // INVARIANT: our types have string keys and no failing serialisers.
    serde_json::to_string(&envelope).expect("a notification can be written")
}

/// The names of variables, without their values.
struct Names<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for AttachParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachParams")
            .field("attach", &self.attach)
            .field("version", &self.version)
            .field("instance_id", &self.instance_id)
            .field("pid", &self.pid)
            .field("cwd", &self.cwd)
            .field("env", &Names(&self.env))
            .field("default_agent", &self.default_agent)
            .field("paced", &self.paced)
            .field("state", &self.state)
            .finish()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("session_id", &self.session_id)
            .field("env", &self.env.as_ref().map(Names))
            .field("agent_env", &self.agent_env.as_ref().map(Names))
            .finish()
    }
}
