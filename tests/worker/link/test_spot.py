"""What the metadata servers of the clouds say, by their documentation, and what else may answer at their address."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from tests.worker.visits import serving
from worker.decide.notice import Notice
from worker.link import spot
from worker.link.spot import Cloud, UnknownError, cloud

Answer = tuple[int, str]
NOT_FOUND: Answer = (404, "")
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"
PREEMPTED = "/computeMetadata/v1/instance/preempted"
EVENTS = "/metadata/scheduledevents"
NAME = "/metadata/instance/compute/name"


class Metadata:
    """A metadata server. `says`: what it answers by path; all else is not found. Like those of the clouds it refuses
    who does not ask as they want to be asked.
    """

    def __init__(self, says: Mapping[str, Answer]) -> None:
        self.says = dict(says)
        self.token = "first"
        self.asked: list[str] = []
        self.flavour = "Google"

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path == "/latest/api/token":
            return self._token(request)
        headers = request.headers
        let_in = {
            "/latest/": headers.get("X-aws-ec2-metadata-token") == self.token,
            "/computeMetadata/": headers.get("Metadata-Flavor") == "Google",
            "/metadata/": headers.get("Metadata") == "true" and "api-version" in request.query,
        }
        if not next(allowed for prefix, allowed in let_in.items() if request.path.startswith(prefix)):
            return web.Response(status=401 if request.path.startswith("/latest/") else 403)
        status, text = self.says.get(request.path, NOT_FOUND)
        return web.Response(status=status, text=text, headers={"Metadata-Flavor": self.flavour})

    def _token(self, request: web.Request) -> web.Response:
        if "token" in self.says:
            status, text = self.says["token"]
            return web.Response(status=status, text=text)
        if request.method != "PUT" or "X-aws-ec2-metadata-token-ttl-seconds" not in request.headers:
            return web.Response(status=405)
        return web.Response(text=self.token)


@asynccontextmanager
async def asking(name: str, says: Mapping[str, Answer]) -> AsyncGenerator[tuple[Cloud, Metadata]]:
    metadata = Metadata(says)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", metadata.answer)
    async with serving(app) as address, cloud(name, f"{address}/") as asked:
        yield asked, metadata


async def said(name: str, says: Mapping[str, Answer]) -> Notice | None:
    async with asking(name, says) as (asked, _):
        return await asked.ask()


def ok(text: str) -> Answer:
    return 200, text


async def test_amazon_says_nothing_of_a_vm_that_stays() -> None:
    assert await said("aws", {}) is None


async def test_amazon_says_when_it_takes_a_vm_away() -> None:
    says = {ACTION: ok('{"action": "terminate", "time": "2026-11-30T09:18:00Z"}'), REBALANCE: ok("unread")}
    at = datetime(2026, 11, 30, 9, 18, tzinfo=UTC).timestamp()
    assert await said("aws", says) == Notice("terminate", at)


async def test_amazon_says_that_it_may_take_a_vm_away() -> None:
    assert await said("aws", {REBALANCE: ok('{"noticeTime": "2026-11-30T09:16:00Z"}')}) == Notice("rebalance")


async def test_a_token_is_asked_for_once_and_anew_when_it_is_refused() -> None:
    async with asking("aws", {}) as (asked, metadata):
        await asked.ask()
        await asked.ask()
        assert metadata.asked.count("/latest/api/token") == 1
        metadata.token = "second"
        assert await asked.ask() is None
        assert metadata.asked.count("/latest/api/token") == 2


async def test_google_gives_half_a_minute_from_when_it_first_says_so() -> None:
    async with asking("gcp", {PREEMPTED: ok("FALSE")}) as (asked, metadata):
        assert await asked.ask() is None
        metadata.says[PREEMPTED] = ok("TRUE")
        first, second = await asked.ask(), await asked.ask()
        assert first
        assert first == second
        assert 0 < first.at - time.time() <= 30


def events(*events: str) -> str:
    return f'{{"DocumentIncarnation": 1, "Events": [{", ".join(events)}]}}'


def event(kind: str, name: str, not_before: str) -> str:
    return f'{{"EventId": "1", "EventType": "{kind}", "Resources": ["{name}"], "NotBefore": "{not_before}"}}'


def in_s(seconds: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)


async def test_azure_says_it_of_all_vms_of_a_scale_set_and_ours_counts() -> None:
    later, sooner = in_s(600), in_s(30)
    listed = events(
        event("Preempt", "other_1", format_datetime(in_s(5), usegmt=True)),
        event("Freeze", "ours_2", format_datetime(in_s(6), usegmt=True)),
        event("Reboot", "ours_2", format_datetime(later, usegmt=True)),
        event("Preempt", "ours_2", format_datetime(sooner, usegmt=True)),
    )
    assert await said("azure", {NAME: ok("ours_2"), EVENTS: ok(listed)}) == Notice("Preempt", sooner.timestamp())


async def test_azure_says_nothing_of_a_vm_that_stays_and_is_asked_for_its_name_once() -> None:
    async with asking("azure", {NAME: ok("ours_2"), EVENTS: ok(events())}) as (asked, metadata):
        assert await asked.ask() is None
        assert await asked.ask() is None
        assert metadata.asked.count(NAME) == 1


@pytest.mark.parametrize("not_before", ["", "soon"])
async def test_what_has_begun_or_cannot_be_read_is_now(not_before: str) -> None:
    notice = await said("azure", {NAME: ok("ours_2"), EVENTS: ok(events(event("Terminate", "ours_2", not_before)))})
    assert notice
    assert abs(notice.at - time.time()) < 10


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("aws", {"token": (403, "IMDS is disabled")}),
        ("aws", {"token": ok("<html>\n")}),
        ("aws", {"token": ok("other")}),
        ("aws", {ACTION: (503, "slow down")}),
        ("aws", {ACTION: ok("<html>")}),
        ("aws", {ACTION: ok('{"action": "terminate", "time": "soon"}')}),
        ("aws", {REBALANCE: ok("[]")}),
        ("gcp", {}),
        ("gcp", {PREEMPTED: ok("<html>")}),
        ("azure", {NAME: (429, "")}),
        ("azure", {NAME: ok("ours_2"), EVENTS: (500, "")}),
        ("azure", {NAME: ok("ours_2"), EVENTS: ok('{"Events": {}}')}),
    ],
    ids=str,
)
async def test_an_answer_that_is_none_is_unknown_and_not_a_vm_that_stays(name: str, says: dict[str, Answer]) -> None:
    with pytest.raises(UnknownError):
        await said(name, says)


async def test_another_server_at_googles_address_is_not_believed() -> None:
    async with asking("gcp", {PREEMPTED: ok("TRUE")}) as (asked, metadata):
        metadata.flavour = "vanilla"
        with pytest.raises(UnknownError):
            await asked.ask()


async def test_where_nobody_answers_it_is_unknown() -> None:
    async with cloud("aws", "http://127.0.0.1:1") as asked:
        with pytest.raises(UnknownError, match="ClientConnectorError"):
            await asked.ask()


async def test_a_server_that_hangs_is_unknown_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spot, "ANSWER_S", 0.1)

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        raise AssertionError

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hang)
    async with serving(app) as address, cloud("gcp", address) as asked:
        with pytest.raises(UnknownError, match="TimeoutError"):
            await asked.ask()
