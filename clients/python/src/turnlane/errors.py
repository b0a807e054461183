"""All exceptions: one for each kind of error that turnlane answers, and a few of this library's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from . import kinds
from ._error import TurnlaneError
from .kinds import *  # noqa: F403  (one class a kind, generated)

if TYPE_CHECKING:
    from .types import Completion

__all__ = [
    "BinaryNotFoundError",
    "ConnectionLostError",
    "NotRunningError",
    "ProtocolMismatchError",
    "RequestCancelledError",
    "RpcError",
    "RunFailedError",
    "StartError",
    "StoppedError",
    "TurnlaneError",
    "error_from_wire",
]
__all__ += [one.__name__ for one in kinds.KINDS.values()]


class RpcError(TurnlaneError):
    """An error of JSON-RPC's own, or of a kind that this version does not know."""


class RequestCancelledError(RpcError):
    """The request was given up (-32800): nothing was taken."""


class BinaryNotFoundError(TurnlaneError):
    """There is no program `turnlane`, or it can't be executed."""


class StartError(TurnlaneError):
    """The sidecar ended, or said something else than was to be expected, before it was ready."""


class ProtocolMismatchError(StartError):
    """The program speaks another version of the protocol than this library, or is not turnlane."""


class ConnectionLostError(TurnlaneError):
    """The sidecar ended while a request was under way that can't be repeated, or can't be started again."""


class StoppedError(ConnectionLostError):
    """Somebody told the sidecar to stop: `turnlane stop`, a `shutdown` for everyone, or a signal. It is not started again."""


class NotRunningError(TurnlaneError):
    """The client was not started, or is closed."""


class RunFailedError(TurnlaneError):
    """A run did not end well; raised by `Completion.raise_for_outcome` only."""

    def __init__(self, completion: Completion) -> None:
        super().__init__(f"the run {completion.run_id} is {completion.summary}")
        self.completion = completion
        """How it ended."""


def error_from_wire(raw: Mapping[str, Any]) -> TurnlaneError:
    """The exception for an error object of JSON-RPC."""
    data = raw.get("data")
    data = data if isinstance(data, Mapping) else {}
    kind = data.get("kind")
    code = raw.get("code")
    made = kinds.KINDS.get(str(kind), RequestCancelledError if code == -32800 else RpcError)
    return made(str(raw.get("message", "")), code=code, kind=kind, data=data)
