"""What the stand-in shows: the project's meeting room as a machine of five screens. No browser, no protocol.

    blank -> name prompt -> lobby -> inside -> end screen

The meeting's link says what happens in it, so that one program serves every test:

    tag=T            who this is, for the witness
    lobby_s=0.3      how long the host lets it wait; 0: there is no lobby
    stay_s=2         how long the meeting goes on; without it: until the bot leaves
    end=ended        what the end screen says then: ended, removed, full, lost
    deny=1           the host says no at the end of the lobby
    hang_s=1.5       so long after it came in the page answers no question any more
    crash_s=1.5      ... the browser dies
    lets_go_s=0.5    so long it takes to leave the page for another one, as pages do that have much to put away
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

BLANK, PROMPT, LOBBY, INSIDE, END = "blank", "prompt", "lobby", "inside", "end"
_SHOWN: Final = {PROMPT: "#name-prompt", LOBBY: "#waiting-room", INSIDE: "#in-meeting"}
_BUTTONS: Final = {"#join": (PROMPT, 100.0), "#cancel": (LOBBY, 200.0), "#leave": (INSIDE, 300.0)}
_ROW: Final = 50.0  # all buttons are in this row, each in its own column
_PARTICIPANTS: Final = 2  # somebody else is always there, so that no bot leaves for being alone


class Page:
    """`on_phase` is called with each phase that begins, and the tag. `on_crash` has to end the process, `on_unattended`
    to open an empty page.
    """

    def __init__(
        self, on_phase: Callable[[str, str], None], on_crash: Callable[[], None], on_unattended: Callable[[], None]
    ) -> None:
        self.url = "about:blank"
        self.phase = BLANK
        self.hangs = False
        self._query: dict[str, str] = {}
        self._name = ""
        self._end = ""
        self._timer: asyncio.TimerHandle | None = None
        self._on_phase = on_phase
        self._on_crash = on_crash
        self._on_unattended = on_unattended
        self._guard: asyncio.TimerHandle | None = None

    def open(self, url: str) -> None:
        """Go to `url`. A page that is in a meeting leaves it."""
        if self.phase in (LOBBY, INSIDE):
            self._finish("left")
        if self._guard:
            self._guard.cancel()
        self.url, self._name, self.hangs = url, "", False
        query = parse_qs(urlsplit(url).query)
        self._query = {name: values[-1] for name, values in query.items()}
        self._enter(BLANK if url == "about:blank" else PROMPT)

    @property
    def lets_go_s(self) -> float:
        return self._seconds("lets_go_s")

    # What scripts do to the page

    def look(self, by: str) -> dict[str, Any]:
        """Answer as detect.js does: the first rule with a visible selector. There are no names and no chat."""
        rules = json.loads(by)
        shown = f"#end-screen[data-end={self._end}]" if self.phase == END else _SHOWN.get(self.phase)
        found = next((rule for rule in rules["screen"] if shown in rule["visible"]), None)
        inside = self.phase == INSIDE
        return {
            "screen": found["name"] if found else "loading" if self.phase == BLANK else "unknown",
            "rule": found["rule"] if found else "",
            "participants": _PARTICIPANTS if inside else 0,
            "audio_packets": 50 if inside else 0,
        }

    def attend(self, seconds: float) -> None:
        """As worker/platforms/scripts/guard.js does: the page leaves by itself unless this is called again in time."""
        if self._guard:
            self._guard.cancel()
        self._guard = asyncio.get_running_loop().call_later(seconds, self._leave_unattended)

    def _leave_unattended(self) -> None:
        if not self.hangs:  # a hanging page runs nothing
            self._on_unattended()

    def focus_name(self) -> str:
        return self._name

    def type(self, text: str) -> None:
        if self.phase == PROMPT:
            self._name = text

    def place(self, selector: str) -> list[float] | None:
        """Where to click; None while it cannot be clicked."""
        phase, column = _BUTTONS.get(selector, ("", 0.0))
        ready = phase == self.phase and (selector != "#join" or self._name)
        return [column, _ROW] if ready else None

    def click(self, x: float, y: float) -> None:
        hit = next((name for name in _BUTTONS if self.place(name) == [x, y]), "")
        if hit == "#join":
            self._enter(LOBBY if self._seconds("lobby_s") or "deny" in self._query else INSIDE)
        elif hit:
            self._finish("left")

    # What happens in the page by itself

    def _enter(self, phase: str) -> None:
        self.phase = phase
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._on_phase(phase, self._query.get("tag", ""))
        if phase == LOBBY:
            admitted = (self._finish, "denied") if "deny" in self._query else (self._enter, INSIDE)
            self._later(self._seconds("lobby_s"), *admitted)
        elif phase == INSIDE and "crash_s" in self._query:
            self._later(self._seconds("crash_s"), self._on_crash)
        elif phase == INSIDE and "hang_s" in self._query:
            self._later(self._seconds("hang_s"), self._hang)
        elif phase == INSIDE and "stay_s" in self._query:
            self._later(self._seconds("stay_s"), self._finish, self._query.get("end", "ended"))

    def _finish(self, how: str) -> None:
        self._end = how
        self._enter(END)

    def _hang(self) -> None:
        self.hangs = True

    def _later(self, seconds: float, what: Callable[..., None], *arguments: str) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, what, *arguments)

    def _seconds(self, name: str) -> float:
        return float(self._query.get(name, "0"))
