//! What went wrong, for a person.

use agent_client_protocol::v1::schema::AuthMethod;
use agent_client_protocol::{Error, ErrorCode};

use super::super::guard::Exit;
use super::super::signal_words;
use super::Verdict;
use crate::domain::FailKind;

/// Most bytes of a message.
const MESSAGE_BYTES: usize = 4 << 10;

/// A turn can't go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What kind of failure.
    pub(super) kind: FailKind,
    /// What happened, and what to do.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(kind: FailKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// The verdict on the turn.
    pub(super) fn verdict(self) -> Verdict {
        Verdict::Failed(self.kind, shortened(self.message).into())
    }
}

/// What an agent's error says: the message, the code, and what comes with it.
pub(super) fn explain(error: &Error) -> String {
    let Error { message, data, .. } = error;
    let code = i32::from(error.code);
    let data = data.as_ref().map(|data| match data.as_str() {
        Some(text) => text.to_owned(),
        None => data.to_string(),
    });
    let more = match data {
        Some(data) if data != *message => format!(": {data}"),
        Some(_) | None => String::new(),
    };
    shortened(format!("{message} (code {code}){more}"))
}

/// Whether the agent wants somebody to log in.
pub(super) fn wants_login(error: &Error) -> bool {
    error.code == ErrorCode::AUTH_REQUIRED
}

/// How to log in to an agent.
pub(super) fn login(error: &Error, methods: &[AuthMethod]) -> String {
    let mut text = format!("the agent wants a login: {}", explain(error));
    text.push_str(". Run its own login in a terminal, or set its key in `env`");
    if methods.is_empty() {
        return text;
    }
    text.push_str(", or name one of its methods as `authMethod`");
    for method in methods {
        text.push_str(&format!("\n- {}: {}", method.id().0, method.name()));
        if let Some(description) = method.description() {
            text.push_str(&format!(" ({description})"));
        }
        if let AuthMethod::Terminal(terminal) = method {
            let args = terminal.args.join(" ");
            text.push_str(&format!(
                " [in a terminal: the agent's program with `{args}`]"
            ));
        }
    }
    text
}

/// What it means that the process ended within a turn, and its exit code.
pub(super) fn ended(exit: &Exit, words: &str) -> (Verdict, Option<i32>) {
    let exited = |how: String| {
        let why = format!("the agent {how} before it said that it was done");
        Verdict::Exited(with_words(why, words).into())
    };
    match exit {
        Exit::Code(code) => (exited(format!("exited with code {code}")), Some(*code)),
        Exit::Signal(signal) => (
            exited(format!("was ended by {}", signal_words(*signal))),
            Some(128 + signal),
        ),
        Exit::NotStarted(why) => (Verdict::Failed(FailKind::Start, why.as_str().into()), None),
        Exit::GuardKilled => (exited("was killed, since its guard was,".to_owned()), None),
    }
}

/// How a process ended that never got as far as a turn.
pub(super) fn not_started(exit: &Exit, words: &str) -> (Verdict, Option<i32>) {
    let failed = |how: String| {
        let why = format!("the agent {how} before it was ready");
        Verdict::Failed(FailKind::Start, with_words(why, words).into())
    };
    match exit {
        Exit::Code(code) => (failed(format!("exited with code {code}")), Some(*code)),
        Exit::Signal(signal) => (
            failed(format!("was ended by {}", signal_words(*signal))),
            Some(128 + signal),
        ),
        Exit::NotStarted(_) | Exit::GuardKilled => ended(exit, words),
    }
}

/// A message with the last words of the process.
pub(super) fn with_words(message: String, words: &str) -> String {
    if words.is_empty() {
        return message;
    }
    shortened(format!("{message}. It wrote last:\n{words}"))
}

/// As much of a message as is told.
pub(super) fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_client_protocol::v1::schema::AuthMethodAgent;
    use serde_json::json;

    #[test]
    fn an_error_is_told_with_its_code_and_what_comes_with_it() {
        let error = |data| Error::new(-32603, "Internal error").data(data);
        assert_eq!(
            explain(&error(json!("model is gone"))),
            "Internal error (code -32603): model is gone"
        );
        assert_eq!(
            explain(&error(json!({"a": 1}))),
            r#"Internal error (code -32603): {"a":1}"#
        );
        assert_eq!(explain(&Error::new(-1, "no")), "no (code -1)");
        assert!(explain(&error(json!("x".repeat(10_000)))).len() <= MESSAGE_BYTES);
    }

    #[test]
    fn a_wanted_login_says_how() {
        let method =
            AuthMethodAgent::new("key", "API key").description("from the console".to_owned());
        let text = login(&Error::auth_required(), &[AuthMethod::Agent(method)]);
        for part in ["`env`", "`authMethod`", "- key: API key (from the console)"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let none = login(&Error::auth_required(), &[]);
        assert!(!none.contains("authMethod"), "{none}");
    }

    #[test]
    fn an_end_is_told_with_the_last_words() {
        let (verdict, code) = ended(&Exit::Code(3), "out of memory");
        let Verdict::Exited(why) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(code, Some(3));
        assert!(
            why.contains("code 3") && why.ends_with("out of memory"),
            "{why}"
        );
        let (verdict, code) = not_started(&Exit::Signal(9), "");
        let Verdict::Failed(FailKind::Start, why) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(code, Some(137));
        assert!(why.contains("SIGKILL") && why.ends_with("ready"), "{why}");
    }
}
