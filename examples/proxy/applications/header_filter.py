"""An application that changes the headers of requests and responses."""

from collections.abc import Mapping

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import FILTER_REQUEST, FILTER_RESPONSE, FilterRequest, FilterResponse

VIA = "1.1 antiphon"


class HeaderFilter:
    """Adds the ``via`` header to both messages, as a proxy must, and hides the server of the upstream."""

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listeners. They run after the guard and the cache."""
        dispatcher.add_listener(FILTER_REQUEST, self.sign_request)
        dispatcher.add_listener(FILTER_RESPONSE, self.sign_response)

    def figures(self) -> Mapping[str, int]:
        """Return no counts."""
        return {}

    async def sign_request(self, event: FilterRequest) -> None:
        """Add the ``via`` header for the upstream."""
        event.request.headers.add("via", VIA)

    async def sign_response(self, event: FilterResponse) -> None:
        """Add headers for the client, and remove the name of the upstream server."""
        event.response.headers.add("via", VIA)
        event.response.headers.set("x-content-type-options", "nosniff")
        event.response.headers.remove("server")
