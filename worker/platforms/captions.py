"""Turns on the captions of a meeting's page, and reads them, by rules (`rules.Captions`). Decides nothing."""

import asyncio
from collections.abc import Collection
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from playwright.async_api import Page

from worker.platforms.page import PLACE
from worker.platforms.rules import Captions, Target, folded, script

READ: Final = script("captions.js")
MIDDLE: Final = (400, 300)
MOST_LINES: Final = 10
NAME_CHARS: Final = 200
TEXT_CHARS: Final = 2000
"""Of a page at one look: the last lines, and the end of each text. captions.js has the same bounds. With the bounds of
worker/transcript/utterances.py a look takes at most some 40 ms of processor time, whatever the page shows.
"""

_Name = Annotated[str, Meta(max_length=NAME_CHARS)]


class Line(msgspec.Struct, frozen=True):
    """The caption of one speaker, as the page shows it now. `key`: identifies it from look to look."""

    key: _Name
    speaker: _Name
    text: Annotated[str, Meta(max_length=TEXT_CHARS)]


class Shown(msgspec.Struct, frozen=True):
    """`shown`: whether captions are on. `bad`: selectors that are not CSS."""

    shown: bool
    lines: Annotated[list[Line], Meta(max_length=MOST_LINES)] = []
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
    """Take the last of these `steps` that can be taken now, and return its number. None: none can be taken.

    Steps are first taken without the mouse, which disturbs nothing that somebody types. `by_mouse`: those of the steps
    that had no effect in that way. Raises: as `read`.
    """
    async with asyncio.timeout(timeout_s):
        if by_mouse:
            await page.mouse.move(*MIDDLE)  # toolbars that hide themselves show again
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
    if not named or not colon or line.speaker or len(speaker) > NAME_CHARS:
        return Line(line.key, _text(line.speaker), _text(line.text))
    return Line(line.key, _text(speaker), _text(text))


def _text(raw: str) -> str:
    """The text without lone surrogates, which JavaScript allows and UTF-8 does not."""
    return raw.encode(errors="replace").decode()
