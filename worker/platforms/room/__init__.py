"""Joins this project's own meeting room, as a guest who says who it is and sends neither sound nor picture.

Keys and clicks are real input events, but are not sent by Playwright's locators: those load their own library into
every new page and wait for elements to stand still, 100 ms on the way into a call. They guard against clicks that get
lost, and the lifecycle already does: it looks whether the screen changed, and asks again.
"""

import asyncio
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from worker.company import Known
from worker.lifecycle import Observation, PageAction
from worker.platforms.rules import Actions, Rules, look

SCREENS: Final = Path(__file__).parent / "screens.toml"

# Switches off what is on and puts the cursor into the name field; answers what stands there.
_FILL: Final = """({ switch_off, name }) => {
  for (const selector of switch_off) for (const toggle of document.querySelectorAll(selector)) toggle.click();
  const field = document.querySelector(name);
  field.focus();
  field.select();
  return field.value;
}"""

# Where to click on an element once it can be clicked; null when it cannot be in time.
_PLACE: Final = """async ({ selector, patience_ms }) => {
  for (const end = performance.now() + patience_ms; performance.now() < end; ) {
    const element = document.querySelector(selector);
    if (element?.checkVisibility({ visibilityProperty: true }) && element.matches(":enabled")) {
      element.scrollIntoView({ block: "nearest" });
      const box = element.getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    }
    await new Promise((again) => setTimeout(again, 10));
  }
  return null;
}"""


# Puts the cursor into the chat's field, so that what is typed replaces what stands there; whether there is one.
_WRITE: Final = """(selector) => {
  const field = document.querySelector(selector);
  field?.focus();
  field?.select();
  return field != null && field === document.activeElement;
}"""

_IS_EMPTY: Final = "(selector) => !document.querySelector(selector)?.value"


class RoomAdapter:
    platform = "room"

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    async def observe(self, page: Page, timeout_s: float, known: Known) -> Observation:
        return await look(page, self.rules, timeout_s, known)

    async def act(self, page: Page, action: PageAction, bot_name: str, timeout_s: float) -> None:
        on = self.rules.actions
        async with asyncio.timeout(timeout_s):
            match action:
                case PageAction.FILL_NAME_AND_JOIN:
                    await _fill(page, on, bot_name)
                    await _click(page, on.join, timeout_s)
                case PageAction.CANCEL_REQUEST:
                    await _click(page, on.cancel, timeout_s)
                case PageAction.LEAVE_MEETING:
                    await _click(page, on.leave, timeout_s)

    async def say(self, page: Page, text: str, timeout_s: float) -> bool:
        chat, send = self.rules.actions.chat, self.rules.actions.send
        if chat is None or send is None:
            return False
        async with asyncio.timeout(timeout_s):
            if not await page.evaluate(_WRITE, chat):
                return False
            await page.keyboard.insert_text(text)
            return await _click(page, send, timeout_s) and bool(await page.evaluate(_IS_EMPTY, chat))


async def _fill(page: Page, on: Actions, bot_name: str) -> None:
    shown = await page.evaluate(_FILL, {"switch_off": on.switch_off, "name": on.name})
    # Typing the name again would enable the button again, and a second request would leave a ghost of the first.
    if shown != bot_name:
        await page.keyboard.insert_text(bot_name)


async def _click(page: Page, selector: str, patience_s: float) -> bool:
    """Whether there was something to click on."""
    place = await page.evaluate(_PLACE, {"selector": selector, "patience_ms": patience_s * 1000})
    if place:
        await page.mouse.click(*place)
    return bool(place)
