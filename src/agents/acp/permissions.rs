//! Permission requests of one turn, one at a time before a person.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use agent_client_protocol::v1::schema::{
    PermissionOption, PermissionOptionKind, RequestPermissionOutcome, RequestPermissionRequest,
    RequestPermissionResponse, SelectedPermissionOutcome, ToolCallUpdate,
};
use agent_client_protocol::{Error, ErrorCode, Responder, UntypedMessage};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::{AbortHandle, JoinSet};

use super::routes::Asked;
use crate::domain::{Choice, Question};

/// Most bytes of a question.
const TEXT_BYTES: usize = 4 << 10;

/// Most bytes of an option's name, or of what a person reads of it.
const LABEL_BYTES: usize = 256;

/// Most options of a question.
const OPTIONS: usize = 32;

/// Most questions that are open at a time.
const OPEN: usize = 64;

/// What the agent wants to be allowed.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    asked: u64,
    open: VecDeque<Open>,
    /// Each ends with the name of a question that the agent gives up.
    given_up: JoinSet<Arc<str>>,
}

/// A question that has not been answered.
#[derive(Debug)]
struct Open {
    question: Question,
    /// The agent's own names of the options, in their order.
    names: Vec<Arc<str>>,
    responder: Responder<Value>,
    _watch: Watch,
}

/// Waits for the agent to give a question up, as long as that is open.
#[derive(Debug)]
struct Watch(AbortHandle);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Permissions {
    /// The agent asks. The question comes back when no other is open.
    pub(super) fn ask(&mut self, asked: Asked) -> Option<Question> {
        let Asked { request, responder } = asked;
        let request = if self.open.len() < OPEN {
            parse::<RequestPermissionRequest>(request)
        } else {
            let why = format!("{OPEN} permission requests are open already");
            Err(Error::new(ErrorCode::INVALID_REQUEST, why))
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let _ = responder.respond_with_error(error);
                return None;
            }
        };
        self.asked += 1;
        let (question, names) = question(self.asked, &request);
        if names.is_empty() {
            // Nobody could say anything else.
            answer(responder, RequestPermissionOutcome::Cancelled);
            return None;
        }
        let (id, given_up) = (question.id.clone(), responder.cancellation());
        let watch = self.given_up.spawn(async move {
            given_up.cancelled().await;
            id
        });
        self.open.push_back(Open {
            question,
            names,
            responder,
            _watch: Watch(watch),
        });
        match &self.open {
            open if open.len() == 1 => self.first(),
            _ => None,
        }
    }

    /// The question that somebody is asked.
    fn first(&self) -> Option<Question> {
        self.open.front().map(|open| open.question.clone())
    }

    /// Somebody answers. The next question comes back, if there is one.
    pub(super) fn permit(&mut self, request: &str, option: &Arc<str>) -> Option<Question> {
        if !matches!(self.open.front(), Some(open) if *open.question.id == *request) {
            return None;
        }
        let open = self.open.pop_front()?;
        let at = (open.question.options.iter()).position(|choice| choice.id == *option);
        let outcome = match at.and_then(|at| open.names.get(at)) {
            Some(name) => {
                RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(name.clone()))
            }
            None => RequestPermissionOutcome::Cancelled,
        };
        answer(open.responder, outcome);
        self.first()
    }

    /// The question that the agent gives up next. Never, where none is open.
    pub(super) async fn given_up(&mut self) -> Arc<str> {
        loop {
            match self.given_up.join_next().await {
                Some(Ok(id)) => return id,
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    }

    /// The agent gave a question up. If somebody was asked, nobody is any more; the next question comes back, if there is one.
    pub(super) fn withdraw(&mut self, id: &str) -> Withdrawn {
        let Some(at) = (self.open.iter()).position(|open| *open.question.id == *id) else {
            return Withdrawn::Unasked;
        };
        if let Some(open) = self.open.remove(at) {
            let _ = open
                .responder
                .respond_with_error(Error::request_cancelled());
        }
        if at > 0 {
            return Withdrawn::Unasked;
        }
        Withdrawn::Asked(self.first())
    }

    /// Nobody answers any more.
    pub(super) fn cancel(&mut self) {
        for open in self.open.drain(..) {
            answer(open.responder, RequestPermissionOutcome::Cancelled);
        }
    }
}

/// What became of a question that the agent gave up.
#[derive(Debug)]
pub(super) enum Withdrawn {
    /// Nobody was asked, or it has been answered.
    Unasked,
    /// Somebody was asked; the next question.
    Asked(Option<Question>),
}

/// Answers a request that nobody is asked about.
pub(super) fn refuse(asked: Asked) {
    answer(asked.responder, RequestPermissionOutcome::Cancelled);
}

fn answer(responder: Responder<Value>, outcome: RequestPermissionOutcome) {
    let _ = responder
        .cast::<RequestPermissionResponse>()
        .respond(RequestPermissionResponse::new(outcome));
}

/// The parameters of a request.
///
/// # Errors
/// An answer that names what is wrong with them.
pub(super) fn parse<T: DeserializeOwned>(request: UntypedMessage) -> Result<T, Error> {
    let (_, params) = request.into_parts();
    serde_json::from_value(params)
        .map_err(|error| Error::new(ErrorCode::INVALID_PARAMS, error.to_string()))
}

/// The question, and the agent's own names of its options.
fn question(number: u64, request: &RequestPermissionRequest) -> (Question, Vec<Arc<str>>) {
    let options = &request.options[..request.options.len().min(OPTIONS)];
    let names: Vec<Arc<str>> = (options.iter())
        .map(|option| option.option_id.0.clone())
        .collect();
    let mut choices: Vec<Choice> = (options.iter().enumerate())
        .map(|(at, option)| choice(handle(at, &names), option))
        .collect();
    if choices.iter().all(|choice| choice.allows) {
        choices.push(refusal(&names));
    }
    let question = Question {
        id: format!("p{number}").into(),
        text: text(&request.tool_call).into(),
        options: choices,
    };
    (question, names)
}

/// What an agent did not think of: that it is not allowed. It has no name for that, and is answered that nobody chose.
fn refusal(names: &[Arc<str>]) -> Choice {
    let mut id = "reject".to_owned();
    while names.iter().any(|name| **name == *id) {
        id.push('_');
    }
    Choice {
        id: id.into(),
        label: "Reject".into(),
        allows: false,
        always: false,
    }
}

/// What an option is called here: as the agent calls it, unless that can't be shown whole.
fn handle(at: usize, names: &[Arc<str>]) -> Arc<str> {
    let name = &names[at];
    if (1..=LABEL_BYTES).contains(&name.len()) && !name.contains(char::is_control) {
        return name.clone();
    }
    let mut handle = (at + 1).to_string();
    while names.iter().any(|name| **name == *handle) {
        handle.push('_');
    }
    handle.into()
}

fn choice(id: Arc<str>, option: &PermissionOption) -> Choice {
    Choice {
        id,
        label: cut(&option.name, LABEL_BYTES).into(),
        allows: matches!(
            option.kind,
            PermissionOptionKind::AllowOnce | PermissionOptionKind::AllowAlways
        ),
        always: matches!(
            option.kind,
            PermissionOptionKind::AllowAlways | PermissionOptionKind::RejectAlways
        ),
    }
}

/// What is asked, for a person: the tool call's title, and what goes into it.
fn text(call: &ToolCallUpdate) -> String {
    let title = call.fields.title.as_deref().unwrap_or(&call.tool_call_id.0);
    let text = match &call.fields.raw_input {
        None | Some(Value::Null) => title.to_owned(),
        Some(input) => format!("{title}\n{input}"),
    };
    cut(&text, TEXT_BYTES).to_owned()
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(params: Value) -> Question {
        let request = UntypedMessage::new("session/request_permission", params).unwrap();
        question(1, &parse(request).unwrap()).0
    }

    #[test]
    fn an_option_whose_name_cant_be_shown_whole_has_one_of_ours() {
        let ids = [
            "x".repeat(257),
            "1".into(),
            "a\u{1b}".into(),
            "x".repeat(256),
            String::new(),
        ];
        let options: Vec<Value> = (ids.iter())
            .map(|id| json!({"optionId": id, "name": "Yes", "kind": "allow_once"}))
            .collect();
        let params = json!({"sessionId": "s", "toolCall": {"toolCallId": "c"}, "options": options});
        let request = UntypedMessage::new("session/request_permission", params).unwrap();
        let (question, names) = question(1, &parse(request).unwrap());
        let shown: Vec<_> = question.options.iter().map(|choice| &*choice.id).collect();
        // The last one is ours: the agent offers nothing that rejects.
        assert_eq!(shown, ["1_", "1", "3", &ids[3], "5", "reject"]);
        let names: Vec<_> = names.iter().map(|name| name.to_string()).collect();
        assert_eq!(names, ids);
    }

    #[test]
    fn a_question_is_the_title_of_the_call_and_what_goes_into_it() {
        let options = json!([
            {"optionId": "a", "name": "Always", "kind": "allow_always"},
            {"optionId": "o", "name": "Once", "kind": "allow_once"},
            {"optionId": "r", "name": "No", "kind": "reject_once"},
            {"optionId": "n", "name": "Never", "kind": "reject_always"},
        ]);
        let question = read(json!({
            "sessionId": "s",
            "toolCall": {"toolCallId": "c", "title": "rm", "rawInput": {"command": "rm a"}},
            "options": options,
        }));
        assert_eq!(&*question.id, "p1");
        assert_eq!(&*question.text, "rm\n{\"command\":\"rm a\"}");
        let allows: Vec<_> = (question.options.iter())
            .map(|choice| (&*choice.id, &*choice.label, choice.allows, choice.always))
            .collect();
        assert_eq!(
            allows,
            [
                ("a", "Always", true, true),
                ("o", "Once", true, false),
                ("r", "No", false, false),
                ("n", "Never", false, true)
            ]
        );
    }

    #[test]
    fn a_question_is_never_large() {
        let many: Vec<Value> = (0..100)
            .map(|n| json!({"optionId": n.to_string(), "name": "x".repeat(1000), "kind": "allow_once"}))
            .collect();
        let question = read(json!({
            "sessionId": "s",
            "toolCall": {"toolCallId": "c", "title": "\u{e9}".repeat(100_000)},
            "options": many,
        }));
        assert!(question.text.len() <= TEXT_BYTES);
        // And one to say no by.
        assert_eq!(question.options.len(), OPTIONS + 1);
        assert!(
            question
                .options
                .iter()
                .all(|choice| choice.label.len() <= LABEL_BYTES)
        );
    }

    #[test]
    fn a_call_without_a_title_is_named_by_its_id() {
        let question =
            read(json!({"sessionId": "s", "toolCall": {"toolCallId": "c"}, "options": []}));
        assert_eq!(&*question.text, "c");
    }
}
