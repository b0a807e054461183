"""What stands behind the client's methods: its sidecar's life, and who is told of what."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import weakref
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Set, Type, TypeVar, Union

from ._core import Core, Life
from ._listener import Listener
from ._version import __version__
from .binary import find_binary
from .errors import AlreadyAnsweredError, ConnectionLostError, NotRunningError, PermissionNotFoundError, RunNotFoundError, TurnlaneError
from .lease import Batch, Handler, Question
from .types import InitializeResult, Permission, PromptResult, ShutdownMode

if TYPE_CHECKING:
    from .run import Run

log = logging.getLogger("turnlane")

B = TypeVar("B", bound="Base")


class Base(Listener):
    """A client without its methods: see `Turnlane`."""

    def __init__(
        self,
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
    ) -> None:
        self._binary = binary
        self._options: List[str] = ["stdio"]
        for flag, value in (
            ("--store", store),
            ("--config", config),
            ("--default-agent", default_agent),
            ("--on-last-disconnect", on_last_disconnect),
        ):
            if value is not None:
                self._options += [flag, str(value)]
        self._options += list(args)
        self._env = dict(os.environ if env is None else env)
        self.on_permission = on_permission
        """Who answers questions that no run's own handler answers."""
        self._runs: Dict[str, weakref.WeakSet[Run]] = {}
        self._tasks: Set[asyncio.Future[Any]] = set()
        self._asked: Set[str] = set()
        self._batches: weakref.WeakSet[Batch] = weakref.WeakSet()
        self._made: Callable[[], Core] = lambda: Core(
            self,
            lambda: [find_binary(self._binary, self._env), *self._options],
            self._env,
            str(cwd) if cwd is not None else None,
            {"name": client_name, "version": __version__},
            restart,
            on_last_disconnect == "finish",
        )
        self._core = self._made()

    async def start(self: B) -> B:
        """Starts the sidecar and greets it. One that runs is left as it is; a client that was closed, or has given up, begins anew.

        Raises `BinaryNotFoundError`, `ProtocolMismatchError`, `StartError`, or what the sidecar answers, such as `StoreLockedError`.
        """
        if self._core.life is Life.OVER:
            self._core = self._made()
        await self._core.start()
        return self

    async def close(self, timeout: Optional[float] = None) -> None:
        """Leaves. If this is the store's last client, runs under way are cancelled (or end first, with `on_last_disconnect="finish"`).

        `timeout`: seconds after which the process is ended by force; default 30, and none with `"finish"`. If this is cancelled, the leave goes on
        nevertheless, and another `close` waits for its end.
        """
        try:
            await self._core.close(timeout)
        finally:
            for task in list(self._tasks):
                task.cancel()

    async def __aenter__(self: B) -> B:
        return await self.start()

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.close()

    @property
    def hello(self) -> InitializeResult:
        """What the sidecar said when it was started: version, role, store, agents, limits.

        Raises `NotRunningError` before that.
        """
        if self._core.hello is None:
            raise NotRunningError(f"the client {Life.NEW.value}")
        return self._core.hello

    @property
    def pid(self) -> int:
        """The sidecar's process; another one after a restart."""
        return self._core.pid

    async def call(self, method: str, params: Optional[Mapping[str, Any]] = None) -> Any:
        """Asks any method of the protocol, with parameters and result as JSON has them."""
        return await self._core.ask(method, params)

    # Runs that are waited for, and what the core tells.

    def _accepted(self, run: Run, raw: Dict[str, Any]) -> None:
        run.accepted = PromptResult.from_wire(raw)
        run.pending = False
        if run.completion is None:
            run.state = run.accepted.state
        if not run.duplicate:
            run._follow()
            run._caught_up()  # nothing was said before
        if run.duplicate or not self._core.hears(run.session_id):
            run._look()

    def _forget(self, run: Run) -> None:
        same = self._runs.get(run.run_id)
        if same is not None:
            same.discard(run)
            if not same:
                del self._runs[run.run_id]

    def _told(self, method: str, params: Dict[str, Any]) -> None:
        run_id = params.get("runId")
        runs = list(self._runs.get(run_id, ())) if isinstance(run_id, str) else []
        if method == "run/output":
            for run in runs:
                run._output(params)
        elif method == "run/completed":
            for run in runs:
                run._ended(params, told=True)
            self._runs.pop(str(run_id), None)
        elif method == "run/changed":
            for run in runs:
                run._state(params["state"])
            self._question(params, runs)

    def _known(self) -> List[Run]:
        return [run for runs in list(self._runs.values()) for run in list(runs)]

    def _restarted(self) -> None:
        for run in self._known():
            if run.pending:
                run._watch_it()
            else:
                self._background(self._look_at(run))

    async def _look_at(self, run: Run) -> None:
        """Whether it has ended, or asks something, and what it has said: for a run that was not followed for a while."""
        run._looks += 1
        try:
            run._watch_it()
            raw = await self._core.ask("run/get", {"runId": run.run_id})
            if raw["state"] == "ended":
                run._ended(raw)
                self._forget(run)
            else:
                run._state(raw["state"])
                self._question(raw, [run])
                await run._catch_up()
        except RunNotFoundError as error:
            run._failed(error)
        finally:
            run._looks -= 1
            if not run._looks:
                run._caught_up()

    def _chosen(self, session_ids: object, output: bool) -> None:
        for run in self._known():
            heard = session_ids == "all" or (isinstance(session_ids, list) and run.session_id in session_ids)
            if not heard or not output:
                run._unfollow()

    def _owner_lost(self) -> None:
        for run in self._known():
            run._unfollow()

    def _disconnected(self) -> None:
        for run in self._known():
            run._fell_behind()
        for batch in list(self._batches):
            batch._lose()

    def _given_up(self, error: TurnlaneError) -> None:
        runs, self._runs = self._runs, {}
        for same in runs.values():
            for run in list(same):
                run._failed(error)
        self._disconnected()

    def _question(self, params: Mapping[str, Any], runs: List[Run]) -> None:
        raw = params.get("permission")
        handler = next((run.on_permission for run in runs if run.on_permission is not None), self.on_permission)
        if raw is None or handler is None:
            return
        question = Question(params["runId"], params["sessionId"], Permission.from_wire(raw))
        key = f"{question.run_id}\0{question.request_id}"
        if key not in self._asked:
            self._asked.add(key)
            self._background(self._answer(handler, question, key))

    async def _answer(self, handler: Handler, question: Question, key: str) -> None:
        try:
            chosen = handler(question)
            if inspect.isawaitable(chosen):
                chosen = await chosen
            if chosen is not None:
                await self._respond(question, chosen)
        except Exception:
            log.exception("a callback failed, and the question %r of the run %s stays open", question.text, question.run_id)
        finally:
            self._asked.discard(key)

    async def _respond(self, question: Question, chosen: object) -> None:
        try:
            params = {"runId": question.run_id, "requestId": question.request_id, "optionId": chosen}
            await self._core.ask("permission/respond", params)
        except (AlreadyAnsweredError, PermissionNotFoundError, RunNotFoundError, ConnectionLostError, NotRunningError):
            pass  # somebody was faster, or the run or the client is over
        except (TurnlaneError, TypeError, ValueError) as error:
            options = [option.option_id for option in question.options]
            log.error("%r answers no question of the run %s, which stays open (%s): %s", chosen, question.run_id, options, error)

    def _background(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), TurnlaneError):
            log.error("a callback failed", exc_info=task.exception())
