"""What a sidecar says first."""

from __future__ import annotations

import asyncio
from typing import Any

from .errors import ProtocolMismatchError, TurnlaneError
from .types import InitializeResult

PROTOCOL = 1


def greeting(program: str, answer: asyncio.Future[Any]) -> InitializeResult:
    """The answer to `initialize`. Raises `ProtocolMismatchError` for another version of the protocol, or what the sidecar refuses."""
    try:
        raw = answer.result()
    except TurnlaneError as error:
        if error.data.get("field") == "protocolVersion":
            raise ProtocolMismatchError(
                f"{program} does not speak version {PROTOCOL} of the protocol, which this library needs: {error.message}. "
                "Install a turnlane and a turnlane package that go together"
            ) from error
        raise
    spoken = raw.get("protocolVersion")
    if spoken != PROTOCOL or raw.get("serverInfo", {}).get("name") != "turnlane":
        raise ProtocolMismatchError(f"{program} speaks version {spoken} of the protocol; this library needs version {PROTOCOL}")
    return InitializeResult.from_wire(raw)
