"""One meeting: who is in it, who waits, what was said, and what its people do next. It knows no sockets and no pages.

The room's hub keeps who is where, and relays what browsers need to find each other. This file adds a platform's host,
who admits people and is in no list of participants.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from lab.meeting.hub import Hub, RefusedError, Tell
from lab.meeting.messages import End, Participant, Reply, Said, Signal
from lab.meeting.messages import Meeting as Snapshot
from lab.platforms.hosts import link_to
from lab.platforms.scenario import Act, Scenario

ROOM: Final = "meeting"
DOORMAN: Final = Participant("doorman", "Doorman", host=True)


class Turned(msgspec.Struct, frozen=True, tag="turn"):
    """The page has to show `to`: as in `lab.platforms.scenario.Turn`."""

    to: str


class Speaks(msgspec.Struct, frozen=True, tag="speaks"):
    id: str
    on: bool


class Captioned(msgspec.Struct, frozen=True, tag="captioned"):
    """A caption of what `name` says: the current text of the line with that `id`; empty: the line disappears."""

    id: str
    name: str
    text: str


class HostCame(msgspec.Struct, frozen=True, tag="host"):
    pass


class Voice(msgspec.Struct, frozen=True, tag="voice"):
    """An order to the page of voices: play this person, or stop."""

    platform: str
    code: str
    name: str
    loud: bool


# The address in an ICE candidate (RFC 8839), and one that answers nobody (RFC 5737).
_CANDIDATE: Final = re.compile(rb"(candidate:\S+ \d+ \w+ \d+) \S+ \d+")
_NOWHERE: Final = rb"\1 192.0.2.1 40000"

Message = Reply | Turned | Speaks | Captioned | HostCame | Voice
Later = Callable[[float, Callable[[], None]], object]  # (seconds, what): as loop.call_later does


class Meeting:
    """Every method may be called at any time; removing somebody who is not there does nothing. `link`: as in an
    invitation. `noted`: what its pages report of what was done to them. `said`: the chat, as (name, text). `loads`: how
    often its page was opened. `hold`: gets the acts that the scenario plans for a moment, and begins them once the
    trial has seen that moment; by default they begin at once.
    """

    def __init__(
        self, platform: str, code: str, scenario: Scenario, later: Later, tell_voices: Callable[[Voice], None]
    ) -> None:
        self.platform = platform
        self.code = code
        self.scenario = scenario
        self.link = link_to(platform, code, scenario.passcode)
        self.host_is_here = scenario.host
        self.noted: list[str] = []
        self.said: list[tuple[str, str]] = []
        self.loads = 0
        self.hold: Callable[[str, Callable[[], None]], None] = lambda _, begin: begin()
        self._later = later
        self._tell_voices = tell_voices
        self._hub = Hub()
        self._hub.join(ROOM, DOORMAN)
        self._mailboxes: dict[str, Callable[[Message], None]] = {}
        self._names: dict[str, str] = {}  # of who is in or waits, by id
        self._waiting: set[str] = set()
        self._guests: set[str] = set()  # people who came by a page: the scenario's acts are about them
        self._next_id = 0
        if scenario.entry == "open" and scenario.host:
            self._hub.set_auto_admit(DOORMAN.id, on=True)
        for name in scenario.people:
            self.come(name)
        for name in scenario.voices:
            self.tone(name)

    @property
    def present(self) -> list[str]:
        return [name for person_id, name in self._names.items() if person_id not in self._waiting]

    @property
    def waiting(self) -> list[str]:
        return [self._names[person_id] for person_id in self._waiting]

    # What people do

    def come(self, name: str) -> None:
        """A participant who sends nothing joins."""
        self.admit(self.enter(name, mailbox=_read_nothing, is_guest=False))

    def admit(self, who: str = "") -> None:
        """Let in `who`, by name or id; without a name everybody who waits."""
        for person_id in self._those(who) & self._waiting:
            self._waiting.discard(person_id)
            self._deliver(self._hub.admit(DOORMAN.id, person_id))
            self._act("meeting", person_id)

    def deny(self, who: str = "") -> None:
        for person_id in self._those(who) & self._waiting:
            self._forget(person_id, self._hub.deny(DOORMAN.id, person_id))

    def remove(self, who: str) -> None:
        for person_id in self._those(who) - self._waiting:
            self._forget(person_id, self._hub.remove(DOORMAN.id, person_id))

    def leave(self, who: str) -> None:
        """A participant leaves."""
        for person_id in self._those(who):
            mailbox = self._mailboxes[person_id]
            self._forget(person_id, self._hub.leave(person_id))
            mailbox(End("ended"))

    def end(self) -> None:
        """The host ends it for everybody."""
        tells = self._hub.end(DOORMAN.id)
        self._hub.join(ROOM, DOORMAN)
        self._deliver(tells)
        for owned in (self._names, self._mailboxes, self._waiting, self._guests):
            owned.clear()

    def host_comes(self) -> None:
        """The host starts the meeting: whoever waited for that now waits to be let in, or is in if there is no
        lobby.
        """
        self.host_is_here = True
        for mailbox in self._mailboxes.values():
            mailbox(HostCame())
        if self.scenario.entry == "open":
            self.admit()
            self._hub.set_auto_admit(DOORMAN.id, on=True)

    def say(self, text: str, by: str) -> None:
        for person_id in self._those(by):
            self.speak_up(person_id, text)

    def tone(self, name: str, *, loud: bool = True) -> None:
        """A participant with a voice makes a sound, or stops; joins first if need be. The page of voices has to be
        open.
        """
        self._tell_voices(Voice(self.platform, self.code, name, loud))
        self.mark(name, loud=loud)

    def mark(self, name: str, *, loud: bool = True) -> None:
        """The platform marks that a participant speaks, or no longer. Nothing is heard."""
        for person_id in self._those(name):
            self._tell_all(Speaks(person_id, loud))

    def caption(self, name: str, text: str, line: str = "1") -> None:
        """The platform shows a caption of what somebody says, on pages with captions on."""
        self._tell_all(Captioned(line, name, text))

    def turn(self, to: str) -> None:
        """Make all pages of the meeting show `to`: see `lab.platforms.scenario.Turn`."""
        self._tell_all(Turned(to))

    # What pages do

    def enter(
        self,
        name: str,
        *,
        microphone: bool = False,
        camera: bool = False,
        mailbox: Callable[[Message], None],
        is_guest: bool = True,
    ) -> str:
        """A person joins, or asks to be let in. Returns the id. `mailbox` gets every message to the page. A guest
        starts the acts. Raises: RefusedError for an invalid name.
        """
        self._next_id += 1
        person_id = f"p{self._next_id}"
        self._mailboxes[person_id] = mailbox
        self._names[person_id] = name
        if is_guest:
            self._guests.add(person_id)
        try:
            tells = self._hub.join(ROOM, Participant(person_id, name, microphone=microphone, camera=camera))
        except RefusedError:
            del self._mailboxes[person_id], self._names[person_id]
            raise
        if any(tell.to == person_id and isinstance(tell.message, Snapshot) for tell in tells):
            self._deliver(tells)
            self._act("meeting", person_id)
        else:
            self._waiting.add(person_id)
            self._deliver(tells)
            self._act("lobby", person_id)
        return person_id

    def signal(self, person_id: str, signal: Signal) -> None:
        data = bytes(signal.data)
        if not self.scenario.sends_ice:
            data = _CANDIDATE.sub(_NOWHERE, data)
        self._deliver(self._hub.relay(person_id, signal.to, msgspec.Raw(data)))

    def speak_up(self, person_id: str, text: str) -> None:
        """A person writes in the chat. Raises: RefusedError when they are not in."""
        self._next_id += 1
        tells = self._hub.say(person_id, f"m{self._next_id}", text)
        self.said += [(tell.message.name, tell.message.text) for tell in tells[:1] if isinstance(tell.message, Said)]
        self._deliver(tells)

    def gone(self, person_id: str) -> None:
        """The page of that person is closed."""
        if person_id in self._names:
            self._forget(person_id, self._hub.leave(person_id))

    # Inside

    def _those(self, who: str) -> set[str]:
        return {person_id for person_id, name in self._names.items() if who in (person_id, name, "")}

    def _act(self, at: str, person_id: str) -> None:
        if person_id in self._guests:
            self.hold(at, partial(self._begin, at, person_id))

    def _begin(self, at: str, person_id: str) -> None:
        for act in self.scenario.acts:
            if act.at == at:
                self._later(act.after_ms / 1000, partial(self._perform, act, person_id))

    def _perform(self, act: Act, person_id: str) -> None:
        if person_id not in self._names or (person_id in self._waiting) != (act.at == "lobby"):
            return
        verb, _, rest = act.do.partition(":")
        name, _, text = rest.partition(":")
        match verb:
            case "admit":
                self.admit(person_id)
            case "deny":
                self.deny(person_id)
            case "remove":
                self.remove(person_id)
            case "end":
                self.end()
            case "host":
                self.host_comes()
            case "come":
                self.come(name)
            case "leave":
                self.leave(name)
            case "say":
                self.say(text, by=name)
            case "tone" | "hush":
                self.tone(name, loud=verb == "tone")
            case _:
                raise AssertionError(f"no act: {act.do!r}")

    def _forget(self, person_id: str, tells: list[Tell]) -> None:
        self._deliver(tells)
        self._mailboxes.pop(person_id, None)
        self._names.pop(person_id, None)
        self._waiting.discard(person_id)
        self._guests.discard(person_id)

    def _tell_all(self, message: Message) -> None:
        for mailbox in list(self._mailboxes.values()):
            mailbox(message)

    def _deliver(self, tells: list[Tell]) -> None:
        for tell in tells:
            mailbox = self._mailboxes.get(tell.to)
            if mailbox:
                mailbox(_without_doorman(tell.message))


def _read_nothing(_: Message) -> None:
    """The mailbox of a person without a page."""


def _without_doorman(message: Reply) -> Reply:
    if not isinstance(message, Snapshot):
        return message
    return Snapshot(
        message.you, tuple(participant for participant in message.participants if participant.id != DOORMAN.id)
    )
