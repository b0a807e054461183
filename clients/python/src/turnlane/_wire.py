"""Between JSON and the generated classes."""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple, Type, TypeVar

if TYPE_CHECKING:
    from .types import Completion

__all__ = ["UNSET", "CompletionMethods", "Event", "Unset", "Wire", "register"]

T = TypeVar("T", bound="Wire")
Shape = Tuple[Tuple[str, str, Any], ...]

_shapes: Dict[type, Shape] = {}
_notifications: Dict[str, type] = {}


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET
"""A parameter that was not given, where `None` says something else."""


def register(shapes: Mapping[type, Shape], notifications: Mapping[str, type]) -> None:
    """Makes the generated table known."""
    _shapes.update(shapes)
    _notifications.update(notifications)


class Wire:
    """What can be read from JSON and written as JSON."""

    @classmethod
    def from_wire(cls: Type[T], raw: Mapping[str, Any]) -> T:
        """Reads an object; fields that this version does not know are passed over."""
        made: Dict[str, Any] = {}
        for wire, field, decoder in _shapes[cls]:
            if wire in raw:
                made[field] = _decoded(decoder, raw[wire])
        return cls(**made)

    def to_wire(self) -> Dict[str, Any]:
        """The object as JSON has it, without what is `None`."""
        made: Dict[str, Any] = {}
        for wire, field, _ in _shapes[type(self)]:
            value = getattr(self, field)
            if value is not None:
                made[wire] = encoded(value)
        return made


def _decoded(decoder: Any, value: Any) -> Any:
    if decoder is None or value is None:
        return value
    if isinstance(decoder, list):
        return [_decoded(decoder[0], item) for item in value]
    return decoder.from_wire(value)


def encoded(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Wire):
        return value.to_wire()
    if isinstance(value, (list, tuple)):
        return [encoded(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encoded(item) for key, item in value.items()}
    return value


class Event(Wire):
    """Something that happened: a notification of turnlane's, or `client/restarted`.

    `client/restarted` is told by this library after a sidecar that had died was started again. Its `resumed` says whether all
    durable events that came meanwhile follow; if not, ask `list_runs` for what is missing.
    """

    def __init__(self, method: str, raw: Mapping[str, Any]) -> None:
        self.method = method
        """The notification's method, such as `run/completed`."""
        self.raw = raw
        """Its content as JSON has it."""

    @functools.cached_property
    def params(self) -> Any:
        """Its content: a `Completion` for `run/completed`, and so on (`turnlane.types.NOTIFICATIONS`); `raw` if this version has no class."""
        known: Any = _notifications.get(self.method)
        return known.from_wire(self.raw) if known is not None else self.raw

    @property
    def completion(self) -> Completion:
        """The completion that it tells of.

        Raises `TypeError` if it is no `run/completed`.
        """
        if self.method != "run/completed":
            raise TypeError(f"{self.method} tells of no completion")
        made: Completion = self.params
        return made

    @property
    def durable(self) -> bool:
        """Whether it is in the store's log of events, and so comes exactly once and in order."""
        return "cursor" in self.raw

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Event:
        """Reads an event as `events/replay` tells it."""
        return cls(raw["method"], raw["params"])

    def to_wire(self) -> Dict[str, Any]:
        """The event as `events/replay` tells it."""
        return {"method": self.method, "params": dict(self.raw)}

    def __repr__(self) -> str:
        return f"Event({self.method!r}, {self.raw!r})"


class CompletionMethods(Wire):
    """What can be asked of a completion."""

    if TYPE_CHECKING:

        @property
        def _self(self) -> Completion: ...

    else:

        @property
        def _self(self):
            return self

    @property
    def ok(self) -> bool:
        """Whether it is `completed`, and by an exit code of 0 where there is one."""
        return self._self.outcome == "completed" and not self._self.exit_code

    @property
    def exit_status(self) -> int:
        """The status with which `turnlane run` would exit.

        130 for `cancelled`, 124 for `timedOut`; else the command's own exit code; else 0 for `completed`, 1 for `failed`, and 125 for
        what has none.
        """
        done = self._self
        if done.outcome == "cancelled":
            return 130
        if done.outcome == "timedOut":
            return 124
        if done.exit_code is not None:
            return done.exit_code
        return {"completed": 0, "failed": 1}.get(done.outcome, 125)

    @property
    def summary(self) -> str:
        """How it ended, in a few words for people."""
        done = self._self
        said: str = done.outcome
        if done.reason is not None:
            said += f" ({done.reason})"
        if done.error is not None:
            said += f": {done.error.message}"
        elif done.exit_code is not None:
            said += f", exit {done.exit_code}"
        return said

    def raise_for_outcome(self) -> None:
        """Raises `RunFailedError` unless the run is `ok`."""
        if not self.ok:
            from .errors import RunFailedError

            raise RunFailedError(self._self)
