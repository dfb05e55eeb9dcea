"""The dispatcher of the proxy with all its listeners, for tools that describe it without running it."""

from antiphon import AsyncEventDispatcher
from examples.proxy.applications import Storage, default_applications


def make_dispatcher() -> AsyncEventDispatcher:
    """Make a dispatcher with the listeners of the default applications. Nothing is started.

    ``antiphon listeners "examples.proxy.dispatcher:make_dispatcher()"`` shows it.
    """
    dispatcher = AsyncEventDispatcher(name="proxy")

    for application in [*default_applications(), Storage()]:
        application.register(dispatcher)

    return dispatcher
