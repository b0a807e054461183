//! The protocol as types: methods, parameters, results, notifications, errors. The one place where JSON becomes something
//! that can't be wrong, and the source of the schema.
//!
//! A method's name, variant and parameters stand in one table: [`Request`]. Its parameters and results stand together in a file
//! by topic. Nothing here waits, stores or decides; whatever is sent is cut so that every line stays under [`cut::LINE_BYTES`].

mod agent;
mod completion;
pub mod cut;
mod error;
mod events;
mod fault;
mod input;
mod kinds;
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
mod words;

pub use agent::{AgentFault, AgentInfo, AgentListResult, AgentObject, AgentParam};
pub use completion::{CompletionView, EndView, ErrorView, Superseded, TEXT_BYTES};
pub use error::RpcError;
pub use events::{
    All, Cursor, EventView, EventsReplayParams, ReplayResult, Sessions, SubscribeParams,
};
pub use input::RunInputParams;
pub use kinds::ErrorKind;
pub use lifecycle::{
    ClientInfo, DurabilityView, InitializeParams, InitializeResult, PROTOCOL_VERSION, Role,
    ServerInfo, ShutdownMode, ShutdownParams, ShutdownResult,
};
pub use notification::{
    InboxChanged, Notification, RunChanged, RunOutput, dropped_note, output_notes,
};
pub use output::{BytesView, ChunkView, RunOutputParams, RunOutputResult, StreamView, pieces};
pub use prompt::{Blocks, PromptContent, PromptParams, PromptResult};
pub use record::{
    OptionKind, OptionView, PermissionView, Progress, PromptView, RunRecord, SHOWN_PROMPT_BYTES,
    SoFar,
};
pub use reply::{Incomplete, Reply, StatsResult};
pub use request::Request;
pub use runs::{
    CancelParams, CancelResult, CancelScope, CancelTarget, CancelledRun, RunGetParams,
    RunListParams, RunListResult, RunWaitParams, RunWaitResult, WaitMode,
};
pub use sessions::{
    AgentView, InboxView, PermissionRespondParams, Recover, RunUnderWay, SessionCloseParams,
    SessionCloseResult, SessionGetParams, SessionListParams, SessionListResult, SessionNow,
    SessionOpenParams, SessionOpenResult, SessionRecord, SessionWaitParams, Until, WaitResult,
};
pub use words::Word;
