"""Exports spans by OTLP over HTTP, with OpenTelemetry's own SDK (the extra `otlp`). Off unless `otlp.endpoint` is set.

`put` never waits: spans go into a bounded queue, and a thread sends them. While the collector is away the queue fills
up, and what does not fit is dropped. Nothing else of the programs depends on it.
"""

import asyncio
import importlib
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from common.config.settings import OtlpSettings
from common.errors import PoolmgrError
from common.runtime.waiting import pause
from common.wire.trace import Trace

MOST_WAITING: Final = 4096
_BATCH: Final = 256
_EVERY_MS: Final = 1000.0
_CLOSE_S: Final = 3.0


class CannotExportError(PoolmgrError):
    """The packages that export spans are not installed; the message says what to do."""


class Span(NamedTuple):
    """A span from `start` to `end` (epoch seconds). `error`: what went wrong, or empty."""

    name: str
    trace: Trace
    start: float
    end: float
    attributes: Mapping[str, str | int | float | bool] = {}
    error: str = ""


class Spans:
    """Exports the spans of one program. `service`: its name. `instance`: which process of that program it is. Raises:
    CannotExportError.
    """

    def __init__(self, settings: OtlpSettings, service: str, instance: str) -> None:
        self.on = bool(settings.endpoint)
        if not self.on:
            return
        try:
            api: Any = importlib.import_module("opentelemetry.trace")
            sdk: Any = importlib.import_module("opentelemetry.sdk.trace")
            export: Any = importlib.import_module("opentelemetry.sdk.trace.export")
            resources: Any = importlib.import_module("opentelemetry.sdk.resources")
            otlp: Any = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        except ImportError as error:
            raise CannotExportError(
                f"cannot export spans to otlp.endpoint: {error}; install what it needs: pip install 'poolmgr[otlp]'"
            ) from error
        self._api = api
        self._ids = _Ids()
        about = {"service.name": service, "service.namespace": "poolmgr", "service.instance.id": instance}
        self._provider: Any = sdk.TracerProvider(
            resource=resources.Resource.create(about), id_generator=self._ids, shutdown_on_exit=False
        )
        endpoint = f"{settings.endpoint.rstrip('/')}/v1/traces"
        exporter = otlp.OTLPSpanExporter(endpoint=endpoint, timeout=settings.timeout_s)
        self._provider.add_span_processor(
            export.BatchSpanProcessor(
                exporter,
                max_queue_size=MOST_WAITING,
                schedule_delay_millis=_EVERY_MS,
                max_export_batch_size=_BATCH,
                export_timeout_millis=settings.timeout_s * 1000,
            )
        )
        self._tracer: Any = self._provider.get_tracer("poolmgr")

    def put(self, span: Span) -> None:
        """Queue the span. Does nothing if the program exports nothing, or if its trace is not sampled."""
        if not self.on or not span.trace.sampled:
            return
        api, trace = self._api, span.trace
        self._ids.next = int(trace.trace_id, 16), int(trace.span_id, 16)
        context: Any = None
        if trace.parent_id:
            above = api.SpanContext(*(int(trace.trace_id, 16), int(trace.parent_id, 16)), True, api.TraceFlags(1))
            context = api.set_span_in_context(api.NonRecordingSpan(above))
        made = self._tracer.start_span(
            span.name, context, attributes=dict(span.attributes), start_time=int(span.start * 1e9)
        )
        if span.error:
            made.set_status(api.Status(api.StatusCode.ERROR, span.error))
        made.end(int(max(span.start, span.end) * 1e9))

    async def close(self) -> None:
        """Send the waiting spans, for a few seconds at most."""
        if self.on:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()

            def end() -> None:
                self._provider.shutdown()
                with suppress(RuntimeError):  # the deadline passed first
                    loop.call_soon_threadsafe(ended.set)

            # Not a thread of the loop's pool, because the end of the loop waits for those.
            threading.Thread(target=end, name="spans", daemon=True).start()
            await pause(ended, _CLOSE_S)


class _Ids:
    """Gives the SDK the ids that a span has to have, by the SDK's interface IdGenerator."""

    next: tuple[int, int] = (0, 0)

    def generate_trace_id(self) -> int:
        return self.next[0]

    def generate_span_id(self) -> int:
        return self.next[1]

    def is_trace_id_random(self) -> bool:
        return False
