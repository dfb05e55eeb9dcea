"""An application that changes the headers of what passes."""

from collections.abc import Mapping

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import FILTER_REQUEST, FILTER_RESPONSE, FilterRequest, FilterResponse

VIA = "1.1 antiphon"


class HeaderFilter:
    """Signs both messages, as a proxy must, and keeps the upstream's secrets."""

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listeners: after those that may answer, and after the cache has its copy."""
        dispatcher.add_listener(FILTER_REQUEST, self.sign_request)
        dispatcher.add_listener(FILTER_RESPONSE, self.sign_response)

    def figures(self) -> Mapping[str, int]:
        """Return nothing; there is nothing to count."""
        return {}

    async def sign_request(self, event: FilterRequest) -> None:
        """Tell the upstream who asks."""
        event.request.headers.add("via", VIA)

    async def sign_response(self, event: FilterResponse) -> None:
        """Tell the client who answers, and not what runs behind."""
        event.response.headers.add("via", VIA)
        event.response.headers.set("x-content-type-options", "nosniff")
        event.response.headers.remove("server")
