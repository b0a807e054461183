//! The nouns: what every other room speaks about.
//!
//! Nothing in here does anything: no IO, no clock, no serialisation. The words are those of the protocol page.

mod agent;
mod completion;
mod ids;
pub mod inbox;
mod key;
pub mod limits;
mod preset;
mod run;
mod seq;
mod session;
pub mod terminal;
mod time;
mod turn;
pub mod wake;

pub use agent::{
    AcpSpec, AgentKind, AgentRef, AgentSpec, FileAccess, OnStall, PermissionPolicy, PromptInput,
    StopSignal, TextFrom,
};
pub use completion::{Completion, FailKind, Failure, Outcome, Reason, Stop};
pub use ids::{IdError, RunId, SessionId};
pub use inbox::{DeadLetter, DeadWhy, DeliveryId, InboxEntry, Keep, Replaced};
pub use key::Key;
pub use limits::Limits;
pub use preset::{AgentSource, PRESETS, Preset};
pub use run::{Ending, Prompt, Run, RunKind, RunState};
pub use seq::{CancelMark, EventNo, Seq};
pub use session::{Begun, Conversation, Session, SessionState};
pub use terminal::{InputRefusal, TerminalInput, Typed};
pub use time::{Mono, Now, Wall};
pub use turn::{Choice, Question, Verdict};
pub use wake::{Heartbeat, OnCompletion, ScheduledWake, Skip, WakeBusy, WakeFacts, WakePolicy};
