"""The events of a transaction and their names, in the order in which the proxy dispatches them."""

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
    """The base class of all events of the proxy. Each event has its transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self.transaction = transaction


class TransactionStarted(TransactionEvent):
    """A request has been read."""


class TransactionMessage(TransactionEvent):
    """A message is known: first the request as it was received, later the response as it will be sent."""

    def __init__(self, transaction: Transaction, message: Request | Response) -> None:
        super().__init__(transaction)
        self.message = message


class FilterRequest(TransactionEvent):
    """The request is about to be sent to the upstream.

    A listener may change the request. It may also answer it: it sets ``response`` and stops the propagation. The
    request is then not sent to the upstream.
    """

    def __init__(self, transaction: Transaction, request: Request) -> None:
        super().__init__(transaction)
        self.request = request
        self.response: Response | None = None


class ProxyError(TransactionEvent):
    """The upstream or an application failed. The client receives a response without details."""

    def __init__(self, transaction: Transaction, error: Exception) -> None:
        super().__init__(transaction)
        self.error = error


class FilterResponse(TransactionEvent):
    """The response is about to be sent to the client. A listener may change or replace it."""

    def __init__(self, transaction: Transaction, response: Response) -> None:
        super().__init__(transaction)
        self.response = response


class TransactionEnded(TransactionEvent):
    """The client has received the response, or will not receive it.

    In the second case, ``transaction.response`` is the response that was not delivered, or None if there is none.
    """
