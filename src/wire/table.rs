//! jsonrpsee's method table, and our way into it.
//!
//! A call is a future in two halves. Its first poll, on the reader's thread, parses the parameters and leaves the
//! [`Request`] in the call's slot; the second, where the answer is given, takes that answer out of the slot.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::types::{ErrorObjectOwned, Id, Params};
use jsonrpsee::{ConnectionId, Extensions, MethodCallback, MethodResponse, Methods, RpcModule};
use serde_json::value::RawValue;

use crate::protocol::{Reply, Request, RpcError};

/// A call under way.
pub(super) type Parked = BoxFuture<'static, MethodResponse>;

/// Where a call's two halves meet.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Halves>>);

#[derive(Default)]
struct Halves {
    request: Option<Request>,
    answer: Option<Result<Reply, RpcError>>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Halves> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the first poll parsed.
    pub fn take_request(&self) -> Option<Request> {
        self.lock().request.take()
    }

    /// Makes the next poll the last.
    pub fn put_answer(&self, answer: Result<Reply, RpcError>) {
        self.lock().answer = Some(answer);
    }
}

/// The table of every method, behind jsonrpsee's service trait, so that its middleware can stand before it.
pub(super) struct Service {
    methods: Methods,
}

impl Service {
    pub fn new() -> Self {
        let mut module = RpcModule::new(());
        for &name in Request::METHODS {
            module
                .register_async_method(name, move |params, _, extensions| {
                    handle(name, params, extensions)
                })
                .expect("no method is named twice");
        }
        Self {
            methods: module.into(),
        }
    }

    /// A call's future and the slot it speaks through. Nothing has happened before its first poll.
    pub fn begin(&self, method: String, params: Option<&RawValue>) -> (Parked, Slot) {
        let slot = Slot::default();
        let mut request = jsonrpsee::core::middleware::Request::owned(
            method,
            params.map(RawValue::to_owned),
            Id::Number(0),
        );
        request.extensions.insert(slot.clone());
        (self.call(request).boxed(), slot)
    }
}

async fn handle(
    name: &'static str,
    params: Params<'static>,
    extensions: Extensions,
) -> Result<Reply, ErrorObjectOwned> {
    let slot: &Slot = extensions.get().expect("every call brings its slot");
    let request = Request::parse(name, params.as_str()).map_err(error_object)?;
    slot.lock().request = Some(request);
    let answer = poll_fn(|_| slot.lock().answer.take().map_or(Poll::Pending, Poll::Ready)).await;
    answer.map_err(error_object)
}

fn error_object(error: RpcError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(error.code, error.message, error.data)
}

impl RpcServiceT for Service {
    type MethodResponse = MethodResponse;
    type NotificationResponse = MethodResponse;
    type BatchResponse = Vec<MethodResponse>;

    fn call<'a>(
        &self,
        request: jsonrpsee::core::middleware::Request<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        let callback = match self.methods.method(&request.method) {
            Some(MethodCallback::Async(callback)) => Ok(callback.clone()),
            // Only asynchronous methods are registered.
            Some(
                MethodCallback::Sync(_)
                | MethodCallback::Subscription(_)
                | MethodCallback::Unsubscription(_),
            )
            | None => Err(RpcError::method_not_found(&request.method)),
        };
        async move {
            let params = request.params().into_owned();
            let id = request.id.into_owned();
            match callback {
                Ok(callback) => {
                    callback(id, params, ConnectionId(0), usize::MAX, request.extensions).await
                }
                Err(error) => MethodResponse::error(id, error_object(error)),
            }
        }
    }

    fn batch<'a>(&self, batch: Batch<'a>) -> impl Future<Output = Vec<MethodResponse>> + Send + 'a {
        let calls: Vec<BoxFuture<'a, MethodResponse>> = batch
            .into_iter()
            .map(|entry| match entry {
                Ok(BatchEntry::Call(request)) => self.call(request).boxed(),
                Ok(BatchEntry::Notification(notification)) => {
                    self.notification(notification).boxed()
                }
                Err(error) => {
                    let (error, id) = error.into_parts();
                    std::future::ready(MethodResponse::error(id, error)).boxed()
                }
            })
            .collect();
        async move {
            let mut answers = Vec::with_capacity(calls.len());
            for call in calls {
                answers.push(call.await);
            }
            answers
        }
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.call(jsonrpsee::core::middleware::Request {
            jsonrpc: notification.jsonrpc,
            id: Id::Number(0),
            method: notification.method,
            params: notification.params,
            extensions: notification.extensions,
        })
    }
}

/// Polls a call; nobody has to be woken, since whoever makes it ready polls it.
pub(super) fn poll(call: &mut Parked) -> Poll<MethodResponse> {
    call.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// The response as JSON, under the id that the client wrote in place of the table's own.
pub(super) fn under_id(response: MethodResponse, id: &str) -> String {
    let json = response.into_json();
    let rest = json
        .get()
        .strip_prefix(r#"{"jsonrpc":"2.0","id":0,"#)
        .expect("jsonrpsee writes version and id first");
    format!(r#"{{"jsonrpc":"2.0","id":{id},{rest}"#)
}

/// An error as a response.
pub(super) fn error_under_id(error: RpcError, id: &str) -> String {
    under_id(
        MethodResponse::error(Id::Number(0), error_object(error)),
        id,
    )
}
