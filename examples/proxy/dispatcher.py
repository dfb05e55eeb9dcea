"""The proxy's dispatcher with all who listen to it, for those who want to see it and not to run it."""

from antiphon import AsyncEventDispatcher
from examples.proxy.applications import Storage, default_applications


def make_dispatcher() -> AsyncEventDispatcher:
    """Make a dispatcher to which the default applications listen; nothing is started.

    ``python -m antiphon listeners "examples.proxy.dispatcher:make_dispatcher()"`` shows it.
    """
    dispatcher = AsyncEventDispatcher(name="proxy")

    for application in [*default_applications(), Storage()]:
        application.register(dispatcher)

    return dispatcher
