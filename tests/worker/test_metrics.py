"""What an agent's metrics say: of closed sets, and of browsers that run."""

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from common.wire.messages import BotEnded, BotSaw, Join, JoinRefused, WorkerGone, WorkerReport, WorkerWarm
from common.wire.vocabulary import GoneCause, Reason, RefusalCause, WorkerState
from lab.parts.ports import free_ports
from worker.chromium.accounts import Health
from worker.chromium.process import Launcher, find_chromium
from worker.chromium.profile import Profile
from worker.metrics import (
    AgentMetrics,
    CannotServeError,
    ObservedDriver,
    ObservedLauncher,
    Spooled,
    keep_looking,
    served,
)

WHO: dict[str, Any] = {"vm_id": "vm", "worker_id": "w", "bot_id": "b", "attempt": 1, "at": 0.0}


def value(metrics: AgentMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"poolmgr_worker_{name}", labels)


def test_screens_are_counted_by_platform_and_rule_up_to_a_limit() -> None:
    metrics = AgentMetrics()
    metrics.ordered(Join("w", "b", 1, "zoom", "https://zoom.us/j/1", "Bot"))
    for number in range(503):
        metrics.reported(BotSaw(**WHO, screen="denied", rule=f"rule-{number}"))
    metrics.reported(
        BotSaw(**WHO, screen="denied", rule="rule-0"), BotSaw(**WHO, screen="denied", rule="rule-0", did="x")
    )
    assert value(metrics, "screens_seen_total", platform="zoom", screen="denied", rule="rule-0") == 2
    assert value(metrics, "screens_seen_total", platform="zoom", screen="other", rule="other") == 3
    metrics.reported(BotEnded(**WHO, reason=Reason.REQUEST_DENIED), JoinRefused(**WHO, cause=RefusalCause.LOW_MEMORY))
    metrics.reported(BotSaw(**WHO, screen="lobby", rule="x"))  # of whom nothing was ordered
    assert value(metrics, "screens_seen_total", platform="other", screen="other", rule="other") == 1
    assert value(metrics, "bots_ended_total", reason="request_denied") == 1
    assert value(metrics, "refused_total", cause="low_memory") == 1


def test_accounts_say_until_when_they_last_and_whether_a_platform_refused_them() -> None:
    metrics = AgentMetrics()
    metrics.accounts = lambda: {"ann": Health(1_800_000_000.0, refused=True), "ben": Health(None, refused=False)}
    assert value(metrics, "account_refused", account="ann") == 1
    assert value(metrics, "account_refused", account="ben") == 0
    metrics.spooled = lambda: Spooled(300, 512, 2)
    spool = [value(metrics, name) for name in ("spool_bytes", "spool_limit_bytes", "store_refused_total")]
    assert spool == [300, 512, 2]
    assert value(metrics, "account_expires_timestamp_seconds", account="ann") == 1_800_000_000
    assert value(metrics, "account_expires_timestamp_seconds", account="ben") is None


def test_of_bots_whose_end_is_never_heard_only_so_many_are_remembered() -> None:
    metrics = AgentMetrics()
    for number in range(1001):
        metrics.ordered(Join("w", f"b{number}", 1, "zoom", "https://zoom.us/j/1", "Bot"))
    for bot_id in ("b0", "b1"):
        metrics.reported(BotSaw("vm", "w", bot_id, 1, 0.0, "lobby"))
    assert value(metrics, "screens_seen_total", platform="other", screen="lobby", rule="") == 1
    assert value(metrics, "screens_seen_total", platform="zoom", screen="lobby", rule="") == 1


@pytest.mark.long
async def test_a_browser_is_timed_weighed_and_forgotten(tmp_path: Path) -> None:
    metrics = AgentMetrics()
    launcher = ObservedLauncher(Profile(find_chromium("")), tmp_path, metrics=metrics)
    driver = ObservedDriver(metrics)
    await driver.start()
    chromium = await launcher.launch("w")
    try:
        began = time.monotonic()
        browser = await driver.connect(chromium.endpoint, tmp_path, 30)
        await browser.contexts[0].new_page()
        metrics.reports = lambda: {"w": WorkerReport(WorkerState.IDLE)}
        metrics.reported(WorkerWarm("vm", "w", 0.0, took_s=60 + time.monotonic() - began))
        for step in ("launch", "connect", "page", "all"):
            assert value(metrics, "warmup_seconds_count", step=step) == 1
        assert (value(metrics, "warmup_seconds_sum", step="page") or 0) > 30
        await metrics.look(1.0)
        page = browser.contexts[0].pages[0]
        await page.evaluate("() => { const until = performance.now() + 300; while (performance.now() < until); }")
        await metrics.look(1.0)
        assert (value(metrics, "browser_cpu_seconds_total", state="idle") or 0) > 0
        assert (value(metrics, "browser_memory_bytes", state="idle") or 0) > 20e6
        vitals = metrics.vitals(1024)
        assert vitals.workers["w"].memory_mb > 20
        assert vitals.total_mb > vitals.available_mb > 0
        assert Launcher(Profile(find_chromium("")), tmp_path).find("w")
        again = AgentMetrics()
        assert ObservedLauncher(Profile(find_chromium("")), tmp_path, metrics=again).find("w")
        again.reports = metrics.reports
        await again.look(1.0)
        assert (value(again, "browser_memory_bytes", state="idle") or 0) > 20e6
    finally:
        await driver.stop()
        await chromium.kill()
    metrics.reported(WorkerGone("vm", "w", 0.0, GoneCause.SPENT))
    assert metrics.vitals(0).workers == {}
    assert value(metrics, "gone_total", cause="spent") == 1
    assert value(metrics, "driver_restarts_total") == 0


async def test_they_are_served_where_it_is_said_and_nowhere_else() -> None:
    metrics = AgentMetrics()
    [port] = free_ports(1)
    async with served("", metrics):
        pass
    async with served(f"127.0.0.1:{port}", metrics), aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert "poolmgr_worker_room 0.0" in await answer.text()
        with pytest.raises(CannotServeError, match=r"worker\.metrics_listen"):
            async with served(f"127.0.0.1:{port}", metrics):
                pass


async def test_the_clock_is_unknown_until_redis_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.metrics.LOOK_S", 0.001)
    metrics = AgentMetrics()
    offsets = [0.5, None]
    told: list[int] = []
    seen: list[float] = []

    async def tell(vitals: Any) -> None:
        told.append(vitals.reserve_mb)

    async def offset() -> float | None:
        seen.append(value(metrics, "clock_offset_seconds") or 0.0)
        if not offsets:
            raise asyncio.CancelledError
        return offsets.pop(0)

    with pytest.raises(asyncio.CancelledError):
        await keep_looking(metrics, tell, offset, 7)
    assert told == [7, 7, 7]
    assert (math.isnan(seen[0]), seen[1], math.isnan(seen[2])) == (True, 0.5, True)
