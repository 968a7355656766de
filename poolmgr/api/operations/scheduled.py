"""/calendar/scheduled_bots: bots that wait for their join_at, however they were scheduled."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from common.jobs.job import moment_of
from common.jobs.record import Record, iso
from common.runtime.waiting import backoff
from common.wire.vocabulary import BotState, Status
from poolmgr.api.errors import ApiError, bad_request, later
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.operations.bot_views import PLATFORMS, SUBMITTED, attributes, find_bot, join_at
from poolmgr.api.operations.shapes import Moved, NewTime, ScheduledBot, ScheduledBots, Unscheduled
from poolmgr.core.events import LeaveRequested, RescheduleRequested
from poolmgr.store.reading.catalog import Question

_DONE_WITHIN_S: Final = 3.0
_LOOK_FIRST_S, _LOOK_MOST_S = 0.005, 0.2


class ListScheduled(msgspec.Struct):
    """The query of the list of scheduled bots."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 100


async def list_scheduled(call: Call) -> Answer:
    """The bots that wait for their join_at (200), at most `limit`."""
    query: ListScheduled = call.query
    pairs = (("owner", call.token.name),) if call.token.sees == "own" else ()
    bots: list[Record] = []
    after = None
    for _ in range(5):  # at most ten thousand live bots are looked at
        page = await call.service.catalog.page(Question(Status.SCHEDULED, pairs), query.limit - len(bots), after)
        bots += page.bots
        after = page.more
        if after is None or len(bots) == query.limit:
            break
    return Answer(200, ScheduledBots([_shown(bot) for bot in bots]))


async def move(call: Call) -> Answer:
    """Give a scheduled bot another time (200). The request is durable also when this raises 503.

    Raises: ApiError 400 for a bad time, 403, 404 for a bot that is not scheduled, 503 when no manager took it in time.
    """
    body: NewTime = call.body
    service = call.service
    bot = await _scheduled(call)
    at = _moment(body.scheduled_join_time, service.wall())
    await service.views.request(RescheduleRequested(bot.bot_id, at), call.by)
    if not await _until(call, bot.bot_id, lambda bot: join_at(bot) == iso(at)):
        raise later(503, "The new time was handed in, but no manager has taken it up yet; look again in a moment.", 2.0)
    answer = Moved("The bot joins at its new time.", bot.bot_id, ["scheduled_join_time"], schedule_updated=True)
    return Answer(200, answer)


async def unschedule(call: Call) -> Answer:
    """End a scheduled bot before its time (200). Raises: ApiError 403, 404 for a bot that is not scheduled, 503."""
    bot = await _scheduled(call)
    await call.service.views.request(LeaveRequested(bot.bot_id), call.by)
    await _until(call, bot.bot_id, lambda bot: bot.is_over)
    return Answer(200, Unscheduled("The bot is not going to join.", bot.bot_id))


async def _scheduled(call: Call) -> Record:
    """The scheduled bot. Raises: ApiError; 404 also for a bot that is joining or has joined."""
    bot = await find_bot(call)
    if bot.state == SUBMITTED and bot.status == Status.SCHEDULED:
        raise later(503, "No manager has taken this bot's job yet; ask again in a moment.", 2.0)
    if bot.state != BotState.SCHEDULED:
        raise ApiError(404, f"This bot is not scheduled any more: its status is {bot.status}.")
    return bot


async def _until(call: Call, bot_id: str, is_so: Callable[[Record], bool]) -> bool:
    """Wait until the record shows the change. Returns whether it did in time; the request is durable in any case."""
    passed = 0.0
    for delay in backoff(_LOOK_FIRST_S, _LOOK_MOST_S):
        bot = await call.service.views.bot(bot_id)
        if bot is None or is_so(bot) or bot.state != BotState.SCHEDULED:
            return bot is not None and is_so(bot)
        if passed >= _DONE_WITHIN_S:
            return False
        passed += delay
        await asyncio.sleep(delay)  # another process writes to Redis what this waits for
    raise AssertionError


def _moment(text: str, now: float) -> float:
    try:
        return moment_of(text, now)
    except ValueError as error:
        raise bad_request(f"scheduled_join_time: {error}") from error


def _shown(bot: Record) -> ScheduledBot:
    return ScheduledBot(
        bot_id=bot.bot_id,
        platform=PLATFORMS.get(bot.platform, bot.platform),
        status=bot.status,
        scheduled_join_time=join_at(bot) or "",
        bot_username=bot.bot_name,
        meeting_link=bot.meeting_url,
        custom_attributes=attributes(bot),
    )


_GONE = {404: Says("There is no such bot, or it is not scheduled any more.")}

OPERATIONS = (
    Operation(
        "GET",
        "/calendar/scheduled_bots",
        "listScheduledBots",
        "Bots that wait for their time, those made last first.",
        list_scheduled,
        {200: Says("The bots.", ScheduledBots)},
        query=ListScheduled,
    ),
    Operation(
        "PATCH",
        "/calendar/scheduled_bots/{bot_id}",
        "moveScheduledBot",
        "Let the bot join at another time.",
        move,
        {200: Says("It is moved.", Moved), **_GONE},
        body=NewTime,
    ),
    Operation(
        "DELETE",
        "/calendar/scheduled_bots/{bot_id}",
        "deleteScheduledBot",
        "Call the bot off.",
        unschedule,
        {200: Says("It will not join.", Unscheduled), **_GONE},
    ),
)
