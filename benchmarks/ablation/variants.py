"""The variants: `AsyncEventDispatcher.adispatch` written out, in full and with what a rule asks for left out.

When ``adispatch`` changes, copy its body into `full`, and take it over into the others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from antiphon._events.attributes import DispatchInfo
from antiphon._strategies.errors import add_note, annotate_exception

__all__ = ("FULL", "VARIANTS", "Variant")


async def full(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    event._antiphon_stopped = False
    if not steps:
        return event
    event._antiphon_in_flight = event
    try:
        for step in steps:
            try:
                await step.call(event)
            except BaseException as exc:
                annotate_exception(exc, step, route.plan, event)
                raise
            if event._antiphon_stopped:
                break
    finally:
        event._antiphon_in_flight = None
    return event


async def without_stopping(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    if not steps:
        return event
    event._antiphon_in_flight = event
    try:
        for step in steps:
            try:
                await step.call(event)
            except BaseException as exc:
                annotate_exception(exc, step, route.plan, event)
                raise
    finally:
        event._antiphon_in_flight = None
    return event


async def without_nesting(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    event._antiphon_stopped = False
    for step in steps:
        try:
            await step.call(event)
        except BaseException as exc:
            annotate_exception(exc, step, route.plan, event)
            raise
        if event._antiphon_stopped:
            break
    return event


async def without_removal(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps  # the listeners themselves, see `Variant.bare`
    if steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    event._antiphon_stopped = False
    if not steps:
        return event
    event._antiphon_in_flight = event
    try:
        for listener in steps:
            try:
                await listener(event)
            except BaseException as exc:
                annotate_exception(exc, listener, route.plan, event)
                raise
            if event._antiphon_stopped:
                break
    finally:
        event._antiphon_in_flight = None
    return event


async def without_notes(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    event._antiphon_stopped = False
    if not steps:
        return event
    event._antiphon_in_flight = event
    try:
        for step in steps:
            try:
                await step.call(event)
            except BaseException as exc:
                if not isinstance(exc, Exception):
                    annotate_exception(exc, step, route.plan, event)
                raise
            if event._antiphon_stopped:
                break
    finally:
        event._antiphon_in_flight = None
    return event


async def without_leaks(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    event._antiphon_stopped = False
    if not steps:
        return event
    event._antiphon_in_flight = event
    try:
        for step in steps:
            try:
                await step.call(event)
            except Exception as exc:
                add_note(exc, step, route.plan, event)
                raise
            if event._antiphon_stopped:
                break
    finally:
        event._antiphon_in_flight = None
    return event


async def without_notes_and_leaks(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None or getattr(event, "_antiphon_in_flight", None) is event:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    event._antiphon_stopped = False
    if not steps:
        return event
    event._antiphon_in_flight = event
    try:
        for step in steps:
            await step.call(event)
            if event._antiphon_stopped:
                break
    finally:
        event._antiphon_in_flight = None
    return event


async def without_all(self: Any, name: Any, event: Any = None, /, strategy: Any = None) -> Any:
    if event is None:
        name, event = self._address(name)
    try:
        route = self._routes[name][type(event)]
    except (KeyError, TypeError):
        route = self._route(name, event)
    steps = route.steps
    if steps is None or strategy is not None:
        return await self._run(route.plan, name, event, strategy)

    view = route.view
    if view.name is not name:
        view = DispatchInfo(name, self)
    event._antiphon_info = view
    for listener in steps:
        await listener(event)
    return event


@dataclass(frozen=True, slots=True)
class Variant:
    """A dispatch without something."""

    #: What the table calls what is left out.
    rule: str
    adispatch: Callable[..., Awaitable[Any]]
    #: Whether its plans hold the listeners themselves, instead of records that tell when one was removed.
    bare: bool = False


FULL = Variant("", full)

VARIANTS = (
    Variant("a listener may stop it, and each dispatch starts unstopped", without_stopping),
    Variant("a listener may dispatch the event again", without_nesting),
    Variant("a removed listener is not started any more", without_removal, bare=True),
    Variant("an error carries a note", without_notes),
    Variant("a cancellation that was not requested carries a note", without_leaks),
    Variant("both of these, which share an `except`", without_notes_and_leaks),
    Variant("all of these", without_all, bare=True),
)
