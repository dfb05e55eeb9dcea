"""Tools for tests of code that dispatches: a recorder, virtual time, and schedules that a seed orders.

There is a fake of nothing here. The recorder watches the real dispatcher, and the clocks and schedules are those of the
real event loops. Fixtures are in `antiphon.testing.plugin`, for those who name it in ``pytest_plugins``.
"""

from __future__ import annotations

from antiphon.testing._assertions import Recording
from antiphon.testing._backends import Backend, BackendName, backends
from antiphon.testing._recorder import record
from antiphon.testing._settle import settle

__all__ = ("Backend", "BackendName", "Recording", "backends", "record", "settle")

for _public in (Backend, Recording, backends, record, settle):
    _public.__module__ = "antiphon.testing"
