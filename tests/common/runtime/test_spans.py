"""Spans on their way to a collector, which may be slow or away: nobody waits for it."""

import sys
import threading
import time

import pytest
from aiohttp import web

from common.config.settings import OtlpSettings
from common.runtime import spans
from common.runtime.spans import CannotExportError, Span, Spans
from common.wire.trace import Trace
from tests.collecting import collecting
from tests.waiting import wait_until
from tests.worker.visits import serving

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_a_collector_gets_them_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret")
    job = Trace.of_bot("b1", GIVEN)
    async with collecting() as (collector, address):
        ours = Spans(OtlpSettings(f"{address}/"), "poolmgr", "host")
        ours.put(Span("job", job, 1000.0, 1010.5, {"bot_id": "b1", "warm": True}, "browser_crashed"))
        ours.put(Span("join", job.below("join", 1), 1001.0, 1000.0))
        ours.put(Span("warm", Trace.of_worker("w1"), 1.0, 2.0))
        ours.put(Span("job", Trace.of_bot("b2", f"{GIVEN[:-2]}00"), 1.0, 2.0))
        await ours.close()
        assert [span.name for span in collector.spans] == ["job", "join", "warm"]  # the fourth is not sampled
        first, second, third = collector.spans
        assert first[:4] == ("job", job.trace_id, job.span_id, "00f067aa0ba902b7")
        assert (first.start, first.end, first.error) == (1000.0, 1010.5, "browser_crashed")
        assert first.attributes == {"bot_id": "b1", "warm": True}
        assert (second.parent_id, second.start, second.end) == (job.span_id, 1001.0, 1001.0)
        assert (third.parent_id, third.service) == ("", "poolmgr")
        assert collector.headers["x-key"] == "secret"


async def test_nobody_waits_for_a_collector_that_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would wait for is bounded, and so is the end."""
    monkeypatch.setattr(spans, "_CLOSE_S", 0.2)
    asked: list[float] = []

    async def never(_: web.Request) -> web.Response:
        asked.append(time.monotonic())
        return web.Response(status=503, headers={"Retry-After": "60"})

    app = web.Application()
    app.router.add_post("/v1/traces", never)
    async with serving(app) as address:
        ours = Spans(OtlpSettings(address, timeout_s=0.5), "poolmgr", "host")
        began = time.thread_time()
        for number in range(2 * spans.MOST_WAITING):
            ours.put(Span("job", Trace.of_bot(f"b{number}"), 1.0, 2.0))
        assert time.thread_time() - began < 5
        await wait_until(lambda: asked)
        began = time.monotonic()
        await ours.close()
        assert time.monotonic() - began < 30
        # Its threads give up by themselves. Until then they draw lots, which a property test takes for its own.
        await wait_until(
            lambda: not [each for each in threading.enumerate() if each.name.startswith(("spans", "Otel"))]
        )


async def test_without_an_endpoint_nothing_is_exported_and_nothing_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    ours = Spans(OtlpSettings(), "poolmgr", "host")
    ours.put(Span("job", Trace.of_bot("b1"), 1.0, 2.0))
    await ours.close()
    with pytest.raises(CannotExportError, match=r"pip install 'poolmgr\[otlp\]'"):
        Spans(OtlpSettings("http://127.0.0.1:4318"), "poolmgr", "host")
