//! How the nouns of the domain are written on the wire: ids, numbers, and one word for each state, outcome and choice.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::schema;
use crate::domain::{
    AgentKind, AgentSource, Begun, DeadWhy, FailKind, FileAccess, Keep, OnCompletion, OnStall,
    Outcome, PermissionPolicy, PromptInput, Reason, RunId, RunKind, RunState, Seq, SessionId,
    SessionState, Skip, StopSignal, WakeBusy, Wall,
};
use crate::engine::{IfBusy, Was};

/// A closed set whose members have one word each on the wire.
pub trait Word: Copy + Sized + 'static {
    /// Every member.
    const ALL: &'static [Self];

    /// Its word.
    fn word(self) -> &'static str;

    /// The member with this word.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.word() == word)
    }
}

/// The words of a set, for a message: `a`, `b` or `c`.
fn choices<T: Word>() -> String {
    let words: Vec<String> = T::ALL
        .iter()
        .map(|one| format!("`{}`", one.word()))
        .collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

macro_rules! words {
    ($($name:ident $title:literal { $($member:ident = $word:literal),+ $(,)? })+) => {$(
        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$member),+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$member => $word,)+
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <Cow<'de, str>>::deserialize(deserializer)?;
                Self::from_word(&word).ok_or_else(|| {
                    D::Error::custom(format!("`{word}` is not known here: use {}", choices::<Self>()))
                })
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "enum": [$($word),+]})
            }
        }
    )+};
}

words! {
    RunState "RunState" {
        Queued = "queued", Starting = "starting", Active = "active", Parked = "parked",
        Stopping = "stopping", Ended = "ended",
    }
    SessionState "SessionState" {
        Idle = "idle", Starting = "starting", Active = "active", Parked = "parked",
        Stopping = "stopping", Dormant = "dormant", Closed = "closed",
    }
    Begun "ConversationBegun" { New = "new", Loaded = "loaded", Resumed = "resumed" }
    StopSignal "StopSignal" {
        Term = "SIGTERM", Int = "SIGINT", Hup = "SIGHUP", Quit = "SIGQUIT", Usr1 = "SIGUSR1", Usr2 = "SIGUSR2",
    }
    FileAccess "FileAccess" { Cwd = "cwd", Read = "read", None = "none" }
    RunKind "RunKind" { Prompt = "prompt", Wake = "wake" }
    Outcome "Outcome" {
        Completed = "completed", Failed = "failed", Cancelled = "cancelled", TimedOut = "timedOut",
        Exited = "exited", Interrupted = "interrupted", Folded = "folded",
    }
    Reason "Reason" {
        Client = "client", Superseded = "superseded", Shutdown = "shutdown",
        SessionClosed = "sessionClosed", Recover = "recover", Stalled = "stalled", Agent = "agent",
        Wake = "wake", NothingPending = "nothingPending",
    }
    FailKind "FailKind" {
        Agent = "agent", Refused = "refused", Limit = "limit", Start = "start",
        IncompleteInput = "incompleteInput", ExitStatus = "exitStatus",
    }
    IfBusy "IfBusy" {
        Queue = "queue", Reject = "reject", Interrupt = "interrupt", Steer = "steer",
    }
    PermissionPolicy "PermissionPolicy" { Ask = "ask", Allow = "allow", Deny = "deny" }
    OnStall "OnStall" { Notify = "notify", Cancel = "cancel" }
    PromptInput "PromptInput" { Stdin = "stdin", Argument = "argument" }
    AgentKind "AgentKind" { Acp = "acp", Command = "command", Script = "script", Shell = "shell" }
    AgentSource "AgentSource" { BuiltIn = "builtIn", Preset = "preset", Configured = "configured" }
    Keep "Keep" { All = "all", LatestPerChild = "latestPerChild" }
    OnCompletion "OnCompletion" { Hold = "hold", Wake = "wake", LastChild = "lastChild" }
    WakeBusy "WakeIfBusy" { Queue = "queue", Skip = "skip", InterruptIfParked = "interruptIfParked" }
    Skip "WakeSkip" {
        SessionBusy = "sessionBusy", NothingPending = "nothingPending", BudgetExhausted = "budgetExhausted",
        CoolingDown = "coolingDown", SessionClosed = "sessionClosed", SessionDormant = "sessionDormant",
    }
    DeadWhy "DeadLetterWhy" {
        MaxAttempts = "maxAttempts", ParentPurged = "parentPurged", ParentAbsent = "parentAbsent",
    }
}

impl Serialize for Was {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::State(state) => state.word(),
            Self::Folded => "folded",
        })
    }
}

impl JsonSchema for Was {
    fn schema_name() -> Cow<'static, str> {
        "CancelledFrom".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut words: Vec<&str> = RunState::ALL.iter().map(|state| state.word()).collect();
        words.push("folded");
        json_schema!({"type": "string", "enum": words})
    }
}

macro_rules! ids {
    ($($name:ident $title:literal $what:literal)+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Id;
                impl Visitor<'_> for Id {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($what)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Id)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "description": concat!($what, ": 1 to 128 characters, no control characters, not `self`; compared byte for byte"),
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                    "pattern": schema::NO_CONTROLS,
                    "not": {"const": "self"},
                })
            }
        }
    )+};
}

ids! {
    SessionId "SessionId" "the id of a session"
    RunId "RunId" "the id of a run"
}

impl Serialize for Seq {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.get())
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?)
            .ok_or_else(|| D::Error::custom("a seq is at least 1"))
    }
}

impl JsonSchema for Seq {
    fn schema_name() -> Cow<'static, str> {
        "Seq".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "the order of acceptance, store-wide, strictly rising",
            "type": "integer",
            "format": "uint64",
            "minimum": 1,
        })
    }
}

impl Serialize for Wall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(self.0)
    }
}

impl JsonSchema for Wall {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "milliseconds since 1970 by the wall clock; informative",
            "type": "integer",
        })
    }
}
