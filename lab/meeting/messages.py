"""What a participant and the room say to each other, one frozen struct per message.

On the wire each is a JSON object whose `type` is the struct's tag; `room.server` documents the conversation.
Decides nothing.
"""

from typing import Literal

import msgspec

EndReason = Literal["denied", "removed", "ended", "full"]


class Participant(msgspec.Struct, frozen=True):
    """Somebody in the meeting or in its lobby; `microphone` and `camera` say what they send."""

    id: str
    name: str
    host: bool = False
    microphone: bool = False
    camera: bool = False


class Join(msgspec.Struct, frozen=True, tag="join"):
    name: str
    microphone: bool = False
    camera: bool = False


class Admit(msgspec.Struct, frozen=True, tag="admit"):
    id: str


class Deny(msgspec.Struct, frozen=True, tag="deny"):
    id: str


class Remove(msgspec.Struct, frozen=True, tag="remove"):
    id: str


class AutoAdmit(msgspec.Struct, frozen=True, tag="auto_admit"):
    on: bool


class EndForAll(msgspec.Struct, frozen=True, tag="end_for_all"):
    pass


class Signal(msgspec.Struct, frozen=True, tag="signal"):
    """SDP or an ICE candidate for another participant; the room passes `data` on unread."""

    to: str
    data: msgspec.Raw


class Say(msgspec.Struct, frozen=True, tag="say"):
    """Something for everybody in the meeting to read."""

    text: str


Request = Join | Admit | Deny | Remove | AutoAdmit | EndForAll | Signal | Say


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    pass


class Meeting(msgspec.Struct, frozen=True, tag="meeting"):
    """The meeting as it now is. `participants` is in order of arrival; only hosts get the last two fields."""

    you: str
    participants: tuple[Participant, ...]
    lobby: tuple[Participant, ...] | msgspec.UnsetType = msgspec.UNSET
    auto_admit: bool | msgspec.UnsetType = msgspec.UNSET


class Relayed(msgspec.Struct, frozen=True, tag="signal", rename={"sender": "from"}):
    sender: str
    data: msgspec.Raw


class Said(msgspec.Struct, frozen=True, tag="said", rename={"sender": "from"}):
    """A line of the chat, to everybody in the meeting, the sender included. Whoever comes later does not get it."""

    id: str
    sender: str
    name: str
    text: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last message to a participant: the room closes the socket after it."""

    reason: EndReason


class Error(msgspec.Struct, frozen=True, tag="error"):
    """A request was refused; nothing has changed."""

    message: str


Reply = Waiting | Meeting | Relayed | Said | End | Error
