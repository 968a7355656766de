"""How long unused keys live, in seconds, where no setting says so. The scripts use these constants, too; where they put
off an end with every bot (_lasting.lua), a key may live a thirty-second less.
"""

from typing import Final

HOUR_S: Final = 3600
DAY_S: Final = 86400

GRACE_S: Final = DAY_S
"""How much longer a bot's record lives than its retention: the reaper removes it from the indexes first."""

INDEX_LIFE_S: Final = 400 * DAY_S
"""How long an index lives after its last new bot. Longer than any bot: a bot may be scheduled a year ahead."""

RETENTION_LIFE_S: Final = 4400 * DAY_S
"""How long the index of what is to be deleted from the store lives after it was last written: longer than anything is
kept, ten years by a job and 4,000 days by the fleet.
"""

ACTIONS_LIFE_S: Final = 400 * DAY_S
"""How long the log of actions is kept after its latest entry."""

USAGE_LIFE_S: Final = 400 * DAY_S
"""How long the usage of a day is kept."""

PROBES_LIFE_S: Final = 30 * DAY_S
"""How long the results of a link's probes are kept after the latest."""

SCALING_LIFE_S: Final = 30 * DAY_S
"""How long the demand of the last week is kept, and which VMs are being given back."""

MIRROR_LIFE_S: Final = 30 * DAY_S
"""How long the mirror's position is kept. Without it the mirror fills in the table from all records."""

MADE_WITHIN_S: Final = HOUR_S
"""How long after a bot's end the files of its recording are waited for. Making them takes minutes for a recording of
hours, and longer if the store is away.
"""

TAKEN_OVER_AFTER_S: Final = 600
"""How long after a bot's end the files are waited for until another VM is to make them of what is in the store, and how
long after that until one is told so again. A VM that only restarts is back sooner, and its disk has more.
"""

DELETED_MARK_LIFE_S: Final = 30 * DAY_S
"""How long the store of recordings says that a bot was deleted. A VM that comes back later, with a recording of it on
its disk, stores that again.
"""

STREAM_LIFE_S: Final = 7 * DAY_S

VM_LIFE_S: Final = DAY_S
"""How long a VM's keys of workers and commands live when neither agent nor reaper extends them."""

EPOCH_LIFE_S: Final = 30 * DAY_S
"""How long the epoch lives. Longer than any write of an earlier leader can be delayed."""

JOB_STREAM_LIFE_S: Final = EPOCH_LIFE_S
"""How long the job stream lives. Jobs in it may wait for the next leader."""

ENTRY_LIFE_S: Final = DAY_S
"""How long the API can show a job that no leader has taken."""

IDEMPOTENCY_LIFE_S: Final = DAY_S
"""How long a repeated Idempotency-Key is recognised, as in the API that clients know."""

HELD_S: Final = 300
"""How long a leader holds a meeting and a deduplication_key for a new bot: longer than a decision takes to become
durable.
"""

TRIES_LIFE_S: Final = DAY_S

MARK_LIFE_S: Final = 15 * DAY_S
"""How long the mark of an SQS message lives. SQS keeps messages for at most 14 days, so none comes after its mark."""

MARK_OF_DELETED_LIFE_S: Final = DAY_S
"""How long the mark of a deleted SQS message lives. A standard queue may deliver the message once more."""
