"""The part that the scopes of both dispatchers share."""

# ruff: noqa: SLF001  a scope uses private attributes of its parent
from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from antiphon._dispatchers.base import BaseDispatcher
from antiphon._dispatchers.instruments import merge_instruments
from antiphon._registry.registry import Registry
from antiphon._util.contexts import PlainContext
from antiphon._util.lazy_module import LazyModule
from antiphon._util.naming import safe_repr

if TYPE_CHECKING:
    from antiphon._instrumentation import attached as _attached
else:
    _attached = LazyModule("antiphon._instrumentation.attached")

__all__ = ("ScopeMixin",)


class ScopeMixin(PlainContext, BaseDispatcher):
    """A dispatcher that also dispatches to the listeners of its parent. Its end removes its listeners."""

    _usage = "with dispatcher.scope() as scoped:"

    _parent: Any

    def _new_registry(self) -> Registry:
        return Registry(self._make_cached_plan, self._placeholder, self._parent._registry)

    def _all_instruments(self) -> tuple[_attached.AttachedInstrument, ...]:
        return merge_instruments(self._parent._all_instruments(), self._instruments)

    def __enter__(self) -> Self:
        if self._registry.ended_scope is not None:
            raise RuntimeError(f"{self!r} has ended; write a new `with dispatcher.scope()`")
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._registry.close(self)

    def __repr__(self) -> str:
        name = f" {self._name!r}" if self._name else ""
        return f"<scope{name} of {safe_repr(self._parent)}>"

    def _get_display_name(self) -> str:
        return self._name or f"scope of {self._parent._get_display_name()}"
