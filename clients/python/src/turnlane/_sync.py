"""What the synchronous face stands on: a thread with an event loop, and handles that wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Generic,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
)

from . import client as asynchronous
from . import events, lease, run
from ._wire import Event
from .errors import NotRunningError
from .lease import Handler
from .types import (
    AckResult,
    CancelResult,
    Completion,
    DrainResult,
    PromptResult,
    ReleaseResult,
    RunRecord,
    ShutdownMode,
)

T = TypeVar("T")
B = TypeVar("B", bound="TurnlaneBase")

# How long what is left may take when the thread is to end.
REST_S = 1.0
# How long a thread that is interrupted may take to see it, at worst.
SIGNAL_S = 1.0


class Portal:
    """A thread with an event loop, and the way into it."""

    def __init__(self) -> None:
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._thread: Optional[threading.Thread] = None
        # What was handed to the loop is in it before its end is.
        self._door = threading.Lock()

    def open(self) -> None:
        """Starts the thread."""
        loop = asyncio.new_event_loop()

        def work() -> None:
            asyncio.set_event_loop(loop)
            loop.run_forever()

        self._loop = loop
        self._thread = threading.Thread(target=work, name="turnlane", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, once all that other threads wait for there has been told to them."""
        with self._door:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(_rest(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def wait(self, work: Awaitable[T], give_up: bool = True) -> T:
        """Waits for what the loop does. If this thread is interrupted (Ctrl-C), wherever that finds it, the wait is given up there too, if it may be."""
        waiting = Waiting(work)
        try:
            with self._door:
                if self._loop is None:
                    waiting.give_up()
                    raise NotRunningError("the client is not running: use it inside of `with`")
                self._loop.call_soon_threadsafe(waiting.begin)
            while not waiting.answer.done():
                # A signal that comes just before the thread waits is seen when it wakes.
                concurrent.futures.wait([waiting.answer], timeout=SIGNAL_S)
            return waiting.answer.result()
        except concurrent.futures.CancelledError:
            raise NotRunningError("the client was closed meanwhile") from None
        except BaseException:
            if give_up and not waiting.answer.done():
                self.post(waiting.give_up)
            raise

    def post(self, work: Callable[[], None]) -> None:
        """Lets the loop's thread call a function, if there is one. It takes no lock: it may be called wherever a thread is interrupted."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(work)

    def call(self, work: Callable[[], T]) -> T:
        """What a function of the loop's thread returns."""

        async def done() -> T:
            return work()

        return self.wait(done())

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items of an asynchronous iterator."""
        while True:
            try:
                item = self.wait(items.__anext__())
            except StopAsyncIteration:
                return
            yield item


class Waiting(Generic[T]):
    """What a thread waits for. All but its making is done in the loop's thread, since the other one may be interrupted anywhere."""

    def __init__(self, work: Awaitable[T]) -> None:
        self._work = work
        self._task: Optional[asyncio.Task[T]] = None
        self.answer: concurrent.futures.Future[T] = concurrent.futures.Future()

    def begin(self) -> None:
        """Does it."""
        self._task = asyncio.ensure_future(self._done())
        self._task.add_done_callback(self._tell)

    async def _done(self) -> T:
        return await self._work

    def _tell(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self._close()
            self.answer.cancel()
            return
        error = task.exception()
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())

    def give_up(self) -> None:
        """Ends it, also where it was not handed over."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._close()

    def _close(self) -> None:
        # What was not begun is not to be complained of.
        if asyncio.iscoroutine(self._work):
            self._work.close()


async def _within(run: run.Run, timeout: Optional[float]) -> Completion:
    return await asyncio.wait_for(run.result(), timeout)


async def _rest() -> None:
    """Waits until nothing is left to be done. What the client's end did not end (a callback that still runs) is given up."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if rest:
        _, rest = await asyncio.wait(rest, timeout=REST_S)
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=REST_S)


class Run:
    """A run that was prompted here: `for chunk in run` reads its output, `run.result()` waits for its completion."""

    def __init__(self, portal: Portal, run: run.Run) -> None:
        self._portal = portal
        self._run = run

    def __repr__(self) -> str:
        return repr(self._run)

    @property
    def run_id(self) -> str:
        """Its id."""
        return self._run.run_id

    @property
    def session_id(self) -> str:
        """Its session."""
        return self._run.session_id

    @property
    def state(self) -> str:
        """Its state, as far as it has been told."""
        return self._run.state

    @property
    def accepted(self) -> Optional[PromptResult]:
        """What `prompt` was answered."""
        return self._run.accepted

    @property
    def duplicate(self) -> bool:
        """Whether it had been accepted before."""
        return self._run.duplicate

    @property
    def steered(self) -> Optional[bool]:
        """With `if_busy="steer"`: whether its text went into the run under way."""
        return self._run.steered

    @property
    def completion(self) -> Optional[Completion]:
        """How it ended; `None` while it has not."""
        return self._run.completion

    @property
    def missed(self) -> int:
        """How many bytes were left out of what has been read, since that was too late: the sum of its chunks' `missed`."""
        return self._run.missed

    @property
    def complete(self) -> bool:
        """Whether all that it said came here, to its end: `False` while it has not ended, where bytes were missed, and where nobody can know."""
        return self._run.complete

    def result(self, timeout: Optional[float] = None) -> Completion:
        """Waits for its end, at most so many seconds: then `TimeoutError`, and the run goes on."""
        if self._run.completion is not None:
            return self._run.completion
        try:
            return self._portal.wait(_within(self._run, timeout))
        except asyncio.TimeoutError:
            raise TimeoutError(f"the run {self.run_id} has not ended within {timeout} s") from None

    def __iter__(self) -> Iterator[run.Chunk]:
        return self._portal.iterate(self._run)

    def read(self) -> str:
        """All output that is left, to its end."""
        return self._portal.wait(self._run.read())

    def reached(self, *states: str) -> str:
        """Waits until it is in one of these states, or ended. Returns the state."""
        return self._portal.wait(self._run.reached(*states))

    def record(self) -> RunRecord:
        """Its record as turnlane has it now."""
        return self._portal.wait(self._run.record())

    def cancel(self) -> CancelResult:
        """Cancels this run."""
        return self._portal.wait(self._run.cancel())

    def input(
        self, text: Optional[str] = None, *, keys: Optional[List[str]] = None, cols: Optional[int] = None, rows: Optional[int] = None
    ) -> None:
        """Types into its terminal."""
        self._portal.wait(self._run.input(text, keys=keys, cols=cols, rows=rows))


class Batch:
    """Completions that are held. Iterate over it, or index it."""

    def __init__(self, portal: Portal, batch: lease.Batch) -> None:
        self._portal = portal
        self._batch = batch

    def __repr__(self) -> str:
        return repr(self._batch)

    def __iter__(self) -> Iterator[Completion]:
        return iter(self._batch)

    def __len__(self) -> int:
        return len(self._batch)

    def __getitem__(self, index: int) -> Completion:
        return self._batch[index]

    @property
    def taken(self) -> DrainResult:
        """What `drain` answered: `remaining`, `leased`, `more`, `timed_out`, `delivery_id`."""
        return self._batch.taken

    @property
    def lost(self) -> bool:
        """Whether the lease is known to be over: what is in it is offered to others again."""
        return self._batch.lost

    def ack(self, *run_ids: str) -> AckResult:
        """Settles these now (all that are open, if none is named)."""
        return self._portal.wait(self._batch.ack(*run_ids))

    def release(self, *run_ids: str) -> ReleaseResult:
        """Gives these back (all that are open, if none is named)."""
        return self._portal.wait(self._batch.release(*run_ids))


class Lease:
    """Completions for the length of a body: `with t.drain("parent") as batch`."""

    def __init__(self, portal: Portal, lease: lease.Lease) -> None:
        self._portal = portal
        self._lease = lease
        # Whoever is interrupted before the body has begun has nothing to leave: what was taken by then is given back with this object.
        self._left = weakref.finalize(self, portal.post, lease.abandon)
        self._left.atexit = False

    def __enter__(self) -> Batch:
        try:
            return Batch(self._portal, self._portal.wait(self._lease.__aenter__()))
        except BaseException:
            self._portal.post(self._lease.abandon)
            raise

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        # The body is over, and what follows from that is done, whether or not somebody waits for it.
        self._portal.wait(self._lease.__aexit__(kind, error, trace), give_up=False)
        self._left.detach()


class EventStream:
    """Events from the moment at which it was made: `for event in t.events()`."""

    def __init__(self, portal: Portal, stream: events.EventStream) -> None:
        self._portal = portal
        self._stream = stream

    def __iter__(self) -> Iterator[Event]:
        return self._portal.iterate(self._stream)

    def until(self, method: str, **fields: Any) -> Event:
        """Waits for an event of this method with these fields, and drops what comes before it."""
        return self._portal.wait(self._stream.until(method, **fields))

    def close(self) -> None:
        """Ends the stream for whoever reads it."""
        self._portal.call(self._stream.close)


class TurnlaneBase:
    """What the generated methods stand on."""

    def __init__(self, client: Callable[[], asynchronous.Turnlane]) -> None:
        self._portal = Portal()
        self._made = client
        self._started: Optional[asynchronous.Turnlane] = None
        self._start = threading.Lock()

    @classmethod
    def spawn(
        cls: Type[B],
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
    ) -> B:
        """A client with a sidecar of its own, to be entered with `with`. The options are those of `turnlane.Turnlane.spawn`.

        `on_permission` is called in the client's thread: it must not call the client, only answer.
        """
        return cls(
            lambda: asynchronous.Turnlane.spawn(
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
        )

    @property
    def _client(self) -> asynchronous.Turnlane:
        if self._started is None:
            raise NotRunningError("the client was not started: use it inside of `with`")
        return self._started

    def start(self: B) -> B:
        """Starts the sidecar and greets it. One that runs is left as it is; a client that was closed, or has given up, begins anew."""
        with self._start:
            if self._started is not None:
                self._portal.wait(self._started.start())
                return self
            self._portal.open()
            try:
                self._started = self._portal.call(self._made)
                self._portal.wait(self._started.start())
            except BaseException:
                self._started = None
                self._portal.close()
                raise
        return self

    def close(self, timeout: Optional[float] = None) -> None:
        """Leaves. Waits for what that does."""
        if self._started is not None:
            try:
                self._portal.wait(self._started.close(timeout))
            finally:
                self._started = None
                self._portal.close()

    def __enter__(self: B) -> B:
        return self.start()

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()
