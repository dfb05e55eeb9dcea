"""What is wrong with the settings of a server, as far as it tells."""

from __future__ import annotations

from typing import Any

from antiphon.bridges.redis._client import RedisClient, ServerError

__all__ = ("find_warnings",)


async def find_warnings(client: RedisClient) -> list[str]:
    """Return warnings about settings that lose events.

    Raises:
        BridgeUnavailable: If the connection fails.
    """
    try:
        found: Any = await client.run(
            lambda: client.commands.config_get(["maxmemory-policy", "appendonly", "maxmemory"])
        )
    except ServerError as exc:
        return [f"the settings of the server cannot be read, so nothing is known about evictions and fsync: {exc}"]
    settings = {_as_text(name): _as_text(value) for name, value in found.items()}
    warnings: list[str] = []
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy.startswith("allkeys-"):
        warnings.append(f"maxmemory-policy is {policy!r}: the server removes whole streams when its memory is full")
    if settings.get("appendonly") == "no":
        warnings.append("appendonly is 'no': the server loses events when it is killed")
    return warnings


def _as_text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
