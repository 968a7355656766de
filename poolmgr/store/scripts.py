"""The manager's Lua scripts: arguments and answer of each. The first lines of each file in lua/ say what it does.

Times are epoch seconds if they are floats, ISO 8601 if they are text.
"""

from typing import Final

from redis.asyncio import Redis

from common.runtime.redis.lua import FENCE, Key, Keys, Library, OptionalKey, Pairs, Values
from common.runtime.redis.scripts import STATES
from common.webhooks.envelope import UNSAID
from common.wire.minutes import CAPTIONS
from common.wire.vocabulary import Reason, Status
from poolmgr.store import lives

MOST_NOTED: Final = 1000
"""How many participants and how many chat lines of a bot are kept. Of the lines the latest are kept."""

KEY_HELD: Final = "held "
"""Stands before a bot that a deduplication_key names while a leader is about to make it."""

MOST_TRANSCRIPTS: Final = 20
"""How many transcripts a bot may have."""

SCRIPTS: Final = Library(
    "poolmgr.store",
    {
        **STATES,
        **{name: life_s for name, life_s in vars(lives).items() if name.endswith("_S")},
        "CAPTIONS": CAPTIONS,
        "KEY_HELD": KEY_HELD,
        "REJECTED": "rejected",
        "ERROR": Status.ERROR,
        "INVALID_REQUEST": Reason.INVALID_REQUEST,
        "UNSAID": UNSAID,
        "MOST_NOTED": MOST_NOTED,
        "MOST_TRANSCRIPTS": MOST_TRANSCRIPTS,
        "STORY_MOST": 300,
        "STORY_BEGINNING": 50,
        "LOG_MOST": 200,
        "ACTIONS_KEPT": 50_000,
        "CONTROL_KEPT": 10_000,
        "PROBES_KEPT": 200,
        "USAGE_FIELDS": 6000,
        "USAGE_OTHERS": "others",
        "MOST_LEADERS_IN_S": 10,  # of the count of leaders that took the lease
    },
)


async def load_scripts(redis: Redis) -> None:
    """Load all scripts into Redis. Idempotent."""
    await SCRIPTS.load(redis)


# The lease


@SCRIPTS.script()
def lead(*, epoch: Key, leader: Key, holder: str, lease_ms: int, renewed: int) -> int: ...


# Jobs


@SCRIPTS.script("action")
def push(*, jobs: Key, actions: Key, payload: bytes, action: Pairs) -> bool: ...


@SCRIPTS.script("keyed", "meeting", "action")
def submit(
    *,
    jobs: Key,
    bot: Key,
    submitted: Key,
    owned: Key,
    actions: Key,
    expiring: Key,
    idempotency: OptionalKey,
    dedup: OptionalKey,
    meeting: OptionalKey,
    bot_id: str,
    payload: bytes,
    entry: bytes,
    quota: int,
    digest: str,
    unserved: str,
    dedup_life_s: int,
    action: Pairs,
) -> tuple[bytes, bytes]: ...


@SCRIPTS.script("action")
def withdraw(
    *,
    jobs: Key,
    submitted: Key,
    owned: Key,
    actions: Key,
    once_keys: Keys,
    bot_id: str,
    payload: bytes,
    has_ended: bool,
    action: Pairs,
) -> bool: ...


@SCRIPTS.script()
def take(*, jobs: Key, taken: Key, most: int, most_bytes: int) -> list[bytes]: ...


@SCRIPTS.script("keyed", "meeting")
def hold(*, bot: Key, submitted: Key, dedup: OptionalKey, meeting: OptionalKey, bot_id: str) -> tuple[bytes, bytes]: ...


@SCRIPTS.script(FENCE)
def hand_in(*, job_stream: Key, jobs: Key, group: str, entries: Values) -> int: ...


@SCRIPTS.script(FENCE)
def hand_in_once(*, jobs: Key, marks: Keys, payloads: Values) -> int: ...


@SCRIPTS.script(FENCE)
def reject(
    *,
    taken: Key,
    dead: Key,
    status: Key,
    bot: Key,
    submitted: Key,
    payload: bytes,
    bot_id: str,
    at: str,
    reason: str,
    detail: str,
    keep_dead: int,
    keep: int,
    fields: Pairs,
) -> bool: ...


@SCRIPTS.script("action")
def put_back(*, dead: Key, jobs: Key, actions: Key, entry_id: str, action: Pairs) -> list[bytes] | None: ...


@SCRIPTS.script(FENCE)
def acknowledge(*, stream: Key, group: str, is_to_be_deleted: bool, entry_ids: Values) -> bool: ...


@SCRIPTS.script("action")
def request(*, control: Key, actions: Key, fields: Pairs, action: Pairs) -> bool: ...


@SCRIPTS.script("action")
def act(*, actions: Key, action: Pairs) -> bool: ...


# Bots


@SCRIPTS.script("lasting", "status", FENCE)
def accept(
    *,
    taken: Key,
    live: Key,
    all_bots: Key,
    status: Key,
    outbox: OptionalKey,
    own: Keys,
    keep: int,
    dedup_life_s: int,
    bots: Values,
) -> bool: ...


@SCRIPTS.script("status", "story", FENCE)
def assign(
    *,
    bot: Key,
    workers: Key,
    commands: Key,
    status: Key,
    outbox: Key,
    story: Key,
    bot_id: str,
    attempt: int,
    worker_id: str,
    worker: bytes,
    message: bytes,
    at: str,
    keep: int,
    entry: bytes,
    fields: Pairs,
) -> bool: ...


@SCRIPTS.script("attempt", "status", "story", FENCE)
def move(
    *,
    bot: Key,
    status: Key,
    outbox: Key,
    story: Key,
    bot_id: str,
    attempt: int,
    at: str,
    keep: int,
    entry: bytes,
    fields: Pairs,
) -> bool: ...


@SCRIPTS.script("story", FENCE)
def reschedule(*, bot: Key, story: Key, join_at: str, entry: bytes) -> bool: ...


@SCRIPTS.script(FENCE)
def revoke(*, bot: Key, attempt: int) -> bool: ...


@SCRIPTS.script("status", "story", "bundles", "usage", "awaited", "done", FENCE)
def end(
    *,
    bot: Key,
    usage: Key,
    status: Key,
    outbox: Key,
    live: Key,
    ended: Key,
    by_status: Key,
    story: Key,
    owned: OptionalKey,
    due: Key,
    bot_id: str,
    at: str,
    keep: int,
    stopped: float,
    awaited_since: str,
    look_at: float,
    record_life_s: int,
    entry: bytes,
    bundle: str,
    fields: Pairs,
) -> bool: ...


@SCRIPTS.script()
def disown(*, owned: Key, bots: Keys, submitted: Keys, bot_ids: Values) -> list[bytes]: ...


@SCRIPTS.script("evidence", "action")
def forget(
    *,
    bot: Key,
    ended: Key,
    all_bots: Key,
    outbox: Key,
    dedup: OptionalKey,
    meeting: OptionalKey,
    evidence_index: Key,
    evidence_sizes: Key,
    actions: Key,
    transcriptions: OptionalKey,
    further_keys: Keys,
    bundles: Keys,
    indexes: Keys,
    bot_id: str,
    is_told: bool,
    done: bytes,
    deliveries: Values,
    as_read: Pairs,
    action: Pairs,
) -> int: ...


# A bot's meeting


@SCRIPTS.script("attempt", FENCE)
def note(*, bot: Key, attempt: int, fields: Pairs) -> bool: ...


@SCRIPTS.script("attempt", FENCE)
def note_participants(
    *,
    bot: Key,
    participants: Key,
    attempt: int,
    life_s: int,
    at: str,
    nobody_else: bool,
    came: Values,
    left: Values,
) -> bool: ...


@SCRIPTS.script("attempt", FENCE)
def note_chat(*, bot: Key, chats: Key, attempt: int, life_s: int, lines: Values) -> bool: ...


@SCRIPTS.script("attempt", "outbox", FENCE)
def note_permission(
    *, bot: Key, outbox: Key, bot_id: str, attempt: int, number: int, at: str, permission: str
) -> bool: ...


@SCRIPTS.script("attempt", "story", "bundles", FENCE)
def relate(*, bot: Key, story: Key, attempt: int, entry: bytes, bundle: str, fields: Pairs) -> bool: ...


@SCRIPTS.script("story", "usage", "awaited", "expiring", "outbox", "done", FENCE)
def recorded(
    *,
    bot: Key,
    outbox: Key,
    story: Key,
    due: Key,
    expiring: Key,
    transcriptions_due: Key,
    usage: Key,
    bot_id: str,
    attempt: int,
    at: str,
    stamp: float,
    retention_s: float,
    manifest_status: str,
    audio_status: str,
    video_status: str,
    audio_s: float,
    stored_bytes: int,
    entry: bytes,
    over: Values,
) -> bool: ...


@SCRIPTS.script("story", FENCE)
def recording_unmade(*, bot: Key, story: Key, attempt: int, vm_id: str, why: str, entry: bytes) -> bool: ...


@SCRIPTS.script("story", "awaited", "expiring", "outbox", "done", FENCE)
def transcribed(
    *,
    bot: Key,
    outbox: Key,
    story: Key,
    transcriptions: Key,
    due: Key,
    unmade: Key,
    expiring: Key,
    bot_id: str,
    attempt: int,
    at: str,
    stamp: float,
    retention_s: float,
    transcript_status: str,
    by: str,
    after: str,
    entry: bytes,
) -> bool: ...


@SCRIPTS.script("story", "action")
def ask_transcription(
    *,
    bot: Key,
    story: Key,
    transcriptions: Key,
    due: Key,
    actions: Key,
    bot_id: str,
    stamp: float,
    asked: bytes,
    entry: bytes,
    action: Pairs,
) -> int: ...


@SCRIPTS.script("task", FENCE)
def await_no_transcript(*, bot: Key, transcriptions: Key, due: Key, bot_id: str) -> bool: ...


@SCRIPTS.script("task", FENCE)
def put_off_transcription(
    *, transcriptions: Key, due: Key, bot_id: str, number: int, stamp: float, asked: bytes
) -> bool: ...


@SCRIPTS.script("story", "outbox", "done", "task", FENCE)
def conclude_transcription(
    *,
    bot: Key,
    outbox: Key,
    story: Key,
    transcriptions: Key,
    due: Key,
    expiring: Key,
    bot_id: str,
    number: int,
    at: str,
    stamp: float,
    asked: bytes,
    became: str,
    by: str,
    why: str,
    callback: str,
    entry: bytes,
) -> str: ...


@SCRIPTS.script("story", "noted", FENCE)
def streamed(
    *,
    bot: Key,
    story: Key,
    noted: Key,
    keep: int,
    bot_id: str,
    attempt: int,
    entry: bytes,
    noted_as: str,
    fields: Pairs,
) -> bool: ...


@SCRIPTS.script("story", "awaited", FENCE)
def finish_recording(
    *,
    bot: Key,
    commands: Key,
    story: Key,
    due: Key,
    bot_id: str,
    attempt: int,
    message: bytes,
    look_at: float,
    entry: bytes,
) -> bool: ...


@SCRIPTS.script("awaited", FENCE)
def await_no_agent(*, bot: Key, due: Key, bot_id: str) -> bool: ...


@SCRIPTS.script("story", FENCE)
def recording_deleted(
    *, bot: Key, story: Key, expiring: Key, bot_id: str, at: str, until_at: float, entry: bytes
) -> bool: ...


# VMs and workers


@SCRIPTS.script("story", FENCE)
def ask(
    *, bot: Key, commands: Key, story: Key, attempt: int, message: bytes, is_wished: bool, paused: str, entry: bytes
) -> bool: ...


@SCRIPTS.script("story", FENCE)
def order(
    *, workers: Key, commands: Key, stories: Keys, worker_id: str, worker: bytes, message: bytes, entries: Values
) -> bool: ...


@SCRIPTS.script("action", FENCE)
def keep_vm(
    *,
    vm: Key,
    workers: Key,
    vms: Key,
    commands: Key,
    actions: Key,
    vm_id: str,
    life_s: int,
    is_lost: bool,
    fields: Pairs,
    action: Pairs,
) -> bool: ...


@SCRIPTS.script(FENCE)
def forget_vm(*, vm: Key, workers: Key, commands: Key, vms: Key, vm_id: str) -> bool: ...


@SCRIPTS.script()
def marks(*, vms: Keys, workers: Keys, alive: Keys) -> list[bytes]: ...


# Probes


@SCRIPTS.script(FENCE)
def begin_probe(*, probes: Key, jobs: Key, name: str, turn: int, bot_id: str, payload: bytes) -> bool: ...


@SCRIPTS.script(FENCE)
def conclude_probe(*, history: Key, bot_id: str, run: bytes) -> bool: ...


# VMs that come and go


@SCRIPTS.script(FENCE)
def keep_scaling(*, scaling: Key, fields: Pairs) -> bool: ...


# Webhooks


@SCRIPTS.script(FENCE)
def deliver_put(
    *,
    outbox: Key,
    line: Key,
    due: Key,
    group: str,
    entry_id: bytes,
    line_id: str,
    now: float,
    life_s: int,
    items: Values,
) -> bool: ...


@SCRIPTS.script("line", "noted", FENCE)
def deliver_done(
    *,
    line: Key,
    due: Key,
    log: Key,
    bot: Key,
    noted: Key,
    keep: int,
    bot_id: str,
    line_id: str,
    id: str,
    now: float,
    life_s: int,
    entry: bytes,
    noted_as: str,
) -> bool: ...


@SCRIPTS.script("line", FENCE)
def deliver_failed(
    *,
    line: Key,
    due: Key,
    log: Key,
    line_id: str,
    id: str,
    attempts: int,
    next_at: float,
    life_s: int,
    entry: bytes,
) -> bool: ...


@SCRIPTS.script("line", FENCE)
def deliver_bury(
    *,
    line: Key,
    due: Key,
    log: Key,
    dead: Key,
    line_id: str,
    id: str,
    now: float,
    life_s: int,
    entry: bytes,
    keep_dead: int,
    letter: Pairs,
) -> bool: ...


@SCRIPTS.script("action")
def deliver_again(
    *,
    dead: Key,
    line: Key,
    due: Key,
    outbox: Key,
    actions: Key,
    entry_id: str,
    bot_id: str,
    line_id: str,
    delivery: bytes,
    now: float,
    life_s: int,
    action: Pairs,
) -> bool: ...
