"""What probes are told."""

import json
from collections.abc import Sequence

import pytest
from aiohttp import ClientSession, web

from poolmgr.api.health import Readiness, add_health
from tests.worker.visits import serving


async def asked(path: str, readiness: Readiness, late: Sequence[str]) -> tuple[int, dict[str, object]]:
    app = web.Application()
    add_health(app, lambda: readiness, lambda: late)
    async with serving(app) as address, ClientSession() as session, session.get(f"{address}{path}") as response:
        return response.status, json.loads(await response.text())


READY = Readiness("leader", "")


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        ([], (200, {"status": "ok"})),
        (["dispatcher", "events"], (503, {"status": "stands still", "loops": ["dispatcher", "events"]})),
    ],
)
async def test_a_process_whose_loops_stand_still_is_not_healthy(
    late: list[str], expected: tuple[int, dict[str, object]]
) -> None:
    assert await asked("/healthz", READY, late) == expected


async def test_one_that_cannot_work_now_is_healthy_and_not_ready() -> None:
    away = Readiness("standby", "ConnectionError: refused")
    assert await asked("/healthz", away, []) == (200, {"status": "ok"})
    assert await asked("/readyz", away, []) == (
        503,
        {"ready": False, "role": "standby", "reason": "ConnectionError: refused"},
    )
    assert await asked("/readyz", READY, []) == (200, {"ready": True, "role": "leader"})
