//! A model server on loopback that says what prompts tell it to say, to agents of two kinds.

mod anthropic;
mod openai;
mod script;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use crate::harness::HARD_LIMIT;
use script::{Say, Step};

/// Bytes of the longest request.
const BODY_BYTES: usize = 16 << 20;

/// What an agent asked the model.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The person's words that the model goes by.
    pub words: String,
    /// The whole request.
    pub body: String,
    /// The agent hung up before it had the whole answer.
    pub given_up: bool,
}

#[derive(Debug, Default)]
struct Books {
    asks: Mutex<Vec<Ask>>,
    news: Condvar,
}

impl Books {
    fn look(&self) -> MutexGuard<'_, Vec<Ask>> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. It ends with whoever has it, and with it all answers that it still owes.
#[derive(Debug)]
pub struct Model {
    address: SocketAddr,
    books: Arc<Books>,
    released: watch::Sender<BTreeSet<String>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Model {
    /// Starts one.
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let books = Arc::<Books>::default();
        let released = watch::Sender::new(BTreeSet::new());
        let (end, ended) = oneshot::channel();
        let router = Router::new().fallback(serve).with_state(Hearing {
            books: books.clone(),
            released: released.subscribe(),
        });
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    served = axum::serve(listener, router) => served.unwrap(),
                    _ = ended => {}
                }
            });
        });
        Self {
            address,
            books,
            released,
            end: Some(end),
            thread: Some(thread),
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets a hold go, before or after somebody came to it.
    pub fn release(&self, name: &str) {
        self.released.send_modify(|names| {
            names.insert(name.to_owned());
        });
    }

    /// What it was asked so far for prompts with these words.
    pub fn asks(&self, words: &str) -> Vec<Ask> {
        let mut asks = self.books.look().clone();
        asks.retain(|ask| ask.words.contains(words));
        asks
    }

    /// Waits until it was asked so often for prompts with these words: all of them.
    pub fn asked(&self, words: &str, count: usize) -> Vec<Ask> {
        self.wait(&format!("{count} requests for {words:?}"), |asks| {
            let known = asks.iter().filter(|ask| ask.words.contains(words));
            known.count() >= count
        });
        self.asks(words)
    }

    /// Waits until the agent has hung up on the model for a prompt with these words.
    pub fn given_up(&self, words: &str) {
        self.wait(&format!("the agent to give up {words:?}"), |asks| {
            let mut known = asks.iter().filter(|ask| ask.words.contains(words));
            known.any(|ask| ask.given_up)
        });
    }

    fn wait(&self, what: &str, fits: impl Fn(&[Ask]) -> bool) {
        let until = Instant::now() + HARD_LIMIT;
        let mut asks = self.books.look();
        while !fits(&asks) {
            let left = until.saturating_duration_since(Instant::now());
            let words: Vec<&str> = asks.iter().map(|ask| &*ask.words).collect();
            assert!(!left.is_zero(), "waited for {what}; asked: {words:#?}");
            asks = self.books.news.wait_timeout(asks, left).unwrap().0;
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        drop(self.end.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            thread::panicking() || !matches!(ended, Some(Err(_))),
            "the model server has failed"
        );
    }
}

/// What an answer is made with.
#[derive(Debug, Clone)]
struct Hearing {
    books: Arc<Books>,
    released: watch::Receiver<BTreeSet<String>>,
}

impl Hearing {
    async fn hold(&mut self, name: &str) {
        // Whoever could release it is gone otherwise, and all answers with them.
        let _ = self.released.wait_for(|names| names.contains(name)).await;
    }
}

/// Notes whether an answer was heard to its end.
struct Answering {
    hearing: Hearing,
    number: usize,
    done: bool,
}

impl Answering {
    /// The agent has all of it.
    fn heard(mut self) {
        self.done = true;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.hearing.books.look()[self.number].given_up = !self.done;
        self.hearing.books.news.notify_all();
    }
}

async fn serve(State(hearing): State<Hearing>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let whole = to_bytes(body, BODY_BYTES).await.unwrap_or_default();
    let asked: Value = serde_json::from_slice(&whole).unwrap_or_default();
    let is_openai = head.uri.path().ends_with("/chat/completions");
    if !is_openai && !head.uri.path().ends_with("/messages") {
        return StatusCode::NOT_FOUND.into_response();
    }
    // Agents also ask what to call a conversation: they offer no tools then.
    let is_title = asked["tools"].as_array().is_none_or(Vec::is_empty);
    let (words, say) = if is_title {
        ("(a title)".to_owned(), Say::Text("A title".into()))
    } else if is_openai {
        script::next(&openai::conversation(&asked))
    } else {
        script::next(&anthropic::conversation(&asked))
    };
    let mut answering = note(&hearing, words, &whole);
    let say = match say {
        Say::Hold(name) => {
            answering.hearing.hold(&name).await;
            Say::Text("let go".into())
        }
        say => say,
    };
    let number = answering.number;
    match (&say, is_openai) {
        (Say::Status(status), _) => {
            answering.heard();
            refusal(*status)
        }
        (Say::Text(text) | Say::Drop(_, text), false) if asked["stream"] != true => {
            answering.heard();
            json_answer(StatusCode::OK, &anthropic::whole(&asked, text, number))
        }
        (_, true) => streamed(openai::answer(&asked, &say, number), answering),
        (_, false) => streamed(anthropic::answer(&asked, &say, number), answering),
    }
}

fn note(hearing: &Hearing, words: String, body: &[u8]) -> Answering {
    let mut asks = hearing.books.look();
    let number = asks.len();
    asks.push(Ask {
        words,
        body: String::from_utf8_lossy(body).into_owned(),
        given_up: false,
    });
    hearing.books.news.notify_all();
    Answering {
        hearing: hearing.clone(),
        number,
        done: false,
    }
}

fn refusal(status: u16) -> Response {
    let kind = if status < 500 {
        "invalid_request_error"
    } else {
        "api_error"
    };
    let error = json!({"type": kind, "message": format!("planted {status}")});
    let status = StatusCode::from_u16(status).unwrap();
    json_answer(status, &json!({"type": "error", "error": error}))
}

fn json_answer(status: StatusCode, body: &Value) -> Response {
    let kind = [("content-type", "application/json")];
    (status, kind, body.to_string()).into_response()
}

fn streamed(steps: Vec<Step>, answering: Answering) -> Response {
    let body = stream::unfold(
        (steps.into_iter(), answering),
        |(mut steps, mut answering)| async {
            loop {
                match steps.next() {
                    Some(Step::Event(bytes)) => {
                        let said: Result<Bytes, io::Error> = Ok(bytes);
                        return Some((said, (steps, answering)));
                    }
                    Some(Step::Hold(name)) => answering.hearing.hold(&name).await,
                    Some(Step::Drop) => return Some((Err(Step::broken()), (steps, answering))),
                    None => {
                        answering.heard();
                        return None;
                    }
                }
            }
        },
    );
    let kind = [("content-type", "text/event-stream")];
    (kind, Body::from_stream(body)).into_response()
}
