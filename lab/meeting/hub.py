"""Who is in which meeting, who waits in its lobby, and which messages a change causes.

Pure: ids come from outside, and every method returns the messages to deliver instead of sending them. It knows no
sockets, no keys and no clock. Whether somebody is a host is decided by the caller.
"""

from dataclasses import dataclass, field

import msgspec

from lab.meeting.messages import End, Meeting, Participant, Relayed, Reply, Said, Waiting

ROOM_NAME = "[a-z0-9][a-z0-9-]{0,63}"
MAX_NAME_CHARS = 80
MAX_TEXT_CHARS = 2000
MAX_PARTICIPANTS = 100  # in the meeting; as many again may wait in its lobby
MAX_ROOMS = 1000


class RefusedError(Exception):
    """A request that cannot be granted; the state is as it was before."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Deliver `message` to the person with the id `to`."""

    to: str
    message: Reply


@dataclass(slots=True)
class _Room:
    name: str
    present: dict[str, Participant] = field(default_factory=dict[str, Participant])
    waiting: dict[str, Participant] = field(default_factory=dict[str, Participant])
    auto_admit: bool = False

    @property
    def has_host(self) -> bool:
        return any(person.host for person in self.present.values())

    @property
    def is_full(self) -> bool:
        return len(self.present) >= MAX_PARTICIPANTS


class Hub:
    """All rooms of one server. A room exists from its first arrival until its last departure."""

    def __init__(self, *, no_lobby: bool = False) -> None:
        self.no_lobby = no_lobby
        self._rooms: dict[str, _Room] = {}
        self._room_of: dict[str, _Room] = {}

    @property
    def room_count(self) -> int:
        return len(self._rooms)

    def join(self, room_name: str, person: Participant) -> list[Tell]:
        """Put `person` in the meeting (a host, or if there is no lobby), in the lobby, or refuse them when it is full.

        Raises:
            RefusedError: the name is empty or too long, or this id has joined before.
        """
        if person.id in self._room_of:
            raise RefusedError("cannot join: already here")
        person = msgspec.structs.replace(person, name=_tidy_name(person.name))
        room = self._rooms.get(room_name) or _Room(room_name)
        no_place = room.is_full or (len(room.waiting) >= MAX_PARTICIPANTS and not person.host)
        if no_place or (room_name not in self._rooms and len(self._rooms) >= MAX_ROOMS):
            return [Tell(person.id, End("full"))]

        self._rooms[room_name] = room
        self._room_of[person.id] = room
        if person.host or self.no_lobby or (room.auto_admit and room.has_host):
            room.present[person.id] = person
            return _snapshots(room)
        room.waiting[person.id] = person
        return [Tell(person.id, Waiting()), *_snapshots(room, hosts_only=True)]

    def leave(self, person_id: str) -> list[Tell]:
        """Remove a person who left. Idempotent: nothing happens for an id that is not here."""
        room = self._room_of.get(person_id)
        if room is None:
            return []
        was_present = person_id in room.present
        self._forget(room, person_id)
        return _snapshots(room, hosts_only=not was_present)

    def admit(self, host_id: str, guest_id: str) -> list[Tell]:
        """Let a waiting guest in. Raises `RefusedError` when that guest no longer waits or there is no place."""
        room = self._room_of_host(host_id, "admit")
        if guest_id not in room.waiting:
            raise RefusedError("cannot admit: nobody with this id is waiting")
        if room.is_full:
            raise RefusedError("cannot admit: the meeting is full")
        room.present[guest_id] = room.waiting.pop(guest_id)
        return _snapshots(room)

    def deny(self, host_id: str, guest_id: str) -> list[Tell]:
        """Turn a waiting guest away. Raises `RefusedError` when that guest no longer waits."""
        room = self._room_of_host(host_id, "deny")
        if guest_id not in room.waiting:
            raise RefusedError("cannot deny: nobody with this id is waiting")
        self._forget(room, guest_id)
        return [Tell(guest_id, End("denied")), *_snapshots(room, hosts_only=True)]

    def remove(self, host_id: str, person_id: str) -> list[Tell]:
        """Put somebody out of the meeting, another host included. Raises `RefusedError` when they are not in it."""
        room = self._room_of_host(host_id, "remove")
        if person_id not in room.present:
            raise RefusedError("cannot remove: nobody with this id is in the meeting")
        self._forget(room, person_id)
        return [Tell(person_id, End("removed")), *_snapshots(room)]

    def set_auto_admit(self, host_id: str, *, on: bool) -> list[Tell]:
        """Admit whoever waits and whoever comes, for as long as a host is in the meeting. Idempotent."""
        room = self._room_of_host(host_id, "change who is admitted")
        room.auto_admit = on
        if not on:
            return _snapshots(room, hosts_only=True)
        for guest_id in list(room.waiting)[: MAX_PARTICIPANTS - len(room.present)]:
            room.present[guest_id] = room.waiting.pop(guest_id)
        return _snapshots(room)

    def end(self, host_id: str) -> list[Tell]:
        """End the meeting for everybody in it and in its lobby; the room is gone afterwards."""
        room = self._room_of_host(host_id, "end the meeting")
        everybody = [*room.present, *room.waiting]
        for person_id in everybody:
            self._forget(room, person_id)
        return [Tell(person_id, End("ended")) for person_id in everybody]

    def relay(self, sender_id: str, to: str, data: msgspec.Raw) -> list[Tell]:
        """Pass signalling on, only between two people who are in the same meeting.

        Raises:
            RefusedError: one of them is not in it. A stranger and somebody who has just left read the same.
        """
        room = self._room_of.get(sender_id)
        if room is None or sender_id not in room.present or to not in room.present or to == sender_id:
            raise RefusedError("cannot signal: nobody with this id is in the meeting with you")
        return [Tell(to, Relayed(sender_id, data))]

    def say(self, sender_id: str, line_id: str, text: str) -> list[Tell]:
        """Show a line of chat to everybody in the meeting, the sender included.

        Raises:
            RefusedError: the sender is not in a meeting, or the text is empty or too long.
        """
        room = self._room_of.get(sender_id)
        if room is None or sender_id not in room.present:
            raise RefusedError("cannot say this: you are not in the meeting")
        line = Said(line_id, sender_id, room.present[sender_id].name, _tidy_text(text))
        return [Tell(person_id, line) for person_id in room.present]

    def _room_of_host(self, person_id: str, wish: str) -> _Room:
        room = self._room_of.get(person_id)
        if room is None or person_id not in room.present or not room.present[person_id].host:
            raise RefusedError(f"cannot {wish}: only a host in the meeting can")
        return room

    def _forget(self, room: _Room, person_id: str) -> None:
        room.present.pop(person_id, None)
        room.waiting.pop(person_id, None)
        del self._room_of[person_id]
        if not room.has_host:
            room.auto_admit = False
        if not room.present and not room.waiting:
            self._rooms.pop(room.name, None)


def _tidy_name(name: str) -> str:
    """The name on one line; raises `RefusedError` when nothing readable is left or it is too long."""
    tidy = " ".join("".join(char if char.isprintable() else " " for char in name).split())
    if not tidy:
        raise RefusedError("cannot join: a name is needed")
    if len(tidy) > MAX_NAME_CHARS:
        raise RefusedError(f"cannot join: a name has at most {MAX_NAME_CHARS} characters")
    return tidy


def _tidy_text(text: str) -> str:
    """The text as people can read it, its lines kept; raises `RefusedError` when nothing is left or it is too long."""
    tidy = "".join(char if char.isprintable() or char == "\n" else " " for char in text).strip()
    if not tidy:
        raise RefusedError("cannot say this: there is nothing in it")
    if len(tidy) > MAX_TEXT_CHARS:
        raise RefusedError(f"cannot say this: a message has at most {MAX_TEXT_CHARS} characters")
    return tidy


def _snapshots(room: _Room, *, hosts_only: bool = False) -> list[Tell]:
    """The meeting as each of the people in it may see it: the lobby is for hosts."""
    participants, lobby = tuple(room.present.values()), tuple(room.waiting.values())
    return [
        Tell(
            person.id,
            Meeting(person.id, participants, lobby, room.auto_admit)
            if person.host
            else Meeting(person.id, participants),
        )
        for person in participants
        if person.host or not hosts_only
    ]
