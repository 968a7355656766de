"""A client's trace, all the way: by header and field, through Redis, to status stream, webhooks and a collector."""

import json
from typing import Any

import msgspec
import pytest
from aiohttp import web

from common.config.settings import OtlpSettings
from common.wire.trace import Trace, read
from tests.api.conftest import JOB, World, world
from tests.collecting import collecting
from tests.waiting import wait_until
from tests.worker.visits import serving

__all__ = ["world"]

GIVEN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
OTHER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def traceparents(world: World) -> dict[str, set[str]]:
    """What the status stream says, by bot."""
    found: dict[str, set[str]] = {}
    for _, fields in await world.redis.xrange(world.keys.status):
        found.setdefault(fields[b"bot_id"].decode(), set()).add(fields.get(b"traceparent", b"").decode())
    return found


async def test_a_trace_is_taken_from_header_and_field_and_handed_on(world: World) -> None:
    heard: dict[str, list[str]] = {}

    async def hear(request: web.Request) -> web.Response:
        body: Any = await request.json()
        heard.setdefault(body["bot_id"], []).append(request.headers.get("traceparent", ""))
        return web.Response()

    app = web.Application()
    app.router.add_post("/", hear)
    async with collecting() as (collector, address), serving(app) as receiver:
        world.settings = msgspec.structs.replace(world.settings, otlp=OtlpSettings(address))
        async with world.leading() as call, world.agent().running():
            url = f"{receiver}/"
            for fields, header in (
                ({"bot_id": "header"}, GIVEN),
                ({"bot_id": "field", "traceparent": OTHER}, GIVEN),
                ({"bot_id": "neither"}, "00-nonsense"),
            ):
                body = {**JOB, **fields, "callback_url": url}
                said = await call("POST", "/bots/create_bot", body, headers={"traceparent": header})
                assert said.status == 201
            await world.redis.lpush(world.keys.jobs, json.dumps({**JOB, "bot_id": "pushed", "traceparent": GIVEN}))
            for bot_id in ("header", "field", "neither", "pushed"):
                await world.until_state(bot_id, "in_meeting")
                await call("POST", f"/bots/{bot_id}/remove_bot", {})
                await world.until_state(bot_id, "stopped")
            assert await traceparents(world) == {
                "header": {GIVEN}, "field": {OTHER}, "neither": {""}, "pushed": {GIVEN},
            }  # fmt: skip
            await wait_until(lambda: len(collector.named("job")) == 4)
            await wait_until(lambda: len(heard) == 3)
            told = [(bot_id, read(traceparent)) for bot_id, sent in heard.items() for traceparent in sent]
            # One that is under way when the manager ends is sent again by the next one, and has no span yet.
            sent_in = {trace.span_id for _, trace in told if trace}
            await wait_until(lambda: sent_in <= {span.span_id for span in collector.named("webhook")})
        jobs = {span.attributes["bot_id"]: span for span in collector.named("job")}
        assert {name: span.parent_id for name, span in jobs.items()} == {
            "header": "00f067aa0ba902b7", "field": "b7ad6b7169203331", "neither": "", "pushed": "00f067aa0ba902b7",
        }  # fmt: skip
        assert jobs["pushed"].trace_id == jobs["header"].trace_id != jobs["field"].trace_id
        assert {span.parent_id for span in collector.named("dispatch")} == {span.span_id for span in jobs.values()}
        attempts = {span.span_id: span for span in collector.named("webhook")}
        for bot_id, trace in told:
            assert trace
            assert trace.trace_id == jobs[bot_id].trace_id
            assert attempts[trace.span_id].parent_id == Trace.of_bot(bot_id).span_id


@pytest.mark.parametrize("traceparent", [1, {}, "x" * 513])
async def test_a_traceparent_that_is_no_text_is_refused(world: World, traceparent: object) -> None:
    async with world.serving() as call:
        said = await call("POST", "/bots/create_bot", {**JOB, "traceparent": traceparent})
        assert (said.status, "traceparent" in said.message) == (400, True)
