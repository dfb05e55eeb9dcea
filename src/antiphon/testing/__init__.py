"""Tools for tests of code that dispatches: a recorder, virtual time, and schedules that are repeatable by a seed.

The package contains no fakes: tests use real dispatchers and real event loops.
Fixtures for pytest are in `antiphon.testing.plugin`, which a ``conftest.py`` names in ``pytest_plugins``.
"""

from __future__ import annotations

from antiphon._util.naming import publish as _publish
from antiphon.testing._assertions import Recording
from antiphon.testing._backends import Backend, BackendName, backends
from antiphon.testing._recorder import record
from antiphon.testing._settle import settle

__all__ = ("Backend", "BackendName", "Recording", "backends", "record", "settle")

_publish("antiphon.testing", Backend, Recording, backends, record, settle)
