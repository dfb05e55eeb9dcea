"""The event of the benchmarks: a user's class with two attributes and an ``__init__`` of its own.

Each base and each form gets a class compiled for it, as if the user had written it there: classes that share an
``__init__`` would keep CPython from specialising its stores.
"""

from __future__ import annotations

from typing import Any

__all__ = ("NAME", "event_class")

#: The name under which events are dispatched.
NAME = "order.placed"

SOURCE = """
class OrderPlaced(Base):
    {body}
    def __init__(self, order, customer):
        self.order = order
        self.customer = customer
"""


def event_class(base: type = object, *, named: bool = False) -> type[Any]:
    """Compiles the class.

    Args:
        base: The library's base class of events. Without one the class is plain, and only has the mark that a loop
            by hand would check.
        named: Whether the class carries a ``name``, as each event of HARP does.
    """
    body = [f"name = {NAME!r}"] if named else []
    if base is object:
        body.append("propagation_stopped = False")
    namespace: dict[str, Any] = {"Base": base, "__name__": __name__}
    exec(compile(SOURCE.format(body="; ".join(body)), "<benchmark>", "exec"), namespace)  # noqa: S102
    made: type[Any] = namespace["OrderPlaced"]
    return made
