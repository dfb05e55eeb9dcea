"""The events of a transaction and the names under which the proxy dispatches them, in the order of their coming."""

from antiphon import Event
from examples.proxy.messages import Request, Response, Transaction

TRANSACTION_STARTED = "proxy.transaction.started"
TRANSACTION_MESSAGE = "proxy.transaction.message"
FILTER_REQUEST = "proxy.filter.request"
PROXY_ERROR = "proxy.error"
FILTER_RESPONSE = "proxy.filter.response"
TRANSACTION_ENDED = "proxy.transaction.ended"

NAMES = (TRANSACTION_STARTED, TRANSACTION_MESSAGE, FILTER_REQUEST, PROXY_ERROR, FILTER_RESPONSE, TRANSACTION_ENDED)


class TransactionEvent(Event):
    """What all events of the proxy have: their transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction


class TransactionStarted(TransactionEvent):
    """A request has been read."""


class TransactionMessage(TransactionEvent):
    """A message is known: the request as it came, later the response as it will go."""

    def __init__(self, transaction: Transaction, message: Request | Response) -> None:
        super().__init__(transaction)
        self.message = message


class FilterRequest(TransactionEvent):
    """The request is about to go upstream.

    A listener may change it, or answer it: it sets ``response`` and stops the propagation, and the upstream is not
    asked.
    """

    def __init__(self, transaction: Transaction, request: Request) -> None:
        super().__init__(transaction)
        self.request = request
        self.response: Response | None = None


class ProxyError(TransactionEvent):
    """The upstream or an application failed; the client gets an answer that says no more than that."""

    def __init__(self, transaction: Transaction, error: Exception) -> None:
        super().__init__(transaction)
        self.error = error


class FilterResponse(TransactionEvent):
    """The response, wherever it came from, is about to go to the client. A listener may change or replace it."""

    def __init__(self, transaction: Transaction, response: Response) -> None:
        super().__init__(transaction)
        self.response = response


class TransactionEnded(TransactionEvent):
    """The client has the response, or will never have it (``transaction.response`` is then what it should have got)."""
