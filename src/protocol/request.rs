//! The table of methods: a method's name, its variant and its parameters are written once, here.

use super::error::RpcError;
use super::events::{EventsReplayParams, SubscribeParams};
use super::input::RunInputParams;
use super::lifecycle::{InitializeParams, ShutdownParams};
use super::output::RunOutputParams;
use super::params::{self, Params};
use super::prompt::PromptParams;
use super::runs::{CancelParams, RunGetParams, RunListParams, RunWaitParams};
use super::sessions::{
    PermissionRespondParams, SessionCloseParams, SessionGetParams, SessionListParams,
    SessionOpenParams, SessionWaitParams,
};

/// The parameters of a method that has none.
#[derive(serde::Deserialize)]
struct NoParams {}

impl Params for NoParams {}

macro_rules! methods {
    ($($(#[$doc:meta])* $method:literal $variant:ident $(($params:ty))?;)+) => {
        /// What a client may ask, parsed.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $($(#[$doc])* $variant $(($params))?,)+
        }

        impl Request {
            /// Every method of this version, in the order of the protocol page.
            pub const METHODS: &'static [&'static str] = &[$($method),+];

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

            /// Its method.
            pub fn method(&self) -> &'static str {
                match self {
                    $(methods!(@pattern $variant $($params)?) => $method,)+
                }
            }
        }
    };
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
    "initialize" Initialize(InitializeParams);
    /// This client's leave, with what becomes of runs under way.
    "shutdown" Shutdown(ShutdownParams);
    /// Ends the connection.
    "exit" Exit;
    /// Accepts a run.
    "prompt" Prompt(PromptParams);
    /// Cancels runs.
    "cancel" Cancel(CancelParams);
    /// Waits until runs have ended.
    "run/wait" RunWait(RunWaitParams);
    /// A run's record.
    "run/get" RunGet(RunGetParams);
    /// Records of runs, newest first.
    "run/list" RunList(RunListParams);
    /// What a run said, from an offset.
    "run/output" RunOutput(RunOutputParams);
    /// Types into a run's terminal.
    "run/input" RunInput(RunInputParams);
    /// Opens a session.
    "session/open" SessionOpen(Box<SessionOpenParams>);
    /// Closes a session.
    "session/close" SessionClose(SessionCloseParams);
    /// A session's record.
    "session/get" SessionGet(SessionGetParams);
    /// Records of sessions, by id.
    "session/list" SessionList(SessionListParams);
    /// Waits until a session is idle or settled.
    "session/wait" SessionWait(SessionWaitParams);
    /// Answers a permission request.
    "permission/respond" PermissionRespond(PermissionRespondParams);
    /// Chooses what this connection hears of.
    "subscribe" Subscribe(SubscribeParams);
    /// Durable events after a cursor.
    "events/replay" EventsReplay(EventsReplayParams);
    /// The agents that can be named.
    "agent/list" AgentList;
    /// What the process that the client speaks to is doing.
    "stats" Stats;
}

impl Request {
    /// Whether it may wait for something to happen: such a request is refused in a batch.
    pub fn waits(&self) -> bool {
        matches!(self, Self::RunWait(_) | Self::SessionWait(_))
    }
}
