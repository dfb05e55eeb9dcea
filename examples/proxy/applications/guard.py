"""An application that refuses requests before other applications process them."""

from collections.abc import Mapping
from http import HTTPStatus

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import FILTER_REQUEST, FilterRequest
from examples.proxy.messages import Response


class Guard:
    """Refuses requests for private resources."""

    def __init__(self, prefix: str = "/private") -> None:
        self._prefix = prefix
        self._refusals = 0

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listener. It runs before the cache, which would answer any client."""
        dispatcher.add_listener(FILTER_REQUEST, self.refuse, priority=-20)

    def figures(self) -> Mapping[str, int]:
        """Return the number of refused requests."""
        return {"refusals": self._refusals}

    async def refuse(self, event: FilterRequest) -> None:
        """Refuse a request for a private resource, and stop the event."""
        if f"{event.request.path}/".startswith(f"{self._prefix}/"):
            self._refusals += 1
            event.transaction.marks.add("refused")
            event.response = Response.text(HTTPStatus.FORBIDDEN, "this is private")
            event.stop_propagation()
