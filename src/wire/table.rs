//! jsonrpsee's method table, and our way into it.
//!
//! What a call asks is parsed where it is read: its method leaves the [`Request`] in the call's slot, or answers at once that it can't
//! be read. The answer of a call that asks something is written when it is known, under the id that the client wrote.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jsonrpsee::core::middleware::{Batch, BatchEntry, Notification, RpcServiceT};
use jsonrpsee::types::{ErrorObjectOwned, Id, Params};
use jsonrpsee::{Extensions, MethodCallback, MethodResponse, Methods, RpcModule};
use serde_json::value::RawValue;

use crate::protocol::{Reply, Request, RpcError};

/// What most responses fit in.
const REPLY_BYTES: usize = 512;

/// Where a method leaves what is asked.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Request>>>);

impl Slot {
    fn put(&self, request: Request) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    fn take(&self) -> Option<Request> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
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
                .register_method(name, move |params, _, extensions| {
                    handle(name, &params, extensions)
                })
                .expect("no method is named twice");
        }
        Self {
            methods: module.into(),
        }
    }

    /// What a call asks, or the response that it gets at once.
    pub fn ask(
        &self,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<Request, Box<MethodResponse>> {
        let slot = Slot::default();
        let mut request =
            jsonrpsee::core::middleware::Request::borrowed(method, params, Id::Number(0));
        request.extensions.insert(slot.clone());
        let response = self.call(request).now_or_never();
        slot.take()
            .ok_or_else(|| Box::new(response.expect("a method waits for nothing")))
    }
}

fn handle(
    name: &'static str,
    params: &Params<'_>,
    extensions: &Extensions,
) -> Result<(), ErrorObjectOwned> {
    let slot: &Slot = extensions.get().expect("every call brings its slot");
    slot.put(Request::parse(name, params.as_str()).map_err(error_object)?);
    Ok(())
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
        let params = request.params();
        let response = match self.methods.method(&request.method) {
            Some(MethodCallback::Sync(callback)) => callback(
                request.id.clone(),
                params,
                usize::MAX,
                request.extensions.clone(),
            ),
            // Only methods that answer at once are registered.
            Some(
                MethodCallback::Async(_)
                | MethodCallback::Subscription(_)
                | MethodCallback::Unsubscription(_),
            )
            | None => MethodResponse::error(
                request.id.clone(),
                error_object(RpcError::method_not_found(&request.method)),
            ),
        };
        std::future::ready(response)
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

/// An answer as a response.
pub(super) fn reply_under_id(reply: &Reply, id: &str) -> String {
    let mut json = Vec::with_capacity(REPLY_BYTES);
    json.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    json.extend_from_slice(id.as_bytes());
    json.extend_from_slice(br#","result":"#);
    // INVARIANT: our types have string keys and no failing serialisers, and they are written as UTF-8.
    serde_json::to_writer(&mut json, reply).expect("a wire type can be written");
    json.push(b'}');
    String::from_utf8(json).expect("JSON is UTF-8")
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
