"""The proxy. It handles a request as a sequence of events, to which the applications listen."""

import logging
from http import HTTPStatus

import anyio
import h11

from antiphon import AsyncEventDispatcher
from examples.proxy.client import HttpClient
from examples.proxy.events import (
    FILTER_REQUEST,
    FILTER_RESPONSE,
    PROXY_ERROR,
    TRANSACTION_ENDED,
    TRANSACTION_MESSAGE,
    TRANSACTION_STARTED,
    FilterRequest,
    FilterResponse,
    ProxyError,
    TransactionEnded,
    TransactionEvent,
    TransactionMessage,
    TransactionStarted,
)
from examples.proxy.limits import Limits
from examples.proxy.messages import Request, Response, Transaction
from examples.proxy.server import Reply

logger = logging.getLogger(__name__)


class Proxy:
    """A service that returns the response of its upstream, unless a listener provides another response."""

    def __init__(self, dispatcher: AsyncEventDispatcher, host: str, port: int, limits: Limits) -> None:
        self._dispatcher = dispatcher
        self._host = host
        self._port = port
        self._limits = limits

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Handle one transaction from start to end."""
        transaction = Transaction(request)

        try:
            transaction.response = await self._answer_safely(transaction)
            await reply(transaction.response)
        except BaseException:
            # The client left, or the proxy is being cancelled. Listeners still receive the end of the transaction,
            # within a time limit.
            with anyio.move_on_after(self._limits.ending_seconds, shield=True):
                await self._report(TRANSACTION_ENDED, TransactionEnded(transaction))

            raise

        await self._report(TRANSACTION_ENDED, TransactionEnded(transaction))

    async def _answer_safely(self, transaction: Transaction) -> Response:
        try:
            return await self._answer(transaction)
        except Exception as error:
            # A listener raised: only this transaction fails, not the proxy.
            await self._report(PROXY_ERROR, ProxyError(transaction, error))
            return Response.text(HTTPStatus.INTERNAL_SERVER_ERROR, "the proxy failed")

    async def _answer(self, transaction: Transaction) -> Response:
        dispatch = self._dispatcher.adispatch
        request = transaction.request

        await dispatch(TRANSACTION_STARTED, TransactionStarted(transaction))
        await dispatch(TRANSACTION_MESSAGE, TransactionMessage(transaction, request))

        outgoing = Request(request.method, request.target, request.headers.end_to_end(), request.body)
        filtered = await dispatch(FILTER_REQUEST, FilterRequest(transaction, outgoing))
        response = filtered.response or await self._ask_upstream(transaction, filtered.request)

        response = (await dispatch(FILTER_RESPONSE, FilterResponse(transaction, response))).response
        await dispatch(TRANSACTION_MESSAGE, TransactionMessage(transaction, response))
        return response

    async def _ask_upstream(self, transaction: Transaction, request: Request) -> Response:
        # The proxy has read the whole body, so the client has already been told to continue. The upstream need not be.
        request.headers.remove("expect")

        if "host" not in request.headers:
            # HTTP/1.0 clients may omit the header, but the HTTP/1.1 request of the proxy needs it.
            request.headers.set("host", f"{self._host}:{self._port}")

        try:
            with anyio.fail_after(self._limits.upstream_seconds):
                async with HttpClient.connect(self._host, self._port, self._limits) as client:
                    response = await client.exchange(request)
        except TimeoutError as error:
            await self._report(PROXY_ERROR, ProxyError(transaction, error))
            return Response.text(HTTPStatus.GATEWAY_TIMEOUT, "the upstream took too long")
        except (OSError, anyio.BrokenResourceError, h11.RemoteProtocolError) as error:
            await self._report(PROXY_ERROR, ProxyError(transaction, error))
            return Response.text(HTTPStatus.BAD_GATEWAY, "the upstream failed")

        response.headers = response.headers.end_to_end()
        return response

    async def _report(self, name: str, event: TransactionEvent) -> None:
        """Dispatch an event whose listeners cannot change the transaction. If a listener raises, log its error."""
        try:
            await self._dispatcher.adispatch(name, event)
        except Exception:
            logger.exception("a listener of %s failed", name)
