"""How long unused keys live, in seconds, where no setting says so. The scripts use these constants, too."""

from typing import Final

HOUR_S: Final = 3600
DAY_S: Final = 86400

GRACE_S: Final = DAY_S
"""How much longer a bot's record lives than its retention: the reaper removes it from the indexes first."""

INDEX_LIFE_S: Final = 400 * DAY_S
"""Of an index after its last new bot: longer than any bot in it lives, which may be scheduled a year ahead."""

ACTIONS_LIFE_S: Final = 400 * DAY_S
"""How long the log of actions is kept after its latest entry."""

USAGE_LIFE_S: Final = 400 * DAY_S
"""How long the usage of a day is kept."""

PROBES_LIFE_S: Final = 30 * DAY_S
"""How long the results of a link's probes are kept after the latest."""

MADE_WITHIN_S: Final = HOUR_S
"""After a bot's end the files of its recording are there, or are not waited for: those of hours take minutes, and a
store may be away.
"""

STREAM_LIFE_S: Final = 7 * DAY_S

VM_LIFE_S: Final = DAY_S
"""Of a VM's workers and commands without a manager and an agent that use them. Agent and reaper extend it."""

EPOCH_LIFE_S: Final = 30 * DAY_S
"""Of the epoch: longer than any write of an earlier leader can be delayed."""

JOB_STREAM_LIFE_S: Final = EPOCH_LIFE_S
"""Of the job stream, in which jobs may wait for the next leader."""

ENTRY_LIFE_S: Final = DAY_S
"""Of the entry that the API shows of a job which no leader has taken."""

IDEMPOTENCY_LIFE_S: Final = DAY_S
"""How long a repeated Idempotency-Key is recognised, as in the API that clients know."""

HELD_S: Final = 300
"""How long a leader holds a meeting for a new bot: longer than a decision takes to become durable.
"""

TRIES_LIFE_S: Final = DAY_S

MARK_LIFE_S: Final = 15 * DAY_S
"""Of the mark of an SQS message: SQS keeps messages for 14 days at most, so none comes again after its mark."""

MARK_OF_DELETED_LIFE_S: Final = DAY_S
"""Of the mark of a deleted SQS message: a standard queue may deliver it once more after that."""
