//! What is done with a frame.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::call::{OpenBatch, Responder, Return, UnderWay};
use super::codec::Frame;
use super::connection::Connection;
use super::envelope::{self, Entry, Incoming, Message};
use super::table::{self, Service};
use super::{Arrival, Bounds, Call, Door};
use crate::protocol::{AttachParams, Refused, Request, RpcError};

/// Makes of a connection's frames what its thread is told, in order.
pub trait Intake {
    /// What that is.
    type Told;

    /// Of a connection at its start.
    fn new(bounds: Bounds, connection: Connection, door: Door) -> Self;

    /// Takes in one frame; `false` when nothing can follow it.
    fn frame(&mut self, frame: Frame, tell: &mut dyn FnMut(Self::Told)) -> bool;

    /// Says that little is unread again after an offer was refused.
    fn drained() -> Self::Told;

    /// Says that the input has ended.
    fn closed() -> Self::Told;
}

/// Makes calls of them. What can be answered without the loop is answered here.
pub struct Calls {
    service: Service,
    bounds: Bounds,
    connection: Connection,
    under_way: UnderWay,
    last: u64,
    /// Whether the next message may say that a process of ours passes the client on.
    may_attach: bool,
}

/// What the calls of one frame come to.
#[derive(Default)]
struct Taken {
    calls: Vec<Call>,
    cancels: Vec<u64>,
}

impl Intake for Calls {
    type Told = Arrival;

    fn new(bounds: Bounds, connection: Connection, door: Door) -> Self {
        Self {
            service: Service::new(),
            bounds,
            connection,
            under_way: UnderWay::default(),
            last: 0,
            may_attach: door == Door::Socket,
        }
    }

    fn frame(&mut self, frame: Frame, tell: &mut dyn FnMut(Arrival)) -> bool {
        match frame {
            Frame::Message(bytes) => {
                if std::mem::take(&mut self.may_attach)
                    && let Some(attach) = AttachParams::read(&bytes)
                {
                    return self.attach(attach, tell);
                }
                if bytes.len() > self.bounds.max_frame_bytes {
                    self.nameless(RpcError::frame_too_large(
                        self.bounds.max_frame_bytes as u64,
                    ));
                    return true;
                }
                match envelope::read(&bytes, &self.bounds) {
                    Ok(Message::Single(entry)) => self.single(entry, tell),
                    Ok(Message::Batch(entries)) => self.batch(entries, tell),
                    Err(error) => self.nameless(error),
                }
                true
            }
            Frame::TooLarge { limit } => {
                self.nameless(RpcError::frame_too_large(limit as u64));
                true
            }
            Frame::Unreadable(why) => {
                self.nameless(RpcError::parse_error(why));
                false
            }
        }
    }

    fn drained() -> Arrival {
        Arrival::Drained
    }

    fn closed() -> Arrival {
        Arrival::Closed
    }
}

impl Calls {
    /// A process of ours passes the client on. One that can't be understood is told so, and nothing more of it is read.
    fn attach(
        &self,
        attach: Result<AttachParams, RpcError>,
        tell: &mut dyn FnMut(Arrival),
    ) -> bool {
        match attach {
            Ok(params) => {
                tell(Arrival::Attach(Box::new(params)));
                true
            }
            Err(error) => {
                self.connection.send(Refused { error }.to_json());
                false
            }
        }
    }

    fn nameless(&self, error: RpcError) {
        self.connection
            .answer(table::error_under_id(error, envelope::NULL));
    }

    fn single(&mut self, entry: Entry<'_>, tell: &mut dyn FnMut(Arrival)) {
        let mut taken = Taken::default();
        match entry {
            Entry::Answer => {}
            Entry::Invalid { id, error } => self.alone(Some(id)).error(error),
            Entry::Call(incoming) => {
                let to = self.alone(incoming.id);
                self.take(incoming, to, false, &mut taken);
            }
        }
        taken.tell(tell);
    }

    fn alone(&self, id: Option<&str>) -> Return {
        match id {
            Some(id) => Return::Alone {
                id: id.into(),
                connection: self.connection.clone(),
            },
            None => Return::Nobody,
        }
    }

    fn batch(&mut self, entries: Vec<Entry<'_>>, tell: &mut dyn FnMut(Arrival)) {
        let answers = entries
            .iter()
            .filter(|entry| entry.answered().is_some())
            .count();
        let batch = (answers > 0).then(|| OpenBatch::open(&self.connection, answers));
        let mut place = 0;
        let mut taken = Taken::default();
        for entry in entries {
            let to = match (&batch, entry.answered()) {
                (Some(batch), Some(id)) => {
                    place += 1;
                    Return::InBatch {
                        id: id.into(),
                        batch: Arc::clone(batch),
                        place: place - 1,
                    }
                }
                (Some(_) | None, _) => Return::Nobody,
            };
            match entry {
                Entry::Answer => {}
                Entry::Invalid { error, .. } => to.error(error),
                Entry::Call(incoming) => self.take(incoming, to, true, &mut taken),
            }
        }
        taken.tell(tell);
    }

    /// Takes in one call. Its parameters are parsed here, in the order of arrival.
    fn take(&mut self, incoming: Incoming<'_>, to: Return, in_batch: bool, taken: &mut Taken) {
        let Incoming { id, method, params } = incoming;
        if method == Request::CANCEL_REQUEST {
            return self.cancel(params, to, taken);
        }
        if self.under_way.count() >= self.bounds.requests {
            return to.error(RpcError::overloaded(self.bounds.requests as u64));
        }
        let (weight, under_way) = (envelope::weight(params), self.under_way.weight());
        if under_way > 0 && under_way.saturating_add(weight) > self.bounds.request_bytes {
            let limit = self.bounds.request_bytes as u64;
            return to.error(RpcError::overloaded_by_size(limit));
        }
        let request = match self.service.ask(&method, params) {
            Ok(request) => request,
            Err(response) => return to.give(|id| table::under_id(*response, id)),
        };
        if in_batch && request.waits() {
            return to.error(RpcError::waits_in_batch(&method));
        }
        self.last += 1;
        let ticket = self.under_way.enter(self.last, id.map(Arc::from), weight);
        let responder = Responder::new(to, ticket);
        taken.calls.push(Call {
            no: self.last,
            request,
            responder,
        });
    }

    fn cancel(&self, params: Option<&RawValue>, to: Return, taken: &mut Taken) {
        let id = match Request::given_up(params.map(RawValue::get)) {
            Ok(id) => id,
            Err(error) => return to.error(error),
        };
        taken.cancels.extend(self.under_way.find(id.get()));
        to.give(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#));
    }
}

impl Taken {
    fn tell(self, tell: &mut dyn FnMut(Arrival)) {
        if !self.calls.is_empty() {
            tell(Arrival::Calls(self.calls));
        }
        for no in self.cancels {
            tell(Arrival::Cancel(no));
        }
    }
}

impl<'a> Entry<'a> {
    /// The id under which it gets an answer, if it gets one.
    fn answered(&self) -> Option<&'a str> {
        match self {
            Entry::Call(incoming) => incoming.id,
            Entry::Answer => None,
            Entry::Invalid { id, .. } => Some(id),
        }
    }
}
