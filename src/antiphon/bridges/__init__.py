"""The bridge: chosen events cross to other processes, through a broker.

It requires the extra ``redis``: ``pip install 'antiphon[redis]'``. The broker for tests is `MemoryBroker`.
"""

from __future__ import annotations

try:
    import msgspec as _msgspec  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as _missing:
    raise ImportError(
        "antiphon.bridges requires msgspec, which is not installed: pip install 'antiphon[redis]'",
        name=_missing.name,
        path=_missing.path,
    ) from _missing

from antiphon.bridges._channel import Channel
from antiphon.bridges._errors import (
    BridgeUnavailable,
    CodecError,
    ConfigurationError,
    PublishFailed,
    PublishUncertain,
    Reject,
)
from antiphon.bridges._registry import EventRegistry, RegisteredType

__all__ = (
    "BridgeUnavailable",
    "Channel",
    "CodecError",
    "ConfigurationError",
    "EventRegistry",
    "PublishFailed",
    "PublishUncertain",
    "RegisteredType",
    "Reject",
)

for _name in __all__:
    globals()[_name].__module__ = "antiphon.bridges"
