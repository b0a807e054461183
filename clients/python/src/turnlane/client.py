"""The client: `Turnlane`."""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import AsyncIterator, Iterable, List, Literal, Mapping, Optional, Sequence, Union

from ._base import Base
from ._core import fresh_id
from ._wire import UNSET, Unset
from .events import EventStream
from .lease import Handler, Lease
from .run import Run, parameters
from .types import (
    AckMode,
    AckResult,
    AgentDescription,
    AgentListResult,
    CancelResult,
    CancelScope,
    DeadLetter,
    DeadLetterListResult,
    DeadLetterPurgeResult,
    DeadLetterRetryResult,
    DrainResult,
    EventsReplayResult,
    ExtendResult,
    HeartbeatPolicy,
    IfBusy,
    InboxPolicy,
    PeekResult,
    PermissionPolicy,
    PromptContent,
    Recover,
    ReleaseResult,
    RunGroup,
    RunListResult,
    RunOutputResult,
    RunRecord,
    RunState,
    RunWaitResult,
    SessionCloseResult,
    SessionListResult,
    SessionOpenResult,
    SessionRecord,
    SessionWaitResult,
    ShutdownMode,
    ShutdownResult,
    StatsResult,
    Until,
    WaitMode,
    WakeIfBusy,
    WakePolicy,
    WakeResult,
)

__all__ = ["Turnlane"]

log = logging.getLogger("turnlane")


class Turnlane(Base):
    """A client of one sidecar, which it starts, and starts again if it dies.

        async with Turnlane.spawn() as t:
            await t.open_session("demo", agent="sh")
            run = await t.prompt("demo", "make test")
            async for chunk in run:
                print(chunk.text, end="")
            done = await run

    What turnlane refuses is raised as an exception of `turnlane.errors`. A method whose task is cancelled is given up: no run is
    cancelled by that, and nothing is taken (except with `ack="auto"`, which settles before anybody has heard of it).
    """

    @classmethod
    def spawn(
        cls,
        *,
        binary: Optional[Union[str, Path]] = None,
        store: Optional[Union[str, Path]] = None,
        config: Optional[Union[str, Path]] = None,
        default_agent: Optional[str] = None,
        on_last_disconnect: Optional[ShutdownMode] = None,
        args: Sequence[str] = (),
        env: Optional[Mapping[str, str]] = None,
        cwd: Optional[Union[str, Path]] = None,
        on_permission: Optional[Handler] = None,
        client_name: str = "turnlane-python",
        restart: bool = True,
    ) -> Turnlane:
        """A client with a sidecar of its own, to be entered with `async with`, or started with `await start()`.

        `binary`: the program; default what `TURNLANE_BIN` names, else `turnlane` on the PATH. `store`, `config`, `default_agent`, `on_last_disconnect`, `args`:
        what `turnlane stdio` is given. `env`, `cwd`: the process's, and so those with which sessions begin. `on_permission` answers questions.
        `restart=False`: a sidecar that died is not started again.
        """
        return cls(
            binary=binary,
            store=store,
            config=config,
            default_agent=default_agent,
            on_last_disconnect=on_last_disconnect,
            args=args,
            env=env,
            cwd=cwd,
            on_permission=on_permission,
            client_name=client_name,
            restart=restart,
        )

    # Sessions.

    async def open_session(
        self,
        session_id: Optional[str] = None,
        *,
        agent: Optional[Union[str, AgentDescription]] = None,
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
        parent: Optional[str] = None,
        title: Optional[str] = None,
        timeout_ms: Optional[int] = None,
        permissions: Optional[PermissionPolicy] = None,
        inbox: Optional[InboxPolicy] = None,
        wake: Optional[WakePolicy] = None,
        heartbeat: Union[HeartbeatPolicy, None, Unset] = UNSET,
        recover: Optional[Recover] = None,
    ) -> SessionOpenResult:
        """Opens a session, or changes one that is open: what is left out stays as it is. `heartbeat=None` ends its rhythm.

        It is opened again, with its `env`, if the sidecar has to be started again.
        """
        params = parameters(
            sessionId=session_id if session_id is not None else fresh_id(),
            agent=agent,
            cwd=cwd,
            env=env,
            parent=parent,
            title=title,
            timeoutMs=timeout_ms,
            permissions=permissions,
            inbox=inbox,
            wake=wake,
            recover=recover,
        )
        if heartbeat is not UNSET:
            params["heartbeat"] = heartbeat
        return SessionOpenResult.from_wire(await self._core.ask("session/open", params))

    async def close_session(self, session_id: str, *, purge: Optional[bool] = None) -> SessionCloseResult:
        """Closes a session; no process of it is left afterwards. `purge` forgets it altogether."""
        params = parameters(sessionId=session_id, purge=purge)
        return SessionCloseResult.from_wire(await self._core.ask("session/close", params))

    async def get_session(self, session_id: str) -> SessionRecord:
        """A session's record."""
        return SessionRecord.from_wire(await self._core.ask("session/get", {"sessionId": session_id}))

    async def list_sessions(self, *, after: Optional[str] = None, limit: Optional[int] = None) -> SessionListResult:
        """A page of sessions, by id. `sessions` reads them all."""
        return SessionListResult.from_wire(await self._core.ask("session/list", parameters(after=after, limit=limit)))

    async def sessions(self) -> AsyncIterator[SessionRecord]:
        """All sessions, by id, page after page."""
        after: Optional[str] = None
        while True:
            page = await self.list_sessions(after=after)
            for session in page.sessions:
                yield session
            if not page.more:
                return
            after = page.sessions[-1].session_id

    async def wait_session(self, session_id: str, until: Until = "idle", *, timeout_ms: Optional[int] = None) -> SessionWaitResult:
        """Waits until a session is idle or settled. When the time is over it is `timed_out`."""
        params = parameters(sessionId=session_id, until=until, timeoutMs=timeout_ms)
        return SessionWaitResult.from_wire(await self._core.ask("session/wait", params))

    # Runs.

    async def prompt(
        self,
        session_id: str,
        prompt: PromptContent,
        *,
        run_id: Optional[str] = None,
        if_busy: Optional[IfBusy] = None,
        replaces: Optional[str] = None,
        timeout_ms: Optional[int] = None,
        queue_timeout_ms: Optional[int] = None,
        notify: Union[str, None, Unset] = UNSET,
        permissions: Optional[PermissionPolicy] = None,
        traceparent: Optional[str] = None,
        on_permission: Optional[Handler] = None,
    ) -> Run:
        """Accepts a run, and returns when it is on disk. `notify=None`: its completion goes into no inbox.

        The same `run_id` with the same session and prompt is the same run, however often it is prompted. One that was not given is made here, so that a
        request without an answer can be repeated. If this call is cancelled the run may be accepted nevertheless.
        """
        run = Run(self, run_id if run_id is not None else fresh_id(), session_id, on_permission)
        run.pending = True
        params = parameters(
            sessionId=session_id,
            prompt=prompt,
            runId=run.run_id,
            ifBusy=if_busy,
            replaces=replaces,
            timeoutMs=timeout_ms,
            queueTimeoutMs=queue_timeout_ms,
            permissions=permissions,
            traceparent=traceparent,
        )
        if notify is not UNSET:
            params["notify"] = notify
        # It is known before it is asked for: its first notifications may come with the answer.
        self._runs.setdefault(run.run_id, weakref.WeakSet()).add(run)
        try:
            await self._core.ask("prompt", params, lambda raw: self._accepted(run, raw), run._watch_it)
            if run.duplicate:
                await self._look_at(run)
        except BaseException:
            self._forget(run)
            raise
        return run

    async def attach(self, run_id: str, *, on_permission: Optional[Handler] = None) -> Run:
        """A run that somebody has prompted, here or elsewhere, now or in an earlier life: to read its output, as far as it is kept, and to wait for its end.

        Raises `RunNotFoundError` if there is none.
        """
        record = await self._core.ask("run/get", {"runId": run_id})
        run = Run(self, run_id, record["sessionId"], on_permission)
        run.state = record["state"]
        self._runs.setdefault(run_id, weakref.WeakSet()).add(run)
        try:
            await self._core.hear_also(run.session_id)
            run._look()
            await self._look_at(run)
        except BaseException:
            self._forget(run)
            raise
        return run

    async def cancel(
        self, session_id: Optional[str] = None, *, run_id: Optional[str] = None, scope: Optional[CancelScope] = None
    ) -> CancelResult:
        """Cancels what a session has accepted so far and nothing later (`scope="queued"`: what has not started), or one run."""
        params = parameters(sessionId=session_id, runId=run_id, scope=scope)
        return CancelResult.from_wire(await self._core.ask("cancel", params))

    async def wait(
        self, *run_ids: str, mode: Optional[WaitMode] = None, n: Optional[int] = None, timeout_ms: Optional[int] = None
    ) -> RunWaitResult:
        """Waits until these runs have ended (`mode="any"`: one of them, `"atLeast"`: `n`). When the time is over they go on."""
        params = parameters(runIds=list(run_ids), mode=mode, n=n, timeoutMs=timeout_ms)
        return RunWaitResult.from_wire(await self._core.ask("run/wait", params))

    async def get_run(self, run_id: str) -> RunRecord:
        """A run's record, at any time: what it has said so far, its open question, how it ended."""
        return RunRecord.from_wire(await self._core.ask("run/get", {"runId": run_id}))

    async def list_runs(
        self,
        *,
        session_id: Optional[str] = None,
        state: Optional[RunState] = None,
        parent: Optional[str] = None,
        limit: Optional[int] = None,
        before: Union[int, str, None] = None,
    ) -> RunListResult:
        """A page of runs, newest first. `runs` reads them all."""
        params = parameters(sessionId=session_id, state=state, parent=parent, limit=limit, before=before)
        return RunListResult.from_wire(await self._core.ask("run/list", params))

    async def runs(
        self, *, session_id: Optional[str] = None, state: Optional[RunState] = None, parent: Optional[str] = None
    ) -> AsyncIterator[RunRecord]:
        """All runs, newest first, page after page."""
        before: Union[int, str, None] = None
        while True:
            page = await self.list_runs(session_id=session_id, state=state, parent=parent, before=before)
            for run in page.runs:
                yield run
            if not page.more:
                return
            last = page.runs[-1]
            before = last.run_id if last.seq is None else last.seq

    async def run_output(self, run_id: str, from_: Optional[int] = None) -> RunOutputResult:
        """What a live run has said, from an offset in bytes: for whoever comes late."""
        return RunOutputResult.from_wire(await self._core.ask("run/output", parameters(runId=run_id, **{"from": from_})))

    async def run_input(
        self,
        run_id: str,
        text: Optional[str] = None,
        *,
        keys: Optional[Sequence[str]] = None,
        cols: Optional[int] = None,
        rows: Optional[int] = None,
    ) -> None:
        """Types a text or keys (`C-d`, `Enter`) into a run's terminal, or sets its size."""
        await self._core.ask("run/input", parameters(runId=run_id, text=text, keys=keys, cols=cols, rows=rows))

    # Inboxes.

    def drain(
        self,
        session_id: str,
        *,
        max: Optional[int] = None,
        lease_ms: Optional[int] = None,
        wait_ms: Optional[int] = None,
        until: Optional[RunGroup] = None,
    ) -> Lease:
        """Completions from a session's inbox for the length of a body: `async with t.drain("parent") as batch`.

        They are acknowledged when the body is done, and released when it raises; the lease is extended meanwhile. `wait_ms` waits for
        the first one, `until` for a group of runs.
        """
        return Lease(self, parameters(sessionId=session_id, max=max, leaseMs=lease_ms, waitMs=wait_ms, until=until))

    async def take(
        self,
        session_id: str,
        *,
        max: Optional[int] = None,
        lease_ms: Optional[int] = None,
        wait_ms: Optional[int] = None,
        until: Optional[RunGroup] = None,
        ack: Optional[AckMode] = None,
    ) -> DrainResult:
        """The method `drain` by itself: whoever takes acknowledges (`ack`), releases and extends. `drain` does that for you.

        `ack="auto"` settles all at once: what a task that is cancelled, or a program that dies, has not seen by then is gone.
        """
        params = parameters(sessionId=session_id, max=max, leaseMs=lease_ms, waitMs=wait_ms, until=until, ack=ack)
        return DrainResult.from_wire(await self._core.ask("drain", params))

    async def ack(self, delivery_id: str, run_ids: Optional[Iterable[str]] = None) -> AckResult:
        """Settles what was delivered, or these of its runs."""
        params = parameters(deliveryId=delivery_id, runIds=None if run_ids is None else list(run_ids))
        return AckResult.from_wire(await self._core.ask("drain/ack", params))

    async def release(self, delivery_id: str, run_ids: Optional[Iterable[str]] = None) -> ReleaseResult:
        """Gives back what was delivered, or these of its runs."""
        params = parameters(deliveryId=delivery_id, runIds=None if run_ids is None else list(run_ids))
        return ReleaseResult.from_wire(await self._core.ask("drain/release", params))

    async def extend(self, delivery_id: str, lease_ms: int) -> ExtendResult:
        """Holds what was delivered for so many milliseconds from now."""
        return ExtendResult.from_wire(await self._core.ask("drain/extend", {"deliveryId": delivery_id, "leaseMs": lease_ms}))

    async def peek(self, session_id: str, *, after: Optional[str] = None, limit: Optional[int] = None) -> PeekResult:
        """What an inbox holds, from `after` on, the `next` of the page before. Nothing is taken."""
        params = parameters(sessionId=session_id, after=after, limit=limit)
        return PeekResult.from_wire(await self._core.ask("inbox/peek", params))

    async def wake(
        self,
        session_id: str,
        reason: str,
        *,
        prompt: Optional[str] = None,
        key: Optional[str] = None,
        run_id: Optional[str] = None,
        if_busy: Optional[WakeIfBusy] = None,
        only_if_pending: Optional[bool] = None,
        when: Optional[RunGroup] = None,
    ) -> WakeResult:
        """Lets a session look at its inbox, or at a reason. `status` says what it came to."""
        params = parameters(
            sessionId=session_id,
            reason=reason,
            prompt=prompt,
            key=key,
            runId=run_id if run_id is not None else fresh_id(),
            ifBusy=if_busy,
            onlyIfPending=only_if_pending,
            when=when,
        )
        return WakeResult.from_wire(await self._core.ask("wake", params))

    # Dead letters.

    async def list_dead_letters(
        self, *, parent: Optional[str] = None, limit: Optional[int] = None, after: Optional[str] = None
    ) -> DeadLetterListResult:
        """A page of completions that nobody took. `dead_letters` reads them all."""
        return DeadLetterListResult.from_wire(await self._core.ask("deadLetter/list", parameters(parent=parent, limit=limit, after=after)))

    async def dead_letters(self, *, parent: Optional[str] = None) -> AsyncIterator[DeadLetter]:
        """All completions that nobody took, page after page."""
        after: Optional[str] = None
        while True:
            page = await self.list_dead_letters(parent=parent, after=after)
            for letter in page.dead_letters:
                yield letter
            if not page.more:
                return
            after = page.next

    async def retry_dead_letters(self, *run_ids: str, all: Optional[bool] = None, parent: Optional[str] = None) -> DeadLetterRetryResult:
        """Puts these (or all) back into an inbox: the one that each was for, or that of `parent`."""
        params = parameters(runIds=list(run_ids) or None, all=all, parent=parent)
        return DeadLetterRetryResult.from_wire(await self._core.ask("deadLetter/retry", params))

    async def purge_dead_letters(self, *run_ids: str, all: Optional[bool] = None) -> DeadLetterPurgeResult:
        """Removes these (or all) for good."""
        params = parameters(runIds=list(run_ids) or None, all=all)
        return DeadLetterPurgeResult.from_wire(await self._core.ask("deadLetter/purge", params))

    # Questions, events, the program.

    async def respond(self, run_id: str, request_id: str, option_id: str) -> None:
        """Answers a question. The first answer counts: later ones are an `AlreadyAnsweredError`."""
        await self._core.ask("permission/respond", {"runId": run_id, "requestId": request_id, "optionId": option_id})

    async def subscribe(self, sessions: Union[Literal["all"], Sequence[str]], *, output: Optional[bool] = None) -> None:
        """Chooses the sessions that this client hears of; those that it opens or prompts in later are added. `output=False`: no output."""
        chosen: Union[str, List[str]] = sessions if isinstance(sessions, str) else list(sessions)
        await self._core.ask("subscribe", parameters(sessions=chosen, output=output))
        for run in self._known():
            if not run.pending and not self._core.hears(run.session_id):
                run._look()

    def events(self, *, output: bool = False) -> EventStream:
        """What happens from now on in the sessions that this client hears of: `async for event in t.events()`."""
        stream = EventStream(self, output)
        self._core.streams.add(stream)
        if self._core.ended:
            stream.end(None)
        return stream

    async def replay(self, after: str, *, limit: Optional[int] = None) -> EventsReplayResult:
        """Durable events after a cursor, of all sessions: one page."""
        return EventsReplayResult.from_wire(await self._core.ask("events/replay", parameters(after=after, limit=limit)))

    async def list_agents(self) -> AgentListResult:
        """The agents that can be named."""
        return AgentListResult.from_wire(await self._core.ask("agent/list"))

    async def stats(self) -> StatsResult:
        """What the sidecar is doing."""
        return StatsResult.from_wire(await self._core.ask("stats"))

    async def shutdown(
        self, *, mode: Optional[ShutdownMode] = None, timeout_ms: Optional[int] = None, everyone: Optional[bool] = None
    ) -> ShutdownResult:
        """Says that this client leaves, and waits for what becomes of its runs; `everyone`: stops it for all clients. `close` it afterwards."""
        params = parameters(mode=mode, timeoutMs=timeout_ms, everyone=everyone)
        return ShutdownResult.from_wire(await self._core.ask("shutdown", params))
