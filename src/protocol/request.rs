//! The table of methods: a method's name, its variant, its parameters, its result and the errors of its own are written once,
//! here. What is parsed and served follows from it, and so does the schema.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::agent::AgentListResult;
use super::error::RpcError;
use super::events::{EventsReplayParams, ReplayResult, SubscribeParams};
use super::inbox::{
    AckResult, DeliveryParams, DrainParams, DrainResult, ExtendParams, ExtendResult, PeekParams,
    PeekResult, ReleaseResult,
};
use super::input::RunInputParams;
use super::kinds::ErrorKind;
use super::letters::{
    DeadLetterListParams, DeadLetterListResult, DeadLetterPurgeParams, DeadLetterPurgeResult,
    DeadLetterRetryParams, DeadLetterRetryResult,
};
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
use super::wake::{WakeParams, WakeResult};

/// The parameters of a method that has none.
#[derive(Deserialize, JsonSchema)]
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
    pub waits: Waits,
}

/// Whether a method may wait for something to happen.
#[derive(Clone, Copy)]
pub(super) enum Waits {
    /// It is answered at once.
    Never,
    /// It may.
    Always,
    /// It may with parameters of this schema.
    When(fn() -> Value),
}

/// Parameters with some of which a method waits.
pub(super) trait MayWait {
    /// Whether these are such.
    fn waits(&self) -> bool;

    /// The schema of those that are.
    fn when() -> Value;
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
                waits: methods!(@waits $($waits)? $(($params))?),
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
                    $(methods!(@bound params $variant $($waits)? $(($params))?) => methods!(@waits_now params $($waits)?),)+
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
    (@waits $(($params:ty))?) => { Waits::Never };
    (@waits waits $(($params:ty))?) => { Waits::Always };
    (@waits may_wait ($params:ty)) => { Waits::When(<$params as MayWait>::when) };
    (@waits_now $params:ident) => { false };
    (@waits_now $params:ident waits) => { true };
    (@waits_now $params:ident may_wait) => { $params.waits() };
    (@bound $bound:ident $variant:ident may_wait ($params:ty)) => { Self::$variant($bound) };
    (@bound $bound:ident $variant:ident $($waits:ident)? ($params:ty)) => { Self::$variant(_) };
    (@bound $bound:ident $variant:ident $($waits:ident)?) => { Self::$variant };
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
    /// Takes completions from an inbox, under a lease.
    "drain" Drain(DrainParams) -> DrainResult, [SessionNotFound, RunNotFound] may_wait;
    /// Settles what was delivered: it is taken care of, and never offered again.
    "drain/ack" DrainAck(DeliveryParams) -> AckResult, [DeliveryNotFound];
    /// Gives back what was delivered: it is offered again, at once.
    "drain/release" DrainRelease(DeliveryParams) -> ReleaseResult, [DeliveryNotFound];
    /// Holds what was delivered for longer.
    "drain/extend" DrainExtend(ExtendParams) -> ExtendResult, [DeliveryNotFound];
    /// What an inbox holds. Nothing is taken.
    "inbox/peek" InboxPeek(PeekParams) -> PeekResult, [SessionNotFound];
    /// The completions that nobody took.
    "deadLetter/list" DeadLetterList(DeadLetterListParams) -> DeadLetterListResult, [SessionNotFound];
    /// Puts dead letters back into an inbox.
    "deadLetter/retry" DeadLetterRetry(DeadLetterRetryParams) -> DeadLetterRetryResult, [
        SessionNotFound, DeadLetterNotFound
    ];
    /// Removes dead letters for good.
    "deadLetter/purge" DeadLetterPurge(DeadLetterPurgeParams) -> DeadLetterPurgeResult, [DeadLetterNotFound];
    /// Lets a session look at its inbox, or at a reason, without a person typing.
    "wake" Wake(WakeParams) -> WakeResult, [
        QueueFull, SessionNotFound, RunNotFound, RunIdConflict, Unsupported
    ];
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

    /// The id of the request that is to be given up, as it was written.
    ///
    /// # Errors
    /// `invalidParams`, as for any method.
    pub fn given_up(params: Option<&str>) -> Result<Box<RawValue>, RpcError> {
        params::read::<GiveUpParams>(params).map(|params| params.id)
    }
}

/// Parameters of `$/cancelRequest`.
#[derive(Deserialize)]
struct GiveUpParams {
    id: Box<RawValue>,
}

impl Params for GiveUpParams {}
