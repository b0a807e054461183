"""What a message may take. Turnlane refuses more than that unread, so that its answer names no request: it is told before it is said."""

from __future__ import annotations

import math
import re
from itertools import accumulate
from typing import Mapping, Optional

from .errors import FrameTooLargeError, RpcError, TurnlaneError

UNREADABLE = -32700
STRING = re.compile(rb'"[^"]*"')
NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def unsendable(method: str, line: bytes, limits: Mapping[str, int]) -> Optional[TurnlaneError]:
    """Why a line is not to be said, if it is not."""
    size = limits.get("maxFrameBytes", math.inf)
    if len(line) > size:
        return FrameTooLargeError(
            f"`{method}` is longer than the {size} bytes of a message: send less, or start turnlane with a larger --max-frame"
        )
    levels, values = limits.get("jsonDepth", math.inf), limits.get("jsonValues", math.inf)
    # At most so many, whatever its strings hold: that is enough for nearly all.
    if _opened(line) <= levels and _values(line) <= values:
        return None
    marks = STRING.sub(b"", line.replace(rb"\\", b"").replace(rb"\"", b""))
    held = _values(marks)
    if held > values:
        return RpcError(f"`{method}` holds {held} values, more than the {values} of a message: send less at once", code=UNREADABLE)
    return too_deep(method, limits) if _depth(marks) > levels else None


def too_deep(method: str, limits: Mapping[str, int]) -> RpcError:
    """The error of what is nested deeper than turnlane, or Python, can read it."""
    levels = limits.get("jsonDepth")
    most = "a message may be" if levels is None else f"the {levels} levels of a message"
    return RpcError(f"`{method}` is nested deeper than {most}: send what is flatter", code=UNREADABLE)


def _opened(text: bytes) -> int:
    return text.count(b"[") + text.count(b"{")


def _values(text: bytes) -> int:
    """As turnlane counts them: each bracket that opens, and each comma."""
    return _opened(text) + text.count(b",")


def _depth(marks: bytes) -> int:
    brackets = marks.translate(None, NOT_BRACKETS)
    return max(accumulate(1 if bracket in b"[{" else -1 for bracket in brackets), default=0)
