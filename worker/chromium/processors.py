"""How many processors there are for the browsers of this VM."""

import os
from pathlib import Path
from typing import Final

CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")
"""Of a container: what it may take in a period, and the period. cgroup v2."""


def processors(limit: Path = CPU_MAX) -> float:
    """How many processors this process may use; fewer if a container's limit says so."""
    usable = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = limit.read_text().split()
        return usable if quota == "max" else min(usable, int(quota) / int(period))
    except (OSError, ValueError):
        return usable
