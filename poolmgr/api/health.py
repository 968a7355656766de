"""/healthz: the process lives. /readyz: it can do its work now; if not, why not."""

from collections.abc import Callable
from typing import NamedTuple

from aiohttp import web


class Readiness(NamedTuple):
    """`role`: leader, standby or stopping. `fault`: why it is not ready, empty when it is."""

    role: str
    fault: str


def add_health(app: web.Application, readiness: Callable[[], Readiness]) -> None:
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        role, fault = readiness()
        facts = {"ready": not fault, "role": role} | ({"reason": fault} if fault else {})
        return web.json_response(facts, status=503 if fault else 200)

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
