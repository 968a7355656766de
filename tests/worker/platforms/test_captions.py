"""How much of a page's captions is read at one look."""

import msgspec
import pytest
from playwright.async_api import Page

from tests.waiting import PATIENCE_S
from tests.worker.platforms.conftest import rewrite
from worker.platforms.captions import MOST_LINES, NAME_CHARS, TEXT_CHARS, Line, read
from worker.platforms.rules import Captions

pytestmark = pytest.mark.asyncio(loop_scope="session")

RULES = Captions("p", "i", ["section"], id="@id", speaker="b")


def line(number: int, text: str, name: str = "Ann") -> str:
    return f"<p id=l{number}><b>{name}</b> <i>{text}</i></p>"


async def test_only_the_last_lines_and_the_end_of_each_text_are_read(page: Page) -> None:
    await page.goto("data:text/html,<!doctype html>")
    text = f"{'word ' * 2000}and the end"
    lines = [line(number, text, "n" * 300) for number in range(40)]
    await rewrite(page, f"<section>{''.join(lines)}</section>")
    shown = await read(page, RULES, PATIENCE_S)
    assert [each.key for each in shown.lines] == [f"l{number}" for number in range(40 - MOST_LINES, 40)]
    assert {(len(each.speaker), len(each.text)) for each in shown.lines} == {(NAME_CHARS, TEXT_CHARS)}
    assert all(each.text.endswith("word and the end") for each in shown.lines)


async def test_a_page_that_changes_what_cuts_its_texts_is_not_read(page: Page) -> None:
    await page.goto("data:text/html,<!doctype html>")
    tampers = "<script>String.prototype.slice = function () { return `${this}`; }</script>"
    await rewrite(page, f"{tampers}<section>{line(1, 'word ' * 2000)}</section>")
    with pytest.raises(msgspec.ValidationError):
        await read(page, RULES, PATIENCE_S)
    await page.goto("about:blank")


async def test_a_name_before_a_colon_is_no_longer_than_a_name(page: Page) -> None:
    named = Captions("p", ":scope", ["section"], id="@id", named=True)
    await page.goto("data:text/html,<!doctype html>")
    await rewrite(page, f"<section><p id=a>Ann: well, yes</p><p id=b>{'so ' * 100}: no</p></section>")
    shown = await read(page, named, PATIENCE_S)
    assert shown.lines == [Line("a", "Ann", "well, yes"), Line("b", "", f"{'so ' * 100}: no")]
