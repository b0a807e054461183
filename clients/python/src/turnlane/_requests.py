"""Requests without an answer, and which of them may be said again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Callable, Dict, Mapping, Optional, Set

from .errors import ConnectionLostError

# Requests that may wait, and by which parameter they say how long.
WAITING: Mapping[str, str] = {"run/wait": "timeoutMs", "session/wait": "timeoutMs", "drain": "waitMs"}
# What makes runs, so that a cancel said later than it would cover them.
MAKING: Set[str] = {"prompt", "wake", "session/open"}
# The place of what was not sent.
UNSENT = sys.maxsize


def line_of(message: Mapping[str, Any]) -> bytes:
    """A message as a line. Raises `TypeError` or `ValueError` for what JSON, or UTF-8, can't hold."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8") + b"\n"


class Request:
    """A request that has no answer yet."""

    def __init__(self, number: int, method: str, params: Dict[str, Any], hook: Optional[Callable[[Any], None]]) -> None:
        self.number = number
        self.method = method
        self.params = params
        self.hook = hook
        self.sent = False
        # Where it stands among all that was said to the sidecar; what was not said yet comes last.
        self.place = UNSENT
        self.repeats = 0
        self.began = time.monotonic()
        # Made here, so that what can't be said is an error of whoever wants to say it.
        self.line = line_of({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for its answer any more."""
        return self.answer.cancelled()

    def line_again(self) -> bytes:
        """It as it is said again: with the time that is left to it."""
        limit = WAITING.get(self.method)
        if limit is None or self.params.get(limit) is None:
            return self.line
        gone = int((time.monotonic() - self.began) * 1000)
        params = {**self.params, limit: max(0, self.params[limit] - gone)}
        return line_of({"jsonrpc": "2.0", "id": self.number, "method": self.method, "params": params})

    def fail(self, error: Exception) -> None:
        """Answers it with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Order:
    """What was asked about each session last: a cancel that is said again must not cover what came after it."""

    def __init__(self) -> None:
        self._sent: Dict[str, int] = {}
        self._answered: Dict[str, int] = {}

    def sent(self, request: Request) -> None:
        if request.method in MAKING:
            self._note(self._sent, request)

    def answered(self, request: Request) -> None:
        if request.method in MAKING:
            self._note(self._answered, request)

    @staticmethod
    def _note(book: Dict[str, int], request: Request) -> None:
        session = request.params.get("sessionId", "")
        book[session] = max(book.get(session, 0), request.number)

    def repeatable(self, request: Request, owner_lost: bool) -> bool:
        """Whether saying it again can do nothing twice, nor what it would not have done the first time.

        After a restart all that has no answer is said again in its order. After `ownerLost` what was said later may have been done already.
        """
        params = request.params
        if request.method == "drain":
            return params.get("ack") != "auto"
        if request.method in ("deadLetter/retry", "deadLetter/purge"):
            return "all" in params
        if (request.method == "cancel" and "sessionId" in params) or request.method == "session/close":
            if params.get("purge"):
                return False
            later = self._sent if owner_lost else self._answered
            return later.get(params["sessionId"], 0) < request.number
        if request.method in ("prompt", "wake"):
            return params.get("runId") is not None
        return request.method not in ("run/input", "shutdown")


def doubtful(method: str, how: str) -> ConnectionLostError:
    """The error of a request that must not be said again."""
    return ConnectionLostError(
        f"the sidecar {how} before it answered `{method}`. Whether that was done is not known, and doing it again could do it twice: "
        "look first, then decide"
    )


def seen(answer: asyncio.Future[Any]) -> None:
    """Looks at an answer for which nobody may wait: asyncio complains of an error that nobody has looked at."""
    if not answer.cancelled():
        answer.exception()
