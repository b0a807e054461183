//! Questions that are answered by looking: nothing changes, and nothing waits.

use super::asks::Trouble;
use super::core::Core;
use super::hub::ConnId;
use crate::domain::{AgentSpec, EventNo, RunId, RunState, SessionId};
use crate::engine::SessionView;
use crate::protocol::{
    AgentInfo, AgentListResult, Before, CompletionView, Cursor, DeadLetterAdded, DurabilityView,
    EventContent, EventView, EventsReplayParams, InboxView, InitializeResult, PROTOCOL_VERSION,
    ReplayResult, Reply, Request, RpcError, RunListParams, RunListResult, RunOutputParams,
    RunOutputResult, RunRecord, RunUnderWay, RunWaitResult, ServerInfo, SessionListParams,
    SessionListResult, SessionNow, SessionRecord, StatsResult, SubscribeParams, Word,
};
use crate::store::{Announced, Durability, RunFilter, StoreError, StoredEvent, StoredRun};

/// Bytes of a live run's output that are looked at for its text so far.
const TEXT_BYTES: usize = 64 << 10;
/// Rows that are read from the store at a time.
const PAGE: usize = 64;

impl Core {
    pub(crate) fn look(&mut self, conn: ConnId, request: Request) -> Result<Reply, Trouble> {
        // Nobody hears what is found, and one that has gone may have asked for much.
        if (self.hub.client(conn)).is_none_or(|client| client.link.broken()) {
            return Ok(Reply::Null);
        }
        Ok(match request {
            Request::RunGet(params) => Reply::Run(Box::new(self.run_record(&params.run_id)?)),
            Request::RunList(params) => Reply::RunList(self.run_list(&params)?),
            Request::RunOutput(params) => Reply::RunOutput(self.run_output(params)?),
            Request::SessionGet(params) => {
                let record = self.session_record(&params.session_id)?;
                let record =
                    record.ok_or_else(|| RpcError::session_not_found(&params.session_id))?;
                Reply::Session(Box::new(record))
            }
            Request::SessionList(params) => Reply::SessionList(self.session_list(&params)?),
            Request::InboxPeek(params) => Reply::Peek(self.peek(&params)?),
            Request::DeadLetterList(params) => {
                Reply::DeadLetterList(self.dead_letter_list(&params)?)
            }
            Request::Subscribe(params) => self.subscribe(conn, params)?,
            Request::EventsReplay(params) => Reply::Replay(self.events_replay(&params)?),
            Request::AgentList => {
                let agents = self.agents(conn, AgentInfo::with_command);
                Reply::AgentList(AgentListResult::fitted(agents))
            }
            Request::Stats => Reply::Stats(Box::new(self.stats(conn))),
            Request::Initialize(_)
            | Request::Shutdown(_)
            | Request::Exit
            | Request::Prompt(_)
            | Request::Cancel(_)
            | Request::RunWait(_)
            | Request::RunInput(_)
            | Request::SessionOpen(_)
            | Request::SessionClose(_)
            | Request::SessionWait(_)
            | Request::Drain(_)
            | Request::DrainAck(_)
            | Request::DrainRelease(_)
            | Request::DrainExtend(_)
            | Request::DeadLetterRetry(_)
            | Request::DeadLetterPurge(_)
            | Request::Wake(_)
            | Request::PermissionRespond(_) => unreachable!("these are not answered by looking"),
        })
    }

    /// A run as it is now.
    fn run_record(&mut self, run: &RunId) -> Result<RunRecord, Trouble> {
        let record = self.find_record(run)?;
        record.ok_or_else(|| RpcError::run_not_found(run).into())
    }

    /// The record of a run, of a wake that waits, or of the run that a wake joined.
    fn find_record(&mut self, run: &RunId) -> Result<Option<RunRecord>, StoreError> {
        if let Some(stored) = self.store.run(run)? {
            return Ok(Some(self.record_of(&stored)));
        }
        if let Some(wake) = self.engine.waiting_wake(run) {
            let session = self.engine.session(&wake.session);
            let parent = session.and_then(|session| session.parent.clone());
            return Ok(Some(RunRecord::waiting(wake, parent)));
        }
        match self.store.joined(run)? {
            Some(into) => self.find_record(&into),
            None => Ok(None),
        }
    }

    fn record_of(&self, stored: &StoredRun) -> RunRecord {
        let record = RunRecord::queued(&stored.row, &stored.prompt, None);
        if let Some(completion) = &stored.completion {
            return record.ended(completion);
        }
        let Some(view) = self.engine.run_view(&stored.row.id) else {
            return record;
        };
        if view.state == RunState::Queued {
            return RunRecord::queued(&stored.row, &stored.prompt, Some(view.position));
        }
        let ring = self.outputs.run(&stored.row.id);
        let text = ring.map_or_else(String::new, |ring| ring.tail(TEXT_BYTES));
        let truncated = ring.is_some_and(|ring| ring.spoken() > TEXT_BYTES as u64);
        let record = record.live(
            view.state,
            &text.into(),
            truncated,
            view.question.as_deref(),
        );
        match view.into {
            Some(host) => record.steered(host),
            None => record,
        }
    }

    fn run_list(&mut self, params: &RunListParams) -> Result<RunListResult, Trouble> {
        if let Some(session) = &params.session_id {
            self.must_know(session)?;
        }
        if let Some(parent) = &params.parent {
            self.must_own(parent)?;
        }
        let limit = params.limit(self.engine.limits());
        let mut filter = RunFilter {
            session: params.session_id.clone(),
            notify: params.parent.clone(),
            ended: params.state.map(|state| state == RunState::Ended),
            before: None,
            limit: PAGE,
        };
        let mut runs = match &params.before {
            Some(Before::Seq(seq)) => {
                filter.before = Some(*seq);
                Vec::new()
            }
            Some(Before::Wake(before)) => self.waiting_wakes(params, Some(before)),
            None => self.waiting_wakes(params, None),
        };
        if runs.len() > limit {
            runs.truncate(limit);
            return Ok(RunListResult::fitted(runs, true));
        }
        loop {
            let page = self.store.runs(&filter)?;
            let last = page.len() < PAGE;
            for stored in page {
                filter.before = Some(stored.row.seq);
                let record = self.record_of(&stored);
                if params.state.is_some_and(|state| state != record.state) {
                    continue;
                }
                if runs.len() == limit {
                    return Ok(RunListResult::fitted(runs, true));
                }
                runs.push(record);
            }
            if last {
                return Ok(RunListResult::fitted(runs, false));
            }
            // What does not fit in a line need not be read.
            let fitted = RunListResult::fitted(runs, false);
            if fitted.more {
                return Ok(fitted);
            }
            runs = fitted.runs;
        }
    }

    /// Wakes that are not due yet, one more than can be shown at the most.
    fn waiting_wakes(&self, params: &RunListParams, before: Option<&RunId>) -> Vec<RunRecord> {
        if params.state.is_some_and(|state| state != RunState::Queued) {
            return Vec::new();
        }
        let wakes = self
            .engine
            .waiting_wakes(params.session_id.as_ref(), before);
        let shown = wakes.into_iter().filter_map(|wake| {
            let session = self.engine.session(&wake.session);
            let parent = session.and_then(|session| session.parent.clone());
            let meant = params.parent.is_none() || params.parent == parent;
            meant.then(|| RunRecord::waiting(wake, parent))
        });
        let limit = params.limit(self.engine.limits());
        shown.take(limit.saturating_add(1)).collect()
    }

    fn run_output(&mut self, params: RunOutputParams) -> Result<RunOutputResult, Trouble> {
        let from = params.from.unwrap_or(0);
        let (run, _) = self.meant(params.run_id)?;
        let Some(ring) = self.outputs.run(&run) else {
            let ended = self.run_record(&run)?.state == RunState::Ended;
            return Ok(RunOutputResult::fitted(run, from, Vec::new(), from, ended));
        };
        let mut chunks = Vec::new();
        let mut held = 0;
        for piece in ring.from(from) {
            held += piece.len();
            chunks.extend(piece.chunks());
            if held > TEXT_BYTES {
                break;
            }
        }
        Ok(RunOutputResult::fitted(
            run,
            from,
            chunks,
            ring.next(),
            false,
        ))
    }

    fn session_list(&mut self, params: &SessionListParams) -> Result<SessionListResult, Trouble> {
        let limit = params.limit(self.engine.limits());
        let stored = self.store.sessions(params.after.as_ref(), limit + 1)?;
        let more = stored.len() > limit;
        let mut sessions = Vec::new();
        for session in stored.into_iter().take(limit) {
            let view = self.engine.view(session);
            sessions.push(self.record_of_session(view)?);
        }
        Ok(SessionListResult::fitted(sessions, more))
    }

    /// A session as it is now; `None` if there is none.
    pub(crate) fn session_record(
        &mut self,
        session: &SessionId,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let view = match self.engine.session_view(session) {
            Some(view) => view,
            None => match self.store.session(session)? {
                Some(stored) => self.engine.view(stored),
                None => return Ok(None),
            },
        };
        self.record_of_session(view).map(Some)
    }

    fn record_of_session(&mut self, view: SessionView) -> Result<SessionRecord, StoreError> {
        let now = SessionNow {
            state: view.state,
            settled: view.settled,
            queued: view.queued as u64,
            inbox: InboxView {
                pending: view.pending,
                leased: view.leased,
                oldest: view.oldest,
            },
            wake: view.wake.into(),
            clients: self.hub.hearing(&view.session.id) as u64,
            run: view
                .run
                .map(|(run_id, state)| RunUnderWay { run_id, state }),
        };
        Ok(SessionRecord::of(&view.session, now))
    }

    /// An id that was never known is an error: a typing error must not look like silence.
    pub(crate) fn must_know(&mut self, session: &SessionId) -> Result<(), Trouble> {
        if self.engine.knows(session) || self.store.session(session)?.is_some() {
            return Ok(());
        }
        Err(RpcError::session_not_found(session).into())
    }

    fn subscribe(&mut self, conn: ConnId, params: SubscribeParams) -> Result<Reply, Trouble> {
        let output = params.output.unwrap_or(true);
        let audience = super::hub::Audience::from(params.sessions);
        if let super::hub::Audience::Only(sessions) = &audience {
            for session in sessions {
                self.must_know(session)?;
            }
        }
        if let Some(client) = self.hub.client(conn) {
            (client.audience, client.output) = (audience, output);
        }
        Ok(Reply::Null)
    }

    fn events_replay(&mut self, params: &EventsReplayParams) -> Result<ReplayResult, Trouble> {
        let limit = params.limit(self.engine.limits());
        let pruned = self.store.pruned_to()?;
        let Some(after) = Cursor::parse(&params.after) else {
            return Err(RpcError::invalid_params(
                "after",
                "is no cursor: take one that turnlane gave",
            )
            .into());
        };
        let ours = &*after.store == self.store.id();
        if !ours || after.no < pruned || after.no > self.engine.last_event() {
            return Err(RpcError::cursor_expired(&self.cursor(pruned).to_string()).into());
        }
        let events = self
            .store
            .events(after.no, None, limit.saturating_add(1).min(PAGE))?;
        let more = events.len() > limit || events.len() == PAGE;
        let events = events
            .iter()
            .take(limit)
            .map(|event| EventView::from(self.announced(event)))
            .collect();
        Ok(ReplayResult::fitted(events, &after, more))
    }

    /// A durable event as clients are told of it.
    pub(crate) fn announced(&self, event: &StoredEvent) -> EventContent {
        let cursor = self.cursor(Some(event.no));
        match &event.what {
            Announced::Completed(completion) => {
                EventContent::Completed(Box::new(CompletionView::of(completion).at(&cursor)))
            }
            Announced::DeadLetter { run, parent, why } => {
                EventContent::DeadLetter(DeadLetterAdded {
                    run_id: run.clone(),
                    parent: parent.clone(),
                    why: *why,
                    cursor: cursor.to_string().into(),
                })
            }
        }
    }

    /// A position in our durable log.
    pub(crate) fn cursor(&self, no: Option<EventNo>) -> Cursor {
        Cursor {
            store: self.store.id().into(),
            no,
        }
    }

    /// The agents that can be named, each as `shown` shows it.
    fn agents(
        &mut self,
        conn: ConnId,
        shown: fn(AgentInfo, &AgentSpec) -> AgentInfo,
    ) -> Vec<AgentInfo> {
        let default = self.home(conn).default_agent.clone();
        self.config.agent_list(default.as_deref(), shown)
    }

    fn stats(&mut self, conn: ConnId) -> StatsResult {
        let counts = self.engine.counts();
        let home = self.home(conn);
        StatsResult {
            role: home.role(&self.identity.home),
            owner_pid: std::process::id(),
            instance_id: home.instance.clone(),
            uptime_ms: self.clock.now().mono.since_ms(self.identity.began),
            clients: u64::from(self.hub.present()),
            sessions: counts
                .sessions
                .iter()
                .map(|(state, count)| (state.word(), *count))
                .collect(),
            runs: counts
                .runs
                .iter()
                .map(|(state, count)| (state.word(), *count))
                .collect(),
            accepted: counts.accepted,
            ended: counts.ended,
            pending: counts.pending,
            scheduled_wakes: counts.scheduled as u64,
            waiting: counts.waiting as u64,
            commits: self.commits,
            dropped_events: self.hub.dropped_events,
            dropped_output_bytes: self.dropped_output_bytes,
            dropped_log_lines: self
                .identity
                .dropped_lines
                .as_ref()
                .map_or(0, |lines| lines.dropped_lines() as u64),
        }
    }

    /// The answer to `initialize`.
    pub(crate) fn welcome(&mut self, conn: ConnId, resumed: bool) -> Reply {
        let home = self.home(conn);
        Reply::Initialize(Box::new(InitializeResult {
            server_info: ServerInfo {
                name: "turnlane".into(),
                version: env!("CARGO_PKG_VERSION").into(),
            },
            protocol_version: PROTOCOL_VERSION,
            instance_id: home.instance.clone(),
            role: home.role(&self.identity.home),
            store: self.identity.store.as_str().into(),
            durability: match self.config.durability {
                Durability::Full => DurabilityView::Full,
                Durability::Relaxed => DurabilityView::Relaxed,
            },
            cursor: self.cursor(self.told).to_string().into(),
            resumed,
            agents: AgentListResult::fitted(self.agents(conn, |info, _| info)).agents,
            limits: self.engine.limits().entries().into_iter().collect(),
        }))
    }

    /// The answer to `run/wait`.
    pub(crate) fn waited(&mut self, runs: &[RunId], timed_out: bool) -> Result<Reply, StoreError> {
        let mut records: Vec<RunRecord> = Vec::new();
        let mut left = runs.iter();
        let mut read = 0;
        // What surely does not fit in a line any more need not be read.
        while read <= crate::protocol::cut::LINE_BYTES
            && let Some(run) = left.next()
        {
            // A wake that was skipped when it was due is no run, and two that joined are one.
            let Some(record) = self.find_record(run)? else {
                continue;
            };
            if records.iter().all(|other| other.run_id != record.run_id) {
                read += record.text_bytes();
                records.push(record);
            }
        }
        let mut result = RunWaitResult::fitted(records, timed_out);
        if left.next().is_some() {
            result.more = Some(true);
        }
        Ok(Reply::RunWait(result))
    }
}
