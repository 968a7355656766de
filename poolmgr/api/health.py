"""/healthz: whether the process makes progress. /readyz: whether it can do its work now, and if not, why."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web


class Readiness(NamedTuple):
    """`role`: leader, standby or stopping. `fault`: why it is not ready, empty when it is."""

    role: str
    fault: str


def add_health(app: web.Application, readiness: Callable[[], Readiness], late: Callable[[], Sequence[str]]) -> None:
    """Add both routes. `late`: gives the loops that stand still, which only a restart mends."""

    async def healthz(_: web.Request) -> web.Response:
        if loops := late():
            return web.json_response({"status": "stands still", "loops": list(loops)}, status=503)
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        role, fault = readiness()
        facts = {"ready": not fault, "role": role} | ({"reason": fault} if fault else {})
        return web.json_response(facts, status=503 if fault else 200)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
