"""A broker on Redis Streams: Redis 7 or later, or Valkey.

It requires the extra ``redis``: ``pip install 'antiphon[redis]'``.
"""

from __future__ import annotations

from types import FunctionType as _FunctionType

try:
    import coredis as _coredis  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as _missing:
    raise ImportError(
        "antiphon.bridges.redis requires coredis, which is not installed: pip install 'antiphon[redis]'",
        name=_missing.name,
        path=_missing.path,
    ) from _missing

from antiphon.bridges.redis._broker import RedisStreams

__all__ = ("RedisStreams",)

RedisStreams.__module__ = "antiphon.bridges.redis"
for _member in vars(RedisStreams).values():
    # Because `help` shows the modules of the methods.
    if isinstance(_member, _FunctionType):
        _member.__module__ = "antiphon.bridges.redis"
