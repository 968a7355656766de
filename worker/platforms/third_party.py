"""Finds adapters of other distributions, by the entry point group `poolmgr.adapters`. docs/adapters.md shows one."""

import re
from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from common.errors import AgentError
from worker.platforms.adapter import Adapter

GROUP: Final = "poolmgr.adapters"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")


class BadAdapterError(AgentError):
    """An installed adapter cannot be used. The message names its distribution and says what to do."""


def discover(taken: Collection[str]) -> dict[str, Adapter]:
    """The installed adapters, by platform. `taken`: platforms that this release has an adapter for.

    Raises: BadAdapterError.
    """
    found: dict[str, Adapter] = {}
    for point in entry_points(group=GROUP):
        if not _NAME.fullmatch(point.name):
            raise _bad(point, f"{point.name!r} is no platform's name: lower-case letters, digits and _")
        if point.name in taken:
            raise _bad(point, f"{point.name} is joined by this release itself; put overrides in worker.adapters_dir")
        if point.name in found:
            raise _bad(point, f"another distribution has one for {point.name}, too")
        found[point.name] = _load(point)
    return found


def _load(point: EntryPoint) -> Adapter:
    try:
        what = point.load()
        adapter = what if isinstance(what, Adapter) and not isinstance(what, type) else what()
    except Exception as error:  # another distribution's code may raise anything
        raise _bad(point, f"{type(error).__name__}: {error}") from error
    if not isinstance(adapter, Adapter):
        raise _bad(point, "is no adapter: it needs platform, rules, address, observe, act and say")
    if adapter.platform != point.name:
        raise _bad(point, f"says that its platform is {adapter.platform!r}")
    return adapter


def _bad(point: EntryPoint, why: str) -> BadAdapterError:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
    return BadAdapterError(
        f"cannot use the adapter {point.name!r} of {distribution} ({point.value}): {why}; mend it or uninstall it"
    )
