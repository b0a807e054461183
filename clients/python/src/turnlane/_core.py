"""The connection over all lives of the sidecar: requests and their answers, restarts, what is told."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import signal
import time
import uuid
import weakref
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from ._greeting import PROTOCOL, greeting
from ._heard import Heard
from ._link import Link
from ._listener import Listener
from ._pending import Pending
from ._requests import WAITING, Request, doubtful, line_of, seen
from ._wire import Event
from .errors import (
    ConnectionLostError,
    NotRunningError,
    RequestCancelledError,
    SessionNotFoundError,
    StartError,
    StoppedError,
    TurnlaneError,
    error_from_wire,
)
from .events import EventStream
from .types import InitializeResult

log = logging.getLogger("turnlane")

LEAVE_S = 30.0
# From the request to end to the kill.
FORCE_S = 2.0
# A question that only saves time.
ASIDE_S = 1.0
# A process that has closed its output and not ended within this time lives on for others.
EXIT_S = 10.0
# A sidecar that was lost is started again after these pauses; one that dies more often than this within a minute is not.
PAUSES_S = (0.0, 0.1, 0.3, 1.0, 2.0)
DEATHS_A_MINUTE = 10
# How often a request that `ownerLost` answered is repeated, and after which pause: another process takes over within a second.
OWNER_LOST_REPEATS = 40
OWNER_LOST_PAUSE_S = 0.1


class Life(enum.Enum):
    """How far a core has come. It goes through these once, and from each of them it may be over at once."""

    NEW = "was not started: use `async with`, or await start()"
    STARTING = "is being started"
    RUNNING = "is running"
    LEAVING = "is being closed"
    OVER = "is closed, or has given up"


class Core:
    """Everything between a client's methods and the sidecar's pipes, from one start to the close that follows."""

    def __init__(
        self,
        listener: Listener,
        argv: Callable[[], List[str]],
        env: Mapping[str, str],
        cwd: Optional[str],
        client_info: Dict[str, str],
        restart: bool,
        patient: bool,
    ) -> None:
        self._listener = listener
        self._argv = argv
        self._env = env
        self._cwd = cwd
        self._client_info = client_info
        self._restart_wanted = restart
        self._patient = patient
        self._link: Optional[Link] = None
        self._up = False
        self.life = Life.NEW
        # Why nothing can be asked, where that is so.
        self._failure: Optional[TurnlaneError] = NotRunningError(f"the client {Life.NEW.value}")
        self._pending = Pending(listener)
        self._again: List[Request] = []
        self._orphaned = False
        self._deaths: List[float] = []
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        # What starts the sidecar, for the first time or again.
        self._starting: Optional[asyncio.Task[None]] = None
        self._leaving: Optional[asyncio.Task[None]] = None
        self._cursor: Optional[str] = None
        self._heard = Heard()
        self.streams: weakref.WeakSet[EventStream] = weakref.WeakSet()
        self.hello: Optional[InitializeResult] = None

    # Coming and going.

    async def start(self) -> None:
        """Starts the first sidecar. A start that fails, or is cancelled, leaves none behind."""
        if self.life is Life.RUNNING:
            return
        if self.life is not Life.NEW:
            raise NotRunningError(f"the client {self.life.value}")
        self.life, self._failure = Life.STARTING, None
        self._loop = asyncio.get_running_loop()
        starting = self._starting = asyncio.ensure_future(self._connect())
        try:
            await asyncio.wait([starting])
        except asyncio.CancelledError:
            if self.life is Life.STARTING:
                await self._stop_starting(starting)
            raise
        if self.life is not Life.STARTING or starting.cancelled():
            raise NotRunningError("the client was closed while it was being started")
        error = starting.exception()
        if error is not None:
            self._give_up(error if isinstance(error, TurnlaneError) else NotRunningError(f"the client was not started: {error!r}"))
            raise error
        self.life = Life.RUNNING
        self._begin()

    async def _stop_starting(self, starting: asyncio.Task[None]) -> None:
        try:
            starting.cancel()
            await asyncio.wait([starting])
            if self._link is not None:  # it had succeeded
                await self._end(self._link)
        finally:
            self._give_up(NotRunningError("the client was not started: its start was cancelled"))

    def _begin(self) -> None:
        self._up = True
        assert self._link is not None
        # What was asked meanwhile is said, and what has no answer is said again.
        self._again = []
        self._pending.say_all(self._link)
        if self._link.gone:
            self._lost(self._link)

    async def close(self, timeout: Optional[float]) -> None:
        """Leaves in order, and by force if that takes too long. If this is cancelled the leave goes on, and the next close waits for it."""
        if self.life in (Life.NEW, Life.OVER):
            return
        if self._leaving is None:
            self.life, self._failure = Life.LEAVING, NotRunningError("the client is closed")
            self._leaving = asyncio.ensure_future(self._leave(self._failure))
        leaving = self._leaving
        limit = timeout if timeout is not None else (None if self._patient else LEAVE_S)
        for seconds, number in ((limit, signal.SIGTERM), (FORCE_S, signal.SIGKILL), (None, 0)):
            done, _ = await asyncio.wait([leaving], timeout=seconds)
            if done:
                break
            if self._link is not None:
                self._link.signal(number)
        leaving.result()

    async def _leave(self, why: TurnlaneError) -> None:
        try:
            if self._starting is not None:
                self._starting.cancel()
                await asyncio.wait([self._starting])
            if self._link is not None:
                await self._part(self._link)
        finally:
            self._give_up(why)

    async def _part(self, link: Link) -> None:
        try:
            stays = await self._stays_for_others(link)
            # It is said as well, since a child that this program has forked may hold the pipe open.
            link.write(line_of({"jsonrpc": "2.0", "method": "exit"}))
            link.leave()
            await link.ended(None)
            if not stays:
                await link.status()
        finally:
            await link.close()

    async def _stays_for_others(self, link: Link) -> bool:
        """Whether the process will live on for other clients, so that its end is not to be waited for."""
        if not self._up:
            return False
        try:
            ((stats, _),) = await asyncio.wait_for(self._internal(link, [("stats", {})]), ASIDE_S)
        except (TurnlaneError, asyncio.TimeoutError):
            return False
        return stats is not None and bool(stats["role"] == "owner" and stats["clients"] > 1)

    @property
    def pid(self) -> int:
        return self._link.pid if self._link is not None else 0

    async def _connect(self) -> None:
        """Starts a sidecar and greets it."""
        argv = self._argv()
        link = Link(self._message, self._lost)
        params: Dict[str, Any] = {
            "processId": os.getpid(),
            "clientInfo": self._client_info,
            "protocolVersion": PROTOCOL,
        }
        if self._cursor is not None:
            params["resumeFrom"] = self._cursor
        try:
            await link.start(argv, self._env, self._cwd)
            await self._greet(link, argv[0], params)
        except BaseException as error:
            await self._end(link)
            if isinstance(error, OSError):
                raise StartError(f"{argv[0]} can't be started: {error}") from error
            raise
        self._link = link

    @staticmethod
    async def _end(link: Link) -> None:
        """Ends a process that is of no use."""
        link.signal(signal.SIGTERM)
        try:
            # One that has fallen silent and stays has others to serve.
            if link.pid and not await link.over(FORCE_S):
                link.signal(signal.SIGKILL)
        finally:
            await link.close()

    async def _greet(self, link: Link, program: str, params: Dict[str, Any]) -> None:
        request = self._send(link, "initialize", params, self._greeted)
        try:
            self.hello = await greeting(program, link, request.answer)
        finally:
            self._pending.drop(request)
        self._pending.limits = self.hello.limits

    def _greeted(self, raw: Any) -> None:
        # Read where the answer is read: the events that follow it in the same piece count from here.
        if isinstance(raw, dict) and (self._cursor is None or not raw.get("resumed")):
            self._cursor = raw.get("cursor")

    # Requests.

    async def ask(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        hook: Optional[Callable[[Any], None]] = None,
        asked: Optional[Callable[[], None]] = None,
    ) -> Any:
        """Asks and waits for the answer. A cancelled wait is given up and takes nothing.

        `hook` is called where the answer is read, `asked` at once, so that what it asks comes next.
        """
        if self._failure is not None:
            raise self._failure
        if asyncio.get_running_loop() is not self._loop:
            raise NotRunningError("the client was started in another event loop: use it there, or from turnlane.sync")
        request = self._pending.make(method, params or {}, hook)
        if self._up and self._link is not None:
            self._pending.say(self._link, request)
        if asked is not None:
            asked()
        try:
            return await request.answer
        except asyncio.CancelledError:
            self._abandon(request)
            raise

    def watch(self, run_id: str) -> Optional[Request]:
        """Waits for a run's end where another process may hold the store: the loss of that one is the answer to whatever waits then, and to nothing else."""
        if self._failure is not None or (self.hello is not None and self.hello.role == "owner"):
            return None
        request = self._pending.make("run/wait", {"runId": run_id})
        request.answer.add_done_callback(seen)
        if self._up and self._link is not None:
            self._pending.say(self._link, request)
        return request

    def watching(self, request: Optional[Request]) -> bool:
        """Whether the loss of whoever holds the store would be told: by this request, or since that is the sidecar itself."""
        if self.hello is not None and self.hello.role == "owner":
            return True
        return request is not None and request.sent and request in self._pending and request not in self._again

    def _send(self, link: Link, method: str, params: Mapping[str, Any], hook: Optional[Callable[[Any], None]] = None) -> Request:
        request = self._pending.make(method, params, hook)
        self._pending.say(link, request)
        return request

    def _abandon(self, request: Request) -> None:
        if not request.abandoned:
            # It was answered, and whoever asked was cancelled before hearing of it.
            if request.answer.exception() is None:
                self._give_back(request, request.answer.result())
        elif not request.sent or not self._up:
            self._pending.drop(request)
        elif request in self._pending and request.method in WAITING and self._link is not None:
            self._link.write(line_of({"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": request.number}}))

    def _message(self, message: Dict[str, Any]) -> None:
        if "method" in message:
            params = message.get("params")
            self._tell(str(message["method"]), params if isinstance(params, dict) else {})
            return
        number = message.get("id")
        if number is None and "error" in message:
            self._unreadable(error_from_wire(message["error"]))
            return
        request = self._pending.answered(number)
        if request is None:
            log.log(logging.DEBUG if self.life is Life.LEAVING else logging.WARNING, "an answer that nobody waits for: %.200r", message)
        elif "error" in message:
            self._refused(request, error_from_wire(message["error"]))
        else:
            self._answered(request, message.get("result"))

    def _unreadable(self, error: TurnlaneError) -> None:
        """A message was not read as a request, so its answer does not say which: if there is only one that can be meant, it is that one."""
        log.error("a message was not understood: %s", error)
        request = self._pending.meant()
        if request is not None:
            self._pending.drop(request)
            request.fail(error)

    def _answered(self, request: Request, result: Any) -> None:
        self._orphaned = False
        self._pending.order.answered(request)
        self._heard.answered(request)
        if request.abandoned:
            # It was answered before it could be given up. (Its task may not have run since it was cancelled.)
            self._give_back(request, result)
            return
        if request.hook is not None:
            request.hook(result)
        if not request.answer.done():
            request.answer.set_result(result)

    def _give_back(self, request: Request, result: Any) -> None:
        """What nobody will hear of is not to be held."""
        delivery = result.get("deliveryId") if isinstance(result, dict) and request.method == "drain" else None
        if delivery is not None and self._up and self._link is not None:
            self._send(self._link, "drain/release", {"deliveryId": delivery}).answer.cancel()

    def _refused(self, request: Request, error: TurnlaneError) -> None:
        if error.kind == "ownerLost" and not self._orphaned:
            self._orphaned = True
            self._listener._owner_lost()
        lost = (
            error.kind == "ownerLost" and request.repeats < OWNER_LOST_REPEATS and not request.abandoned and self.life is not Life.LEAVING
        )
        if lost and self._pending.order.repeatable(request, owner_lost=True):
            request.repeats += 1
            self._pending.keep(request)
            if not self._again:
                asyncio.get_running_loop().call_later(OWNER_LOST_PAUSE_S, self._repeat)
            self._again.append(request)
            return
        # What waits is given up by the leave, and not by whoever asked.
        leaving = self.life is Life.LEAVING and isinstance(error, RequestCancelledError)
        request.fail(self._failure if leaving and self._failure is not None else error)

    def _repeat(self) -> None:
        again, self._again = sorted(self._again, key=lambda one: one.number), []
        if not self._up or self._link is None:
            return  # a restart repeats them
        for request in again:
            if request in self._pending and not request.answer.done():
                self._pending.say(self._link, request)

    # What is told.

    async def hear_also(self, session_id: str) -> None:
        """Hears of one more session."""
        while not self.hears(session_id):
            # A choice takes the place of all that was heard of, so what is under way belongs into it too.
            choice = self._heard.after(self._pending).choice(session_id)
            try:
                await self.ask("subscribe", choice)
            except SessionNotFoundError as error:
                gone = error.data.get("sessionId")
                if gone is None or gone == session_id:
                    raise
                # Another one was purged, or what was under way was refused for the same reason.
                self._heard.forget(gone)

    @property
    def ended(self) -> bool:
        """Whether nothing will be told any more."""
        return self._failure is not None

    def hears(self, session_id: str) -> bool:
        """Whether the connection hears of a session."""
        return self._heard.hears(session_id)

    def tells_output(self, session_id: str) -> bool:
        """Whether a session's output is told, and nothing that is under way ends that."""
        choices = self._pending.choices()
        return self._heard.tells_output(session_id) and all(self._heard.after([one]).tells_output(session_id) for one in choices)

    def _tell(self, method: str, params: Dict[str, Any]) -> None:
        cursor = params.get("cursor")
        if isinstance(cursor, str):
            self._cursor = cursor
        session = params.get("parent" if method == "deadLetter/added" else "sessionId")
        # A replay tells of every session. What is told may also come before the answer of what made it heard of.
        if isinstance(session, str) and not self.hears(session) and not self._heard.after(self._pending).hears(session):
            return
        self._listener._told(method, params)
        event = Event(method, params)
        for stream in list(self.streams):
            stream.put(event)

    # Loss and restart.

    def _lost(self, link: Link) -> None:
        if link is not self._link or not self._up:
            return
        self._up = False
        if self.life is Life.LEAVING:
            return
        self._pending.unsay()
        self._starting = asyncio.ensure_future(self._supervise(link))
        self._listener._disconnected()

    async def _supervise(self, link: Link) -> None:
        try:
            status = await link.status(EXIT_S)
            await link.close()
            said = f": {link.last_words}" if link.last_words else ""
            if status in (0, None):
                self._give_up(StoppedError(f"the sidecar was told to stop (by `turnlane stop` or a signal){said}"))
                return
            how = f"was killed by signal {-status}" if status is not None and status < 0 else f"ended with status {status}"
            log.warning("the sidecar %d %s%s", link.pid, how, said)
            self._fail_what_can_not_be_repeated(how)
            if not self._restart_wanted:
                self._give_up(ConnectionLostError(f"the sidecar {how}, and is not to be started again{said}"))
                return
            await self._revive(how)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the sidecar could not be started again")
            self._give_up(ConnectionLostError(f"the sidecar could not be started again: {error}"))

    def _fail_what_can_not_be_repeated(self, how: str) -> None:
        for request in self._pending:
            if request.abandoned:
                self._pending.drop(request)
            elif request.sent and not self._pending.order.repeatable(request, owner_lost=False):
                self._pending.drop(request)
                request.fail(doubtful(request.method, how))

    async def _revive(self, how: str) -> None:
        now = time.monotonic()
        self._deaths = [then for then in self._deaths if now - then < 60.0] + [now]
        if len(self._deaths) > DEATHS_A_MINUTE:
            self._give_up(ConnectionLostError(f"the sidecar {how}, for the {len(self._deaths)}th time within a minute"))
            return
        failure: TurnlaneError = ConnectionLostError("")
        for pause in PAUSES_S:
            await asyncio.sleep(pause)
            try:
                await self._connect()
                assert self._link is not None
                await self._reopen(self._link)
                self._resume()
                return
            except TurnlaneError as error:
                failure = error
                log.warning("the sidecar could not be started again yet: %s", error)
                if self._link is not None:
                    await self._link.close()
        self._give_up(
            ConnectionLostError(f"the sidecar {how} and could not be started again: {failure}", data=failure.data, kind=failure.kind)
        )

    async def _reopen(self, link: Link) -> None:
        """Opens what this client had opened, and hears of it again."""
        opened = self._heard.opened
        sessions = sorted({*opened, *self._heard.sessions})
        found = await self._internal(link, [("session/get", {"sessionId": session}) for session in sessions])
        opens: List[Tuple[str, Dict[str, Any]]] = []
        for session, (raw, _) in zip(sessions, found):
            if raw is None:
                self._heard.forget(session)
            elif session in opened and raw.get("state") == "dormant":
                env = opened[session]
                opens.append(("session/open", {"sessionId": session, **({} if env is None else {"env": env})}))
        wanted = self._heard.choice()
        for (_, params), (_, refusal) in zip(opens, await self._internal(link, opens)):
            if refusal is not None:
                log.warning(
                    "the session %s is not open any more, and what is queued in it waits for that: %s", params["sessionId"], refusal
                )
        await self._internal(link, [("subscribe", wanted)])

    async def _internal(self, link: Link, asked: List[Tuple[str, Dict[str, Any]]]) -> List[Tuple[Any, Optional[BaseException]]]:
        """The results of requests of this library's own; of each either that or its refusal."""
        requests: List[Request] = []
        ended = asyncio.ensure_future(link.ended(None))
        results: List[Tuple[Any, Optional[BaseException]]] = []
        try:
            # One by one: where one can't be said, those before it are dropped.
            for method, params in asked:
                requests.append(self._send(link, method, params))
            for request in requests:
                await asyncio.wait([request.answer, ended], return_when=asyncio.FIRST_COMPLETED)
                if not request.answer.done():
                    raise StartError("the sidecar ended while its sessions were opened again")
                refusal = request.answer.exception()
                results.append((None if refusal is not None else request.answer.result(), refusal))
        finally:
            ended.cancel()
            for request in requests:
                self._pending.drop(request)
        return results

    def _resume(self) -> None:
        """Goes on with the next sidecar."""
        assert self.hello is not None
        event = Event("client/restarted", {"resumed": self.hello.resumed, "instanceId": self.hello.instance_id})
        for stream in list(self.streams):
            stream.put(event)
        self._begin()
        if self._up:
            self._listener._restarted()

    def _give_up(self, error: TurnlaneError) -> None:
        if self.life is Life.OVER:
            return
        self.life = Life.OVER
        self._up = False
        self._failure = error
        for request in self._pending.clear():
            request.fail(error)
        self._listener._given_up(error)
        for stream in list(self.streams):
            stream.end(error)


def fresh_id() -> str:
    """An id for a run or a session."""
    return str(uuid.uuid4())
