"""The bridge: chosen events cross to other processes, through a broker.

It requires the extra ``redis``: ``pip install 'antiphon[redis]'``. The broker for tests is `MemoryBroker`.
"""

from __future__ import annotations

from types import FunctionType as _FunctionType

try:
    import msgspec as _msgspec  # noqa: F401  # pyright: ignore[reportUnusedImport]
except ImportError as _missing:
    raise ImportError(
        "antiphon.bridges requires msgspec, which is not installed: pip install 'antiphon[redis]'",
        name=_missing.name,
        path=_missing.path,
    ) from _missing

from antiphon.bridges._bridge import Bridge
from antiphon.bridges._brokers.memory import MemoryBroker
from antiphon.bridges._brokers.protocol import (
    Broker,
    DeadEntries,
    DeadEntry,
    Entry,
    GroupHealth,
    Message,
    Postponed,
    Receipt,
    Source,
    SourceOptions,
)
from antiphon.bridges._channel import Channel
from antiphon.bridges._codec.registry import EventRegistry, RegisteredType
from antiphon.bridges._dead_letters import DeadLetter
from antiphon.bridges._delivery import Delivery, Trace, delivery
from antiphon.bridges._errors import (
    BridgeUnavailable,
    CodecError,
    ConfigurationError,
    PublishFailed,
    PublishUncertain,
    Reject,
)
from antiphon.bridges._notices import (
    BridgeHealth,
    Buried,
    ConnectionBack,
    ConnectionLost,
    Lagging,
    Notice,
    ReceiveHealth,
    Retried,
    Trimmed,
)
from antiphon.bridges._retry import Retry

__all__ = (
    "Bridge",
    "BridgeHealth",
    "BridgeUnavailable",
    "Broker",
    "Buried",
    "Channel",
    "CodecError",
    "ConfigurationError",
    "ConnectionBack",
    "ConnectionLost",
    "DeadEntries",
    "DeadEntry",
    "DeadLetter",
    "Delivery",
    "Entry",
    "EventRegistry",
    "GroupHealth",
    "Lagging",
    "MemoryBroker",
    "Message",
    "Notice",
    "Postponed",
    "PublishFailed",
    "PublishUncertain",
    "Receipt",
    "ReceiveHealth",
    "RegisteredType",
    "Reject",
    "Retried",
    "Retry",
    "Source",
    "SourceOptions",
    "Trace",
    "Trimmed",
    "delivery",
)

for _public in [globals()[name] for name in __all__]:
    # Also the modules of the methods, because `help` shows them.
    for _member in (_public, *(vars(_public).values() if isinstance(_public, type) else ())):
        _function = getattr(_member, "__func__", _member)
        if _function is _public or isinstance(_function, _FunctionType):
            _function.__module__ = "antiphon.bridges"
