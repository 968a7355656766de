"""The adapter for pages that a file of rules describes. It joins as a guest under the bot's name and sends no media.

All platforms share this code; what differs is in each platform's `screens.toml`.

Keys and clicks are real input events. Playwright's locators are not used: they load a library into every new page and
wait until elements stand still, which costs 100 ms on the way into a call. Locators guard against lost clicks; here the
lifecycle does, which repeats an action until the screen changes.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import structlog
from playwright.async_api import Page

from common.wire.messages import Join
from worker.decide.participants import LookRequest
from worker.decide.words import Dismiss, Observation, PageAction
from worker.platforms.rules import Rules, Target, Targets, folded, load, look, script

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Address = Callable[[Join], str]
Deed = PageAction | Dismiss | str

FILL: Final = script("fill.js")
SWITCH_OFF: Final = script("switch_off.js")
PLACE: Final = script("place.js")
TOOK: Final = script("took.js")

TRIES_BY_MOUSE: Final = 2  # after them the page's own click is used: something lies over the button and stays there
TRIES_TO_SWITCH_OFF: Final = 5
OFF_S: Final = 1.0  # how long a device switch may take; the next try clicks on it again
CLICK_S: Final = 2.0  # how long the button to join may take until it can be clicked on
TOOK_S: Final = 0.2  # a page that took a click shows a sign of it within this time, if only a disabled button
DEAF_S: Final = 1.1  # how long a page that was just drawn may lose clicks; later it is only slow to answer
CONFIRM_S: Final = 1.0  # how long a page may take to ask "really leave?"
CHAT_BUTTON_S: Final = 0.5
CHAT_OPEN_S: Final = 2.0
SENT_S: Final = 1.0
SENT_LOOKS: Final = 5

OPENING: Final = "open the chat"
_ASKED_ONCE: Final = (OPENING, "send")  # never clicked twice: that would close the chat again, or send the text twice


class Stuck(NamedTuple):
    """How often the device switches of this document could not be moved. A new document starts at 0."""

    document: float
    tries: int


class PageAdapter:
    """`source`: the file of rules that comes with the adapter. `address`: makes the address for an order."""

    def __init__(self, platform: str, source: Path, address: Address) -> None:
        """Raises: BadRulesError."""
        self.platform = platform
        self.source = source
        self._address = address
        self._rules = load(source)
        self._missed: WeakKeyDictionary[Page, Counter[Deed]] = WeakKeyDictionary()
        self._stuck: WeakKeyDictionary[Page, Stuck] = WeakKeyDictionary()

    @property
    def rules(self) -> Rules:
        return self._rules

    def use(self, rules: Rules) -> None:
        """Use these rules from the next look on, in every meeting."""
        self._rules = rules

    def address(self, join: Join) -> str:
        return self._address(join)

    async def observe(self, page: Page, timeout_s: float, request: LookRequest) -> Observation:
        return await look(page, self._rules, timeout_s, request)

    async def act(self, page: Page, action: PageAction | Dismiss, join: Join, timeout_s: float) -> None:
        on = self._rules.actions
        async with asyncio.timeout(timeout_s):
            match action:
                case PageAction.CONTINUE:
                    await self._click(page, action, on.continue_, timeout_s)
                case PageAction.FILL_NAME_AND_JOIN:
                    await self._fill_name(page, join.bot_name)
                    if await self._is_off(page, timeout_s):
                        await self._click(page, action, on.join, min(CLICK_S, timeout_s))
                case PageAction.ENTER_PASSCODE:
                    await self._fill_name(page, join.bot_name)
                    await _fill(page, on.passcode, join.passcode, keys=on.keys)
                    if await self._is_off(page, timeout_s):
                        await self._click(page, action, on.submit_passcode or on.join, min(CLICK_S, timeout_s))
                case PageAction.CANCEL_REQUEST:
                    await self._click(page, action, on.cancel, timeout_s)
                case PageAction.LEAVE_MEETING:
                    await self._leave(page, timeout_s)
                case PageAction.OPEN_CHAT:
                    await self._click(page, OPENING, on.chat_open, min(CHAT_BUTTON_S, timeout_s))
                case PageAction.SWITCH_OFF:
                    await self._is_off(page, timeout_s, in_call=True)
                case Dismiss(popup=name):
                    for targets in [popup.click for popup in self._rules.popup if popup.rule == name]:
                        await self._click(page, action, targets, timeout_s)
                case _:
                    pass

    async def _leave(self, page: Page, timeout_s: float) -> None:
        """Leave by the page's own button, and confirm if the page asks. If it is asking already, only confirm."""
        on, deed = self._rules.actions, PageAction.LEAVE_MEETING
        asks = len(on.confirm_leave)
        hit = await self._click(page, deed, [*on.confirm_leave, *on.leave], timeout_s)
        if hit is not None and hit >= asks and asks:
            await self._click(page, deed, on.confirm_leave, min(CONFIRM_S, timeout_s))

    async def say(self, page: Page, text: str, timeout_s: float) -> bool:
        on = self._rules.actions
        if not on.chat or not on.send:
            return False
        async with asyncio.timeout(timeout_s):
            if await _focus(page, on.chat) is None:
                if await self._click(page, OPENING, on.chat_open, min(CHAT_BUTTON_S, timeout_s / 4)) is None:
                    return False
                if await _focus(page, on.chat, patience_s=min(CHAT_OPEN_S, timeout_s / 4)) is None:
                    return False
            await page.keyboard.insert_text(text)
            if await self._click(page, "send", on.send, timeout_s) is None:
                return False
            # Some pages empty the field only once their server has the text.
            for _ in range(SENT_LOOKS):
                if not (await _focus(page, on.chat) or "").strip():
                    return True
                await asyncio.sleep(min(SENT_S, timeout_s / 4) / SENT_LOOKS)
            return False

    async def _fill_name(self, page: Page, name: str) -> None:
        on = self._rules.actions
        await _fill(page, on.name, name, keys=on.keys)

    async def _is_off(self, page: Page, timeout_s: float, *, in_call: bool = False) -> bool:
        """Switch off microphone and camera. Returns False while the page shows one as on: the bot does not join yet.

        A switch that cannot be moved in TRIES_TO_SWITCH_OFF tries mostly has no device behind it (`worker.devices` is
        "none"). Then the bot joins, and `force` makes the page's tracks send nothing.
        """
        on = self._rules.actions
        if not on.switch_off and not on.switch_on:
            return True
        stuck = self._stuck.get(page, Stuck(0.0, 0))
        force = in_call or stuck.tries >= TRIES_TO_SWITCH_OFF
        question = {
            "targets": folded(on.switch_off),
            "wishes": [] if in_call else folded(on.switch_on),
            "calls": in_call,
            "patience_ms": min(OFF_S, timeout_s / 2) * 1000,
            "force": force,
        }
        answer = await page.evaluate(SWITCH_OFF, question)
        if answer["off"]:
            self._stuck.pop(page, None)
            return True
        tries = stuck.tries + 1 if answer["document"] == stuck.document else 1
        self._stuck[page] = Stuck(answer["document"], tries)
        log.warning("devices_stay_on", platform=self.platform, tries=tries, in_call=in_call)
        return tries > TRIES_TO_SWITCH_OFF

    async def _click(self, page: Page, deed: Deed, targets: Targets, patience_s: float) -> int | None:
        """Click on the first target that is on the page. Returns its index; None: none is there, or something lies over
        it.
        """
        if not targets:
            return None
        missed = self._missed.setdefault(page, Counter())
        question: dict[str, Any] = {
            "targets": [{"css": target} if isinstance(target, str) else target for target in folded(targets)],
            "patience_ms": patience_s * 1000,
            "force": missed[deed] >= TRIES_BY_MOUSE,
        }
        found = await page.evaluate(PLACE, question)
        if found and found.get("hidden"):
            await page.mouse.move(*found["hidden"])  # a toolbar that hides itself comes back
            found = await page.evaluate(PLACE, {**question, "force": True})
        if not found:
            return None
        if found.get("covered"):
            missed[deed] += 1
            log.debug("click_covered", platform=self.platform, deed=deed, target=found["index"])
            return None
        index: int = found["index"]
        target = targets[index]
        if "x" in found:
            await page.mouse.click(found["x"], found["y"])
        elif isinstance(target, Target) and target.press:
            await page.keyboard.press(target.press)
        missed.pop(deed, None)
        if deed not in _ASKED_ONCE and "mark" in found:
            meant = question["targets"][index]
            await self._insist(page, {"targets": [meant], "patience_ms": 0, "force": False}, found["mark"])
        return index

    async def _insist(self, page: Page, question: dict[str, Any], mark: str) -> None:
        """Click again at once, for DEAF_S at most, while the page shows no sign that it took the click."""
        until = time.monotonic() + DEAF_S
        target = question["targets"][0]
        while not await page.evaluate(TOOK, {"target": target, "mark": mark, "patience_ms": TOOK_S * 1000}):
            if time.monotonic() >= until:
                return
            found = await page.evaluate(PLACE, question)
            if not found or "mark" not in found:
                return
            if "x" in found:
                await page.mouse.click(found["x"], found["y"])
            mark = found["mark"]


async def _fill(page: Page, targets: Targets, text: str, *, keys: bool) -> None:
    shown = await _focus(page, targets)
    # Typing the name again would enable the button again, and a second request would leave a ghost participant.
    if shown is None or shown == text:
        return
    if keys:
        await page.keyboard.type(text)
    else:
        await page.keyboard.insert_text(text)


async def _focus(page: Page, targets: Targets, *, patience_s: float = 0.0) -> str | None:
    """Put the cursor into the field. Returns the text in it; None when there is no such field."""
    return await page.evaluate(FILL, {"targets": folded(targets), "patience_ms": patience_s * 1000})
