//! A turn, from the process that it may have to wait for to the agent's answer.

use std::collections::VecDeque;
use std::future::pending;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use agent_client_protocol::v1::schema::{CancelNotification, PromptResponse, StopReason};
use agent_client_protocol::{Error, UntypedMessage};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};

use super::super::output::Output;
use super::super::{CHUNK_BYTES, Event, Order, Setup, Stream, Turn, Update, Verdict};
use super::answer::FinalAnswer;
use super::connection::{Gone, Ready};
use super::conversation::{Kept, NotBegun, Opening};
use super::failure::{Failure, ended, explain, login, not_started, wants_login, with_words};
use super::handshake::is_closed;
use super::lane::{self, Live};
use super::permissions::{Permissions, Withdrawn};
use super::prompt;
use super::routes::{Asked, Heard, Told};
use super::services::Services;
use super::shared::Post;
use super::updates::{self, Kind};
use crate::domain::FailKind;

/// How a turn ended.
pub(super) struct End {
    pub(super) verdict: Verdict,
    pub(super) exit_code: Option<i32>,
    /// The agent's own word, if it said one.
    pub(super) stop_reason: Option<Arc<str>>,
    /// Its own account of what it used, as JSON.
    pub(super) usage: Option<Arc<str>>,
    /// Whether the process is gone, or given up.
    pub(super) is_over: bool,
    /// Whether it was asked to stop.
    pub(super) was_stopped: bool,
}

impl End {
    fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            exit_code: None,
            stop_reason: None,
            usage: None,
            is_over: false,
            was_stopped: false,
        }
    }

    fn over((verdict, exit_code): (Verdict, Option<i32>)) -> Self {
        Self {
            exit_code,
            is_over: true,
            ..Self::new(verdict)
        }
    }

    fn failed(failure: Failure) -> Self {
        Self::new(failure.verdict())
    }
}

/// Nothing more can come of the turn.
enum Over {
    /// The process is gone.
    Gone(Arc<Gone>),
    /// It is left to the turns of other sessions.
    GivenUp,
    /// It was cancelled before anything was asked of the agent.
    Stopped,
}

/// What a cancel does to some work of the start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenStopped {
    /// The turn is over at once: the work goes on by itself.
    Leave,
    /// The work is done to its end: its result would be lost.
    Stay,
}

/// A turn under way.
pub(super) struct Playing<'a> {
    setup: &'a Setup,
    turn: &'a Turn,
    output: &'a Output,
    orders: &'a mut mpsc::UnboundedReceiver<Order>,
    /// Whether the session is not released.
    ordered: bool,
    /// Whether the turn was asked to stop.
    stopped: bool,
    permissions: Permissions,
    /// What was said and waits for credit.
    said: VecDeque<Piece>,
    began: Instant,
    /// When it may next be told that the agent is at work.
    stirs: Instant,
}

/// A piece of what was said.
struct Piece {
    said: Said,
    /// What is given back with it: the place of what it was a part of.
    _place: Option<OwnedSemaphorePermit>,
}

enum Said {
    Text(Vec<u8>),
    Update(Arc<str>),
}

impl<'a> Playing<'a> {
    pub(super) fn new(
        setup: &'a Setup,
        turn: &'a Turn,
        output: &'a Output,
        orders: &'a mut mpsc::UnboundedReceiver<Order>,
    ) -> Self {
        Self {
            setup,
            turn,
            output,
            orders,
            ordered: true,
            stopped: false,
            permissions: Permissions::default(),
            said: VecDeque::new(),
            began: Instant::now(),
            stirs: Instant::now(),
        }
    }

    /// Has a process, started if need be, and not too soon after one that ended by itself.
    pub(super) async fn start<'l>(
        &mut self,
        post: &Arc<Post>,
        live: &'l mut Option<Live>,
    ) -> Result<&'l mut Live, End> {
        if let Some(there) = live {
            return Ok(there);
        }
        while let Some(until) = post.until() {
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    None | Some(Order::Stop | Order::Kill) => {
                        return Err(End::new(Verdict::Cancelled));
                    }
                    Some(
                        Order::Begin(_)
                        | Order::Steer { .. }
                        | Order::Input { .. }
                        | Order::Permit { .. },
                    ) => {}
                },
                () = sleep_until(until) => break,
            }
        }
        let lease = post
            .lease(|| lane::start(self.setup))
            .map_err(|why| End::failed(Failure::new(FailKind::Start, why)))?;
        let services = Services::new(self.setup);
        Ok(live.insert(Live::new(lease, services)))
    }

    /// Plays the turn to its end.
    pub(super) async fn play(
        &mut self,
        live: &mut Live,
        kept: &mut Kept,
        answer: &mut FinalAnswer,
    ) -> End {
        let began = self.begin(live, kept).await;
        let mut end = match began {
            Ok(Ok(request)) => self.prompt(live, request, answer).await,
            Ok(Err(end)) => end,
            Err(Over::GivenUp) => End::over((Verdict::Cancelled, None)),
            // It goes on starting for the next prompt.
            Err(Over::Stopped) => End::new(Verdict::Cancelled),
            Err(Over::Gone(gone)) => {
                live.lease.ended(&gone);
                End::over(match &gone.failure {
                    Some(failure) => {
                        let message = with_words(failure.message.clone(), &gone.words);
                        (Failure::new(failure.kind, message).verdict(), None)
                    }
                    None => not_started(&gone.exit, &gone.words),
                })
            }
        };
        self.permissions.cancel();
        end.was_stopped = self.stopped;
        end
    }

    /// Gets as far as the prompt: the agent is there, its session is begun. Without a prompt the turn is at its end.
    async fn begin(
        &mut self,
        live: &mut Live,
        kept: &mut Kept,
    ) -> Result<Result<UntypedMessage, End>, Over> {
        let ready = live.lease.connection().ready();
        let ready = match self.meanwhile(live, ready, WhenStopped::Leave).await? {
            Ok(ready) => ready,
            Err(gone) => return Err(Over::Gone(gone)),
        };
        let session = match &live.session {
            Some(session) => session.clone(),
            None => match self.converse(live, &ready, kept).await? {
                Ok(session) => session,
                Err(end) => return Ok(Err(end)),
            },
        };
        if self.stopped {
            return Ok(Err(End::new(Verdict::Cancelled)));
        }
        let can = &ready.init.agent_capabilities.prompt_capabilities;
        let failed = |why: String| Err(End::failed(Failure::new(FailKind::Agent, why)));
        let traceparent = self.turn.traceparent.as_deref();
        Ok(match prompt::blocks(&self.turn.prompt, can) {
            Ok(blocks) => prompt::request(&session, blocks, traceparent)
                .or_else(|error| failed(explain(&error))),
            Err(why) => failed(why),
        })
    }

    /// Begins a conversation, or goes on with the one that there was.
    async fn converse(
        &mut self,
        live: &mut Live,
        ready: &Arc<Ready>,
        kept: &mut Kept,
    ) -> Result<Result<Arc<str>, End>, Over> {
        let (former, lost) = kept.former();
        let opening = Opening {
            ready: ready.clone(),
            routes: live.lease.connection().routes().clone(),
            ear: live.ear.clone(),
            cwd: lane::cwd(self.setup),
            former,
            lost,
            spec: self.setup.spec.acp.clone(),
        };
        let begun = self
            .meanwhile(live, opening.begin(), WhenStopped::Stay)
            .await;
        if let Err(Over::Gone(gone)) = &begun {
            let limit = Duration::from_millis(self.setup.spec.start_ms);
            if !gone.wanted || self.began.elapsed() >= limit {
                kept.stumbled();
            }
        }
        match begun? {
            Ok(begun) => {
                let session = begun.id.clone();
                live.session = Some(session.clone());
                kept.is(begun.clone());
                self.output.event(Event::Conversation(begun));
                Ok(Ok(session))
            }
            // The next prompt gets a new process, which reads anew who is logged in.
            Err(NotBegun::Failed(failure)) => Ok(Err(End::over((failure.verdict(), None)))),
            // What became of the process is told by itself.
            Err(NotBegun::Closed) => {
                let gone = self.meanwhile(live, pending(), WhenStopped::Stay).await;
                kept.stumbled();
                gone
            }
        }
    }

    /// Does some work of the start, and meanwhile obeys.
    async fn meanwhile<T>(
        &mut self,
        live: &mut Live,
        work: impl Future<Output = T>,
        when_stopped: WhenStopped,
    ) -> Result<T, Over> {
        let gone = live.lease.connection().gone();
        tokio::pin!(work, gone);
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv(), if self.ordered => {
                    self.obey(order, live, None)?;
                    if self.stopped && when_stopped == WhenStopped::Leave {
                        self.leave_starting(live)?;
                    }
                }
                done = &mut work => {
                    // What was said before the work was done has been heard by now, and is of the past too.
                    while let Ok(heard) = live.heard.try_recv() {
                        self.early(heard, live);
                    }
                    return Ok(done);
                }
                Some(heard) = live.heard.recv() => self.early(heard, live),
                gone = &mut gone => return Err(Over::Gone(gone)),
            }
        }
    }

    /// A turn that is cancelled soon does not wait for its agent, which goes on starting for the next one. One that has been starting
    /// for long is not waited for again: it is killed.
    fn leave_starting(&self, live: &Live) -> Result<(), Over> {
        let limit = Duration::from_millis(self.setup.spec.start_ms);
        if self.ordered && self.began.elapsed() < limit / 2 {
            return Err(Over::Stopped);
        }
        if live.lease.kill() {
            Ok(())
        } else {
            Err(Over::GivenUp)
        }
    }

    /// The agent says something before it is prompted.
    fn early(&mut self, heard: Heard, live: &mut Live) {
        match heard {
            // It repeats what was said in the past, or tells of itself.
            Heard::Update(_) | Heard::AnswerRead => {}
            Heard::Asked(asked) => self.asked(*asked, live, false),
        }
    }

    /// Sends the prompt and hears the agent to its answer.
    async fn prompt(
        &mut self,
        live: &mut Live,
        request: UntypedMessage,
        answer: &mut FinalAnswer,
    ) -> End {
        let Ok(ready) = live.lease.connection().ready().await else {
            let gone = live.lease.connection().gone().await;
            return over(live, &gone);
        };
        live.services.begin(&self.turn.run);
        self.output.event(Event::Active);
        let stirred = live.services.stirred();
        let answered = ready.agent.send_request(request).block_task();
        let gone = live.lease.connection().gone();
        tokio::pin!(answered, gone);
        // INVARIANT: what the agent said before its answer, or before its end, is in `heard` when those are known. So neither ends
        // the turn before all of that has been told.
        let (mut answering, mut read) = (true, false);
        let (mut result, mut end) = (None, None::<Arc<Gone>>);
        loop {
            let waiting = self.said.front().map(Piece::bytes);
            if waiting.is_none() && (read || live.heard.is_empty()) {
                if let Some(result) = result.take()
                    && let ControlFlow::Break(end) = judge(result, &ready)
                {
                    return end;
                }
                if let Some(gone) = end {
                    return over(live, &gone);
                }
            }
            tokio::select! {
                biased;
                order = self.orders.recv(), if self.ordered => {
                    if let Err(Over::GivenUp) = self.obey(order, live, Some(&ready)) {
                        return End::over((Verdict::Cancelled, None));
                    }
                }
                permit = self.output.permit(waiting.unwrap_or(0)), if waiting.is_some() => {
                    self.tell(permit);
                }
                id = self.permissions.given_up() => self.withdraw(&id),
                () = stirred.notified() => self.stirred(),
                Some(heard) = live.heard.recv(), if waiting.is_none() && !read => match heard {
                    Heard::Update(told) => self.update(told, answer),
                    Heard::AnswerRead => read = true,
                    Heard::Asked(asked) => {
                        self.stirred();
                        self.asked(*asked, live, true);
                    }
                },
                answer = &mut answered, if answering => {
                    answering = false;
                    result = Some(answer);
                }
                gone = &mut gone, if end.is_none() => end = Some(gone),
            }
        }
    }

    /// The agent is at work, or a command that it waits for: that is no silence. Told no more often than matters.
    fn stirred(&mut self) {
        let Some(stall) = self.setup.spec.stall_ms else {
            return;
        };
        let now = Instant::now();
        if self.stirs <= now {
            self.stirs = now + Duration::from_millis(stall / 8);
            self.output.event(Event::Stirred);
        }
    }

    /// The agent gave a question up.
    fn withdraw(&mut self, id: &Arc<str>) {
        if let Withdrawn::Asked(next) = self.permissions.withdraw(id) {
            self.output.event(Event::Withdrawn(id.clone()));
            if let Some(next) = next {
                self.output.event(Event::Parked(next));
            }
        }
    }

    /// Obeys an order; with a prompt in flight the agent hears of it.
    fn obey(
        &mut self,
        order: Option<Order>,
        live: &mut Live,
        prompted: Option<&Ready>,
    ) -> Result<(), Over> {
        match order {
            // There is one under way, the caller keeps that; it has no terminal, and takes no text meanwhile.
            Some(Order::Begin(_) | Order::Input { .. } | Order::Steer { .. }) => {}
            Some(Order::Stop) => self.stop(live, prompted),
            Some(Order::Kill) => {
                self.stop(live, None);
                if !live.lease.kill() {
                    return Err(Over::GivenUp);
                }
            }
            Some(Order::Permit { request, option }) => {
                if let Some(next) = self.permissions.permit(&request, &option) {
                    self.output.event(Event::Parked(next));
                }
            }
            // The session is released: nothing of it may stay.
            None => {
                self.ordered = false;
                self.stop(live, None);
                if !live.lease.kill() {
                    return Err(Over::GivenUp);
                }
            }
        }
        Ok(())
    }

    fn stop(&mut self, live: &mut Live, prompted: Option<&Ready>) {
        // Before its questions are taken back: it might take that for a "no" and go on.
        if let (false, Some(ready), Some(session)) = (self.stopped, prompted, &live.session) {
            let cancel = CancelNotification::new(session.clone());
            let _ = ready.agent.send_notification(cancel);
        }
        self.permissions.cancel();
        live.services.stop_terminals();
        self.stopped = true;
    }

    /// The agent asks something of us.
    fn asked(&mut self, asked: Asked, live: &mut Live, active: bool) {
        if self.stopped && !Services::is_harmless(&asked) {
            return Services::refuse(asked);
        }
        if asked.request.method() == "session/request_permission" {
            // Nobody is asked before the run is under way.
            if !active {
                return Services::refuse(asked);
            }
            if let Some(question) = self.permissions.ask(asked) {
                self.output.event(Event::Parked(question));
            }
        } else {
            live.services.serve(asked);
        }
    }

    /// The agent tells something.
    fn update(&mut self, told: Told, answer: &mut FinalAnswer) {
        let Told { json, permit } = told;
        let kind = updates::read(&json);
        if let Kind::Text(text) = kind {
            answer.say(&text);
            let mut left = &*text;
            while !left.is_empty() {
                let (piece, rest) = left.split_at(left.floor_char_boundary(CHUNK_BYTES));
                left = rest;
                self.said.push_back(Piece {
                    said: Said::Text(piece.as_bytes().to_vec()),
                    _place: None,
                });
            }
            if let Some(last) = self.said.back_mut() {
                last._place = permit;
            }
            return;
        }
        if kind == Kind::ToolCall {
            answer.tool();
        }
        self.said.push_back(Piece {
            said: Said::Update(json.get().into()),
            _place: permit,
        });
    }

    /// Tells the piece that waited for credit.
    fn tell(&mut self, credit: Option<OwnedSemaphorePermit>) {
        match self.said.pop_front().map(|piece| piece.said) {
            Some(Said::Text(bytes)) => self.output.piece(Stream::Stdout, bytes, credit),
            Some(Said::Update(json)) => self.output.event(Event::Update(Update { json, credit })),
            None => {}
        }
    }
}

impl Piece {
    fn bytes(&self) -> usize {
        match &self.said {
            Said::Text(bytes) => bytes.len(),
            Said::Update(json) => json.len(),
        }
    }
}

/// The process ended within the turn.
fn over(live: &Live, gone: &Gone) -> End {
    live.lease.ended(gone);
    End::over(ended(&gone.exit, &gone.words))
}

/// What the agent's answer to the prompt means; without one, what became of its process will tell.
fn judge(result: Result<Value, Error>, ready: &Ready) -> ControlFlow<End> {
    let failed =
        |message: String| ControlFlow::Break(End::failed(Failure::new(FailKind::Agent, message)));
    let answer = match result {
        Ok(answer) => answer,
        Err(error) if is_closed(&error) => return ControlFlow::Continue(()),
        Err(error) if wants_login(&error) => {
            return failed(login(&error, &ready.init.auth_methods));
        }
        Err(error) => return failed(explain(&error)),
    };
    let usage = answer.get("usage").filter(|usage| !usage.is_null());
    let usage = usage.map(|usage| usage.to_string().into());
    let stop_reason = answer["stopReason"].as_str().map(Arc::from);
    let read: Result<PromptResponse, _> = serde_json::from_value(answer);
    let verdict = match read.map(|answer| answer.stop_reason) {
        Ok(StopReason::EndTurn) => Verdict::Completed,
        Ok(StopReason::Cancelled) => Verdict::Cancelled,
        Ok(StopReason::Refusal) => {
            let why = "the agent refused to go on";
            Verdict::Failed(FailKind::Refused, why.into())
        }
        Ok(StopReason::MaxTokens) => {
            let why = "the agent's model reached its limit of tokens";
            Verdict::Failed(FailKind::Limit, why.into())
        }
        Ok(StopReason::MaxTurnRequests) => {
            let why = "the agent reached its limit of requests to its model in one turn";
            Verdict::Failed(FailKind::Limit, why.into())
        }
        Ok(_) | Err(_) => {
            let said = stop_reason.as_deref().unwrap_or("no stop reason");
            let why = format!("the agent ended the turn in a way that is not known: {said}");
            Failure::new(FailKind::Agent, why).verdict()
        }
    };
    ControlFlow::Break(End {
        stop_reason,
        usage,
        ..End::new(verdict)
    })
}
