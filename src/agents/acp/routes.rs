//! Which of a connection's sessions hears what the agent says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_client_protocol::{
    Agent, ConnectionTo, Dispatch, Error, ErrorCode, HandleDispatchFrom, Handled, Responder,
    UntypedMessage,
};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// What the agent says to one of its sessions, in the order in which it said it.
#[derive(Debug)]
pub(super) enum Heard {
    /// An update.
    Update(Told),
    /// The answer to the prompt has been read, and is on its way to whoever waits for it. What is said after it is of no turn.
    AnswerRead,
    /// A request. Requests may come later than updates that were said after them.
    Asked(Box<Asked>),
}

/// An update as the agent sent it.
#[derive(Debug)]
pub(super) struct Told {
    /// The value of `update`.
    pub(super) json: Box<RawValue>,
    /// Given back when it has been dealt with.
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A request of the agent.
#[derive(Debug)]
pub(super) struct Asked {
    /// What it asks.
    pub(super) request: UntypedMessage,
    /// Where it is answered. Dropped, it is answered as an internal error.
    pub(super) responder: Responder<Value>,
}

/// What is served here; everything else is answered as a method that does not exist.
pub(super) const SERVED: [&str; 8] = [
    "session/request_permission",
    "fs/read_text_file",
    "fs/write_text_file",
    "terminal/create",
    "terminal/output",
    "terminal/wait_for_exit",
    "terminal/kill",
    "terminal/release",
];

/// The sessions of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Routes(Arc<Mutex<HashMap<Arc<str>, mpsc::UnboundedSender<Heard>>>>);

impl Routes {
    /// From here on what is said to `session` goes to `ear`.
    pub(super) fn add(&self, session: Arc<str>, ear: mpsc::UnboundedSender<Heard>) {
        self.lock().insert(session, ear);
    }

    /// From here on nobody hears what is said to `session`.
    pub(super) fn remove(&self, session: &str) {
        self.lock().remove(session);
    }

    /// Whether somebody hears what is said to `session`.
    pub(super) fn knows(&self, session: &str) -> bool {
        self.lock().contains_key(session)
    }

    /// Says it to `session`; given back when nobody hears it.
    pub(super) fn say(&self, session: &str, heard: Heard) -> Option<Heard> {
        match self.lock().get(session) {
            Some(ear) => ear.send(heard).err().map(|unheard| unheard.0),
            None => Some(heard),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, mpsc::UnboundedSender<Heard>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn request(&self, request: UntypedMessage, responder: Responder<Value>) -> Result<(), Error> {
        let session = request.params()["sessionId"].as_str().map(str::to_owned);
        let Some(session) = session else {
            let why = "`sessionId` is missing";
            return responder.respond_with_error(Error::new(ErrorCode::INVALID_PARAMS, why));
        };
        let asked = Heard::Asked(Box::new(Asked { request, responder }));
        match self.say(&session, asked) {
            Some(Heard::Asked(asked)) => {
                let why = format!("there is no session `{session}`");
                let error = Error::new(ErrorCode::INVALID_PARAMS, why);
                asked.responder.respond_with_error(error)
            }
            None | Some(Heard::Update(_) | Heard::AnswerRead) => Ok(()),
        }
    }
}

/// Never waits: the connection's next message is not read before this one is dealt with.
impl HandleDispatchFrom<Agent> for Routes {
    async fn handle_dispatch_from(
        &mut self,
        message: Dispatch,
        _connection: ConnectionTo<Agent>,
    ) -> Result<Handled<Dispatch>, Error> {
        match message {
            Dispatch::Request(request, responder) if SERVED.contains(&request.method()) => {
                self.request(request, responder)?;
                Ok(Handled::Yes)
            }
            other
            @ (Dispatch::Request(..) | Dispatch::Notification(_) | Dispatch::Response(..)) => {
                Ok(Handled::No {
                    message: other,
                    retry: false,
                })
            }
        }
    }

    fn describe_chain(&self) -> impl std::fmt::Debug {
        "sessions"
    }
}
