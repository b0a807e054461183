//! What an agent says of its turn.

use std::sync::Arc;

use super::FailKind;

/// A permission request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The agent's name for it, unique in its run.
    pub id: Arc<str>,
    /// What is asked, for a person.
    pub text: Arc<str>,
    /// The options to choose from.
    pub options: Vec<Choice>,
}

/// An option of a permission request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub id: Arc<str>,
    /// What a person reads.
    pub label: Arc<str>,
    /// Whether it allows what is asked.
    pub allows: bool,
    /// Whether the agent takes it as the answer to all such questions from then on.
    pub always: bool,
}

/// How the agent calls the end of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Completed,
    /// It failed.
    Failed(FailKind, Arc<str>),
    /// It was cancelled, by its own word.
    Cancelled,
    /// Its process ended before it said that it was done.
    Exited(Arc<str>),
}
