"""The log of actions: a stream that says who did what. An action and its entry are written in one step.

It contains what people and programs did by the HTTP API and the command line. A job that is pushed to Redis directly is
not in it.
"""

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Any, Final, NamedTuple, assert_never

import msgspec
from redis.asyncio import Redis

from common.jobs.record import iso
from poolmgr.core.requests import (
    DrainRequested,
    LeaveRequested,
    PauseRequested,
    Request,
    RescheduleRequested,
    SayRequested,
)
from poolmgr.store import answers
from poolmgr.store.keys import Keys

_PAGE: Final = 500
_LONGEST: Final = 256


class Verb(StrEnum):
    SUBMIT = "submit"
    WITHDRAW = "withdraw"  # a job that asked not to wait, and for which no worker was free
    LEAVE = "leave"
    RESCHEDULE = "reschedule"
    SAY = "say"
    PAUSE = "pause"  # a recording
    RESUME = "resume"
    TRANSCRIBE = "transcribe"
    DELETE = "delete"
    LOOK = "look"  # into its page, live
    DRAIN = "drain"
    UNDO_DRAIN = "undo_drain"
    PUT_BACK = "put_back"  # a rejected job
    SEND_AGAIN = "send_again"  # a webhook that was given up


class Way(StrEnum):
    API = "api"  # the page uses it, too
    COMMAND_LINE = "command_line"
    MANAGER = "manager"  # the leader itself


MANAGER: Final = "manager"
"""Who takes a VM out that fails more than the others."""


class By(NamedTuple):
    """`who`: the name of a token, or of a user and the machine."""

    who: str
    way: Way


class Action(msgspec.Struct, frozen=True):
    """`of`: the bot's, VM's or entry's id. `at`: Redis' clock, ISO 8601."""

    entry_id: str
    at: str
    who: str
    way: str
    what: str
    of: str
    detail: str


def fields_of(by: By | None, what: Verb, of: str, detail: str = "") -> dict[str, str]:
    """The fields of an entry for the scripts. Empty for what is to have no entry."""
    if by is None:
        return {}
    return {"who": by.who[:_LONGEST], "way": by.way, "what": what, "of": of[:_LONGEST], "detail": detail}


def fields_of_request(by: By | None, request: Request) -> dict[str, str]:
    match request:
        case LeaveRequested():
            return fields_of(by, Verb.LEAVE, request.bot_id)
        case SayRequested():
            return fields_of(by, Verb.SAY, request.bot_id, f"{len(request.message)} characters")
        case PauseRequested():
            return fields_of(by, Verb.PAUSE if request.paused else Verb.RESUME, request.bot_id)
        case RescheduleRequested():
            return fields_of(by, Verb.RESCHEDULE, request.bot_id, f"to {iso(request.join_at)}")
        case DrainRequested():
            return fields_of(by, Verb.DRAIN if request.draining else Verb.UNDO_DRAIN, request.vm_id)
        case _:
            assert_never(request)


class Actions:
    """Reads under one prefix; holds no state."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis: Any = redis  # its answers are typed as unions of every shape; tests pin the real ones
        self._key = keys.actions

    async def since(self, at: float, *, who: str = "", what: str = "", of: str = "", most: int) -> list[Action]:
        """The latest `most` actions since `at` (epoch seconds) that match, in order. `who`: with the machine or not."""
        found: list[Action] = []
        before, portion = "+", _PAGE if who or what or of else min(_PAGE, most)
        while len(found) < most:
            page: Any = await self._redis.xrevrange(self._key, before, int(at * 1000), count=portion)
            actions = [_action(entry_id, fields) for entry_id, fields in page]
            found += [action for action in actions if is_so(action, who, what, of)]
            if len(page) < portion:
                break
            before = f"({page[-1][0].decode()}"
        return found[:most][::-1]

    async def position(self) -> str:
        """The stream's last position, for `follow`."""
        newest: Any = await self._redis.xrevrange(self._key, count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def follow(self, after: str) -> AsyncGenerator[Action]:
        """Yields each action as it is done. Runs until the caller stops it."""
        while True:
            answer: Any = await self._redis.xread({self._key: after}, count=_PAGE, block=1000)
            for entry in answers.entries_of(answer):
                after = entry.entry_id.decode()
                yield _action(entry.entry_id, entry.fields)


def is_so(action: Action, who: str, what: str, of: str) -> bool:
    """Whether the action matches. An empty condition matches all. `who` names a user with or without the machine."""
    return who in ("", action.who, action.who.partition("@")[0]) and what in ("", action.what) and of in ("", action.of)


def _action(entry_id: bytes, raw: dict[bytes, bytes]) -> Action:
    fields = answers.text_fields(raw)
    at = iso(int(entry_id.partition(b"-")[0]) / 1000)
    words = (fields.get(name, "") for name in ("who", "way", "what", "of", "detail"))
    return Action(entry_id.decode(), at, *words)
