//! Calls under way: who is to be answered, and with what else.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::Connection;
use super::table;
use crate::protocol::{Reply, RpcError};

/// Answers one call, once. Dropped without an answer it says that something went wrong: no request stays unanswered.
pub struct Responder(Option<Pending>);

struct Pending {
    to: Return,
    under_way: Ticket,
}

/// Where an answer goes.
pub(super) enum Return {
    /// To nobody: the call was a notification.
    Nobody,
    Alone {
        id: Arc<str>,
        connection: Connection,
    },
    InBatch {
        id: Arc<str>,
        batch: Arc<OpenBatch>,
        place: usize,
    },
}

impl Return {
    pub fn error(self, error: RpcError) {
        self.give(|id| table::error_under_id(error, id));
    }

    pub fn give(self, json: impl FnOnce(&str) -> String) {
        match self {
            Return::Nobody => {}
            Return::Alone { id, connection } => connection.answer(json(&id)),
            Return::InBatch { id, batch, place } => batch.put(place, json(&id)),
        }
    }
}

impl Responder {
    pub(super) fn new(to: Return, under_way: Ticket) -> Self {
        Self(Some(Pending { to, under_way }))
    }

    /// Whether anybody hears the answer; nobody does when the call was a notification.
    pub fn heard(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|pending| !matches!(pending.to, Return::Nobody))
    }

    /// Queues the answer on the connection, here and now. A notification's is swallowed.
    pub fn answer(mut self, answer: Result<Reply, RpcError>) {
        self.finish(answer);
    }

    fn finish(&mut self, answer: Result<Reply, RpcError>) {
        let Some(Pending { to, under_way }) = self.0.take() else {
            return;
        };
        // Whoever has the answer may already send the next request, and it must find its place free.
        drop(under_way);
        match answer {
            Ok(reply) => to.give(|id| table::reply_under_id(&reply, id)),
            Err(error) => to.error(error),
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.finish(Err(RpcError::internal(
            "the request was dropped; ask again",
        )));
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("heard", &self.heard())
            .finish_non_exhaustive()
    }
}

/// A batch whose answers are not all in.
pub(super) struct OpenBatch {
    connection: Connection,
    no: u64,
    answers: Mutex<Answers>,
}

struct Answers {
    places: Vec<Option<String>>,
    left: usize,
}

impl OpenBatch {
    /// Opens a batch that owes so many answers, at least one.
    pub fn open(connection: &Connection, answers: usize) -> Arc<Self> {
        Arc::new(Self {
            connection: connection.clone(),
            no: connection.open_batch(),
            answers: Mutex::new(Answers {
                places: vec![None; answers],
                left: answers,
            }),
        })
    }

    fn put(&self, place: usize, json: String) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.places[place] = Some(json);
        answers.left -= 1;
        if answers.left == 0 {
            let places: Vec<String> = answers.places.drain(..).flatten().collect();
            self.connection
                .close_batch(self.no, format!("[{}]", places.join(",")));
        }
    }
}

/// The calls of a connection that are under way, and their ids.
#[derive(Clone, Default)]
pub(super) struct UnderWay(Arc<Mutex<Ids>>);

#[derive(Default)]
struct Ids {
    count: usize,
    weight: usize,
    /// A client may use an id again while it is under way; the latest is last.
    calls: HashMap<Arc<str>, Vec<u64>>,
}

/// One call under way.
pub(super) struct Ticket {
    all: UnderWay,
    no: u64,
    id: Option<Arc<str>>,
    weight: usize,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, Ids> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn count(&self) -> usize {
        self.lock().count
    }

    /// What all of them weigh together.
    pub fn weight(&self) -> usize {
        self.lock().weight
    }

    pub fn enter(&self, no: u64, id: Option<Arc<str>>, weight: usize) -> Ticket {
        let mut ids = self.lock();
        ids.count += 1;
        ids.weight += weight;
        if let Some(id) = &id {
            ids.calls.entry(Arc::clone(id)).or_default().push(no);
        }
        Ticket {
            all: self.clone(),
            no,
            id,
            weight,
        }
    }

    /// The latest call with this id, as it was written.
    pub fn find(&self, id: &str) -> Option<u64> {
        self.lock().calls.get(id)?.last().copied()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut ids = self.all.lock();
        ids.count -= 1;
        ids.weight -= self.weight;
        let Some(id) = &self.id else { return };
        if let Some(calls) = ids.calls.get_mut(id) {
            calls.retain(|no| *no != self.no);
            if calls.is_empty() {
                ids.calls.remove(id);
            }
        }
    }
}
