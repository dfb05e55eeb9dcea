"""An application that writes a line for each transaction."""

import logging
from collections.abc import Mapping

from antiphon import IAsyncEventDispatcher
from examples.proxy.events import PROXY_ERROR, TRANSACTION_ENDED, ProxyError, TransactionEnded

logger = logging.getLogger(__name__)


class AccessLog:
    """Logs transactions and errors."""

    def __init__(self) -> None:
        self._lines = 0

    def register(self, dispatcher: IAsyncEventDispatcher) -> None:
        """Add the application's listeners."""
        dispatcher.add_listener(PROXY_ERROR, self.log_error)
        dispatcher.add_listener(TRANSACTION_ENDED, self.log)

    def figures(self) -> Mapping[str, int]:
        """Return the number of logged transactions."""
        return {"lines in the access log": self._lines}

    async def log(self, event: TransactionEnded) -> None:
        """Write a line for the transaction."""
        transaction = event.transaction
        self._lines += 1
        logger.info(
            "#%d %s %s -> %s in %.1f ms%s",
            transaction.number,
            transaction.request.method,
            transaction.request.target,
            transaction.response.status if transaction.response else "nothing",
            transaction.seconds * 1000,
            "".join(f" [{mark}]" for mark in sorted(transaction.marks)),
        )

    async def log_error(self, event: ProxyError) -> None:
        """Log the error, whose details the client does not receive."""
        logger.warning("#%d failed: %r", event.transaction.number, event.error)
