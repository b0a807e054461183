"""A run: what an accepted prompt becomes."""

from __future__ import annotations

import asyncio
import base64
import codecs
import collections
import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Generator, List, Mapping, Optional, Tuple

from .types import CancelResult, Completion, PromptResult, RunRecord

if TYPE_CHECKING:
    from ._requests import Request
    from .client import Turnlane
    from .lease import Handler

__all__ = ["Chunk", "Run"]

# What is held of a run's output while nobody reads it. Beyond it the oldest is dropped.
HELD_BYTES = 1 << 20
# What is held of pieces that come while earlier ones are read again.
HELD_PIECES = 1024


@dataclass(frozen=True)
class Chunk:
    """A piece of a run's output."""

    offset: int
    """Where it begins, in bytes of the run's output, all streams together."""
    stream: str
    """`stdout` or `stderr`."""
    data: bytes
    """Its bytes."""
    missed: int = 0
    """How many bytes before it were left out, since a reader was too slow."""
    update: Optional[Mapping[str, Any]] = None
    """What the agent tells of its work, if this is that: the `update` of a `session/update` of the Agent Client Protocol."""
    size: int = -1
    """How many bytes of the run's output it is: those of its data, or of the JSON that an update was."""
    _text: Optional[str] = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < 0:
            object.__setattr__(self, "size", len(self.data))

    @property
    def text(self) -> str:
        """Its bytes as UTF-8, with U+FFFD for what is not. Of a character that two chunks share, the second has all."""
        if self._text is not None:
            return self._text
        return self.data.decode("utf-8", "replace")

    def __str__(self) -> str:
        return self.text


class Run:
    """A run that was prompted here. `async for chunk in run` reads its output, `await run` waits for its completion.

    Both may be done by several tasks; each chunk goes to one of them. A task that is cancelled stops waiting, and the run goes on: `cancel` ends it.
    """

    def __init__(self, client: Turnlane, run_id: str, session_id: str, on_permission: Optional[Handler]) -> None:
        self._client = client
        self.run_id = run_id
        """Its id."""
        self.session_id = session_id
        """Its session."""
        self.accepted: Optional[PromptResult] = None
        """What `prompt` was answered."""
        self.state = "queued"
        """Its state, as far as it has been told."""
        self.completion: Optional[Completion] = None
        """How it ended; `None` while it has not."""
        self.pending = False
        """Whether its prompt has no answer yet."""
        self.on_permission = on_permission
        """Who answers its questions, instead of the client's `on_permission`."""
        self.missed = 0
        """How many bytes were left out of what has been read, since that was too late: the sum of its chunks' `missed`."""
        self._decoders: Dict[str, codecs.IncrementalDecoder] = {}
        self._chunks: Deque[Chunk] = collections.deque()
        # Those that a reader of all of it had, and was given up.
        self._given_back: Deque[Chunk] = collections.deque()
        self._held = 0
        self._read_to = 0
        self._come_to = 0
        self._failure: Optional[Exception] = None
        self._changed = asyncio.Event()
        self._looking: Optional[asyncio.Task[None]] = None
        # Until all that it has said so far is here, what is told of it is kept for later: in its place it would hide what comes before it.
        self._catching_up = True
        self._looks = 0
        # Each with the stretch in which it came: between two stretches something may have been said that nobody told of.
        self._meanwhile: Deque[Tuple[int, Mapping[str, Any]]] = collections.deque(maxlen=HELD_PIECES)
        self._stretch = 0
        # Whether all that it says from a place on that has been reached is told, and whether its end was told so. Something that
        # waits for its end hears if whoever tells is lost.
        self._followed = False
        self._end_told = False
        self._watch: Optional[Request] = None
        self._lacking = False

    def __repr__(self) -> str:
        return f"<Run {self.run_id} in {self.session_id}: {self.completion.outcome if self.completion else self.state}>"

    @property
    def seq(self) -> int:
        """Its number in the order of acceptance."""
        return self.accepted.seq if self.accepted else 0

    @property
    def duplicate(self) -> bool:
        """Whether it had been accepted before."""
        return bool(self.accepted and self.accepted.duplicate)

    @property
    def steered(self) -> Optional[bool]:
        """With `if_busy="steer"`: whether its text went into the run under way."""
        return self.accepted.steered if self.accepted else None

    @property
    def ended(self) -> bool:
        """Whether it is known how it ended."""
        return self.completion is not None

    @property
    def complete(self) -> bool:
        """Whether all that it said came here, to its end: `False` while it has not ended, where bytes were missed, and where nobody can know.

        Not known is the end of a run that was `interrupted`, or that ended before its output could be followed from here: its completion's `text` has
        it then.
        """
        done = self.completion
        if done is None or done.outcome == "interrupted" or self._lacking or self._catching_up:
            return False
        return done.started_at is None or (self._followed and self._end_told)

    # What the client tells.

    def _output(self, raw: Mapping[str, Any]) -> None:
        if self._catching_up:
            self._meanwhile.append((self._stretch, raw))
        else:
            self._piece(raw)

    def _piece(self, raw: Mapping[str, Any]) -> None:
        offset = int(raw["offset"])
        if "update" in raw:
            self._update(offset, raw)
            return
        data = base64.b64decode(raw["base64"]) if "base64" in raw else str(raw.get("text", "")).encode("utf-8", "surrogatepass")
        if offset < self._come_to:
            data = data[self._come_to - offset :]  # the rest has come already
            offset = self._come_to
            if not data:
                return
        self._keep(Chunk(offset, str(raw.get("stream", "stdout")), data))

    def _update(self, offset: int, raw: Mapping[str, Any]) -> None:
        if offset >= self._come_to:
            size = int(raw.get("next", offset)) - offset
            self._keep(Chunk(offset, str(raw.get("stream", "stdout")), b"", update=raw["update"], size=size))

    def _keep(self, chunk: Chunk) -> None:
        if chunk.offset > self._come_to:
            self._lacking = True
        self._come_to = chunk.offset + chunk.size
        self._chunks.append(chunk)
        self._held += chunk.size
        while self._held > HELD_BYTES and len(self._chunks) > 1:
            self._held -= self._chunks.popleft().size
            self._lacking = True
        self._notify()

    def _state(self, state: str) -> None:
        self.state = state
        self._notify()

    def _ended(self, raw: Mapping[str, Any], told: bool = False) -> None:
        if told:
            self._end_told = self._client._core.watching(self._watch)
        if self.completion is None:
            self.completion = Completion.from_wire(raw)
            self.state = "ended"
            self._notify()
        if not self._looks and not self.pending:
            self._caught_up()  # nobody reads any more of it

    def _failed(self, error: Exception) -> None:
        if self.completion is None and self._failure is None:
            self._failure = error
            self._caught_up()

    def _notify(self) -> None:
        waking, self._changed = self._changed, asyncio.Event()
        waking.set()

    def _look(self) -> None:
        """Asks for its end, where nobody would tell of it."""
        if self.completion is None and self._looking is None:
            self._looking = asyncio.ensure_future(self._wait())

    async def _wait(self) -> None:
        try:
            answer = await self._client._core.ask("run/wait", {"runId": self.run_id})
            self._ended(answer["runs"][0])
        except Exception as error:
            self._failed(error)
        finally:
            self._looking = None
            if self.completion is None or not self._client._core.hears(self.session_id):
                self._client._forget(self)

    def _follow(self) -> None:
        """All that it says from here on is told, if nothing comes between."""
        core = self._client._core
        self._followed = core.tells_output(self.session_id) and core.watching(self._watch)

    def _unfollow(self) -> None:
        """It may say what nobody tells of."""
        self._stretch += 1
        if not (self._followed and self._end_told):
            self._followed = self._end_told = False

    def _fell_behind(self) -> None:
        """It may have said what nobody told of, and what can be read again."""
        self._unfollow()
        self._catching_up = True

    def _watch_it(self) -> None:
        """Waits for its end, where that tells of the loss of whoever holds the store."""
        core = self._client._core
        if not core.watching(self._watch):
            self._watch = core.watch(self.run_id)

    async def _catch_up(self) -> None:
        """Reads what it has said and has not come here."""
        while self._catching_up:
            params = {"runId": self.run_id, "from": self._come_to}
            await self._client._core.ask("run/output", params, functools.partial(self._page, self._stretch))

    def _page(self, stretch: int, raw: Mapping[str, Any]) -> None:
        # Read where the answer is read: what is told after it comes behind it.
        for chunk in raw["chunks"]:
            self._piece(chunk)
        if stretch != self._stretch:
            return  # what follows it may not have been told
        # What is told goes on from here: a run that talks faster than pages are read would never be caught up with.
        told = (int(piece["offset"]) for came_in, piece in self._meanwhile if came_in == stretch)
        goes_on = next(told, self._come_to + 1) <= self._come_to
        if goes_on or not raw["more"]:
            if raw.get("ended") is False and self._come_to >= raw.get("next", 0):
                self._follow()
            self._caught_up()

    def _caught_up(self) -> None:
        self._catching_up = False
        while self._meanwhile:
            _, piece = self._meanwhile.popleft()
            self._piece(piece)
        self._notify()

    # What the user asks.

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._failure is not None:
                raise self._failure
            await self._changed.wait()

    async def result(self) -> Completion:
        """Waits for its end. `await run` is the same.

        A run that failed is no exception: look at `ok`, or call `raise_for_outcome()` of what is returned. Raises `TurnlaneError` if its end can't be known:
        the client was closed, or gave up.
        """
        await self._until(lambda: self.completion is not None)
        assert self.completion is not None
        return self.completion

    def __await__(self) -> Generator[Any, None, Completion]:
        return self.result().__await__()

    def __aiter__(self) -> Run:
        return self

    async def __anext__(self) -> Chunk:
        if self._given_back:
            return self._given_back.popleft()
        await self._until(lambda: bool(self._chunks) or (self.completion is not None and not self._catching_up))
        if not self._chunks:
            rest = self._rest()
            if not rest:
                raise StopAsyncIteration
            return Chunk(self._read_to, "stdout", b"", _text=rest)
        chunk = self._chunks.popleft()
        self._held -= chunk.size
        missed = max(0, chunk.offset - self._read_to)
        self.missed += missed
        self._read_to = chunk.offset + chunk.size
        before = self._rest() if missed else ""
        decoder = self._decoders.setdefault(chunk.stream, codecs.getincrementaldecoder("utf-8")("replace"))
        return replace(chunk, missed=missed, _text=before + decoder.decode(chunk.data))

    def _rest(self) -> str:
        """What begins a character that does not go on."""
        return "".join(decoder.decode(b"", final=True) for decoder in self._decoders.values())

    async def read(self) -> str:
        """All output that is left, to its end, as far as it is kept: `missed` counts what is not. For what may be long, iterate."""
        chunks: List[Chunk] = []
        try:
            async for chunk in self:
                chunks.append(chunk)  # noqa: PERF401  (those that came before a cancel are given back)
        except BaseException:
            self._given_back.extendleft(reversed(chunks))
            raise
        return b"".join(chunk.data for chunk in chunks).decode("utf-8", "replace")

    async def reached(self, *states: str) -> str:
        """Waits until it is in one of these states, or ended. Returns the state."""
        await self._until(lambda: self.state in states or self.completion is not None)
        return self.state

    async def record(self) -> RunRecord:
        """Its record as turnlane has it now: `run/get`."""
        return await self._client.get_run(self.run_id)

    async def cancel(self) -> CancelResult:
        """Cancels this run."""
        return await self._client.cancel(run_id=self.run_id)

    async def input(
        self, text: Optional[str] = None, *, keys: Optional[List[str]] = None, cols: Optional[int] = None, rows: Optional[int] = None
    ) -> None:
        """Types into its terminal: `run/input`."""
        await self._client.run_input(self.run_id, text, keys=keys, cols=cols, rows=rows)


def parameters(**given: Any) -> Dict[str, Any]:
    """What was given, without `None`."""
    return {name: value for name, value in given.items() if value is not None}
