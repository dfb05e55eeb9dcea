"""The applications of the proxy: each knows its own matter and the events, and none knows another."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from antiphon import IAsyncEventDispatcher
from examples.proxy.applications.access_log import AccessLog
from examples.proxy.applications.auditor import Auditor
from examples.proxy.applications.cache import Cache
from examples.proxy.applications.guard import Guard
from examples.proxy.applications.header_filter import HeaderFilter


class Application(Protocol):
    """What listens to the proxy."""

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listeners."""

    def figures(self) -> Mapping[str, int]:
        """Return what the application counted, by the words that the report shows."""
        ...


def default_applications() -> Sequence[Application]:
    """Make one of each; what runs when is decided by their priorities, not by this order."""
    return (AccessLog(), Auditor(), Cache(), Guard(), HeaderFilter())


__all__ = ("AccessLog", "Application", "Auditor", "Cache", "Guard", "HeaderFilter", "default_applications")
