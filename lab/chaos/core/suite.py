"""Thousands of faults against the core and the scripts: the real Pool and the real Lua on a real redis-server, without
processes, browsers and waiting. Ten thousand faults take minutes, and each episode can be repeated by itself.
"""

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common.config.settings import RedisSettings
from common.runtime.redis.client import connect
from lab.chaos.core.episode import Episode, EpisodeResult
from lab.chaos.judging.judge import Say
from lab.parts.redis_server import RedisServer

_TELL_EVERY_S: Final = 5.0


@dataclass
class CoreSummary:
    """`broken`: the seeds of the episodes with a violation."""

    episodes: int = 0
    bots: int = 0
    again: int = 0
    stale_turns: int = 0
    took_s: float = 0.0
    faults: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    violations: Counter[str] = field(default_factory=Counter[str])
    broken: list[int] = field(default_factory=list[int])

    def add(self, seed: int, result: EpisodeResult) -> None:
        self.episodes += 1
        self.bots += result.bots
        self.again += result.again
        self.stale_turns += result.stale_turns
        self.faults += result.faults
        self.reasons += result.reasons
        self.violations += Counter(violation.kind for violation in result.broken)
        if result.broken:
            self.broken.append(seed)


async def run_core(seed: int, faults: int, say: Say, episodes: int = 0) -> CoreSummary:
    """Run whole episodes until there were `faults` faults; or `episodes` episodes, if that is not 0. Their seeds are
    `seed` and the numbers after it. Raises: StageError.
    """
    summary, began = CoreSummary(), time.monotonic()
    reported_at = began
    async with _redis() as (address, redis):
        while summary.episodes < episodes if episodes else summary.faults.total() < faults:
            number = seed + summary.episodes
            result = await Episode(address, redis, f"core {number}").run()
            summary.add(number, result)
            for violation in result.broken:
                say(f"VIOLATION in episode {number}: {violation.kind}: {violation.sentence}")
                for line in violation.story:
                    say(f"    {line}")
            if time.monotonic() > reported_at + _TELL_EVERY_S:
                reported_at = time.monotonic()
                done, per_s = summary.faults.total(), summary.faults.total() / (reported_at - began)
                say(f"{summary.episodes} episodes, {done} of {faults} faults ({per_s:.0f}/s), {summary.bots} bots")
    summary.took_s = time.monotonic() - began
    return summary


def report_core(summary: CoreSummary) -> list[str]:
    """Print the table at the end."""
    faults = summary.faults.total()
    lines = [f"episodes {summary.episodes}, faults {faults} in {summary.took_s:.0f} s"]
    lines += _table(summary.faults)
    lines.append(
        f"bots {summary.bots}, sent in again {summary.again}, turns of leaders that had been replaced"
        f" {summary.stale_turns}; ended by reason:"
    )
    lines += _table(summary.reasons)
    lines.append(f"violations {summary.violations.total()}")
    lines += _table(summary.violations)
    return lines


def _table(counts: Counter[str]) -> list[str]:
    return [f"  {count:6}  {name}" for name, count in sorted(counts.items())]


@asynccontextmanager
async def _redis() -> AsyncGenerator[tuple[str, Any]]:
    """A redis-server for this run alone, and a client of it. Both are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="chaos-core-") as folder:
        server = RedisServer(Path(folder))
        redis: Any = connect(RedisSettings(url=server.url))
        try:
            await asyncio.to_thread(server.start)
            yield server.url, redis
        finally:
            await redis.aclose()
            server.stop()
