"""Tools for tests: virtual time and seeded schedules, on asyncio and trio.

`Backend` gives both in one way::

    Backend("trio", seed=3).run(main)  # a run of its own


    @pytest.fixture(params=backends(), ids=str)  # every async test
    def anyio_backend(request):
        return request.param.as_anyio()

To wait until all other tasks are blocked there is ``await settle()``. (Mind that on asyncio anyio's own
``wait_all_tasks_blocked`` polls every 0.1 s, in virtual time as in real time: a task that sleeps for less may wake up
meanwhile.)
"""

from __future__ import annotations

from tests.support.asyncio_loop import VirtualTimeLoop
from tests.support.backends import Backend, BackendName, backends
from tests.support.settling import settle

__all__ = ("Backend", "BackendName", "VirtualTimeLoop", "backends", "settle")
