"""Every Redis key of the project: its name, type, owner and end of life. `docs/redis-keys.md` is made from here.

No key's name is built anywhere else, neither in Lua nor in the loops.
"""

import hashlib
from functools import lru_cache
from typing import Final, NamedTuple

from common.wire.keys import WireKeys


@lru_cache(maxsize=1024)  # most bots are found by the same few values
def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


class KeyDoc(NamedTuple):
    name: str
    type: str
    written_by: str
    what: str
    ends: str


class Keys(WireKeys):
    """The manager's names under one prefix."""

    def __init__(self, prefix: str) -> None:
        super().__init__(prefix)
        self.jobs = f"{prefix}:jobs"
        self.taken = f"{prefix}:jobs:taken"
        self.tries = f"{prefix}:jobs:tries"
        self.dead = f"{prefix}:dead"
        self.status = f"{prefix}:status"
        self.control = f"{prefix}:control"
        self.actions = f"{prefix}:actions"
        self.probes = f"{prefix}:probes"
        self.scaling = f"{prefix}:scaling"
        self.live = f"{prefix}:bots:live"
        self.ended = f"{prefix}:bots:ended"
        self.noted = f"{prefix}:bots:noted"
        self.mirror = f"{prefix}:mirror"
        self.job_stream = f"{prefix}:jobs:stream"
        self.recordings_expiring = f"{prefix}:recordings:expiring"
        self.recordings_due = f"{prefix}:recordings:due"
        self.transcriptions_due = f"{prefix}:transcriptions:due"
        self.outbox = f"{prefix}:webhooks:outbox"
        self.webhooks_due = f"{prefix}:webhooks:due"
        self.webhooks_dead = f"{prefix}:webhooks:dead"
        self.all_bots = f"{prefix}:bots:all"
        self.vms = f"{prefix}:vms"
        self.epoch = f"{prefix}:epoch"
        self.leader = f"{prefix}:leader"
        self.link_secret = f"{prefix}:links:secret"

    def usage(self, day: str) -> str:
        return f"{self.prefix}:usage:{day}"

    def probe(self, name: str) -> str:
        return f"{self.prefix}:probes:{name}"

    def deduplication(self, key: str) -> str:
        """A client's key may be long and private, so only its digest is in the name."""
        return f"{self.prefix}:dedup:{_digest(key)}"

    def meeting(self, held_meeting: str) -> str:
        """A job's `held_meeting` is a digest already."""
        return f"{self.prefix}:meeting:{held_meeting}"

    def deliveries(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}:webhooks"

    def delivery_log(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}:webhooks:log"

    def participants(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}:participants"

    def chats(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}:chats"

    def story(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}:story"

    def transcriptions(self, bot_id: str) -> str:
        return f"{self.prefix}:bot:{bot_id}:transcriptions"

    def further_keys(self, bot_id: str) -> tuple[str, ...]:
        """The keys that are kept with a bot's record and deleted with it, except those of evidence."""
        kept = (self.participants, self.chats, self.delivery_log, self.story, self.transcriptions)
        return tuple(name(bot_id) for name in kept)

    def submitted(self, bot_id: str) -> str:
        return f"{self.prefix}:submitted:{bot_id}"

    def idempotency(self, owner: str, key: str) -> str:
        """Only a digest, too. Two tokens may use the same Idempotency-Key for different requests."""
        return f"{self.prefix}:idempotency:{_digest(owner, key)}"

    def owned(self, owner: str) -> str:
        return f"{self.prefix}:bots:live:{owner}"

    def index(self, field: str, value: str) -> str:
        """The bots whose `field` is `value`. Values may be long and private, so only a digest is in the name."""
        return f"{self.prefix}:bots:by:{field}:{_digest(field, value)}"

    def taken_from_sqs(self, message_id: str) -> str:
        return f"{self.prefix}:sqs:{message_id}"

    def vm(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}"

    def workers(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}:workers"


CHANNEL_DOCS: Final = (
    ("vm:{vm_id}:looks", "manager", "which bot of the VM somebody looks at, every two seconds while somebody does (docs/operations.md)"),
    ("bot:{bot_id}:shown", "agent", "a picture of the bot's page, every second while somebody looks"),
)  # fmt: skip

KEY_DOCS: Final = (
    KeyDoc("jobs", "list", "clients", "LPUSH one JSON object per job; taken from the right", "empty when all are taken"),
    KeyDoc("jobs:taken", "list", "manager", "jobs taken but not yet durable as a bot; re-read by the next leader", "empty when all are durable"),
    KeyDoc("jobs:tries", "hash", "manager", "digest of a job in `jobs:taken` -> how often a leader began it alone and did not come to an end", "a field with its job's end; the key a day after the last one"),
    KeyDoc("dead", "stream", "manager", "rejected jobs: `payload`, `reason`, `detail`, `at`, `bot_id`", "trimmed to [retention] dead_entries; a week after the last one"),
    KeyDoc("jobs:stream", "stream", "clients", "jobs by XADD: field `job`, or one field each; consumer group `manager`", "an entry when it stands in `jobs`; the key 30 days after the last leader"),
    KeyDoc("sqs:{message_id}", "string", "manager", "this SQS message was handed in, so that it is not when it comes again", "a day after the message was deleted; at the latest 15 days after it came"),
    KeyDoc("submitted:{bot_id}", "string", "API", "a job that the API pushed and that is no bot yet: what status and detail answer", "when it is a bot or is rejected; at the latest a day later"),
    KeyDoc("idempotency:{digest}", "string", "API", "bot_id and digest of the body of the first call with this token and Idempotency-Key", "a day later"),
    KeyDoc("bot:{bot_id}", "hash", "manager (field `claimed`: the agent's claim script)", "the session record", "[retention] bot_s after the bot's end, when the reaper forgets it; a day later by itself"),
    KeyDoc("bot:{bot_id}:participants", "hash", "manager", "participant id -> JSON of id, name, joined_at, left_at", "[retention] bot_s and a day after the last write, or with the session record if that is deleted"),
    KeyDoc("bot:{bot_id}:chats", "list", "manager", "chat lines as JSON, the latest 1,000", "likewise"),
    KeyDoc("bot:{bot_id}:story", "list", "manager", "what happened to the bot, in order, as JSON; of more than 300 entries the first 50 and the latest", "with the session record; at the latest 400 days after it was accepted"),
    KeyDoc("evidence:{bot_id}:{attempt}", "string", "agents", "a zip file: what is kept of an attempt that failed (docs/evidence.md)", "[evidence] keep_s after it came; before, when its bot is forgotten, or when all of them are more than [evidence] most_mb"),
    KeyDoc("evidence", "sorted set", "agents, manager", "the names of those keys, by when they end", "a member with its key, or when the next one comes; the key with the last of those keys"),
    KeyDoc("evidence:sizes", "hash", "agents, manager", "the size in bytes of each of those keys, and `total`", "likewise"),
    KeyDoc("bot:{bot_id}:webhooks", "list", "manager, command line", "its webhooks that are still to be delivered, in order: `attempts since JSON`; `bot:{bot_id}~{number}:webhooks` is that of a transcript with a receiver of its own", "when all are delivered or dead; [webhooks] retry_for_s + [retention] bot_s after the last change"),
    KeyDoc("bot:{bot_id}:webhooks:log", "list", "manager", "the latest 200 attempts to deliver one, as JSON", "as that, after the last attempt; or when the bot is forgotten"),
    KeyDoc("webhooks:outbox", "stream", "manager, API, command line", "status changes of bots with a callback_url, of which webhooks are made; consumer group `manager`", "an entry when its webhooks are in line; the key a week after the last one or the last leader"),
    KeyDoc("webhooks:due", "sorted set", "manager, command line", "the queues that are not empty, `bot_id` or `bot_id~number`, by when the next attempt is due", "a member with its queue's last webhook; the key as those lists"),
    KeyDoc("webhooks:dead", "stream", "manager", "webhooks that were given up: `delivery`, `reason`, `outcome`, `attempts`, `at`", "trimmed to [retention] dead_entries; a week after the last one"),
    KeyDoc("bots:all", "sorted set", "manager", "ids of all bots, by creation", "a member with its bot's record; the key 400 days after the last bot"),
    KeyDoc("bots:by:{field}:{digest}", "sorted set", "manager", "ids of the bots with one value of platform, user_id, calendar_event_id, owner, one custom attribute, or (ended ones) status", "likewise"),
    KeyDoc("bots:live:{owner}", "set", "manager, API", "ids of the live bots of one API token, which its quota counts", "a member leaves with its bot's end; the key 400 days after the last bot"),
    KeyDoc("bots:live", "sorted set", "manager", "ids of bots that have not ended, by creation", "a member leaves with its bot's end"),
    KeyDoc("bots:ended", "sorted set", "manager", "ids of ended bots, by end", "a member [retention] bot_s after its bot's end; the key 400 days after the last one"),
    KeyDoc("bots:noted", "stream", "manager", "bots in whose records it was marked that a receiver has taken a webhook, once for each `field`; for the mirror", "trimmed to [retention] stream_entries; a week after the last one"),
    KeyDoc("mirror", "hash", "mirror", "how far it is in each stream that it reads, `from` where it fills in the table, and what became of the last fill (docs/mirror.md)", "30 days after the mirror last moved on"),
    KeyDoc("recordings:expiring", "sorted set", "manager", "ids of bots whose recordings and transcripts are to be deleted, or the marks in the store that they were, by when", "a member with the mark, thirty days after what was deleted last; the key 4,400 days after the last write"),
    KeyDoc("recordings:due", "sorted set", "manager", "ids of ended bots about whose recordings or transcripts something is to be done, by when: no agent has made them until then", "a member when they are made or given up; the key 400 days after the last one"),
    KeyDoc("bot:{bot_id}:transcriptions", "hash", "manager, API", "number of a transcript -> JSON of who makes or made it of the bot's recording, and how that fares; 1 is that of its job", "with the session record; at the latest 400 days after the last one was asked for"),
    KeyDoc("transcriptions:due", "sorted set", "manager, API", "ids of bots of whose recordings words are to be made, by when that is tried next", "a member when that is done or given up; the key 400 days after the last one"),
    KeyDoc("dedup:{digest}", "string", "manager, API", "bot_id of the first job with this deduplication_key; after `held ` while a leader makes it", "[retention] bot_s after the job; five minutes after a leader took one of which no bot came"),
    KeyDoc("meeting:{digest}", "hash", "manager, API", "the bot that is to be the only one in its meeting (one_bot_per_meeting): `bot_id`, the names of its keys `bot` and `entry`, `taken` while a leader makes it; counts until the bot ends", "with the session record; at the latest 400 days after the bot was accepted, a day after a POST or five minutes after a leader took it of which no bot came"),
    KeyDoc("status", "stream", "manager", "every status change of every bot", "trimmed to [retention] stream_entries; a week after the last change"),
    KeyDoc("events", "stream", "agents", "what happened on the VMs; consumer group `manager`", "an entry [retention] events_s after it was written and read; the key a week after the last event or leader"),
    KeyDoc("control", "stream", "command line, API", "what operators ask for; consumer group `manager`", "an entry when it is done; the key a week after the last leader"),
    KeyDoc("actions", "stream", "API, command line", "who did what: `who`, `way`, `what`, `of`, `detail` (poolmgr actions)", "trimmed to 50,000 entries; 400 days after the last one"),
    KeyDoc("probes", "hash", "manager", "name of a link of [probes] -> the latest turn, and the bot of it", "30 days after the last probe"),
    KeyDoc("probes:{name}", "list", "manager", "what came of the latest 200 probes of one link, as JSON, the latest first", "30 days after the last one"),
    KeyDoc("scaling", "hash", "manager", "only with [scaling] provider: `standing` and `history` for the next leader, `shown` for `poolmgr fleet`, as JSON", "30 days after the last look"),
    KeyDoc("usage:{day}", "hash", "manager", "what each API token used of what ended on this day (UTC): `owner:name` -> number (poolmgr usage)", "400 days after the last end of that day"),
    KeyDoc("vms", "set", "manager", "ids of known VMs", "a member [retention] vm_s after its VM was lost; the key likewise after the last leader"),
    KeyDoc("vm:{vm_id}", "hash", "manager", "`session`, `draining`, `lost`, `stopping`, `resting`, `processors`, `labels` (JSON), `canary`, `joins_ok` and `joins_failed` (of a canary), `out` (why the manager drains it), `makes_displays`, `at`", "[retention] vm_s after the VM was lost, or after the last leader"),
    KeyDoc("vm:{vm_id}:workers", "hash", "manager", "worker_id -> JSON of state, since, born, bot_id, kind", "when its VM is lost; [retention] vm_s after the last leader"),
    KeyDoc("vm:{vm_id}:commands", "stream", "manager", "what the agent of that VM is to do", "an entry is deleted when done; the key when the VM is lost, or a day after the last heartbeat or order"),
    KeyDoc("vm:{vm_id}:alive", "string", "agent", "which agent speaks for the VM", "15 s after its start or its last heartbeat"),
    KeyDoc("vm:{vm_id}:vitals", "string", "agent", "the VM's memory, and what each worker takes, as JSON, every 5 s; for people", "60 s after it was written"),
    KeyDoc("account:{name}", "string", "agent", "which bot has this account of [[worker.accounts]]", "with its bot; 60 s after its agent was last there"),
    KeyDoc("vm:{vm_id}:written", "hash", "agent", "`session` and `number` of its last event in the stream, so that none comes twice", "a week after its last event"),
    KeyDoc("confirmed", "string", "both programs", "only with [redis] wait_replicas: what is written after each write, so that replicas have something to confirm", "60 s after the last one"),
    KeyDoc("links:secret", "string", "API", "a random value with which links to files in a folder are signed, beside the hash of a token", "30 days after the last link was given out or followed"),
    KeyDoc("epoch", "string", "manager", "the fencing number of the leader", "30 days after the last leader"),
    KeyDoc("leader", "string", "manager", "who leads", "[lease] ttl_s after the last renewal"),
)  # fmt: skip
