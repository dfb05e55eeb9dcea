"""A client of coredis that is replaced as a whole when its connection fails.

Invariants:

- Each command runs in a shielded cancel scope with a time limit. A command of coredis that is cancelled can leak its
  place in the pool of connections, and after some of them every command waits for a place for ever.
- coredis does not repeat commands. Its default policy does, and stores an event twice if the first answer is lost.
- Nested groups of exceptions, which coredis raises, become one plain exception.
- A cancellation while coredis connects leaves it as its `ConnectionError`. Pending cancellations are therefore raised
  before each command.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import coredis
from anyio.lowlevel import checkpoint_if_cancelled
from coredis import exceptions as redis_errors
from coredis.retry import NoRetryPolicy

from antiphon.bridges._errors import BridgeUnavailable, ConfigurationError
from antiphon.bridges.redis._scripts import Script

__all__ = ("Connector", "RedisClient", "RefusedError", "ServerError")

T = TypeVar("T")

#: The seconds within which the server answers a command that does not block.
_ANSWER_SECONDS: Final = 5.0

#: Answers of a server that loads its data, is a replica, does not have the keys, or has another password. It has
#: written nothing. coredis strips the codes from the texts of these errors, so ask for the classes.
_REFUSALS: Final = (
    redis_errors.AuthenticationError,
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
    redis_errors.ClusterDownError,
    redis_errors.AskError,  # also MovedError
)

#: What a later connection can mend.
_TRANSIENT: Final = (
    *_REFUSALS,
    redis_errors.ConnectionError,
    redis_errors.StreamConsumerGroupError,
    redis_errors.UnblockedError,
    OSError,
    anyio.ClosedResourceError,
    anyio.BrokenResourceError,
    anyio.EndOfStream,
)

#: Codes of answers of a server that cannot write now: another script runs, its memory or disk is full, or a replica is
#: missing. The connection is not broken. coredis has no classes for these codes, and leaves them in the text.
_REFUSED_FOR_NOW: Final = re.compile("(BUSY|MASTERDOWN|MISCONF|NOREPLICAS|OOM) ")

#: What Redis 7.0, and later versions, say about a command of a script that the user may not run.
_DENIED_IN_SCRIPT: Final = re.compile("user executing the script can't|ACL failure in script")


class ServerError(Exception):
    """Raised if the server has refused a command. It has not been executed."""


class RefusedError(BridgeUnavailable):
    """Raised if another server has to execute a command, or this one later. Nothing was written."""

    def __init__(self, address: str, error: Exception) -> None:
        super().__init__(f"{address} refuses the command: {type(error).__name__}: {error}")


class RightsError(ServerError, ConfigurationError):
    """Raised if the user may not run a command."""


@dataclass(frozen=True)
class Connector:
    """Where and how to connect. Its repr contains no password."""

    url: str = field(repr=False)
    credentials: tuple[str, str] | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("redis", "rediss", "unix") and (parts.hostname or parts.scheme == "unix")
        except (ValueError, AttributeError, TypeError):
            usable = False
        if not usable:
            raise ConfigurationError(
                "the url of RedisStreams begins with redis://, rediss:// or unix://, and names a host or a path, such "
                "as redis://127.0.0.1:6379"
            )

    @property
    def address(self) -> str:
        """The URL without the name and the password of a user."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def at(self, host: str, port: int) -> Connector:
        """Return how to connect to another node of the same cluster.

        Args:
            host: The host; empty if it is the same.
            port: The port.
        """
        parts = urlsplit(self.url)
        user, separator, _ = parts.netloc.rpartition("@")
        host = host or parts.hostname or ""
        netloc = f"{user}{separator}{f'[{host}]' if ':' in host else host}:{port}"
        return replace(self, url=parts._replace(netloc=netloc).geturl())

    def make_client(self, connections: int) -> coredis.Redis[bytes]:
        """Return a client that is not connected."""
        options: dict[str, Any] = {"max_connections": connections, "connect_timeout": _ANSWER_SECONDS}
        if self.credentials is not None:
            options["username"], options["password"] = self.credentials
        if self.tls is not None:
            options["ssl_context"] = self.tls
        client: Any = coredis.Redis
        made: coredis.Redis[bytes] = client.from_url(
            self.url, decode_responses=False, retry_policy=NoRetryPolicy(), verify_version=False, **options
        )
        return made


class RedisClient:
    """An open client. After an error of its connection it is broken, and a new one must be opened."""

    def __init__(self, client: coredis.Redis[bytes], address: str) -> None:
        self._client = client
        self._address = address
        #: Set after an error of the connection.
        self.broken = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def opened(cls, connector: Connector, connections: int) -> AsyncGenerator[RedisClient]:
        """Connect.

        Args:
            connector: Where to connect.
            connections: The maximum number of connections.

        Raises:
            BridgeUnavailable: If the server cannot be reached, or refuses the user.
        """
        raised: BaseException | None = None
        client = connector.make_client(connections)
        try:
            async with client:
                made = cls(client, connector.address)
                try:
                    await made._check()
                    yield made
                except BaseException as exc:  # noqa: ASYNC103  raised below: coredis would wrap it in a group
                    raised = exc
                made.broken.set()
        except Exception as exc:
            if raised is None:
                raise BridgeUnavailable(f"the connection to {connector.address} ended: {exc}") from exc
        if raised is not None:
            try:
                raise raised
            finally:
                del raised

    async def _check(self) -> None:
        try:
            await self.run(self._client.ping)
        except ServerError as exc:
            raise BridgeUnavailable(f"{self._address} refuses the connection: {exc}") from exc

    async def run(self, command: Callable[[], Awaitable[T]], *, seconds: float = _ANSWER_SECONDS) -> T:
        """Run a command that is not cancelled half-way.

        Args:
            command: Returns what is awaited.
            seconds: The time limit.

        Raises:
            BridgeUnavailable: If the connection fails. It is a `RefusedError` if the server has answered.
            ConfigurationError: If a key has another type, or if the user may not run the command.
            ServerError: If the server refuses the command.
        """
        await checkpoint_if_cancelled()
        try:
            with anyio.fail_after(seconds, shield=True):
                result = await command()
        except redis_errors.NoScriptError:
            raise
        except TimeoutError as exc:
            self.broken.set()
            raise BridgeUnavailable(f"{self._address} did not answer within {seconds:g} seconds") from exc
        except _TRANSIENT as exc:
            self.broken.set()
            if isinstance(exc, _REFUSALS):
                raise RefusedError(self._address, exc) from exc
            raise BridgeUnavailable(f"the connection to {self._address} failed: {exc}") from exc
        except RuntimeError as exc:
            if not self.broken.is_set():
                raise
            # Another command has found that the connection is broken, and the client is closed already.
            raise BridgeUnavailable(f"the connection to {self._address} ended") from exc
        except redis_errors.RedisError as exc:
            raise self._convert(exc) from exc
        return result

    def _convert(self, error: redis_errors.RedisError) -> Exception:
        """Return the exception for an error that a new connection would not mend."""
        if isinstance(error, redis_errors.WrongTypeError):
            return ConfigurationError(
                f"a key of the prefix has another type in {self._address}: {error}; choose another prefix="
            )
        if _REFUSED_FOR_NOW.match(str(error)):
            return RefusedError(self._address, error)
        if isinstance(error, redis_errors.AuthorizationError) or _DENIED_IN_SCRIPT.search(str(error)):
            return RightsError(
                f"the user of the bridge has too few rights in {self._address}: {error}; grant those that the docs "
                f"of RedisStreams list"
            )
        return ServerError(f"{type(error).__name__}: {error}")

    async def call(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | bytes | int],
        *,
        seconds: float | None = None,
    ) -> Any:
        """Call a script, and load it if the server does not know it.

        Raises:
            BridgeUnavailable: If the connection fails.
            ConfigurationError: If a key has another type.
            ServerError: If the server refuses the script.
        """
        limit = _ANSWER_SECONDS if seconds is None else seconds
        values = cast("Any", arguments)
        try:
            return await self.run(lambda: self._client.evalsha(script.digest, keys, values), seconds=limit)
        except redis_errors.NoScriptError:
            # The server was restarted, or is a new one. It has not executed anything.
            return await self.run(lambda: self._client.eval(script.code, keys, values), seconds=limit)

    @property
    def commands(self) -> coredis.Redis[bytes]:
        """The client of coredis, for use in `run`."""
        return self._client
