"""The caches of a registry: plans, and the answers to queries for listeners. Both are stored by name and event class.

Invariants:

- The registry holds its lock while it calls a method. `plans` and `answers` are read without the lock.
- `plans` and `answers` stay the same dictionaries, because dispatchers refer to them.
- Get the dictionary of a name before you run user code to compute what is stored in it. If that code changes the
  registry, `version` is another object: do not store an outdated plan. A dictionary of answers is then no longer part
  of the cache.
- The dictionary of a prepared name stays in `plans`, because prepared dispatches refer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

from antiphon._registry.plan import CachedPlan

__all__ = (
    "MAX_CACHED_ANSWERS",
    "MAX_CACHED_CLASSES_PER_NAME",
    "MAX_CACHED_NAMES_WITHOUT_LISTENERS",
    "MAX_CACHED_NAME_LENGTH",
    "RegistryCaches",
)

#: The maximum number of cached plans for names that are not keys of the registry. Plans of keys are not counted,
#: because there are at most as many keys as subscriptions.
MAX_CACHED_NAMES_WITHOUT_LISTENERS: Final = 1024

#: The maximum number of event classes with a cached plan under one name.
MAX_CACHED_CLASSES_PER_NAME: Final = 1024

#: The maximum length of a cached name that is not a key. Longer names come from outside, and would fill the memory.
MAX_CACHED_NAME_LENGTH: Final = 1024

#: The maximum number of cached results of `Registry.answer`.
MAX_CACHED_ANSWERS: Final = 1024


class RegistryCaches:
    """The cached plans and query results of one registry.

    They are separate, so that names which a program only queries do not evict plans of names that it dispatches.
    """

    __slots__ = (
        "_answer_count",
        "_names_without_listeners",
        "_plan_count_without_listeners",
        "_prepared_names",
        "answers",
        "plans",
        "version",
    )

    def __init__(self) -> None:
        #: The plans, by name, then by event class.
        self.plans: dict[Hashable, dict[type, CachedPlan]] = {}
        #: The listeners that `Registry.answer` found, by name, then by event class.
        self.answers: dict[Hashable, dict[type, tuple[Any, ...]]] = {}
        # The names in `plans` that are not keys. Only these could grow without bound.
        self._names_without_listeners: set[Hashable] = set()
        # The number of plans made for such names since they were last dropped.
        self._plan_count_without_listeners = 0
        self._answer_count = 0
        #: Another object whenever plans become outdated.
        self.version = object()
        # The names of prepared dispatches. None until there is one, because most registries have none.
        self._prepared_names: set[Hashable] | None = None

    def keep_plans(self, name: Hashable) -> dict[type, CachedPlan]:
        """Return the dictionary of the plans of a name, which stays in the cache from now on."""
        if self._prepared_names is None:
            self._prepared_names = set()
        self._prepared_names.add(name)
        self._names_without_listeners.discard(name)
        return self.plans.setdefault(name, {})

    def get_plans_for_name(self, name: Hashable, *, is_key: bool) -> dict[type, CachedPlan]:
        """Return the dictionary for one more plan of a name. Drop other plans if the cache is full.

        It is not in the cache if the name is too long.
        """
        if is_key or (self._prepared_names is not None and name in self._prepared_names):
            plans = self.plans.setdefault(name, {})
            if len(plans) >= MAX_CACHED_CLASSES_PER_NAME:
                plans.clear()
            return plans
        if _is_too_long(name):
            return {}
        if self._plan_count_without_listeners >= MAX_CACHED_NAMES_WITHOUT_LISTENERS:
            for other in self._names_without_listeners:
                self.plans.pop(other, None)
            self._names_without_listeners.clear()
            self._plan_count_without_listeners = 0
        self._names_without_listeners.add(name)
        self._plan_count_without_listeners += 1
        return self.plans.setdefault(name, {})

    def get_answers_for_name(self, name: Hashable) -> dict[type, tuple[Any, ...]]:
        """Return the dictionary for one more answer for a name. Drop all answers if the cache is full.

        It is not in the cache if the name is too long.
        """
        if _is_too_long(name):
            return {}
        if self._answer_count >= MAX_CACHED_ANSWERS:
            self.answers.clear()
            self._answer_count = 0
        self._answer_count += 1
        return self.answers.setdefault(name, {})

    def find_names(self, pattern: Callable[[Hashable, type], bool]) -> list[Hashable]:
        """Return the names with plans or answers that a pattern matches.

        Raises:
            BaseException: If a cached name is of a class of strings that raises it.
        """
        return [name for name in (*self.plans, *self.answers) if pattern(name, object)]

    def drop(self, names: Iterable[Hashable]) -> None:
        """Drop the plans and answers of names.

        Raises:
            BaseException: If a cached name cannot be compared with one of these.
        """
        self.version = object()
        for name in names:
            if self._prepared_names is not None and name in self._prepared_names:
                self.plans[name].clear()
            else:
                self.plans.pop(name, None)
            self._names_without_listeners.discard(name)
            self.answers.pop(name, None)

    def clear(self) -> None:
        """Drop all plans and answers."""
        self.version = object()
        kept = {name: self.plans[name] for name in self._prepared_names or ()}
        self.plans.clear()
        for name, plans in kept.items():
            plans.clear()
            self.plans[name] = plans
        self._names_without_listeners.clear()
        self._plan_count_without_listeners = 0
        self.answers.clear()
        self._answer_count = 0


def _is_too_long(name: Hashable) -> bool:
    return isinstance(name, (str, bytes)) and len(name) > MAX_CACHED_NAME_LENGTH
