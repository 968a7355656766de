"""/bots: the list of bots, and the operations on one bot."""

import asyncio
import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from common.jobs.record import Record, attribute, iso
from common.webhooks import envelope
from common.wire.text import NOT_TEXT
from common.wire.vocabulary import DONE, RECORDING, BotState, Status
from poolmgr.api.errors import ApiError, Message, bad_request, bot_not_found, later, not_offered
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.operations.bot_views import (
    PLATFORMS,
    SUBMITTED,
    UNKNOWN_BOT,
    attributes,
    details,
    find_bot,
    row,
    warnings,
)
from poolmgr.api.operations.create import ACTIVE
from poolmgr.api.operations.media import delete_recording
from poolmgr.api.operations.shapes import Accepted, BotsPage, Deleted, DetailsOf, SendImage, SendMessage, StatusOf
from poolmgr.api.rate import Rate
from poolmgr.core.events import LeaveRequested, PauseRequested, SayRequested
from poolmgr.store.forgetting import forget
from poolmgr.store.reading.catalog import BadCursorError, Question, cursor_of, position_of
from poolmgr.store.transcriptions import in_order

_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_INWARD: Final = {outward.lower(): inward for inward, outward in PLATFORMS.items()}
_WORDS: Final = (*Status, RECORDING, DONE)
_STATUSES: Final = {word.lower(): str(word) for word in _WORDS} | {
    "failed": str(Status.ERROR),
    ACTIVE.lower(): str(Status.JOINING),
}

_FORGET_WITHIN_S = 2.0
"""How long a deletion waits for the leader to make the webhooks of a bot that has only just ended."""
_LOOK_S: Final = 0.2  # each look reads the outbox, which may be long while nobody leads

_BEFORE_MEETING: Final = (BotState.QUEUED, BotState.ASSIGNED, BotState.JOINING, BotState.WAITING_ROOM)
_RECORDING_COMMANDS: Final = Rate(per_s=30 / 60, burst=30)  # as in the API that clients know


class ListBots(msgspec.Struct):
    """The query of GET /bots. All given conditions have to hold."""

    status: Annotated[str, Meta(max_length=32, description="A status word, in any case.")] | None = None
    since: Annotated[str, Meta(pattern=_DAY, description="Made on this day (UTC) or later, YYYY-MM-DD.")] | None = (
        msgspec.field(name="from", default=None)
    )
    until: Annotated[str, Meta(pattern=_DAY, description="Made on this day (UTC) or earlier, YYYY-MM-DD.")] | None = (
        msgspec.field(name="to", default=None)
    )
    platform: Annotated[str, Meta(max_length=32, description=f"{', '.join(PLATFORMS.values())}.")] | None = None
    custom_attr: Annotated[
        dict[str, str],
        Meta(description="custom_attr[KEY]=VALUE: has this attribute; VALUE is JSON, or else text."),
    ] = {}
    user_id: Annotated[str, Meta(max_length=256)] | None = None
    calendar_event_id: Annotated[str, Meta(max_length=1024)] | None = None
    limit: Annotated[int, Meta(ge=1, le=100, description="Bots a page.")] = 20
    cursor: Annotated[str, Meta(max_length=1024, description="nextCursor of the page before.")] | None = None


async def list_bots(call: Call) -> Answer:
    """A page of bots (200). Raises: ApiError 400 for a bad condition or cursor."""
    query: ListBots = call.query
    try:
        after = position_of(query.cursor) if query.cursor else None
    except BadCursorError as error:
        raise bad_request(f"cursor: {error}; send nextCursor as it came") from error
    question = _question(call, query)
    page = await call.service.catalog.page(question, query.limit, after)
    now = call.service.wall()
    following = cursor_of(page.more) if page.more else None
    return Answer(200, BotsPage([row(bot, now) for bot in page.bots], page.more is not None, following))


def _question(call: Call, query: ListBots) -> Question:
    """The search in a request; None when no bot can match it. Raises: ApiError."""
    pairs = [("attribute", _attribute(name, text)) for name, text in query.custom_attr.items()]
    if query.user_id:
        pairs.append(("user_id", query.user_id))
    if query.calendar_event_id:
        pairs.append(("calendar_event_id", query.calendar_event_id))
    if query.platform:
        pairs.append(("platform", _platform(call, query.platform)))
    if call.token.sees == "own":
        pairs.append(("owner", call.token.name))
    since = _day("from", query.since) if query.since else -math.inf
    until = _day("to", query.until, timedelta(days=1)) if query.until else math.inf
    if since >= until:
        raise bad_request("from: is a later day than to")
    word = (query.status or "").lower()
    if word and word not in _STATUSES:
        raise bad_request(f"status: is none of {', '.join(_WORDS)}")
    return Question(_STATUSES.get(word, ""), tuple(pairs), since, math.nextafter(until, -math.inf))


def _platform(call: Call, name: str) -> str:
    """The internal name of a platform, in any case: a built-in one, or one of the settings. Raises: ApiError."""
    others = call.service.rules.other_hosts
    inward = _INWARD.get(name.lower(), name.lower())
    if inward not in PLATFORMS and inward not in others:
        names = [*PLATFORMS.values(), *(other for other in others if other not in PLATFORMS)]
        raise bad_request(f"platform: is none of {', '.join(names)}")
    return inward


def _attribute(name: str, text: str) -> str:
    """A custom attribute in a query, as it is indexed. Raises: ApiError."""
    try:
        wanted = attribute(name, _value(text))
        wanted.encode()
    except UnicodeEncodeError as error:
        raise bad_request(f"custom_attr: {NOT_TEXT}") from error
    return wanted


def _value(text: str) -> Any:
    """The JSON value in `text`; `text` itself if it is no JSON."""
    try:
        return json.loads(text, parse_constant=lambda _: text, parse_float=_finite)
    except (ValueError, RecursionError):
        return text


def _finite(text: str) -> float | str:
    return number if math.isfinite(number := float(text)) else text


def _day(name: str, text: str, later_by: timedelta = timedelta(0)) -> float:
    try:
        midnight = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        return (midnight + later_by).timestamp()
    except (ValueError, OverflowError) as error:
        raise bad_request(f"{name}: {text} is no day of the calendar") from error


async def status(call: Call) -> Answer:
    """The bot's status word and custom_attributes (200). Raises: ApiError 403, 404."""
    bot = await find_bot(call)
    return Answer(200, StatusOf(bot.bot_id, bot.shown_status, attributes(bot), await warnings(call, bot)))


async def detail(call: Call) -> Answer:
    """The bot's detail (200). Raises: ApiError 403, 404."""
    return Answer(200, DetailsOf(await details(call, await find_bot(call))))


async def remove_bot(call: Call) -> Answer:
    """Ask the leader to make the bot leave; the request is durable when this returns (200). Idempotent.

    Raises: ApiError 403, 404 also for a bot that has ended, 503 before a manager has taken its job.
    """
    bot = await find_bot(call)
    if bot.is_over:
        raise ApiError(404, "This bot has already stopped.")
    if bot.state == SUBMITTED:
        raise later(503, "No manager has taken this bot's job yet; ask again in a moment.", 2.0)
    await call.service.views.request(LeaveRequested(bot.bot_id), call.by)
    return Answer(200, Message("The bot was told to leave; its status says when it has."))


async def delete(call: Call) -> Answer:
    """Delete everything of an ended bot (200), and tell its callback_url, and the receiver of a transcript that is
    being made. Waits up to _FORGET_WITHIN_S for earlier webhooks. Also a transcript that is asked for, or made, just
    then is told of once.

    Raises: ApiError 403, 404, 409 for a bot that has not ended, 503 while earlier webhooks are still to be made.
    """
    bot = await find_bot(call)
    if not bot.is_over:
        raise ApiError(409, "This bot has not stopped yet; remove it from its meeting first (remove_bot).")
    service = call.service
    recorded = await delete_recording(call, bot)
    until = service.steady() + _FORGET_WITHIN_S
    while (gone := await _forget(call, bot, recorded)) < 0:
        if service.steady() >= until:
            raise later(503, "What became of this bot has still to be told; ask again in a moment.", 2.0)
        await asyncio.sleep(_LOOK_S)
    if not gone:
        raise bot_not_found()
    return Answer(200, Deleted("All that was kept of the bot is deleted.", bot.bot_id, gone + recorded))


async def _forget(call: Call, bot: Record, recorded: int) -> int:
    """As in forgetting.forget. `recorded`: how many objects of the bot were in the store."""
    service, at = call.service, iso(call.service.wall())
    transcripts = await service.transcriptions.raw(bot.bot_id)
    receivers = {number: asked for number, asked in in_order(transcripts).items() if asked.callback}
    deliveries = [
        envelope.untranscribed_by_deletion(bot, number, asked.callback, at)
        for number, asked in receivers.items()
        if asked.status == "processing"
    ]
    done = b""
    if bot.callback_url:
        objects = await service.catalog.objects_of(bot)
        deliveries.append(envelope.deletion(bot, objects + recorded, at))
        done = msgspec.json.encode(envelope.done_by_deletion(bot, at))
    told = [*map(msgspec.json.encode, deliveries)] if bot.callback_url or receivers else None
    return await forget(
        service.redis, service.keys, bot.bot_id, deliveries=told, done=done, transcripts=transcripts, by=call.by
    )


async def _pause(call: Call, *, paused: bool) -> Answer:
    """Ask the leader to have the recording paused, or go on, in this attempt and in later ones (200). Idempotent.

    Raises: ApiError 403, 404, 409 outside of the meeting, but while a bot that was recorded is sent in again, 429, 503
    while it is not recorded.
    """
    bot = await find_bot(call)
    service = call.service
    if wait_s := service.recording_commands.wait_s(bot.bot_id, _RECORDING_COMMANDS, service.steady()):
        raise later(429, "A bot takes 30 such commands a minute.", wait_s)
    is_sent_in_again = bot.state in _BEFORE_MEETING and bot.recorded_attempt > 0
    if bot.state != BotState.IN_MEETING and not is_sent_in_again:
        raise ApiError(409, f"The bot is not in its meeting: its status is {bot.status}.")
    if bot.manifest_status != "recording" and not is_sent_in_again:
        raise ApiError(503, "The bot is not recording.")
    await service.views.request(PauseRequested(bot.bot_id, paused), call.by)
    return Answer(200, Accepted("accepted", bot.bot_id, "pause_recording" if paused else "resume_recording"))


async def pause_recording(call: Call) -> Answer:
    return await _pause(call, paused=True)


async def resume_recording(call: Call) -> Answer:
    return await _pause(call, paused=False)


async def send_message(call: Call) -> Answer:
    """Ask the leader to write a message in the meeting's chat (200), at most once.

    Raises: ApiError 400 for an empty message, 403, 404, 409 outside of the meeting.
    """
    body: SendMessage = call.body
    bot = await find_bot(call)
    if bot.state != BotState.IN_MEETING:
        raise ApiError(409, f"The bot is not in its meeting: its status is {bot.status}.")
    if not body.message.strip():
        raise bad_request("message: is empty")
    await call.service.views.request(SayRequested(bot.bot_id, body.message), call.by)
    return Answer(200, Accepted("accepted", bot.bot_id, "sendmsg"))


async def send_image(call: Call) -> Answer:
    """Not offered. Raises: ApiError 403, 404, 501."""
    await find_bot(call)
    raise not_offered("Bots of this release show no images; send_message reaches the meeting's chat.")


_REMOVED = {200: Says("The bot was told to leave.", Message), 404: Says("There is no such bot, or it has stopped.")}
_REMOVE = "Take the bot out of its meeting; what is known of it is kept."
_ONLY_IN_MEETING = {**UNKNOWN_BOT, 409: Says("The bot is not in its meeting.")}

OPERATIONS = (
    Operation(
        "GET",
        "/bots",
        "listBots",
        "Find bots, newest first.",
        list_bots,
        {200: Says("A page of bots. It may be short, and even empty, while hasNextPage is true.", BotsPage)},
        query=ListBots,
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/status",
        "getBotStatus",
        "Where the bot is.",
        status,
        {200: Says("Its status.", StatusOf), **UNKNOWN_BOT},
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/detail",
        "getBotDetail",
        "All that is known of the bot.",
        detail,
        {200: Says("Its details.", DetailsOf), **UNKNOWN_BOT},
    ),
    Operation(
        "GET",
        "/bots/{bot_id}/summary",
        "getBotSummary",
        "The same as its detail.",
        detail,
        {200: Says("Its details.", DetailsOf), **UNKNOWN_BOT},
    ),
    Operation("GET", "/bots/{bot_id}/remove_bot", "removeBot", _REMOVE, remove_bot, _REMOVED, acts=True),
    Operation("POST", "/bots/{bot_id}/remove_bot", "removeBotByPost", _REMOVE, remove_bot, _REMOVED),
    Operation("DELETE", "/bots/{bot_id}/remove_bot", "removeBotByDelete", _REMOVE, remove_bot, _REMOVED),
    Operation(
        "DELETE",
        "/bots/{bot_id}/delete",
        "deleteBotData",
        "Delete all that is kept of a bot that has stopped.",
        delete,
        {
            200: Says("It is deleted.", Deleted),
            **UNKNOWN_BOT,
            409: Says("The bot has not stopped yet."),
            503: Says("What became of it has still to be told to a receiver of webhooks, or Redis is away."),
        },
    ),
    Operation(
        "POST",
        "/bots/{bot_id}/pause_recording",
        "pauseRecording",
        "Record nothing from now on: it is a gap in the recording, and not cut out of it. Idempotent.",
        pause_recording,
        {
            200: Says("The bot was told to.", Accepted),
            **_ONLY_IN_MEETING,
            503: Says("The bot is not recording, or Redis is away."),
        },
    ),
    Operation(
        "POST",
        "/bots/{bot_id}/resume_recording",
        "resumeRecording",
        "Record again. Idempotent.",
        resume_recording,
        {
            200: Says("The bot was told to.", Accepted),
            **_ONLY_IN_MEETING,
            503: Says("The bot is not recording, or Redis is away."),
        },
    ),
    Operation(
        "POST",
        "/bots/{bot_id}/send_message",
        "sendMessage",
        "Say something in the meeting's chat.",
        send_message,
        {200: Says("The bot was told to.", Accepted), **_ONLY_IN_MEETING},
        body=SendMessage,
    ),
    Operation(
        "POST",
        "/bots/{bot_id}/send_image",
        "sendImage",
        "Show an image. Not in this release.",
        send_image,
        {**UNKNOWN_BOT, 501: Says("Bots of this release show no images.")},
        body=SendImage,
    ),
)
