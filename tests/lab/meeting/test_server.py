"""The room over real sockets: people who are admitted, denied, removed and lost, and messages meant to harm."""

import json
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from lab.meeting.server import CHAT_BURST, MAX_BACKLOG_MESSAGES, MAX_MESSAGE_BYTES, create_app
from tests.waiting import PATIENCE_S, wait_until

Reply = dict[str, Any]


class Person:
    """A participant without a browser."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, **message: object) -> None:
        await self.socket.send_json(message)

    async def hear(self) -> Reply:
        return json.loads(await self.socket.receive_str(timeout=PATIENCE_S))

    async def hear_until(self, is_it: Callable[[Reply], object]) -> Reply:
        while not is_it(reply := await self.hear()):
            pass
        return reply

    async def see(self, *names: str) -> Reply:
        """Wait for the snapshot in which exactly these people are in the meeting."""
        return await self.hear_until(
            lambda reply: (
                reply["type"] == "meeting" and [person["name"] for person in reply["participants"]] == list(names)
            )
        )

    async def see_waiting(self, *names: str) -> list[str]:
        """Wait, as a host, until exactly these people wait in the lobby; returns their ids."""
        meeting = await self.hear_until(
            lambda reply: reply["type"] == "meeting" and [person["name"] for person in reply["lobby"]] == list(names)
        )
        return [person["id"] for person in meeting["lobby"]]

    async def close_code(self) -> int | None:
        """Read on until the room closes the socket."""
        while (await self.socket.receive(timeout=PATIENCE_S)).type is WSMsgType.TEXT:
            pass
        return self.socket.close_code


Arrive = Callable[..., Awaitable[Person]]
OpenRoom = Callable[..., Awaitable[str]]


@pytest.fixture
async def connect() -> AsyncIterator[Arrive]:
    """Open a socket to a room, without joining."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(ClientSession())

        async def start(room: str, *, key: str | None = None, autoping: bool = True) -> Person:
            params = {} if key is None else {"host": key}
            socket = await session.ws_connect(f"{room}/ws", params=params, autoping=autoping)
            return Person(await stack.enter_async_context(socket))

        yield start


@pytest.fixture
def arrive(connect: Arrive) -> Arrive:
    """Open a socket and join under a name."""

    async def start(room: str, name: str, *, key: str | None = None, autoping: bool = True) -> Person:
        person = await connect(room, key=key, autoping=autoping)
        await person.say(type="join", name=name)
        return person

    return start


async def test_a_host_admits_a_guest(open_room: OpenRoom, arrive: Arrive, host_key: str) -> None:
    room = await open_room()
    host = await arrive(room, "Ann", key=host_key)
    guest = await arrive(room, "Bob")
    assert await guest.hear() == {"type": "waiting"}

    [guest_id] = await host.see_waiting("Bob")
    await host.say(type="admit", id=guest_id)

    meeting = await guest.see("Ann", "Bob")
    assert meeting["you"] == guest_id
    assert "lobby" not in meeting
    assert [person["host"] for person in meeting["participants"]] == [True, False]


async def test_a_denied_guest_is_told_why_and_the_socket_closes(
    open_room: OpenRoom, arrive: Arrive, host_key: str
) -> None:
    room = await open_room()
    host = await arrive(room, "Ann", key=host_key)
    guest = await arrive(room, "Bob")
    [guest_id] = await host.see_waiting("Bob")
    await host.say(type="deny", id=guest_id)

    assert await guest.hear() == {"type": "waiting"}
    assert await guest.hear() == {"type": "end", "reason": "denied"}
    assert await guest.close_code() == 1000
    assert await host.see_waiting() == []


async def test_a_removed_participant_is_told_why_and_is_gone_for_the_others(
    open_room: OpenRoom, arrive: Arrive, host_key: str
) -> None:
    room = await open_room()
    host = await arrive(room, "Ann", key=host_key)
    await host.say(type="auto_admit", on=True)
    guest = await arrive(room, "Bob")
    guest_id = (await guest.see("Ann", "Bob"))["you"]
    await host.say(type="remove", id=guest_id)

    assert await guest.hear() == {"type": "end", "reason": "removed"}
    assert await guest.close_code() == 1000
    await host.see("Ann", "Bob")
    await host.see("Ann")


async def test_ending_reaches_the_meeting_and_the_lobby(open_room: OpenRoom, arrive: Arrive, host_key: str) -> None:
    room = await open_room()
    waiting = await arrive(room, "Bob")
    assert await waiting.hear() == {"type": "waiting"}
    host = await arrive(room, "Ann", key=host_key)
    await host.see_waiting("Bob")
    await host.say(type="end_for_all")

    for person in (host, waiting):
        assert await person.hear() == {"type": "end", "reason": "ended"}
        assert await person.close_code() == 1000


async def test_a_lost_socket_is_a_participant_gone(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann, bob = await arrive(room, "Ann"), await arrive(room, "Bob")
    await ann.see("Ann", "Bob")

    wire: sockets.socket = bob.socket.get_extra_info("socket")
    wire.shutdown(sockets.SHUT_RDWR)
    await ann.see("Ann")


async def test_a_peer_that_answers_no_ping_is_a_participant_gone(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True, heartbeat_s=0.1)

    async def comes_and_sees(name: str, *, autoping: bool = True) -> list[str]:
        """Nobody, where a busy machine has it come too late for a ping."""
        with suppress(ConnectionError):
            socket = (await arrive(room, name, autoping=autoping)).socket
            while (message := await socket.receive(timeout=PATIENCE_S)).type is WSMsgType.PING:
                pass
            if message.type is WSMsgType.TEXT:
                return [person["name"] for person in json.loads(message.data)["participants"]]
        return []

    await wait_until(lambda: comes_and_sees("Bob", autoping=False))

    async def only_others_are_there() -> bool:
        there = await comes_and_sees("Ann")
        return "Ann" in there and "Bob" not in there

    await wait_until(only_others_are_there)


async def test_a_peer_that_reads_nothing_is_dropped_before_the_backlog_grows(
    open_room: OpenRoom, arrive: Arrive
) -> None:
    room = await open_room(no_lobby=True)
    ann, eve = await arrive(room, "Ann"), await arrive(room, "Eve")
    eve_id = (await ann.see("Ann", "Eve"))["participants"][1]["id"]
    wire: sockets.socket = eve.socket.get_extra_info("socket")
    wire.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    for _ in range(2 * MAX_BACKLOG_MESSAGES):
        await ann.say(type="signal", to=eve_id, data="x" * 50_000)
    await ann.see("Ann")


async def test_a_wrong_host_key_makes_a_guest(open_room: OpenRoom, arrive: Arrive, host_key: str) -> None:
    room = await open_room()
    for key in ("", "wrong", host_key + "x", "ключ"):
        guest = await arrive(room, "Eve", key=key)
        assert await guest.hear() == {"type": "waiting"}


async def test_a_guest_cannot_let_themselves_in(open_room: OpenRoom, arrive: Arrive) -> None:
    guest = await arrive(await open_room(), "Eve")
    assert await guest.hear() == {"type": "waiting"}
    await guest.say(type="auto_admit", on=True)
    assert (await guest.hear())["message"] == "cannot change who is admitted: only a host in the meeting can"


async def test_signals_reach_the_addressee_and_name_the_sender(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann, bob = await arrive(room, "Ann"), await arrive(room, "Bob")
    ann_id = (await ann.see("Ann", "Bob"))["you"]
    bob_id = (await bob.see("Ann", "Bob"))["you"]
    await bob.say(type="signal", to=ann_id, data={"candidate": {"sdpMid": "0"}})
    assert await ann.hear() == {"type": "signal", "from": bob_id, "data": {"candidate": {"sdpMid": "0"}}}


async def test_the_chat_goes_to_everybody_in_the_meeting_with_ids_of_its_own(
    open_room: OpenRoom, arrive: Arrive
) -> None:
    room = await open_room(no_lobby=True)
    ann, bob = await arrive(room, "Ann"), await arrive(room, "Bob")
    meeting = await bob.see("Ann", "Bob")
    for text in ("Hello", "Hello"):
        await bob.say(type="say", text=text)
    lines = [await ann.hear_until(lambda reply: reply["type"] == "said") for _ in range(2)]
    assert lines == [await bob.hear_until(lambda reply: reply["type"] == "said") for _ in range(2)]
    assert lines[0] == {"type": "said", "id": lines[0]["id"], "from": meeting["you"], "name": "Bob", "text": "Hello"}
    assert lines[0]["id"] != lines[1]["id"]
    late = await arrive(room, "Cid")
    await late.say(type="say", text="")
    assert [reply["type"] for reply in (await late.hear(), await late.hear())] == ["meeting", "error"]


async def test_whoever_says_too_much_at_once_is_refused_and_stays(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann = await arrive(room, "Ann")
    for _ in range(CHAT_BURST + 10):
        await ann.say(type="say", text="Hello")
    refused = await ann.hear_until(lambda reply: reply["type"] == "error")
    assert refused["message"] == "cannot say this: too much at once, wait a second"
    await arrive(room, "Bob")
    await ann.see("Ann", "Bob")


async def test_signals_never_leave_the_room(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann, eve = await arrive(room, "Ann"), await arrive(f"{room}-2", "Eve")
    ann_id = (await ann.see("Ann"))["you"]
    await eve.see("Eve")
    await eve.say(type="signal", to=ann_id, data="psst")
    assert (await eve.hear())["type"] == "error"

    # Had anything reached Ann, it would come before the next snapshot.
    await arrive(room, "Bob")
    assert (await ann.hear())["type"] == "meeting"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "null",
        '{"type": "shout"}',
        '{"type": "join"}',
        '{"type": "join", "name": 7}',
        "[" * 90_000,
    ],
    ids=["empty", "not JSON", "a list", "null", "unknown type", "no name", "name not text", "nested too deep"],
)
async def test_a_message_that_cannot_be_read_closes_that_socket_only(
    open_room: OpenRoom, connect: Arrive, arrive: Arrive, text: str
) -> None:
    room = await open_room(no_lobby=True)
    ann = await arrive(room, "Ann")
    eve = await connect(room)
    await eve.socket.send_str(text)
    assert (await eve.hear())["type"] == "error"
    assert await eve.close_code() == 1008
    await arrive(room, "Bob")
    await ann.see("Ann", "Bob")


async def test_breaking_the_protocol_in_a_meeting_is_leaving_it(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann, eve = await arrive(room, "Ann"), await arrive(room, "Eve")
    await ann.see("Ann", "Eve")
    await eve.socket.send_str('{"type": "signal", "to": "x", "data": ' + "[" * 90_000)
    assert await eve.close_code() == 1008
    await ann.see("Ann")


async def test_a_message_that_is_too_large_closes_the_socket(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann, eve = await arrive(room, "Ann"), await arrive(room, "Eve")
    await ann.see("Ann", "Eve")
    await eve.say(type="signal", to="x", data="x" * MAX_MESSAGE_BYTES)
    assert await eve.close_code() == 1009
    await ann.see("Ann")


@pytest.mark.parametrize("first", [{"type": "end_for_all"}, {"type": "join", "name": " "}])
async def test_nothing_goes_before_joining_under_a_name(
    open_room: OpenRoom, connect: Arrive, first: dict[str, object]
) -> None:
    eve = await connect(await open_room())
    await eve.say(**first)
    assert (await eve.hear())["message"].startswith("cannot ")
    assert await eve.close_code() == 1008


async def test_joining_twice_is_refused_and_changes_nothing(open_room: OpenRoom, arrive: Arrive) -> None:
    room = await open_room(no_lobby=True)
    ann = await arrive(room, "Ann")
    await ann.see("Ann")
    await ann.say(type="join", name="Other")
    assert (await ann.hear())["message"] == "cannot join: already here"
    await arrive(room, "Bob")
    await ann.see("Ann", "Bob")


@pytest.mark.parametrize(
    ("no_lobby", "key", "role", "label"),
    [
        (False, None, "guest", "Ask to join"),
        (True, None, "guest", "Join now"),
        (False, "the-host-key", "host", "Join now"),
        (False, "wrong", "refused", "Ask to join"),
    ],
)
async def test_the_page_says_who_you_are_before_any_script_runs(
    open_room: OpenRoom, no_lobby: bool, key: str | None, role: str, label: str
) -> None:
    room = await open_room(no_lobby=no_lobby)
    async with ClientSession() as session, session.get(room, params={"host": key} if key else {}) as response:
        page = await response.text()
        assert f'data-role="{role}"' in page
        assert f">{label}</button>" in page
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/?room=Not%20A%20Room", 400),
        ("/?room=demo", 200),
        ("/r/Demo", 404),
        ("/r/" + "x" * 65, 404),
        ("/page/../server.py", 404),
        ("/page/room.js", 200),
    ],
)
async def test_addresses(open_room: OpenRoom, path: str, status: int) -> None:
    origin = (await open_room()).removesuffix("/r/demo")
    async with ClientSession() as session, session.get(origin + path) as response:
        assert response.status == status


def test_a_room_needs_a_host_key() -> None:
    with pytest.raises(ValueError, match="host key"):
        create_app("")
