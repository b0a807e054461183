//! The table of methods: a method's name, its variant, its parameters, its result and the errors of its own are written once,
//! here. What is parsed and served follows from it, and so does the schema.

use schemars::JsonSchema;

use super::agent::AgentListResult;
use super::error::RpcError;
use super::events::{EventsReplayParams, ReplayResult, SubscribeParams};
use super::input::RunInputParams;
use super::kinds::ErrorKind;
use super::lifecycle::{InitializeParams, InitializeResult, ShutdownParams, ShutdownResult};
use super::output::{RunOutputParams, RunOutputResult};
use super::params::{self, Params};
use super::prompt::{PromptParams, PromptResult};
use super::record::RunRecord;
use super::reply::StatsResult;
use super::runs::{
    CancelParams, CancelResult, RunGetParams, RunListParams, RunListResult, RunWaitParams,
    RunWaitResult,
};
use super::schema::Shape;
use super::sessions::{
    PermissionRespondParams, SessionCloseParams, SessionCloseResult, SessionGetParams,
    SessionListParams, SessionListResult, SessionOpenParams, SessionOpenResult, SessionRecord,
    SessionWaitParams, WaitResult,
};

/// The parameters of a method that has none.
#[derive(serde::Deserialize, JsonSchema)]
pub(super) struct NoParams {}

impl Params for NoParams {}

/// What the table says of a method.
pub(super) struct Method {
    /// Its name.
    pub name: &'static str,
    /// What its messages are called in the schema.
    pub variant: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Its parameters.
    pub params: Shape,
    /// What it is answered with.
    pub result: Shape,
    /// The errors of its own, beside those that any request may be answered with.
    pub errors: &'static [ErrorKind],
    /// Whether it may wait for something to happen.
    pub waits: bool,
}

macro_rules! methods {
    ($(
        $(#[doc = $doc:literal])+
        $method:literal $variant:ident $(($params:ty))? -> $result:ty, [$($error:ident),*] $($waits:ident)?;
    )+) => {
        /// What a client may ask, parsed.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $($(#[doc = $doc])+ $variant $(($params))?,)+
        }

        impl Request {
            /// Every method of this version, in the order of the reference.
            pub const METHODS: &'static [&'static str] = &[$($method),+];

            /// What the schema needs to know of each.
            pub(super) const TABLE: &'static [Method] = &[$(Method {
                name: $method,
                variant: stringify!($variant),
                summary: concat!($($doc),+),
                params: methods!(@shape $($params)?),
                result: Shape::of::<$result>(),
                errors: &[$(ErrorKind::$error),*],
                waits: methods!(@waits $($waits)?),
            }),+];

            /// Parses a request. `params` is their raw JSON text; absent, or `null`, there are none.
            ///
            /// # Errors
            /// `method_not_found`; `invalidParams` naming the field; -32700 for parameters that are no JSON; `unsupported` for
            /// what is known but not served.
            pub fn parse(method: &str, params: Option<&str>) -> Result<Self, RpcError> {
                match method {
                    $($method => methods!(@parse params, $variant $($params)?),)+
                    _ => Err(RpcError::method_not_found(method)),
                }
            }

            /// Whether it may wait for something to happen: such a request is refused in a batch.
            pub fn waits(&self) -> bool {
                match self {
                    $(methods!(@pattern $variant $($params)?) => methods!(@waits $($waits)?),)+
                }
            }

            /// Its method.
            pub fn method(&self) -> &'static str {
                match self {
                    $(methods!(@pattern $variant $($params)?) => $method,)+
                }
            }
        }
    };
    (@shape) => { Shape::of::<NoParams>() };
    (@shape $params:ty) => { Shape::of::<$params>() };
    (@waits) => { false };
    (@waits waits) => { true };
    (@parse $raw:ident, $variant:ident) => {
        params::read::<NoParams>($raw).map(|NoParams {}| Self::$variant)
    };
    (@parse $raw:ident, $variant:ident $params:ty) => {
        params::read::<$params>($raw).map(Self::$variant)
    };
    (@pattern $variant:ident) => { Self::$variant };
    (@pattern $variant:ident $params:ty) => { Self::$variant(_) };
}

methods! {
    /// Says who is there and what is served; at most once.
    "initialize" Initialize(InitializeParams) -> InitializeResult, [AlreadyInitialized, SessionNotFound];
    /// This client's leave, with what becomes of runs under way.
    "shutdown" Shutdown(ShutdownParams) -> ShutdownResult, [];
    /// Ends the connection.
    "exit" Exit -> (), [];
    /// Accepts a run. The answer comes when the run is on disk, not when it ends.
    "prompt" Prompt(PromptParams) -> PromptResult, [
        EmptyPrompt, PromptTooLarge, QueueFull, InboxFull, SessionNotFound, RunNotFound, AgentNotFound, SessionConflict,
        RunIdConflict, SessionBusy, SessionClosed, SessionDormant, Unsupported
    ];
    /// Cancels what a session has accepted so far, or one run.
    "cancel" Cancel(CancelParams) -> CancelResult, [SessionNotFound, RunNotFound];
    /// Waits until runs have ended.
    "run/wait" RunWait(RunWaitParams) -> RunWaitResult, [RunNotFound] waits;
    /// A run's record.
    "run/get" RunGet(RunGetParams) -> RunRecord, [RunNotFound];
    /// Records of runs, newest first.
    "run/list" RunList(RunListParams) -> RunListResult, [SessionNotFound];
    /// What a live run has said, from an offset.
    "run/output" RunOutput(RunOutputParams) -> RunOutputResult, [RunNotFound];
    /// Types into a run's terminal, or sets its size.
    "run/input" RunInput(RunInputParams) -> (), [PromptTooLarge, RunNotFound, SessionConflict, Unsupported];
    /// Opens a session, or changes one that is open.
    "session/open" SessionOpen(Box<SessionOpenParams>) -> SessionOpenResult, [
        InvalidParent, AgentNotFound, SessionConflict, SessionClosed, SessionDormant, Unsupported
    ];
    /// Closes a session. The answer comes when its processes are gone.
    "session/close" SessionClose(SessionCloseParams) -> SessionCloseResult, [SessionNotFound];
    /// A session's record.
    "session/get" SessionGet(SessionGetParams) -> SessionRecord, [SessionNotFound];
    /// Records of sessions, by id.
    "session/list" SessionList(SessionListParams) -> SessionListResult, [];
    /// Waits until a session is idle or settled.
    "session/wait" SessionWait(SessionWaitParams) -> WaitResult, [SessionNotFound] waits;
    /// Answers a permission request. The first answer counts.
    "permission/respond" PermissionRespond(PermissionRespondParams) -> (), [
        RunNotFound, PermissionNotFound, AlreadyAnswered
    ];
    /// Chooses what this connection hears of.
    "subscribe" Subscribe(SubscribeParams) -> (), [SessionNotFound];
    /// Durable events after a cursor.
    "events/replay" EventsReplay(EventsReplayParams) -> ReplayResult, [CursorExpired];
    /// The agents that can be named.
    "agent/list" AgentList -> AgentListResult, [];
    /// What the process that the client speaks to is doing.
    "stats" Stats -> StatsResult, [];
}

impl Request {
    /// Gives up a request that waits. It belongs to the connection and never becomes a [`Request`].
    pub const CANCEL_REQUEST: &'static str = "$/cancelRequest";
}
