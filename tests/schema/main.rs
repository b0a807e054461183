//! The published protocol: its documents are those of the types, they say what the parser does, and the reference's examples
//! are what the real binary answers.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets something else has failed"
)]

mod conversation;
mod files;
mod judged;
mod markdown;
mod openrpc;
#[path = "../support/schema.rs"]
mod schema;
mod truth;
