"""A collector of spans: takes OTLP over HTTP, and decodes it by OpenTelemetry's own protobuf."""

import gzip
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from common.config.settings import OtlpSettings
from common.runtime.spans import Span, Spans
from tests.worker.visits import serving


class Received(NamedTuple):
    """A span as it came. Ids are hexadecimal, times epoch seconds; `service`: whose it is."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: float
    end: float
    attributes: dict[str, Any]
    error: str
    service: str


class Collector:
    """`spans`: all that came. `headers`: of the last request."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.headers: dict[str, str] = {}

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers = dict(request.headers)
        message = ExportTraceServiceRequest.FromString(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)
        for of in message.resource_spans:
            service = {each.key: each.value.string_value for each in of.resource.attributes}["service.name"]
            for scope in of.scope_spans:
                self.spans += [_received(span, service) for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")


def _received(span: Any, service: str) -> Received:
    attributes = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    times = (span.start_time_unix_nano / 1e9, span.end_time_unix_nano / 1e9)
    return Received(span.name, *ids, *times, attributes, span.status.message, service)


@asynccontextmanager
async def collecting() -> AsyncGenerator[tuple[Collector, str]]:
    """A collector, and its address for otlp.endpoint."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    async with serving(app) as address:
        yield collector, address


class Kept(Spans):
    """Keeps what is to be exported."""

    def __init__(self) -> None:
        super().__init__(OtlpSettings(), "", "")
        self.on = True
        self.spans: list[Span] = []

    def put(self, span: Span) -> None:
        self.spans.append(span)
