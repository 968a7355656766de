"""/healthz: the process gets on. /readyz: it can do its work now; if not, why not."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web


class Readiness(NamedTuple):
    """`role`: leader, standby or stopping. `fault`: why it is not ready, empty when it is."""

    role: str
    fault: str


def add_health(app: web.Application, readiness: Callable[[], Readiness], late: Callable[[], Sequence[str]]) -> None:
    """`late`: the loops that stand still, which only a new process mends."""

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
