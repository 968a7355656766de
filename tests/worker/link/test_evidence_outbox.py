"""Bundles on a VM's disk, and their way out: a Redis that is away or full, servers that redirect or refuse."""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from common.config.settings import EvidenceSettings, RedisSettings
from common.runtime.redis.client import connect
from common.wire.keys import WireKeys
from lab.parts.redis_server import RedisServer
from tests.waiting import wait_until
from worker.link import evidence_outbox as outbox_module
from worker.link.evidence_outbox import EvidenceOutbox, Send, UnsentError, deliver
from worker.link.evidence_sender import sender
from worker.link.journal import Journal
from worker.link.redis import Link
from worker.link.upload import upload


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_S", (0.02, 0.05))


@asynccontextmanager
async def delivering(outbox: EvidenceOutbox, send: Send, settings: EvidenceSettings) -> AsyncGenerator[None]:
    async with asyncio.TaskGroup() as tasks:
        delivery = tasks.create_task(deliver(outbox, send, settings), name="deliver")
        yield
        delivery.cancel()


def test_a_bundle_is_kept_for_nobody_else_to_read(tmp_path: Path) -> None:
    outbox = EvidenceOutbox(tmp_path / "evidence", EvidenceSettings())
    assert outbox.put("b1-1", b"data")
    [path] = outbox.waiting()
    assert (path.name, path.read_bytes(), path.stat().st_mode & 0o777) == ("b1-1.zip", b"data", 0o600)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not outbox.empty.is_set()


def test_only_so_many_wait_for_so_long(tmp_path: Path) -> None:
    outbox = EvidenceOutbox(tmp_path / "evidence", EvidenceSettings(most_mb=1, keep_s=1000.0))
    for number in range(1, 5):
        assert outbox.put(f"b-{number}", b"x" * 400_000)
        at = time.time() - 500 + number
        os.utime(outbox.waiting()[-1], (at, at))
    assert [path.stem for path in outbox.waiting()] == ["b-3", "b-4"]
    os.utime(outbox.waiting()[0], (0, 0))
    outbox.put("b-5", b"x")
    assert [path.stem for path in outbox.waiting()] == ["b-4", "b-5"]


def test_what_cannot_be_written_is_said_and_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("in the way")
    with capture_logs() as logs:
        assert not EvidenceOutbox(tmp_path / "evidence", EvidenceSettings()).put("b1-1", b"data")
    assert [entry["event"] for entry in logs] == ["evidence_failed"]


async def test_what_waits_is_handed_in_when_it_can_be_oldest_first(tmp_path: Path) -> None:
    settings = EvidenceSettings()
    folder = tmp_path / "evidence"
    EvidenceOutbox(folder, settings).put("left-by-an-earlier-agent-7", b"7")
    unfinished = folder / "b9-1.part"
    unfinished.touch()
    outbox = EvidenceOutbox(folder, settings)
    assert not unfinished.exists()
    outbox.put("none of ours", b"?")
    sent: list[tuple[str, int, bytes]] = []
    refusals = iter([True, True])

    async def send(bot_id: str, attempt: int, data: bytes, left_s: float) -> bool:
        assert 0 < left_s <= settings.keep_s
        if next(refusals, False):
            raise UnsentError("away")
        sent.append((bot_id, attempt, data))
        return bot_id != "b2"

    with capture_logs() as logs:
        async with delivering(outbox, send, settings):
            await outbox.empty.wait()
            outbox.put("b2-1", b"nobody wants it")
            await wait_until(lambda: outbox.empty.is_set() and not outbox.waiting())
    assert sent == [("left-by-an-earlier-agent", 7, b"7"), ("b2", 1, b"nobody wants it")]
    said = [entry["event"] for entry in logs]
    assert said == ["evidence_unsent", "evidence_sent", "evidence_dropped", "evidence_dropped"]


async def test_redis_that_is_full_or_away_gets_it_later(own_redis: RedisServer, prefix: str, tmp_path: Path) -> None:
    redis: Any = connect(RedisSettings(own_redis.url, prefix))
    keys, settings = WireKeys(prefix), EvidenceSettings()
    link = Link(RedisSettings(own_redis.url, prefix, timeout_s=3.0), "vm1", Journal(tmp_path / "journal.db"), tmp_path)
    await redis.hset(keys.bot("b1"), "state", "queued")
    await redis.config_set("maxmemory", "1")
    outbox = EvidenceOutbox(tmp_path / "evidence", settings)
    outbox.put("b1-1", b"data")

    def unsent(name: str) -> str:
        """Why, whatever else was in its way."""
        return " ".join(
            log["error"] for log in logs if (log["event"], log.get("evidence")) == ("evidence_unsent", name)
        )

    with capture_logs() as logs:
        async with delivering(outbox, sender(link, settings), settings):
            await wait_until(lambda: "maxmemory" in unsent("b1-1"))
            await redis.config_set("maxmemory", "0")
            await outbox.empty.wait()
            own_redis.stop()
            outbox.put("b1-2", b"more")
            await wait_until(lambda: unsent("b1-2"))
            own_redis.start()
            await outbox.empty.wait()
    assert await redis.get(keys.evidence("b1", 1)) == b"data"
    assert await redis.get(keys.evidence("b1", 2)) == b"more"
    await link.close()
    await redis.aclose()


class Target:
    """A server that bundles are PUT to."""

    def __init__(self) -> None:
        self.answer: Callable[[], web.Response] = web.Response
        self.taken: list[tuple[str, str, bytes]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.taken.append((request.path, request.headers.get("Authorization", ""), await request.read()))
        return self.answer()


@pytest.fixture
async def target() -> AsyncGenerator[Target]:
    target = Target()
    app = web.Application()
    app.router.add_route("*", "/{name:.*}", target.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret-path"
    yield target
    await runner.cleanup()


async def test_a_bundle_goes_to_the_address_with_the_token(target: Target, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    settings = EvidenceSettings(upload_url=f"{target.url}/", upload_token_file=str(token))
    outbox = EvidenceOutbox(tmp_path / "evidence", settings)
    outbox.put("b1-3", b"data")
    link: Any = None
    async with delivering(outbox, sender(link, settings), settings):
        await outbox.empty.wait()
    assert target.taken == [("/secret-path/b1-3.zip", "Bearer s3cret", b"data")]
    with pytest.raises(UnsentError, match="upload_token_file: FileNotFoundError"):
        await upload(EvidenceSettings(upload_url=target.url, upload_token_file="/nowhere"), "b1-3", b"")


async def test_one_that_is_refused_keeps_no_other_one_waiting(target: Target, tmp_path: Path) -> None:
    settings = EvidenceSettings(upload_url=target.url)
    outbox = EvidenceOutbox(tmp_path / "evidence", settings)
    for name in ("b1-1", "b2-1", "b3-1"):
        outbox.put(name, b"data")
    [first, second, third] = outbox.waiting()
    first.unlink()
    first.mkdir()  # so that even root cannot read it
    target.answer = lambda: web.Response(status=413 if target.taken[-1][0].endswith(f"{second.name}") else 200)
    link: Any = None
    async with delivering(outbox, sender(link, settings), settings):
        await wait_until(lambda: not third.exists())
        await wait_until(lambda: len([path for path, *_ in target.taken if path.endswith(second.name)]) > 1)
    assert second.exists()


async def test_no_redirect_is_followed_and_no_secret_of_the_address_is_said(target: Target) -> None:
    settings = EvidenceSettings(upload_url=target.url)
    for status in (301, 307, 403, 500):
        target.answer = lambda status=status: web.Response(status=status, headers={"Location": "/elsewhere"})
        with pytest.raises(UnsentError, match=rf"^http://127\.0\.0\.1/…: HTTP {status}$"):
            await upload(settings, "b1-1", b"data")
    assert {path for path, _, _ in target.taken} == {"/secret-path/b1-1.zip"}
    with pytest.raises(UnsentError, match="ClientConnector"):
        await upload(EvidenceSettings(upload_url="http://127.0.0.1:1/x"), "b1-1", b"data")


# An agent that dies at any moment


class _Killed(BaseException):
    """Nothing of the agent's own may hold it up."""


def _dies_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """After so many changes to the disk: the next one does not happen, but for half of what was to be written."""
    left = steps
    renamed, unlinked, opened = Path.replace, Path.unlink, os.fdopen

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Killed

    def replace(path: Path, target: Path) -> Path:
        step()
        return renamed(path, target)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        step()
        unlinked(path, missing_ok)

    def fdopen(descriptor: int, mode: str) -> Any:
        file = opened(descriptor, mode, buffering=0)
        write = file.write

        class Halving:
            def __enter__(self) -> "Halving":
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def write(self, data: bytes) -> None:
                try:
                    step()
                except _Killed:
                    write(data[: len(data) // 2])
                    raise
                write(data)

        return Halving()

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(outbox_module.os, "fdopen", fdopen)


async def test_what_an_agent_leaves_that_dies_after_any_step_is_whole_and_sent_by_the_next(tmp_path: Path) -> None:
    """It puts three bundles, of which the first is too old and goes, while it hands them in."""
    settings = EvidenceSettings(most_mb=1, keep_s=1000.0)
    steps, lived = 0, False
    while not lived:
        folder, kept, sent = tmp_path / str(steps), list[str](), dict[str, list[bytes]]()

        async def send(bot_id: str, attempt: int, data: bytes, _: float, had: dict[str, list[bytes]] = sent) -> bool:
            had.setdefault(f"{bot_id}-{attempt}", []).append(data)
            return True

        outbox = EvidenceOutbox(folder, settings)
        assert outbox.put("old-1", b"old")
        os.utime(folder / "old-1.zip", (0, 0))
        with pytest.MonkeyPatch.context() as monkeypatch:
            _dies_after(monkeypatch, steps)
            try:
                for name in ("a-1", "b-2"):
                    if outbox.put(name, name.encode() * 100):
                        kept.append(name)
                async with delivering(outbox, send, settings):
                    await wait_until(lambda: outbox.waiting() == [])  # noqa: B023
                lived = True
            except* _Killed:
                steps += 1
        after = EvidenceOutbox(folder, settings)
        async with delivering(after, send, settings):
            await wait_until(after.empty.is_set if after.waiting() else lambda: True)
            await wait_until(lambda: after.waiting() == [])  # noqa: B023
        assert set(kept) <= set(sent) <= {"a-1", "b-2"}, f"died after {steps} steps"
        assert all(data == name.encode() * 100 for name, had in sent.items() for data in had), "whole"
        assert list(folder.iterdir()) == [], "nothing stays"
    assert steps > 5
