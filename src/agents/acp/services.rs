//! What an agent may ask of us for one session: its files and its terminals.

use std::path::PathBuf;
use std::sync::Arc;

use agent_client_protocol::v1::schema::{
    ReadTextFileRequest, ReadTextFileResponse, WriteTextFileRequest, WriteTextFileResponse,
};
use agent_client_protocol::{Error, ErrorCode, Responder};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::super::Setup;
use super::files::Files;
use super::lane::cwd;
use super::permissions::{self, parse};
use super::routes::Asked;
use super::terminals::Terminals;
use crate::domain::{FileAccess, RunId};

/// Serves one session.
pub(super) struct Services {
    files: Arc<Files>,
    access: FileAccess,
    /// Files are dealt with one after the other, in the order in which the agent asked.
    jobs: mpsc::UnboundedSender<Job>,
    terminals: Terminals,
    offers_terminals: bool,
}

/// Something that blocks.
type Job = Box<dyn FnOnce() + Send>;

impl Services {
    pub(super) fn new(setup: &Setup) -> Self {
        let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
        tokio::spawn(async move {
            while let Some(job) = queue.recv().await {
                let _ = tokio::task::spawn_blocking(job).await;
            }
        });
        let cwd: PathBuf = cwd(setup);
        Self {
            files: Arc::new(Files::new(cwd)),
            access: setup.spec.acp.files,
            jobs,
            terminals: Terminals::new(setup),
            offers_terminals: setup.spec.acp.terminals,
        }
    }

    /// Serves a request about files or terminals.
    pub(super) fn serve(&mut self, asked: Asked) {
        let (reads, writes) = match self.access {
            FileAccess::Cwd => (true, true),
            FileAccess::Read => (true, false),
            FileAccess::None => (false, false),
        };
        match asked.request.method() {
            "fs/read_text_file" if reads => {
                self.file(asked, |files, request: ReadTextFileRequest| {
                    let (line, limit) = (request.line, request.limit);
                    let content = files.read(&request.path, line, limit)?;
                    Ok(ReadTextFileResponse::new(content))
                });
            }
            "fs/write_text_file" if writes => {
                self.file(asked, |files, request: WriteTextFileRequest| {
                    files.write(&request.path, &request.content)?;
                    Ok(WriteTextFileResponse::new())
                });
            }
            method if method.starts_with("terminal/") && self.offers_terminals => {
                self.terminals.serve(asked, &self.files);
            }
            method => {
                let error = Error::method_not_found().data(method);
                let _ = asked.responder.respond_with_error(error);
            }
        }
    }

    fn file<R: serde::de::DeserializeOwned + Send + 'static, T: Serialize>(
        &self,
        asked: Asked,
        work: impl FnOnce(&Files, R) -> Result<T, String> + Send + 'static,
    ) {
        let files = self.files.clone();
        let _ = self.jobs.send(Box::new(move || {
            let Asked { request, responder } = asked;
            let done = parse(request).and_then(|request| {
                work(&files, request).map_err(|why| Error::new(ErrorCode::INVALID_PARAMS, why))
            });
            respond(responder, done);
        }));
    }

    /// Whether a request of a turn that is being stopped may still be served: it begins nothing.
    pub(super) fn is_harmless(asked: &Asked) -> bool {
        !matches!(
            asked.request.method(),
            "session/request_permission" | "terminal/create"
        )
    }

    /// Answers a request that comes at the wrong time.
    pub(super) fn refuse(asked: Asked) {
        if asked.request.method() == "session/request_permission" {
            return permissions::refuse(asked);
        }
        let why = "no prompt of this session is under way";
        let error = Error::new(ErrorCode::INVALID_REQUEST, why);
        let _ = asked.responder.respond_with_error(error);
    }

    /// From here on terminals are made for this run.
    pub(super) fn begin(&mut self, run: &RunId) {
        self.terminals.begin(run);
    }

    /// Is told whenever a command in a terminal writes something.
    pub(super) fn stirred(&self) -> Arc<Notify> {
        self.terminals.stirred()
    }

    /// Kills what runs in terminals.
    pub(super) fn stop_terminals(&mut self) {
        self.terminals.stop();
    }

    /// Kills what runs in terminals, and waits until it is gone.
    pub(super) async fn kill_terminals(&mut self) {
        self.terminals.quiet().await;
    }

    /// Leaves no process behind.
    pub(super) async fn end(mut self) {
        self.terminals.quiet().await;
    }
}

/// Answers a request.
pub(super) fn respond<T: Serialize>(responder: Responder<Value>, done: Result<T, Error>) {
    let done = done.and_then(|done| {
        serde_json::to_value(done).map_err(|error| Error::internal_error().data(error.to_string()))
    });
    let _ = responder.respond_with_result(done);
}
