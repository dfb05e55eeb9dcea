"""What a run was made on: enough to judge its figures, and nothing that names the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.peers import PEERS

__all__ = ("machine", "versions")


def machine() -> dict[str, str | int | None]:
    """Describes the machine and its Python."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def versions() -> dict[str, str | None]:
    """Tells the versions of all that takes part; ``None`` for what is not installed."""
    return {name: _version(name) for name in ("antiphon", "anyio", "trio", "uvloop", *(peer.name for peer in PEERS))}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor()
