"""What a platform's `screens.toml` may say, and recognising the screen by it. Selectors are data, so that an operator
can follow a page that changed without a new release.

    [[screen]]                      # the order is the precedence: the first that matches is what the page shows
    name = "denied"                 # a word of `lifecycle.Screen`
    rule = "end-screen-denied"      # the detector's own name, for events and logs
    visible = ["#end.denied"]       # CSS; one visible element is enough
    text = ["can't join"]           # optional: that element must hold one of these; either apostrophe matches

    [actions]                       # CSS of what the bot types into and clicks
    [readings]                      # CSS of what is counted and read
    [readings.people]               # everybody in the meeting, one element each, and where in it to find what
    [readings.chat]                 # the messages of the chat, one element each, the newest last

What is read off an element is said as `CSS@attribute`: the attribute of the first element inside it that matches;
without CSS its own, without an attribute the text.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace
from playwright.async_api import Page

from wire.messages import Participant
from worker.company import Known, SeenLine
from worker.lifecycle import Screen, Seen

DETECT: Final = (Path(__file__).parent / "detect.js").read_text(encoding="utf-8")

NOTHING: Final = Known()
MOST_CHARS: Final = 4096  # of a chat message; detect.js cuts names and ids shorter

Text = Annotated[str, Meta(min_length=1)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ScreenRule(Section, frozen=True):
    name: Screen
    rule: Text
    visible: Annotated[list[Text], Meta(min_length=1)]
    text: list[Text] = []


class Actions(Section, frozen=True):
    """`switch_off`: toggles, each matched only while it is on. `chat`: where the bot writes what it has to say, and
    `send` the button for it; without them it says nothing.
    """

    name: Text
    join: Text
    leave: Text
    cancel: Text
    switch_off: list[Text] = []
    chat: Text | None = None
    send: Text | None = None


class People(Section, frozen=True):
    """`own`: what the element of the bot itself matches. Somebody without an id is passed over."""

    each: Text
    id: Text
    name: Text
    own: Text | None = None


class Chat(Section, frozen=True):
    """`own`: what a message of the bot itself matches. A message without an id is passed over."""

    each: Text
    id: Text
    text: Text
    sender_id: Text | None = None
    sender_name: Text | None = None
    own: Text | None = None


class Readings(Section, frozen=True):
    """`participants`: one element for everybody in the meeting, the bot included."""

    participants: Text | None = None
    people: People | None = None
    chat: Chat | None = None


class Rules(Section, frozen=True):
    screen: Annotated[list[ScreenRule], Meta(min_length=1)]
    actions: Actions
    readings: Readings = Readings()


class BadRulesError(ValueError):
    """A `screens.toml` cannot be used. `path` is the file, `fault` begins with the key."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"cannot use {path}: {fault}")
        self.path = path
        self.fault = fault


def load(path: Path) -> Rules:
    """The rules in a `screens.toml`.

    Raises: BadRulesError, also for a file that cannot be read.
    """
    try:
        rules = msgspec.toml.decode(path.read_bytes(), type=Rules)
    except OSError as error:
        raise BadRulesError(path, error.strerror or str(error)) from error
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        raise BadRulesError(path, f"{where.strip('`').removeprefix('$.') or 'file'}: {what}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRulesError(path, f"is not TOML: {error}") from error
    _check(path, rules)
    return rules


def _check(path: Path, rules: Rules) -> None:
    seen: set[str] = set()
    for place, screen in enumerate(rules.screen):
        if screen.name in (Screen.LOADING, Screen.UNKNOWN):
            raise BadRulesError(path, f"screen[{place}].name: {screen.name} is what remains when no rule matches")
        if screen.rule in seen:
            raise BadRulesError(path, f"screen[{place}].rule: {screen.rule!r} is the name of an earlier rule")
        seen.add(screen.rule)
    for needed in (Screen.NAME_PROMPT, Screen.IN_MEETING):
        if needed not in {screen.name for screen in rules.screen}:
            raise BadRulesError(path, f"screen: no rule for {needed}")


async def look(page: Page, rules: Rules, timeout_s: float, known: Known = NOTHING) -> Seen:
    """What the page shows now, in one evaluation, without those people and chat lines that are known.

    Raises: TimeoutError when the page does not answer, playwright's Error when it cannot.
    """
    async with asyncio.timeout(timeout_s):
        answer = await page.evaluate(DETECT, msgspec.to_builtins({"rules": rules, "known": known}))
    try:
        seen = msgspec.convert(answer, Seen)
    except msgspec.ValidationError:  # the page tampers with what the detector is made of
        return Seen(Screen.UNKNOWN)
    if seen.people or seen.lines:
        people = seen.people and tuple(Participant(_text(one.id), _text(one.name)) for one in seen.people)
        lines = tuple(
            SeenLine(_text(line.id), _text(line.sender_id), _text(line.sender_name), _text(line.text), line.own)
            for line in seen.lines
        )
        return replace(seen, people=people, lines=lines)
    return seen


def _text(raw: str) -> str:
    """As it can be passed on, whatever the page made of it: JavaScript knows halves of characters, UTF-8 does not."""
    return raw[:MOST_CHARS].encode(errors="replace").decode()
