"""The stages, one module each: what is measured, against what."""

from __future__ import annotations

from benchmarks.cases import Stage
from benchmarks.stages import changes, concurrent, dispatch, importing, keys, lookup, policies, register, sync, waiting

__all__ = ("STAGES",)

STAGES: dict[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (dispatch, sync, concurrent, policies, waiting, keys, register, changes, lookup, importing)
}
