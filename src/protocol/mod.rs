//! The protocol as types: methods, parameters, results, notifications, errors. The one place where JSON becomes something
//! that can't be wrong, and the source of the schema.
//!
//! A method's name, variant and parameters stand in one table: [`Request`]. Its parameters and results stand together in a file
//! by topic. Nothing here waits, stores or decides; whatever is sent is cut so that every line stays under [`cut::LINE_BYTES`].

mod agent;
mod agent_rules;
mod attach;
mod completion;
pub mod cut;
mod error;
mod events;
mod fault;
mod group;
mod inbox;
mod input;
mod kinds;
mod letters;
mod lifecycle;
mod notification;
mod output;
mod params;
mod prompt;
mod record;
mod reply;
mod request;
mod runs;
pub mod schema;
mod sessions;
#[cfg(test)]
mod tests;
mod wake;
mod words;

pub use agent::{AgentFault, AgentInfo, AgentListResult, AgentObject, AgentParam};
pub use attach::{
    ATTACH, AttachParams, AttachState, Attached, Following, Lease, Opened, OpenedAt, OwnerSays,
    Refused, Stopped,
};
pub use completion::{CompletionView, EndView, ErrorView, Superseded, TEXT_BYTES};
pub use error::RpcError;
pub use events::{
    All, Cursor, EventContent, EventView, EventsReplayParams, ReplayResult, Sessions,
    SubscribeParams,
};
pub use group::{RunGroup, WaitMode};
pub use inbox::{
    AckMode, AckResult, DeliveryParams, DrainParams, DrainResult, ExtendParams, ExtendResult,
    PeekParams, PeekResult, ReleaseResult,
};
pub use input::RunInputParams;
pub use kinds::ErrorKind;
pub use letters::{
    DeadLetterAdded, DeadLetterListParams, DeadLetterListResult, DeadLetterPurgeParams,
    DeadLetterPurgeResult, DeadLetterRetryParams, DeadLetterRetryResult, DeadLetterView, Letters,
};
pub use lifecycle::{
    ClientInfo, DurabilityView, InitializeParams, InitializeResult, PROTOCOL_VERSION, Role,
    ServerInfo, ShutdownMode, ShutdownParams, ShutdownResult,
};
pub use notification::{
    InboxChanged, Notification, RunChanged, RunOutput, dropped_note, output_notes,
};
pub use output::{ChunkView, ContentView, RunOutputParams, RunOutputResult, StreamView, pieces};
pub use prompt::{Blocks, PromptContent, PromptParams, PromptResult};
pub use record::{
    OptionKind, OptionView, PermissionView, Progress, PromptView, RunRecord, SHOWN_PROMPT_BYTES,
    SoFar,
};
pub use reply::{Incomplete, Reply, StatsResult};
pub use request::Request;
pub use runs::{
    Before, CancelParams, CancelResult, CancelScope, CancelTarget, CancelledRun, RunGetParams,
    RunListParams, RunListResult, RunWaitParams, RunWaitResult,
};
pub use sessions::{
    AgentView, InboxView, PermissionRespondParams, Recover, RunUnderWay, SessionCloseParams,
    SessionCloseResult, SessionGetParams, SessionListParams, SessionListResult, SessionNow,
    SessionOpenParams, SessionOpenResult, SessionRecord, SessionWaitParams, Until, WaitResult,
};
pub use wake::{
    HeartbeatParam, HeartbeatView, InboxPolicyParam, InboxPolicyView, LastWakeView, SessionWake,
    WakeFactsView, WakeParams, WakePolicyParam, WakePolicyView, WakeResult, WakeSkipped,
    WakeStatusView,
};
pub use words::Word;
