"""The table of a bot's legal moves. An illegal move raises an error with the bot's history."""

from typing import Final

from common.errors import ManagerError
from common.wire.vocabulary import BotState
from poolmgr.core.model import Bot

S = BotState

LEGAL: Final[dict[BotState, frozenset[BotState]]] = {
    S.SCHEDULED: frozenset({S.QUEUED, S.STOPPED}),
    S.QUEUED: frozenset({S.ASSIGNED, S.STOPPED}),
    # Back to the queue before admission; from the meeting only if the job asks for it.
    S.ASSIGNED: frozenset({S.QUEUED, S.JOINING, S.WAITING_ROOM, S.IN_MEETING, S.LEAVING, S.STOPPED}),
    S.JOINING: frozenset({S.QUEUED, S.WAITING_ROOM, S.IN_MEETING, S.LEAVING, S.STOPPED}),
    S.WAITING_ROOM: frozenset({S.QUEUED, S.IN_MEETING, S.LEAVING, S.STOPPED}),
    S.IN_MEETING: frozenset({S.QUEUED, S.LEAVING, S.STOPPED}),
    S.LEAVING: frozenset({S.STOPPED}),
    S.STOPPED: frozenset(),
}


class IllegalMoveError(ManagerError, RuntimeError):
    """A bug of the pool. Stale and repeated events of clients and agents are dropped before they reach this check."""


def check_move(bot: Bot, new: BotState) -> None:
    """Check that the bot may move to `state`. Raises: IllegalMoveError."""
    if new not in LEGAL[bot.state]:
        raise IllegalMoveError(f"cannot move {bot.story} to {new}")
