"""The rules in a platform's `screens.toml`, and the look at a page by them. docs/adapters.md explains each key.

Selectors are data, so that an operator can follow a changed page without a new release.

    [places]                        # parts of the page that several rules look into
    [[screen]]                      # in order of precedence: the first that matches is what the page shows
    [[popup]]                       # what lies over the page and is dismissed
    [actions]                       # what the bot types into and clicks on
    [readings]                      # what is counted and read in the meeting
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple
from weakref import WeakKeyDictionary

import msgspec
import structlog
from msgspec import Meta
from msgspec.structs import replace
from playwright.async_api import Error, JSHandle, Page

from common.errors import AgentError
from common.wire.messages import Participant
from worker.decide.participants import LookRequest, SeenLine
from worker.decide.words import Screen, Seen

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_SCRIPTS: Final = Path(__file__).with_name("scripts")
_FINDING: Final = (_SCRIPTS / "finding.js").read_text(encoding="utf-8")


def script(name: str) -> str:
    """The text of a script in scripts/, with finding.js put in where it asks for it."""
    return (_SCRIPTS / name).read_text(encoding="utf-8").replace("/* finding.js */", _FINDING)


DETECT: Final = script("detect.js")
SCREENS_FILE: Final = "screens.toml"
CAPTIONS_FILE: Final = "captions.toml"
NO_FACTS: Final = "/* facts */ () => null"

NOTHING: Final = LookRequest()
MOST_CHARS: Final = 4096  # of a chat message; detect.js cuts names and ids shorter
MOST_BYTES: Final = 256 * 1024  # of a file; the largest of this release has a tenth of it
MOST_RULES: Final = 200  # of one platform, because their names are labels of a metric

Text = Annotated[str, Meta(min_length=1)]
Texts = Annotated[list[Text], Meta(min_length=1)]
RuleName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,64}\Z")]
Seconds = Annotated[float, Meta(ge=0, le=3600)]
Pixels = Annotated[int, Meta(ge=0, le=10_000)]
Key = Annotated[str, Meta(pattern=r"^(Escape|Enter|((Control|Alt|Shift)\+){1,3}[A-Za-z0-9])\Z")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Evidence(Section, frozen=True, kw_only=True):
    """Conditions on a page; all that are given must hold. Without selectors, texts and labels may be anywhere on it."""

    within: str = ""
    visible: list[Text] = []
    present: list[Text] = []
    least: Annotated[int, Meta(ge=1, le=100)] = 1
    text: Texts | None = None
    text_not: Texts | None = None
    says: Texts | None = None
    label: Texts | None = None
    filled: bool | None = None
    size: tuple[Pixels, Pixels] | None = None
    absent: Texts | None = None
    unless: list[RuleName] | None = None
    title: Texts | None = None
    url: Text | None = None
    url_not: Text | None = None
    fact: Text | None = None


class ScreenRule(Evidence, frozen=True):
    """`holds_s`, `again_s`: as in `worker.decide.words.Seen`. `inside`: which screen it is for a bot that was
    let in.
    """

    name: Screen
    rule: RuleName
    holds_s: Seconds = 0.0
    again_s: Seconds = 0.0
    inside: Screen | None = None


class Target(Section, frozen=True):
    """An element to click on or type into. `how`: by the mouse, or by the page's own click. `press`: a key instead."""

    css: Text | None = None
    label: Texts | None = None
    text: Texts | None = None
    how: Literal["mouse", "dom"] = "mouse"
    press: Key | None = None


Targets = list[Text | Target]


class Popup(Evidence, frozen=True):
    """A popup over the page on the screens `on` (None: on any), and what to click to dismiss it."""

    rule: RuleName
    click: Annotated[Targets, Meta(min_length=1)]
    on: list[Screen] | None = None


class Actions(Section, frozen=True, rename={"continue_": "continue"}):
    """Lists of targets, the best first. `keys`: the name is typed key by key. `switch_off`: device switches that match
    only while they are on; the bot joins once none matches. `switch_on`: clicked once; the bot does not wait for them.
    `confirm_leave`: clicked after `leave`, if the page asks.
    """

    continue_: Targets = []
    switch_off: Targets = []
    switch_on: Targets = []
    name: Targets = []
    keys: bool = False
    join: Targets = []
    passcode: Targets = []
    submit_passcode: Targets = []
    cancel: Targets = []
    leave: Targets = []
    confirm_leave: Targets = []
    chat_open: Targets = []
    chat: Targets = []
    send: Targets = []


class Count(Section, frozen=True, rename={"is_": "is"}):
    """One way to count the participants, the bot included. Either elements (`each`), told apart by `id`; or the first
    number at `number`, or the group of the regular expression `pattern` there; or `is`, where one of `text` shows.
    `plus`: how many the page leaves out of that count.
    """

    each: Text | None = None
    id: Text | None = None
    number: Text | None = None
    pattern: Text | None = None
    text: Texts | None = None
    is_: Annotated[int, Meta(ge=0)] = 0
    plus: int = 0


class People(Section, frozen=True):
    """How the participants are read: one element for each. `own`: a selector of the bot's own element; without a match
    the bot is the one with its name. `speaks`: a selector of the element of who speaks, or of something in it. Elements
    without an id are ignored.
    """

    each: Text
    id: Text | Texts
    name: Text | Texts
    own: Text | None = None
    speaks: Text | None = None


class Chat(Section, frozen=True):
    """How the chat is read: one element for each message. `own`: a selector of the bot's own messages. Messages without
    an id are ignored.
    """

    each: Text
    id: Text
    text: Text | Texts
    sender_id: Text | None = None
    sender_name: Text | Texts | None = None
    own: Text | None = None


class Readings(Section, frozen=True):
    """What is read in the meeting. Of several ways to count, to name the speaker, or to list people, the first that
    finds something is used.
    """

    participants: list[Count] | None = None
    speaker: list[Text] | None = None
    people: People | list[People] | None = None
    chat: Chat | None = None


class Captions(Section, frozen=True):
    """How to read the page's captions; in a file of its own, `captions.toml`. `on`: the steps that turn captions on, of
    which the last one that can be seen is clicked. `shown`: what shows while they are on; with `late` only once
    somebody speaks. `each`: an element with the captions of one speaker, the innermost of those that match. `id`: what
    identifies it; without it, the element itself does. Without `speaker`, the page's marks say who speaks. `named`: the
    text begins with the speaker's name and a colon.
    """

    each: Text
    text: Text | Texts
    shown: Annotated[list[Text], Meta(min_length=1)]
    on: list[Targets] = []
    id: Text | None = None
    speaker: Text | Texts | None = None
    named: bool = False
    late: bool = False


class Rules(Section, frozen=True, dict=True):
    """A whole file. `ignore`: selectors of what people write; no rule looks there. `facts`: JavaScript, a function
    without arguments that returns what the page's own program knows.
    """

    screen: Annotated[list[ScreenRule], Meta(min_length=1, max_length=MOST_RULES)]
    actions: Actions
    readings: Readings = Readings()
    popup: Annotated[list[Popup], Meta(max_length=MOST_RULES)] = []
    places: dict[str, Texts] = {}
    ignore: list[Text] = []
    facts: str = ""
    captions: Captions | None = None

    @cached_property
    def script(self) -> str:
        facts = self.facts.strip()
        return DETECT.replace(NO_FACTS, f"\n{facts}" if facts else NO_FACTS)

    @cached_property
    def argument(self) -> str:
        """The rules as JSON text for detect.js. The page parses that faster than Playwright passes an object."""
        readings = msgspec.to_builtins(self.readings)
        if self.readings.participants:
            readings["participants"] = folded(self.readings.participants)
        seen = {"screen": folded(self.screen), "popup": folded(self.popup)}
        devices = folded(self.actions.switch_off)
        rest: dict[str, Any] = {
            "places": self.places,
            "ignore": self._ignored,
            "readings": readings,
            "devices": devices,
        }
        rest["exits"] = folded(self.actions.cancel)
        rest["chat"] = {"field": folded(self.actions.chat), "open": folded(self.actions.chat_open)}
        return msgspec.json.encode({**seen, **rest}).decode()

    @property
    def _ignored(self) -> list[str]:
        return [*self.ignore, self.captions.each] if self.captions else self.ignore

    @cached_property
    def complained(self) -> set[str]:
        """Selectors that are no CSS and were logged already; also `_FACTS`."""
        return set()


class BadRulesError(AgentError, ValueError):
    """A file of rules cannot be used. `path`: the file. `fault`: the key, and what is wrong with it."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"cannot use {path}: {fault}")
        self.path = path
        self.fault = fault


def load(path: Path) -> Rules:
    """The rules in a `screens.toml`.

    Raises: BadRulesError, also for a file that cannot be read.
    """
    return make(path, read_source(path))


def read_source(path: Path) -> dict[str, Any]:
    """The document in an adapter's own file. Its `facts` may be in a file `facts.js` beside it. Raises:
    BadRulesError.
    """
    document, facts = read(path), path.with_name("facts.js")
    if facts.is_file():
        document.setdefault("facts", facts.read_text(encoding="utf-8"))
    return document


def read(path: Path) -> dict[str, Any]:
    """The document in a TOML file, and in the one of captions beside it. Raises: BadRulesError."""
    document = _read(path)
    captions = path.with_name(CAPTIONS_FILE)
    if path.name == SCREENS_FILE and captions.is_file():
        document["captions"] = _read(captions)
    return document


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():  # reading a pipe or a device could block for ever
            raise BadRulesError(path, "is no file" if path.exists() else "No such file or directory")
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadRulesError(path, error.strerror or str(error)) from error
    if len(text) > MOST_BYTES:
        raise BadRulesError(path, f"is larger than {MOST_BYTES // 1024} KiB")
    try:
        return msgspec.toml.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRulesError(path, f"is not TOML: {error}") from error
    except RecursionError as error:
        raise BadRulesError(path, "is nested too deep") from error


def make(path: Path, document: dict[str, Any]) -> Rules:
    """The rules in a document; `path` is its file, for errors. Raises: BadRulesError."""
    try:
        rules = msgspec.convert(document, Rules)
    except msgspec.ValidationError as error:
        raise BadRulesError(path, fault_of(error)) from error
    for fault in _faults(rules):
        raise BadRulesError(path, fault)
    return rules


def fault_of(error: msgspec.ValidationError) -> str:
    what, _, where = str(error).partition(" - at ")
    return f"{where.strip('`').removeprefix('$.') or 'file'}: {what}"


def _faults(rules: Rules) -> Iterator[str]:
    yield from _faults_of_rows(rules)
    for needed in (Screen.NAME_PROMPT, Screen.IN_MEETING):
        if needed not in {screen.name for screen in rules.screen}:
            yield f"screen: no rule for {needed}"
    for name in ("join", "leave"):
        if not getattr(rules.actions, name):
            yield f"actions.{name}: is missing"
    for name in ("cancel", "leave", "confirm_leave"):
        targets: Targets = getattr(rules.actions, name)
        if any(isinstance(target, Target) and target.press == "Enter" for target in targets):
            yield f"actions.{name}: Enter may hit what happens to be the default; name the button"
    for place, count in enumerate(rules.readings.participants or []):
        yield from _faults_of_pattern(f"readings.participants[{place}].pattern", count.pattern or "")
    for where, selector in _selectors(msgspec.to_builtins(rules)):
        if not _is_balanced(selector):
            yield f"{where}: {selector!r} is no CSS selector: a bracket or a quote is left open"


def _faults_of_rows(rules: Rules) -> Iterator[str]:
    rule_names = {screen.rule for screen in rules.screen}
    seen: set[str] = set()
    sections = {"screen": rules.screen, "popup": rules.popup}
    for section, rows in sections.items():
        for place, row in enumerate(rows):
            where = f"{section}[{place}]"
            if isinstance(row, ScreenRule) and row.name in (Screen.UNKNOWN, Screen.BLANK, Screen.LOBBY_AGAIN):
                yield f"{where}.name: {row.name} is what remains when no rule matches"
            if row.rule in seen:
                yield f"{where}.rule: {row.rule!r} is the name of an earlier rule"
            seen.add(row.rule)
            yield from _faults_of(where, row, rules, rule_names)


def _faults_of(where: str, evidence: Evidence, rules: Rules, rule_names: set[str]) -> Iterator[str]:
    said = (evidence.visible, evidence.present, evidence.within, evidence.text, evidence.label, evidence.title)
    if not any((*said, evidence.says, evidence.url, evidence.url_not, evidence.fact)):
        yield f"{where}: says nothing of what the page shows"
    if evidence.within and evidence.within not in rules.places:
        yield f"{where}.within: there is no {evidence.within!r} in [places]"
    if (evidence.filled is not None or evidence.size) and not (evidence.visible or evidence.present):
        yield f"{where}: filled and size are of an element: name it in visible or present"
    if evidence.says and not (evidence.within or evidence.visible or evidence.present):
        yield f"{where}.says: needs to know where: name it in within, visible or present"
    for name in evidence.unless or []:
        if name not in rule_names:
            yield f"{where}.unless: there is no screen with the rule {name!r}"
    for key, pattern in (("url", evidence.url), ("url_not", evidence.url_not)):
        yield from _faults_of_pattern(f"{where}.{key}", pattern or "")


def _faults_of_pattern(where: str, pattern: str) -> Iterator[str]:
    try:
        re.compile(pattern)
    except re.error as error:
        yield f"{where}: is no regular expression: {error}"
    if _may_never_end(pattern):
        yield f"{where}: a repetition within a repetition: on some pages it would never come to an end"


def _may_never_end(pattern: str) -> bool:
    bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)
    repeats = re.compile(r"[+*]|\{\d*,|\0")

    def group(found: re.Match[str]) -> str:
        return "\0" if repeats.search(found[1]) else "x"

    while (inner := re.sub(r"\(([^()]*)\)", group, bare)) != bare:
        bare = inner
        if re.search(r"\0[+*{]", bare):
            return True
    return False


_WITH_CSS: Final = (
    "css",
    "each",
    "own",
    "speaks",
    "id",
    "number",
    "visible",
    "present",
    "shown",
    "absent",
    "ignore",
    "speaker",
    "places",
)


def _selectors(node: Any, where: str = "", key: str = "") -> Iterator[tuple[str, str]]:
    """Every CSS selector in the rules: its place in the file, and the selector."""
    if isinstance(node, dict):
        for name, part in node.items():  # pyright: ignore[reportUnknownVariableType]
            inner = "visible" if key == "places" else str(name)  # pyright: ignore[reportUnknownArgumentType]
            yield from _selectors(part, f"{where}.{name}" if where else str(name), inner)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(node, list):
        for place, part in enumerate(node):  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
            yield from _selectors(part, f"{where}[{place}]", key)
    elif isinstance(node, str) and (key in _WITH_CSS or (where.startswith("actions.") and where.count(".") == 1)):
        yield where, node


def _is_balanced(selector: str) -> bool:
    """Whether brackets and quotes are closed. Other faults of a selector show only on a page."""
    bare = re.sub(r"\\.|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", "", selector)
    if '"' in bare or "'" in bare:
        return False
    while (inner := re.sub(r"\([^()\[\]]*\)|\[[^()\[\]]*\]", "", bare)) != bare:
        bare = inner
    return not re.search(r"[()\[\]]", bare)


_NO_CHARACTER: Final = re.compile("[\\s\u00ad\u200b-\u200f\u2060\ufeff]+")
_APOSTROPHE: Final = re.compile("[\u2018\u2019\u02bc\u2032`\u00b4]")
_DASH: Final = re.compile("[\u2010-\u2015]")


def fold(text: str) -> str:
    """The form in which finding.js compares texts: no spaces, one kind of apostrophe and dash, lower case."""
    text = _APOSTROPHE.sub("'", _NO_CHARACTER.sub("", text)).replace("\u2026", "...")
    return _DASH.sub("-", text).lower()


def folded(parts: Sequence[msgspec.Struct | str]) -> list[Any]:
    """The rules as plain objects for the page, with every text, label and title folded."""
    return [part if isinstance(part, str) else _folded(msgspec.to_builtins(part)) for part in parts]


def _folded(part: dict[str, Any]) -> dict[str, Any]:
    for key in ("text", "text_not", "says", "label", "title"):
        if key in part:
            part[key] = [fold(text) for text in part[key]]
    if "click" in part:
        part["click"] = [target if isinstance(target, str) else _folded(target) for target in part["click"]]
    return part


_FACTS: Final = "facts"
"""In `Rules.complained`: `facts` is no JavaScript. The other rules are used without it."""


async def look(page: Page, rules: Rules, timeout_s: float, request: LookRequest = NOTHING) -> Seen:
    """What the page shows now, in one evaluation, without the people and chat lines that `request` says were read.

    Raises: TimeoutError when the page does not answer, playwright's Error when it cannot.
    """
    async with asyncio.timeout(timeout_s):
        asked = msgspec.to_builtins(request)
        try:
            answer = await _detect(page, DETECT if _FACTS in rules.complained else rules.script, rules.argument, asked)
        except Error as error:
            if not rules.facts or _FACTS in rules.complained or "SyntaxError" not in error.message:
                raise
            rules.complained.add(_FACTS)
            log.warning("adapter_facts_bad", error=error.message[:200])
            answer = await _detect(page, DETECT, rules.argument, asked)
    _complain(rules, answer)
    try:
        seen = msgspec.convert(answer, Seen)
    except msgspec.ValidationError:  # the page has changed functions that detect.js uses
        return Seen(Screen.UNKNOWN)
    if seen.people or seen.lines:
        people = seen.people and tuple(Participant(_text(person.id), _text(person.name)) for person in seen.people)
        lines = tuple(
            SeenLine(_text(line.id), _text(line.sender_id), _text(line.sender_name), _text(line.text), line.own)
            for line in seen.lines
        )
        return replace(seen, people=people, lines=lines)
    return seen


class _Detector(NamedTuple):
    """The detector in the document of a page, as a function that nothing in the page can reach."""

    script: str
    rules: str
    function: JSHandle


_KEEP: Final = "(rules) => {{ const detect = {}\n; return (request) => detect({{ rules, request }}); }}"
_DETECT: Final = "(detect, request) => detect(request)"
_detectors: Final = WeakKeyDictionary[Page, _Detector]()


async def _detect(page: Page, script: str, rules: str, request: dict[str, Any]) -> Any:
    """What the detector answers. Script and rules are 15 to 45 KB, and every bot looks twice a second: so they are sent
    once for each document. Raises: playwright's Error.
    """
    detector = _detectors.get(page)
    if detector and (detector.script, detector.rules) == (script, rules):
        try:
            return await detector.function.evaluate(_DETECT, request)
        except Error:  # most likely its document is gone; if not, the next error is as good
            del _detectors[page]
    function = await page.evaluate_handle(_KEEP.format(script), rules)
    _detectors[page] = _Detector(script, rules, function)
    return await function.evaluate(_DETECT, request)


def _complain(rules: Rules, answer: Any) -> None:
    """Log each selector that the page rejects, once."""
    for selector in answer.get("bad", ()) if isinstance(answer, dict) else ():  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        if isinstance(selector, str) and selector not in rules.complained and len(rules.complained) < MOST_RULES:
            rules.complained.add(selector)
            log.warning("adapter_selector_bad", selector=selector[:200])


def _text(raw: str) -> str:
    """The text, cut to MOST_CHARS, with surrogate halves replaced: JavaScript allows them, UTF-8 does not."""
    return raw[:MOST_CHARS].encode(errors="replace").decode()
