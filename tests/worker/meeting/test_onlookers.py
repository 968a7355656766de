"""When pictures of a bot's page are taken, and what is said where there is none. With a browser: tests/page."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from playwright.async_api import Error, Page

from common.wire.looks import MOST_BYTES, Picture
from tests.waiting import PATIENCE_S, wait_until
from worker.meeting import onlookers
from worker.meeting.onlookers import MOST_LOOKED_AT, Looked, Onlookers, picture_of


class Camera:
    """A page that gives these pictures, by quality; nothing: it never answers."""

    def __init__(self, *pictures: bytes | Error) -> None:
        self._pictures = [*pictures]

    async def evaluate(self, *_: Any) -> None:
        """It draws all that it shows."""

    async def screenshot(self, **_: Any) -> bytes:
        if not self._pictures:
            await asyncio.Event().wait()
        given = self._pictures.pop(0)
        if isinstance(given, Error):
            raise given
        return given


def looked(*pictures: bytes | Error) -> Looked:
    return Looked("w1", cast("Page", Camera(*pictures)))


@pytest.mark.parametrize(
    ("at", "says"),
    [
        (None, "no worker"),
        (Looked("w1", None), "connects"),
        (looked(), "within"),
        (looked(Error("the link https://secret")), "refused it: Error"),
        (looked(b"x" * (MOST_BYTES + 1), b"x" * (MOST_BYTES + 1)), "larger than 512 KB"),
    ],
    ids=["elsewhere", "detached", "silent", "refused", "large"],
)
async def test_where_there_is_no_picture_it_is_said_why(
    at: Looked | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onlookers, "DEADLINE_S", 0.05)
    picture = await picture_of(at)
    assert picture.jpeg == b""
    assert says in picture.why
    assert "secret" not in picture.why


async def test_a_picture_that_is_too_large_is_taken_again_with_less_quality() -> None:
    picture = await picture_of(looked(b"x" * (MOST_BYTES + 1), b"small"))
    assert (picture.worker_id, picture.jpeg, picture.why) == ("w1", b"small", "")


class Wire:
    """Who asks, and what is shown."""

    def __init__(self) -> None:
        self.questions: asyncio.Queue[str] = asyncio.Queue()
        self.shown: list[tuple[str, Picture]] = []

    async def asked(self) -> AsyncGenerator[str]:
        while True:
            yield await self.questions.get()

    async def show(self, bot_id: str, picture: Picture) -> None:
        self.shown.append((bot_id, picture))


@asynccontextmanager
async def watching(wire: Wire) -> AsyncGenerator[Onlookers]:
    there = Onlookers(wire, lambda _: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(there.run())
        yield there
        running.cancel()


async def test_it_ends_by_itself_when_nobody_asks_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "EVERY_S", 0.01)
    monkeypatch.setattr(onlookers, "_PAUSE_S", 0.01)
    wire = Wire()

    async def ask(looked_at_s: float) -> None:
        monkeypatch.setattr(onlookers, "LOOKED_AT_S", looked_at_s)
        await wire.questions.put("b1")

    async with watching(wire) as there:
        await ask(PATIENCE_S)
        await wait_until(lambda: len(wire.shown) > 1)
        await ask(0.1)
        await wait_until(lambda: there.looked_at == [])
        taken = len(wire.shown)
        await ask(PATIENCE_S)
        await wait_until(lambda: len(wire.shown) > taken)


async def test_no_more_than_a_few_bots_of_a_vm_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onlookers, "LOOKED_AT_S", PATIENCE_S)
    wire = Wire()
    async with watching(wire) as there:
        for number in range(MOST_LOOKED_AT + 1):
            await wire.questions.put(f"b{number}")
        last = f"b{MOST_LOOKED_AT}"
        await wait_until(lambda: [picture for bot_id, picture in wire.shown if bot_id == last])
        assert last not in there.looked_at
        assert len(there.looked_at) == MOST_LOOKED_AT
        assert [picture.why for bot_id, picture in wire.shown if bot_id == last] == [
            f"{MOST_LOOKED_AT} bots of this VM are looked at already"
        ]
