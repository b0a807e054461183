"""What a sidecar says first."""

from __future__ import annotations

import asyncio
from typing import Any

from ._link import Link
from .errors import ProtocolMismatchError, StartError, TurnlaneError
from .types import InitializeResult

PROTOCOL = 1
START_S = 30.0


async def greeting(program: str, link: Link, answer: asyncio.Future[Any]) -> InitializeResult:
    """Waits for the answer to `initialize`.

    Raises `StartError` if there is none, `ProtocolMismatchError` for another version of the protocol, or what the sidecar refuses.
    """
    ended = asyncio.ensure_future(link.ended(None))
    try:
        await asyncio.wait([answer, link.foreign, ended], timeout=START_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
    if link.foreign.done():
        said = link.foreign.result()
        raise ProtocolMismatchError(f"{program} is not turnlane, or a wrapper that writes to its standard output: it said {said!r}")
    if not answer.done():
        if not link.exited.done() and not ended.done():
            raise StartError(f"{program} did not answer within {START_S:.0f} s")
        status = await link.status()
        said = link.last_words
        raise StartError(f"{program} ended before it was ready (status {status})" + (f": {said}" if said else ""))
    return _read(program, answer)


def _read(program: str, answer: asyncio.Future[Any]) -> InitializeResult:
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
