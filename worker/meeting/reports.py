"""Makes the messages that a session reports of its bot, and their lines in the log."""

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
    PermissionSeen,
)
from common.wire.vocabulary import BotState
from worker.decide.participants import ReportChat, ReportPeople
from worker.decide.state import State
from worker.decide.words import Action, Dismiss, Finish, Move, PageAction, ReportPermission, ReportVitals, Screen

LEVEL_DIGITS: Final = 4
MOST_SEEN: Final = 200  # screens and actions that are reported of one attempt

BotNews = BotMoved | Fact


class _Who(TypedDict):
    vm_id: str
    worker_id: str
    bot_id: str
    attempt: int


class Reporter:
    """`state`: where an earlier session of this bot ended; its last screen is not reported again."""

    def __init__(self, join: Join, vm_id: str, state: State | None, log: structlog.stdlib.BoundLogger) -> None:
        self._join = join
        self._vm_id = vm_id
        self._log = log
        self._seen = (Screen.LOADING, "") if state is None else (state.screen, state.rule)
        self._reported = 0  # screens and actions so far
        self._first_request_at = 0.0

    @property
    def screen(self) -> Screen:
        """The last screen that was seen."""
        return self._seen[0]

    def note_request(self, at: float) -> None:
        """Note when the browser first requested the meeting page (epoch seconds)."""
        self._first_request_at = at

    def news(self, state: State, actions: Sequence[Action]) -> list[BotNews]:
        """The events to report of one step of the lifecycle, in order."""
        return [*self._saw(state, actions), *(event for action in actions if (event := self._event(action)))]

    def did(self, text: str) -> list[BotSaw]:
        """The event of something that the bot did, besides what it does to come in."""
        if self._reported >= MOST_SEEN:
            return []
        self._reported += 1
        screen, rule = self._seen
        return [BotSaw(**self._who(), at=time.time(), screen=screen, rule=rule, did=text)]

    def ended(self, state: State, finish: Finish, evidence: str) -> BotEnded:
        """The bot's end. `evidence`: the name of the bundle, or empty."""
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
        """One event for a new screen or rule, and one for each new action of the bot."""
        deeds = [_deed(action) for action in actions if isinstance(action, PageAction | Dismiss)]
        if self._seen != (state.screen, state.rule):
            self._seen = (state.screen, state.rule)
            deeds.insert(0, "")
        deeds = deeds[: MOST_SEEN - self._reported]
        self._reported += len(deeds)
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
            case ReportPermission(allowed=allowed, number=number):
                return PermissionSeen(**who, at=at, allowed=allowed, number=number)
            case ReportPeople(joined=joined, left=left, anew=anew):
                return ParticipantsSeen(**who, at=at, joined=[*joined], left=[*left], anew=anew)
            case ReportChat(lines=lines):
                own_name = self._join.bot_name
                chats = [
                    ChatLine(line.id, line.sender_id, own_name if line.own else line.sender_name, line.text, at)
                    for line in lines
                ]
                return ChatHeard(**who, at=at, chats=chats)
            case _:
                return None

    def _who(self) -> _Who:
        join = self._join
        return _Who(vm_id=self._vm_id, worker_id=join.worker_id, bot_id=join.bot_id, attempt=join.attempt)


def _deed(action: PageAction | Dismiss) -> str:
    return f"dismiss {action.popup}" if isinstance(action, Dismiss) else action.value
