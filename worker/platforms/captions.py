"""Turns on what a meeting's page writes down of what is said, and reads it, by rules (`rules.Captions`). Decides
nothing.
"""

import asyncio
from collections.abc import Collection
from typing import Any, Final

import msgspec
from playwright.async_api import Page

from worker.platforms.page import PLACE
from worker.platforms.rules import Captions, Target, folded, script

READ: Final = script("captions.js")
MIDDLE: Final = (400, 300)


class Line(msgspec.Struct, frozen=True):
    """What one speaker says, as it stands on the page. `key`: tells it from others, from look to look."""

    key: str
    speaker: str
    text: str


class Shown(msgspec.Struct, frozen=True):
    """`shown`: the page writes it down now. `bad`: selectors that are none."""

    shown: bool
    lines: list[Line] = []
    bad: list[str] = []


async def read(page: Page, rules: Captions, timeout_s: float) -> Shown:
    """Raises: TimeoutError, playwright's Error, msgspec.ValidationError for a page that tampers with it."""
    question: dict[str, Any] = msgspec.to_builtins(rules)
    async with asyncio.timeout(timeout_s):
        answer = await page.evaluate(READ, {"id": None, "speaker": None, **question})
    seen = msgspec.convert(answer, Shown)
    return msgspec.structs.replace(seen, lines=[_line(line, named=rules.named) for line in seen.lines])


async def turn_on(
    page: Page, rules: Captions, steps: Collection[int], timeout_s: float, by_mouse: Collection[int] = ()
) -> int | None:
    """Take the last of these `steps` that can be taken now; which that was. None: there is none.

    Without the mouse nothing is disturbed that somebody types: `by_mouse` only those that it did nothing for. Raises:
    as `read`.
    """
    async with asyncio.timeout(timeout_s):
        if by_mouse:
            await page.mouse.move(*MIDDLE)  # bars that hide themselves come back
        for place in sorted(steps, reverse=True):
            targets = [_by_mouse(target) if place in by_mouse else target for target in rules.on[place]]
            question = {"targets": folded(targets), "patience_ms": 0, "force": False}
            found = await page.evaluate(PLACE, question)
            if found and "x" in found:
                await page.mouse.click(found["x"], found["y"])
            if found and ("x" in found or "mark" in found):
                return place
    return None


def _by_mouse(target: str | Target) -> str | Target:
    return msgspec.structs.replace(target, how="mouse") if isinstance(target, Target) else target


def _line(line: Line, *, named: bool) -> Line:
    speaker, colon, text = line.text.partition(": ")
    if not named or not colon or line.speaker:
        return Line(line.key, _text(line.speaker), _text(line.text))
    return Line(line.key, _text(speaker), _text(text))


def _text(raw: str) -> str:
    """The text without halves of characters, which JavaScript allows and UTF-8 does not."""
    return raw.encode(errors="replace").decode()
