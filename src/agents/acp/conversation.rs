//! The agent's own session: gone on with where that can be, else a new one; and the mode and the model in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_client_protocol::v1::schema::{
    LoadSessionRequest, NewSessionRequest, NewSessionResponse, ResumeSessionRequest,
    SessionConfigKind, SessionConfigOption, SessionConfigOptionCategory,
    SessionConfigSelectOptions, SessionModeState, SetSessionConfigOptionRequest,
    SetSessionModeRequest,
};
use agent_client_protocol::{Error, JsonRpcRequest, UntypedMessage};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::connection::Ready;
use super::failure::{Failure, explain, wants_login};
use super::handshake::{is_closed, refused};
use super::routes::{Heard, Routes};
use crate::domain::{AcpSpec, Begun, Conversation, FailKind};

/// How often an agent may die, or be silent, when it is asked to go on with a conversation, before a new one is begun.
const STUMBLES: u32 = 2;

/// What the agent keeps for a session, over the ends of processes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    conversation: Option<Conversation>,
    stumbles: u32,
}

impl Kept {
    pub(super) fn new(conversation: Option<Conversation>) -> Self {
        Self {
            conversation,
            stumbles: 0,
        }
    }

    /// What is to be gone on with; or why the conversation that there was is not.
    fn former_or_lost(&self) -> Option<Result<Arc<str>, Arc<str>>> {
        let former = self.conversation.as_ref()?;
        Some(if self.stumbles < STUMBLES {
            Ok(former.id.clone())
        } else {
            Err("the agent ended, or did not answer, when it was asked to go on".into())
        })
    }

    /// The conversation to go on with, and why there is none to go on with although there was one.
    pub(super) fn former(&self) -> (Option<Arc<str>>, Option<Arc<str>>) {
        match self.former_or_lost() {
            Some(Ok(former)) => (Some(former), None),
            Some(Err(lost)) => (None, Some(lost)),
            None => (None, None),
        }
    }

    /// The agent ended, or was silent for too long, when it was asked to begin or to go on.
    pub(super) fn stumbled(&mut self) {
        self.stumbles = self.stumbles.saturating_add(1);
    }

    /// It keeps this from now on.
    pub(super) fn is(&mut self, conversation: Conversation) {
        *self = Self::new(Some(conversation));
    }
}

/// Most bytes of why a conversation was lost.
const LOST_BYTES: usize = 512;

/// What a conversation is begun with.
pub(super) struct Opening {
    /// The agent.
    pub(super) ready: Arc<Ready>,
    /// Who hears what.
    pub(super) routes: Routes,
    /// Hears what is said in the conversation.
    pub(super) ear: mpsc::UnboundedSender<Heard>,
    /// The session's directory.
    pub(super) cwd: PathBuf,
    /// The conversation so far, if there was one.
    pub(super) former: Option<Arc<str>>,
    /// Why there is none, although there was one.
    pub(super) lost: Option<Arc<str>>,
    /// Mode and model.
    pub(super) spec: AcpSpec,
}

/// Why there is no conversation.
#[derive(Debug)]
pub(super) enum NotBegun {
    /// The agent closed its end: what became of it says more.
    Closed,
    /// It could not be begun.
    Failed(Failure),
}

/// What an agent says of a session when it is begun.
struct Settings {
    modes: Option<SessionModeState>,
    options: Vec<SessionConfigOption>,
}

/// An option of a session that has one of several values.
struct Choosable {
    option: Arc<str>,
    current: Arc<str>,
    values: Vec<Arc<str>>,
}

impl Opening {
    /// Begins or goes on with a conversation.
    ///
    /// # Errors
    /// When the agent wants a login, refuses, or closes its end.
    pub(super) async fn begin(self) -> Result<Conversation, NotBegun> {
        let (former, lost) = match self.former.clone() {
            Some(former) => match self.go_on(&former).await? {
                Ok((begun, settings)) => (Some((former, begun, settings)), None),
                Err(why) => (None, Some(why)),
            },
            None => (None, self.lost.clone()),
        };
        let (id, begun, settings) = match former {
            Some(former) => former,
            None => self.begin_new().await?,
        };
        self.settle(&id, settings).await.inspect_err(|_| {
            self.routes.remove(&id);
        })?;
        Ok(Conversation { id, begun, lost })
    }

    /// Goes on with a conversation; else why not.
    async fn go_on(&self, id: &Arc<str>) -> Result<Result<(Begun, Settings), Arc<str>>, NotBegun> {
        let can = &self.ready.init.agent_capabilities;
        let lost = |why: String| {
            let end = why.floor_char_boundary(LOST_BYTES);
            Ok(Err(why[..end].into()))
        };
        // It is heard from the start: what it repeats of the past must be taken out of the way.
        self.routes.add(id.clone(), self.ear.clone());
        let mut asked = None;
        if can.session_capabilities.resume.is_some() {
            let request = ResumeSessionRequest::new(id.clone(), self.cwd.clone());
            let answer = self.ask(request).await;
            asked =
                Some(answer.map(|it| (Begun::Resumed, Settings::of(it.modes, it.config_options))));
        }
        let is_refused = |error: &Error| !is_closed(error) && !wants_login(error);
        let is_left = match &asked {
            None => true,
            Some(answer) => answer.as_ref().is_err_and(is_refused),
        };
        if is_left && can.load_session {
            let request = LoadSessionRequest::new(id.clone(), self.cwd.clone());
            let answer = self.ask(request).await;
            asked =
                Some(answer.map(|it| (Begun::Loaded, Settings::of(it.modes, it.config_options))));
        }
        let Some(asked) = asked else {
            self.routes.remove(id);
            return lost(
                "the agent can't go on with a session of an earlier process: it neither loads nor resumes one".into(),
            );
        };
        match asked {
            Ok(begun) => Ok(Ok(begun)),
            Err(error) => {
                self.routes.remove(id);
                if !is_refused(&error) {
                    return Err(
                        self.not_begun("its conversation could not be gone on with", &error)
                    );
                }
                lost(format!("the agent refused to go on: {}", explain(&error)))
            }
        }
    }

    async fn begin_new(&self) -> Result<(Arc<str>, Begun, Settings), NotBegun> {
        let request = NewSessionRequest::new(self.cwd.clone());
        let (tell, told) = oneshot::channel();
        let (routes, ear) = (self.routes.clone(), self.ear.clone());
        // Before anything that follows the answer is dealt with: the agent may ask for files at once.
        let hears = move |result: Result<NewSessionResponse, Error>| {
            let taken = match &result {
                Ok(answer) if routes.knows(&answer.session_id.0) => true,
                Ok(answer) => {
                    routes.add(answer.session_id.0.clone(), ear);
                    false
                }
                Err(_) => false,
            };
            let _ = tell.send((result, taken));
        };
        let sent =
            (self.ready.agent.prepare_request(request)).on_receiving_result(async move |result| {
                hears(result);
                Ok(())
            });
        let (answer, taken) = match (sent, told.await) {
            (Ok(()), Ok(answer)) => answer,
            (Ok(()) | Err(_), _) => return Err(NotBegun::Closed),
        };
        let answer =
            answer.map_err(|error| self.not_begun("the agent began no session", &error))?;
        let id = answer.session_id.0;
        if taken {
            // Two of our sessions would have their prompts in one of the agent's.
            let why =
                format!("the agent began a session `{id}`, which another session has already");
            return Err(NotBegun::Failed(Failure::new(FailKind::Start, why)));
        }
        let settings = Settings::of(answer.modes, answer.config_options);
        Ok((id, Begun::New, settings))
    }

    async fn ask<R: JsonRpcRequest>(&self, request: R) -> Result<R::Response, Error> {
        self.ready.agent.send_request(request).block_task().await
    }

    fn not_begun(&self, what: &str, error: &Error) -> NotBegun {
        if is_closed(error) {
            NotBegun::Closed
        } else {
            NotBegun::Failed(refused(what, error, &self.ready.init))
        }
    }

    /// Sets the mode and the model that are configured, where they are not set already.
    async fn settle(&self, id: &Arc<str>, mut settings: Settings) -> Result<(), NotBegun> {
        if let Some(model) = &self.spec.model {
            self.set_model(id, model, &mut settings).await?;
        }
        if let Some(mode) = &self.spec.mode {
            self.set_mode(id, mode, &mut settings).await?;
        }
        Ok(())
    }

    async fn set_mode(
        &self,
        id: &Arc<str>,
        mode: &Arc<str>,
        settings: &mut Settings,
    ) -> Result<(), NotBegun> {
        let category = SessionConfigOptionCategory::Mode;
        if let Some(modes) = &settings.modes {
            if *modes.current_mode_id.0 == **mode {
                return Ok(());
            }
            let names = modes.available_modes.iter().map(|mode| mode.id.0.clone());
            check("mode", mode, names.collect())?;
            let request = SetSessionModeRequest::new(id.clone(), mode.clone());
            let answer = self.ask(request).await;
            return answer.map(drop).map_err(|error| {
                self.not_begun(&format!("the agent refused the mode `{mode}`"), &error)
            });
        }
        self.set_option(id, "mode", &category, mode, settings).await
    }

    async fn set_model(
        &self,
        id: &Arc<str>,
        model: &Arc<str>,
        settings: &mut Settings,
    ) -> Result<(), NotBegun> {
        let category = SessionConfigOptionCategory::Model;
        if settings.option("model", &category).is_some() {
            return self
                .set_option(id, "model", &category, model, settings)
                .await;
        }
        // Agents from before there were options have a method for it, which no longer is in the protocol's description.
        let params = json!({"sessionId": id, "modelId": model});
        let answer = match UntypedMessage::new("session/set_model", params) {
            Ok(request) => self.ask::<UntypedMessage>(request).await,
            Err(error) => Err(error),
        };
        answer.map(|_: Value| ()).map_err(|error| {
            self.not_begun(&format!("the agent refused the model `{model}`"), &error)
        })
    }

    async fn set_option(
        &self,
        id: &Arc<str>,
        word: &str,
        category: &SessionConfigOptionCategory,
        value: &Arc<str>,
        settings: &mut Settings,
    ) -> Result<(), NotBegun> {
        let Some(Choosable {
            option,
            current,
            values,
        }) = settings.option(word, category)
        else {
            let message = format!("the agent has no `{word}` to set: leave it out");
            return Err(NotBegun::Failed(Failure::new(FailKind::Start, message)));
        };
        if *current == **value {
            return Ok(());
        }
        check(word, value, values)?;
        let request = SetSessionConfigOptionRequest::new(id.clone(), option, &**value);
        let answer = self.ask(request).await.map_err(|error| {
            self.not_begun(&format!("the agent refused the {word} `{value}`"), &error)
        })?;
        // Another model may bring other modes.
        settings.options = answer.config_options;
        Ok(())
    }
}

impl Settings {
    fn of(modes: Option<SessionModeState>, options: Option<Vec<SessionConfigOption>>) -> Self {
        let options = options.unwrap_or_default();
        Self { modes, options }
    }

    /// The option of a category, or else of this name.
    fn option(&self, word: &str, category: &SessionConfigOptionCategory) -> Option<Choosable> {
        let fits = |option: &&SessionConfigOption| option.category.as_ref() == Some(category);
        let named = |option: &&SessionConfigOption| *option.id.0 == *word;
        let mut options = self.options.iter();
        let option = options.clone().find(fits).or_else(|| options.find(named))?;
        let SessionConfigKind::Select(select) = &option.kind else {
            return None;
        };
        let values = match &select.options {
            SessionConfigSelectOptions::Ungrouped(values) => {
                values.iter().map(|value| value.value.0.clone()).collect()
            }
            SessionConfigSelectOptions::Grouped(groups) => (groups.iter())
                .flat_map(|group| &group.options)
                .map(|value| value.value.0.clone())
                .collect(),
            _ => Vec::new(),
        };
        Some(Choosable {
            option: option.id.0.clone(),
            current: select.current_value.0.clone(),
            values,
        })
    }
}

/// An agent that lists what it has is not asked for anything else.
fn check(word: &str, value: &str, known: Vec<Arc<str>>) -> Result<(), NotBegun> {
    if known.is_empty() || known.iter().any(|known| **known == *value) {
        return Ok(());
    }
    let message = format!(
        "the agent has no {word} `{value}`; it has: {}",
        known.join(", ")
    );
    Err(NotBegun::Failed(Failure::new(FailKind::Start, message)))
}

/// The session's directory as an agent wants it: absolute.
pub(super) fn absolute(cwd: &Path) -> PathBuf {
    std::path::absolute(cwd).unwrap_or_else(|_| cwd.to_owned())
}
