"""Bots that join as somebody, one at a time, with that person's cookies and storage; else as a guest."""

from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from redis.asyncio import Redis

from common.config.settings import AccountSettings, RedisSettings, WorkerSettings
from common.wire.messages import BotEnded, BotMoved, Join
from common.wire.vocabulary import BotState, Reason
from lab.meeting.server import create_app
from lab.parts.redis_server import RedisServer
from tests.waiting import PATIENCE_S, wait_until
from tests.worker.conftest import Harness, light_pool, pool_with
from worker.chromium import accounts as accounts_module
from worker.chromium.accounts import GUESTS, AccountError, Accounts, Health, read
from worker.chromium.driver import Driver
from worker.link.journal import Journal
from worker.link.redis import Link

JOIN = Join("w1", "b1", 1, "room", "http://localhost/r/x", "Bot")
NOBODY = GUESTS._lock  # pyright: ignore[reportPrivateUsage]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine takes seconds until a browser has its cookies."""
    monkeypatch.setattr(accounts_module, "SIGN_IN_DEADLINE_S", PATIENCE_S)


class SignedIn:
    """A meeting room that knows who is signed in, a pool whose bots have an account for it, and the cookies it saw."""

    def __init__(self, harness: Harness, cookies: list[dict[str, str]]) -> None:
        self.harness = harness
        self.cookies = cookies

    def states(self, bot_id: str) -> list[BotState]:
        return [event.state for event in self.harness.seen(BotMoved) if event.bot_id == bot_id]

    async def join(self, worker_id: str, bot_id: str) -> None:
        self.harness.pool.begin(Join(worker_id, bot_id, 1, "room", self.harness.meeting, "Bot"))
        await wait_until(lambda: BotState.IN_MEETING in self.states(bot_id))


def write_state(file: Path, address: str, *, mode: int = 0o600) -> None:
    state: dict[str, Any] = {
        "cookies": [
            {"name": "session", "value": "of-ann", "domain": "127.0.0.1", "path": "/", "expires": -1, "httpOnly": True,
             "secure": False, "sameSite": "Lax"}
        ],
        "origins": [{"origin": address, "localStorage": [{"name": "who", "value": "ann"}]}],
    }  # fmt: skip
    file.touch(mode)
    file.chmod(mode)
    file.write_bytes(msgspec.json.encode(state))


@pytest_asyncio.fixture(loop_scope="session")
async def signed_in(tmp_path: Path, driver: Driver) -> AsyncGenerator[SignedIn]:
    cookies: list[dict[str, str]] = []

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/r/meeting":
            cookies.append(dict(request.cookies))
        return await handler(request)

    app = create_app("key", no_lobby=True)
    app.middlewares.append(note)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    file = tmp_path / "ann.json"
    write_state(file, address)
    settings = WorkerSettings(memory_reserve_mb=0, accounts=[AccountSettings("ann", "room", str(file))])
    async with pool_with(tmp_path, settings, driver) as harness:
        harness.meeting = f"{address}/r/meeting"
        yield SignedIn(harness, cookies)
    await runner.cleanup()


@pytest.mark.long
@pytest.mark.asyncio(loop_scope="session")
async def test_an_account_is_with_one_bot_at_a_time_and_free_after_it(
    signed_in: SignedIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = signed_in.harness
    monkeypatch.setattr(accounts_module, "LOCKED_OUT", {Reason.USER_REQUESTED})  # the room asks nobody to sign in
    for worker_id in ("w1", "w2"):
        harness.pool.warm(worker_id)
    await wait_until(lambda: sum(report.state == "idle" for report in harness.pool.reports().values()) == 2)
    harness.claimed = False
    harness.pool.begin(JOIN)
    await wait_until(lambda: harness.pool.reports()["w1"].state == "idle")
    assert harness.locks == {}, "a stale assignment gives its account back"
    harness.claimed = True
    await signed_in.join("w1", "b1")
    assert harness.locks == {"ann": "vm1:b1:1"}
    noted = harness.notes["w1"].join
    assert noted
    assert noted.account == "ann", "an agent that adopts the bot renews its lock"
    page = harness.pool._workers["w1"].page  # pyright: ignore[reportPrivateUsage]
    assert page
    assert await page.evaluate("localStorage.who") == "ann"
    await page.evaluate("localStorage.who = 'changed by the page'; location.reload()")
    await wait_until(lambda: len(signed_in.cookies) == 2)
    await signed_in.join("w2", "b2")
    assert signed_in.cookies == [{"session": "of-ann"}, {"session": "of-ann"}, {}], "the second bot is a guest"
    harness.pool.leave("w1", "b1", 1, Reason.USER_REQUESTED)
    await wait_until(lambda: "w1" not in harness.pool.reports())
    assert harness.locks == {}
    assert harness.accounts.health() == {"ann": Health(None, refused=True)}
    assert await harness.accounts.take(msgspec.structs.replace(JOIN, bot_id="b3")) == "ann"
    assert harness.locks == {"ann": "vm1:b3:1"}


@pytest.mark.parametrize("reason", [Reason.SIGN_IN_REQUIRED, Reason.CAPTCHA])
def test_how_an_account_fares_says_the_latest_bot_that_could_tell(tmp_path: Path, reason: Reason) -> None:
    file = tmp_path / "ann.json"
    write_state(file, "http://localhost")
    accounts = Accounts([AccountSettings("ann", "room", str(file))], "vm1", NOBODY)
    as_ann = msgspec.structs.replace(JOIN, account="ann")
    told = ((reason, False, True), (Reason.MEETING_ENDED, False, True), (Reason.REQUEST_DENIED, True, False))
    for ended, was_let_in, is_refused in told:
        accounts.fared(JOIN, ended, was_let_in=was_let_in)  # a guest says nothing of it
        accounts.fared(as_ann, ended, was_let_in=was_let_in)
        assert accounts.health()["ann"].refused is is_refused, ended
    accounts.fared(JOIN, reason, was_let_in=False)
    assert accounts.health() == {"ann": Health(None, refused=False)}
    state = msgspec.json.decode(file.read_bytes())
    state["cookies"][0]["expires"] = 1_800_000_000.5
    file.write_bytes(msgspec.json.encode(state))
    assert accounts.health()["ann"].lasts_until == 1_800_000_000.5
    file.unlink()
    assert accounts.health()["ann"].lasts_until == 0


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("meanwhile", ["is its own", "is another's"])
async def test_a_bot_that_waited_for_its_browser_joins_with_its_account_only_if_that_is_still_its_own(
    tmp_path: Path, driver: Driver, meanwhile: str
) -> None:
    """A lock lasts for a minute, and Redis may be slow as well."""
    write_state(tmp_path / "ann.json", "http://localhost")
    settings = WorkerSettings(accounts=[AccountSettings("ann", "room", str(tmp_path / "ann.json"))])
    async with light_pool(tmp_path, driver, settings) as harness:
        await harness.warm()
        worker = harness.pool._workers["w1"]  # pyright: ignore[reportPrivateUsage]
        page, worker.page = worker.page, None
        harness.pool.begin(harness.join())
        await wait_until(lambda: harness.locks)
        if meanwhile == "is another's":
            harness.locks["ann"] = "vm2:b2:1"
        worker.page = page
        await wait_until(lambda: any(event.state is BotState.IN_MEETING for event in harness.seen(BotMoved)))
        noted = harness.notes["w1"].join
        assert noted
        if meanwhile == "is another's":
            assert (noted.account, harness.locks) == ("", {"ann": "vm2:b2:1"})
        else:
            assert (noted.account, harness.locks) == ("ann", {"ann": "vm1:b1:1"})


@pytest.mark.asyncio(loop_scope="session")
async def test_an_account_that_became_unusable_makes_guests(tmp_path: Path, driver: Driver) -> None:
    write_state(tmp_path / "ann.json", "http://localhost")
    settings = WorkerSettings(accounts=[AccountSettings("ann", "room", str(tmp_path / "ann.json"))])
    async with light_pool(tmp_path, driver, settings) as harness:
        await harness.warm()
        (tmp_path / "ann.json").chmod(0o644)
        harness.pool.begin(harness.join())
        await wait_until(lambda: any(event.state is BotState.IN_MEETING for event in harness.seen(BotMoved)))
        noted = harness.notes["w1"].join
        assert noted
        assert (noted.account, harness.locks, harness.seen(BotEnded)) == ("", {}, [])


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (None, 0o600, "cannot be read: No such file or directory; `poolmgr-worker sign-in ann` makes one"),
        (b"{}", 0o640, r"others may read it; make it the agent's own \(chmod 600\)"),
        (b'{"cookies": 1}', 0o600, "is no storage state of Playwright"),
        (b"cookie-value", 0o600, "is no storage state of Playwright"),
    ],
)
def test_a_state_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None, mode: int, why: str) -> None:
    file = tmp_path / "ann.json"
    if content is not None:
        file.touch()
        file.chmod(mode)
        file.write_bytes(content)
    with pytest.raises(AccountError, match=why) as caught:
        read(AccountSettings("ann", "teams", str(file)))
    assert str(caught.value).startswith(f"worker.accounts: 'ann', state_file '{file}': ")
    assert "cookie-value" not in str(caught.value)


async def test_the_lock_is_one_for_the_fleet_and_ends_with_its_holder(
    own_redis: RedisServer, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "LIFE_S", PATIENCE_S)
    monkeypatch.setattr(accounts_module, "RENEW_S", 0.1)
    monkeypatch.setattr("worker.link.redis.LOCK_DEADLINE_S", PATIENCE_S)
    links = [
        Link(RedisSettings(url=own_redis.url, prefix=prefix), name, Journal(tmp_path / f"{name}.db"), tmp_path)
        for name in ("vm1", "vm2")
    ]
    settings = [AccountSettings("ann", "room", "/ann"), AccountSettings("eve", "teams", "/eve")]
    here, there = (Accounts(settings, name, link) for name, link in zip(("vm1", "vm2"), links, strict=True))
    assert await here.take(JOIN) == "ann"
    assert await here.take(JOIN) == "ann", "asked again after a lost answer"
    assert await there.take(JOIN) == "", "the same bot in another VM is another guest"
    as_ann = msgspec.structs.replace(JOIN, account="ann")
    async with here.held(as_ann):
        async with Redis.from_url(own_redis.url) as redis:  # pyright: ignore[reportUnknownMemberType]
            lives_ms = [await redis.pttl(f"{prefix}:account:ann")]

            async def renewed_twice() -> bool:
                lives_ms.append(await redis.pttl(f"{prefix}:account:ann"))
                return sum(after > before for before, after in pairwise(lives_ms)) >= 2

            await wait_until(renewed_twice)
        assert await there.take(JOIN) == ""
    monkeypatch.setattr(accounts_module, "LIFE_S", 0.4)
    assert await there.take(JOIN) == "ann", "given back"
    assert await wait_until(lambda: here.take(JOIN)) == "ann", "a VM that died does not keep it"
    own_redis.stop()
    assert await there.take(JOIN) == "", "without Redis as a guest"
    async with there.held(as_ann):
        pass
    for link in links:
        await link.close()
