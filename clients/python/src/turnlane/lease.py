"""Taking completions from an inbox, and answering questions."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Iterator, List, Optional, Sequence, Set, Type, Union, overload

from .errors import DeliveryNotFoundError, TurnlaneError
from .types import AckResult, Completion, DrainResult, Permission, PermissionOption, ReleaseResult

if TYPE_CHECKING:
    from .client import Turnlane

__all__ = ["Batch", "Handler", "Lease", "Question"]

log = logging.getLogger("turnlane")


@dataclass(frozen=True)
class Question:
    """An agent asks for permission, and its run is parked until somebody answers."""

    run_id: str
    session_id: str
    permission: Permission

    @property
    def request_id(self) -> str:
        """What an answer names."""
        return self.permission.request_id

    @property
    def text(self) -> str:
        """What is asked, for a person."""
        return self.permission.question

    @property
    def options(self) -> List[PermissionOption]:
        """What can be chosen."""
        return self.permission.options


Handler = Callable[[Question], Union[Optional[str], Awaitable[Optional[str]]]]
"""Answers a question with the id of an option; `None` leaves it open, for somebody else."""


class Batch(Sequence[Completion]):
    """Completions that are held. Iterate over it, or index it."""

    def __init__(self, client: Turnlane, taken: DrainResult) -> None:
        self._client = client
        self.taken = taken
        """What `drain` answered."""
        self._lost = asyncio.Event()
        self._settled: Set[str] = set()

    @overload
    def __getitem__(self, index: int) -> Completion: ...

    @overload
    def __getitem__(self, index: slice) -> List[Completion]: ...

    def __getitem__(self, index: Union[int, slice]) -> Union[Completion, List[Completion]]:
        return self.taken.completions[index]

    def __len__(self) -> int:
        return len(self.taken.completions)

    def __iter__(self) -> Iterator[Completion]:
        return iter(self.taken.completions)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)}, {self.remaining} remaining, {self.leased} leased by others>"

    @property
    def lost(self) -> bool:
        """Whether the lease is known to be over: what is in it is offered to others again."""
        return self._lost.is_set()

    async def until_lost(self) -> None:
        """Waits until the lease is lost: for a body that would rather stop then."""
        await self._lost.wait()

    def _lose(self) -> None:
        if self.open_run_ids and not self.lost:
            self._lost.set()
            log.warning("the lease %s is over before its body is done", self.delivery_id)

    @property
    def delivery_id(self) -> Optional[str]:
        """What it is acknowledged by; `None` if nothing was taken."""
        return self.taken.delivery_id

    @property
    def remaining(self) -> int:
        """Completions that another drain could take now."""
        return self.taken.remaining

    @property
    def leased(self) -> int:
        """Completions that others hold."""
        return self.taken.leased

    @property
    def more(self) -> bool:
        """Whether it was cut short, since a line holds no more: drain again."""
        return self.taken.more

    @property
    def timed_out(self) -> bool:
        """Whether it waited, and the time was over first."""
        return bool(self.taken.timed_out)

    @property
    def open_run_ids(self) -> List[str]:
        """The runs that were neither acknowledged nor released one by one."""
        return [one.run_id for one in self.taken.completions if one.run_id not in self._settled]

    async def ack(self, *run_ids: str) -> AckResult:
        """Settles these now (all that are open, if none is named), and not only at the end."""
        chosen = list(run_ids) or self.open_run_ids
        if self.delivery_id is None or not chosen:
            return AckResult(gone=[], held=[], settled=[])
        answer = await self._client.ack(self.delivery_id, chosen)
        self._settled.update(chosen)
        return answer

    async def release(self, *run_ids: str) -> ReleaseResult:
        """Gives these back (all that are open, if none is named): they are offered again at once."""
        chosen = list(run_ids) or self.open_run_ids
        if self.delivery_id is None or not chosen:
            return ReleaseResult(released=[])
        answer = await self._client.release(self.delivery_id, chosen)
        self._settled.update(chosen)
        return answer


class Lease:
    """Completions for the length of a body: `async with t.drain("parent") as batch`.

    They are acknowledged when the body is done and given back when it raises; meanwhile the lease is extended. If it is lost nevertheless (the sidecar was
    killed, or the client was closed), `batch.lost` says so, and others may get the same completions: know them by their `run_id`.
    """

    def __init__(self, client: Turnlane, params: Dict[str, Any]) -> None:
        self._client = client
        self._params = params
        self._batch: Optional[Batch] = None
        self._extending: Optional[asyncio.Task[None]] = None
        self._left = False

    async def __aenter__(self) -> Batch:
        taken = DrainResult.from_wire(await self._client._core.ask("drain", self._params))
        batch = self._batch = Batch(self._client, taken)
        if taken.expires_at is None:
            batch._settled.update(batch.open_run_ids)  # nothing, or settled at once
        else:
            self._client._batches.add(batch)
            self._extending = asyncio.ensure_future(self._extend(batch))
        return batch

    async def _extend(self, batch: Batch) -> None:
        hello = self._client.hello
        lease_ms = self._params.get("leaseMs") or hello.limits.get("leaseMs", 30_000)
        assert batch.delivery_id is not None
        while True:
            await asyncio.sleep(lease_ms / 3000)
            if batch.lost or not batch.open_run_ids:
                return
            try:
                await self._client.extend(batch.delivery_id, lease_ms)
            except DeliveryNotFoundError:
                batch._lose()
            except TurnlaneError as error:
                # Whether it is lost by that, the next time shows.
                log.warning("the lease %s could not be extended: %s", batch.delivery_id, error)

    def abandon(self) -> None:
        """Gives back what was taken where nobody will come to leave; what is left already stays as it is."""
        self._client._background(self._abandoned())

    async def _abandoned(self) -> None:
        if self._batch is not None and not self._left and not self._batch.lost:
            error = asyncio.CancelledError()
            await self.__aexit__(type(error), error, None)

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        batch = self._batch
        assert batch is not None
        self._left = True
        self._client._batches.discard(batch)
        if self._extending is not None:
            self._extending.cancel()
        if kind is None:
            held = (await batch.ack()).held
            if held:
                log.warning(
                    "the lease %s was over before its body was done, and others have by now: %s", batch.delivery_id, ", ".join(held)
                )
            return
        try:
            await batch.release()
        except TurnlaneError as refused:
            # The body's own exception is the one to be seen; the lease ends by itself.
            log.warning("the lease %s could not be released: %s", batch.delivery_id, refused)
