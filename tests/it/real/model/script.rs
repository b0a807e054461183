//! What a prompt tells the model to do, and how far the agent has come with it.

use std::io;

use axum::body::Bytes;

/// A turn of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// Says this, a word at a time.
    Text(String),
    /// Says nothing, not even that it heard, until the hold of this name is released; then `let go`.
    Hold(String),
    /// Says a text, holds, and once it is released says `, and the rest`.
    Part(String, String),
    /// Says a text, holds, and once it is released the connection breaks.
    Drop(String, String),
    /// Answers with this status.
    Status(u16),
    /// Asks for a tool that writes a text into a file.
    Write(String, String),
    /// Asks for a tool that runs a command.
    Shell(String),
}

/// A piece of what is sent.
#[derive(Debug)]
pub enum Step {
    /// Bytes of an answer.
    Event(Bytes),
    /// Wait for this hold.
    Hold(String),
    /// Break the connection.
    Drop,
}

impl Step {
    /// What breaks a connection.
    pub fn broken() -> io::Error {
        io::Error::other("the model drops the connection")
    }
}

/// A part of a conversation as an agent shows it to the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A person's words.
    Person(String),
    /// What came of a tool.
    Tool,
}

/// What the model is to do: the directives of the last prompt that has any, one for each time that a tool has answered since.
///
/// A directive is `[[VERB ARGUMENTS]]`; a prompt may hold several. Whatever comes after the last one is answered with `all done`.
pub fn next(conversation: &[Piece]) -> (String, Say) {
    let mut tools = 0;
    for piece in conversation.iter().rev() {
        match piece {
            Piece::Tool => tools += 1,
            Piece::Person(words) => {
                let said = directives(words);
                if !said.is_empty() {
                    let Some(directive) = said.get(tools) else {
                        return (words.clone(), Say::Text("all done".into()));
                    };
                    return (words.clone(), read(directive));
                }
            }
        }
    }
    panic!("nobody has told the model what to do: {conversation:?}");
}

fn directives(words: &str) -> Vec<&str> {
    let parts = words.split("[[").skip(1);
    parts
        .filter_map(|part| part.split_once("]]").map(|(directive, _)| directive))
        .collect()
}

fn read(directive: &str) -> Say {
    let (verb, rest) = directive.split_once(' ').unwrap_or((directive, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "say" => Say::Text(rest.to_owned()),
        "hold" => Say::Hold(rest.to_owned()),
        "part" => Say::Part(first.to_owned(), second.to_owned()),
        "drop" => Say::Drop(first.to_owned(), second.to_owned()),
        "status" => Say::Status(rest.parse().unwrap()),
        "write" => Say::Write(first.to_owned(), second.to_owned()),
        "shell" => Say::Shell(rest.to_owned()),
        _ => panic!("the model knows no directive {directive:?}"),
    }
}

/// A text in the pieces that it is said in: its words, each with the blank after it.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(' ')
}
