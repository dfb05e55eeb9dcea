"""An application that answers what it has seen before."""

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
    """A response, since when it is kept, and for how long."""

    response: Response
    since: float
    seconds: int


class Cache:
    """Keeps what the upstream allows to keep, for as long as it allows; the least used goes first.

    Args:
        capacity: How many responses to keep.
        clock: Tells the time in seconds.
    """

    def __init__(self, capacity: int = 128, clock: Callable[[], float] = anyio.current_time) -> None:
        self._capacity = capacity
        self._clock = clock
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self._hits = 0

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listeners: after the guard, and before the headers are changed."""
        dispatcher.add_listener(FILTER_REQUEST, self.answer, priority=-10)
        dispatcher.add_listener(FILTER_RESPONSE, self.keep, priority=-10)

    def figures(self) -> Mapping[str, int]:
        """Return how many requests the cache answered."""
        return {"cache hits": self._hits}

    async def answer(self, event: FilterRequest) -> None:
        """Answer a request if its answer is known; the upstream is then not asked."""
        request = event.transaction.request
        entry = self._entries.get(_key(request))

        if entry is None or not _may_share(request):
            return

        age = self._clock() - entry.since

        if age >= entry.seconds:
            del self._entries[_key(request)]
            return

        self._entries.move_to_end(_key(request))
        self._hits += 1
        event.transaction.marks.add("cached")
        event.response = entry.response.copy()
        event.response.headers.set("age", str(int(age)))
        event.stop_propagation()

    async def keep(self, event: FilterResponse) -> None:
        """Keep a copy of what came from the upstream, if it may be kept."""
        request = event.transaction.request
        seconds = _seconds_to_keep(event.response)

        if "cached" in event.transaction.marks or not seconds or not _may_share(request):
            return

        self._entries[_key(request)] = Entry(event.response.copy(), self._clock(), seconds)

        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)


def _key(request: Request) -> Key:
    return request.headers.get("host"), request.target


def _may_share(request: Request) -> bool:
    asks_anew = request.headers.tokens("cache-control") & {"no-cache", "no-store"}
    return request.method == "GET" and "authorization" not in request.headers and not asks_anew


def _seconds_to_keep(response: Response) -> int:
    directives = response.headers.tokens("cache-control")

    if response.status != HTTPStatus.OK or directives & {"no-store", "no-cache", "private"}:
        return 0

    if "vary" in response.headers or "set-cookie" in response.headers:
        return 0

    ages = (directive.removeprefix("max-age=") for directive in directives if directive.startswith("max-age="))
    return min((int(age) for age in ages if age.isdecimal()), default=0)
