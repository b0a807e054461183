//! The table of our errors: for each kind its word, its code, when it comes, what to do about it, and what its `data` holds.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::words::Word;

macro_rules! kinds {
    ($(
        $(#[doc = $when:literal])+
        $kind:ident = $word:literal, $code:literal, $remedy:literal
        { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? }
    )+) => {
        /// The kinds of our errors: `data.kind`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ErrorKind {
            $($(#[doc = $when])+ $kind,)+
        }

        impl Word for ErrorKind {
            const ALL: &'static [Self] = &[$(Self::$kind),+];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$kind => $word,)+
                }
            }
        }

        impl ErrorKind {
            /// Its code.
            pub fn code(self) -> i32 {
                match self {
                    $(Self::$kind => $code,)+
                }
            }

            /// When it comes, for a person.
            pub fn when(self) -> &'static str {
                match self {
                    $(Self::$kind => concat!($($when),+).trim_ascii(),)+
                }
            }

            /// What a client does about it.
            pub fn remedy(self) -> &'static str {
                match self {
                    $(Self::$kind => $remedy,)+
                }
            }
        }

        /// What `data` holds, by kind.
        #[derive(Debug, Clone, Serialize, JsonSchema)]
        #[serde(tag = "kind")]
        pub(super) enum ErrorData {
            $(
                #[serde(rename = $word, rename_all = "camelCase")]
                $kind { $($(#[$field_meta])* $field: $type,)* },
            )+
        }

        impl ErrorData {
            /// Of which error.
            pub(super) fn kind(&self) -> ErrorKind {
                match self {
                    $(Self::$kind { .. } => ErrorKind::$kind,)+
                }
            }
        }
    };
}

kinds! {
    /// `initialize` came a second time on this connection.
    AlreadyInitialized = "alreadyInitialized", -32600, "Go on without it." {}

    /// A parameter is missing, unknown, mistyped or out of bounds.
    InvalidParams = "invalidParams", -32602, "A mistake of the client's: mend the field that is named." {
        /// The parameter's name or path; empty for the parameters as a whole.
        field: String,
        /// What could have been chosen.
        #[serde(skip_serializing_if = "Option::is_none")]
        options: Option<Vec<Arc<str>>>,
    }

    /// The prompt says nothing.
    EmptyPrompt = "emptyPrompt", -32602, "Ask for a text before you prompt." {
        /// `prompt`.
        field: &'static str,
    }

    /// The prompt, or a text to type, is longer than it may be.
    PromptTooLarge = "promptTooLarge", -32602, "Put the text in a file and name that, or send it in pieces." {
        /// Which parameter.
        field: &'static str,
        /// How many bytes it has.
        bytes: u64,
        /// How many it may have.
        limit: u64,
        /// The limit's name in `initialize`.
        limit_name: &'static str,
        /// The session, where the limit is that of its terminal.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
    }

    /// The chain of parents would close a circle.
    InvalidParent = "invalidParent", -32602, "Choose a parent that is not itself a child of this session." {
        /// `parent`.
        field: &'static str,
        /// The session.
        session_id: String,
        /// The parent that it can't have.
        parent: String,
    }

    /// Too much is under way: requests of this connection, or what a terminal's program has not read.
    Overloaded = "overloaded", -32001, "Read the answers that are due, or let the program read, then repeat it." {
        /// How many requests may be under way.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u64>,
        /// The limit's name in `initialize`.
        #[serde(skip_serializing_if = "Option::is_none")]
        limit_name: Option<&'static str>,
        /// The run whose terminal is full.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_id: Option<String>,
    }

    /// The session's queue is full, or what is to wake it is too much.
    QueueFull = "queueFull", -32001, "Wait for runs to end, or cancel some." {
        /// The session.
        session_id: String,
        /// How many runs may be queued, or wakes may wait, or bytes may join in one wake.
        limit: u64,
        /// The limit's name in `initialize`.
        limit_name: &'static str,
    }

    /// The inbox that would get the completion holds or expects as much as it may.
    InboxFull = "inboxFull", -32001, "Prompt with `notify: null`, or for another session's inbox." {
        /// Whose inbox.
        session_id: String,
        /// How many completions it may hold or expect.
        limit: u64,
        /// The limit's name in `initialize`.
        limit_name: &'static str,
    }

    /// There is no session of that id.
    SessionNotFound = "sessionNotFound", -32010, "Check the id, or open the session with `session/open`." {
        /// The id.
        session_id: String,
    }

    /// There is no run of that id, or it was forgotten long after its end.
    RunNotFound = "runNotFound", -32010, "Check the id." {
        /// The id.
        run_id: String,
    }

    /// The run has no such open question.
    PermissionNotFound = "permissionNotFound", -32010, "Ask `run/get` what it asks, if it still does." {
        /// The run.
        run_id: String,
        /// The question's id.
        request_id: String,
    }

    /// There is no delivery of that id, or its lease is over and it can't be held for longer.
    DeliveryNotFound = "deliveryNotFound", -32010, "Drain again: what nobody acknowledged is offered again." {
        /// The id.
        delivery_id: String,
    }

    /// There is no dead letter of that run.
    DeadLetterNotFound = "deadLetterNotFound", -32010, "Look at `deadLetter/list`: it may be back in an inbox, or gone." {
        /// The run.
        run_id: String,
    }

    /// There is no agent of that name; or none was named, and there is no default.
    AgentNotFound = "agentNotFound", -32010, "Choose one that `agent/list` shows, or configure `default_agent`." {
        /// `agent`.
        field: &'static str,
        /// The name that was given.
        #[serde(skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
    }

    /// The session, or the run, is not what the request takes it for. Nothing happened.
    SessionConflict = "sessionConflict", -32011, "Look at `session/get` or `run/get`, then decide again." {
        /// The session that differs.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
        /// The run that differs.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_id: Option<String>,
        /// The parameter that does not fit.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'static str>,
        /// The run's state.
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'static str>,
    }

    /// The run id belongs to another session or another prompt.
    RunIdConflict = "runIdConflict", -32011, "Use a new `runId`, or repeat the first request unchanged." {
        /// The id.
        run_id: String,
    }

    /// The session is busy, and `ifBusy` is `reject`.
    SessionBusy = "sessionBusy", -32011, "Wait with `session/wait`, or prompt with another `ifBusy`." {
        /// The session.
        session_id: String,
    }

    /// The session is closed, or is being purged.
    SessionClosed = "sessionClosed", -32011, "Open it again with `session/open`." {
        /// The session.
        session_id: String,
    }

    /// The session is of an earlier life and must be opened with the variables that it had.
    SessionDormant = "sessionDormant", -32011, "Open it with `session/open`, giving `env`." {
        /// The session.
        session_id: String,
        /// The names of its variables: their values are never stored.
        missing: Vec<Arc<str>>,
    }

    /// The question has been answered, or its run was stopped.
    AlreadyAnswered = "alreadyAnswered", -32011, "Nothing: the first answer counts." {
        /// The run.
        run_id: String,
    }

    /// The events after this cursor are no longer kept, or it is another store's.
    CursorExpired = "cursorExpired", -32011, "Replay after `oldest`, and look at `run/list` for what came before." {
        /// The first cursor that can be replayed after.
        oldest: String,
    }

    /// turnlane is shutting down and takes no new work, or did not come to this request any more.
    ShuttingDown = "shuttingDown", -32012, "Start it again, then repeat the request with the same `runId`." {}

    /// The process that held the store is gone; whether it did what was asked is not known. Another one takes its place.
    OwnerLost = "ownerLost", -32012, "Repeat the request with the `runId` or `sessionId` that is named here: ids make that safe." {
        /// The run's id: the request's own, or the one that it was given.
        #[serde(skip_serializing_if = "Option::is_none")]
        run_id: Option<String>,
        /// The session's id: the request's own, or the one that it was given.
        #[serde(skip_serializing_if = "Option::is_none")]
        session_id: Option<String>,
    }

    /// The store can't be opened, read or written. The process ends.
    StoreUnavailable = "storeUnavailable", -32013, "Show the message; start again when it is put right, and repeat the request with the same `runId`." {}

    /// The disk of the store is full. The process ends.
    StoreFull = "storeFull", -32013, "Free some space, start again, and repeat the request with the same `runId`." {}

    /// The store is damaged. The process ends.
    StoreCorrupt = "storeCorrupt", -32013, "Move it away, or restore a backup." {}

    /// A newer turnlane made the store. The process ends.
    StoreVersion = "storeVersion", -32013, "Use the newer turnlane." {
        /// The version of the store.
        found: i64,
        /// The newest that this turnlane knows.
        known: i64,
    }

    /// Another process holds the store, and this one can't attach to it: it is of another version, or this is a second `serve`. The process
    /// ends.
    StoreLocked = "storeLocked", -32013, "Use the same version, stop that process (`turnlane stop`), or choose another `--store`." {
        /// The store's directory.
        store: String,
        /// The other process; 0 when it can't be told.
        pid: u32,
    }

    /// The agent could not do what was asked. Not answered by this version: a run's failure is in its completion.
    AgentFailed = "agentFailed", -32014, "Show the message." {}

    /// Known, but not served: by this version, or by this kind of agent.
    Unsupported = "unsupported", -32014, "Leave the parameter out, or use another kind of agent." {
        /// Which parameter.
        field: String,
    }

    /// A message was longer than it may be and was skipped; the answer's id is null.
    FrameTooLarge = "frameTooLarge", -32015, "Send less, or start turnlane with a larger `--max-frame`." {
        /// How many bytes it may have.
        limit: u64,
        /// The limit's name in `initialize`.
        limit_name: &'static str,
    }
}

impl ErrorKind {
    /// What any request may be answered with, beside the kinds of its own method.
    pub(super) const OF_ANY: &'static [Self] = &[
        Self::InvalidParams,
        Self::Overloaded,
        Self::ShuttingDown,
        Self::OwnerLost,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::StoreCorrupt,
        Self::StoreVersion,
        Self::StoreLocked,
    ];
}
