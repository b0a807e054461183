"""Which sessions a connection hears of, and which of them are to be opened again."""

from __future__ import annotations

from typing import Dict, Iterable, List, Mapping, Optional, Union

from ._requests import Request


class Heard:
    """What the sidecar tells this connection of, by the requests that it has answered.

    Each counts from the place at which it was sent, since that is the order in which the sidecar does them; answers may come in another.
    What was refused never gets here.
    """

    def __init__(self) -> None:
        self._all = False
        self._output = True
        self._chosen_at = 0
        self._sessions: Dict[str, int] = {}
        self.opened: Dict[str, Optional[Mapping[str, str]]] = {}
        """What is to be opened again after a restart, with which variables."""

    def answered(self, request: Request) -> None:
        """A request was done."""
        params = request.params
        session = params.get("sessionId")
        chosen = params.get("sessions")
        if request.method == "subscribe" and request.place >= self._chosen_at and (chosen == "all" or isinstance(chosen, list)):
            self._all = chosen == "all"
            self._output = params.get("output") is not False
            later = {one: place for one, place in self._sessions.items() if place > request.place}
            self._sessions = {**({} if self._all else dict.fromkeys(chosen, request.place)), **later}
            self._chosen_at = request.place
        elif session is None:
            return
        elif request.method in ("prompt", "session/open"):
            if request.place >= self._chosen_at:
                self._sessions[session] = request.place
            self.opened.setdefault(session, None)
            if params.get("env") is not None:
                self.opened[session] = params["env"]
        elif request.method == "session/close":
            self.opened.pop(session, None)

    def after(self, requests: Iterable[Request]) -> Heard:
        """What will be heard of if all of these are done."""
        then = Heard()
        then._all, then._output, then._chosen_at, then._sessions = self._all, self._output, self._chosen_at, dict(self._sessions)
        for request in sorted(requests, key=lambda one: (one.place, one.number)):
            then.answered(request)
        return then

    def hears(self, session_id: str) -> bool:
        """Whether a session is heard of."""
        return self._all or session_id in self._sessions

    def tells_output(self, session_id: str) -> bool:
        """Whether a session's output is told."""
        return self._output and self.hears(session_id)

    def forget(self, session_id: str) -> None:
        """There is no such session any more."""
        self._sessions.pop(session_id, None)
        self.opened.pop(session_id, None)

    @property
    def sessions(self) -> List[str]:
        """Those that are heard of by name."""
        return sorted(self._sessions)

    def choice(self, *more: str) -> Dict[str, Union[str, List[str], bool]]:
        """The parameters that choose this, and some sessions more."""
        return {"sessions": "all" if self._all else sorted({*self._sessions, *more}), "output": self._output}
