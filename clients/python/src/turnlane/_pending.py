"""What was asked and has no answer yet."""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional

from ._limits import too_deep, unsendable
from ._link import Link
from ._listener import Listener
from ._requests import UNSENT, WAITING, Order, Request
from ._wire import encoded


class Pending:
    """The requests without an answer, in the order in which they were made: that is the order in which they are said."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._numbers = 0
        self._places = 0
        self._requests: Dict[int, Request] = {}
        self._choices: List[Request] = []
        self.order = Order()
        self.limits: Mapping[str, int] = {}
        """The sidecar's, as soon as they are known."""

    def __iter__(self) -> Iterator[Request]:
        """All of them; some may be answered, and others asked, meanwhile."""
        return iter([self._requests[number] for number in sorted(self._requests)])

    def __contains__(self, request: Request) -> bool:
        return request.number in self._requests

    def make(self, method: str, params: Mapping[str, Any], hook: Optional[Callable[[Any], None]] = None) -> Request:
        """A request that is to be said. Raises the error of what can't be."""
        self._numbers += 1
        try:
            request = Request(self._numbers, method, {name: encoded(value) for name, value in params.items()}, hook)
        except RecursionError:
            raise too_deep(method, self.limits) from None
        error = unsendable(method, request.line, self.limits)
        if error is not None:
            raise error
        self.keep(request)
        return request

    def keep(self, request: Request) -> None:
        """It has no answer yet, or again."""
        self._requests[request.number] = request

    def drop(self, request: Request) -> None:
        """Its answer is not waited for any more."""
        self._requests.pop(request.number, None)

    def answered(self, number: object) -> Optional[Request]:
        """Takes the request of this number, if there is one."""
        return self._requests.pop(number, None) if isinstance(number, int) else None

    def clear(self) -> List[Request]:
        """Takes all of them."""
        requests, self._requests = list(self), {}
        return requests

    def say(self, link: Link, request: Request) -> None:
        """Says it, for the first time or again."""
        link.write(request.line_again() if request.sent else request.line)
        request.sent = True
        self._places += 1
        request.place = self._places
        self.order.sent(request)
        if request.method == "subscribe":
            self._choices.append(request)
            self._listener._chosen(request.params.get("sessions"), request.params.get("output") is not False)

    def say_all(self, link: Link) -> None:
        """Says all of them to a sidecar that is new to them: what was asked before that one was there was held against no limits of its."""
        for request in self:
            error = unsendable(request.method, request.line, self.limits)
            if error is None:
                self.say(link, request)
            else:
                self.drop(request)
                request.fail(error)

    def unsay(self) -> None:
        """Nothing of it stands before whatever is said from now on."""
        for request in self:
            request.place = UNSENT

    def meant(self) -> Optional[Request]:
        """The request that an answer without a number is for, where there is only one that can be."""
        asked = [request for request in self if request.sent and request.method not in WAITING]
        return asked[0] if len(asked) == 1 else None

    def choices(self) -> List[Request]:
        """The choices of sessions among what was said."""
        self._choices = [one for one in self._choices if one in self]
        return self._choices
