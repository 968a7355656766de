"""POST /bots/create_bot: puts one job on the list, and waits until it can tell the caller what became of it.

intake.job checks the job itself. This file checks the fields that this release only keeps, so that a mistake in one of
them is found now and not at the meeting.
"""

import asyncio
import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from common.jobs.job import MAX_JOB_BYTES, BadJobError, fault_of, parse_job, typed_json
from common.jobs.outgoing import BadUrlError, OutgoingRules, check_url
from common.jobs.record import Job, Record, epoch, iso
from common.runtime.waiting import backoff
from common.wire import trace
from common.wire.labels import named
from common.wire.vocabulary import UNSERVED, BotState, Reason, Status
from poolmgr.api.errors import ApiError, bad_request, later
from poolmgr.api.operation import Answer, Call, Operation, Says
from poolmgr.api.operations.bot_views import SUBMITTED, may_see, transcript_id
from poolmgr.api.operations.shapes import CreateBot, Created, Replayed
from poolmgr.store.submission import Outcome, Submission, Verdict

ACTIVE: Final = "Active"
"""What the API that clients know answers at creation, for every bot that joins now."""

_SEEN_WITHIN_S: Final = 2.0
_CAPACITY_KNOWN_WITHIN_S: Final = 3.0
_LOOK_FIRST_S, _LOOK_MOST_S = 0.002, 0.1
_LONGEST_KEY: Final = 255
_ABOUT_EARLIER: Final = frozenset({Verdict.REPLAYED, Verdict.DEDUPLICATED, Verdict.KEY_HELD, Verdict.MEETING_HELD})
_NO_CAPACITY_RETRY_S: Final = 10.0


async def create_bot(call: Call) -> Answer:
    """Put one job on the list, and answer once its bot can be read (201; 200 for a repeated request).

    Raises: ApiError 400 for a bad field, 409 for a conflict with another bot, 413, 429 above the quota, 503.
    """
    key = _idempotency_key(call)
    job, submission, status = await call.service.turns.read(
        call.token.name, call.body, lambda body: _read(body, call, key)
    )
    outcome, earlier = await _submitted(call, submission)
    match outcome.verdict:
        case Verdict.SUBMITTED:
            return await _followed(call, submission, job, status)
        case Verdict.REPLAYED:
            return _replayed(call, outcome.bot_id, earlier, job)
        case Verdict.KEY_REUSED:
            raise ApiError(409, "This Idempotency-Key was used for another request; a new request needs a new key.")
        case Verdict.DEDUPLICATED:
            return _deduplicated(call, earlier, job)
        case Verdict.KEY_HELD:
            return _deduplicated(call, await _made(call, outcome.bot_id, earlier, "deduplication_key"), job)
        case Verdict.MEETING_HELD:
            return _held(call, await _made(call, outcome.bot_id, earlier, "one_bot_per_meeting"), job)
        case Verdict.ID_TAKEN:
            raise _id_taken()
        case Verdict.OVER_QUOTA:
            message = (
                f"Your token may have {call.token.bots_at_once} bots at a time, and has them;"
                " wait for one to end, or have the token's bots_at_once raised."
            )
            raise later(429, message, _NO_CAPACITY_RETRY_S)


def _read(body: bytes, call: Call, key: str) -> tuple[Job, Submission, str]:
    """The job, its submission, and the status for the answer. Raises: ApiError 400, which names the field; ApiError
    413.
    """
    try:
        job, document = _check(body, call)
    except BadJobError as error:
        raise ApiError(413 if error.reason == "too_large" else 400, str(error)) from error
    submission, status = _submission(call, job, document, key)
    return job, submission, status


def _check(body: bytes, call: Call) -> tuple[Job, dict[str, Any]]:
    rules = call.service.rules
    if call.token.strict:
        rules = msgspec.structs.replace(rules, strict=True)
    job = parse_job(body, call.service.wall(), rules)
    try:
        fields = typed_json(body, CreateBot)
    except msgspec.ValidationError as error:
        raise bad_request(fault_of(error)) from error
    except msgspec.DecodeError as error:
        raise bad_request(f"not JSON: {error}") from error
    document: dict[str, Any] = json.loads(body)
    if fault := next(_faults(fields, document, rules.outgoing), None):
        raise bad_request(fault)
    return job, document


def _faults(fields: CreateBot, document: dict[str, Any], rules: OutgoingRules) -> Iterator[str]:
    """What is wrong with the fields beyond their types, one sentence each."""
    if "owner" in document:
        yield "owner: is set by the server, from your token; leave it out"
    if fields.meeting_link and fields.meeting_url and fields.meeting_link != fields.meeting_url:
        yield "meeting_url: is another link than meeting_link; send one of them"
    if fields.zoom and fields.zoom.zak_url and fields.zoom.obf_url:
        yield "zoom: has both zak_url and obf_url; send one of them"
    if fields.zoom and not (fields.zoom.zak_url or fields.zoom.obf_url):
        yield "zoom: has neither zak_url nor obf_url; send one of them, or leave zoom out"
    for name, url in _urls(fields):
        try:
            check_url(url, rules)
        except BadUrlError as error:
            yield f"{name}: {error}"
    for name, url in _sockets(fields):
        try:
            check_url(url, rules, "ws")
        except BadUrlError as error:
            yield f"{name}: {error}"


def _urls(fields: CreateBot) -> Iterator[tuple[str, str]]:
    if fields.bot_image_url:
        yield "bot_image_url", fields.bot_image_url
    if fields.live_transcription_required:
        yield "live_transcription_required.webhook_url", fields.live_transcription_required.webhook_url
    if fields.zoom:
        for name in ("zak_url", "obf_url"):
            if url := getattr(fields.zoom, name):
                yield f"zoom.{name}", url
    config = fields.recording_config
    for place, endpoint in enumerate(config.realtime_endpoints or () if config else ()):
        if endpoint.url and not endpoint.url.startswith(("ws://", "wss://")):
            yield f"recording_config.realtime_endpoints[{place}].url", endpoint.url


def _sockets(fields: CreateBot) -> Iterator[tuple[str, str]]:
    control = fields.socket_connection_url
    if control:
        yield "socket_connection_url", control if isinstance(control, str) else control.websocket_url
    for name in ("live_audio_required", "live_video_required"):
        if socket := getattr(fields, name):
            yield f"{name}.websocket_url", socket.websocket_url
    config = fields.recording_config
    for place, endpoint in enumerate(config.realtime_endpoints or () if config else ()):
        if endpoint.url and endpoint.url.startswith(("ws://", "wss://")):
            yield f"recording_config.realtime_endpoints[{place}].url", endpoint.url


def _idempotency_key(call: Call) -> str:
    key = call.headers.get("Idempotency-Key", "").strip()
    if "Idempotency-Key" in call.headers and not (
        1 <= len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()
    ):
        raise bad_request(f"Idempotency-Key: must be 1 to {_LONGEST_KEY} printable ASCII characters")
    return key


def _submission(call: Call, job: Job, document: dict[str, Any], key: str) -> tuple[Submission, str]:
    """The submission, and the status for the answer."""
    now = call.service.wall()
    bot_id = job.bot_id or uuid.uuid4().hex
    status = Status.SCHEDULED if job.join_at and job.join_at > now else ACTIVE
    facts = {"owner": call.token.name}
    if "traceparent" not in document and trace.read(call.headers.get("traceparent", "")):
        facts["traceparent"] = call.headers["traceparent"].strip()
    payload = _with_facts(call.body, document, bot_id, facts)
    if len(payload) > MAX_JOB_BYTES:
        raise ApiError(413, f"The job is {len(payload)} bytes with its bot_id; at most {MAX_JOB_BYTES} are taken.")
    submission = Submission(
        bot_id=bot_id,
        payload=payload,
        owner=call.token.name,
        entry=Record(
            bot_id=bot_id,
            meeting_url=job.meeting_url,
            platform=job.platform,
            bot_name=job.bot_name,
            user_id=job.user_id,
            calendar_event_id=job.calendar_event_id,
            owner=call.token.name,
            custom_attributes=job.custom_attributes,
            warnings=job.warnings,
            queue_timeout_s=job.queue_timeout_s,
            bot_message=job.bot_message,
            payload="",
            state=SUBMITTED,
            status=status,
            created_at=iso(now),
            join_at=job.join_at,
        ),
        idempotency_key=key,
        digest=_digest(document) if key else "",
        deduplication_key=job.deduplication_key,
        held_meeting=job.held_meeting,
        bots_at_once=call.token.bots_at_once,
    )
    return submission, status


def _with_facts(body: bytes, document: dict[str, Any], bot_id: str, facts: dict[str, str]) -> bytes:
    """The client's JSON as it was sent, with a few fields put before it."""
    if not document.get("bot_id"):
        facts = {"bot_id": bot_id, **facts}
    # the client sent null: the JSON text must not have the name twice
    if "bot_id" in document and not document["bot_id"]:
        try:
            return json.dumps({**document, **facts}, ensure_ascii=False, allow_nan=False).encode()
        except ValueError as error:  # 1e999 is valid JSON, but Python reads it as infinity, which JSON does not have
            raise bad_request("a number in the body is too large") from error
    return json.dumps(facts).encode()[:-1] + b"," + body.lstrip()[1:]


def _digest(document: dict[str, Any]) -> str:
    """A hash that is equal for requests with the same content, however they are written."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


async def _submitted(call: Call, submission: Submission) -> tuple[Outcome, Record | None]:
    """The outcome, and the earlier bot that it is about, if it is about one that can be read. If that bot came to
    nothing, the job is submitted once more.
    """
    submissions = call.service.submissions
    outcome = await submissions.submit(submission)
    if outcome.verdict not in _ABOUT_EARLIER:
        return outcome, None
    earlier = await _decided(call, outcome.bot_id)
    if not _came_to_nothing(outcome.verdict, earlier):
        return outcome, earlier
    outcome = await submissions.submit(submission, unserved=outcome.bot_id if earlier else "")
    return outcome, await _decided(call, outcome.bot_id) if outcome.verdict in _ABOUT_EARLIER else None


async def _decided(call: Call, bot_id: str) -> Record | None:
    """The bot, once it is known whether it has a worker, if it does not wait for one. None: there is no such bot."""
    bot = await call.service.submissions.find(bot_id)
    for delay in _looks(_CAPACITY_KNOWN_WITHIN_S):
        if bot is None or not _is_undecided(bot):
            break
        await asyncio.sleep(delay)  # another process writes to Redis what this waits for
        bot = await call.service.submissions.find(bot_id)
    return bot


def _is_undecided(bot: Record) -> bool:
    """Whether its creation may still be answered that no worker is free."""
    may_end_at_once = bot.queue_timeout_s == 0 and bot.attempt == 0 and bot.status != Status.SCHEDULED
    return may_end_at_once and bot.state in (SUBMITTED, BotState.QUEUED)


def _came_to_nothing(verdict: Verdict, bot: Record | None) -> bool:
    """Whether the bot that was in the way is gone. A replay hears that the first request found no worker."""
    return bot is None or (verdict is not Verdict.REPLAYED and _was_refused(bot))


def _was_refused(bot: Record) -> bool:
    """Whether the answer to its creation was, or will be, that no worker was free: then its keys are free again."""
    if not (bot.owner and bot.queue_timeout_s == 0 and bot.attempt == 0 and _went_unserved(bot)):
        return False
    return bot.join_at is None or bot.join_at <= epoch(bot.created_at)  # not one that was scheduled


async def _followed(call: Call, submission: Submission, job: Job, status: str) -> Answer:
    """The answer, once the bot's record can be read. If no leader takes the job in time, the answer says that
    one will.
    """
    created = Answer(
        201, Created(submission.bot_id, transcript_id(submission.bot_id, job), job.meeting_url, status, job.warnings)
    )
    if job.queue_timeout_s == 0 and status != Status.SCHEDULED:
        await _until_served(call, submission, job)
    else:
        await _until_seen(call, submission)
    if job.requires and (bot := await call.service.submissions.find(submission.bot_id)):
        created.body.warnings = bot.warnings  # the leader knows whether there is a VM that has it
    return created


async def _until_seen(call: Call, submission: Submission) -> None:
    """Wait until there is a record, or it takes too long. Does not wait when nobody leads. Raises: ApiError 409 when a
    manager rejected the job.
    """
    for delay in _looks(_SEEN_WITHIN_S):
        if await _record(call, submission) or not await call.service.views.leads():
            return
        await asyncio.sleep(delay)  # another process writes to Redis what this waits for


async def _record(call: Call, submission: Submission) -> Record | None:
    """The bot's record, once a manager has taken the job. Raises: ApiError 409 when a manager rejected it, or will,
    because a job that came to the list meanwhile has its bot_id. Its keys are free then.
    """
    submissions = call.service.submissions
    bot = await submissions.find(submission.bot_id)
    if bot is None:
        await submissions.withdraw(submission, ended=True)
        raise ApiError(409, "A manager rejected the job when it took it; `poolmgr dead` says why.")
    if bot.state == SUBMITTED:
        return None
    if bot.payload != submission.payload.decode(errors="replace"):
        if not await submissions.withdraw(submission):
            await submissions.withdraw(submission, ended=True)
        raise _id_taken()
    return bot


async def _until_served(call: Call, submission: Submission, job: Job) -> None:
    """Wait until the bot has a worker. Raises: ApiError 503 when no worker was free, or no manager leads. The same
    request may then be sent again. ApiError 409 when a manager rejected the job.
    """
    for delay in _looks(_CAPACITY_KNOWN_WITHIN_S):
        bot = await _record(call, submission)
        if bot and _went_unserved(bot):
            await call.service.submissions.withdraw(submission, ended=True)
            raise _no_capacity(bot, job)
        if bot and bot.state != BotState.QUEUED:
            return
        await asyncio.sleep(delay)  # as above
    if await call.service.submissions.withdraw(submission):
        raise later(503, "No manager leads that could give the bot a worker, and you asked not to wait.", 2.0)


def _id_taken() -> ApiError:
    return ApiError(409, "There is a bot with this bot_id already; leave bot_id out to be given a new one.")


def _went_unserved(bot: Record) -> bool:
    return bot.is_over and bot.status_reason in UNSERVED


def _no_capacity(bot: Record, job: Job) -> ApiError:
    unmet = bot.status_reason == str(Reason.REQUIREMENT_UNMET)
    why = f"No VM has what the bot requires ({named(bot.requires)})" if unmet else "No worker is free"
    again = " The bot_id stays with the bot that was refused: send the job with another one." if job.bot_id else ""
    return later(503, f"{why}, and you asked not to wait for one.{again}", _NO_CAPACITY_RETRY_S)


def _looks(within_s: float) -> Iterator[float]:
    """Growing delays in seconds between two looks; together `within_s`."""
    passed = 0.0
    for delay in backoff(_LOOK_FIRST_S, _LOOK_MOST_S):
        if passed >= within_s:
            return
        passed += delay
        yield delay


def _replayed(call: Call, bot_id: str, bot: Record | None, job: Job) -> Answer:
    # The bot may have been deleted since, or never was, and somebody else may have one of the same id.
    if bot and bot.owner != call.token.name:
        bot = None
    if bot and job.queue_timeout_s == 0 and _went_unserved(bot):
        raise _no_capacity(bot, job)
    if bot and _is_undecided(bot):
        raise _has_no_worker("Idempotency-Key")
    status = bot.status if bot else Status.STOPPED
    message = "This Idempotency-Key was sent before with the same request; this is the bot that came of it."
    return Answer(507, Replayed(message, bot_id, transcript_id(bot_id, job), job.meeting_url, status, job.warnings))


def _deduplicated(call: Call, bot: Record | None, job: Job) -> Answer:
    if bot and bot.meeting_url == job.meeting_url and may_see(call.token, bot):
        return _instead("deduplication_key", bot, job)
    which = "that is gone"
    if bot:
        which = "in another meeting" if may_see(call.token, bot) else "of another token"
    raise ApiError(409, f"deduplication_key: was used for a bot {which}; a new bot needs a new key.")


async def _made(call: Call, bot_id: str, bot: Record | None, field: str) -> Record:
    """The earlier bot, once it is there. Raises: ApiError 503 when a leader is making it and there was none in time."""
    for delay in _looks(_SEEN_WITHIN_S):
        if bot is not None:
            break
        await asyncio.sleep(delay)  # as above
        bot = await call.service.submissions.find(bot_id)
    if bot is None:
        raise later(503, f"{field}: the bot that is to have it is being made, and is not there yet.", 2.0)
    return bot


def _held(call: Call, bot: Record, job: Job) -> Answer:
    if may_see(call.token, bot):
        return _instead("one_bot_per_meeting", bot, job)
    raise ApiError(409, "one_bot_per_meeting: a bot of another token is in this meeting, or will be.")


def _instead(field: str, bot: Record, job: Job) -> Answer:
    """The answer with the earlier bot. Raises: ApiError 503 when it is not known to have a worker, and does not wait
    for one.
    """
    if _is_undecided(bot) or _was_refused(bot):
        raise _has_no_worker(field)
    answer = Created(bot.bot_id, transcript_id(bot.bot_id, bot), bot.meeting_url, bot.status, job.warnings)
    return Answer(200, answer)


def _has_no_worker(field: str) -> ApiError:
    return later(503, f"{field}: the earlier bot has no worker, and was not to wait for one; try again.", 2.0)


CREATE_BOT = Operation(
    "POST",
    "/bots/create_bot",
    "createBot",
    "Send a bot into a meeting, now or at join_at.",
    create_bot,
    {
        200: Says(
            "There was a bot with this deduplication_key in the same meeting, or the meeting has its one bot:"
            " this is it.",
            Created,
        ),
        201: Says("The bot is made, and will join.", Created),
        409: Says(
            "The Idempotency-Key, deduplication_key or bot_id stands for something else, the one bot of the"
            " meeting is another token's, or the manager that took the job rejected it."
        ),
        507: Says("Not a failure: the Idempotency-Key was sent before with the same request.", Replayed),
    },
    body=CreateBot,
    reads_json=True,
    headers={
        "Idempotency-Key": "A repeated request with the same key makes no second bot, for 24 hours.",
        "traceparent": "The span that the bot belongs to (W3C Trace Context); a field of that name counts more.",
    },
)
