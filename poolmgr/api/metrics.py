"""/metrics, in the format that the scraper asks for."""

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


def add_metrics(app: web.Application, registry: CollectorRegistry) -> None:
    """Serve /metrics with what `registry` collects."""

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app.router.add_get("/metrics", metrics)
