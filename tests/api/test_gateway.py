"""Who is let in, how often, and in what words everybody else is turned away."""

import asyncio
import json
from collections import Counter
from typing import Any

import aiohttp
import pytest
import structlog
from prometheus_client import generate_latest

from lab.parts.redis_server import RedisServer
from tests.api.conftest import JOB, LINK, OWN, TOKEN, Caller, World, token


async def _raw(call: Caller, path: str = "/bots", **headers: str) -> tuple[int, Any, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{call.base}/api/v1{path}", headers=headers) as answer:
        return answer.status, json.loads(await answer.text()), answer.headers


async def test_who_shows_no_token_is_told_how(world: World) -> None:
    async with world.serving() as call:
        for header in ({}, *({"Authorization": text} for text in ("", "Token", f"Basic {TOKEN}", TOKEN))):
            status, body, headers = await _raw(call, **header)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Token realm="poolmgr"')
            assert "Authorization: Token" in body["message"]


async def test_a_token_that_is_off_by_one_byte_is_none(world: World) -> None:
    near = [TOKEN[:-1], TOKEN + "x", TOKEN[:-1] + "z", "P" + TOKEN[1:], TOKEN.upper(), "é" * 20, "x" * 5000]
    async with world.serving() as call:
        for wrong in near:
            status, body, _ = await _raw(call, Authorization=f"Token {wrong}")
            assert status in (401, 403)
            assert wrong not in body["message"]
        for right in (f"Token {TOKEN}", f"Bearer {TOKEN}", f"token  {TOKEN} "):
            assert (await _raw(call, Authorization=right))[0] == 200


async def test_without_configured_tokens_nobody_gets_in_and_hears_why(world: World) -> None:
    world.change(tokens=[])
    async with world.serving() as call:
        answer = await call("GET", "/bots")
        assert answer.status == 403
        assert "`poolmgr token NAME`" in answer.message


def stand_still(world: World) -> None:
    """However long the calls take, nobody may make another one meanwhile."""
    world.steady = lambda: 1000.0


async def test_failed_attempts_from_one_address_are_bounded_and_lock_out_nobody_else(world: World) -> None:
    stand_still(world)
    async with world.serving() as call:
        statuses = Counter([(await _raw(call, Authorization="Token wrong"))[0] for _ in range(30)])
        assert statuses == {403: 20, 429: 10}
        status, body, headers = await _raw(call, Authorization="Token wrong")
        assert (status, headers["Retry-After"]) == (429, "1")
        assert "without a known token" in body["message"]
        assert (await call("GET", "/bots")).status == 200


async def test_a_token_has_its_rate(world: World) -> None:
    stand_still(world)
    world.change(tokens=[token("app", TOKEN, requests_per_s=2.0), token("seldom", OWN, requests_per_s=0.1)])
    async with world.serving() as call:
        answers = await asyncio.gather(*(call("GET", "/bots") for _ in range(10)))
        assert Counter(answer.status for answer in answers) == {200: 4, 429: 6}
        refused = next(answer for answer in answers if answer.status == 429)
        assert refused.headers["Retry-After"] == "1"
        assert "2 requests a second" in refused.message
        seldom = [await call.as_(OWN)("GET", "/bots") for _ in range(2)]
        assert [answer.status for answer in seldom] == [200, 429]
        assert seldom[1].headers["Retry-After"] == "10"


async def test_every_answer_has_our_headers_and_a_request_id(world: World) -> None:
    async with world.serving() as call:
        for path in ("/bots", "/nothing", "/bots/x/status"):
            answer = await call("GET", path, headers={"X-Request-Id": "my-id.1"})
            assert answer.headers["X-Request-Id"] == "my-id.1"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "aiohttp" not in answer.headers["Server"]
        ids = [
            (await call("GET", "/bots", headers={"X-Request-Id": bad})).headers["X-Request-Id"]
            for bad in ("a b", "x" * 200)
        ]
        assert all(len(request_id) == 32 for request_id in ids)


async def test_addresses_and_methods_that_are_none_are_told_in_json(world: World) -> None:
    async with world.serving() as call:
        assert (await call("GET", "/nothing")).status == 404
        assert "/api/v1/docs" in (await call("GET", "/nothing")).message
        wrong = await call("PUT", "/bots")
        assert (wrong.status, wrong.headers["Allow"]) == (405, "GET")
        assert "use GET" in wrong.message


@pytest.mark.parametrize(
    "bot_id", ["..%2f..%2fetc", "%2e%2e", "..%5c", "a%00b", "x" * 300, "-x", "a%20b", "%F0%9F%98%80", "*", "%ED%A0%80"]
)
async def test_ids_that_nothing_can_have_are_not_found(world: World, bot_id: str) -> None:
    async with world.serving() as call:
        for method, path in (("GET", "status"), ("GET", "remove_bot"), ("DELETE", "delete"), ("GET", "get_audio")):
            answer = await call(method, f"/bots/{bot_id}/{path}")
            assert (answer.status, answer.message) == (404, "Bot not found.")


async def test_the_log_tells_of_each_request_and_of_no_secret(world: World) -> None:
    with structlog.testing.capture_logs() as lines:
        async with world.serving() as call:
            await call.create(callback_url="https://hooks.example/my-secret", custom_attributes={"a": "my-secret"})
            await call("GET", "/bots", headers={"Authorization": "Token my-secret"})
            await call("GET", "/bots?user_id=my-secret")
    answered = [line for line in lines if line["event"] == "request_answered"]
    assert [(line["method"], line["route"], line["status"], line["token"], line["log_level"]) for line in answered] == [
        ("POST", "/api/v1/bots/create_bot", 201, "app", "info"),
        ("GET", "/api/v1/bots", 403, "", "debug"),
        ("GET", "/api/v1/bots", 200, "app", "debug"),
    ]
    text = json.dumps(lines, default=str)
    for secret in (TOKEN, "my-secret", LINK, "the-secret-room"):
        assert secret not in text


async def test_requests_are_counted_by_route_and_not_by_id(world: World) -> None:
    async with world.serving() as call:
        await call("GET", "/bots/some-bot/status")
        await call("GET", "/some-nonsense")
        await call("PROPFIND", "/bots")
    text = generate_latest(world.registry).decode()
    assert 'poolmgr_api_requests_total{code="404",method="GET",route="/api/v1/bots/{bot_id}/status"} 1.0' in text
    assert 'poolmgr_api_requests_total{code="404",method="GET",route="none"} 1.0' in text
    assert 'method="other"' in text
    assert "some-bot" not in text
    assert "some-nonsense" not in text


@pytest.mark.parametrize(
    "head",
    [
        *(
            b"GET /api/v1/bots?%s HTTP/1.1" % query
            for query in (b"user_id=\xff", b"custom_attr[\xff]=1", b"\xed\xa0\x80=1")
        ),
        *(b"GET /api/v1/bots?%s HTTP/1.1" % query for query in (b"cursor=%FF", b"user_id=%ED%A0%80", b"platform=\xff")),
        b"GET /api/v1/bots/\xff/status HTTP/1.1",
        b"DELETE /api/v1/google-logins/\xff HTTP/1.1",
        b"GET /api/v1/\xff HTTP/1.1",
        b"\xff /api/v1/bots HTTP/1.1",
        *(b"GET /api/v1/bots HTTP/1.1\r\n%s: \xff\xed\xa0\x80" % name for name in (b"X-Request-Id", b"X-A", b"\xff")),
        b"GET /api/v1/bots HTTP/1.1\r\nAuthorization: Token \xff",
        b"POST /api/v1/bots/create_bot HTTP/1.1\r\nIdempotency-Key: \xff",
        b"POST /api/v1/bots/create_bot HTTP/1.1\r\nContent-Type: application/json;a=\xff",
        b"POST /api/v1/bots/create_bot HTTP/1.1\r\nHost: \xff",
    ],
)
async def test_bytes_that_are_no_text_are_never_an_accident(world: World, head: bytes) -> None:
    async with world.serving() as call:
        host, _, port = call.base.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, port)
        more = [] if b"Authorization" in head else [b"Authorization: Token " + TOKEN.encode()]
        more += [] if b"Content-Type" in head else [b"Content-Type: application/json"]
        writer.write(b"\r\n".join([head, b"Connection: close", b"Content-Length: 2", *more, b"", b"{}"]))
        status = int((await reader.read()).split()[1])
        writer.close()
        await writer.wait_closed()
    assert 200 <= status < 500


@pytest.mark.parametrize("half", ["\ud800", "a\udc00\ud800b"])
async def test_half_a_character_in_a_body_is_refused_wherever_it_stands(world: World, half: str) -> None:
    hand = await world.ledger()
    await hand.enter("b1")
    await hand.accept("later", join_at="2027-06-01T00:00:00Z")
    places: list[dict[str, Any]] = [
        *({**JOB, name: half} for name in ("bot_name", "user_id", "x", half, "deduplication_key", "passcode")),
        {**JOB, "custom_attributes": {half: 1}},
        {**JOB, "recording_config": {"transcript": {"provider": {half: {}}}}},
        {**JOB, "zoom": {half: 1}},
    ]
    async with world.serving() as call:
        for body in places:
            assert (await call("POST", "/bots/create_bot", body)).status == 400
        assert (await call("POST", "/bots/b1/send_message", {"message": half})).status == 400
        moved = await call("PATCH", "/calendar/scheduled_bots/later", {"scheduled_join_time": half})
        assert moved.status == 400


async def test_when_redis_is_away_callers_are_told_to_come_again(own_redis: RedisServer, prefix: str) -> None:
    world = World(own_redis.url, prefix)
    async with world.serving() as call:
        own_redis.stop()
        for answer in (await call("GET", "/bots"), await call.create(), await call("GET", "/bots/b1/status")):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert "Redis is away" in answer.message
        own_redis.start()
        assert (await call.create()).status == 201
    await world.redis.aclose()


async def test_when_redis_is_full_callers_are_told_so(own_redis: RedisServer, prefix: str) -> None:
    world = World(own_redis.url, prefix)
    async with world.serving() as call:
        await world.redis.config_set("maxmemory", 1)
        answer = await call.create()
        assert answer.status == 503
        assert "may be full" in answer.message
    await world.redis.aclose()
