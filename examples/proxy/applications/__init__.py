"""The applications of the proxy: each knows its own matter and the events, and none knows another."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from antiphon import AsyncEventDispatcher
from examples.proxy.applications.access_log import AccessLog
from examples.proxy.applications.auditor import Auditor
from examples.proxy.applications.cache import Cache
from examples.proxy.applications.guard import Guard
from examples.proxy.applications.header_filter import HeaderFilter
from examples.proxy.applications.storage import Storage


class Application(Protocol):
    """What listens to the proxy."""

    def register(self, dispatcher: AsyncEventDispatcher) -> None:
        """Add the application's listeners."""

    def figures(self) -> Mapping[str, int]:
        """Return what the application counted, by the words that the report shows."""
        ...


@runtime_checkable
class LivingApplication(Application, Protocol):
    """What also has work of its own, for as long as the proxy serves."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Do it for the length of the block, and see it to its end."""
        ...


def default_applications() -> Sequence[Application]:
    """Make one of each that needs no choice; what runs when is decided by their priorities, not by this order."""
    return (AccessLog(), Auditor(), Cache(), Guard(), HeaderFilter())


__all__ = (
    "AccessLog",
    "Application",
    "Auditor",
    "Cache",
    "Guard",
    "HeaderFilter",
    "LivingApplication",
    "Storage",
    "default_applications",
)
