"""What a session reports of its bot: each message and its line in the log."""

import time
from collections.abc import Sequence
from typing import Final, TypedDict

import structlog

from common.wire.messages import (
    BotEnded,
    BotMoved,
    BotSaw,
    BotVitals,
    ChatHeard,
    ChatLine,
    Fact,
    Join,
    ParticipantsSeen,
)
from common.wire.vocabulary import BotState
from worker.decide.participants import ReportChat, ReportPeople
from worker.decide.state import State
from worker.decide.words import Action, Dismiss, Finish, Move, PageAction, ReportVitals, Screen

LEVEL_DIGITS: Final = 4
MOST_SEEN: Final = 200  # screens and deeds that are told of one attempt

BotNews = BotMoved | Fact


class _Who(TypedDict):
    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int


class Reporter:
    """`state`: where an earlier session of this bot was; what was seen then is not told again."""

    def __init__(self, join: Join, vm_id: str, state: State | None, log: structlog.stdlib.BoundLogger) -> None:
        self._join = join
        self._vm_id = vm_id
        self._log = log
        self._seen = (Screen.LOADING, "") if state is None else (state.screen, state.rule)
        self._told = 0  # of what was seen
        self._first_request_at = 0.0

    @property
    def screen(self) -> Screen:
        """The last one seen."""
        return self._seen[0]

    def note_request(self) -> bool:
        """The page of the meeting is asked for. Answers whether it is the first time."""
        is_first = not self._first_request_at
        self._first_request_at = self._first_request_at or time.time()
        return is_first

    def news(self, state: State, actions: Sequence[Action]) -> list[BotNews]:
        """What there is to tell of a step of the lifecycle, in order."""
        return [*self._saw(state, actions), *(event for action in actions if (event := self._event(action)))]

    def ended(self, state: State, finish: Finish, evidence: str) -> BotEnded:
        """The last word. `evidence`: the name of the bundle, or empty."""
        self._log.info("bot_ended", reason=finish.reason, detail=finish.detail)
        return BotEnded(
            **self._who(),
            at=time.time(),
            reason=finish.reason,
            detail=finish.detail,
            audio_packets=state.audio_packets,
            evidence=evidence,
        )

    def _saw(self, state: State, actions: Sequence[Action]) -> list[BotSaw]:
        """Another screen, the same by another rule, and what is now done about it."""
        deeds = [_deed(action) for action in actions if isinstance(action, PageAction | Dismiss)]
        if self._seen != (state.screen, state.rule):
            self._seen = (state.screen, state.rule)
            deeds.insert(0, "")
        deeds = deeds[: MOST_SEEN - self._told]
        self._told += len(deeds)
        who, at = self._who(), time.time()
        return [BotSaw(**who, at=at, screen=state.screen, rule=state.rule, did=did) for did in deeds]

    def _event(self, action: Action) -> BotNews | None:
        who, at = self._who(), time.time()
        match action:
            case Move(state=state, screen=screen, rule=rule):
                self._log.info("bot_moved", state=state, screen=screen, rule=rule)
                asked_at = self._first_request_at if state is BotState.JOINING else 0.0
                return BotMoved(**who, at=at, state=state, screen=screen, rule=rule, first_request_at=asked_at)
            case ReportVitals(participants=count, audio_packets=packets, audio_level=level, speaker=speaker):
                digits = None if level is None else round(level, LEVEL_DIGITS)
                return BotVitals(
                    **who, at=at, participants=count, audio_packets=packets, audio_level=digits, speaker=speaker
                )
            case ReportPeople(joined=joined, left=left, anew=anew):
                return ParticipantsSeen(**who, at=at, joined=[*joined], left=[*left], anew=anew)
            case ReportChat(lines=lines):
                own_name = self._join.bot_name
                chats = [
                    ChatLine(one.id, one.sender_id, own_name if one.own else one.sender_name, one.text, at)
                    for one in lines
                ]
                return ChatHeard(**who, at=at, chats=chats)
            case _:
                return None

    def _who(self) -> _Who:
        join = self._join
        return _Who(vm_id=self._vm_id, worker_id=join.worker_id, bot_id=join.bot_id, attempt=join.attempt)


def _deed(action: PageAction | Dismiss) -> str:
    return f"dismiss {action.popup}" if isinstance(action, Dismiss) else action.value
