"""A stream of what happens, for whoever wants to see more than one run."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Deque, Hashable, Optional

from ._error import TurnlaneError
from ._requests import seen
from ._wire import Event
from .errors import NotRunningError

if TYPE_CHECKING:
    from .client import Turnlane

__all__ = ["Event", "EventStream"]

# What a stream that nobody reads holds: so many durable events (the others are read again from the log), so many bytes of output.
HELD_EVENTS = 1024
HELD_OUTPUT_BYTES = 1 << 20
# Of other events it then holds the latest of each run or session.
HELD_STATES = 256


class EventStream:
    """Events from the moment at which it was made: `async for event in t.events()`.

    Durable events (`event.durable`) come each once and in order, however slow the reader is, also over a restart of the sidecar. Of states
    the latest come. Output, where it was asked for, is left out for a reader that is too slow. The stream ends when the client
    is closed or gives up; for a reader that had fallen behind by then it ends with a `NotRunningError` whose `data["cursor"]` says from where `replay` has
    the rest. Several may read one stream: each event goes to one of them.
    """

    def __init__(self, client: Turnlane, output: bool) -> None:
        self._client = client
        self._wants_output = output
        self._queue: OrderedDict[Hashable, Event] = OrderedDict()
        self._numbers = 0
        self._durable = 0
        self._output: Deque[int] = deque()
        self._output_bytes = 0
        self._wake = asyncio.Event()
        self._over = False
        self._why: Optional[TurnlaneError] = None
        # Behind: from this cursor on, durable events are read from the log, until the newest that has come is reached.
        self._after: Optional[str] = None
        self._newest: Optional[str] = None
        self._behind = False
        # The page of it that is being read: it is not given up with whoever waits for it.
        self._reading: Optional[asyncio.Future[None]] = None

    def put(self, event: Event) -> None:
        """Takes an event. It never waits."""
        if self._over or (event.method == "run/output" and not self._wants_output):
            return
        key: Hashable
        self._numbers += 1
        if event.method == "run/completed":
            # What it was before says nothing more.
            self._queue.pop(("run/changed", event.raw["runId"]), None)
        if event.durable:
            self._newest = event.raw["cursor"]
            if self._behind:
                return
            if self._durable >= HELD_EVENTS:
                self._behind = True
                return
            self._durable += 1
            key = self._numbers
        elif event.method == "run/output":
            key = self._numbers
            self._output.append(self._numbers)
            self._output_bytes += _size(event)
            while self._output_bytes > HELD_OUTPUT_BYTES:
                self._output_bytes -= _size(self._queue.pop(self._output.popleft()))
        elif len(self._queue) >= HELD_STATES:
            key = (event.method, event.raw.get("runId", event.raw.get("sessionId")))
            self._queue.pop(key, None)
        else:
            key = self._numbers
        self._queue[key] = event
        self._wake.set()

    def end(self, why: Optional[TurnlaneError]) -> None:
        """Nothing more will come."""
        self._over = True
        self._why = why
        self._wake.set()

    def close(self) -> None:
        """Ends the stream for whoever reads it."""
        self._queue.clear()
        self._behind = False
        self.end(None)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._queue:
                return self._next()
            if self._over:
                if self._behind and self._why is not None:
                    left = f"this reader was behind, and `replay` has what comes after {self._after}"
                    raise NotRunningError(f"{self._why}; {left}", data={"cursor": self._after}) from self._why
                raise StopAsyncIteration
            if self._reading is not None or (self._behind and self._after is not None):
                await self._page_read()
                continue
            self._wake.clear()
            await self._wake.wait()

    def _next(self) -> Event:
        _, event = self._queue.popitem(last=False)
        if event.durable:
            self._durable -= 1
            self._after = event.raw["cursor"]
        elif event.method == "run/output":
            self._output_bytes -= _size(event)
            self._output.popleft()
        return event

    async def _page_read(self) -> None:
        """Waits until a page of what was left out is read. Somebody else who waits for it does so too, and whoever is cancelled leaves it to the next."""
        if self._reading is None:
            assert self._after is not None
            self._reading = asyncio.ensure_future(self._catch_up(self._after))
            self._reading.add_done_callback(seen)
        reading = self._reading
        try:
            await asyncio.shield(reading)
        except TurnlaneError:
            # Of its end the stream says more itself.
            if not self._over:
                raise
        finally:
            if reading.done() and self._reading is reading:
                self._reading = None

    async def _catch_up(self, after: str) -> None:
        """Reads a page of what was left out."""
        page = await self._client.replay(after)
        self._wake.set()
        if not self._behind:
            return  # it was closed meanwhile
        caught_up = False
        for event in page.events:
            session: Any = event.raw.get("parent" if event.method == "deadLetter/added" else "sessionId")
            cursor = event.raw["cursor"]
            if self._client._core.hears(session):
                self._numbers += 1
                self._durable += 1
                self._queue[self._numbers] = event
            self._after = cursor
            if cursor == self._newest:
                caught_up = True
                break
        if caught_up or (not page.more and not page.events):
            self._behind = False

    async def until(self, method: str, **fields: Any) -> Event:
        """Waits for an event of this method with these fields (names as on the wire), and drops what comes before it.

        Raises `EOFError` if the stream ends first.
        """
        async for event in self:
            if event.method == method and all(event.raw.get(name) == value for name, value in fields.items()):
                return event
        raise EOFError(f"the stream ended before {method} came")


def _size(event: Event) -> int:
    return len(event.raw.get("text") or event.raw.get("base64") or "")
