"""The stages, one module each: what is measured, against what."""

from __future__ import annotations

from benchmarks.cases import Stage
from benchmarks.stages import concurrent, dispatch, importing, keys, lookup, register, sync, waiting

__all__ = ("STAGES",)

STAGES: dict[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (dispatch, sync, concurrent, waiting, keys, register, lookup, importing)
}
