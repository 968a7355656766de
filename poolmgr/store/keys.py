"""Every Redis key of the project: its name, type, owner and end of life. `docs/redis-keys.md` is made from here.

No name is built anywhere else, neither in Lua nor in the loops.
"""

import hashlib
from typing import Final, NamedTuple

from wire.keys import WireKeys


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
        self.dead = f"{prefix}:dead"
        self.status = f"{prefix}:status"
        self.control = f"{prefix}:control"
        self.live = f"{prefix}:bots:live"
        self.ended = f"{prefix}:bots:ended"
        self.vms = f"{prefix}:vms"
        self.epoch = f"{prefix}:epoch"
        self.leader = f"{prefix}:leader"

    def deduplication(self, key: str) -> str:
        """A client's key may be long and private: only its digest becomes a name."""
        return f"{self.prefix}:dedup:{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def vm(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}"

    def workers(self, vm_id: str) -> str:
        return f"{self.prefix}:vm:{vm_id}:workers"


KEY_DOCS: Final = (
    KeyDoc("jobs", "list", "clients", "LPUSH one JSON object per job; taken from the right", "empty when all are taken"),
    KeyDoc("jobs:taken", "list", "manager", "jobs taken but not yet durable as a bot; re-read by the next leader", "empty when all are durable"),
    KeyDoc("dead", "stream", "manager", "rejected jobs: `payload`, `reason`, `detail`, `at`, `bot_id`", "trimmed to [retention] dead_entries; a week after the last one"),
    KeyDoc("bot:{bot_id}", "hash", "manager (field `claimed`: the agent's claim script)", "the session record", "[retention] bot_s after the bot's end"),
    KeyDoc("bots:live", "sorted set", "manager", "ids of bots that have not ended, by creation", "a member leaves with its bot's end"),
    KeyDoc("bots:ended", "sorted set", "manager", "ids of ended bots, by end", "a member [retention] bot_s after its bot's end; the key likewise after the last one"),
    KeyDoc("dedup:{digest}", "string", "manager", "bot_id of the first job with this deduplication_key", "[retention] bot_s after the job"),
    KeyDoc("status", "stream", "manager", "every status change of every bot", "trimmed to [retention] stream_entries; a week after the last change"),
    KeyDoc("events", "stream", "agents", "what happened on the VMs; consumer group `manager`", "an entry [retention] events_s after it was written and read; the key a week after the last event or leader"),
    KeyDoc("control", "stream", "command line, API", "what operators ask for; consumer group `manager`", "an entry when it is done; the key a week after the last leader"),
    KeyDoc("vms", "set", "manager", "ids of known VMs", "a member [retention] vm_s after its VM was lost; the key likewise after the last leader"),
    KeyDoc("vm:{vm_id}", "hash", "manager", "`session`, `draining`, `lost`, `at`", "[retention] vm_s after the VM was lost, or after the last leader"),
    KeyDoc("vm:{vm_id}:workers", "hash", "manager", "worker_id -> JSON of state, since, born, bot_id", "when its VM is lost; [retention] vm_s after the last leader"),
    KeyDoc("vm:{vm_id}:commands", "stream", "manager", "what the agent of that VM is to do", "an entry is deleted when done; the key a day after the last heartbeat or order"),
    KeyDoc("vm:{vm_id}:alive", "string", "agent", "which agent speaks for the VM", "15 s after its last heartbeat"),
    KeyDoc("vm:{vm_id}:written", "hash", "agent", "`session` and `number` of its last event in the stream, so that none comes twice", "a week after its last event"),
    KeyDoc("epoch", "string", "manager", "the fencing number of the leader", "30 days after the last leader"),
    KeyDoc("leader", "string", "manager", "who leads", "[lease] ttl_s after the last renewal"),
)  # fmt: skip
