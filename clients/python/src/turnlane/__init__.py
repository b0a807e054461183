"""A client for turnlane, the sidecar that coordinates runs of coding agents.

    from turnlane import Turnlane

    async with Turnlane.spawn(default_agent="sh") as t:
        run = await t.prompt("demo", "make test")
        async for chunk in run:
            print(chunk.text, end="")
        done = await run

`turnlane.sync` has the same for code that waits. What turnlane answers is in `turnlane.types`, what it refuses in `turnlane.errors`.
"""

from . import errors, types
from ._version import __version__
from ._wire import UNSET, Unset
from .binary import find_binary
from .client import Turnlane
from .errors import (
    BinaryNotFoundError,
    ConnectionLostError,
    NotRunningError,
    ProtocolMismatchError,
    RunFailedError,
    StartError,
    StoppedError,
    TurnlaneError,
)
from .events import Event, EventStream
from .lease import Batch, Handler, Lease, Question
from .run import Chunk, Run
from .types import AgentDescription, Completion, HeartbeatPolicy, InboxPolicy, RunGroup, RunRecord, SessionRecord, WakePolicy

__all__ = [
    "UNSET",
    "AgentDescription",
    "Batch",
    "BinaryNotFoundError",
    "Chunk",
    "Completion",
    "ConnectionLostError",
    "Event",
    "EventStream",
    "Handler",
    "HeartbeatPolicy",
    "InboxPolicy",
    "Lease",
    "NotRunningError",
    "ProtocolMismatchError",
    "Question",
    "Run",
    "RunFailedError",
    "RunGroup",
    "RunRecord",
    "SessionRecord",
    "StartError",
    "StoppedError",
    "Turnlane",
    "TurnlaneError",
    "Unset",
    "WakePolicy",
    "__version__",
    "errors",
    "find_binary",
    "types",
]
