"""Whom the connection tells."""

from __future__ import annotations

from typing import Any, Dict

from .errors import TurnlaneError


class Listener:
    """What a core tells of: see `Turnlane`."""

    def _told(self, method: str, params: Dict[str, Any]) -> None:
        """A notification of a session that is heard of."""
        raise NotImplementedError

    def _chosen(self, session_ids: object, output: bool) -> None:
        """From now on no others may be heard of."""
        raise NotImplementedError

    def _owner_lost(self) -> None:
        """Whoever holds the store is another one than before."""
        raise NotImplementedError

    def _disconnected(self) -> None:
        """The sidecar is lost."""
        raise NotImplementedError

    def _restarted(self) -> None:
        """There is a sidecar again, and what had no answer has been said to it."""
        raise NotImplementedError

    def _given_up(self, error: TurnlaneError) -> None:
        """There will be none any more."""
        raise NotImplementedError
