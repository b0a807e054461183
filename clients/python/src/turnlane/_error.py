"""The base of all exceptions."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional


class TurnlaneError(Exception):
    """What turnlane, or this library, refuses or can't do. Decide by the class (or `kind`), show `message`."""

    def __init__(
        self, message: str, *, code: Optional[int] = None, kind: Optional[str] = None, data: Optional[Mapping[str, Any]] = None
    ) -> None:
        super().__init__(message)
        self.message = message
        """What happened and what to do, for a person."""
        self.code = code
        """JSON-RPC's code; `None` if the error is this library's own."""
        self.kind = kind
        """The stable word for it; `None` for JSON-RPC's own errors and for this library's."""
        self.data: Dict[str, Any] = dict(data or {})
        """Which field, id or limit is meant."""
