"""The applications of the proxy. They know the events, but they do not know each other."""

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
    """An application that listens to the events of the proxy."""

    def register(self, dispatcher: AsyncEventDispatcher) -> None:
        """Add the application's listeners."""

    def figures(self) -> Mapping[str, int]:
        """Return the counts of the application, by the labels of the report."""
        ...


@runtime_checkable
class ApplicationWithLifespan(Application, Protocol):
    """An application that also runs in the background while the proxy serves."""

    def lifespan(self) -> AbstractAsyncContextManager[None]:
        """Run the background work while the block runs, and finish it at the end."""
        ...


def default_applications() -> Sequence[Application]:
    """Make all applications that need no options. Their priorities determine the order, not this tuple."""
    return (AccessLog(), Auditor(), Cache(), Guard(), HeaderFilter())


__all__ = (
    "AccessLog",
    "Application",
    "ApplicationWithLifespan",
    "Auditor",
    "Cache",
    "Guard",
    "HeaderFilter",
    "Storage",
    "default_applications",
)
