//! What the driver and its stand-in process say to each other: one JSON value a line.

use serde::{Deserialize, Serialize};

/// From the driver.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Told {
    /// Begin a turn with these directives.
    Begin(String),
    /// Further directives for the turn under way.
    Steer {
        /// Named in the answer.
        seq: u64,
        /// One directive a line.
        text: String,
    },
    /// Stop.
    Stop,
    /// An answer.
    Permit {
        /// Which question.
        request: String,
        /// The chosen option.
        option: String,
    },
}

/// From the stand-in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// The turn has begun.
    Active,
    /// It says this.
    Say(String),
    /// It waits for an answer.
    Ask {
        /// Unique in its turn.
        id: String,
        /// The question.
        text: String,
    },
    /// It took a steered text.
    Took(u64),
    /// The turn is over.
    Ended(End),
}

/// How a turn of a script ends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum End {
    /// All is done.
    Completed,
    /// It was asked to stop.
    Cancelled,
    /// As scripted.
    Failed(String),
}

/// Longest line that either writes, one prompt aside: a full piece of text, each byte of it escaped.
pub(super) const LINE_BYTES: usize = 6 * super::super::CHUNK_BYTES + 64;
