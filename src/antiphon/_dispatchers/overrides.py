"""How listeners are passed to subclasses that override ``_adispatch`` or ``do_dispatch``.

Such a subclass receives proxies. A proxy has the repr, equality, hash, attributes, signature, module and docstring of
its listener. Setting an attribute of a proxy sets it on the listener. A copy of a proxy is the proxy itself, as for
functions. A pickle of a proxy is a pickle of the listener.

The proxy of a function or a method calls the listener itself, until the removal of the listener changes what it calls.
An exception that leaves a listener gets a note that names it. The code of such a listener is found in the traceback, so
only a failed dispatch pays for the note. The proxies of other listeners call a wrapper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dis import get_instructions
from functools import partial
from inspect import CO_COROUTINE, CO_ITERABLE_COROUTINE
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

from antiphon._listeners.subscription import Subscription, get_proxy
from antiphon._registry.plan import Plan, StrategyStep
from antiphon._strategies.errors import add_note, annotate_exception
from antiphon._util.callables import is_async_callable
from antiphon._util.gil import HAS_GIL
from antiphon._util.naming import Wrapper, short_name

__all__ = ("ListenerProxy", "OverrideStep", "call_annotated", "call_annotated_async", "make_proxies")

# The only way to change what a partial calls. `pickle` uses it.
_set_state: Final[Callable[[Any, Any], None]] = getattr(partial, "__setstate__")  # noqa: B009  not known to type checkers

#: Attributes of functions that partials and adapters do not have. `inspect.iscoroutinefunction` reads them.
_FUNCTION_ATTRIBUTES: Final = frozenset(
    ("__annotations__", "__code__", "__defaults__", "__kwdefaults__", "_is_coroutine_mark", "_is_coroutine_marker")
)


class OverrideStep(StrategyStep):
    """The step of a plan whose listeners are run by an override.

    Args:
        call: Calls the override with the proxies and the event.
        by_code: The subscriptions whose proxies add no notes, by the identity of the code of their listeners.
    """

    __slots__ = ("_by_code",)

    def __init__(self, call: Callable[[Any], Any], by_code: dict[int, Subscription]) -> None:
        super().__init__(call)
        self._by_code = by_code

    def find_raised(self, exc: BaseException) -> Iterator[tuple[BaseException, Subscription]]:
        """Find the listeners that an exception left, and those of its members and its cause."""
        seen: set[int] = set()
        pending = [exc]
        while pending:
            raised = pending.pop()
            if id(raised) in seen:
                continue
            seen.add(id(raised))
            for frame in _iterate_frames(raised.__traceback__):
                subscription = self._by_code.get(id(frame.f_code))
                if subscription is not None and _is_call(frame, subscription.listener):
                    yield raised, subscription
                    break
                if frame.f_code in _ANNOTATING_CODES:
                    # The exception has its note.
                    break
            else:
                if isinstance(raised, BaseExceptionGroup):
                    pending += cast("BaseExceptionGroup[BaseException]", raised).exceptions
                if raised.__cause__ is not None:
                    pending.append(raised.__cause__)


class ListenerProxy(partial[Any], Wrapper):
    """A proxy of a listener.

    It is a partial without arguments, because CPython calls what a partial contains without running code of the proxy.

    Args:
        subscription: The registration of the listener.
        call: Called instead of the proxy. The default is the ``call`` of the subscription.
    """

    # Not annotated here, because a proxy has the annotations of its listener.
    if TYPE_CHECKING:
        _antiphon_subscription: Subscription

    def __new__(cls, subscription: Subscription, call: Callable[[Any], Any] | None = None) -> Self:
        """Create it."""
        proxy = super().__new__(cls, subscription.call)
        proxy._antiphon_follow(subscription, call)
        return proxy

    def _antiphon_follow(self, subscription: Subscription, /, call: Callable[[Any], Any] | None = None) -> None:
        # A partial of a partial with attributes calls it. Of one without attributes, it would call the listener.
        attributes = {"_antiphon_subscription": subscription}
        _set_state(self, (subscription.call if call is None else call, (), {}, attributes))

    # A partial has the following attributes, but a proxy has those of its listener.

    @property
    def func(self) -> Any:
        """The function of a partial. `inspect` reads it, also if the listener has no such attribute."""
        return getattr(self.__wrapped__, "func", self.__wrapped__)

    @property
    def args(self) -> Any:
        """The positional arguments of a partial."""
        return getattr(self.__wrapped__, "args", ())

    @property
    def keywords(self) -> Any:
        """The keyword arguments of a partial."""
        return getattr(self.__wrapped__, "keywords", {})

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]  see below
        return self.__wrapped__.__dict__

    # Both type checkers expect a dict on the class. A proxy has the annotations of its listener.
    @property
    def __annotations__(self) -> Any:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.__getattr__("__annotations__")

    @property
    def __wrapped__(self) -> Any:
        return self._antiphon_subscription.listener

    def __eq__(self, other: object) -> bool:
        compared = other._antiphon_subscription.listener if isinstance(other, ListenerProxy) else other
        return bool(self._antiphon_subscription.listener == compared)

    def __hash__(self) -> int:
        return hash(self._antiphon_subscription.listener)

    def __repr__(self) -> str:
        return repr(self._antiphon_subscription.listener)

    def __str__(self) -> str:
        return str(self._antiphon_subscription.listener)

    def __dir__(self) -> list[str]:
        return dir(self._antiphon_subscription.listener)

    def __getattr__(self, attribute: str) -> Any:
        listener = self._antiphon_subscription.listener
        try:
            return getattr(listener, attribute)
        except AttributeError:
            function = _unwrap_function(listener)
            if attribute in _FUNCTION_ATTRIBUTES and function is not listener:
                return getattr(function, attribute)
            if attribute in ("__name__", "__qualname__"):
                # The listeners of whistle are functions, so a subclass may read their names.
                name = short_name(listener)
                return getattr(function, attribute, name.rpartition(".")[2] if attribute == "__name__" else name)
            raise

    def __setattr__(self, attribute: str, value: object) -> None:
        setattr(self._antiphon_subscription.listener, attribute, value)

    def __delattr__(self, attribute: str) -> None:
        delattr(self._antiphon_subscription.listener, attribute)

    def __copy__(self) -> ListenerProxy:
        return self

    def __deepcopy__(self, memo: object) -> ListenerProxy:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _identity, (self._antiphon_subscription.listener,)


class _ListenerText(str):
    """A text attribute of a proxy class. On an instance it is the attribute of the listener.

    A property does not work, because Python and its tools expect a str when they read the attribute on the class.
    """

    __slots__ = ("_attribute",)

    _attribute: str

    def __new__(cls, text: str, attribute: str) -> Self:
        """Create it from the text of the class."""
        made = super().__new__(cls, text)
        made._attribute = attribute
        return made

    def __get__(self, proxy: ListenerProxy | None, cls: type[ListenerProxy]) -> Any:
        if proxy is None:
            return str(self)
        listener = proxy.__wrapped__
        while isinstance(listener, Wrapper):
            # Skip adapters: their texts do not describe the listener.
            listener = listener.__wrapped__
        return getattr(listener, self._attribute, None)


ListenerProxy.__module__ = _ListenerText(ListenerProxy.__module__, "__module__")
ListenerProxy.__doc__ = _ListenerText(ListenerProxy.__doc__ or "", "__doc__")


def make_proxies(
    plan: Plan, annotate: Callable[[Subscription, Plan], Callable[[Any], Any]]
) -> tuple[tuple[Any, ...], dict[int, Subscription]]:
    """Return the proxies of the listeners of a plan, and `OverrideStep`'s argument ``by_code``.

    Args:
        plan: The plan.
        annotate: Makes the function that calls the listener of a subscription, and adds a note to its exceptions.
    """
    # Without a GIL, a thread could change a partial while another one reads it.
    by_code = _find_codes(plan) if HAS_GIL else {}
    direct = set(by_code.values())
    proxies = (
        get_proxy(subscription, ListenerProxy)
        if subscription in direct
        else ListenerProxy(subscription, annotate(subscription, plan))
        for subscription in plan.listeners
    )
    return tuple(proxies), by_code


def call_annotated(subscription: Subscription, plan: Plan) -> Callable[[Any], Any]:
    """Return a function that calls a plain listener, and adds a note to its exceptions."""

    def call(event: Any, /) -> Any:
        try:
            return subscription.call(event)
        except Exception as exc:
            add_note(exc, subscription, plan, event)
            raise

    return call


def call_annotated_async(subscription: Subscription, plan: Plan) -> Callable[[Any], Any]:
    """Return a function that calls an async listener, and adds a note to its exceptions."""

    async def call(event: Any, /) -> Any:
        try:
            return await subscription.call(event)
        except BaseException as exc:
            annotate_exception(exc, subscription, plan, event)
            raise

    return call


#: The codes of the functions that add notes themselves.
_ANNOTATING_CODES: Final = frozenset(
    const
    for function in (call_annotated, call_annotated_async)
    for const in function.__code__.co_consts
    if isinstance(const, CodeType)
)


def _iterate_frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _is_call(frame: FrameType, listener: Any) -> bool:
    """Return whether a frame with the code of a listener runs this listener.

    Functions of a decorator share their code, and so do the methods of several objects. The override itself may be
    decorated in the same way, or call such a method.
    """
    function, bound = (listener.__func__, True) if type(listener) is MethodType else (listener, False)
    code, variables = frame.f_code, frame.f_locals
    if bound and code.co_argcount:
        # The method may have deleted the variable, or assigned another value to it.
        owner, name = listener.__self__, code.co_varnames[0]
        if variables.get(name, owner) is not owner and not _assigns(code, name):
            return False
    for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            content = cell.cell_contents
        except ValueError:
            # The variable has no value.
            continue
        if variables.get(variable, content) is not content:
            return False
    return True


def _assigns(code: CodeType, variable: str) -> bool:
    stored = (instruction.argval for instruction in get_instructions(code) if "STORE" in instruction.opname)
    # One instruction may store two variables.
    return any(variable in names if isinstance(names, tuple) else variable == names for names in stored)


def _find_codes(plan: Plan) -> dict[int, Subscription]:
    """Return the subscriptions whose listeners can be recognized in a traceback, by the identity of their code."""
    found: dict[int, list[Subscription]] = {}
    for subscription in plan.listeners:
        code = _get_code(subscription)
        if code is not None:
            # Not by the code: that of another function may be equal.
            found.setdefault(id(code), []).append(subscription)
    # Functions of a decorator share their code.
    return {code: subscriptions[0] for code, subscriptions in found.items() if len(subscriptions) == 1}


def _get_code(subscription: Subscription) -> CodeType | None:
    """Return the code of a listener that is called directly, or None if a call may fail before this code runs."""
    listener: Any = subscription.listener
    if type(subscription) is not Subscription or subscription.call is not listener:
        return None
    if type(listener) is MethodType:
        listener = listener.__func__
    if type(listener) is not FunctionType:
        return None
    if is_async_callable(listener) and not listener.__code__.co_flags & (CO_COROUTINE | CO_ITERABLE_COROUTINE):
        # A function with a mark. Its code has ended when the awaitable that it returned raises.
        return None
    # The registration has checked that the code takes one event.
    return listener.__code__


def _unwrap_function(listener: Any) -> Any:
    while True:
        if isinstance(listener, Wrapper):
            listener = listener.__wrapped__
        elif isinstance(listener, partial):
            listener = listener.func
        else:
            return listener


def _identity(listener: Any) -> Any:
    return listener
