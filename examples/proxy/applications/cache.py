"""An application that answers requests from a cache."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import anyio

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import FILTER_REQUEST, FILTER_RESPONSE, FilterRequest, FilterResponse
from examples.proxy.messages import Request, Response

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached response, the time at which it was stored, and its lifetime."""

    response: Response
    stored_at: float
    seconds: int


class Cache:
    """Stores the responses that the upstream allows to be stored. Removes the least recently used response first.

    Args:
        capacity: The maximum number of responses.
        clock: Returns the time in seconds.
    """

    def __init__(self, capacity: int = 128, clock: Callable[[], float] = anyio.current_time) -> None:
        self._capacity = capacity
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._hits = 0

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listeners. They run after the guard, and before the headers are changed."""
        dispatcher.add_listener(FILTER_REQUEST, self.answer, priority=-10)
        dispatcher.add_listener(FILTER_RESPONSE, self.store, priority=-10)

    def figures(self) -> Mapping[str, int]:
        """Return the number of requests that the cache answered."""
        return {"cache hits": self._hits}

    async def answer(self, event: FilterRequest) -> None:
        """Answer a request from the cache, if possible. The request is then not sent to the upstream."""
        request = event.transaction.request
        entry = self._entries.get(_make_key(request))

        if entry is None or not _is_shareable(request):
            return

        age = self._clock() - entry.stored_at

        if age >= entry.seconds:
            del self._entries[_make_key(request)]
            return

        self._entries.move_to_end(_make_key(request))
        self._hits += 1
        event.transaction.marks.add("cached")
        event.response = entry.response.copy()
        event.response.headers.set("age", str(int(age)))
        event.stop_propagation()

    async def store(self, event: FilterResponse) -> None:
        """Store a copy of the response, if that is allowed."""
        request = event.transaction.request
        seconds = _get_lifetime(event.response)

        if "cached" in event.transaction.marks or not seconds or not _is_shareable(request):
            return

        self._entries[_make_key(request)] = Entry(event.response.copy(), self._clock(), seconds)

        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)


def _make_key(request: Request) -> Key:
    return request.headers.get("host"), request.target


def _is_shareable(request: Request) -> bool:
    bypasses_cache = request.headers.tokens("cache-control") & {"no-cache", "no-store"}
    return request.method == "GET" and "authorization" not in request.headers and not bypasses_cache


def _get_lifetime(response: Response) -> int:
    directives = response.headers.tokens("cache-control")

    if response.status != HTTPStatus.OK or directives & {"no-store", "no-cache", "private"}:
        return 0

    if "vary" in response.headers or "set-cookie" in response.headers:
        return 0

    ages = (directive.removeprefix("max-age=") for directive in directives if directive.startswith("max-age="))
    return min((int(age) for age in ages if age.isdecimal()), default=0)
