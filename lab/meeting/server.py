"""The room on the network: its page, and one WebSocket per participant.

Translates between sockets and `room.hub` and decides nothing itself. Media never passes here: browsers send it
to each other, and this server only relays what they need to find each other.

The WebSocket protocol, for pages and programs alike
----------------------------------------------------
Connect to `/r/{room}/ws`, or `/r/{room}/ws?host=KEY` to be a host (a wrong key makes a guest). Every message is
one JSON text with a `type`. The first one, within 10 seconds, is a join; a participant leaves by closing.

    you say                                                     who may
    {"type": "join", "name": "Ann", "microphone": true, "camera": false}
    {"type": "signal", "to": ID, "data": ANYTHING}              anybody in the meeting
    {"type": "say", "text": "Hello"}                            anybody in the meeting; 20 at once, then 2 a second
    {"type": "admit", "id": ID}                                 a host
    {"type": "deny", "id": ID}                                  a host
    {"type": "remove", "id": ID}                                a host
    {"type": "auto_admit", "on": true}                          a host; lasts while a host is in the meeting
    {"type": "end_for_all"}                                     a host

    the room says
    {"type": "waiting"}                                         you are in the lobby
    {"type": "meeting", "you": ID, "participants": [P, ...]}    you are in the meeting; sent on every change
    {"type": "meeting", ..., "lobby": [P, ...], "auto_admit": false}    the same, as a host gets it
    {"type": "signal", "from": ID, "data": ANYTHING}
    {"type": "said", "id": ID, "from": ID, "name": "Ann", "text": "Hello"}    in the chat; to the sender as well
    {"type": "end", "reason": "denied" | "removed" | "ended" | "full"}  the socket closes after it
    {"type": "error", "message": "cannot ..."}                  the request was refused and changed nothing

    P = {"id": ID, "name": "Ann", "host": false, "microphone": true, "camera": false}

`microphone` and `camera` say what a participant sends; both false is receive-only, and the default. Participants
are listed in order of arrival, and of two of them the later one makes the WebRTC offer, so a participant can tell
from the list alone whether to offer or to wait. Signal `data` is `{"description": RTCSessionDescription}` or
`{"candidate": RTCIceCandidate}`; pairs in which neither sends media exchange none.

A message that is not JSON, or has no known type, is answered with an error and closes the socket (1008); so does
a refused join. One over 256 KiB closes it at once (1009).
"""

import asyncio
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from string import Template

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web

from lab.meeting.hub import ROOM_NAME, Hub, RefusedError, Tell
from lab.meeting.messages import (
    Admit,
    AutoAdmit,
    Deny,
    End,
    EndForAll,
    Error,
    Join,
    Participant,
    Remove,
    Reply,
    Request,
    Say,
    Signal,
)

MAX_MESSAGE_BYTES = 256 * 1024
MAX_BACKLOG_MESSAGES = 256  # a participant who reads nothing is dropped before their backlog eats the memory
HEARTBEAT_S = 10.0  # seconds between pings; a participant who answers none is dropped after one and a half of these
JOIN_DEADLINE_S = 10.0
SEND_DEADLINE_S = 10.0
CLOSE_DEADLINE_S = 2.0
CHAT_BURST = 20
CHAT_PER_S = 2.0

PAGE = Path(__file__).parent / "page"

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "media-src 'self' blob: mediastream:; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # a host's address holds the key
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Cache-Control": "no-cache",
}

_requests = msgspec.json.Decoder(Request)
_replies = msgspec.json.Encoder()


def create_app(host_key: str, *, no_lobby: bool = False, heartbeat_s: float = HEARTBEAT_S) -> web.Application:
    """The whole room as an application: whoever shows `host_key` is a host; with `no_lobby` there is no lobby.

    Raises:
        ValueError: the host key is empty, which would make everybody a host.
    """
    if not host_key:
        raise ValueError("cannot open a room without a host key")
    entrance = _Entrance(host_key, Hub(no_lobby=no_lobby), heartbeat_s)
    app = web.Application()
    app.router.add_get("/", entrance.choose_room)
    app.router.add_get(f"/r/{{room:{ROOM_NAME}}}", entrance.show_page)
    app.router.add_get(f"/r/{{room:{ROOM_NAME}}}/ws", entrance.meet)
    app.router.add_static("/page", PAGE)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(entrance.close)
    return app


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


class _Connection:
    """One participant's socket and what still has to be sent on it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.id = secrets.token_urlsafe(9)
        self.socket = socket
        self._transport = transport
        self._backlog: asyncio.Queue[Reply | None] = asyncio.Queue()
        self._close_code = WSCloseCode.OK
        self._may_say = float(CHAT_BURST)
        self._may_say_at = 0.0

    def may_say(self, now: float) -> bool:
        """Whether this participant has not sent too many messages lately. `now`: monotonic seconds."""
        self._may_say = min(CHAT_BURST, self._may_say + (now - self._may_say_at) * CHAT_PER_S)
        self._may_say_at = now
        if self._may_say < 1:
            return False
        self._may_say -= 1
        return True

    def tell(self, message: Reply) -> None:
        if self._backlog.qsize() >= MAX_BACKLOG_MESSAGES:
            self.drop()
        else:
            self._backlog.put_nowait(message)

    def finish(self) -> None:
        """Let `send_all` end once the backlog is sent."""
        self._backlog.put_nowait(None)

    def refuse(self, message: str) -> None:
        """Say what is wrong; the socket then closes as a breach of the protocol."""
        self.tell(Error(message))
        self._close_code = WSCloseCode.POLICY_VIOLATION

    def drop(self) -> None:
        """Close the connection at once; the reading side notices, and the participant leaves."""
        if self._transport is not None:
            self._transport.abort()  # close() would first wait for the peer to read what it does not read

    async def send_all(self) -> None:
        """Send until asked to finish, until the participant's end was sent, or until the connection is dead."""
        try:
            while (message := await self._backlog.get()) is not None:
                async with asyncio.timeout(SEND_DEADLINE_S):
                    await self.socket.send_str(_replies.encode(message).decode())
                if isinstance(message, End):
                    break
        except (ConnectionError, TimeoutError):
            self.drop()
        else:
            await self.socket.close(code=self._close_code)


class _Entrance:
    """The handlers, and the sockets of everybody who is in or waiting."""

    def __init__(self, host_key: str, hub: Hub, heartbeat_s: float) -> None:
        self._host_key = host_key.encode()
        self._hub = hub
        self._heartbeat_s = heartbeat_s
        self._connections: dict[str, _Connection] = {}
        self._choose = (PAGE / "choose.html").read_text()
        self._page = Template((PAGE / "index.html").read_text())

    async def choose_room(self, request: web.Request) -> web.Response:
        room = request.query.get("room")
        if room and re.fullmatch(ROOM_NAME, room):
            raise web.HTTPSeeOther(f"/r/{room}")
        return web.Response(text=self._choose, content_type="text/html", status=400 if room else 200)

    async def show_page(self, request: web.Request) -> web.Response:
        role = "host" if self._is_host(request) else "refused" if "host" in request.query else "guest"
        at_once = role == "host" or self._hub.no_lobby
        text = self._page.substitute(
            room=request.match_info["room"], role=role, join="Join now" if at_once else "Ask to join"
        )
        return web.Response(text=text, content_type="text/html")

    async def meet(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(
            heartbeat=self._heartbeat_s, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_DEADLINE_S
        )
        await socket.prepare(request)
        connection = _Connection(socket, request.transport)
        self._connections[connection.id] = connection
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(connection.send_all(), name=f"send to {connection.id}")
            try:
                await self._listen(connection, request.match_info["room"], host=self._is_host(request))
            finally:  # the others learn of it now, not only when sending to a dead connection has timed out
                del self._connections[connection.id]
                self._deliver(self._hub.leave(connection.id))
                connection.finish()
        return socket

    async def close(self, _app: web.Application) -> None:
        """Close every socket, so that no handler outlives the server."""
        async with asyncio.TaskGroup() as tasks:
            for connection in list(self._connections.values()):
                tasks.create_task(connection.socket.close(code=WSCloseCode.GOING_AWAY), name=f"close {connection.id}")

    async def _listen(self, connection: _Connection, room: str, *, host: bool) -> None:
        """Carry out what this participant asks for until they go, are sent away, or break the protocol."""
        joined = False
        while True:
            try:
                frame = await connection.socket.receive(timeout=None if joined else JOIN_DEADLINE_S)
            except TimeoutError:
                return connection.refuse("cannot wait any longer: nobody joined on this socket")
            if frame.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return None
            try:
                request = _requests.decode(frame.data)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                return connection.refuse(f"cannot read this message: {error}")
            try:
                if not joined:
                    self._deliver(self._join(connection.id, room, request, host=host))
                    joined = True
                elif isinstance(request, Say):
                    self._deliver(self._say(connection, request))
                else:
                    self._deliver(_carry_out(self._hub, connection.id, request))
            except RefusedError as refused:
                if not joined:
                    return connection.refuse(str(refused))
                connection.tell(Error(str(refused)))

    def _join(self, person_id: str, room: str, request: Request, *, host: bool) -> list[Tell]:
        if not isinstance(request, Join):
            raise RefusedError("cannot do this yet: join first")
        person = Participant(person_id, request.name, host, request.microphone, request.camera)
        return self._hub.join(room, person)

    def _say(self, connection: _Connection, request: Say) -> list[Tell]:
        if not connection.may_say(time.monotonic()):
            raise RefusedError("cannot say this: too much at once, wait a second")
        return self._hub.say(connection.id, secrets.token_urlsafe(9), request.text)

    def _deliver(self, tells: Iterable[Tell]) -> None:
        for tell in tells:
            if connection := self._connections.get(tell.to):
                connection.tell(tell.message)

    def _is_host(self, request: web.Request) -> bool:
        return hmac.compare_digest(request.query.get("host", "").encode(), self._host_key)


def _carry_out(
    hub: Hub, person_id: str, request: Join | Admit | Deny | Remove | AutoAdmit | EndForAll | Signal
) -> list[Tell]:
    match request:
        case Admit(id=guest_id):
            return hub.admit(person_id, guest_id)
        case Deny(id=guest_id):
            return hub.deny(person_id, guest_id)
        case Remove(id=other_id):
            return hub.remove(person_id, other_id)
        case AutoAdmit(on=on):
            return hub.set_auto_admit(person_id, on=on)
        case EndForAll():
            return hub.end(person_id)
        case Signal(to=to, data=data):
            return hub.relay(person_id, to, data)
        case Join():
            raise RefusedError("cannot join: already here")
