"""All operations of the API, and the aiohttp routes made from them."""

from functools import cache
from typing import Final

import msgspec
from aiohttp import web

from common.config.settings import ApiSettings
from poolmgr.api.document import PAGE_POLICY, openapi, page
from poolmgr.api.gateway import Gateway
from poolmgr.api.observe import ApiMetrics
from poolmgr.api.operation import PREFIX, Service
from poolmgr.api.operations import bots, glance, media, not_offered, scheduled, transcripts
from poolmgr.api.operations.create import CREATE_BOT

OPERATIONS: Final = (
    CREATE_BOT,
    *bots.OPERATIONS,
    *media.OPERATIONS,
    *glance.OPERATIONS,
    *transcripts.OPERATIONS,
    *scheduled.OPERATIONS,
    *not_offered.OPERATIONS,
)


def add_api(app: web.Application, service: Service, settings: ApiSettings, metrics: ApiMetrics) -> Gateway:
    """Serve the operations under /api/v1, and their document where the settings allow it. The gateway's tokens can be
    replaced later.
    """
    gateway = Gateway(service, settings, metrics)
    app.middlewares.append(gateway.answer)

    async def close(_app: web.Application) -> None:
        service.turns.close()

    app.on_cleanup.append(close)
    for operation in OPERATIONS:
        handler = gateway.handler(operation)
        app.router.add_route(operation.method, PREFIX + operation.path, handler, expect_handler=_expectation)
    if settings.documents:
        _add_documents(app)
    return gateway


@cache
def _documents() -> tuple[bytes, str]:
    """Serve the document for programs and the page for people. They are the same for all processes of a version."""
    document = openapi(OPERATIONS)
    return msgspec.json.encode(document), page(document)


def _add_documents(app: web.Application) -> None:
    text, html = _documents()

    async def openapi_json(_: web.Request) -> web.Response:
        return web.Response(body=text, content_type="application/json")

    async def docs(_: web.Request) -> web.Response:
        policy = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer"}
        return web.Response(text=html, content_type="text/html", headers=policy)

    app.router.add_get(f"{PREFIX}/openapi.json", openapi_json)
    app.router.add_get(f"{PREFIX}/docs", docs)


async def _expectation(_: web.Request) -> None:
    """Does nothing: the gateway answers "100 Continue" itself, once it knows the caller and the size of the body."""
