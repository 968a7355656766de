"""The room's state by itself: who gets in, who is told what, and what every sequence of requests keeps true."""

import re
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lab.meeting.hub import (
    MAX_NAME_CHARS,
    MAX_PARTICIPANTS,
    MAX_ROOMS,
    MAX_TEXT_CHARS,
    ROOM_NAME,
    Hub,
    RefusedError,
    Tell,
)
from lab.meeting.messages import End, Meeting, Participant, Relayed, Said, Waiting

SDP = msgspec.Raw(b'{"sdp":"v=0"}')
ANN = Participant("ann", "Ann", host=True, microphone=True)
BOB = Participant("bob", "Bob")
CID = Participant("cid", "Cid")


def meeting_of(tells: list[Tell], person: Participant) -> Meeting:
    """The snapshot that `person` is told."""
    [meeting] = [tell.message for tell in tells if tell.to == person.id and isinstance(tell.message, Meeting)]
    return meeting


def a_meeting(*guests: Participant) -> Hub:
    """Ann hosts, and has admitted the guests."""
    hub = Hub()
    hub.join("demo", ANN)
    for guest in guests:
        hub.join("demo", guest)
        hub.admit("ann", guest.id)
    return hub


def test_a_host_is_in_the_meeting_at_once() -> None:
    assert Hub().join("demo", ANN) == [Tell("ann", Meeting("ann", (ANN,), (), auto_admit=False))]


def test_a_guest_waits_and_only_hosts_hear_of_it() -> None:
    hub = a_meeting(CID)
    assert hub.join("demo", BOB) == [
        Tell("bob", Waiting()),
        Tell("ann", Meeting("ann", (ANN, CID), (BOB,), auto_admit=False)),
    ]


def test_guests_wait_until_a_host_arrives() -> None:
    hub = Hub()
    assert hub.join("demo", BOB) == [Tell("bob", Waiting())]
    assert meeting_of(hub.join("demo", ANN), ANN).lobby == (BOB,)


def test_with_an_open_door_nobody_waits() -> None:
    assert Hub(no_lobby=True).join("demo", BOB) == [Tell("bob", Meeting("bob", (BOB,)))]


def test_an_admitted_guest_sees_everybody_in_order_of_arrival_and_no_lobby() -> None:
    hub = Hub()
    for person in (ANN, BOB, CID):
        hub.join("demo", person)
    tells = hub.admit("ann", "cid")
    assert meeting_of(tells, CID) == Meeting("cid", (ANN, CID))
    assert meeting_of(tells, ANN).lobby == (BOB,)


def test_a_denied_guest_is_told_and_leaves_no_trace() -> None:
    hub = a_meeting()
    hub.join("demo", BOB)
    assert hub.deny("ann", "bob") == [
        Tell("bob", End("denied")),
        Tell("ann", Meeting("ann", (ANN,), (), auto_admit=False)),
    ]
    assert hub.leave("bob") == []


def test_a_removed_participant_is_told_and_so_are_the_others() -> None:
    tells = a_meeting(BOB, CID).remove("ann", "bob")
    assert tells[0] == Tell("bob", End("removed"))
    assert {tell.to for tell in tells[1:]} == {"ann", "cid"}
    assert meeting_of(tells, CID).participants == (ANN, CID)


def test_ending_tells_the_meeting_and_the_lobby_and_the_room_is_gone() -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    assert {tell.to: tell.message for tell in hub.end("ann")} == dict.fromkeys(("ann", "bob", "cid"), End("ended"))
    assert hub.room_count == 0


def test_auto_admit_lets_in_who_waits_and_who_comes() -> None:
    hub = a_meeting()
    hub.join("demo", BOB)
    assert meeting_of(hub.set_auto_admit("ann", on=True), BOB).participants == (ANN, BOB)
    assert meeting_of(hub.join("demo", CID), CID).participants == (ANN, BOB, CID)


def test_auto_admit_ends_with_the_last_host() -> None:
    hub = a_meeting(BOB)
    hub.set_auto_admit("ann", on=True)
    hub.leave("ann")
    assert hub.join("demo", CID) == [Tell("cid", Waiting())]


def test_a_host_who_comes_back_finds_the_meeting_and_the_lobby_as_they_were() -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    hub.leave("ann")
    again = msgspec.structs.replace(ANN, id="ann-2")
    assert meeting_of(hub.join("demo", again), again) == Meeting("ann-2", (BOB, again), (CID,), auto_admit=False)


def test_leaving_is_idempotent() -> None:
    hub = a_meeting(BOB)
    assert [tell.to for tell in hub.leave("bob")] == ["ann"]
    assert hub.leave("bob") == []


def test_signals_pass_between_two_people_in_one_meeting() -> None:
    assert a_meeting(BOB).relay("bob", "ann", SDP) == [Tell("ann", Relayed("bob", SDP))]


@pytest.mark.parametrize(
    ("sender", "to"),
    [
        ("ann", "cid"),  # waits in the lobby
        ("cid", "ann"),
        ("ann", "eve"),  # is in another room
        ("ann", "ann"),
        ("ann", "nobody"),
        ("nobody", "ann"),
    ],
)
def test_signals_to_or_from_anybody_else_are_refused(sender: str, to: str) -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    hub.join("other", Participant("eve", "Eve", host=True))
    with pytest.raises(RefusedError):
        hub.relay(sender, to, SDP)


HOST_ONLY: dict[str, Callable[[Hub, str], list[Tell]]] = {
    "admit": lambda hub, actor: hub.admit(actor, "cid"),
    "deny": lambda hub, actor: hub.deny(actor, "cid"),
    "remove": lambda hub, actor: hub.remove(actor, "bob"),
    "auto-admit": lambda hub, actor: hub.set_auto_admit(actor, on=True),
    "end": lambda hub, actor: hub.end(actor),
}


@pytest.mark.parametrize("actor", ["bob", "cid", "nobody"])
@pytest.mark.parametrize("act", HOST_ONLY.values(), ids=HOST_ONLY.keys())
def test_only_a_host_in_the_meeting_decides(act: Callable[[Hub, str], list[Tell]], actor: str) -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    with pytest.raises(RefusedError, match="only a host"):
        act(hub, actor)


@pytest.mark.parametrize(
    ("given", "shown"), [("Hello", "Hello"), (" a\r\nb\t", "a \nb"), ("<b>&amp;", "<b>&amp;"), ("\x00\ud83dx", "x")]
)
def test_what_is_said_everybody_in_the_meeting_reads_and_nobody_in_its_lobby(given: str, shown: str) -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    line = Said("line-1", "bob", "Bob", shown)
    assert hub.say("bob", "line-1", given) == [Tell("ann", line), Tell("bob", line)]


@pytest.mark.parametrize("sender", ["cid", "nobody"])
def test_whoever_is_not_in_the_meeting_says_nothing(sender: str) -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    with pytest.raises(RefusedError, match="cannot say this: you are not in the meeting"):
        hub.say(sender, "line-1", "Hello")


@pytest.mark.parametrize("text", ["", " \n\t", "x" * (MAX_TEXT_CHARS + 1)])
def test_a_message_with_nothing_or_too_much_in_it_is_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="cannot say this"):
        a_meeting().say("ann", "line-1", text)


def test_a_host_decides_nothing_in_another_room() -> None:
    hub = a_meeting(BOB)
    hub.join("demo", CID)
    hub.join("other", Participant("eve", "Eve", host=True))
    for act in (lambda: hub.admit("eve", "cid"), lambda: hub.deny("eve", "cid"), lambda: hub.remove("eve", "bob")):
        with pytest.raises(RefusedError, match="nobody with this id"):
            act()


@pytest.mark.parametrize(
    ("given", "shown"), [("  Ann  ", "Ann"), ("Ann\n\tLee", "Ann Lee"), ("x" * MAX_NAME_CHARS, "x" * MAX_NAME_CHARS)]
)
def test_a_name_is_shown_on_one_line(given: str, shown: str) -> None:
    hub = Hub(no_lobby=True)
    assert meeting_of(hub.join("demo", Participant("ann", given)), ANN).participants[0].name == shown


@pytest.mark.parametrize("name", ["", "   ", "\n\u200b", "x" * (MAX_NAME_CHARS + 1)])
def test_an_unreadable_name_is_refused_and_makes_no_room(name: str) -> None:
    hub = Hub()
    with pytest.raises(RefusedError):
        hub.join("demo", Participant("ann", name))
    assert hub.room_count == 0


def test_a_full_meeting_turns_everybody_away() -> None:
    hub = Hub(no_lobby=True)
    for number in range(MAX_PARTICIPANTS):
        hub.join("demo", Participant(f"p{number}", "P"))
    assert hub.join("demo", BOB) == [Tell("bob", End("full"))]
    hub.leave("p0")
    assert hub.join("demo", BOB) != [Tell("bob", End("full"))]


def test_a_full_lobby_turns_guests_away_but_not_the_host() -> None:
    hub = Hub()
    for number in range(MAX_PARTICIPANTS):
        hub.join("demo", Participant(f"p{number}", "P"))
    assert hub.join("demo", BOB) == [Tell("bob", End("full"))]
    hub.join("demo", ANN)
    assert len(meeting_of(hub.set_auto_admit("ann", on=True), ANN).participants) == MAX_PARTICIPANTS
    with pytest.raises(RefusedError, match="full"):
        hub.admit("ann", f"p{MAX_PARTICIPANTS - 1}")


def test_there_is_an_end_to_rooms() -> None:
    hub = Hub()
    for number in range(MAX_ROOMS):
        hub.join(f"room-{number}", Participant(f"p{number}", "P"))
    assert hub.join("one-more", BOB) == [Tell("bob", End("full"))]
    hub.leave("p0")
    assert hub.join("one-more", BOB) == [Tell("bob", Waiting())]


@pytest.mark.parametrize("name", ["a", "demo", "0-9", "x" * 64])
def test_room_names_that_are_allowed(name: str) -> None:
    assert re.fullmatch(ROOM_NAME, name)


@pytest.mark.parametrize("name", ["", "-a", "Demo", "a_b", "a/b", "é", "a\n", "x" * 65])
def test_room_names_that_are_not(name: str) -> None:
    assert not re.fullmatch(ROOM_NAME, name)


IDS = st.sampled_from([f"p{number}" for number in range(8)])
ROOMS = st.sampled_from(["red", "blue"])


class AnySequence(RuleBasedStateMachine):
    """Whatever is asked in whatever order, what people were last told is what is true."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub()
        self.room_of: dict[str, str] = {}
        self.last_told: dict[str, object] = {}

    def do(self, act: Callable[[], list[Tell]]) -> None:
        try:
            tells = act()
        except RefusedError:
            return
        for tell in tells:
            assert tell.to in self.room_of
            self.last_told[tell.to] = tell.message
            if isinstance(tell.message, End):
                del self.room_of[tell.to], self.last_told[tell.to]

    @rule(person_id=IDS, room=ROOMS, host=st.booleans())
    def join(self, person_id: str, room: str, host: bool) -> None:
        if person_id not in self.room_of:
            self.room_of[person_id] = room
            self.do(lambda: self.hub.join(room, Participant(person_id, person_id, host)))

    @rule(person_id=IDS)
    def leave(self, person_id: str) -> None:
        self.room_of.pop(person_id, None)
        self.last_told.pop(person_id, None)
        self.do(lambda: self.hub.leave(person_id))

    @rule(host_id=IDS, guest_id=IDS)
    def admit(self, host_id: str, guest_id: str) -> None:
        self.do(lambda: self.hub.admit(host_id, guest_id))

    @rule(host_id=IDS, guest_id=IDS)
    def deny(self, host_id: str, guest_id: str) -> None:
        self.do(lambda: self.hub.deny(host_id, guest_id))

    @rule(host_id=IDS, person_id=IDS)
    def remove(self, host_id: str, person_id: str) -> None:
        self.do(lambda: self.hub.remove(host_id, person_id))

    @rule(host_id=IDS, on=st.booleans())
    def set_auto_admit(self, host_id: str, on: bool) -> None:
        self.do(lambda: self.hub.set_auto_admit(host_id, on=on))

    @rule(host_id=IDS)
    def end(self, host_id: str) -> None:
        self.do(lambda: self.hub.end(host_id))

    @invariant()
    def a_room_lives_exactly_as_long_as_somebody_is_there(self) -> None:
        assert self.hub.room_count == len(set(self.room_of.values()))

    @invariant()
    def everybody_has_been_told_the_truth(self) -> None:
        for room in set(self.room_of.values()):
            people = {person_id for person_id, theirs in self.room_of.items() if theirs == room}
            present = {person_id for person_id in people if isinstance(self.last_told[person_id], Meeting)}
            for person_id in present:
                meeting = self.last_told[person_id]
                assert isinstance(meeting, Meeting)
                assert {person.id for person in meeting.participants} == present
                if isinstance(meeting.lobby, tuple):
                    assert {person.id for person in meeting.lobby} == people - present

    @invariant()
    def nobody_waits_while_a_host_admits_everyone(self) -> None:
        for person_id, told in self.last_told.items():
            if isinstance(told, Meeting) and told.auto_admit is True:
                assert told.lobby == (), person_id


TestAnySequence = AnySequence.TestCase
